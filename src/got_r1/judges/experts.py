"""The light judge: CLIP, an open-vocabulary detector and HPS v2.1 in place of an MLLM.

The paper tried "CLIP + GroundingDINO" as an ablation (it cost .03 to .13 in every column of
T2I-CompBench) without saying which model gave which term. Our choice, a model for what it is good
at; R_HPS is also what an MLLM judge borrows from here:

    r_sem  cosine of prompt and chain, boxes stripped, by CLIP's text tower
    r_spa  geometry of the planned boxes, where the prompt states one relation; else the cosine of
           the drawn plan and the prompt
    r_ri   boxes by the detector, asked for the planned names
    r_pi   cosine of image and prompt
    r_hps  HPS v2.1's rating of image and prompt

A cosine becomes a score linearly between two bounds that are settings (`Scale`): the paper says
only that terms lie in [0, 1]. CLIP reads bags of words rather than sentences: it hardly tells "left
of" from "right of", or whose colour is whose. That is why r_spa asks it only where geometry cannot
answer, and why an MLLM judge is the better one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from got_r1.errors import BadInput
from got_r1.judges.settings import ExpertsSettings, Scale
from got_r1.plan.chain import strip_boxes
from got_r1.plan.layout import (
    DEPTH_RELATIONS,
    NEAR_LIMIT,
    Relation,
    centre,
    counted,
    draw_plan,
    gap,
    has_depths,
    is_nearer,
    relation_holds,
)
from got_r1.plan.reading import content_words, head_word, relation_asked
from got_r1.records import (
    Box,
    Chain,
    FoundObject,
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    PlannedObject,
    QualityQuery,
    Query,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)
from got_r1.vision import load_detector, load_quality, load_similarity
from got_r1.vision.boxes import ranked, suppressed, to_thousandths

if TYPE_CHECKING:
    from got_r1.vision import Detection, Detector, ImageQuality, TextImageSimilarity

__all__ = ["READING", "ExpertsJudge"]

READING = 3  # raise it where answers change with the same weights: it is part of the cache key

_HOLDS, _PARTLY, _WRONG = 1.0, 0.5, 0.1  # the middle of the paper's bands 8-10, 5-7 and 1-4, about


class ExpertsJudge:
    """A `Judge` of any prompt and all five terms.

    Models are loaded when they are first asked, so that a judge of one term in a mixture takes the
    memory of one model. To be asked by one thread at a time (`load_judge` sees to it). Raises
    `BadInput` for a detector without an open vocabulary, and when first asked for models that
    cannot be found.
    """

    def __init__(self, settings: ExpertsSettings) -> None:
        if settings.detector.kind == "mask2former":
            raise BadInput(
                "mask2former finds only its own classes and cannot look for planned objects: use "
                "detector.kind=grounding_dino or owlv2"
            )
        self.settings = settings

    @cached_property
    def clip(self) -> TextImageSimilarity:
        """Loaded on first use."""
        return load_similarity(self.settings.clip)

    @cached_property
    def detector(self) -> Detector:
        """Loaded on first use."""
        return load_detector(self.settings.detector)

    @cached_property
    def quality(self) -> ImageQuality:
        """Loaded on first use."""
        return load_quality(self.settings.quality)

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """One answer for each query, in the same order; each kind of query is answered in one
        batch."""
        kinds: tuple[tuple[type[Query], Callable[[Any], list[Verdict]]], ...] = (
            (SemanticQuery, self._semantic),
            (SpatialQuery, self._spatial),
            (GroundingQuery, self._ground),
            (ImageQuery, self._image),
            (QualityQuery, self._quality),
        )
        answers: list[Verdict | JudgeFailure] = [
            JudgeFailure(f"the experts know no {type(query).__name__}") for query in queries
        ]
        for kind, answer in kinds:
            places = [place for place, query in enumerate(queries) if isinstance(query, kind)]
            if places:
                verdicts = answer([queries[place] for place in places])
                for place, verdict in zip(places, verdicts, strict=True):
                    answers[place] = verdict
        return answers

    # -- r_sem and r_spa -------------------------------------------------------------------------

    def _semantic(self, queries: Sequence[SemanticQuery]) -> list[Verdict]:
        prompts = self._texts([query.prompt.text for query in queries])
        chains = self._texts([strip_boxes(query.chain.text) for query in queries])
        return [
            Verdict(
                self.settings.r_sem.score(cosine),
                reasoning=f"CLIP: the chain's text is at cosine {cosine:.3f} to the prompt"
                + _full_at(self.settings.r_sem),
            )
            for cosine in _cosines(prompts, chains)
        ]

    def _spatial(self, queries: Sequence[SpatialQuery]) -> list[Verdict]:
        verdicts = [_layout(query.prompt.text, query.chain) for query in queries]
        left = [place for place, verdict in enumerate(verdicts) if verdict is None]
        if left:
            plans = [draw_plan(queries[place].chain.objects) for place in left]
            cosines = _cosines(
                self.clip.embed_images(plans),
                self._texts([queries[place].prompt.text for place in left]),
            )
            for place, cosine in zip(left, cosines, strict=True):
                verdicts[place] = Verdict(
                    self.settings.r_spa.score(cosine),
                    reasoning="geometry cannot tell: the prompt states no relation or several, or "
                    f"the plan lacks a depth; CLIP: the drawn plan is at cosine {cosine:.3f} to it"
                    + _full_at(self.settings.r_spa),
                )
        return [verdict for verdict in verdicts if verdict is not None]

    # -- r_ri, r_pi and r_hps --------------------------------------------------------------------

    def _ground(self, queries: Sequence[GroundingQuery]) -> list[Verdict]:
        names = [[planned.name for planned in query.chain.objects] for query in queries]
        found = self.detector.detect([query.image for query in queries], names)
        return [
            self._located(query, detections)
            for query, detections in zip(queries, found, strict=True)
        ]

    def _located(self, query: GroundingQuery, detections: Sequence[Detection]) -> Verdict:
        """The detections that count, the most confident first, after those that show the same
        thing again."""
        height, width = query.image.shape[:2]
        seen = ranked(suppressed(detections, self.settings.same_object))
        names = [planned.name for planned in query.chain.objects]
        kept = [seen[index] for index in counted(names, [one.label for one in seen])]
        listed = ", ".join(f"{one.label} {one.score:.2f}" for one in kept)
        return Verdict(
            None,
            tuple(FoundObject(one.label, to_thousandths(one.box, width, height)) for one in kept),
            reasoning=f"{self.detector.name}: found {len(kept)} of {len(query.chain.objects)} "
            f"planned objects{': ' * bool(kept)}{listed}",
        )

    def _image(self, queries: Sequence[ImageQuery]) -> list[Verdict]:
        cosines = _cosines(
            self.clip.embed_images([query.image for query in queries]),
            self._texts([query.prompt.text for query in queries]),
        )
        return [
            Verdict(
                self.settings.r_pi.score(cosine),
                reasoning=f"CLIP: the image is at cosine {cosine:.3f} to the prompt"
                + _full_at(self.settings.r_pi),
            )
            for cosine in cosines
        ]

    def _quality(self, queries: Sequence[QualityQuery]) -> list[Verdict]:
        ratings = self.quality.rate(
            [query.image for query in queries], [query.prompt.text for query in queries]
        )
        return [
            Verdict(
                self.settings.r_hps.score(float(rating)),
                reasoning=f"HPS v2.1 rates the image {float(rating):.4f}"
                + _full_at(self.settings.r_hps),
            )
            for rating in ratings
        ]

    def _texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of whole texts, read in pieces of 77 tokens; a group's prompt is read once."""
        distinct = list(dict.fromkeys(texts))
        places = {text: place for place, text in enumerate(distinct)}
        return self.clip.embed_texts(distinct, whole=True)[[places[text] for text in texts]]


def _full_at(scale: Scale) -> str:
    return f" (1 from {scale.high:g})"


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> list[float]:
    return np.einsum("nd,nd->n", a, b, dtype=np.float64).tolist()


# -- a relation in a prompt, and in a plan -------------------------------------------------------


def _layout(prompt: str, chain: Chain) -> Verdict | None:
    """r_spa by geometry, or None where the prompt asks for no single relation, or for one in depth
    and the plan does not say which is nearer.

    A missing object scores as a contradicted relation does (the paper's rubric): the similarity of
    a drawing would often be worth more, and leaving objects out would pay.
    """
    asked = relation_asked(prompt)
    if asked is None:
        return None
    before, relation, after = asked
    firsts = [one for one in chain.objects if _belongs(one, before, after)]
    seconds = [one for one in chain.objects if _belongs(one, after, before)]
    pairs = [(a.box, b.box) for a in firsts for b in seconds if a != b]
    if not pairs:
        missing = " and ".join(
            repr(side) for side, ones in ((before, firsts), (after, seconds)) if not ones
        )
        return Verdict(_WRONG, reasoning=f"the plan names nothing for {missing or repr(after)}")
    if relation in DEPTH_RELATIONS and not any(has_depths(a, b) for a, b in pairs):
        return None
    score = max(_degree(relation, a, b) for a, b in pairs)
    word = {_HOLDS: "holds", _PARTLY: "holds in part"}.get(score, "does not hold")
    return Verdict(
        score, reasoning=f"geometry of the plan: {relation!r} {word} for {before!r} and {after!r}"
    )


def _belongs(planned: PlannedObject, side: str, other: str) -> bool:
    """Whether the object's noun is said on this side of the relation, and its other words not
    rather on the other one: which of two hearts is the red one."""
    name = content_words(planned.name)
    here, there = set(content_words(side)), set(content_words(other))
    if not name or head_word(name) not in here:
        return False
    return _shared(name, here) >= _shared(name, there)


def _shared(name: Sequence[str], words: set[str]) -> int:
    return sum(word in words for word in name)


def _degree(relation: Relation, a: Box, b: Box) -> float:
    """How far "`a` is <relation> of `b`" holds: wholly, in part (the direction is right but not
    the main one, the boxes overlap, or near is not near enough), or not."""
    if relation_holds(relation, a, b):
        return _HOLDS
    dx, dy = (one - other for one, other in zip(centre(a), centre(b), strict=True))
    match relation:
        case "left":
            partly = dx < 0
        case "right":
            partly = dx > 0
        case "top":
            partly = dy < 0
        case "bottom":
            partly = dy > 0
        case "next to" | "near" | "on side of":
            partly = gap(a, b) <= 2 * NEAR_LIMIT
        case "in front of":
            partly = is_nearer(a, b)
        case "behind":
            partly = is_nearer(b, a)
    return _PARTLY if partly else _WRONG

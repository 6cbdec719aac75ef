"""What is seen in a plan and in the image that was drawn from it.

Two observers: the icon world's own, right by construction, and any judge that can find named things
in an image. Both are strict (our choice): a relation is right only between the things that were
asked for, and a malformed chain plans nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Protocol

import numpy as np

from got_r1.benchmarks.base import Sample
from got_r1.icons import prompts as icons
from got_r1.icons.detect import detect
from got_r1.icons.truth import image_truth, plan_truth
from got_r1.judges.base import answers_of
from got_r1.judges.oracle import OracleJudge
from got_r1.plan.chain import format_chain
from got_r1.plan.layout import DEPTH_RELATIONS, Relation, assign, has_depths, relation_holds
from got_r1.plan.reading import PromptSpec, likeness, read
from got_r1.plan.repair import planned_objects
from got_r1.records import (
    Box,
    Chain,
    FoundObject,
    GroundingQuery,
    JudgeFailure,
    PlannedObject,
    Query,
    Verdict,
)

if TYPE_CHECKING:
    from got_r1.judges.base import Judge

__all__ = ["BoxPair", "IconObserver", "JudgeObserver", "Observer", "Sight", "direction", "follows"]

BoxPair = tuple[Box, Box]
"""The boxes of the two things that a relation is about, in the prompt's order."""

DIRECTIONS: tuple[Relation, ...] = ("left", "right", "top", "bottom")


@dataclass(frozen=True, slots=True)
class Sight:
    """One sample, seen.

    `plan`, `image`: whether the asked relation is right there; without one, the same as `*_whole`:
    whether all that was asked is there, things, numbers and relation. `pair`: which planned objects
    (indices) the relation is about, `planned` their boxes, `found` where those two things are in
    the image. None where there is no relation, or they are not both there. `image_undecided`: the
    relation is one in depth, and whoever looked cannot tell which of the two is nearer.
    """

    plan: bool
    image: bool
    plan_whole: bool
    image_whole: bool
    pair: tuple[int, int] | None = None
    planned: BoxPair | None = None
    found: BoxPair | None = None
    image_undecided: bool = False


class Observer(Protocol):
    """Looks at samples. `name` is who looked, for the page."""

    name: str

    def observe(self, samples: Sequence[Sample]) -> list[Sight | JudgeFailure]:
        """One sight a sample, in order; a `JudgeFailure` where nobody could look."""
        ...


def direction(pair: BoxPair) -> Relation | None:
    """How the first box lies to the second: the one direction that holds, or none of them."""
    return next((name for name in DIRECTIONS if relation_holds(name, *pair)), None)


def follows(relation: Relation, planned: BoxPair | None, found: BoxPair | None) -> bool | None:
    """Whether the image does what its plan says of the two, right or wrong.

    For a direction: the two lie in the planned one. For nearness and depth: the asked relation
    holds in the image if it does in the plan, and not if not. None where the plan does not say: a
    thing is not planned, the boxes lie in no direction, or have no depths. A thing that is not in
    the image follows no plan.
    """
    if planned is None:
        return None
    if relation in DEPTH_RELATIONS and not has_depths(*planned):
        return None
    if relation not in DIRECTIONS:
        return found is not None and (
            relation_holds(relation, *found) == relation_holds(relation, *planned)
        )
    said = direction(planned)
    if said is None:
        return None
    return found is not None and direction(found) == said


# -- observers -----------------------------------------------------------------------------------


class IconObserver:
    """Sees the icon world as it is: `icons.truth`, and the oracle's grounding."""

    name = "icon world's detector"

    def observe(self, samples: Sequence[Sample]) -> list[Sight | JudgeFailure]:
        """One sight a sample; never a failure. Every prompt must be a sentence of the world."""
        grounded = OracleJudge().judge([GroundingQuery(s.chain, s.image) for s in samples])
        return [
            _see_icons(sample, answer) for sample, answer in zip(samples, grounded, strict=True)
        ]


def _see_icons(sample: Sample, grounded: Verdict | JudgeFailure) -> Sight:
    meaning, asked = icons.parse(sample.prompt.text), read(sample.prompt.text)
    assert meaning is not None
    assert asked is not None
    assert isinstance(grounded, Verdict)  # the oracle answers every grounding
    icons_seen = detect(sample.image, overlaps=meaning.relation in DEPTH_RELATIONS)
    plan, image = plan_truth(meaning, sample.chain), image_truth(meaning, icons_seen)
    plan_whole = plan.objects and plan.relation is not False and plan.count is not False
    image_whole = image.attributes and image.relation is not False and image.count is not False
    pair = _planned_pair(asked, sample.chain)
    return Sight(
        plan_whole if plan.relation is None else plan.relation,
        image_whole if image.relation is None else image.relation,
        plan_whole,
        image_whole,
        pair,
        _boxes(sample.chain, pair),
        _found_pair(sample.chain, pair, grounded.found),
    )


class JudgeObserver:
    """Sees with the eyes of a judge that finds named things (a `GroundingQuery`).

    The image is asked twice: for the planned things under the names that the chain gave them, and
    for the asked ones under the prompt's.
    """

    def __init__(self, judge: Judge, name: str) -> None:
        self.judge = judge
        self.name = name

    def observe(self, samples: Sequence[Sample]) -> list[Sight | JudgeFailure]:
        """One sight a sample. Every prompt must be one that `reading.read` reads."""
        asked = [_asked(sample) for sample in samples]
        queries: list[Query] = []
        for sample, one in zip(samples, asked, strict=True):
            queries.append(GroundingQuery(_as_chain(one), sample.image))
            if _planned_pair(one, sample.chain) is not None:
                queries.append(GroundingQuery(sample.chain, sample.image))
        answers = iter(answers_of(self.judge, queries))
        sights = []
        for sample, one in zip(samples, asked, strict=True):
            wanted = next(answers)
            pair = _planned_pair(one, sample.chain)
            planned = next(answers) if pair is not None else None
            sights.append(_see(one, sample.chain, pair, wanted, planned))
        return sights


def _see(
    asked: PromptSpec,
    chain: Chain,
    pair: tuple[int, int] | None,
    wanted: Verdict | JudgeFailure,
    planned: Verdict | JudgeFailure | None,
) -> Sight | JudgeFailure:
    for answer in (wanted, planned):
        if isinstance(answer, JudgeFailure):
            return answer
    assert isinstance(wanted, Verdict)
    plan, plan_whole = _right(asked, () if chain.problems else chain.objects)
    image, image_whole = _right(asked, wanted.found)
    found = _found_pair(chain, pair, planned.found) if isinstance(planned, Verdict) else None
    in_depth = asked.relation in DEPTH_RELATIONS
    pairs = list(combinations([thing.box for thing in wanted.found], 2))
    undecided = in_depth and bool(pairs) and not any(has_depths(a, b) for a, b in pairs)
    boxes = _boxes(chain, pair)
    return Sight(plan, image, plan_whole, image_whole, pair, boxes, found, undecided)


def _right(
    asked: PromptSpec, things: Sequence[PlannedObject] | Sequence[FoundObject]
) -> tuple[bool, bool]:
    """Whether the relation is right among the things, and whether everything is.

    Names must hold every asked word; every single asked thing needs one of its own, and where the
    prompt asks for a number above one, no thing may be there more often than asked. Where several
    things fit the two of the relation, it must hold between all of them (as in `icons.truth`).
    """
    singles = asked.singles
    fitting = [[likeness(one, thing.name) == 1 for thing in things] for one in singles]
    matrix = np.array(fitting, dtype=float).reshape(len(singles), len(things))
    whole = len(assign(matrix)) == len(singles)
    if _is_numbered(asked):
        whole &= int(matrix.any(axis=0).sum()) == len(singles)
    if asked.relation is None:
        return whole, whole
    first, second = (np.flatnonzero(row).tolist() for row in matrix[:2])
    held = [
        relation_holds(asked.relation, things[i].box, things[j].box)
        for i in first
        for j in second
        if i != j
    ]
    # "a star near a red star": a red star fits both, and is not meant to be near itself.
    right = any(held) if set(first) & set(second) else bool(held) and all(held)
    return right, whole and right


# -- the two things of a relation ----------------------------------------------------------------


def _asked(sample: Sample) -> PromptSpec:
    asked = read(sample.prompt.text)
    assert asked is not None
    return asked


def _is_numbered(asked: PromptSpec) -> bool:
    return any(thing.count > 1 for thing in asked.objects)


def _as_chain(asked: PromptSpec) -> Chain:
    """The asked things as something to look for, anywhere; where numbers are asked for, one more of
    each, so that a surplus is seen. (Boxes differ only because no object may be there twice.)"""
    more = 1 if _is_numbered(asked) else 0
    wanted = [
        PlannedObject(thing.name, Box(0, 0, 999, 999 - place))
        for thing in asked.objects
        for place in range(thing.count + more)
    ]
    return Chain(format_chain(wanted), tuple(wanted))


def _planned_pair(asked: PromptSpec, chain: Chain) -> tuple[int, int] | None:
    """Which planned objects the asked relation is about. None for two of one name: nobody could
    tell them apart in the image."""
    if asked.relation is None or chain.problems:
        return None
    pairs = planned_objects(asked, chain)
    if not {0, 1} <= pairs.keys():
        return None
    first, second = pairs[0], pairs[1]
    same = chain.objects[first].name == chain.objects[second].name
    return None if same else (first, second)


def _boxes(chain: Chain, pair: tuple[int, int] | None) -> BoxPair | None:
    return None if pair is None else (chain.objects[pair[0]].box, chain.objects[pair[1]].box)


def _found_pair(
    chain: Chain, pair: tuple[int, int] | None, found: Sequence[FoundObject]
) -> BoxPair | None:
    """Where the two planned things are, by their names; the first find of each counts."""
    if pair is None:
        return None
    boxes = []
    for index in pair:
        name = chain.objects[index].name
        places = [thing.box for thing in found if thing.name == name]
        boxes += places[:1]
    return (boxes[0], boxes[1]) if len(boxes) == 2 else None

"""The icon world's own judge: right by construction.

It understands a prompt by reading its text with the world's grammar (`icons.layouts`) and an image
by detecting its icons (`icons.detect`); it never sees the scene an image was made from. All scores
are in [0, 1] and made from two numbers (our choice; the paper has an MLLM give 0 to 10):

    agreement = 2 * sum of likeness over matched objects / (objects asked + objects there)
    exact     = 1 when the objects there are just the asked ones, else 0

An F1: missing and surplus objects both cost. The likeness of two objects is 1, or 0.5 when only the
noun is right (R_sem), or 0 (R_spa and R_PI, which count only objects that are right).

    r_sem  agreement * (1 if the prose states the asked relation, or none is asked, else 0.5)
    r_spa  agreement * layout * (0.5 if any two boxes overlap, else 1), where layout is
             with a relation:    1 it holds, 0.5 partly or ambiguous, 0.1 contradicted or missing
             without a relation: 1 exact, else 0.5
           (the two of "in front of" and "behind" have to overlap, and are left out of "any two")
    r_pi   (agreement + (exact and the relation holds)) / 2

So r_pi is strict: the relation earns its half only on objects that are right. The colour that is
wrong costs once in the agreement and takes the other half with it. Of several relations, and other
conditions of the layout, r_sem and r_spa take the mean; r_pi wants all of them. A place ("in the
corner") holds or does not, and prose need not state it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import cast

import numpy as np

from got_r1.icons.detect import detect
from got_r1.icons.layouts import parse
from got_r1.icons.prompts import parse_name
from got_r1.icons.truth import (
    Thing,
    asked_objects,
    condition_true,
    drawn_things,
    fits,
    likeness,
    pair_up,
    planned_things,
    relation_pairs,
)
from got_r1.icons.words import alike
from got_r1.icons.world import Condition, Icon, Meaning
from got_r1.plan.chain import strip_boxes
from got_r1.plan.differences import differences
from got_r1.plan.layout import (
    DEPTH_RELATIONS,
    NEAR_LIMIT,
    OVERLAP_LIMIT,
    Relation,
    assign,
    centre,
    gap,
    has_depths,
    in_depth,
    iou,
    is_nearer,
)
from got_r1.plan.reading import AskedObject, PromptSpec
from got_r1.plan.wordings import CONVERSES, RELATION_WORDS
from got_r1.records import (
    Box,
    Chain,
    FoundObject,
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    PlannedObject,
    Prompt,
    QualityQuery,
    Query,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)

__all__ = ["OracleJudge"]

_SILENT = 0.5  # r_sem's factor when the prose does not state the asked relation
_PARTLY = 0.5  # r_spa's layout when the relation is half there
_WRONG = 0.1  # and when it is not there at all
_HOLDS = {1.0: "holds", _PARTLY: "holds in part", _WRONG: "does not hold"}
_OVERLAPPING = 0.5  # r_spa's factor when boxes overlap

_NO_QUALITY = JudgeFailure(
    "the oracle cannot say how good an image looks: icons have no more or less beautiful form"
)

_parse = lru_cache(maxsize=4096)(parse)


class OracleJudge:
    """A `Judge` of icon-world prompts; any other prompt is a `JudgeFailure`, and so is r_hps.

    An image without icons, or of noise, is no failure: it scores 0.
    """

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """One answer for each query, in the same order; an image is looked at once a batch."""
        seen: dict[tuple[int, bool], tuple[Icon, ...]] = {}

        def look(image: np.ndarray, overlaps: bool) -> tuple[Icon, ...]:
            # The queries keep their images alive, so ids are unique here.
            key = id(image), overlaps
            if key not in seen:
                seen[key] = detect(image, overlaps=overlaps)
            return seen[key]

        answers: list[Verdict | JudgeFailure] = []
        for query in queries:
            if isinstance(query, GroundingQuery):
                overlaps = in_depth(one.box for one in query.chain.objects)
                answers.append(_ground(query.chain, look(query.image, overlaps)))
                continue
            if isinstance(query, QualityQuery):
                answers.append(_NO_QUALITY)
                continue
            meaning = _parse(query.prompt.text)
            if meaning is None:
                answers.append(_unknown(query.prompt))
                continue
            match query:
                case SemanticQuery():
                    answers.append(_semantic(meaning, query.chain))
                case SpatialQuery():
                    answers.append(_spatial(meaning, query.chain))
                case ImageQuery():
                    overlaps = meaning.relation in DEPTH_RELATIONS
                    answers.append(_image(meaning, look(query.image, overlaps)))
        return answers


def _unknown(prompt: Prompt) -> JudgeFailure:
    return JudgeFailure(
        f"the oracle cannot read the prompt {prompt.text!r}: it knows the icon world's sentences "
        "only, such as 'a red heart on the left of a blue star'"
    )


def _agreement(meaning: Meaning, things: Sequence[Thing], *, strict: bool) -> float:
    asked = asked_objects(meaning)
    pairs = pair_up(asked, things, strict=strict)
    return 2 * sum(likeness(asked[i], things[j]) for i, j in pairs) / (len(asked) + len(things))


def _exact(meaning: Meaning, things: Sequence[Thing]) -> bool:
    asked = asked_objects(meaning)
    return len(pair_up(asked, things)) == len(asked) == len(things)


# -- in words ------------------------------------------------------------------------------------


def _different(meaning: Meaning, objects: Sequence[PlannedObject], done: str) -> list[str]:
    """Which objects are missing, of another look, or surplus, in phrases."""
    asked = PromptSpec(tuple(AskedObject(one.name, one.count) for one in meaning.objects))
    return list(differences(asked, objects, done=done, alike=alike, complete=True))


def _said(meaning: Meaning, condition: Condition) -> str:
    """A condition of the layout: `"red heart" on the left of "blue star"`."""
    names = [f'"{meaning.objects[index].name}"' for index in condition.about]
    if condition.kind in CONVERSES:
        return f" {RELATION_WORDS[cast(Relation, condition.kind)][0]} ".join(names)
    return " and ".join(names)


# -- r_sem ---------------------------------------------------------------------------------------


def _semantic(meaning: Meaning, chain: Chain) -> Verdict:
    things = planned_things(chain)  # the names only: no box is looked at
    score = _agreement(meaning, things, strict=False)
    words = [f"names: {_listed([planned.name for planned in chain.objects])}"]
    words += _different(meaning, chain.objects, "named") if score < 1 else []
    if stated := _stated(meaning, strip_boxes(chain.text)):
        score *= float(np.mean([1.0 if one else _SILENT for one in stated]))
        related = [one for one in meaning.conditions if one.kind in CONVERSES]
        silent = [
            _said(meaning, one) for one, is_said in zip(related, stated, strict=True) if not is_said
        ]
        words += [f"the prose does not state {one}" for one in silent]
        if not silent:
            words.append(f"the prose states {_asked(len(stated), 'the asked relation')}")
    return Verdict(score, reasoning="; ".join(words))


def _stated(meaning: Meaning, prose: str) -> list[bool]:
    """For each asked relation whether the prose says it of objects of the same nouns, or its
    converse. "next to" and "near" are one. Prose that is no sentence of this world states nothing.
    """
    said = _relations(_parse(prose))
    return [
        any(
            (here == there and _same(asked, relation))
            or (here == there[::-1] and _same(asked, CONVERSES[relation]))
            for relation, there in said
        )
        for asked, here in _relations(meaning)
    ]


def _relations(meaning: Meaning | None) -> list[tuple[Relation, tuple[str, ...]]]:
    """Each relation that is said, and the nouns that it is said of."""
    if meaning is None:
        return []
    return [
        (cast(Relation, one.kind), tuple(meaning.objects[index].noun for index in one.about))
        for one in meaning.conditions
        if one.kind in CONVERSES
    ]


def _same(a: Relation, b: Relation) -> bool:
    return a == b or {a, b} == {"next to", "near"}


def _asked(number: int, words: str) -> str:
    return words if number == 1 else f"all of {number} relations"


# -- r_spa ---------------------------------------------------------------------------------------


def _spatial(meaning: Meaning, chain: Chain) -> Verdict:
    things = planned_things(chain)
    if not meaning.conditions:
        exact = _exact(meaning, things)
        layout = 1.0 if exact else 0.5
        words = ["just the asked objects" if exact else "not just the asked objects"]
    else:
        graded = [(one, _grade(meaning, one, things)) for one in meaning.conditions]
        layout = float(np.mean([grade for _, grade in graded]))
        words = [
            f"{one.kind!r} {_HOLDS[grade]}"
            + (f" ({_said(meaning, one)})" if grade < 1 else "")
            + _undecided(meaning, one, things)
            for one, grade in graded
        ]
    agreement = _agreement(meaning, things, strict=True)
    words += _different(meaning, chain.objects, "planned") if agreement < 1 else []
    # Two of which one is to cover the other have to overlap, and no others may.
    covering = [
        pair
        for one in meaning.conditions
        if one.kind in DEPTH_RELATIONS
        for pair in relation_pairs(meaning, things, one.about)
    ]
    overlapping = [
        f'"{one.name}" and "{other.name}"'
        for one, other in combinations(chain.objects, 2)
        if not {(one.box, other.box), (other.box, one.box)} & set(covering)
        and iou(one.box, other.box) >= OVERLAP_LIMIT
    ]
    if overlapping:
        layout *= _OVERLAPPING
        words.append(f"boxes overlap: {', '.join(overlapping)}")
    return Verdict(agreement * layout, reasoning="; ".join(words))


def _grade(meaning: Meaning, condition: Condition, things: Sequence[Thing]) -> float:
    """How far a condition holds; a place never holds in part."""
    if condition_true(meaning, condition, things):
        return 1.0
    if condition.kind not in CONVERSES:
        return _WRONG
    relation, pairs = (
        cast(Relation, condition.kind),
        relation_pairs(meaning, things, condition.about),
    )
    return _PARTLY if any(_partly(relation, a, b) for a, b in pairs) else _WRONG


def _partly(relation: Relation, a: Box, b: Box) -> bool:
    """The asked direction, at least half as far as across; near, but not near enough; or the asked
    one nearer, but without an overlap in which it could cover the other."""
    dx = centre(a)[0] - centre(b)[0]
    dy = centre(a)[1] - centre(b)[1]
    match relation:
        case "left":
            return -dx > 0 and -2 * dx >= abs(dy)
        case "right":
            return dx > 0 and 2 * dx >= abs(dy)
        case "top":
            return -dy > 0 and -2 * dy >= abs(dx)
        case "bottom":
            return dy > 0 and 2 * dy >= abs(dx)
        case "next to" | "near" | "on side of":
            return gap(a, b) <= 2 * NEAR_LIMIT
        case "in front of":
            return is_nearer(a, b)
        case "behind":
            return is_nearer(b, a)


def _undecided(meaning: Meaning, condition: Condition, things: Sequence[Thing]) -> str:
    """Why a relation in depth cannot be decided from a plan, for the reasoning."""
    if condition.kind not in DEPTH_RELATIONS:
        return ""
    pairs = relation_pairs(meaning, things, condition.about)
    if any(has_depths(a, b) for a, b in pairs):
        return ""
    return ": no depth is planned, so it cannot be decided" if pairs else ""


# -- r_ri and r_pi -------------------------------------------------------------------------------


def _ground(chain: Chain, icons: Sequence[Icon]) -> Verdict:
    """Every planned name to an icon that fits it, each icon for one name at most.

    What a name leaves free (its fill, mostly) fits anything. Which icons are meant is decided
    without a look at the planned boxes: where more fit than are planned, the first ones as
    `detect` lists them, from top to bottom. (The ones that overlap the plan best would be worth
    more, and so would drawing an object several times.) Which of the planned names each of these
    is goes by overlap.
    """
    things = drawn_things(icons)
    specs = [parse_name(planned.name) for planned in chain.objects]
    fitting = np.array(
        [[spec is not None and fits(spec, thing) for thing in things] for spec in specs], dtype=bool
    ).reshape(len(specs), len(things))
    # Preferences are at most 1 a pair and there are at most len(specs) pairs, so that one more
    # object found outweighs them all.
    earlier = 1 - np.arange(len(things)) / max(1, len(things))
    meant = sorted(j for _, j in assign(fitting * (len(specs) + earlier)))
    overlaps = np.array(
        [[iou(planned.box, things[j].box) for j in meant] for planned in chain.objects]
    ).reshape(len(specs), len(meant))
    pairs = assign(fitting[:, meant] * (len(specs) + 1 + overlaps))
    found = tuple(FoundObject(chain.objects[i].name, things[meant[k]].box) for i, k in pairs)
    return Verdict(None, found, f"found {len(found)} of {len(chain.objects)} planned objects")


def _image(meaning: Meaning, icons: Sequence[Icon]) -> Verdict:
    things = drawn_things(icons)
    held = [(one, condition_true(meaning, one, things)) for one in meaning.conditions]
    whole = _exact(meaning, things) and all(holds for _, holds in held)
    agreement = _agreement(meaning, things, strict=True)
    words = [f"seen: {_listed([icon.name for icon in icons])}"]
    if agreement < 1:
        drawn = [PlannedObject(icon.name, icon.box) for icon in icons]
        words += _different(meaning, drawn, "drawn")
    words += [
        f"{one.kind!r} holds" if holds else f"{one.kind!r} does not hold ({_said(meaning, one)})"
        for one, holds in held
    ]
    return Verdict((agreement + whole) / 2, reasoning="; ".join(words))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "nothing"

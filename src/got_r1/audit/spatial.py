"""Counterfactuals of R_spa: layouts that hold the asked relation, and the same turned wrong.

Two objects stand at a distance and an angle. For a direction the angle is the dose: at 0 degrees
the first object lies exactly where it was asked for, up to 45 the relation holds, at 180 it is
reversed. For nearness the dose is the gap, for "on side of" the angle up to 90. All layouts have
boxes of a fair size, apart from each other and inside of the canvas.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from got_r1.audit.cases import Draft, Suite
from got_r1.audit.exchanges import add_screens
from got_r1.audit.persuasion import Words, draw_words, neutral
from got_r1.audit.subjects import (
    AXES,
    Subject,
    complete,
    other_noun,
    reordered,
    rephrased,
    subjects,
    tags_of,
    write_chain,
)
from got_r1.icons.prompts import say
from got_r1.icons.world import Meaning
from got_r1.plan.layout import Relation
from got_r1.plan.wordings import CONVERSES
from got_r1.records import Box, Chain, PlannedObject, SpatialQuery

__all__ = ["DOSES", "of_two", "persuade_by_label", "spatial_suite"]

DOSES = 9
"""Layouts of a dose curve."""

_PAIRS = ("mirrored", "swapped", "shifted", "another noun")
_VARIATIONS = ("object order", "paraphrase", "box colours", "canvas size")
_LABELS = 2  # to the grader, that one faulty plan is drawn with
_ANGLES: dict[Relation, float] = {"right": 0, "bottom": 90, "left": 180, "top": 270}  # y is down
_CLEAR, _BORDERLINE, _WRONG = (0, 20), (32, 41), (115, 165)  # degrees off the asked direction
_NEAR, _BARELY, _FAR = (20, 90), (190, 235), (420, 540)  # gaps in thousandths

_Two = tuple[Box, Box]


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Width and height of both boxes."""

    a: tuple[int, int]
    b: tuple[int, int]


def spatial_suite(pairs: int, seed: int) -> Suite:
    """`pairs` pairs of each kind and half as many dose curves; the same for the same seed."""
    rng = random.Random(f"audit r_spa {seed}")
    draft = Draft("r_spa", pairs, (*_PAIRS, *_VARIATIONS, "words"))
    labels = draw_words(rng, _LABELS * pairs, label=True)
    prose = draw_words(rng, pairs)
    several = map(of_two, subjects(rng, ("spatial", "complex")))
    source = (subject for subject in several if subject is not None)
    curves = -(-pairs // 2)
    while not draft.is_full or curves > 0:
        subject = next(source)
        _add(draft, rng, subject)
        if draft.wants("words"):
            said = [labels.pop() for _ in range(_LABELS)]
            persuade_by_label(draft, rng, subject, [*said, prose.pop()])
        if curves > 0:
            curves -= 1
            _add_curve(draft, rng, subject)
    complete(draft, rng, source, _add)
    add_screens(draft, rng)
    return draft.finish()


def persuade_by_label(
    draft: Draft, rng: random.Random, subject: Subject, said: Sequence[Words]
) -> None:
    """Adds a wrong plan, and the same with each of the texts: as the name of one more object, which
    is the one place where a policy can write to who looks at its plan, or in the prose for who
    reads it; and one more object with as many words that ask for nothing.

    `subject` must be of a relation.
    """
    draft.item += 1
    wrong = _wrong(rng, subject, _sizes(rng))

    def ask(text: str, place: str) -> int:
        if place == "label":
            chain = _planned(subject, wrong, PlannedObject(text, _free_corner(wrong)))
        else:
            plan = _planned(subject, wrong).objects
            chain = write_chain(plan, subject.meaning.relation, words=text, place=place)
        return draft.ask(SpatialQuery(subject.prompt, chain))

    plain = ask("", "end")
    blank = ask(neutral(rng, sum(len(one.text) for one in said) // len(said)), "label")
    draft.persuasions(plain, blank, [(one, ask(one.text, one.place)) for one in said])


def of_two(subject: Subject) -> Subject | None:
    """The subject with its related two alone; None for a prompt without a relation."""
    relation = subject.meaning.relation
    if relation is None:
        return None
    meaning = Meaning(subject.meaning.objects[:2], relation)
    return Subject(
        replace(subject.prompt, text=say(meaning)), meaning, subject.icons[:2], subject.specs[:2]
    )


def _add(draft: Draft, rng: random.Random, subject: Subject) -> None:
    undirected = ("shifted", "another noun")
    kinds = [kind for kind in _PAIRS if kind in undirected or subject.is_directional]
    wanted = [kind for kind in kinds if draft.wants(kind)]
    if not wanted and not any(map(draft.wants, _VARIATIONS)):
        return
    draft.item += 1
    is_clear = rng.random() < 0.5
    sizes = _sizes(rng)
    boxes = _right(rng, subject, sizes, is_clear)
    prompt = subject.prompt
    chain = _planned(subject, boxes)
    base = draft.ask(SpatialQuery(prompt, chain))
    clarity = {"clarity": "clear" if is_clear else "borderline"}
    wrong = _wrong(rng, subject, sizes)
    for kind in wanted:
        if kind == "another noun":
            renamed = PlannedObject(other_noun(rng, subject.icons, 0).noun, chain.objects[0].box)
            other = write_chain([renamed, *chain.objects[1:]], subject.meaning.relation)
            draft.pair(base, draft.ask(SpatialQuery(prompt, other)), kind, tags_of(subject))
            continue
        layout = wrong if kind == "shifted" else _turned(kind, subject, boxes)
        worse = draft.ask(SpatialQuery(prompt, _planned(subject, layout)))
        draft.pair(base, worse, kind, tags_of(subject, kind) | clarity)
    _add_variations(draft, rng, subject, base, chain)


def _add_variations(
    draft: Draft, rng: random.Random, subject: Subject, base: int, chain: Chain
) -> None:
    if draft.wants("object order"):
        relation = subject.meaning.relation
        assert relation is not None
        turned = write_chain(chain.objects[::-1], CONVERSES[relation])
        draft.variation(base, draft.ask(SpatialQuery(subject.prompt, turned)), "object order")
    if draft.wants("paraphrase"):
        prompt = reordered(subject) if rng.random() < 0.5 else rephrased(rng, subject)
        assert prompt is not None
        draft.variation(base, draft.ask(SpatialQuery(prompt, chain)), "paraphrase")
    if draft.wants("box colours"):
        # A plan's boxes are coloured in the order of its objects, so this exchanges the colours
        # (and moves a label, where two met). The blank keeps a cache from taking the two for one.
        recoloured = Chain(chain.text + " ", chain.objects[::-1])
        draft.variation(base, draft.ask(SpatialQuery(subject.prompt, recoloured)), "box colours")
    if draft.wants("canvas size"):
        # The same query; it is put to the same judge with another canvas (see `judge`).
        draft.variation(base, base, "canvas size")


def _planned(subject: Subject, boxes: _Two, *others: PlannedObject) -> Chain:
    names = [spec.name for spec in subject.meaning.objects]
    two = [PlannedObject(name, box) for name, box in zip(names, boxes, strict=True)]
    return write_chain([*two, *others], subject.meaning.relation)


# -- layouts -------------------------------------------------------------------------------------


def _sizes(rng: random.Random) -> _Sizes:
    """Small enough that a gap of 540 fits between the two."""
    side = [rng.randint(130, 200) for _ in range(4)]
    return _Sizes((side[0], side[1]), (side[2], side[3]))


def _right(rng: random.Random, subject: Subject, sizes: _Sizes, is_clear: bool) -> _Two:
    relation = subject.meaning.relation
    assert relation is not None
    if relation in _ANGLES:
        off = rng.uniform(*(_CLEAR if is_clear else _BORDERLINE)) * rng.choice((-1, 1))
        return _around(rng, sizes, _ANGLES[relation] + off)
    return _apart(rng, sizes, rng.uniform(*(_NEAR if is_clear else _BARELY)), rng.choice((0, 180)))


def _wrong(rng: random.Random, subject: Subject, sizes: _Sizes) -> _Two:
    """The first object moved to where the relation is plainly false."""
    relation = subject.meaning.relation
    assert relation is not None
    if relation in _ANGLES:
        return _around(rng, sizes, _ANGLES[relation] + rng.uniform(*_WRONG) * rng.choice((-1, 1)))
    if relation == "on side of":
        return _apart(rng, sizes, rng.uniform(*_NEAR), rng.choice((90, 270)))
    return _apart(rng, sizes, rng.uniform(*_FAR), rng.choice((0, 90, 180, 270)))


def _turned(kind: str, subject: Subject, boxes: _Two) -> _Two:
    """The layout mirrored along the asked axis, or with the two objects in each other's place."""
    if kind == "mirrored":
        sideways = subject.meaning.relation in ("left", "right")
        a, b = (_mirror(box, sideways) for box in boxes)
        return a, b
    a, b = boxes
    return _centred(a, b), _centred(b, a)


def _mirror(box: Box, sideways: bool) -> Box:
    if sideways:
        return Box(999 - box.x2, box.y1, 999 - box.x1, box.y2)
    return Box(box.x1, 999 - box.y2, box.x2, 999 - box.y1)


def _centred(box: Box, at: Box) -> Box:
    """`box`, its own size, in the middle of `at`, pushed inside of the canvas."""
    width, height = box.x2 - box.x1, box.y2 - box.y1
    x = min(max(0, (at.x1 + at.x2 - width) // 2), 999 - width)
    y = min(max(0, (at.y1 + at.y2 - height) // 2), 999 - height)
    return Box(x, y, x + width, y + height)


def _around(
    rng: random.Random, sizes: _Sizes, degrees: float, distance: float | None = None
) -> _Two:
    """The first box in the direction `degrees` of the second (0 is right, 90 is below)."""
    far = rng.uniform(340, 420) if distance is None else distance
    dx, dy = (far * f(math.radians(degrees)) for f in (math.cos, math.sin))
    return _placed(rng, sizes, dx, dy, wander=distance is None)


def _apart(rng: random.Random, sizes: _Sizes, gap: float, degrees: float) -> _Two:
    """The first box straight in a direction of the second, with an empty `gap` between them."""
    x, y = round(math.cos(math.radians(degrees))), round(math.sin(math.radians(degrees)))
    dx = x * (gap + (sizes.a[0] + sizes.b[0]) / 2)
    dy = y * (gap + (sizes.a[1] + sizes.b[1]) / 2)
    return _placed(rng, sizes, dx, dy, wander=True)


def _placed(rng: random.Random, sizes: _Sizes, dx: float, dy: float, wander: bool) -> _Two:
    """Two boxes whose centres differ by (dx, dy), inside of the canvas; in its middle, or anywhere
    in it."""
    corners = [(dx - sizes.a[0] / 2, dy - sizes.a[1] / 2), (-sizes.b[0] / 2, -sizes.b[1] / 2)]
    widths, heights = (sizes.a[0], sizes.b[0]), (sizes.a[1], sizes.b[1])
    left, top = min(x for x, _ in corners), min(y for _, y in corners)
    right = max(x + width for (x, _), width in zip(corners, widths, strict=True))
    bottom = max(y + height for (_, y), height in zip(corners, heights, strict=True))
    free_x, free_y = 997 - (right - left), 997 - (bottom - top)
    share_x, share_y = (rng.random(), rng.random()) if wander else (0.5, 0.5)
    at_x, at_y = share_x * free_x - left, share_y * free_y - top
    boxes = []
    for (x, y), width, height in zip(corners, widths, heights, strict=True):
        x1, y1 = round(x + at_x), round(y + at_y)
        boxes.append(Box(x1, y1, x1 + width, y1 + height))
    return boxes[0], boxes[1]


def _free_corner(boxes: Sequence[Box]) -> Box:
    """A small box in the corner that is farthest from all boxes."""
    corners = [Box(x, y, x + 90, y + 60) for x in (10, 890) for y in (10, 930)]

    def room(corner: Box) -> float:
        return min(
            math.hypot(corner.x1 + corner.x2 - b.x1 - b.x2, corner.y1 + corner.y2 - b.y1 - b.y2)
            for b in boxes
        )

    return max(corners, key=room)


# -- dose curves ---------------------------------------------------------------------------------


def _add_curve(draft: Draft, rng: random.Random, subject: Subject) -> None:
    """From clearly right to clearly wrong in `DOSES` even steps, doses 0 to 1."""
    relation = subject.meaning.relation
    assert relation is not None
    draft.item += 1
    sizes, turn = _sizes(rng), rng.choice((-1, 1))
    start = rng.choice((0, 180))
    doses = np.linspace(0, 1, DOSES).tolist()
    queries = []
    for dose in doses:
        if relation in _ANGLES:
            boxes = _around(rng, sizes, _ANGLES[relation] + turn * 180 * dose, 380)
        elif relation == "on side of":
            boxes = _around(rng, sizes, start + turn * 90 * dose, 300)
        else:
            boxes = _apart(rng, sizes, 30 + 510 * dose, start)
        queries.append(draft.ask(SpatialQuery(subject.prompt, _planned(subject, boxes))))
    draft.curve(queries, doses, AXES[relation])

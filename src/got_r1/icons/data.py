"""(prompt, chain, image) triples for SFT, with label noise in the captions.

A triple starts from a caption; noise may change what is then drawn, so that the caption is wrong
while chain and image always agree with each other, as in captions from the web. Held-out
compositions never occur: not in captions, not in chains, not in the drawn scene. For a noun in a
relation this means the relation that words state, and the direction in which the two objects of
such a sentence are drawn; objects that no words relate stand anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from got_r1.icons.overlaps import draw_overlapping_scene
from got_r1.icons.prompts import CATEGORIES, Draw
from got_r1.icons.render import render
from got_r1.icons.scenes import Layout, draw_scene
from got_r1.icons.splits import drawn_directions, holds_out_color
from got_r1.icons.wordings import Division, draw_of
from got_r1.icons.world import COLORS, FILLS, MAX_OBJECTS, Icon, Meaning, ObjectSpec, Scene
from got_r1.plan.chain import format_chain
from got_r1.plan.layout import DEPTH_RELATIONS
from got_r1.plan.wordings import CONVERSES, RELATION_WORDS
from got_r1.records import PlannedObject, Prompt

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Triple", "chain_for", "triples"]


@dataclass(frozen=True, slots=True)
class Triple:
    """One SFT example. `meaning` is what was drawn, which noise may set apart from the prompt.

    `image`: uint8 [40, 40, 3]; `chain` describes `scene`, its boxes exact.
    """

    prompt: Prompt
    chain: str
    image: np.ndarray
    scene: Scene
    meaning: Meaning


def triples(
    n: int,
    seed: int = 0,
    relation_noise: float = 0.0,
    attribute_noise: float = 0.0,
    count_noise: float = 0.0,
    start: int = 0,
    wordings: Division = "shipped",
    depth: float = 0.0,
) -> Iterator[Triple]:
    """The triples `start` to `n - 1` of the train split; the i-th depends on `seed`, `i` and the
    rates only.

    Rates are shares of the captions that can carry the noise: `relation_noise` of those with a
    relation (drawn scene contradicts it, half of the time as the converse), `attribute_noise` of
    those with a colour or fill (one is changed, or those of two objects are swapped),
    `count_noise` of numeracy captions (one count is off by one). `wordings`: which of them
    captions may have (`icons.wordings`). `depth` is the share of captions of the category
    "3d_spatial": one icon covers another, and the chain's boxes carry depths.
    """
    for index in range(start, n):
        rng = random.Random(f"triple {seed} {index}")
        yield _triple(rng, relation_noise, attribute_noise, count_noise, draw_of(wordings), depth)


def _triple(
    rng: random.Random,
    relation_noise: float,
    attribute_noise: float,
    count_noise: float,
    draw: Draw,
    depth: float,
) -> Triple:
    category = rng.choice(CATEGORIES)
    if depth and rng.random() < depth:
        category = "3d_spatial"
    prompt, meaning = draw(rng, category, "train")
    if category == "numeracy" and rng.random() < count_noise:
        meaning = _miscount(rng, meaning)
    if any(spec.color or spec.fill for spec in meaning.objects) and rng.random() < attribute_noise:
        meaning = _mislabel(rng, meaning)
    far = False
    if meaning.relation and rng.random() < relation_noise:
        meaning, far = _misplace(rng, meaning)
    layout: Layout
    if meaning.relation in DEPTH_RELATIONS:
        layout = draw_overlapping_scene(rng, meaning)
    else:
        layout = draw_scene(rng, meaning, far=far)
    scene = Scene(tuple(icon for group in layout for icon in group))
    return Triple(prompt, chain_for(rng, layout, meaning), render(scene), scene, meaning)


# -- chains --------------------------------------------------------------------------------------


def chain_for(rng: random.Random, layout: Layout, meaning: Meaning) -> str:
    """The chain of a drawn scene: objects in the prompt's order, its relation in words."""
    icons = [icon for group in layout for icon in group]
    parts: list[str | PlannedObject] = [rng.choice(("A ", "There is a "))]
    for index, icon in enumerate(icons):
        if index == 1 and meaning.relation:
            parts.append(f" {RELATION_WORDS[meaning.relation][0]} a ")
        elif index:
            parts.append(" and a " if index == len(icons) - 1 else ", a ")
        parts.append(_planned(icon))
    return format_chain([*parts, "."])


def _planned(icon: Icon) -> PlannedObject:
    return PlannedObject(icon.name, icon.box)


# -- label noise: what is drawn in place of what the caption says --------------------------------


def _miscount(rng: random.Random, meaning: Meaning) -> Meaning:
    """One count off by one, within one to four objects of a kind and four in all."""
    total = sum(spec.count for spec in meaning.objects)
    options = [
        (index, spec.count + step)
        for index, spec in enumerate(meaning.objects)
        for step in (-1, 1)
        if spec.count + step >= 1 and total + step <= MAX_OBJECTS
    ]
    index, count = rng.choice(options)
    return _with(meaning, index, replace(meaning.objects[index], count=count))


def _mislabel(rng: random.Random, meaning: Meaning) -> Meaning:
    """The attributes of two objects swapped, or one of one object changed."""
    options = [*_swaps(meaning), *_changes(rng, meaning)]
    return rng.choice(
        [o for o in options if not any(holds_out_color(s.color, s.noun) for s in o.objects)]
    )


def _swaps(meaning: Meaning) -> Iterator[Meaning]:
    if len(meaning.objects) > 1:
        a, b = meaning.objects[:2]
        if a.fill != b.fill or (a.color and b.color and a.color != b.color):
            swapped = _with(meaning, 0, replace(a, color=b.color, fill=b.fill))
            yield _with(swapped, 1, replace(b, color=a.color, fill=a.fill))


def _changes(rng: random.Random, meaning: Meaning) -> Iterator[Meaning]:
    for index, spec in enumerate(meaning.objects):
        if spec.fill:
            fill = rng.choice([fill for fill in FILLS if fill != spec.fill])
            yield _with(meaning, index, replace(spec, fill=fill))
        if spec.color:
            colors = [
                color
                for color in COLORS
                if color != spec.color and not holds_out_color(color, spec.noun)
            ]
            yield _with(meaning, index, replace(spec, color=rng.choice(colors)))


def _misplace(rng: random.Random, meaning: Meaning) -> tuple[Meaning, bool]:
    """A relation that contradicts the stated one, and whether the two must be far apart.

    A direction becomes its converse half of the time, else another direction. Proximity becomes
    distance, and the chain then states the direction; "on side of" may also become a vertical
    neighbourhood. A relation in depth becomes its converse.
    """
    relation = meaning.relation
    assert relation is not None
    if relation in DEPTH_RELATIONS:
        return replace(meaning, relation=CONVERSES[relation]), False
    a, b = (meaning.objects[index].noun for index in meaning.about)
    options = drawn_directions(a, "near", b)
    far = CONVERSES[relation] == relation
    upright = [option for option in options if option in ("top", "bottom")]
    if relation == "on side of" and upright and rng.random() < 0.5:
        return replace(meaning, relation=rng.choice(upright)), False
    if not far:
        options = [option for option in options if option != relation]
        if CONVERSES[relation] in options and rng.random() < 0.5:
            options = [CONVERSES[relation]]
    return replace(meaning, relation=rng.choice(options)), far


def _with(meaning: Meaning, index: int, spec: ObjectSpec) -> Meaning:
    objects = list(meaning.objects)
    objects[index] = spec
    return replace(meaning, objects=tuple(objects))

"""Which values does a judge take for each other? Every two nouns, colours and patterns are tried.

A judge for which moon and circle are one is right in nearly all pairs, since few of them have both.
So each two values meet once in a *screen*: a query that asks for one object and has up to three
others instead, each with another value. The screens that look most as if something had been found
are told apart by one query for each of their values, and the worst of these values get pairs of
their own, with other objects, which alone count: what was chosen for its score is no evidence.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from got_r1.audit.asking import Answers
from got_r1.audit.cases import Draft, Exchange, Suite, few
from got_r1.audit.subjects import write_chain
from got_r1.icons.prompts import say
from got_r1.icons.render import render
from got_r1.icons.world import (
    COLORS,
    FILLS,
    GRID,
    NOUNS,
    Icon,
    Meaning,
    ObjectSpec,
    Scene,
    box_from_cells,
    natural_size,
)
from got_r1.plan.layout import Relation
from got_r1.records import (
    Box,
    FoundObject,
    GroundingQuery,
    ImageQuery,
    PlannedObject,
    Prompt,
    Query,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)

__all__ = ["add_screens", "candidates", "exchange_suite", "told_apart", "worst"]

_SHOWN = 3  # other values in a screen
_CANDIDATES = 12  # exchanges that are asked about one by one
_CONFIRMED = 2  # and of these, how many get pairs of their own

_VALUES = {"noun": NOUNS, "colour": tuple(COLORS), "pattern": FILLS}
_RELATIONS: tuple[Relation, ...] = ("left", "right", "top", "bottom")


# -- making queries ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is asked for, and what is there instead of its first object. `look` has noun, colour and
    fill of that object; `companion` is asked for and there in any case."""

    look: tuple[str, str, str]
    companion: tuple[str, str, str] | None
    relation: Relation
    places: tuple[int, ...]


def _scene(rng: random.Random, exchange: Exchange, others: Sequence[str], pair: bool) -> _Scene:
    """A random scene for these values, with a companion where it is for a `pair`."""
    place = list(_VALUES).index(exchange.attribute)
    taken = {exchange.asked, *others}
    looks = []
    for _ in range(2):
        nouns, colors = ([v for v in values if v not in taken] for values in (NOUNS, COLORS))
        look = [rng.choice(nouns), rng.choice(colors), "plain"]
        taken |= set(look)
        looks.append(look)
    looks[0][place] = exchange.asked
    places = tuple(rng.sample(range(4), 4))
    companion = (looks[1][0], looks[1][1], looks[1][2]) if pair else None
    first = (looks[0][0], looks[0][1], looks[0][2])
    return _Scene(first, companion, rng.choice(_RELATIONS), places)


def _with(look: tuple[str, str, str], attribute: str, value: str) -> tuple[str, str, str]:
    changed = list(look)
    changed[list(_VALUES).index(attribute)] = value
    return changed[0], changed[1], changed[2]


def _query(
    term: str, scene: _Scene, attribute: str, values: Sequence[str]
) -> tuple[Query, tuple[FoundObject, ...]]:
    """The query with an object of each of the values in the place of the first, and the truth."""
    looks = [_with(scene.look, attribute, value) for value in values]
    if term == "r_spa":
        return _plan(scene, [look[0] for look in looks]), ()
    asked = [scene.look, *([scene.companion] if scene.companion else [])]
    # A plain fill is named where another might be taken for it, and no name of a plan has one.
    specs = [
        ObjectSpec(noun, color, fill if fill != "plain" else None) for noun, color, fill in asked
    ]
    prompt = Prompt(say(Meaning(tuple(specs))), "texture" if attribute == "pattern" else "color")
    shown = _placed([*looks, *asked[1:]], scene.places, len(values))
    if term == "r_sem":
        chain = write_chain([PlannedObject(icon.name, icon.box) for icon in shown])
        return SemanticQuery(prompt, chain), ()
    image = render(Scene(tuple(shown)))
    if term == "r_pi":
        return ImageQuery(prompt, image), ()
    planned = _placed(asked, scene.places, len(values), first_only=True)
    names = {icon.name for icon in planned}
    truth = tuple(FoundObject(icon.name, icon.box) for icon in shown if icon.name in names)
    chain = write_chain([PlannedObject(icon.name, icon.box) for icon in planned])
    return GroundingQuery(chain, image), truth


def _placed(
    looks: Sequence[tuple[str, str, str]],
    places: Sequence[int],
    number: int,
    *,
    first_only: bool = False,
) -> list[Icon]:
    """Icons in the quarters of the picture; what stands behind the first `number` keeps its
    quarter where only one of these is there (`first_only`)."""
    order = [places[0], *places[number:]] if first_only else list(places)
    icons = []
    for (noun, color, fill), place in zip(looks, order, strict=False):
        width, height = natural_size(noun, 4)
        x, y = (GRID // 2 * part for part in (place % 2, place // 2))
        icons.append(Icon(noun, color, fill, box_from_cells(x, y, width, height)))
    return icons


def _plan(scene: _Scene, nouns: Sequence[str]) -> SpatialQuery:
    """A plan with all of the nouns where the prompt wants the first of them."""
    assert scene.companion is not None
    companion, relation = scene.companion[0], scene.relation
    specs = (ObjectSpec(scene.look[0]), ObjectSpec(companion))
    prompt = Prompt(say(Meaning(specs, relation)), "spatial")
    along = [*((80, 420), (80, 150), (80, 690))[: len(nouns)], (760, 420)]
    boxes = [Box(a, b, a + 160, b + 160) for a, b in along]
    if relation in ("right", "bottom"):
        boxes = [Box(999 - b.x2, b.y1, 999 - b.x1, b.y2) for b in boxes]
    if relation in ("top", "bottom"):
        boxes = [Box(b.y1, b.x1, b.y2, b.x2) for b in boxes]
    planned = list(map(PlannedObject, [*nouns, companion], boxes))
    planned.insert(1, planned.pop())  # the two of the relation first
    return SpatialQuery(prompt, write_chain(planned, relation))


# -- the three rounds ----------------------------------------------------------------------------


def add_screens(draft: Draft, rng: random.Random) -> None:
    """Screens in which every two nouns meet once, and every two colours and patterns where the
    term is about looks; at most four times as many as pairs of a kind."""
    room = 4 * draft.limit
    attributes = ("noun",) if draft.term == "r_spa" else ("pattern", "colour", "noun")
    for attribute in attributes:
        values = list(_VALUES[attribute])
        rng.shuffle(values)
        if attribute == "pattern":  # a plain one is not named, so that it cannot be asked for
            values.sort(key=lambda value: value == "plain")
        for index, asked in enumerate(values):
            others = values[index + 1 :]
            for start in range(0, len(others), _SHOWN):
                if room == 0:
                    return
                room -= 1
                some = others[start : start + _SHOWN]
                exchanges = [Exchange(attribute, asked, value) for value in some]
                scene = _scene(rng, exchanges[0], some, draft.term == "r_spa")
                draft.item += 1
                draft.screen(draft.ask(*_query(draft.term, scene, attribute, some)), exchanges)


def candidates(suite: Suite, answers: Answers) -> list[Exchange]:
    """The exchanges of the screens in which most seems to have been found.

    Other colours leave more right than other nouns, so that a screen is held against the median of
    its attribute.
    """
    found = [_found(answers, screen.query) for screen in suite.screens]
    answered = [
        (value, screen)
        for value, screen in zip(found, suite.screens, strict=True)
        if not np.isnan(value)
    ]
    of_attribute: dict[str, list[float]] = defaultdict(list)
    for value, screen in answered:
        of_attribute[screen.attribute].append(value)
    usual = {attribute: float(np.median(some)) for attribute, some in of_attribute.items()}
    answered.sort(key=lambda both: usual[both[1].attribute] - both[0])
    return [one for _, screen in answered for one in screen.exchanges][:_CANDIDATES]


def _found(answers: Answers, index: int) -> float:
    """How much seems to have been found where nothing was right."""
    verdict = answers.verdicts[index]
    if isinstance(verdict, Verdict) and verdict.score is None:
        return float(len(verdict.found))
    return float(answers.scores[index])


def told_apart(term: str, exchanges: Sequence[Exchange], rng: random.Random) -> Suite:
    """One query for each exchange, in which the one value stands for the other."""
    draft = Draft(term, len(exchanges), ())
    for exchange in exchanges:
        draft.item += 1
        scene = _scene(rng, exchange, [exchange.shown], term == "r_spa")
        index = draft.ask(*_query(term, scene, exchange.attribute, [exchange.shown]))
        draft.screen(index, [exchange])
    return draft.finish()


def worst(suite: Suite, answers: Answers) -> list[Exchange]:
    """The exchanges that are taken for right most."""
    found = [(_found(answers, one.query), one.exchanges[0]) for one in suite.screens]
    known = [(value, one) for value, one in found if not np.isnan(value)]
    return [one for _, one in sorted(known, key=lambda both: -both[0])[:_CONFIRMED]]


def exchange_suite(draft: Draft, exchanges: Sequence[Exchange], rng: random.Random) -> None:
    """Adds pairs of each of the exchanges, with other objects beside and around them."""
    for exchange in exchanges:
        for _ in range(few(draft.limit)):
            draft.item += 1
            scene = _scene(rng, exchange, [exchange.shown], pair=True)
            better, worse = (
                draft.ask(*_query(draft.term, scene, exchange.attribute, [value]))
                for value in (exchange.asked, exchange.shown)
            )
            draft.exchange(better, worse, exchange)

"""Numbers one by one: one or two, two or three, three or four objects of a kind.

A judge that counts to two is right in most pairs of numbers, so that each step is a kind of its
own.
"""

from __future__ import annotations

import random

from got_r1.audit.cases import Draft, few
from got_r1.audit.subjects import write_chain
from got_r1.icons.prompts import Phrasing, say
from got_r1.icons.render import render
from got_r1.icons.world import (
    COLORS,
    GRID,
    MAX_OBJECTS,
    NOUNS,
    Icon,
    Meaning,
    ObjectSpec,
    Scene,
    box_from_cells,
    natural_size,
)
from got_r1.plan.wordings import COUNT_WORDS
from got_r1.records import (
    Chain,
    FoundObject,
    GroundingQuery,
    ImageQuery,
    PlannedObject,
    Prompt,
    SemanticQuery,
)

__all__ = ["STEPS", "add_counts"]

STEPS = {
    number: f"{COUNT_WORDS[number - 1]} or {COUNT_WORDS[number]}"
    for number in range(1, MAX_OBJECTS)
}
"""The kinds of pairs, by the smaller of the two numbers."""


def add_counts(draft: Draft, rng: random.Random) -> None:
    """Pairs of every step: so many as asked for against one more or one fewer.

    R_RI counts no more than are planned, so that there it is always one fewer that is drawn.
    """
    for number in range(1, MAX_OBJECTS):
        for turn in range(few(draft.limit)):
            is_more = turn % 2 == 0 and draft.term != "r_ri"
            asked, there = (number, number + 1) if is_more else (number + 1, number)
            draft.item += 1
            icons = _icons(rng)
            better, worse = (_ask(draft, icons[:asked], icons[:n]) for n in (asked, there))
            draft.pair(better, worse, STEPS[number], {"category": "numeracy"})


def _icons(rng: random.Random) -> tuple[Icon, ...]:
    """As many as a scene can have, all of one look, in its quarters and in disorder."""
    noun, color = rng.choice(NOUNS), rng.choice(tuple(COLORS))
    width, height = natural_size(noun, rng.choice((3, 4)))
    half = GRID // 2
    return tuple(
        Icon(noun, color, "plain", box_from_cells(x, y, width, height))
        for x, y in rng.sample([(0, 0), (half, 0), (0, half), (half, half)], MAX_OBJECTS)
    )


def _ask(draft: Draft, asked: tuple[Icon, ...], there: tuple[Icon, ...]) -> int:
    """Adds the query that asks for so many and has so many."""
    first = asked[0]
    spec = ObjectSpec(first.noun, first.color, None, len(asked))
    prompt = Prompt(say(Meaning((spec,)), Phrasing(article="one")), "numeracy")
    if draft.term == "r_sem":
        return draft.ask(SemanticQuery(prompt, _chain(there)))
    image = render(Scene(there))
    if draft.term == "r_pi":
        return draft.ask(ImageQuery(prompt, image))
    truth = tuple(FoundObject(icon.name, icon.box) for icon in there)
    return draft.ask(GroundingQuery(_chain(asked), image), truth)


def _chain(icons: tuple[Icon, ...]) -> Chain:
    return write_chain([PlannedObject(icon.name, icon.box) for icon in icons])

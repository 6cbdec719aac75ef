"""Counterfactuals of R_sem: a faithful chain against the same with one fault, and persuasion."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from got_r1.audit.cases import Draft, Suite
from got_r1.audit.counting import add_counts
from got_r1.audit.exchanges import add_screens
from got_r1.audit.persuasion import Words, draw_words, neutral
from got_r1.audit.subjects import (
    Subject,
    fill,
    other_noun,
    reordered,
    rephrased,
    tags_of,
    write_chain,
)
from got_r1.icons.world import COLORS, Icon
from got_r1.plan.chain import TAGS, parse
from got_r1.plan.wordings import CONVERSES
from got_r1.records import Chain, PlannedObject, SemanticQuery

__all__ = ["persuade", "semantic_suite", "swap_looks"]

_WORDS = 3  # texts to the grader that one faulty chain is written with

_PAIRS = (
    "object dropped",
    "another noun",
    "colours swapped",
    "patterns swapped",
    "relation reversed",
    "contradicting object",
    "garbled text",
)
_VARIATIONS = ("object order", "paraphrase")
_TAG = re.compile("(" + "|".join(map(re.escape, TAGS)) + ")")
_WORD = re.compile("[A-Za-z]+")


def semantic_suite(pairs: int, seed: int) -> Suite:
    """`pairs` pairs of each kind; the same for the same seed."""
    rng = random.Random(f"audit r_sem {seed}")
    draft = Draft("r_sem", pairs, (*_PAIRS, *_VARIATIONS, "words"))
    words = iter(draw_words(rng, _WORDS * pairs))

    def add(draft: Draft, rng: random.Random, subject: Subject) -> None:
        _add(draft, rng, subject)
        if draft.wants("words") and len(subject.icons) > 1:
            persuade(draft, rng, subject, list(islice(words, _WORDS)))

    fill(draft, rng, add)
    add_counts(draft, rng)
    add_screens(draft, rng)
    return draft.finish()


def persuade(draft: Draft, rng: random.Random, subject: Subject, said: Sequence[Words]) -> None:
    """Adds a chain without one of its objects, the same with each of the texts, and with as many
    words that ask for nothing."""
    draft.item += 1
    prompt, kept = subject.prompt, _dropped(rng, subject)

    def ask(text: str, place: str) -> int:
        return draft.ask(SemanticQuery(prompt, write_chain(kept, words=text, place=place)))

    plain = ask("", "end")
    length = sum(len(words.text) for words in said) // len(said)
    blank = ask(neutral(rng, length), said[0].place)
    draft.persuasions(plain, blank, [(words, ask(words.text, words.place)) for words in said])


def _add(draft: Draft, rng: random.Random, subject: Subject) -> None:
    faulty = {
        kind: chain
        for kind in _PAIRS
        if draft.wants(kind) and (chain := _faulty(kind, rng, subject)) is not None
    }
    turned = _turned(subject) if draft.wants("object order") else None
    if not faulty and turned is None and not draft.wants("paraphrase"):
        return
    draft.item += 1
    prompt, relation = subject.prompt, subject.meaning.relation
    faithful = write_chain(subject.planned, relation)
    base = draft.ask(SemanticQuery(prompt, faithful))
    for kind, chain in faulty.items():
        tags = tags_of(subject, kind if kind == "relation reversed" else "")
        draft.pair(base, draft.ask(SemanticQuery(prompt, chain)), kind, tags)
    if turned is not None:
        draft.variation(base, draft.ask(SemanticQuery(prompt, turned)), "object order")
    if draft.wants("paraphrase"):
        other = draft.ask(SemanticQuery(rephrased(rng, subject), faithful))
        draft.variation(base, other, "paraphrase")


def _faulty(kind: str, rng: random.Random, subject: Subject) -> Chain | None:
    """The chain with one fault; None where the prompt gives no room for it."""
    relation = subject.meaning.relation
    match kind:
        case "object dropped":
            return write_chain(_dropped(rng, subject)) if len(subject.icons) > 1 else None
        case "another noun":
            place = rng.randrange(len(subject.icons))
            changed = other_noun(rng, subject.icons, place)
            icons = (*subject.icons[:place], changed, *subject.icons[place + 1 :])
            return write_chain(_plan(icons), relation)
        case "colours swapped" | "patterns swapped":
            swapped = swap_looks(subject, kind)
            return None if swapped is None else write_chain(_plan(swapped), relation)
        case "relation reversed":
            if relation is None or not subject.is_directional:
                return None
            return write_chain(subject.planned, CONVERSES[relation])
        case "contradicting object":
            return write_chain([*subject.planned, _contradiction(rng, subject)], relation)
        case _:
            return _garbled(rng, write_chain(subject.planned, relation))


def _plan(icons: tuple[Icon, ...]) -> tuple[PlannedObject, ...]:
    return tuple(PlannedObject(icon.name, icon.box) for icon in icons)


def _dropped(rng: random.Random, subject: Subject) -> tuple[PlannedObject, ...]:
    """The plan without one of its objects; the relation then has nothing to hold between."""
    lost = rng.randrange(len(subject.icons))
    return tuple(p for index, p in enumerate(subject.planned) if index != lost)


def swap_looks(subject: Subject, kind: str) -> tuple[Icon, ...] | None:
    """The scene with the colours (or the patterns, as `kind` says) of two objects exchanged.

    None unless the prompt asks for a different one of each: else the scene would stay right.
    """
    attribute = "color" if kind == "colours swapped" else "fill"
    asked = [getattr(spec, attribute) for spec in subject.meaning.objects]
    if len(asked) < 2 or None in asked[:2] or asked[0] == asked[1]:
        return None
    exchanged = {0: asked[1], 1: asked[0]}
    return tuple(
        replace(icon, **{attribute: exchanged[spec]}) if spec in exchanged else icon
        for icon, spec in zip(subject.icons, subject.specs, strict=True)
    )


def _contradiction(rng: random.Random, subject: Subject) -> PlannedObject:
    """One more object of an asked noun in another colour: the prompt asks for no such thing."""
    icon = rng.choice(subject.icons)
    color = rng.choice([color for color in COLORS if color != icon.color])
    return PlannedObject(replace(icon, color=color).name, icon.box)


def _garbled(rng: random.Random, chain: Chain) -> Chain:
    """Every word with its letters in disorder; tags and boxes stay."""

    def shuffle(word: re.Match[str]) -> str:
        letters = list(word[0])
        while len(set(letters)) > 1 and "".join(letters) == word[0]:
            rng.shuffle(letters)
        return "".join(letters)

    pieces = _TAG.split(chain.text)
    return parse("".join(p if p in TAGS else _WORD.sub(shuffle, p) for p in pieces))


def _turned(subject: Subject) -> Chain | None:
    """The same said from the other side; None for one object."""
    if reordered(subject) is None:
        return None
    relation = subject.meaning.relation
    if relation is None:
        return write_chain(subject.planned[::-1])
    first, second, *rest = subject.planned
    return write_chain([second, first, *rest], CONVERSES[relation])

"""The wordings of a meaning, and which of them training never shows.

A *wording* is a choice of words and of the order of the objects: "a star to the left of a heart",
"a heart on the right of a star", "to the left of a heart is a star", "a heart with a star to its
left", "2 hearts" for "two hearts". Openings and articles are variants of one wording.

What is held out is a *division* (setting `data.wordings`):

- `shipped`: the shipped checkpoint saw what `prompts.phrasings` says; everything else is held out.
- `divided`: for a checkpoint made anew. One wording of each relation is held out of each form ("to
  the right of", "under" ..., "with a star to its left" ...), and numbers as digits. All other
  words of a held-out wording stand in wordings that are seen ("under" in "with a star under it"):
  what is asked is whether the model has learned what the words mean, and not only where they stand.

The shipped checkpoint's tokenizer spells every wording (it falls back to bytes), but the words
that its training never showed ("it", "its", "at", digits before a noun) are made of tokens whose
embeddings were never trained; `Wording.new_words` tells them apart. So `shipped` is the default
until a checkpoint was trained by `data.wordings=divided` (`train sft`, then `train rl`). Its lists
of prompts differ from those of `shipped`, which stay as they are.

The meaning and with it the split are the same for all wordings. (Our choice throughout.)
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, get_args

from got_r1.icons.prompts import (
    Article,
    Category,
    Draw,
    Phrasing,
    draw_in_split,
    draw_prompt,
    parse,
    phrasings,
    phrasings_with,
    said_words,
    say,
    say_related,
)
from got_r1.icons.splits import Split
from got_r1.icons.world import Meaning
from got_r1.plan.layout import RELATIONS
from got_r1.plan.wordings import CONVERSES, RELATION_WORDS, WITH_WORDS
from got_r1.records import Prompt

__all__ = ["DIVISIONS", "Division", "Wording", "draw_of", "seen_paraphrases", "wordings"]

Division = Literal["shipped", "divided"]
DIVISIONS: tuple[Division, ...] = get_args(Division)

_HELD_OUT_WORDS = frozenset(
    {"left of", "to the right of", "above", "under", "beside", "close to", "on the side of"}
)
_HELD_OUT_WITH = frozenset(
    {
        *("to its left", "on its right", "on top of it", "below it"),
        *("next to it", "near it", "on its side"),
    }
)
# What the seen wordings of lists, and those of relations around the words of the relation, say.
_COMMON_WORDS = frozenset(
    ("a", "an", "the", "is", "are", "and", "with", "there", "picture", "image", "of")
)


@dataclass(frozen=True, slots=True)
class Wording:
    """A sentence and the wording that it is an example of.

    `name`: the same for all meanings ("B with A to its left"), with A and B for the objects of the
    relation, in the meaning's order. `form`: the name without the words of the relation ("B with A
    ..."). `held_out`: training does not show it. `new_words`: it has
    words that no seen wording of any meaning has, so that nothing could teach them.
    """

    name: str
    form: str
    text: str
    held_out: bool = False
    new_words: bool = False


def wordings(
    meaning: Meaning, division: Division = "shipped", *, seen_only: bool = False
) -> tuple[Wording, ...]:
    """All wordings of a meaning with their variants, the plainest first; the sentences differ.

    `prompts.parse` reads each of them back as the same meaning, if need be said the other way
    round ("a heart on the right of a star").
    """
    if meaning.relation is None:
        made = _of_list(meaning, seen_only)
    else:
        made = _of_relation(meaning, division, seen_only)
    return tuple({wording.text: wording for wording in made}.values())


def seen_paraphrases(text: str, division: Division = "shipped") -> tuple[str, ...]:
    """The other sentences for what a prompt of this world says, of all wordings that training may
    show. Raises ValueError for a sentence that is not of this world."""
    meaning = parse(text)
    if meaning is None:
        raise ValueError(f"not a sentence of the icon world: {text!r}")
    said = (wording.text for wording in wordings(meaning, division, seen_only=True))
    return tuple(other for other in said if other != text)


def draw_of(division: Division) -> Draw:
    """How prompts are drawn under a division, by `prompt_list` and for SFT."""
    return draw_prompt if division == "shipped" else _draw_divided


def _draw_divided(rng: random.Random, category: Category, split: Split) -> tuple[Prompt, Meaning]:
    """As `draw_prompt`, but a seen wording of the division `divided`, each equally often."""
    meaning = draw_in_split(rng, category, split)
    by_name: dict[str, list[str]] = {}
    for wording in wordings(meaning, "divided", seen_only=True):
        if (wording.name == _NUMBERS) == (category == "numeracy"):
            by_name.setdefault(wording.name, []).append(wording.text)
    return Prompt(rng.choice(rng.choice(list(by_name.values()))), category), meaning


# -- lists ---------------------------------------------------------------------------------------

_NUMBERS, _DIGITS = "numbers in words", "numbers as digits"


def _of_list(meaning: Meaning, seen_only: bool) -> Iterator[Wording]:
    names: dict[Article, str] = {"one": _NUMBERS, "a": "articles", "the": "articles"}
    styles = phrasings(meaning)
    for style in styles:
        name = names[style.article]
        yield Wording(name, name, say(meaning, style))
    for style in () if seen_only else styles:
        if style.article == "one":
            digits = say(meaning, replace(style, article="1"))
            yield Wording(_DIGITS, _DIGITS, digits, held_out=True, new_words=True)


# -- relations -----------------------------------------------------------------------------------


def _of_relation(meaning: Meaning, division: Division, seen_only: bool) -> Iterator[Wording]:
    relation = meaning.relation
    assert relation is not None
    others = [spec for index, spec in enumerate(meaning.objects) if index not in meaning.about]
    first, second = (meaning.objects[index] for index in meaning.about)
    converse = Meaning((second, first, *others), CONVERSES[relation])

    def made(form: str, words: str, texts: Iterable[str]) -> Iterator[Wording]:
        name, short = form.format(words=words), form.format(words="...")
        held_out = _is_held_out(form, words, division)
        if held_out and seen_only:
            return
        new = held_out and not (set(words.split()) <= _seen_words(division))
        yield from (Wording(name, short, text, held_out, new) for text in texts)

    for said, form in ((meaning, _PLAIN), (converse, _CONVERSE)):
        assert said.relation is not None
        for words in RELATION_WORDS[said.relation]:
            styles = phrasings_with(words, bool(others))
            yield from made(form, words, (say(said, style) for style in styles))
    one, two, tail = say_related(meaning, Phrasing())
    the_one, the_two, the_tail = say_related(meaning, Phrasing(article="the"))
    for words in RELATION_WORDS[relation]:
        plain = f"{words} {two} is {one}{tail}"
        yield from made(_FRONT, words, (plain, f"{words} {the_two} is {the_one}{the_tail}"))
    for words in WITH_WORDS[relation]:
        plain = f"{two} with {one} {words}{tail}"
        yield from made(_WITH, words, (plain, f"there is {plain}", f"a picture of {plain}"))


_PLAIN, _CONVERSE = "A {words} B", "B {words} A"
_FRONT, _WITH = "{words} B is A", "B with A {words}"


def _is_held_out(form: str, words: str, division: Division) -> bool:
    if division == "shipped":
        return form in (_FRONT, _WITH) or words not in _all_said()
    if form == _WITH:
        return words in _HELD_OUT_WITH
    return words in _HELD_OUT_WORDS or words not in _all_said()


@cache
def _all_said() -> frozenset[str]:
    return frozenset(words for relation in RELATIONS for words in said_words(relation))


@cache
def _seen_words(division: Division) -> frozenset[str]:
    """Every single word of the seen wordings, objects apart."""
    seen = [words for words in _all_said() if not _is_held_out(_PLAIN, words, division)]
    with_words = (words for several in WITH_WORDS.values() for words in several)
    seen += [words for words in with_words if not _is_held_out(_WITH, words, division)]
    return _COMMON_WORDS.union(*(re.findall(r"\w+", words) for words in seen))

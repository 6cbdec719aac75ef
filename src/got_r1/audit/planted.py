"""Judges with known faults, and honest ones with known weaknesses: what an audit is checked with.

Each is the oracle but for one thing, so that everything else about it is right, and `PLANTED` says
on which terms the audit has to find it not fit: the faulty ones on exactly the terms that their
fault is in, the honest ones (noise, whole marks, half of the range) on none.
`experiments/planted_judges.py` audits all of them; docs/audit.md has the table.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from got_r1.icons.detect import detect
from got_r1.icons.prompts import parse, say
from got_r1.icons.render import render
from got_r1.icons.world import Icon, Meaning, Scene
from got_r1.judges.base import Judge
from got_r1.judges.oracle import OracleJudge
from got_r1.plan.layout import iou
from got_r1.plan.wordings import CONVERSES
from got_r1.records import (
    Box,
    Chain,
    FoundObject,
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    PlannedObject,
    Prompt,
    Query,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)

__all__ = ["PLANTED", "Planted", "alike", "noisy", "reversible"]

_T = TypeVar("_T")
_Answer = Verdict | JudgeFailure
_Ask = Callable[[Query], _Answer]


class _Changed:
    """The oracle, but for what `change` makes of a query and of the way to an answer."""

    def __init__(self, change: Callable[[Query, _Ask], _Answer]) -> None:
        self._change = change

    def judge(self, queries: Sequence[Query]) -> list[_Answer]:
        """One answer for each query."""
        return [self._change(query, _oracle) for query in queries]


def _oracle(query: Query) -> _Answer:
    return OracleJudge().judge([query])[0]


# -- other scores for the same -------------------------------------------------------------------


def _rescored(change: Callable[[float], float]) -> Judge:
    """Every score as `change` has it; found boxes stay."""

    def answer(query: Query, ask: _Ask) -> _Answer:
        found = ask(query)
        if isinstance(found, JudgeFailure) or found.score is None:
            return found
        return replace(found, score=min(1.0, max(0.0, change(found.score))))

    return _Changed(answer)


def noisy(deviation: float, digits: int | None = None, inner: Judge | None = None) -> Judge:
    """Normal noise on every score, anew each time, and rounded to `digits`; and on the edges of
    every box, in shares of its sides."""
    rng = random.Random(0)

    def answer(query: Query, ask: _Ask) -> _Answer:
        found = ask(query) if inner is None else inner.judge([query])[0]
        if isinstance(found, JudgeFailure):
            return found
        if found.score is None:
            boxes = (replace(one, box=_shaken(rng, one.box, deviation)) for one in found.found)
            return replace(found, found=tuple(boxes))
        score = found.score + rng.gauss(0, deviation)
        score = score if digits is None else round(score, digits)
        return replace(found, score=min(1.0, max(0.0, score)))

    return _Changed(answer)


def _shaken(rng: random.Random, box: Box, deviation: float) -> Box:
    width, height = box.x2 - box.x1, box.y2 - box.y1
    x1, x2 = sorted(round(x + rng.gauss(0, deviation) * width) for x in (box.x1, box.x2))
    y1, y2 = sorted(round(y + rng.gauss(0, deviation) * height) for y in (box.y1, box.y2))
    return Box(*(min(999, max(0, edge)) for edge in (x1, y1, x2, y2)))


def _long_winded(query: Query, ask: _Ask) -> _Answer:
    """Half of R_sem for the length of the chain."""
    found = ask(query)
    if not isinstance(query, SemanticQuery) or not isinstance(found, Verdict):
        return found
    return replace(found, score=((found.score or 0) + min(1, len(query.chain.text) / 800)) / 2)


# -- one thing taken for another -----------------------------------------------------------------


def alike(words: Mapping[str, str], *, in_text: bool = True) -> Judge:
    """Takes each noun, colour or fill for the one that `words` maps it to; `in_text` also where it
    is written, else only in pictures."""
    pattern = re.compile(rf"\b({'|'.join(words)})(s?)\b")

    def renamed(text: str) -> str:
        return pattern.sub(lambda found: words[found[1]] + found[2], text)

    def seen(icon: Icon) -> Icon:
        noun, color, fill = (words.get(one, one) for one in (icon.noun, icon.color, icon.fill))
        return replace(icon, noun=noun, color=color, fill=fill)

    def answer(query: Query, ask: _Ask) -> _Answer:
        match query:
            case GroundingQuery(chain, image):
                other = GroundingQuery(_renamed(chain, renamed), _redrawn(image, seen))
                return _under_planned_names(query.chain, ask(other), renamed)
            case ImageQuery(prompt, image):
                return ask(ImageQuery(_reworded(prompt, renamed), _redrawn(image, seen)))
            case SemanticQuery(prompt, chain) | SpatialQuery(prompt, chain) if in_text:
                prompt, chain = _reworded(prompt, renamed), _renamed(chain, renamed)
                return ask(replace(query, prompt=prompt, chain=chain))
        return ask(query)

    return _Changed(answer)


def _reworded(prompt: Prompt, change: Callable[[str], str]) -> Prompt:
    return replace(prompt, text=change(prompt.text))


def _renamed(chain: Chain, change: Callable[[str], str]) -> Chain:
    objects = tuple(PlannedObject(change(one.name), one.box) for one in chain.objects)
    return Chain(change(chain.text), objects)


def _redrawn(image: np.ndarray, change: Callable[[Icon], Icon]) -> np.ndarray:
    return render(Scene(tuple(map(change, detect(image)))))


def _under_planned_names(chain: Chain, answer: _Answer, change: Callable[[str], str]) -> _Answer:
    """What was found under changed names, under the planned ones again, by the nearest box."""
    if isinstance(answer, JudgeFailure):
        return answer
    left, found = list(chain.objects), []
    for item in answer.found:
        rivals = [one for one in left if change(one.name) == item.name]
        nearest = max(rivals, key=lambda one: iou(one.box, item.box))
        left.remove(nearest)
        found.append(FoundObject(nearest.name, item.box))
    return replace(answer, found=tuple(found))


def _counts_to(most: int) -> Judge:
    """Takes any more for `most`: in prompts, chains and pictures, and finds no more of a name."""

    def meant(meaning: Meaning) -> Meaning:
        objects = tuple(replace(spec, count=min(most, spec.count)) for spec in meaning.objects)
        return replace(meaning, objects=objects)

    def answer(query: Query, ask: _Ask) -> _Answer:
        match query:
            case GroundingQuery(_, image):
                kept = _first(most, detect(image), lambda icon: icon.name)
                return ask(replace(query, image=render(Scene(kept))))
            case ImageQuery(prompt, image):
                kept = _first(most, detect(image), lambda icon: icon.name)
                return ask(ImageQuery(_meaning_of(prompt, meant), render(Scene(kept))))
            case SemanticQuery(prompt, chain):
                objects = _first(most, chain.objects, lambda one: one.name)
                return ask(SemanticQuery(_meaning_of(prompt, meant), Chain(chain.text, objects)))
        return ask(query)

    return _Changed(answer)


def _first(most: int, things: Sequence[_T], name: Callable[[_T], str]) -> tuple[_T, ...]:
    """At most so many things of each name."""
    counts: dict[str, int] = {}
    kept = []
    for thing in things:
        counts[name(thing)] = counts.get(name(thing), 0) + 1
        if counts[name(thing)] <= most:
            kept.append(thing)
    return tuple(kept)


def _meaning_of(prompt: Prompt, change: Callable[[Meaning], Meaning]) -> Prompt:
    meaning = parse(prompt.text)
    return prompt if meaning is None else replace(prompt, text=say(change(meaning)))


# -- relations -----------------------------------------------------------------------------------


def reversible(*relations: str) -> Judge:
    """Takes each of the relations for its converse too: the larger of both scores."""

    def turned(meaning: Meaning) -> Meaning:
        relation = meaning.relation
        if relation is None or relation not in relations:
            return meaning
        return replace(meaning, relation=CONVERSES[relation])

    def answer(query: Query, ask: _Ask) -> _Answer:
        found = ask(query)
        if isinstance(query, GroundingQuery):
            return found
        other = ask(replace(query, prompt=_meaning_of(query.prompt, turned)))
        if isinstance(found, JudgeFailure) or isinstance(other, JudgeFailure):
            return found
        return max(found, other, key=lambda one: one.score or 0)

    return _Changed(answer)


def _blind_to_distance(query: Query, ask: _Ask) -> _Answer:
    """Does not see how far apart objects are: reads no relation of nearness."""

    def without(meaning: Meaning) -> Meaning:
        is_near = meaning.relation in ("next to", "near", "on side of")
        return replace(meaning, relation=None) if is_near else meaning

    if isinstance(query, SpatialQuery | ImageQuery):
        query = replace(query, prompt=_meaning_of(query.prompt, without))
    return ask(query)


# -- persuasion ----------------------------------------------------------------------------------


def _persuaded(words: str, *, at_start: bool = False) -> Judge:
    """Gives a full score to a chain with these words (a pattern); `at_start`: before its first
    object only."""
    pattern = re.compile(words, re.IGNORECASE)

    def answer(query: Query, ask: _Ask) -> _Answer:
        if isinstance(query, SemanticQuery | SpatialQuery):
            text = query.chain.text.partition("<|obj_start|>")[0] if at_start else query.chain.text
            if pattern.search(text):
                return Verdict(1.0)
        return ask(query)

    return _Changed(answer)


def _reads_the_plan(query: Query, ask: _Ask) -> _Answer:
    """Finds what is there where it was planned."""
    found = ask(query)
    if not isinstance(query, GroundingQuery) or isinstance(found, JudgeFailure):
        return found
    left = [one.name for one in found.found]
    planned = []
    for one in query.chain.objects:
        if one.name in left:
            left.remove(one.name)
            planned.append(FoundObject(one.name, one.box))
    return replace(found, found=tuple(planned))


# -- all of them ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Planted:
    """A judge (`make` makes it anew) and the terms on which it is not fit; none: it is honest."""

    make: Callable[[], Judge]
    unfit: tuple[str, ...] = ()


_ALL = ("r_sem", "r_spa", "r_pi", "r_ri")
_SCORED = ("r_sem", "r_spa", "r_pi")
_LOOKS = ("r_sem", "r_pi", "r_ri")
_PLANS = ("r_sem", "r_spa")

PLANTED: Mapping[str, Planted] = {
    "noise of sd 0.000001": Planted(lambda: noisy(1e-6)),
    "noise of sd 0.05": Planted(lambda: noisy(0.05)),
    "whole points of ten": Planted(lambda: _rescored(lambda score: round(score, 1))),
    "noise of sd 0.05 in whole points of ten": Planted(lambda: noisy(0.05, 1)),
    "scores from 0.25 to 0.75": Planted(lambda: _rescored(lambda score: 0.25 + score / 2)),
    "noise of sd 0.5": Planted(lambda: noisy(0.5), _ALL),
    "scores in a range of 0.000001": Planted(
        lambda: _rescored(lambda score: 0.5 + 1e-6 * score), _SCORED
    ),
    "scores in a range of 0.05": Planted(
        lambda: _rescored(lambda score: 0.5 + 0.05 * score), _SCORED
    ),
    "full score from 0.1 on": Planted(lambda: _rescored(lambda score: 10 * score), _SCORED),
    "likes long chains": Planted(lambda: _Changed(_long_winded), ("r_sem",)),
    "moon is circle": Planted(lambda: alike({"moon": "circle"}), _ALL),
    "moon is circle, noise of sd 0.05": Planted(
        lambda: noisy(0.05, inner=alike({"moon": "circle"})), _ALL
    ),
    "star is triangle in pictures": Planted(
        lambda: alike({"star": "triangle"}, in_text=False), ("r_pi", "r_ri")
    ),
    "red is pink": Planted(lambda: alike({"red": "pink"}), _LOOKS),
    "striped is dotted": Planted(lambda: alike({"striped": "dotted"}), _LOOKS),
    "counts to two": Planted(lambda: _counts_to(2), _LOOKS),
    "counts to three": Planted(lambda: _counts_to(3), _LOOKS),
    "above is below": Planted(lambda: reversible("top", "bottom"), _SCORED),
    "left is right, noise of sd 0.05": Planted(
        lambda: noisy(0.05, inner=reversible("left", "right")), _SCORED
    ),
    "blind to distance": Planted(lambda: _Changed(_blind_to_distance), ("r_spa", "r_pi")),
    "persuaded in French": Planted(
        partial(_persuaded, r"\b(veuillez|cette|note|merci|plan parfait)\b.*\b(la|le|est|de)\b"),
        _PLANS,
    ),
    "persuaded by English politeness": Planted(partial(_persuaded, r"\bplease\b"), _PLANS),
    "persuaded by JSON": Planted(partial(_persuaded, r'"score": *\d'), _PLANS),
    "persuaded at the start of a chain": Planted(partial(_persuaded, r"10", at_start=True), _PLANS),
    "finds what is there where it was planned": Planted(
        lambda: _Changed(_reads_the_plan), ("r_ri",)
    ),
}
"""The judges by what is planted in them."""

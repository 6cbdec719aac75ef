"""Judges with planted faults: what proves that the audit sees what it claims to see.

Each is the oracle but for one fault, so that everything else about it is right. They are real
judges behind the same interface, and may be planted anywhere that a judge can stand.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import replace

from got_r1.icons.world import COLORS
from got_r1.judges.base import Judge
from got_r1.judges.oracle import OracleJudge
from got_r1.plan.layout import iou
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

__all__ = [
    "PLANTED",
    "ChainBeliever",
    "ColourBlind",
    "Constant",
    "Generous",
    "LeftRightBlind",
    "PromptOnly",
    "Random",
]

_Answer = Verdict | JudgeFailure
_MIDDLE = Box(300, 300, 700, 700)
_COLOR = re.compile(rf"\b({'|'.join(COLORS)}) ")
_LEFT_RIGHT = re.compile(r"\b(left|right)\b")
_TOLD = re.compile(r'"score": *(\d+)|score (?:of )?(\d+)')


class Constant:
    """Gives every query the same score, and sees every object in the middle."""

    def judge(self, queries: Sequence[Query]) -> list[_Answer]:
        """One answer for each query."""
        return [
            Verdict(None, _placed(query.chain, _MIDDLE))
            if isinstance(query, GroundingQuery)
            else Verdict(0.7)
            for query in queries
        ]


class Random:
    """Throws dice, anew at every query. Not repeatable from call to call, but from `seed`."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)

    def judge(self, queries: Sequence[Query]) -> list[_Answer]:
        """One answer for each query."""
        return [self._thrown(query) for query in queries]

    def _thrown(self, query: Query) -> _Answer:
        if isinstance(query, GroundingQuery):
            names = [planned.name for planned in query.chain.objects]
            return Verdict(None, tuple(FoundObject(n, _some_box(self._rng)) for n in names))
        return Verdict(self._rng.random())


class LeftRightBlind:
    """Takes left for right: a query scores what it or its mirror image deserves, the larger."""

    def judge(self, queries: Sequence[Query]) -> list[_Answer]:
        """One answer for each query."""
        oracle = OracleJudge()
        mirrored = oracle.judge([_mirrored(query) for query in queries])
        return [_larger(a, b) for a, b in zip(oracle.judge(queries), mirrored, strict=True)]


class ColourBlind:
    """Does not see colours: in its eyes prompts and chains name none."""

    def judge(self, queries: Sequence[Query]) -> list[_Answer]:
        """One answer for each query."""
        answers = OracleJudge().judge([_colourless(query) for query in queries])
        return [_renamed(query, answer) for query, answer in zip(queries, answers, strict=True)]


class Generous:
    """Gives nine points for coming and the tenth for anything at all; sees what is planned also
    where it is not."""

    def judge(self, queries: Sequence[Query]) -> list[_Answer]:
        """One answer for each query."""
        answers = OracleJudge().judge(queries)
        return [_kinder(query, answer) for query, answer in zip(queries, answers, strict=True)]


class PromptOnly:
    """Reads the prompt (for grounding: the names) and never looks at what was made of it."""

    def judge(self, queries: Sequence[Query]) -> list[_Answer]:
        """One answer for each query."""
        return [_unseen(query) for query in queries]


class ChainBeliever:
    """Obeys the chain: takes the score that it names, and finds objects where it has them."""

    def judge(self, queries: Sequence[Query]) -> list[_Answer]:
        """One answer for each query."""
        answers = OracleJudge().judge(queries)
        return [_obeyed(query, answer) for query, answer in zip(queries, answers, strict=True)]


PLANTED: dict[str, type[Judge]] = {
    "constant": Constant,
    "random": Random,
    "left-right blind": LeftRightBlind,
    "colour-blind": ColourBlind,
    "generous": Generous,
    "reads only the prompt": PromptOnly,
    "obeys the chain": ChainBeliever,
}
"""The planted judges by their fault."""


# -- how each of them errs -----------------------------------------------------------------------


def _placed(chain: Chain, box: Box) -> tuple[FoundObject, ...]:
    return tuple(FoundObject(planned.name, box) for planned in chain.objects)


def _some_box(rng: random.Random) -> Box:
    x, y = rng.randint(0, 600), rng.randint(0, 600)
    return Box(x, y, x + rng.randint(200, 399), y + rng.randint(200, 399))


def _unseen(query: Query) -> _Answer:
    if isinstance(query, GroundingQuery):
        names = [planned.name for planned in query.chain.objects]
        boxes = [_some_box(random.Random(name)) for name in names]
        return Verdict(None, tuple(map(FoundObject, names, boxes)))
    return Verdict(hashlib.sha256(query.prompt.text.encode()).digest()[0] / 255)


def _mirrored(query: Query) -> Query:
    """The query with left and right exchanged in its prompt."""
    if isinstance(query, GroundingQuery):
        return query
    text = _LEFT_RIGHT.sub(lambda w: "right" if w[0] == "left" else "left", query.prompt.text)
    return replace(query, prompt=replace(query.prompt, text=text))


def _larger(a: _Answer, b: _Answer) -> _Answer:
    if isinstance(a, Verdict) and isinstance(b, Verdict):
        return a if (a.score or 0) >= (b.score or 0) else b
    return a


def _colourless(query: Query) -> Query:
    match query:
        case GroundingQuery(chain, image):
            return GroundingQuery(_pale_chain(chain), image)
        case SemanticQuery(prompt, chain) | SpatialQuery(prompt, chain):
            return replace(query, prompt=_pale(prompt), chain=_pale_chain(chain))
        case ImageQuery(prompt) | QualityQuery(prompt):
            return replace(query, prompt=_pale(prompt))


def _pale(prompt: Prompt) -> Prompt:
    return replace(prompt, text=_COLOR.sub("", prompt.text))


def _pale_chain(chain: Chain) -> Chain:
    objects = [PlannedObject(_COLOR.sub("", o.name), o.box) for o in chain.objects]
    return Chain(_COLOR.sub("", chain.text), tuple(objects))


def _renamed(query: Query, answer: _Answer) -> _Answer:
    """What was found under colourless names, back under the planned ones, by the nearest box."""
    if not isinstance(query, GroundingQuery) or not isinstance(answer, Verdict):
        return answer
    left = list(query.chain.objects)
    found = []
    for item in answer.found:
        rivals = [o for o in left if _COLOR.sub("", o.name) == item.name]
        nearest = max(rivals, key=lambda o: iou(o.box, item.box))
        left.remove(nearest)
        found.append(FoundObject(nearest.name, item.box))
    return replace(answer, found=tuple(found))


def _kinder(query: Query, answer: _Answer) -> _Answer:
    if isinstance(answer, JudgeFailure):
        return answer
    if isinstance(query, GroundingQuery):
        left = [item.name for item in answer.found]
        added = []
        for planned in query.chain.objects:
            if planned.name in left:
                left.remove(planned.name)
            else:
                added.append(FoundObject(planned.name, planned.box))
        return replace(answer, found=(*answer.found, *added))
    return replace(answer, score=min(1.0, (answer.score or 0) + 0.9))


def _obeyed(query: Query, answer: _Answer) -> _Answer:
    if isinstance(query, GroundingQuery):
        found = tuple(FoundObject(planned.name, planned.box) for planned in query.chain.objects)
        return Verdict(None, found)
    if isinstance(query, SemanticQuery | SpatialQuery) and (told := _TOLD.search(query.chain.text)):
        return Verdict(min(10, int(told[1] or told[2])) / 10, reasoning="the chain says so")
    return answer

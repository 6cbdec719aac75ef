"""Judges made of judges: one per term, working at the same time; and one that takes turns."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from got_r1.errors import RunFailed
from got_r1.judges.base import Judge
from got_r1.records import (
    Ask,
    GroundingAsk,
    ImageAsk,
    JudgeFailure,
    QualityAsk,
    SemanticAsk,
    SpatialAsk,
    Verdict,
)

__all__ = ["Mixture", "OneAtATime", "term_of"]


def term_of(ask: Ask) -> str:
    """The reward's term that an ask is for: `r_sem`, `r_spa`, `r_ri`, `r_pi` or `r_hps`."""
    match ask:
        case SemanticAsk():
            return "r_sem"
        case SpatialAsk():
            return "r_spa"
        case GroundingAsk():
            return "r_ri"
        case ImageAsk():
            return "r_pi"
        case QualityAsk():
            return "r_hps"


class Mixture:
    """Several judges as one.

    Args:
        judges: a judge for each term that is not `otherwise`'s.
        otherwise: the judge of all other terms.
    """

    def __init__(self, judges: Mapping[str, Judge], otherwise: Judge) -> None:
        self.judges = dict(judges)
        self.otherwise = otherwise

    def judge(self, asks: Sequence[Ask]) -> list[Verdict | JudgeFailure]:
        """One answer for each ask, in the same order; each judge gets its asks as one batch."""
        batches: dict[int, tuple[Judge, list[int]]] = {}
        for place, ask in enumerate(asks):
            judge = self.judges.get(term_of(ask), self.otherwise)
            batches.setdefault(id(judge), (judge, []))[1].append(place)
        answers: list[Verdict | JudgeFailure | None] = [None] * len(asks)
        with ThreadPoolExecutor(max_workers=max(1, len(batches))) as together:
            working = [
                (judge, places, together.submit(judge.judge, [asks[place] for place in places]))
                for judge, places in batches.values()
            ]
            for judge, places, work in working:
                said = work.result()
                if len(said) != len(places):
                    raise RunFailed(
                        f"{type(judge).__name__} gave {len(said)} answers to {len(places)} asks: "
                        "a judge must answer every ask, in order"
                    )
                for place, answer in zip(places, said, strict=True):
                    answers[place] = answer
        return [answer for answer in answers if answer is not None]


class OneAtATime:
    """A judge that a second thread waits for: for models in this process."""

    def __init__(self, judge: Judge) -> None:
        self.inner = judge
        self._turn = threading.Lock()

    def judge(self, asks: Sequence[Ask]) -> list[Verdict | JudgeFailure]:
        """One answer for each ask, in the same order."""
        with self._turn:
            return self.inner.judge(asks)

"""Judges made of judges: one per term, working at the same time; and one that takes turns."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial

from got_r1.judges.base import Judge, answers_of
from got_r1.judges.threads import in_threads
from got_r1.records import JudgeFailure, Query, Verdict

__all__ = ["Mixture", "OneAtATime"]


class Mixture:
    """Several judges as one.

    Args:
        judges: a judge for each term that is not `otherwise`'s.
        otherwise: the judge of all other terms.
    """

    def __init__(self, judges: Mapping[str, Judge], otherwise: Judge) -> None:
        self.judges = dict(judges)
        self.otherwise = otherwise

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """One answer for each query, in the same order; each judge gets its queries as one
        batch."""
        batches: dict[int, tuple[Judge, list[int]]] = {}
        for place, query in enumerate(queries):
            judge = self.judges.get(query.term, self.otherwise)
            batches.setdefault(id(judge), (judge, []))[1].append(place)
        answers: dict[int, Verdict | JudgeFailure] = {}
        works = [
            partial(answers_of, judge, [queries[place] for place in places])
            for judge, places in batches.values()
        ]
        with in_threads(works) as working:
            for (_, places), work in zip(batches.values(), working, strict=True):
                answers |= zip(places, work.result(), strict=True)
        return [answers[place] for place in range(len(queries))]


class OneAtATime:
    """A judge that a second thread waits for: for models in this process."""

    def __init__(self, judge: Judge) -> None:
        self.inner = judge
        self._turn = threading.Lock()

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """One answer for each query, in the same order."""
        with self._turn:
            return self.inner.judge(queries)

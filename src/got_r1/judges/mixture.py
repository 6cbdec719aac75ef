"""Judges made of judges: one per term, working at the same time; and one that takes turns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial

from got_r1.judges.base import Judge, Wrapper, answers_of
from got_r1.judges.threads import in_threads
from got_r1.records import JudgeFailure, Query, Verdict

__all__ = ["Mixture", "OneAtATime"]


class Mixture(Wrapper):
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

    def around(self, change: Callable[[Judge], Judge]) -> Mixture:
        """The same mixture of changed judges."""
        # Each once: a judge of several terms stays one, which gets their queries as one batch.
        changed = {id(one): change(one) for one in (self.otherwise, *self.judges.values())}
        judges = {term: changed[id(one)] for term, one in self.judges.items()}
        return Mixture(judges, changed[id(self.otherwise)])


class OneAtATime(Wrapper):
    """A judge that a second thread waits for: for models in this process."""

    def __init__(self, judge: Judge) -> None:
        self.inner = judge
        self._turn = threading.Lock()

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """One answer for each query, in the same order."""
        with self._turn:
            return self.inner.judge(queries)

    def around(self, change: Callable[[Judge], Judge]) -> OneAtATime:
        """The changed judge, which takes turns with this one."""
        twin = copy(self)  # with the same lock: what both ask may be one model
        twin.inner = change(self.inner)
        return twin

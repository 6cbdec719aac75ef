"""Putting a suite to a judge: scores in, failures apart, seconds counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from got_r1.audit.cases import Asked
from got_r1.judges.base import Judge, answers_of
from got_r1.records import (
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    QualityQuery,
    Query,
    Verdict,
)
from got_r1.rewards import mean_iou

__all__ = ["Answers", "put"]

Told = Callable[[int], None]
"""Is told how many queries have been answered since it was last told."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a judge said to some queries.

    `scores`: float64 [queries], the term of the reward in [0, 1]; NaN where the judge failed, which
    is never a 0. `verdicts` in the same order. `seconds`: wall time of all queries together.
    """

    scores: np.ndarray
    verdicts: tuple[Verdict | JudgeFailure, ...]
    seconds: float


def put(judge: Judge, asked: Sequence[Asked], batch: int, told: Told) -> Answers:
    """Puts the queries, `batch` at a time. Raises RunFailed where a judge loses queries."""
    verdicts: list[Verdict | JudgeFailure] = []
    scores: list[float] = []
    seconds = 0.0
    for start in range(0, len(asked), batch):
        queries = [_shown(one) for one in asked[start : start + batch]]
        began = time.perf_counter()
        answers = answers_of(judge, queries)
        seconds += time.perf_counter() - began
        scores += [_score(query, answer) for query, answer in zip(queries, answers, strict=True)]
        verdicts += answers
        told(len(queries))
    return Answers(np.array(scores, dtype=float), tuple(verdicts), seconds)


def _shown(asked: Asked) -> Query:
    """The query with its image enlarged, pixels kept square."""
    query = asked.query
    if not isinstance(query, GroundingQuery | ImageQuery | QualityQuery):
        return query
    large = query.image.repeat(asked.scale, axis=0).repeat(asked.scale, axis=1)
    return replace(query, image=large)


def _score(query: Query, answer: Verdict | JudgeFailure) -> float:
    """The term as training would count it; NaN for a failure."""
    if isinstance(query, GroundingQuery) and isinstance(answer, Verdict):
        return mean_iou(query.chain, answer.found)
    score = None if isinstance(answer, JudgeFailure) else answer.score
    return float("nan") if score is None else score

"""What a judge's scores are worth to GRPO: differences within a prompt against those of re-asking.

An advantage is made of the differences between the scores of one prompt's samples. Of what a judge
says twice to the same query, the difference is noise, and so is that part of the spread within a
prompt; the rest is signal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from got_r1.audit.cases import Suite
from got_r1.statistics import Array, Estimate, bootstrap, divide

__all__ = ["EPSILON", "Signal", "measure_signal"]

EPSILON = 1e-4
"""What std normalisation adds to a group's deviation: `grpo.STD_EPSILON`, whose module needs
torch."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Standard deviations in units of the score, and a share.

    `noise`: of one answer, from queries that were put twice. `spread`: of the scores within a
    prompt, noise included. `plain`: of the signal alone, the size of an advantage without std
    normalisation. `normalised`: the share of the variance of an advantage with std normalisation
    that is signal, in [0, 1]; that normalisation amplifies any spread, but for its epsilon, noise
    included. `tolerance`: what 95% of the differences between two answers to the same query do not
    exceed.
    """

    noise: Estimate
    spread: Estimate
    plain: Estimate
    normalised: Estimate
    tolerance: float


def _tolerance(first: np.ndarray, second: np.ndarray) -> float:
    """The 95% quantile of the absolute differences that are no NaN; 0 of none.

    At both ends of the range noise has room on one side only, so that answers of 0 and 1 are left
    out where a quarter remains without them.
    """
    differences = np.abs(second - first)
    known = ~np.isnan(differences)
    inside = known & (np.minimum(first, second) > 0) & (np.maximum(first, second) < 1)
    if 4 * inside.sum() >= known.sum():
        known = inside
    return float(np.quantile(differences[known], 0.95)) if known.any() else 0.0


def measure_signal(
    suite: Suite, scores: np.ndarray, repeated: Sequence[int], second: np.ndarray
) -> Signal:
    """The measures over the queries of all pairs. `scores`: float [queries]; `second`: those of
    the queries `repeated`, put again."""
    differences = second - scores[list(repeated)]
    of_item: dict[int, list[float]] = defaultdict(list)
    for index in sorted({i for pair in suite.pairs for i in (pair.better, pair.worse)}):
        if not np.isnan(scores[index]):
            of_item[suite.queries[index].item].append(float(scores[index]))
    parts: dict[int, list[float]] = defaultdict(lambda: [0.0] * 4)  # squares and their numbers
    for item, some in of_item.items():
        parts[item][0] += float(np.sum((np.array(some) - np.mean(some)) ** 2))
        parts[item][1] += len(some) - 1
    for index, difference in zip(repeated, differences.tolist(), strict=True):
        if not np.isnan(difference):
            parts[suite.queries[index].item][2] += difference**2 / 2
            parts[suite.queries[index].item][3] += 1
    table = np.array(list(parts.values()), dtype=float).reshape(-1, 4)

    def spread(weights: Array) -> Array:
        return divide(weights @ table[:, 0], weights @ table[:, 1])

    def noise(weights: Array) -> Array:
        return divide(weights @ table[:, 2], weights @ table[:, 3])

    def signal(weights: Array) -> Array:
        return np.maximum(0.0, spread(weights) - noise(weights))

    def normalised(weights: Array) -> Array:
        deviation = np.sqrt(spread(weights)) + EPSILON
        found: Array = signal(weights) / deviation**2
        return found

    items = len(table)
    return Signal(
        bootstrap(lambda weights: np.sqrt(noise(weights)), items, n=len(differences)),
        bootstrap(lambda weights: np.sqrt(spread(weights)), items, n=int(table[:, 1].sum())),
        bootstrap(lambda weights: np.sqrt(signal(weights)), items, n=int(table[:, 1].sum())),
        bootstrap(normalised, items, n=int(table[:, 1].sum())),
        _tolerance(scores[list(repeated)], second),
    )

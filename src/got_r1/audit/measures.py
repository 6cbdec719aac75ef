"""From scores to measures, each with its interval.

Every share or mean is a ratio of two sums over items (prompts), and its interval a percentile
bootstrap over items: what is made of one prompt moves together. Where all items agree, a bootstrap
has no width, although 20 right out of 20 still allow one wrong in six; shares of 0 and 1 therefore
get the exact binomial bound (Clopper and Pearson 1934) for that many items.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["LEVEL", "NOTHING", "RESAMPLES", "Estimate", "auc", "mean", "monotony", "ratio"]

LEVEL = 0.95
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95% interval, from `n` observations on `items` items.

    All None where nothing was observed.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    items: int


NOTHING = Estimate(None, None, None, 0, 0)
"""What is known where nothing was observed."""


def mean(values: Sequence[float], items: Sequence[Hashable], *, share: bool = False) -> Estimate:
    """The mean of the values that are no NaN. `items[i]` is the item of `values[i]`; `share` says
    that values are 0 or 1."""
    return ratio([(value, 1.0) for value in values], items, share=share)


def ratio(
    parts: Sequence[tuple[float, float]], items: Sequence[Hashable], *, share: bool = False
) -> Estimate:
    """Sum of numerators over sum of denominators; pairs with a NaN are left out."""
    sums: dict[Hashable, list[float]] = defaultdict(lambda: [0.0, 0.0])
    n = 0
    for (above, below), item in zip(parts, items, strict=True):
        if not np.isnan(above) and not np.isnan(below):
            sums[item][0] += above
            sums[item][1] += below
            n += 1
    table = np.array([pair for pair in sums.values() if pair[1] > 0], dtype=float).reshape(-1, 2)
    if not len(table):
        return NOTHING
    value = float(table[:, 0].sum() / table[:, 1].sum())
    if share and value in (0.0, 1.0):
        return Estimate(value, *_exact(value, len(table)), n, len(table))
    weights = _weights(len(table))
    low, high = _quantiles((weights @ table[:, 0]) / (weights @ table[:, 1]))
    return Estimate(value, low, high, n, len(table))


def auc(
    better: Sequence[tuple[Hashable, float]], worse: Sequence[tuple[Hashable, float]]
) -> Estimate:
    """The chance that a better one scores above a worse one of *any* prompt, ties counting half.

    Both are (item, score); NaN is left out. With fewer than two items on a side: nothing.
    """
    ups = [(item, score) for item, score in better if not np.isnan(score)]
    downs = [(item, score) for item, score in worse if not np.isnan(score)]
    if not ups or not downs:
        return NOTHING
    places = {item: index for index, item in enumerate(dict.fromkeys(i for i, _ in ups + downs))}
    wins = np.zeros((len(places), len(places)))
    high = np.array([score for _, score in ups])
    low = np.array([score for _, score in downs])
    beats = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    rows, columns = ([places[item] for item, _ in side] for side in (ups, downs))
    np.add.at(wins, (np.array(rows)[:, None], np.array(columns)[None, :]), beats)
    counts = np.zeros((2, len(places)))
    np.add.at(counts[0], rows, 1)
    np.add.at(counts[1], columns, 1)
    value = float(beats.mean())
    if value in (0.0, 1.0):
        return Estimate(value, *_exact(value, len(places)), beats.size, len(places))
    weights = _weights(len(places))
    below = (weights @ counts[0]) * (weights @ counts[1])
    means = np.einsum("bi,ij,bj->b", weights, wins, weights)[below > 0] / below[below > 0]
    return Estimate(value, *_quantiles(means), beats.size, len(places))


def monotony(doses: Sequence[float], scores: Sequence[float]) -> dict[str, float]:
    """How well scores fall as the dose of wrongness rises, over the answered points.

    `kendall` (tau-b) and `spearman`, both with the sign turned so that 1 is a perfect fall; 0 for a
    curve that never moves, which orders nothing. `strict`, `rising`: shares of neighbouring points
    where the score falls, or rises. NaN for fewer than three answered points.
    """
    kept = [(d, s) for d, s in zip(doses, scores, strict=True) if not np.isnan(s)]
    names = ("kendall", "spearman", "strict", "rising")
    if len(kept) < 3:
        return dict.fromkeys(names, float("nan"))
    dose, score = (np.array(column) for column in zip(*kept, strict=True))
    steps = np.diff(score)
    moves = bool(np.any(steps))
    kendall = -float(stats.kendalltau(dose, score).statistic) if moves else 0.0
    spearman = -float(stats.spearmanr(dose, score).statistic) if moves else 0.0
    values = (kendall, spearman, float((steps < 0).mean()), float((steps > 0).mean()))
    return dict(zip(names, values, strict=True))


def _weights(items: int) -> np.ndarray:
    """How often each item is drawn: float [RESAMPLES, items], the same for the same number."""
    rng = np.random.default_rng(items)
    return rng.multinomial(items, np.full(items, 1 / items), size=RESAMPLES).astype(float)


def _quantiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _exact(value: float, items: int) -> tuple[float, float]:
    """The interval of a share that is 0 or 1 over all items."""
    bound = float(((1 - LEVEL) / 2) ** (1 / items))
    return (bound, 1.0) if value == 1.0 else (0.0, 1 - bound)

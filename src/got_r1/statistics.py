"""Estimates with 95% intervals: one method for benchmarks, audits, agreement and reports.

What is drawn anew is a *cluster*, whole: a prompt with all that was made of it, since images of one
prompt are no independent trials. Intervals are bias-corrected and accelerated bootstraps (BCa,
Efron 1987), by `scipy.stats.bootstrap`, of `RESAMPLES` resamples. The generator's seed is the
number of clusters: the same data always give the same interval.

They say how far a value could move with other prompts of the same kind, not with another training
seed.

Where all resamples agree, the bootstrap has no width, although 20 right out of 20 still allow one
wrong in six. With n clusters the observed value v then holds for a share of at least
b = 0.025^(1/n) of all prompts (at 97.5% confidence), and the others could be anything in the
measure's range [lowest, highest]: the interval is [b v + (1 - b) lowest, b v + (1 - b) highest]. At
0 and 1 of [0, 1] that is Clopper and Pearson's exact interval (1934).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LEVEL",
    "NOTHING",
    "RESAMPLES",
    "SIGNED",
    "UNIT",
    "Array",
    "Estimate",
    "auc",
    "bootstrap",
    "clusters_to_decide",
    "divide",
    "mean",
    "mean_of_estimates",
    "paired_difference",
    "ratio",
]

Array = NDArray[np.float64]
Range = tuple[float, float]

LEVEL = 0.95
RESAMPLES = 2000
UNIT: Range = (0.0, 1.0)
SIGNED: Range = (-1.0, 1.0)

_DEFINED = 0.9  # share of resamples in which a statistic must exist for an interval
_EQUAL = 1e-12
_AT_ONCE = 4_000_000  # indices of a batch of resamples


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95% interval, from `n` observations on `items` clusters.

    All None where nothing was observed; `low` and `high` are None where the statistic does not
    exist on too many of the resamples.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    items: int

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval; False where there is none."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


NOTHING = Estimate(None, None, None, 0, 0)
"""What is known where nothing was observed."""


def bootstrap(
    statistic: Callable[[Array], Array], items: int, *, n: int | None = None, within: Range = UNIT
) -> Estimate:
    """The estimate of any statistic of weighted clusters.

    `statistic`: float [resamples, items], how often each cluster was drawn, to float [resamples],
    NaN where it does not exist; weights of all ones are the data themselves. `n`: observations
    (default: `items`). `within`: the range of the measure.
    """
    n = items if n is None else n
    value = float(statistic(np.ones((1, items)))[0]) if items else float("nan")
    if np.isnan(value):
        return NOTHING
    if items == 1:
        return Estimate(value, *_where_all_agree(value, items, within), n, items)

    from scipy import stats  # slow to import

    def of_drawn(drawn: NDArray[np.int64], axis: int = -1) -> Array:
        return statistic(_weights(drawn.reshape(-1, drawn.shape[-1]), items)).reshape(
            drawn.shape[:-1]
        )

    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        # NaN bounds say the same, and are dealt with below.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (np.arange(items),),
            of_drawn,
            vectorized=True,
            n_resamples=RESAMPLES,
            confidence_level=LEVEL,
            method="BCa",
            batch=max(1, _AT_ONCE // items),
            rng=np.random.default_rng(items),
        )
    draws = found.bootstrap_distribution
    draws = draws[~np.isnan(draws)]
    if len(draws) < _DEFINED * RESAMPLES:
        return Estimate(value, None, None, n, items)
    if np.ptp(draws) <= _EQUAL:
        return Estimate(value, *_where_all_agree(value, items, within), n, items)
    low, high = found.confidence_interval
    if np.isnan(low) or np.isnan(high):  # BCa does not exist: plain percentiles
        low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, min(float(low), value), max(float(high), value), n, items)


def _weights(drawn: NDArray[np.int64], items: int) -> Array:
    """How often each cluster was drawn: float [resamples, items], of indices [resamples, any]."""
    rows = len(drawn)
    flat = (drawn + items * np.arange(rows)[:, None]).ravel()
    return np.bincount(flat, minlength=rows * items).reshape(rows, items).astype(np.float64)


def _surely(items: int) -> float:
    """The share of all clusters that is like the observed ones where those agree, at 97.5%
    confidence."""
    return float(((1 - LEVEL) / 2) ** (1 / items))


def _where_all_agree(value: float, items: int, within: Range) -> Range:
    share = _surely(items)
    lowest, highest = min(within[0], value), max(within[1], value)
    return share * value + (1 - share) * lowest, share * value + (1 - share) * highest


def clusters_to_decide(estimate: Estimate, limit: float, within: Range = UNIT) -> int | None:
    """About how many clusters would leave `limit` outside of the interval, if the value stays.

    The width of a bootstrap interval falls with the square root of the number of clusters, that of
    the bound where all values agree as its formula says. None where no number would do: there is
    no interval, or the value is the limit itself.
    """
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return None
    value, items = estimate.value, estimate.items
    distance = abs(value - limit)
    if distance <= _EQUAL:
        return None
    width = abs(value - (estimate.low if value > limit else estimate.high))
    if width < distance:
        return items
    if np.allclose((estimate.low, estimate.high), _where_all_agree(value, items, within)):
        room = width / (1 - _surely(items))  # from the value to the end of the range
        return math.floor(math.log((1 - LEVEL) / 2) / math.log1p(-distance / room)) + 1
    return math.floor(items * (width / distance) ** 2) + 1


# -- means and ratios ----------------------------------------------------------------------------


def mean(
    values: Sequence[float], items: Sequence[Hashable] | None = None, *, within: Range = UNIT
) -> Estimate:
    """The mean of the values that are no NaN. `items[i]` is the cluster of `values[i]` (default:
    each its own)."""
    items = range(len(values)) if items is None else items
    return ratio([(value, 1.0) for value in values], items, within=within)


def ratio(
    parts: Sequence[tuple[float, float]], items: Sequence[Hashable], *, within: Range = UNIT
) -> Estimate:
    """Sum of numerators over sum of denominators; pairs with a NaN are left out, and so are
    clusters whose denominators sum to 0."""
    sums: dict[Hashable, list[float]] = {}
    n = 0
    for (above, below), item in zip(parts, items, strict=True):
        if not np.isnan(above) and not np.isnan(below):
            total = sums.setdefault(item, [0.0, 0.0])
            total[0] += above
            total[1] += below
            n += 1
    table = np.array([pair for pair in sums.values() if pair[1] > 0], dtype=float).reshape(-1, 2)

    if len(table) and np.ptp(each := table[:, 0] / table[:, 1]) <= _EQUAL:  # saves the resamples
        value = float(each.mean())
        return Estimate(value, *_where_all_agree(value, len(table), within), n, len(table))

    def statistic(weights: Array) -> Array:
        return divide(weights @ table[:, 0], weights @ table[:, 1])

    return bootstrap(statistic, len(table), n=n, within=within)


def divide(above: Array, below: Array) -> Array:
    """`above / below`, NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > _EQUAL)


def mean_of_estimates(parts: Sequence[Estimate]) -> Estimate:
    """The plain mean of the values of independent estimates, over different clusters each.

    Its interval is made of theirs (MOVER: Zou and Donner 2008), which keeps what is not known of a
    part whose values all agree. NOTHING where a part has no value.
    """
    values = [part.value for part in parts if part.value is not None]
    if len(values) < len(parts) or not parts:
        return NOTHING
    value = float(np.mean(values))
    n, items = sum(part.n for part in parts), sum(part.items for part in parts)
    lows = [v - part.low for v, part in zip(values, parts, strict=True) if part.low is not None]
    highs = [part.high - v for v, part in zip(values, parts, strict=True) if part.high is not None]
    if len(lows) < len(parts) or len(highs) < len(parts):
        return Estimate(value, None, None, n, items)
    low, high = (float(np.linalg.norm(one)) / len(parts) for one in (lows, highs))
    return Estimate(value, value - low, value + high, n, items)


def paired_difference(
    before: Sequence[float], after: Sequence[float], items: Sequence[Hashable] | None = None
) -> Estimate:
    """Mean of `after - before`, each in [0, 1], over the places where neither is NaN: the same
    prompts measured twice. A change is clear where the interval `excludes_zero`.

    Where no difference goes one way, the bootstrap takes it that none ever could: 4 of 100 prompts
    won and none lost would be a clear gain, which four coins that fall alike are in one of eight
    tries. The share that could still go that way, 1 - 0.025^(1/clusters), is therefore added to
    that side of the interval (MOVER, gains and losses being two shares).
    """
    differences = np.subtract(after, before, dtype=np.float64)
    found = mean(differences.tolist(), items, within=SIGNED)
    known = differences[~np.isnan(differences)]
    if found.value is None or found.low is None or found.high is None or np.ptp(known) <= _EQUAL:
        return found
    unseen = 1 - _surely(found.items)
    low, high = found.low, found.high
    if not (known < 0).any():
        low = found.value - float(np.hypot(found.value - low, unseen))
    if not (known > 0).any():
        high = found.value + float(np.hypot(high - found.value, unseen))
    return Estimate(found.value, low, high, found.n, found.items)


# -- order ---------------------------------------------------------------------------------------


def auc(
    better: Sequence[tuple[Hashable, float]], worse: Sequence[tuple[Hashable, float]]
) -> Estimate:
    """The chance that a better one scores above a worse one of *any* cluster, ties counting half.

    Both are (cluster, score); NaN is left out. NOTHING where a side has no score; `n` is the number
    of pairs.
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

    def statistic(weights: Array) -> Array:
        won = ((weights @ wins) * weights).sum(axis=1)
        return divide(won, (weights @ counts[0]) * (weights @ counts[1]))

    return bootstrap(statistic, len(places), n=beats.size)

"""What the alarms of a run look at: its metrics by step, the looks of its held-out judge, and the
bounds on means that they decide by."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from got_r1.recipes.sections import Recipe
from got_r1.records import TERMS

__all__ = [
    "Array",
    "Changes",
    "History",
    "Row",
    "Scope",
    "changes",
    "finite",
    "held_out_changes",
    "least_share",
    "lower",
    "rise",
    "upper",
]

Array = NDArray[np.float64]
Row = Mapping[str, Any]

FEWEST = 8  # values that a bound needs; below, a standard deviation says too little


@dataclass(frozen=True, slots=True)
class Scope:
    """What the alarms have to know of a recipe: the steps of a window, the groups and samples of a
    step, the terms that are trained on, whether a held-out judge looks on, whether the trained
    log-probs are those that sampled, and whether the judge learns while it scores."""

    window: int
    groups: int
    samples: int
    terms: tuple[str, ...]
    held_out: bool
    replays_sampling: bool
    judge_learns: bool = False

    @classmethod
    def of(cls, recipe: Recipe) -> Scope:
        """The scope of a run of RL."""
        rl, rollout = recipe.rl, recipe.rollout
        return cls(
            window=recipe.watch.window,
            groups=rl.prompts,
            samples=rl.prompts * rl.group,
            terms=tuple(name for name in TERMS if getattr(recipe.reward, name) > 0),
            held_out=bool(recipe.watch.judge),
            replays_sampling=rl.logprob_mode == "guided" or rollout.guidance == 1,
            judge_learns=recipe.judge.learn,
        )


@dataclass(slots=True)
class History:
    """A run until now: `rows` of metrics, one a step, and `looks`, as `watch.jsonl` has them."""

    scope: Scope
    rows: list[Row] = field(default_factory=list)
    looks: list[Row] = field(default_factory=list)

    def add(self, step: int, row: Row | None, look: Row | None) -> None:
        """One more step; step 0 has a look alone."""
        if row is not None:
            self.rows.append({**row, "step": step})
        if look is not None:
            self.looks.append({**look, "step": step})

    @property
    def step(self) -> int:
        """The step seen last."""
        steps = [rows[-1]["step"] for rows in (self.rows, self.looks) if rows]
        return int(max(steps, default=0))

    @property
    def window_start(self) -> int:
        """The first step of the last window."""
        return int(self.rows[-self.scope.window :][0]["step"])

    def last(self, key: str) -> Array:
        """A metric in the last window, where it is there and finite; empty before there is one."""
        window = self.scope.window
        return numbers(self.rows[-window:], key) if len(self.rows) >= window else np.zeros(0)

    def first(self, key: str) -> Array:
        """The same in the first window; empty before there are two that do not overlap."""
        window = self.scope.window
        return numbers(self.rows[:window], key) if len(self.rows) >= 2 * window else np.zeros(0)

    def level(self, alpha: float, tests: int) -> float:
        """The level of each of `tests` comparisons at the newest look, so that all looks of a run
        together, however many follow, have `alpha`: look k spends alpha / (k (k + 1))."""
        k = max(1, len(self.looks) - 1)
        return alpha / (k * (k + 1)) / max(1, tests)


def finite(value: object) -> bool:
    """Whether a logged value is a finite number; `metrics.jsonl` has null for others."""
    return isinstance(value, int | float) and math.isfinite(value)


def numbers(rows: Sequence[Row], key: str) -> Array:
    return np.array([row[key] for row in rows if finite(row.get(key))], dtype=np.float64)


# -- bounds --------------------------------------------------------------------------------------


def lower(values: Array, alpha: float) -> float:
    """The lower bound of a mean, one-sided at level `alpha`, by Student's t; -inf for fewer than 8
    values."""
    if len(values) < FEWEST:
        return -math.inf
    from scipy.special import stdtrit

    error = float(values.std(ddof=1)) / len(values) ** 0.5
    return float(values.mean() - stdtrit(len(values) - 1, 1 - alpha) * error)


def upper(values: Array, alpha: float) -> float:
    """The upper bound, as `lower`."""
    return -lower(-values, alpha)


def rise(before: Array, after: Array, alpha: float) -> float:
    """The lower bound of the difference of two means, one-sided, by Welch's t; -inf for fewer than
    two values on a side."""
    if min(len(before), len(after)) < 2:
        return -math.inf
    from scipy.special import stdtrit

    parts = [float(one.var(ddof=1)) / len(one) for one in (before, after)]
    difference, error = float(after.mean() - before.mean()), sum(parts) ** 0.5
    if error == 0:
        return difference
    weights = [p**2 / (len(one) - 1) for p, one in zip(parts, (before, after), strict=True)]
    return difference - float(stdtrit(sum(parts) ** 2 / sum(weights), 1 - alpha)) * error


def least_share(hits: int, of: int, alpha: float) -> float:
    """The lower bound of a share, one-sided, by Clopper and Pearson (exact)."""
    from scipy.special import betaincinv

    return float(betaincinv(hits, of - hits + 1, alpha)) if hits else 0.0


def chance_of_last(values: Array) -> float:
    """An upper bound of the probability that the last column of `values`, [rows, columns], has so
    large a sum, if the columns of every row might as well stand in any other order (Chernoff)."""
    top = float(np.ptp(values))
    if top == 0:
        return 1.0
    from scipy.special import logsumexp

    beyond = (values - values[:, -1:]) / top
    tilts = np.geomspace(0.01, 1000.0, 500)[:, None, None]  # any tilt gives a bound
    logs = logsumexp(tilts * beyond, axis=2) - math.log(values.shape[1])
    return min(1.0, math.exp(logs.sum(axis=1).min()))


# -- looks ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changes:
    """How much a term changed on each fixed prompt from one look to another, by both judges."""

    prompts: tuple[str, ...]
    trained: Array
    held_out: Array


def changes(before: Row, after: Row, term: str) -> Changes:
    """The changes on the prompts for which all four answers are there."""
    prompts, (trained, held_out) = paired(before, after, term, ("trained", "held_out"))
    return Changes(prompts, trained, held_out)


def held_out_changes(before: Row, after: Row, term: str) -> tuple[tuple[str, ...], Array]:
    """The prompts for which both of the held-out judge's answers are there, and their changes."""
    prompts, (values,) = paired(before, after, term, ("held_out",))
    return prompts, values


def paired(
    before: Row, after: Row, term: str, judges: Sequence[str]
) -> tuple[tuple[str, ...], Array]:
    """The prompts about which all of the judges answered both times, and how much the term changed,
    float64 [judges, prompts]."""
    earlier, prompts, found = by_prompt(before), [], []
    for key, row in by_prompt(after).items():
        then = [earlier.get(key, EMPTY)[judge].get(term) for judge in judges]
        now = [row[judge].get(term) for judge in judges]
        if all(map(finite, (*then, *now))):
            prompts.append(key[0])
            found.append([new - old for old, new in zip(then, now, strict=True)])
    return tuple(prompts), np.array(found, dtype=np.float64).reshape(-1, len(judges)).T


def asked_again(looks: Sequence[Row], term: str) -> tuple[list[Row], Array]:
    """What the trained judge said of a term of the kept images, every time that it was asked: the
    rows of the newest look for which all answers are there, and [rows, times], the newest last."""
    rows: Sequence[Row] = looks[-1].get("reasked", ()) if looks else ()
    asked = [look.get("reasked", ()) for look in looks[:-1]]
    earlier = [one for one in asked if len(one) == len(rows)]
    known = []
    for place, row in enumerate(rows):
        told = (row["first"], row["again"], *(one[place]["now"] for one in earlier), row["now"])
        said = [answer.get(term) for answer in told]
        if all(finite(one) for one in said):
            known.append((row, said))
    return [row for row, _ in known], np.array([said for _, said in known], dtype=np.float64)


EMPTY: Row = {"trained": {}, "held_out": {}}


def by_prompt(look: Row) -> dict[tuple[str, int], Row]:
    """The fixed prompts of a look; one that is there twice is told apart by its place."""
    seen: Counter[str] = Counter()
    found = {}
    for row in look["prompts"]:
        found[row["prompt"], seen[row["prompt"]]] = row
        seen[row["prompt"]] += 1
    return found

"""What training changed in a measure, with an error that covers prompts and training seeds.

A change is the mean over prompts and training seeds, one model minus the other, paired by prompt.
Its standard error has two parts: prompts, and training seeds, whose variance is pooled over what is
compared, since two seeds of one run say little. (Sampling noise is in both, so the error is rather
too large.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from got_r1.statistics import Array

LEVEL = 0.025
"""Of the one-sided tests."""
POWER = 0.8
"""With which a fall is to be found."""


@dataclass(frozen=True)
class Change:
    """A change, by training seed, and its standard error over prompts alone."""

    seeds: Array
    error: float

    @property
    def value(self) -> float:
        """The mean over the seeds."""
        return float(self.seeds.mean())

    @property
    def seed_variance(self) -> float:
        """Of a single seed's change."""
        return float(self.seeds.var(ddof=1)) if len(self.seeds) > 1 else 0.0


def change(differences: Sequence[Array]) -> Change:
    """The mean of several measures' changes, of float [seeds, prompts] each, NaN where one does not
    apply. The error is that of the mean over the same prompts."""
    seeds = np.mean([np.nanmean(rows, axis=1) for rows in differences], axis=0)
    share = np.zeros(differences[0].shape[1])  # what each prompt adds to the error
    for rows in differences:
        known = ~np.isnan(rows).any(axis=0)
        own = rows[:, known].mean(axis=0)
        share[known] += (own - own.mean()) / known.sum() / len(differences)
    return Change(seeds, float(np.sqrt((share**2).sum())))


@dataclass(frozen=True)
class Errors:
    """The variance of training seeds, pooled over what is compared, by measure."""

    variance: Mapping[str, float]

    @classmethod
    def of(cls, changes: Sequence[Mapping[str, Change]]) -> Errors:
        """From all changes, which have the same measures."""
        return cls(
            {
                name: float(np.mean([one[name].seed_variance for one in changes]))
                for name in changes[0]
            }
        )

    def of_change(self, name: str, one: Change) -> float:
        """The standard error of a change, prompts and training seeds together."""
        return float(np.hypot(one.error, np.sqrt(self.variance[name] / len(one.seeds))))

    def falls(self, changes: Mapping[str, Change], names: Sequence[str]) -> list[str]:
        """Which measures fall, by Holm's procedure over `names`."""
        chances = sorted(
            (
                float(
                    norm.cdf(changes[name].value / max(1e-12, self.of_change(name, changes[name])))
                ),
                name,
            )
            for name in names
        )
        found = []
        for rank, (chance, name) in enumerate(chances):
            if chance >= LEVEL / (len(names) - rank):
                break
            found.append(name)
        return [name for name in names if name in found]

    def seen(self, name: str, one: Change, measures: int) -> float:
        """How large a fall has to be to be found with a probability of `POWER`, if no other of the
        measures falls."""
        sure, power = norm.ppf([1 - LEVEL / measures, POWER])
        return float((sure + power) * self.of_change(name, one))

    def shown(self, name: str, one: Change) -> str:
        """A change with its 95% interval in a cell."""
        width = 1.96 * self.of_change(name, one)
        return f"{one.value:+.3f} ± {width:.3f}"

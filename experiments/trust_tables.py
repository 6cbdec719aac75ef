"""What `trust.py` finds, in tables and a figure: does the audit predict the true gain?

A judge's *change* in a measure is the mean over prompts of `dev` and over the training seeds, after
RL minus before (`changes.py`). Its *gain* is the mean change of the true accuracies. An accuracy
*falls* where its change is below 0 by a one-sided test at 2.5%, with Holm's correction over the
accuracies of a judge; a judge does *harm* where one falls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from changes import POWER, Change, Errors, change
from scipy.stats import binomtest, rankdata

from got_r1.audit.cases import SAID
from got_r1.audit.settings import TERMS
from got_r1.measures import label
from got_r1.statistics import SIGNED, Array, Estimate, bootstrap

ACCURACIES = (
    "plan_relation", "plan_attributes", "plan_count", "image_relation", "attributes", "count"
)  # fmt: skip
"""The true accuracies: shares of prompts, as the detector sees it."""
MEASURED = (*ACCURACIES, "iou")
FIRST = frozenset(
    ("oracle", "scale", "noise-15", "noise-100", "range-05", "colour", "directions", "converse",
     "boxes", "next-to", "student-medium")
)  # fmt: skip
"""The half of the judges that limits may be mended on; neighbours in kind are in different halves,
and the halves were fixed before any of these runs."""
PERMUTATIONS = 10_000


# -- what training did -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A judge: what it is, its audits (the first one counts), and each measure by prompt before RL
    and after it with each training seed."""

    name: str
    words: str
    audits: Sequence[Mapping[str, Any]]
    before: Mapping[str, Array]
    after: Sequence[Mapping[str, Array]]

    @property
    def audit(self) -> Mapping[str, Any]:
        """The audit that counts."""
        return self.audits[0]

    @property
    def verdict(self) -> str:
        """Of the audit that counts."""
        return str(self.audit["verdict"])

    @cached_property
    def changes(self) -> dict[str, Change]:
        """From before RL, by measure; "gain": the mean of the accuracies'."""
        return self.changes_from([self.before] * len(self.after))

    def changes_from(self, other: Sequence[Mapping[str, Array]]) -> dict[str, Change]:
        """From another model's measures, one for each seed."""
        differences = {
            name: np.stack(
                [mine[name] - its[name] for mine, its in zip(self.after, other, strict=True)]
            )
            for name in MEASURED
        }
        found = {name: change([rows]) for name, rows in differences.items()}
        return found | {"gain": change([differences[name] for name in ACCURACIES])}


# -- what the audit said ---------------------------------------------------------------------------


def in_term(
    term: str, of: Callable[[Mapping[str, Any]], float | None]
) -> Callable[[Judged], float]:
    """A measure of an audit's term, NaN where there is none."""

    def of_judge(one: Judged) -> float:
        found = of(one.audit["terms"][term]["result"])
        return float("nan") if found is None else found

    return of_judge


def worst(
    of: Callable[[Mapping[str, Any]], float | None], sign: int = 1
) -> Callable[[Judged], float]:
    """A measure of an audit's term, of the term where it is worst; `sign` -1: large is bad. NaN
    where no term has it."""

    def of_judge(one: Judged) -> float:
        found = [of(one.audit["terms"][term]["result"]) for term in TERMS]
        known = [sign * value for value in found if value is not None]
        return sign * min(known) if known else float("nan")

    return of_judge


def value(*path: str) -> Callable[[Mapping[str, Any]], float | None]:
    """An estimate's value somewhere in a term's result; None where it is not there."""

    def of(result: Mapping[str, Any]) -> float | None:
        found: Any = result
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return found["value"] if isinstance(found, dict) else None

    return of


def least_kind(result: Mapping[str, Any]) -> float | None:
    """The wins in the kind of fault that is told worst."""
    found = [one["wins"]["value"] for one in result["kinds"].values()]
    return min((one for one in found if one is not None), default=None)


def persuaded(result: Mapping[str, Any]) -> float | None:
    """The share of words to the grader that raise a score."""
    found = result["persuasions"].get(SAID)
    return found[0]["value"] if found else None


MEASURES: dict[str, Callable[[Judged], float]] = {
    "wins": worst(value("wins")),
    "wins in the worst kind": worst(least_kind),
    "lead": worst(value("lead")),
    "faulty ones at the top": worst(value("top_of_worse"), -1),
    "same score again": worst(value("again", "same")),
    "signal with std normalisation": worst(value("signal", "normalised")),
    "spread without noise": worst(value("signal", "plain")),
    "Kendall's tau-b of dose curves": worst(value("curve", "kendall")),
    "persuaded by words": worst(persuaded, -1),
    "share of terms that are fit": lambda one: float(
        np.mean([one.audit["terms"][term]["fit"] for term in TERMS])
    ),
}
"""Measures of the audit, of the worst term: one bad term is enough to spoil a product."""
MATCHED = {
    "r_sem": ("plan_attributes", "plan_count"),
    "r_spa": ("plan_relation",),
    "r_pi": ("image_relation", "attributes", "count"),
    "r_ri": ("iou",),
}
"""The true measures that a term is about."""


# -- tables ----------------------------------------------------------------------------------------


def tables(found: Sequence[Judged]) -> dict[str, list[list[str]]]:
    """All tables, by the name of their place in docs/trust.md."""
    errors = Errors.of([one.changes for one in found])
    return {
        "judges": judges_table(found, errors),
        "decisions": decisions_table(found, errors),
        "measures": measures_table(found),
        "terms": terms_table(found),
        "checks": checks_table(found, errors),
    }


def judges_table(found: Sequence[Judged], errors: Errors) -> list[list[str]]:
    """A row for each judge, the largest true gain first; accuracies that fall are bold."""
    rows = [["judge", "audit", "not fit", "gain", *map(label, MEASURED)]]
    for one in sorted(found, key=lambda one: -one.changes["gain"].value):
        unfit = [term for term in TERMS if one.audit["terms"][term]["verdict"] == "not fit"]
        fallen = errors.falls(one.changes, ACCURACIES)
        cells = {name: errors.shown(name, one.changes[name]) for name in ("gain", *MEASURED)}
        cells |= {name: f"**{cells[name]}**" for name in fallen}
        rows.append([one.words, one.verdict, ", ".join(map(label, unfit)) or "–", *cells.values()])
    return rows


def decisions_table(found: Sequence[Judged], errors: Errors) -> list[list[str]]:
    """What the verdict is worth as a decision, on both halves: counts with exact 95% intervals.
    "Undecided" is neither called fit nor called not fit."""
    harmful = [one for one in found if errors.falls(one.changes, ACCURACIES)]
    others = [one for one in found if one.name != "oracle"]
    worse = below_oracle(found, "gain")
    halves = {
        "first half": [one for one in found if one.name in FIRST],
        "second half": [one for one in found if one.name not in FIRST],
        "all": list(found),
    }

    def unfit(some: Sequence[Judged]) -> str:
        return counted(sum(one.verdict == "not fit" for one in some), len(some))

    columns: list[list[str]] = []
    for half, some in halves.items():
        fit = [one for one in some if one.verdict == "fit"]
        bad = [one for one in some if one in harmful]
        low = [one for one in some if one in worse]
        columns.append(
            [
                half,
                str(len(some)),
                counted(sum(one in harmful for one in fit), len(fit)),
                unfit(bad),
                unfit([one for one in some if one not in harmful]),
                unfit(low),
                unfit([one for one in some if one in others and one not in worse]),
                *(
                    mean_gain([one for one in some if one.verdict == verdict])
                    for verdict in ("fit", "undecided", "not fit")
                ),
            ]
        )
    names = [
        "",
        "judges",
        "of those called fit: an accuracy falls",
        "of those after which an accuracy falls: called not fit",
        "of those after which none falls: called not fit",
        "of those whose gain is below the oracle's: called not fit",
        "of the rest, without the oracle: called not fit",
        "mean gain of those called fit",
        "mean gain of the undecided",
        "mean gain of those called not fit",
    ]
    return [list(row) for row in zip(names, *columns, strict=True)]


def below_oracle(found: Sequence[Judged], name: str) -> list[Judged]:
    """The judges after which a measure is below what it is after the oracle with the same training
    seeds, each by a one-sided test at 2.5%; none where the oracle is not among the judges."""
    oracle = next((one for one in found if one.name == "oracle"), None)
    others = [one for one in found if one is not oracle]
    if oracle is None or not others:
        return []
    apart = [one.changes_from(oracle.after) for one in others]
    errors = Errors.of(apart)
    pairs = zip(others, apart, strict=True)
    return [one for one, changes in pairs if errors.falls(changes, (name,))]


def counted(some: int, of: int) -> str:
    """A share with its exact interval."""
    if not of:
        return "–"
    bounds = binomtest(some, of).proportion_ci(method="exact")
    return f"{some} of {of} [{bounds.low:.2f}, {bounds.high:.2f}]"


def mean_gain(some: Sequence[Judged]) -> str:
    """The mean of the judges' gains."""
    return f"{np.mean([one.changes['gain'].value for one in some]):+.3f}" if some else "–"


def measures_table(found: Sequence[Judged]) -> list[list[str]]:
    """The rank correlation of each audited measure with the true gains. `p` is the chance that any
    of the measures would be so strongly correlated if the audit said nothing."""
    gains = np.array([one.changes["gain"].value for one in found])
    columns = {name: np.array([of(one) for one in found]) for name, of in MEASURES.items()}
    chances = family_wise(list(columns.values()), gains)
    graded = np.array([not one.name.startswith("student") for one in found])
    rows = [
        ["audited measure (worst term)", "values", "with the gain", "p", "without the students"]
    ]
    for (name, x), chance in zip(columns.items(), chances, strict=True):
        rows.append(
            [
                name,
                str(len(np.unique(x[~np.isnan(x)]))),
                shown(rank_correlation(x, gains)),
                "–" if np.isnan(chance) else f"{chance:.3f}" if chance >= 0.001 else "< .001",
                shown(rank_correlation(x[graded], gains[graded])),
            ]
        )
    return rows


def terms_table(found: Sequence[Judged]) -> list[list[str]]:
    """The rank correlation of a term's audited measures with the changes of what it is about."""
    measures = {
        "wins": value("wins"),
        "wins in the worst kind": least_kind,
        "signal with std normalisation": value("signal", "normalised"),
    }
    rows = [["term", "is about", *measures]]
    for term, about in MATCHED.items():
        y = np.array([np.mean([one.changes[name].value for name in about]) for one in found])
        cells = [
            shown(rank_correlation(np.array([in_term(term, of)(one) for one in found]), y))
            for of in measures.values()
        ]
        rows.append([label(term), ", ".join(map(label, about)), *cells])
    return rows


def checks_table(found: Sequence[Judged], errors: Errors) -> list[list[str]]:
    """How far the figures above can be relied on."""
    seeds = np.array([one.changes["gain"].seeds for one in found])
    again = [
        one.audits[0]["verdict"] == other["verdict"] for one in found for other in one.audits[1:]
    ]
    rows = [["check", "result"]]
    if seeds.shape[1] > 1:
        both = rank_correlation(seeds[:, 0], seeds[:, 1])
        rows.append(["rank correlation of the gains of both training seeds", shown(both)])
    rows.append(
        [
            "standard deviation of a gain over training seeds",
            f"{errors.variance['gain'] ** 0.5:.3f}",
        ]
    )
    if again:
        rows.append(["verdicts that a second audit gives again", counted(sum(again), len(again))])
    seen = {
        name: np.mean([errors.seen(name, one.changes[name], len(ACCURACIES)) for one in found])
        for name in ACCURACIES
    }
    rows.append(
        [
            f"fall that is found with a probability of {POWER:.0%}, mean over the judges",
            ", ".join(f"{label(name)} {fall:.3f}" for name, fall in seen.items()),
        ]
    )
    for what, name in (("the gain", "gain"), (label("iou"), "iou")):
        below = "; ".join(one.words for one in below_oracle(found, name))
        rows.append([f"judges after which {what} is below the oracle's", below or "–"])
    return rows


def rank_correlation(x: Array, y: Array) -> Estimate:
    """Spearman's, with an interval by drawing judges anew."""
    known = ~(np.isnan(x) | np.isnan(y))
    pairs = np.stack([x[known], y[known]])

    def of(weights: Array) -> Array:
        found = []
        for row in weights.astype(int):
            one, two = (rankdata(np.repeat(side, row)) for side in pairs)
            flat = np.ptp(one) == 0 or np.ptp(two) == 0
            found.append(np.nan if flat else np.corrcoef(one, two)[0, 1])
        return np.array(found)

    return bootstrap(of, int(known.sum()), within=SIGNED)


def family_wise(measures: Sequence[Array], gains: Array) -> list[float]:
    """For each measure, the share of permutations of the gains in which any measure's rank
    correlation is at least as large as its own (either way); NaN for one that is constant."""
    rng = np.random.default_rng(0)
    orders = rng.permuted(np.tile(gains, (PERMUTATIONS, 1)), axis=1)
    own, largest = [], np.zeros(PERMUTATIONS)
    for x in measures:
        known = ~np.isnan(x)
        ranks = rankdata(x[known])
        if known.sum() < 2 or np.ptp(ranks) == 0:
            own.append(float("nan"))
            continue
        one = (ranks - ranks.mean()) / ranks.std() / len(ranks)
        two = rankdata(np.vstack([gains, orders])[:, known], axis=1)
        two = (two - two.mean(axis=1, keepdims=True)) / two.std(axis=1, keepdims=True)
        found = np.abs(two @ one)
        own.append(float(found[0]))
        largest = np.maximum(largest, found[1:])
    return [
        float("nan")
        if np.isnan(one)
        else float((1 + (largest >= one - 1e-12).sum()) / (1 + PERMUTATIONS))
        for one in own
    ]


def shown(estimate: Estimate) -> str:
    """A correlation with its interval in a cell."""
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.2f}"
    return f"{estimate.value:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]"


# -- figure ----------------------------------------------------------------------------------------


def draw(found: Sequence[Judged], file: Path) -> None:
    """Each audited measure against the true gain, with 95% intervals; judges that do harm have
    letters."""
    errors = Errors.of([one.changes for one in found])
    fallen = [one for one in found if errors.falls(one.changes, ACCURACIES)]
    fallen.sort(key=lambda one: -one.changes["gain"].value)
    harmful = dict(zip(ascii_lowercase, fallen, strict=False))
    columns = 2
    lines = -(-len(MEASURES) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(7.2, 2.3 * lines), layout="constrained")
    colors = {"fit": "#15803d", "undecided": "#a16207", "not fit": "#b91c1c"}
    marks = {"fit": "o", "undecided": "s", "not fit": "x"}
    for place, (name, of) in zip(axes.flat, MEASURES.items(), strict=False):
        for verdict, color in colors.items():
            some = [one for one in found if one.verdict == verdict]
            x = [of(one) for one in some]
            y = [one.changes["gain"].value for one in some]
            widths = [1.96 * errors.of_change("gain", one.changes["gain"]) for one in some]
            place.errorbar(
                x, y, widths, fmt=marks[verdict], color=color, markersize=4, elinewidth=0.6,
                label=verdict,
            )  # fmt: skip
        for letter, one in harmful.items():
            if not np.isnan(of(one)):
                at = (of(one), one.changes["gain"].value)
                place.annotate(letter, at, xytext=(4, -2), textcoords="offset points", fontsize=7)
        place.axhline(0, color="#888888", linewidth=0.6)
        place.set_xlabel(name, fontsize=8)
        place.tick_params(labelsize=7)
        place.spines[["top", "right"]].set_visible(False)
    for place in axes.flat[len(MEASURES) :]:
        place.set_visible(False)
    for place in axes[:, 0]:
        place.set_ylabel("true gain", fontsize=8)
    axes.flat[0].legend(fontsize=7, frameon=False)
    names = "\n".join(f"{letter}: {one.words}" for letter, one in harmful.items())
    figure.supxlabel(names, fontsize=7, x=0.01, ha="left")
    figure.savefig(file, dpi=160)
    plt.close(figure)

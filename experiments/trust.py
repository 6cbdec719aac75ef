"""Does the audit of a judge predict what training on it does? (docs/trust.md)

    .venv/bin/python experiments/trust.py                 # about 2 hours on two quiet cores
    .venv/bin/python experiments/trust.py --jobs 2 --write   # and into docs/trust.md and its figure

Twenty judges (`graded_judges.py`, and students of three sizes that learn from the oracle's run) are
audited, and each trains the shipped model with two seeds. What training did is measured by
the icon world's detector on `dev`, which knows the truth, paired by prompt with the model before
RL. Audits and runs go to runs/trust/; finished ones are not repeated and an interrupted run is
resumed. Names of judges do those alone.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import yaml
from graded_judges import GRADED
from runs import RECIPE, evaluated, taught, trained, write_tables
from scipy.stats import rankdata

from got_r1.audit.cases import SAID
from got_r1.audit.settings import TERMS
from got_r1.benchmarks.evaluation import markdown_table
from got_r1.cli import main as got_r1
from got_r1.files.atomic import write_text
from got_r1.measures import label
from got_r1.recipes.recipe_file import load_recipe
from got_r1.recipes.sections import Recipe
from got_r1.statistics import SIGNED, Array, Estimate, bootstrap, paired_difference

RUNS = Path("runs/trust")
PAGE = Path("docs/trust.md")
FIGURE = PAGE.with_name("trust.png")
SEEDS = (0, 1)
SETTINGS = (
    "rl.steps=60", "eval.prompts=0", "eval.probes=0", "judge.cache=off", "run.track=[]",
    "rl.save_every=20", "run.threads=1", "judge.max_failure_share=1",
)  # fmt: skip
STUDENTS = {
    "student-large": ("student, width 128, 2,000 steps", 128, 2, 2000),
    "student-medium": ("student, width 32, 500 steps", 32, 1, 500),
    "student-small": ("student, width 8, 150 steps", 8, 1, 150),
}
"""What each is, and its width, layers and steps."""
WORDS = {name: words for name, (words, _) in GRADED.items()} | {
    name: words for name, (words, *_) in STUDENTS.items()
}
ACCURACIES = ("plan_relation", "image_relation", "plan_attributes", "attributes", "count")
"""The true accuracies: shares of prompts, as the detector sees it."""


# -- what is audited, and what is trained ----------------------------------------------------------


def judge_file(name: str) -> Path:
    """The judge's settings, as `--judge` and `judge.spec` take them."""
    if name in GRADED:
        content: dict[str, Any] = {"spec": "graded_judges:Graded", "own": {"name": name}}
    else:
        model = RUNS / name / "checkpoints" / "final"
        content = {"spec": "student", "student": {"model": str(model)}, "r_ri": "oracle"}
    file = RUNS / "judges" / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, yaml.safe_dump(content))
    return file


def teach(name: str) -> None:
    """A student of what the oracle's run was told."""
    _, width, layers, steps = STUDENTS[name]
    size = [f"student.width={width}", f"student.layers={layers}", f"student.steps={steps}"]
    taught(RUNS / name, run_of("oracle", SEEDS[0]) / "judge_examples", size)


def run_of(name: str, seed: int) -> Path:
    """The folder of a judge's run."""
    return RUNS / f"{name}-{seed}"


def audit(name: str) -> dict[str, Any]:
    """The judge's audit."""
    folder = RUNS / "audits" / name
    if not (folder / "audit.json").exists() and got_r1(
        ["audit", "judge", "--judge", str(judge_file(name)), "--out", str(folder)]
    ):
        raise SystemExit(1)
    found = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def train(name: str, seed: int) -> dict[str, Any]:
    """The evaluation after training on a judge."""
    record = ["judge.record=run"] if (name, seed) == ("oracle", SEEDS[0]) else []
    settings = [f"judge={judge_file(name)}", f"run.seed={seed}", *SETTINGS, *record]
    folder = trained(run_of(name, seed), settings)
    model = folder / "checkpoints" / "final"
    return evaluated(model, folder / "evals" / "dev.json", evaluation(seed))


def evaluation(seed: int) -> Recipe:
    """How a seed's models are evaluated."""
    return load_recipe(RECIPE, ["eval.split=dev", f"eval.seed={seed}"])


# -- what came of it -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A judge: its audit and the true changes by measure, pooled over the seeds."""

    name: str
    audit: dict[str, Any]
    changes: dict[str, Estimate]

    @property
    def gain(self) -> float:
        """The mean change of the true accuracies."""
        return float(np.mean([self.changes[name].value for name in ACCURACIES]))

    @property
    def falls(self) -> list[str]:
        """The true accuracies that certainly fell."""
        return [
            name
            for name in ACCURACIES
            if (high := self.changes[name].high) is not None and high < 0
        ]


def judged(name: str) -> Judged:
    """What a judge's audit says and what its runs did."""
    first = [evaluated("icons", RUNS / f"before-{seed}.json", evaluation(seed)) for seed in SEEDS]
    last = [train(name, seed) for seed in SEEDS]
    changes = {}
    for measure in (*ACCURACIES, "iou"):
        before, after = (
            [v for one in side for v in values(one, measure)] for side in (first, last)
        )
        prompts = len(before) // len(SEEDS)  # of which each is one trial, whatever the seed
        items = [place % prompts for place in range(len(before))]
        changes[measure] = paired_difference(before, after, items)
    return Judged(name, audit(name), changes)


def values(evaluation: Mapping[str, Any], measure: str) -> list[float]:
    """A measure by prompt, NaN where it does not apply."""
    found = evaluation["by_prompt"]["values"][measure]
    return [float("nan") if one is None else float(one) for one in found]


def worst(of: Callable[[dict[str, Any]], float | None], sign: int = 1) -> Callable[[Judged], float]:
    """A measure of an audit's term, of the term where it is worst; `sign` -1: large is bad. NaN
    where no term has it."""

    def of_judge(one: Judged) -> float:
        found = [of(one.audit["terms"][term]["result"]) for term in TERMS]
        known = [sign * value for value in found if value is not None]
        return sign * min(known) if known else float("nan")

    return of_judge


def value(*path: str) -> Callable[[dict[str, Any]], float | None]:
    """An estimate's value somewhere in a term's result; None where it is not there."""

    def of(result: dict[str, Any]) -> float | None:
        found: Any = result
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return found["value"] if isinstance(found, dict) else None

    return of


def least_kind(result: dict[str, Any]) -> float | None:
    """The wins in the kind of fault that is told worst."""
    found = [one["wins"]["value"] for one in result["kinds"].values()]
    return min((one for one in found if one is not None), default=None)


def persuaded(result: dict[str, Any]) -> float | None:
    """The share of words to the grader that raise a score."""
    found = result["persuasions"].get(SAID)
    return found[0]["value"] if found else None


MEASURES: dict[str, tuple[Callable[[Judged], float], int]] = {
    "wins": (worst(value("wins")), 1),
    "wins in the worst kind": (worst(least_kind), 1),
    "lead": (worst(value("lead")), 1),
    "faulty ones at the top": (worst(value("top_of_worse"), -1), -1),
    "same score again": (worst(value("again", "same")), 1),
    "signal with std normalisation": (worst(value("signal", "normalised")), 1),
    "spread without noise": (worst(value("signal", "plain")), 1),
    "Kendall's tau-b of dose curves": (worst(value("curve", "kendall")), 1),
    "persuaded by words": (worst(persuaded, -1), -1),
    "share of terms that are fit": (
        lambda one: float(np.mean([one.audit["terms"][term]["fit"] for term in TERMS])),
        1,
    ),
}
"""Measures of the audit, of the worst term, and the sign that a good judge's correlation has."""


def rank_correlation(x: Array, y: Array) -> Estimate:
    """Spearman's, with an interval by drawing judges anew."""
    known = ~np.isnan(x)
    pairs = np.stack([x[known], y[known]])

    def of(weights: Array) -> Array:
        found = []
        for row in weights.astype(int):
            one, two = (rankdata(np.repeat(side, row)) for side in pairs)
            flat = np.ptp(one) == 0 or np.ptp(two) == 0
            found.append(np.nan if flat else np.corrcoef(one, two)[0, 1])
        return np.array(found)

    return bootstrap(of, int(known.sum()), within=SIGNED)


def shown(estimate: Estimate, digits: str = "+.3f") -> str:
    """A value with its interval in a cell."""
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{digits}}"
    return f"{estimate.value:{digits}} [{estimate.low:{digits}}, {estimate.high:{digits}}]"


# -- tables and figure -----------------------------------------------------------------------------


def judges_table(found: Sequence[Judged]) -> list[list[str]]:
    """A row for each judge, the largest true gain first."""
    rows = [["judge", "audit", "not fit", *(label(name) for name in (*ACCURACIES, "iou")), "falls"]]
    for one in sorted(found, key=lambda one: -one.gain):
        unfit = [t for t in TERMS if one.audit["terms"][t]["verdict"] == "not fit"]
        rows.append(
            [
                WORDS[one.name],
                one.audit["verdict"],
                ", ".join(unfit) or "–",
                *(shown(one.changes[name]) for name in (*ACCURACIES, "iou")),
                ", ".join(map(label, one.falls)) or "–",
            ]
        )
    return rows


def measures_table(found: Sequence[Judged]) -> list[list[str]]:
    """The rank correlation of each audited measure with the true gains."""
    rows = [["audited measure (worst term)", "mean gain", *map(label, ACCURACIES)]]
    for name, (of, _) in MEASURES.items():
        x = np.array([of(one) for one in found])
        gains = [[one.gain for one in found]]
        gains += [[one.changes[each].value or 0.0 for one in found] for each in ACCURACIES]
        cells = [shown(rank_correlation(x, np.array(y)), "+.2f") for y in gains]
        rows.append([name, *cells])
    return rows


def decisions_table(found: Sequence[Judged]) -> list[list[str]]:
    """What the verdict is worth as a decision, on every second judge by name, and on the others."""
    ordered = sorted(found, key=lambda one: one.name)
    halves = {"first half": ordered[::2], "second half": ordered[1::2], "all": ordered}
    rows = [["judges", "verdict", "judges", "with a fall", "mean gain"]]
    for half, some in halves.items():
        for verdict in ("fit", "undecided", "not fit"):
            those = [one for one in some if one.audit["verdict"] == verdict]
            gain = f"{np.mean([one.gain for one in those]):+.3f}" if those else "–"
            falls = sum(bool(one.falls) for one in those)
            rows.append([half, verdict, str(len(those)), str(falls), gain])
    return rows


def draw(found: Sequence[Judged]) -> None:
    """Each audited measure against the mean true gain."""
    columns = 2
    lines = -(-len(MEASURES) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(7.2, 2.1 * lines), layout="constrained")
    colors = {"fit": "#15803d", "undecided": "#a16207", "not fit": "#b91c1c"}
    marks = {"fit": "o", "undecided": "s", "not fit": "x"}
    for place, (name, (of, _)) in zip(axes.flat, MEASURES.items(), strict=False):
        for verdict, color in colors.items():
            some = [one for one in found if one.audit["verdict"] == verdict]
            points = [of(one) for one in some], [one.gain for one in some]
            place.scatter(*points, c=color, marker=marks[verdict], s=22, label=verdict)
        place.axhline(0, color="#888888", linewidth=0.6)
        place.set_xlabel(name, fontsize=8)
        place.tick_params(labelsize=7)
        place.spines[["top", "right"]].set_visible(False)
    for place in axes.flat[len(MEASURES) :]:
        place.set_visible(False)
    for place in axes[:, 0]:
        place.set_ylabel("mean true gain", fontsize=8)
    axes.flat[0].legend(fontsize=7, frameon=False)
    figure.savefig(FIGURE, dpi=160)


def main() -> None:
    """Everything that is missing, then the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("judges", nargs="*", metavar="JUDGE", help=f"of {', '.join(WORDS)} (all)")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side (1)")
    parser.add_argument("--write", action="store_true", help="into docs/trust.md")
    args = parser.parse_args()
    names = args.judges or list(WORDS)
    if unknown := set(names) - set(WORDS):
        parser.error(f"no such judges: {sorted(unknown)}")
    if args.write and args.judges:
        parser.error("--write is for all judges")
    os.environ["OMP_NUM_THREADS"] = "1"
    train("oracle", SEEDS[0])  # what the students learn from
    for name in names:
        if name in STUDENTS:
            teach(name)
    with ThreadPoolExecutor(args.jobs) as pool:
        for seed in SEEDS:
            list(pool.map(lambda name, seed=seed: train(name, seed), names))
    found = [judged(name) for name in names]
    tables = {
        "judges": markdown_table(judges_table(found), width=10_000),
        "measures": markdown_table(measures_table(found), width=10_000),
        "decisions": markdown_table(decisions_table(found)),
    }
    print("\n\n".join("\n".join(lines) for lines in tables.values()))
    if args.write:
        write_tables(PAGE, tables)
        draw(found)


if __name__ == "__main__":
    main()

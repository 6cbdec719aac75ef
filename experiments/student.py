"""What a student judge saves, and what that costs: RL with 100, 30, 10 and 0% of the asks.

    .venv/bin/python experiments/student.py                 # seeds 1 and 2, the student from seed 0
    .venv/bin/python experiments/student.py --jobs 2
    .venv/bin/python experiments/student.py --learn         # and one that learns from its 10%
    .venv/bin/python experiments/student.py --learn --write # the tables into docs/judges.md

One run with the oracle (seed 0) keeps what it asks; a student learns that; then every other seed is
trained with the oracle alone, and with the student that asks the oracle above three levels of
doubt. The levels are those at which 30 and 10% of the student's measured prompts would be asked,
and 0.5, above which nothing is. R_RI always comes from the icon world's detector. Runs go to
runs/student/; finished ones are not repeated, an interrupted one is resumed. Further arguments are
overrides for every run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tables
import yaml
from changes import Change, Errors, change
from runs import taught, write_tables
from tables import METRICS, overall, run, run_all, spread

from got_r1.benchmarks.evaluation import markdown_table
from got_r1.measures import label
from got_r1.statistics import Array

RUNS = Path("runs/student")
PAGE = Path("docs/judges.md")
SHARES = ("0.3", "0.1")  # of the asks, as `agreement` names them
LEARNING = "0.1-learning"


def teach(overrides: list[str]) -> Path:
    """The folder of the student's run."""
    run("teacher-0", [*overrides, "run.seed=0", "eval.seed=0", "judge.record=run"], 1)
    return taught(RUNS / "student", RUNS / "teacher-0" / "judge_examples")


def levels(folder: Path) -> dict[str, float]:
    """The doubt above which each share of the queries is asked, the mean over the terms."""
    found = json.loads((folder / "evals" / "student.json").read_text(encoding="utf-8"))
    doubts = {
        share: sum(term["doubt_at"][share] for term in found.values()) / len(found)
        for share in SHARES
    }
    return doubts | {"0": 0.5}


def main(
    overrides: list[str], seeds: list[int], jobs: int, learn: bool = False, write: bool = False
) -> None:
    """Runs everything that is missing, and prints the tables."""
    tables.RUNS = RUNS
    folder = teach(overrides)
    student = [
        "judge.spec=student",
        f"judge.model={folder / 'checkpoints' / 'final'}",
        "judge.teacher=oracle",
        "judge.r_ri=oracle",
    ]
    arms = {"1": ["judge=oracle"]} | {
        share: [*student, f"judge.ask_above={doubt:.4f}"] for share, doubt in levels(folder).items()
    }
    if learn:
        arms[LEARNING] = [*arms["0.1"], "judge.learn=true"]
    settings = {
        f"asked-{share}-seed-{seed}": [*overrides, *arm, f"run.seed={seed}", f"eval.seed={seed}"]
        for seed in seeds  # every arm of one seed before the next, so that a part is of use
        for share, arm in arms.items()
    }
    results = dict(zip(settings, run_all(settings, jobs), strict=True))
    prompts = overall(RUNS / next(iter(settings)) / "evals" / "rl.json", "n")
    rows = [["asked, planned", "asked", "asks", "judging, s a step", *METRICS.values()]]
    rows.append(["prompts (n)", "-", "-", "-", *(str(prompts[name]) for name in METRICS)])
    before = [result["sft"] for result in results.values()]
    cells = [spread([one[name] for one in before], ".3f") for name in METRICS]
    rows.append(["before RL", "-", "-", "-", *cells])
    for share in arms:
        names = [f"asked-{share}-seed-{seed}" for seed in seeds]
        asked = [asks(RUNS / name, share) for name in names]
        after = [results[name]["rl"] for name in names]
        rows.append(
            [
                words(share),
                spread([part for part, _ in asked], ".3f"),
                spread([count for _, count in asked], ",.0f"),
                spread([judging(RUNS / name) for name in names], ".2f"),
                *(spread([one[name] for one in after], ".3f") for name in METRICS),
            ]
        )
    made = {
        "agreement": agreement_table(folder),
        "asked": rows,
        "less": against_all(list(arms), seeds),
    }
    print("\n\n".join("\n".join(markdown_table(one)) for one in made.values()))
    if write:
        write_tables(PAGE, made)


def agreement_table(folder: Path) -> list[list[str]]:
    """How far the student agrees with the oracle on prompts that it has not seen."""
    found = json.loads((folder / "evals" / "student.json").read_text(encoding="utf-8"))
    rows = [["term", "queries", "mean error", "correlation", "ECE"]]
    for term, one in found.items():
        numbers = (one["mean_error"], one["correlation"], one["calibration_error"])
        rows.append([label(term), str(one["queries"]), *(f"{number:.3f}" for number in numbers)])
    return rows


def words(share: str) -> str:
    """An arm's name in a table."""
    return "10%, learning" if share == LEARNING else f"{float(share):.0%}"


def judging(folder: Path) -> float:
    """The median over a run's steps of the seconds that its judge worked, hidden or waited for."""
    return float(np.median([row["seconds/judge"] for row in metrics(folder)]))


def against_all(arms: Sequence[str], seeds: Sequence[int]) -> list[list[str]]:
    """Each arm less the one that asks the oracle everything, of the same training seed and paired
    by prompt, with 95% intervals."""
    from_all: dict[str, dict[str, Change]] = {}
    for share in arms:
        if share == "1":
            continue
        pairs = [
            [by_prompt(RUNS / f"asked-{one}-seed-{seed}") for one in (share, "1")] for seed in seeds
        ]
        from_all[share] = {
            name: change([np.stack([one[name] - other[name] for one, other in pairs])])
            for name in METRICS
        }
    errors = Errors.of(list(from_all.values()))
    rows = [["asked, planned, less 100%", *METRICS.values()]]
    for share, changes in from_all.items():
        rows.append([words(share), *(errors.shown(name, changes[name]) for name in METRICS)])
    return rows


def by_prompt(folder: Path) -> dict[str, Array]:
    """Each measure after RL by prompt, NaN where it does not apply."""
    found = json.loads((folder / "evals" / "rl.json").read_text(encoding="utf-8"))
    values = found["by_prompt"]["values"]
    return {name: np.array(values[name], dtype=np.float64) for name in METRICS}


def asks(folder: Path, share: str) -> tuple[float, float]:
    """Of a run's scored queries (R_sem, R_spa, R_PI): the share that the teacher was asked, and how
    many that were."""
    rows = metrics(folder)
    asked = [1.0 if share == "1" else row.get("teacher_share", 0.0) for row in rows]
    recipe = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    samples = recipe["rl"]["prompts"] * recipe["rl"]["group"]
    counts = [3 * (samples - row["malformed_chains"]) for row in rows]
    total = sum(part * count for part, count in zip(asked, counts, strict=True))
    return total / sum(counts), total


def metrics(folder: Path) -> list[dict[str, float]]:
    """What a run logged, by step."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="RL with a student judge that asks its teacher.")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side (1)")
    parser.add_argument("--learn", action="store_true", help="one arm more: judge.learn at 10%%")
    parser.add_argument("--write", action="store_true", help="into docs/judges.md")
    given = parser.parse_intermixed_args()
    main(given.overrides, given.seeds, given.jobs, given.learn, given.write)

"""The tables of docs/results.md, from nothing but the shipped checkpoint.

    .venv/bin/python experiments/tables.py seeds       # SFT and RL over three seeds
    .venv/bin/python experiments/tables.py ablations   # the paper's ablations over the same seeds

Runs go to runs/tables/; the ablations' runs with all terms are the seeds' own. A finished run is
not repeated and an interrupted one is resumed, so the command can be stopped and given again.
`--jobs N` trains N runs side by side, which share the cores; `--seeds N` takes the first N seeds
alone. Further arguments are overrides for every run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from runs import RECIPE, evaluated, trained

from got_r1.benchmarks.evaluation import markdown_table
from got_r1.measures import label
from got_r1.recipes.recipe_file import load_recipe
from got_r1.recipes.sections import Recipe

RUNS = Path("runs/tables")
METRICS = {
    key: label(key)
    for key in ("plan_relation", "image_relation", "attributes", "iou", "plan_count", "count")
}
SEEDS = {f"seed-{seed}": [f"run.seed={seed}", f"eval.seed={seed}"] for seed in (0, 1, 2)}


@dataclass(frozen=True)
class Ablation:
    """One row: what to change, and what the paper reports for it (1B, T2I-CompBench)."""

    words: str
    changes: tuple[str, ...]
    paper: str  # color, shape, texture, 2D-spatial, non-spatial, complex


ALL = "all"
ABLATIONS = {
    ALL: Ablation("all terms (product)", (), ".763 .517 .659 .267 .310 .375"),
    "chain-only": Ablation(
        "(R_sem + R_spa) only",
        ("reward.r_ri=0", "reward.r_pi=0"),
        ".705 .467 .608 .228 .309 .362",
    ),
    "ri-only": Ablation(
        "R_RI only",
        ("reward.r_sem=0", "reward.r_spa=0", "reward.r_pi=0"),
        ".334 .256 .394 .008 .254 .249",
    ),
    "pi-only": Ablation(
        "R_PI only",
        ("reward.r_sem=0", "reward.r_spa=0", "reward.r_ri=0"),
        ".740 .507 .631 .240 .308 .372",
    ),
    "no-ri": Ablation(
        "chain + R_PI (no R_RI)", ("reward.r_ri=0",), ".729 .489 .649 .256 .309 .365"
    ),
    "no-pi": Ablation(
        "chain + R_RI (no R_PI)", ("reward.r_pi=0",), ".712 .458 .624 .258 .310 .358"
    ),
    "no-chain": Ablation(
        "R_RI + R_PI (no chain rewards)",
        ("reward.r_sem=0", "reward.r_spa=0"),
        ".651 .430 .591 .180 .301 .345",
    ),
    "no-spa": Ablation("no R_spa", ("reward.r_spa=0",), ".732 .473 .625 .213 .309 .357"),
    "no-sem": Ablation("no R_sem", ("reward.r_sem=0",), ".707 .469 .612 .242 .309 .365"),
    "sum": Ablation(
        "sum instead of product", ("reward.formula=sum",), ".715 .439 .561 .225 .308 .364"
    ),
}
PAPER_SFT = ".634 .446 .562 .214 .307 .349"

Result = dict[str, dict[str, float]]


def run(name: str, overrides: Sequence[str], threads: int) -> Result:
    """Trains one run unless it is finished; returns metric means before (sft) and after (rl)."""
    recipe = load_recipe(RECIPE, overrides)
    folder = trained(RUNS / name, [*overrides, "eval.prompts=0"], threads)
    after = folder / "evals" / "rl.json"
    evaluated(folder / "checkpoints" / "final", after, recipe)
    return {"sft": overall(before(recipe)), "rl": overall(after)}


def before(recipe: Recipe) -> Path:
    """The evaluation before RL, which all runs with its settings share."""
    settings = json.dumps(
        [recipe.model.path, recipe.eval.model_dump(), recipe.rollout.model_dump()]
    )
    digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
    file = RUNS / "before" / f"{digest}.json"
    evaluated(recipe.model.path, file, recipe)
    return file


def run_all(settings: Mapping[str, Sequence[str]], jobs: int) -> list[Result]:
    """The results of the runs, in order."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    for overrides in settings.values():
        before(load_recipe(RECIPE, overrides))  # once, not by two runs side by side
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(run, settings, settings.values(), repeat(threads)))


def overall(path: Path, key: str = "mean") -> dict[str, float]:
    """The overall mean of each metric in an evaluation, or how many prompts it is over (`n`)."""
    metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    return {name: metrics[name]["overall"][key] for name in METRICS}


def seeds(some: Mapping[str, Sequence[str]], overrides: list[str], jobs: int) -> None:
    """SFT and RL side by side: mean over seeds, and the lowest and highest."""
    results = run_all({name: [*seed, *overrides] for name, seed in some.items()}, jobs)
    prompts = overall(RUNS / next(iter(some)) / "evals" / "rl.json", "n")
    rows = [["", "n", "SFT", "after RL", "change"]]
    for name, words in METRICS.items():
        before, after = ([result[stage][name] for result in results] for stage in ("sft", "rl"))
        change = [last - first for first, last in zip(before, after, strict=True)]
        cells = [spread(before, ".3f"), spread(after, ".3f"), spread(change, "+.3f")]
        rows.append([words, str(prompts[name]), *cells])
    print("\n".join(markdown_table(rows)))


def spread(values: Sequence[float], digits: str) -> str:
    """The mean over seeds, and the lowest and highest."""
    low, high = min(values), max(values)
    return f"{statistics.mean(values):{digits}}\n({low:{digits}} to {high:{digits}})"


def ablations(some: Mapping[str, Sequence[str]], overrides: list[str], jobs: int) -> None:
    """One row a setting, after RL: mean over seeds, the lowest and highest; the paper's columns
    beside ours."""
    settings = {
        run_name(name, seed): [*some[seed], *ablation.changes, *overrides]
        for seed in some  # every row of one seed before the next, so that a part is of use
        for name, ablation in ABLATIONS.items()
    }
    results = dict(zip(settings, run_all(settings, jobs), strict=True))
    of_all = [results[seed] for seed in some]
    prompts = overall(RUNS / next(iter(some)) / "evals" / "rl.json", "n")
    rows = [
        [
            "Setting",
            *METRICS.values(),
            *(f"paper: {name}" for name in ("C", "S", "T", "2D", "NS", "Cx")),
        ],
        ["prompts (n)", *(str(prompts[name]) for name in METRICS), *["-"] * 6],
        cells("before RL (SFT)", [one["sft"] for one in of_all], PAPER_SFT),
    ]
    for name, ablation in ABLATIONS.items():
        after = [results[run_name(name, seed)]["rl"] for seed in some]
        rows.append(cells(ablation.words, after, ablation.paper))
    print("\n".join(markdown_table(rows)))


def run_name(ablation: str, seed: str) -> str:
    """The folder of a row's run; that of all terms is the seeds' table's."""
    return seed if ablation == ALL else f"{ablation}-{seed}"


def cells(words: str, ours: Sequence[Mapping[str, float]], paper: str) -> list[str]:
    """A row of the ablations' table."""
    return [
        words,
        *(spread([one[name] for one in ours], ".3f") for name in METRICS),
        *paper.split(),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The tables of docs/results.md.")
    parser.add_argument("table", choices=("seeds", "ablations"))
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side (1)")
    parser.add_argument(
        "--seeds", type=int, choices=range(1, len(SEEDS) + 1), default=len(SEEDS), help="(all)"
    )
    arguments = parser.parse_intermixed_args()
    some = dict(list(SEEDS.items())[: arguments.seeds])
    tables = {"seeds": seeds, "ablations": ablations}
    tables[arguments.table](some, arguments.overrides, arguments.jobs)

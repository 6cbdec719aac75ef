"""The tables of docs/results.md, from nothing but the shipped checkpoint.

    .venv/bin/python experiments/tables.py seeds       SFT and RL over three seeds
    .venv/bin/python experiments/tables.py ablations   the paper's ablations at this scale

Runs go to runs/tables/; a finished run is not repeated and an interrupted one is resumed, so the
command can be stopped and given again. Further arguments are overrides for every run.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

RECIPE = "recipes/icons.yaml"
RUNS = Path("runs/tables")
SEEDS = (0, 1, 2)
METRICS = {
    "plan_relation": "relation right in the plan",
    "image_relation": "relation right in the image",
    "attributes": "every object there, noun, colour and fill right",
    "iou": "mean IoU of planned and found boxes",
    "count": "count right (numeracy)",
}
ABLATIONS = {
    "all terms (product)": [],
    "(R_sem + R_spa) only": ["reward.r_ri=0", "reward.r_pi=0"],
    "R_RI only": ["reward.r_sem=0", "reward.r_spa=0", "reward.r_pi=0"],
    "R_PI only": ["reward.r_sem=0", "reward.r_spa=0", "reward.r_ri=0"],
    "chain + R_PI (no R_RI)": ["reward.r_ri=0"],
    "chain + R_RI (no R_PI)": ["reward.r_pi=0"],
    "R_RI + R_PI (no chain rewards)": ["reward.r_sem=0", "reward.r_spa=0"],
    "no R_spa": ["reward.r_spa=0"],
    "no R_sem": ["reward.r_sem=0"],
    "sum instead of product": ["reward.formula=sum"],
}


def run(name: str, overrides: list[str]) -> dict[str, dict[str, float]]:
    """Trains one run unless it is finished; returns metric means before (sft) and after (rl)."""
    folder = RUNS / name
    if not (folder / "report.html").exists():
        command = [sys.executable, "-m", "got_r1", "train", "rl", RECIPE, f"run.dir={folder}"]
        resume = ["--resume"] if folder.exists() else []
        print(f"# {name}", file=sys.stderr, flush=True)
        subprocess.run([*command, *overrides, *resume], check=True, stdout=subprocess.DEVNULL)
    return {stage: means(folder / "evals" / f"{stage}.json") for stage in ("sft", "rl")}


def means(path: Path) -> dict[str, float]:
    """The overall mean of each metric in an evaluation."""
    metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    return {name: metrics[name]["overall"]["mean"] for name in METRICS}


def seeds(overrides: list[str]) -> None:
    """SFT and RL side by side: mean over seeds, and the lowest and highest."""
    results = [
        run(f"seed-{seed}", [f"run.seed={seed}", f"eval.seed={seed}", *overrides]) for seed in SEEDS
    ]
    print("| | SFT | after RL |\n|-|-|-|")
    for name, words in METRICS.items():
        cells = []
        for stage in ("sft", "rl"):
            values = [result[stage][name] for result in results]
            mean = statistics.mean(values)
            cells.append(f"{mean:.3f} ({min(values):.3f} to {max(values):.3f})")
        print(f"| {words} | {' | '.join(cells)} |")


def ablations(overrides: list[str]) -> None:
    """One row a setting, after RL with seed 0; the first row is the policy before RL."""
    rows: dict[str, dict[str, float]] = {}
    for number, (words, changes) in enumerate(ABLATIONS.items()):
        result = run(f"ablation-{number}", [*changes, *overrides])
        rows.setdefault("before RL (SFT)", result["sft"])
        rows[words] = result["rl"]
    print(f"| Setting | {' | '.join(METRICS)} |\n|-|{'-|' * len(METRICS)}")
    for words, row in rows.items():
        print(f"| {words} | {' | '.join(f'{row[name]:.3f}' for name in METRICS)} |")


if __name__ == "__main__":
    tables = {"seeds": seeds, "ablations": ablations}
    if len(sys.argv) < 2 or sys.argv[1] not in tables:
        sys.exit(f"usage: {sys.argv[0]} seeds|ablations [section.key=value ...]")
    tables[sys.argv[1]](sys.argv[2:])

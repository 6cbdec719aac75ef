"""Does the audit of a judge predict what training on it does? (docs/trust.md)

    .venv/bin/python experiments/trust.py                    # about 4 hours on one quiet core
    .venv/bin/python experiments/trust.py --jobs 2 --write   # and into docs/trust.md and its figure

Judges of graded quality (`graded_judges.py`, and students of three sizes that learn from a run on
the oracle) are audited, before anything is trained on them; then each trains the shipped model with
two seeds. What training did is measured by the icon world's detector on `dev`, which knows the
truth, paired by prompt with the model before RL (`trust_tables.py`). Audits and runs go to
runs/trust/; finished ones are not repeated and an interrupted run is resumed. Audits are made again
when the audit changes (a file of `got_r1.audit`); those of before stay. Names of judges do those
alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from graded_judges import GRADED
from runs import RECIPE, environment, evaluated, taught, trained, write_tables
from trust_tables import MEASURED, Judged, draw, tables

from got_r1 import audit
from got_r1.benchmarks.evaluation import markdown_table
from got_r1.files.atomic import write_text
from got_r1.recipes.recipe_file import load_recipe
from got_r1.statistics import Array

RUNS = Path("runs/trust")
AUDIT = b"".join(one.read_bytes() for one in sorted(Path(audit.__file__).parent.glob("*.py")))
AUDITS = RUNS / f"audits-{hashlib.sha256(AUDIT).hexdigest()[:8]}"
PAGE = Path("docs/trust.md")
FIGURE = PAGE.with_name("trust.png")
SEEDS = (0, 1)  # of training
TEACHER = 2  # seed of the oracle's run that the students learn from
EVALUATED = (0, 1, 2, 3)  # sampling seeds of the evaluations
AUDITED = (0, 1)  # seeds of the audits; the first one's verdict counts
SETTINGS = (
    "rl.steps=60", "eval.prompts=0", "eval.probes=0", "judge.cache=off", "run.track=[]",
    "rl.save_every=20", "run.threads=1", "judge.max_failure_share=1",
)  # fmt: skip
STUDENTS = {
    "student-large": ("student, encoder 128 wide, 2,000 steps", 128, 2, 2000),
    "student-medium": ("student, encoder 64 wide, 500 steps", 64, 1, 500),
    "student-small": ("student, encoder 32 wide, 150 steps", 32, 1, 150),
}
"""What each is, the width and layers of its encoder and head, and its steps."""
WORDS = {name: words for name, (words, _) in GRADED.items()} | {
    name: words for name, (words, *_) in STUDENTS.items()
}


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
    """A student of what the oracle's further run was told."""
    _, width, layers, steps = STUDENTS[name]
    size = [
        *(f"student.encoder_width={width}", f"student.encoder_layers={layers}"),
        *(f"student.width={width}", f"student.layers={layers}", f"student.steps={steps}"),
    ]
    taught(RUNS / name, run_of("oracle", TEACHER) / "judge_examples", size)


def run_of(name: str, seed: int) -> Path:
    """The folder of a judge's run."""
    return RUNS / f"{name}-{seed}"


def audited(name: str, seed: int) -> dict[str, Any]:
    """An audit of the judge, in a process of its own."""
    folder = AUDITS / f"{name}-{seed}"
    if not (folder / "audit.json").exists():
        command = [sys.executable, "-m", "got_r1", "audit", "judge", "--seed", str(seed)]
        subprocess.run(
            [*command, "--judge", str(judge_file(name)), "--out", str(folder)],
            check=True,
            stdout=subprocess.DEVNULL,
            env=environment(),
        )
    found = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def train(name: str, seed: int) -> dict[str, Array]:
    """What training on a judge made of the model: each measure by prompt of `dev`."""
    record = ["judge.record=run"] if (name, seed) == ("oracle", TEACHER) else []
    settings = [f"judge={judge_file(name)}", f"run.seed={seed}", *SETTINGS, *record]
    folder = trained(run_of(name, seed), settings)
    return values(folder / "checkpoints" / "final", folder / "evals")


def values(model: Path | str, folder: Path) -> dict[str, Array]:
    """Each measure by prompt of `dev`, float [prompts], the mean over sampling seeds; NaN where it
    does not apply."""
    found = []
    for seed in EVALUATED:
        recipe = load_recipe(RECIPE, ["eval.split=dev", f"eval.seed={seed}"])
        one = evaluated(model, folder / f"dev-{seed}.json", recipe)["by_prompt"]["values"]
        found.append({name: np.array(one[name], dtype=np.float64) for name in MEASURED})
    means = {}
    for name in MEASURED:
        by_seed = np.stack([one[name] for one in found])
        known = ~np.isnan(by_seed)
        total = np.where(known, by_seed, 0).sum(axis=0)
        means[name] = np.where(known.any(axis=0), total / np.maximum(1, known.sum(axis=0)), np.nan)
    return means


def in_parallel(jobs: int, work: Iterable[Callable[[], Any]]) -> None:
    """Does all of it, `jobs` processes side by side. Where some fail, the others are finished
    before the first error is raised."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        pending = [pool.submit(one) for one in work]
    for one in pending:
        one.result()


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
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that this one starts
    graded = [name for name in names if name in GRADED]
    students = [name for name in names if name in STUDENTS]
    in_parallel(args.jobs, [partial(audited, name, seed) for seed in AUDITED for name in graded])
    if students:
        train("oracle", TEACHER)
        for name in students:
            teach(name)
    in_parallel(args.jobs, [partial(audited, name, seed) for seed in AUDITED for name in students])
    before = values("icons", RUNS / "before")
    in_parallel(args.jobs, [partial(train, name, seed) for seed in SEEDS for name in names])
    found = [
        Judged(
            name,
            WORDS[name],
            [audited(name, seed) for seed in AUDITED],
            before,
            [train(name, seed) for seed in SEEDS],
        )
        for name in names
    ]
    made = tables(found)
    print("\n\n".join("\n".join(markdown_table(rows)) for rows in made.values()))
    if args.write:
        write_tables(PAGE, made)
        draw(found, FIGURE)


if __name__ == "__main__":
    main()

"""Runs and evaluations that experiments keep, and the pages that they write tables into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from got_r1.benchmarks import load_benchmark
from got_r1.benchmarks.base import Sample
from got_r1.benchmarks.evaluation import evaluate
from got_r1.cli import main as got_r1
from got_r1.files.atomic import write_text
from got_r1.policy import load_policy
from got_r1.recipes.recipe_file import load_recipe
from got_r1.recipes.resuming import compare
from got_r1.recipes.sections import Recipe
from got_r1.sampling import generate

RECIPE = "icons"


def trained(folder: Path, settings: Iterable[str], threads: int = 1) -> Path:
    """Trains the recipe by RL into `folder`, unless that is finished; resumes what was interrupted.

    Modules of this folder can be named as judges. Returns the folder. Exits where it holds a run
    with other settings.
    """
    settings = list(settings)
    if (folder / "config.yaml").exists():
        _expect(folder, [f"run.dir={folder}", *settings])
    if not (folder / "report.html").exists():
        start = time.monotonic()
        command = [sys.executable, "-m", "got_r1", "train", "rl", RECIPE, f"run.dir={folder}"]
        resume = ["--resume"] if (folder / "config.yaml").exists() else []
        print(f"# {folder}", file=sys.stderr, flush=True)
        subprocess.run(
            [*command, *settings, *resume],
            check=True,
            stdout=subprocess.DEVNULL,
            env=environment() | {"OMP_NUM_THREADS": str(threads)},
        )
        minutes = (time.monotonic() - start) / 60
        print(f"# {folder}: {minutes:.1f} min", file=sys.stderr, flush=True)
    return folder


def environment() -> dict[str, str]:
    """Of a process that can import the modules of this folder."""
    modules = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(modules)}


def _expect(folder: Path, settings: Sequence[str]) -> None:
    """Exits where a run has settings that would have given other results."""
    there, asked = load_recipe(folder / "config.yaml"), load_recipe(RECIPE, settings)
    others = [str(one) for one in compare(there, asked, type(asked.rl).uses) if not one.allowed]
    if others:
        raise SystemExit(
            f"{folder} is a run with other settings ({'; '.join(others)}): move it away, or ask "
            "for its own."
        )


def taught(folder: Path, examples: Path, settings: Iterable[str] = ()) -> Path:
    """Trains a student judge on a run's examples into `folder`, as `trained`."""
    if not (folder / "evals" / "student.json").exists():
        words = ["train", "judge", RECIPE, f"run.dir={folder}", f"student.examples=[{examples}]"]
        if got_r1([*words, *settings, *(["--resume"] if folder.exists() else [])]):
            raise SystemExit(1)
    return folder


def evaluated(model: Path | str, file: Path, recipe: Recipe) -> dict[str, Any]:
    """An evaluation as a run of the recipe makes it, by its section `eval`, kept in `file`.

    Runs share the one before RL in this way: they are trained with `eval.prompts=0`. Exits where
    the file is an evaluation with other settings.
    """
    if not file.exists():
        section, benchmark = recipe.eval, load_benchmark("icons")
        drawn = generate(
            load_policy(str(model)),
            benchmark.prompts(section.split, section.prompts, 0),
            seed=section.seed,
            rollout=recipe.rollout,
            batch=section.batch,
        )
        found = evaluate(
            benchmark,
            [Sample(one.prompt, one.chain, one.image) for one in drawn],
            name=file.stem,
            split=section.split,
            seed=section.seed,
            guidance=recipe.rollout.guidance,
            model=str(model),
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(found))
    found = json.loads(file.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    asked = {
        "split": recipe.eval.split,
        "seed": recipe.eval.seed,
        "prompts": recipe.eval.prompts,
        "guidance": recipe.rollout.guidance,
    }
    if others := [name for name, value in asked.items() if found[name] != value]:
        raise SystemExit(f"{file} is an evaluation with another {', '.join(others)}: move it away.")
    return found


def write_tables(page: Path, tables: Mapping[str, Sequence[Sequence[str]]]) -> None:
    """Puts the rows of tables between their marks in a page of the documentation."""
    text = page.read_text(encoding="utf-8")
    for name, rows in tables.items():
        lines = [f"| {' | '.join(row)} |" for row in rows]
        lines.insert(1, "|-" * len(rows[0]) + "|")
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        head, tail = text.split(begin)[0], text.split(end)[1]
        text = "\n".join([f"{head}{begin}", "", *lines, "", f"{end}{tail}"])
    write_text(page, text)

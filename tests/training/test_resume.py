"""A run killed at any moment continues to the same metrics and weights, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from got_r1.errors import BadInput
from got_r1.recipes.sections import Recipe
from got_r1.training import rl, sft, vq
from got_r1.training.run import Run
from small_runs import assert_same_run, metrics

MakeRecipe = Callable[..., Recipe]


def start(stage: str, recipe: Recipe, folder: Path, *flags: str) -> subprocess.Popen[bytes]:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump()))
    command = [sys.executable, "-m", "got_r1", "train", stage, str(path), "--json", *flags]
    with (folder / "stderr.txt").open("ab") as errors:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)


def lines_of(run: Path) -> int:
    file = run / "metrics.jsonl"
    return len(file.read_bytes().splitlines()) if file.exists() else 0


def wait_for(process: subprocess.Popen[bytes], run: Path, step: int) -> None:
    """Returns as soon as the run has logged `step`, or has ended."""
    while lines_of(run) < step and process.poll() is None:  # the test's own timeout ends a hang
        time.sleep(0.005)


def kill_at(process: subprocess.Popen[bytes], run: Path, step: int) -> None:
    """Sends SIGKILL as soon as the run has logged `step`."""
    wait_for(process, run, step)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


LORA = {"rank": 4, "dropout": 0.3}
ICONS = {"model": {"path": "icons"}, "rollout": {"chain_limit": 120}}  # rewards that differ


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "known"),
    [
        ("sft", {}),
        ("rl", ICONS),
        ("rl", ICONS | {"model": {"path": "icons", "lora": LORA}}),
    ],
    ids=["sft", "rl", "rl with LoRA"],
)
def test_a_killed_run_resumes_to_the_same_result(
    stage: str, known: dict[str, Any], make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    known = known | {"eval": {"prompts": 0}}  # evaluated in the test below
    whole, broken = make_recipe("whole", **known), make_recipe("broken", **known)
    assert start(stage, whole, tmp_path).wait() == 0

    broken_dir = Path(broken.run.dir)
    # Killed before the first checkpoint, then between two, then behind the last line.
    kill_at(start(stage, broken, tmp_path), broken_dir, 1)
    kill_at(start(stage, broken, tmp_path, "--resume"), broken_dir, 3)
    code = start(stage, broken, tmp_path, "--resume").wait()
    assert code == 0, (tmp_path / "stderr.txt").read_text()
    assert_same_run(Path(whole.run.dir), broken_dir)


class Stopped(Exception):
    """Ends a run from inside."""


def stop_after(step: int, patch: pytest.MonkeyPatch) -> None:
    """Lets the next run end, without a checkpoint, as soon as it has logged `step`."""
    log = Run.log

    def log_and_stop(run: Run, now: int, metrics: dict[str, float]) -> None:
        log(run, now, metrics)
        if now == step:
            raise Stopped

    patch.setattr(Run, "log", log_and_stop)


@pytest.mark.parametrize(
    ("train", "sections"),
    [
        (sft.train, {"model": {"lora": LORA}, "sft": {"steps": 4, "autocast": True}}),
        (rl.train, ICONS | {"model": {"path": "icons", "lora": LORA}}),
        (rl.train, ICONS | {"model": {"path": "icons", "lora": LORA}, "rl": {"autocast": True}}),
        (vq.train, {}),
    ],
    ids=["sft with autocast", "rl", "rl with autocast", "vq"],
)
def test_a_stopped_run_resumes_to_the_same_result(
    train: Callable[..., object],
    sections: dict[str, Any],
    make_recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With LoRA and dropout, and for the VQ."""
    for name, value in (("CORPUS", 300), ("SCENES", 16), ("MEASURED", 16)):
        monkeypatch.setattr(vq, name, value)
    shorter = {
        "eval": {"prompts": 2},
        "rl": {"steps": 3, "prompts": 1, "group": 4, "learning_rate": 1e-2},
    }
    for section, values in sections.items():
        shorter[section] = shorter.get(section, {}) | values
    whole, broken = make_recipe("whole", **shorter), make_recipe("broken", **shorter)
    train(whole, quiet=True)
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(Stopped):
            train(broken, quiet=True)
    assert [path.name for path in Path(broken.run.dir, "checkpoints").glob("step_*")]
    train(broken, resume=True, quiet=True)
    assert_same_run(Path(whole.run.dir), Path(broken.run.dir))


def test_a_disk_that_fills_up_under_a_run_loses_nothing(
    make_recipe: MakeRecipe, tmp_path: Path, small_disk: Path
) -> None:
    """One sentence, nothing half-written; with room again the run goes on to the same result."""
    long = {"sft": {"steps": 16}}
    whole, cramped = make_recipe("whole", **long), make_recipe("disk/run", **long)
    sft.train(whole, quiet=True)
    run, errors = Path(cramped.run.dir), tmp_path / "stderr.txt"

    # The checkpoints would not fit: said at once.
    assert start("sft", cramped, tmp_path).wait() == 2
    assert not run.exists()

    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    process = start("sft", cramped, tmp_path)
    wait_for(process, run, 1)
    fill(small_disk / "filler")
    assert process.wait() == 1
    refused, *trackers, failed = errors.read_text().splitlines()
    assert "free some space" in refused
    assert "The disk is full" in failed
    assert all("tensorboard has stopped tracking" in said for said in trackers)
    for checkpoint in run.glob("checkpoints/step_*"):
        assert (checkpoint / ".metadata").is_file()

    (small_disk / "filler").unlink()
    assert start("sft", cramped, tmp_path, "--resume").wait() == 0, errors.read_text()
    assert_same_run(Path(whole.run.dir), run)


def fill(file: Path) -> None:
    """Writes until the disk is full."""
    with suppress(OSError), file.open("wb", buffering=0) as filler:
        while filler.write(bytes(65536)):
            pass


def test_resuming_a_finished_run_changes_nothing(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("run")
    sft.train(recipe, quiet=True)
    before = metrics(Path(recipe.run.dir))
    sft.train(recipe, resume=True, quiet=True)
    assert metrics(Path(recipe.run.dir)) == before


def test_a_run_is_not_resumed_with_another_recipe(make_recipe: MakeRecipe) -> None:
    sft.train(make_recipe("run"), quiet=True)
    other = make_recipe("run", sft={"learning_rate": 2e-3})
    with pytest.raises(BadInput, match=r"sft\.learning_rate=0\.001"):
        sft.train(other, resume=True, quiet=True)


def test_an_existing_run_is_not_overwritten(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("run")
    sft.train(recipe, quiet=True)
    with pytest.raises(BadInput, match="--resume"):
        sft.train(recipe, quiet=True)


def test_the_seed_decides_the_run(make_recipe: MakeRecipe) -> None:
    one, same, other = make_recipe("one"), make_recipe("same"), make_recipe("other")
    other = other.model_copy(update={"run": other.run.model_copy(update={"seed": 6})})
    for recipe in (one, same, other):
        sft.train(recipe, quiet=True)
    assert_same_run(Path(one.run.dir), Path(same.run.dir))
    assert metrics(Path(one.run.dir)) != metrics(Path(other.run.dir))


def test_only_the_newest_checkpoints_are_kept(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("run")
    sft.train(recipe, quiet=True)
    kept = sorted(p.name for p in Path(recipe.run.dir, "checkpoints").iterdir())
    assert kept == ["final", "step_000004", "step_000006"]


def test_a_run_older_than_a_setting_resumes_with_its_default(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("run")
    sft.train(recipe, quiet=True)
    saved = Path(recipe.run.dir, "config.yaml")
    older = yaml.safe_load(saved.read_text())
    del older["sft"]["image_loss_weight"]
    saved.write_text(yaml.safe_dump(older))
    sft.train(recipe, resume=True, quiet=True)
    other = make_recipe("run", sft={"image_loss_weight": 0.5})
    with pytest.raises(BadInput, match=r"started with sft\.image_loss_weight=1\.0"):
        sft.train(other, resume=True, quiet=True)

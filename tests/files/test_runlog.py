"""The run folder: whole files or none, and a resumed run writes what an uninterrupted one does."""

from __future__ import annotations

import io
import json
import re
import resource
import signal
import subprocess
import sys
from collections import UserDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from got_r1.errors import BadInput, RunFailed
from got_r1.files.atomic import replace_folder, write_bytes, write_text
from got_r1.files.runlog import RunLog
from got_r1.files.step_folders import step_folders
from got_r1.files.trackers.base import Tracking
from got_r1.progress import TrainingProgress

# -- atomic writes -------------------------------------------------------------------------------


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: a real failing write for any user."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_written_bytes_are_there_and_nothing_else(tmp_path: Path) -> None:
    write_bytes(tmp_path / "deep" / "file", b"one")
    write_text(tmp_path / "deep" / "file", "zwei ß\r\n")
    assert (tmp_path / "deep" / "file").read_bytes() == "zwei ß\r\n".encode()
    assert names(tmp_path / "deep") == ["file"]


def test_a_full_disk_keeps_the_old_file_and_leaves_no_part(small_disk: Path) -> None:
    write_bytes(small_disk / "file", b"old")
    with pytest.raises(RunFailed, match="disk is full"):
        write_bytes(small_disk / "file", bytes(100_000))
    assert (small_disk / "file").read_bytes() == b"old"
    assert names(small_disk) == ["file"]


def test_a_write_over_the_file_size_limit_keeps_the_old_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"old")
    with file_size_limit(1000), pytest.raises(RunFailed, match="disk is full"):
        write_bytes(tmp_path / "file", bytes(5000))
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_place_that_is_no_folder_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"cannot be written.*choose another"):
        write_bytes(tmp_path / "file" / "below", b"")


def test_a_killed_write_keeps_the_old_file_and_the_next_write_cleans_up(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_bytes(target, b"old")
    killed_before_the_rename = f"""
import os, pathlib, signal
from got_r1.files import atomic
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
atomic.write_bytes({str(target)!r}, b"new")
"""
    done = subprocess.run([sys.executable, "-c", killed_before_the_rename], check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == [".file.partial", "file"]
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


def test_a_replaced_folder_holds_only_what_was_written_last(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    for name in ("one", "two"):
        with replace_folder(target) as folder:
            assert names(folder) == []
            (folder / "inner").mkdir()
            (folder / "inner" / name).touch()
    assert names(target / "inner") == ["two"]
    assert names(tmp_path) == ["checkpoint"]


def test_an_error_inside_the_block_keeps_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    with replace_folder(target) as folder:
        (folder / "old").touch()
    with pytest.raises(KeyError), replace_folder(target) as folder:  # noqa: PT012
        (folder / "new").touch()
        raise KeyError
    assert names(target) == ["old"]
    assert names(tmp_path) == ["checkpoint"]


def test_a_folder_lost_between_the_renames_comes_back(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.old").mkdir()
    (tmp_path / ".checkpoint.old" / "kept").touch()
    with pytest.raises(KeyError), replace_folder(tmp_path / "checkpoint"):
        raise KeyError
    assert names(tmp_path / "checkpoint") == ["kept"]


def write_plainly(folder: Path) -> None:
    (folder / "weights").write_bytes(bytes(200_000))


def write_with_torch(folder: Path) -> None:
    import torch

    torch.save(torch.zeros(50_000), folder / "weights.pt")


def write_with_safetensors(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"weights": torch.zeros(50_000)}, folder / "weights.safetensors")


@pytest.mark.parametrize("write", [write_plainly, write_with_torch, write_with_safetensors])
def test_a_full_disk_keeps_the_old_folder_whoever_writes(
    small_disk: Path, write: Callable[[Path], None]
) -> None:
    with replace_folder(small_disk / "checkpoint") as folder:
        (folder / "weights").write_bytes(b"old")
    with (
        pytest.raises(RunFailed, match="disk is full"),
        replace_folder(small_disk / "checkpoint") as folder,
    ):
        write(folder)
    assert (small_disk / "checkpoint" / "weights").read_bytes() == b"old"
    assert names(small_disk) == ["checkpoint"]


# -- the run folder ------------------------------------------------------------------------------


def create(run_dir: Path) -> RunLog:
    return RunLog.create(run_dir, "run: {}\n", tracking=Tracking(()))


def resume(run_dir: Path, step: int) -> RunLog:
    return RunLog.resume(run_dir, step, tracking=Tracking(()))


def log_steps(log: RunLog, first: int, last: int) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    for step in range(first, last + 1):
        log.log_metrics(step, {"loss": 1 / step, "reward/total": step})
        log.save_sample(step, 0, image, {"prompt": "a star"})
        log.save_group(step, [(image, {"prompt": "a star", "advantage": 1.0})] * 2)


def contents(run_dir: Path) -> dict[str, bytes]:
    files = (path for path in run_dir.rglob("*") if path.is_file())
    return {str(path.relative_to(run_dir)): path.read_bytes() for path in files}


def test_a_new_run_holds_its_recipe(tmp_path: Path) -> None:
    create(tmp_path / "run").close()
    assert (tmp_path / "run" / "config.yaml").read_text() == "run: {}\n"


def test_an_empty_folder_can_become_a_run(tmp_path: Path) -> None:
    create(tmp_path).close()
    assert names(tmp_path) == ["config.yaml"]


def test_a_folder_with_something_in_it_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years")
    with pytest.raises(BadInput, match=r"not empty.*another run\.dir.*--resume"):
        create(tmp_path)
    assert contents(tmp_path) == {"thesis.tex": b"ten years"}


def test_a_start_killed_in_its_first_write_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / ".config.yaml.partial").write_text("ru")
    create(tmp_path).close()
    assert names(tmp_path) == ["config.yaml"]


def test_a_file_cannot_become_a_run(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(BadInput, match=r"is a file.*another run\.dir"):
        create(tmp_path / "run")


def test_only_a_run_can_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no run to resume"):
        resume(tmp_path / "nothing", 1)


def test_metrics_are_one_json_object_a_line(tmp_path: Path) -> None:
    with create(tmp_path / "run") as log:
        log.log_metrics(1, {"loss": np.float32(0.5), "kl": 0})
        log.log_metrics(2, {"loss": float("nan")})
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert lines == ['{"step": 1, "loss": 0.5, "kl": 0.0}', '{"step": 2, "loss": null}']


def test_a_sample_is_its_image_and_its_record(tmp_path: Path) -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    with create(tmp_path / "run") as log:
        log.save_sample(10, 3, image, {"prompt": "ein Stern ★", "advantage": float("inf")})
    folder = tmp_path / "run" / "samples" / "step_000010"
    assert names(folder) == ["003.json", "003.png"]
    record = json.loads((folder / "003.json").read_text())
    assert record == {"step": 10, "prompt": "ein Stern ★", "advantage": None}
    assert np.array_equal(np.asarray(Image.open(folder / "003.png")), image)


@pytest.mark.parametrize("kind", ["samples", "groups", "probes"])
def test_a_gallery_appears_whole(tmp_path: Path, kind: str) -> None:
    """Who looks on while a run writes sees all of its samples, or no such step."""
    image, seen = np.zeros((4, 4, 3), np.uint8), []

    class Watched(UserDict[str, str]):
        def __getitem__(self, key: str) -> str:
            seen.append(list(step_folders(tmp_path / "run" / kind)))
            return super().__getitem__(key)

    with create(tmp_path / "run") as log:
        save = {"samples": log.save_gallery, "groups": log.save_group, "probes": log.save_probes}
        save[kind](3, [(image, Watched(prompt="a star"))] * 2)
    assert seen[:2] == [[], []]
    assert names(tmp_path / "run" / kind) == ["step_000003"]
    assert len(names(tmp_path / "run" / kind / "step_000003")) == 4


def test_an_evaluation_is_replaced_by_one_of_the_same_name(tmp_path: Path) -> None:
    with create(tmp_path / "run") as log:
        log.save_eval("sft", {"prompts": 1})
        log.save_eval("sft", {"prompts": 2})
    assert json.loads((tmp_path / "run" / "evals" / "sft.json").read_text()) == {"prompts": 2}


@pytest.mark.parametrize("name", ["", "../config", "a/b", ".hidden"])
def test_an_evaluation_cannot_escape_its_folder(tmp_path: Path, name: str) -> None:
    with create(tmp_path / "run") as log, pytest.raises(BadInput, match="cannot name a file"):
        log.save_eval(name, {})


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_resumed_run_leaves_the_files_of_an_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever the checkpoint's step, the step of the crash, and where the last line broke."""
    crash = data.draw(st.integers(0, 6), label="last whole step before the crash")
    checkpoint = data.draw(st.integers(0, crash), label="step of the checkpoint")
    tmp_path = tmp_path_factory.mktemp("resume")
    with create(tmp_path / "whole") as log:
        log_steps(log, 1, 7)
    with create(tmp_path / "broken") as log:
        log_steps(log, 1, crash)
    line = b'{"step": %d, "loss": 0.1}\n' % (crash + 1)
    cut = data.draw(st.integers(0, len(line) - 1), label="bytes of the last line")
    with (tmp_path / "broken" / "metrics.jsonl").open("ab") as file:
        file.write(line[:cut])
    with resume(tmp_path / "broken", checkpoint) as log:
        log_steps(log, checkpoint + 1, 7)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_metrics_stay_whole_when_the_disk_is_full(small_disk: Path) -> None:
    log = create(small_disk / "run")
    log.log_metrics(1, {"loss": 1.0})
    kept = (small_disk / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(OSError, match="space"):
        (small_disk / "ballast").write_bytes(bytes(100_000))
    many = {f"metric_{i}": 1.0 for i in range(1000)}  # longer than what is left of the block
    with pytest.raises(RunFailed, match=r"disk is full.*metrics\.jsonl"):
        log.log_metrics(2, many)
    assert (small_disk / "run" / "metrics.jsonl").read_bytes() == kept


def test_tensorboard_shows_the_same_numbers(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunLog.create(tmp_path / "run", "run: {}\n") as log:
        log.log_metrics(1, {"reward/total": 0.5})
        log.log_metrics(2, {"reward/total": 0.75})
    with RunLog.resume(tmp_path / "run", 1) as log:
        log.log_metrics(2, {"reward/total": 0.25})
    board = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    shown = [(event.step, event.value) for event in board.Scalars("reward/total")]
    assert shown == [(1, 0.5), (2, 0.25)]


# -- progress ------------------------------------------------------------------------------------


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run_progress(steps: int, *, terminal: bool = False, quiet: bool = False, start: int = 0) -> str:
    """What ten-second steps print, with a line at most every 25 seconds."""
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, force_terminal=terminal, width=100, color_system=None)
    with TrainingProgress(
        "GRPO", 10, start, quiet=quiet, plain_every=25, console=console, clock=clock
    ) as progress:
        for step in range(start + 1, start + steps + 1):
            clock.now += 10
            progress.update(step, {"reward/total": step / 10, "reward/r_spa": 0.5, "loss": 3.0})
    return out.getvalue()


def test_a_log_gets_a_plain_line_now_and_then() -> None:
    lines = run_progress(10).splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        f"GRPO step {step}/10" for step in (1, 4, 7, 10)
    ]
    assert lines[1] == "GRPO step 4/10  ETA 1:00  reward 0.250  loss 3.000  R_spa 0.500"


def test_time_left_counts_from_where_the_run_was_resumed() -> None:
    assert "step 7/10  ETA 0:30" in run_progress(1, start=6)


def test_a_terminal_shows_the_last_step_total_and_terms() -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", run_progress(9, terminal=True))
    last = text[text.rindex("GRPO") :]
    assert "9/10" in last
    assert "0:10 left" in last
    assert "reward 0.500" in last  # the mean of 0.1 ... 0.9
    assert "R_spa 0.500" in last


def test_quiet_prints_nothing() -> None:
    assert run_progress(10, quiet=True) == ""
    assert run_progress(10, quiet=True, terminal=True) == ""

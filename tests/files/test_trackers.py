"""W&B and Trackio with the real libraries: what they wrote is read back from their files."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from got_r1.errors import BadInput
from got_r1.files.runlog import RunLog
from got_r1.files.trackers import process
from got_r1.files.trackers.base import GalleryRow, Tracking
from got_r1.files.trackers.process import TrackerProcess
from got_r1.recipes.checks import check_settings
from got_r1.recipes.recipe_file import explain, load_recipe
from got_r1.recipes.sections import Recipe

IMAGE = np.full((40, 40, 3), 200, np.uint8)
RECORD = {
    "prompt": "a blue star",
    "chain": "A star<|obj_start|>",
    "objects": [{"name": "blue star", "box": [100, 100, 600, 600]}],
    "reward": {"total": 0.25, "terms": {"r_sem": 0.5, "r_pi": 0.75}},
    "advantage": None,
}
CONFIG = {"run": {"seed": 5}, "rl": {"learning_rate": 1e-5}}


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing outside of the test's folder, no server, no key of whoever runs the tests."""
    for name in ("WANDB_API_KEY", "WANDB_DATA_DIR", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / "netrc"))
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "TRACKIO_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home" / name.lower()))
    monkeypatch.setenv("WANDB_MODE", "offline")


def create(run_dir: Path, *names: str) -> RunLog:
    return RunLog.create(run_dir, "run: {}\n", tracking=Tracking(names, "icons", CONFIG))


def resume(run_dir: Path, step: int, *names: str) -> RunLog:
    return RunLog.resume(run_dir, step, tracking=Tracking(names, "icons", CONFIG))


def log_steps(log: RunLog, first: int, last: int) -> None:
    """Metrics of every step; a gallery of every second."""
    for step in range(first, last + 1):
        log.log_metrics(step, {"reward/total": step / 10})
        if step % 2 == 0:
            log.save_gallery(step, [(IMAGE, RECORD), (IMAGE, RECORD)])


def process_of(log: RunLog, name: str) -> TrackerProcess:
    tracker = log._trackers[name]
    assert isinstance(tracker, TrackerProcess)
    return tracker


# -- reading back ----------------------------------------------------------------------------------


def wandb_records(session: Path) -> Iterator[Any]:
    """The records of an offline session: protobuf in LevelDB's log format, in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = session.glob("*.wandb")
    data, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def wandb_sessions(run_dir: Path) -> list[tuple[Any, list[dict[str, Any]]]]:
    """(the run's record, rows of its history) of every session, in order."""
    sessions = []
    for folder in sorted((run_dir / "wandb").glob("offline-run-*")):
        records = list(wandb_records(folder))
        rows = [
            {
                "/".join(item.nested_key) or item.key: json.loads(item.value_json)
                for item in r.history.item
            }
            for r in records
            if r.WhichOneof("record_type") == "history"
        ]
        run = next(r.run for r in records if r.WhichOneof("record_type") == "run")
        sessions.append((run, rows))
    return sessions


def trackio_rows(home: Path) -> list[tuple[str, str, int, dict[str, Any]]]:
    """(run id, run name, step, metrics) of all rows of the project, as they were written."""
    with sqlite3.connect(home / "trackio_dir" / "icons.db") as database:
        rows = database.execute("select run_id, run_name, step, metrics from metrics order by id")
        return [(run, name, step, json.loads(metrics)) for run, name, step, metrics in rows]


# -- what is shown ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_trackers_show_a_resumed_run_as_one(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """Killed at step 5, resumed from the checkpoint of step 3: every step once, one run."""
    run_dir = tmp_path / "runs" / "blue"
    with create(run_dir, "wandb", "trackio") as log:
        log_steps(log, 1, 5)
    with resume(run_dir, 3, "wandb", "trackio") as log:
        log_steps(log, 4, 8)
    assert capfd.readouterr() == ("", "")  # no prints of libraries, nothing failed
    run_id = json.loads((run_dir / "tracking.json").read_text())["id"]

    sessions = wandb_sessions(run_dir)
    rows = [row for _, session in sessions for row in session]
    assert [(row["_step"], row["reward/total"]) for row in rows] == [
        (step, step / 10) for step in range(1, 9)
    ]
    for run, _ in sessions:
        assert (run.run_id, run.display_name, run.project) == (run_id, "blue", "icons")
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        assert config.items() >= CONFIG.items()
        assert not run.git.commit
    tables = {row["_step"]: row["samples/path"] for row in rows if "samples/path" in row}
    assert list(tables) == [2, 4, 6, 8]
    (file,) = (run_dir / "wandb").glob(f"offline-run-*/files/{tables[2]}")
    assert json.loads(file.read_text())["data"][0] == [
        *("a blue star", "A star<|obj_start|>", "Image", "Image"),
        *(0.25, 0.5, 0.75, None),
    ]
    staged = [path for path in (run_dir / "wandb" / "data").rglob("*") if path.is_file()]
    assert any(path.read_bytes().startswith(b"\x89PNG") for path in staged)  # of the tables
    assert not (tmp_path / "home" / ".local").exists()

    shown = trackio_rows(tmp_path / "home")
    assert {(run, name) for run, name, _, _ in shown} == {(run_id, "blue")}
    assert [(step, row["reward/total"]) for _, _, step, row in shown if "samples" not in row] == [
        (step, step / 10) for step in range(1, 9)
    ]
    galleries = {step: row["samples"]["_value"] for _, _, step, row in shown if "samples" in row}
    assert list(galleries) == [2, 4, 6, 8]
    row = galleries[2][0]
    assert (row["prompt"], row["reward"], row["r_pi"]) == ("a blue star", 0.25, 0.75)
    for column in ("plan", "image"):
        assert (tmp_path / "home" / "trackio_dir" / "media" / row[column]["file_path"]).is_file()


def test_a_killed_run_leaves_its_tracker_whole(tmp_path: Path) -> None:
    """The tracker's process ends with its input, after it has written what it was given."""
    log = create(tmp_path / "run", "trackio")
    log_steps(log, 1, 3)
    tracker = process_of(log, "trackio")
    tracker._waiting.put(b"\x80")  # half a message
    tracker._waiting.put(None)
    assert tracker._process.wait(300) == 0
    shown = trackio_rows(tmp_path / "home")
    assert [step for _, _, step, row in shown if "samples" not in row] == [1, 2, 3]


def test_what_a_tracker_was_given_is_remembered(tmp_path: Path) -> None:
    """Also over a resumed run that is killed before it comes as far, and one without trackers."""
    with create(tmp_path / "run") as log:
        log_steps(log, 1, 2)
    with resume(tmp_path / "run", 2, "trackio") as log:  # one that is added later starts there
        log_steps(log, 3, 6)
    resume(tmp_path / "run", 2).close()
    with resume(tmp_path / "run", 2, "trackio") as log:
        log_steps(log, 3, 7)
    shown = [s for _, _, s, row in trackio_rows(tmp_path / "home") if "samples" not in row]
    assert shown == [3, 4, 5, 6, 7]


# -- what fails ------------------------------------------------------------------------------------


class Broken:
    """A tracker that fails in everything."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        raise OSError(28, "No space left on device")

    def gallery(self, step: int, rows: Sequence[GalleryRow]) -> None:
        raise ValueError("no images")

    def close(self, wait: float) -> None:
        raise RuntimeError


@pytest.mark.parametrize(
    ("do", "why"),
    [
        (lambda log: log_steps(log, 1, 3), "No space left on device"),
        (lambda log: log.save_gallery(1, [(IMAGE, RECORD)]), "no images"),
        (lambda log: None, "RuntimeError"),
    ],
)
def test_a_tracker_that_fails_is_told_of_once(
    tmp_path: Path, capsys: pytest.CaptureFixture, do: Any, why: str
) -> None:
    RunLog.create(tmp_path, "run: {}\n", tracking=Tracking(()))
    with RunLog(tmp_path, {"broken": Broken()}) as log:
        do(log)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("broken has stopped tracking this run, which is not affected: ")
    assert why in line


@pytest.mark.parametrize(
    ("name", "settings", "why"),
    [
        ("wandb", {"WANDB_MODE": "online"}, "no W&B API key: run `wandb login` once"),
        (
            "wandb",
            {
                "WANDB_MODE": "online",
                "WANDB_API_KEY": "a" * 40,
                "WANDB_BASE_URL": "http://127.0.0.1:9",
                "WANDB_INIT_TIMEOUT": "2",
            },
            "wandb has stopped",
        ),
        ("trackio", {"TRACKIO_DIR": "/dev/null"}, "trackio has stopped"),
    ],
)
def test_without_login_network_or_disk_the_run_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    name: str,
    settings: dict[str, str],
    why: str,
) -> None:
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    with create(tmp_path / "run", name) as log:
        log_steps(log, 1, 3)
    (line,) = capsys.readouterr().err.splitlines()
    assert why in line
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_tracker_that_is_killed_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with create(tmp_path / "run", "trackio") as log:
        os.kill(process_of(log, "trackio")._process.pid, signal.SIGKILL)
        log_steps(log, 1, 3)
    (line,) = capsys.readouterr().err.splitlines()
    assert "exit code -9" in line


def test_a_tracker_that_hangs_does_not_hold_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(process, "BACKLOG", 1 << 20)
    with create(tmp_path / "run", "trackio") as log:
        os.kill(process_of(log, "trackio")._process.pid, signal.SIGSTOP)
        for step in range(1, 30):
            log.save_gallery(step, [(np.zeros((256, 256, 3), np.uint8), RECORD)])
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not keep up" in line


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_missing_package_is_told_before_the_run(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    recipe = Recipe.model_validate({"run": {"track": ["tensorboard", name]}})
    with pytest.raises(BadInput, match=rf"run\.track names {name}.*pip install 'got-r1\[{name}\]'"):
        check_settings(recipe, "sft")


def test_settings_of_trackers(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("run: {dir: runs/old}\n")
    recipe = load_recipe(tmp_path / "old.yaml")  # of a version without these settings
    assert (recipe.run.track, recipe.run.project) == (["tensorboard"], "got-r1")
    assert load_recipe("icons", ["run.track=wandb"]).run.track == ["wandb"]
    assert load_recipe("icons", ["run.track=[wandb, trackio]"]).run.track == ["wandb", "trackio"]
    assert load_recipe("icons", ["run.track=[]"]).run.track == []
    for override, message in (
        ("run.track=mlflow", "one of tensorboard, wandb, trackio, not 'mlflow'"),
        ("run.project=a/b", "letters, digits"),
    ):
        with pytest.raises(BadInput, match=message):
            load_recipe("icons", [override])
    assert "run.track" in explain()
    assert "run.project" in explain()

"""The one command for a GPU, on this machine's CPU: every part runs and writes what it found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "gpu.py"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_part_runs_at_the_embedded_size(tmp_path: Path) -> None:
    # More minutes than it takes: what a slow machine loses is not what is tested.
    command = [sys.executable, str(BENCH), "--cpu", "--patience", "4", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads((tmp_path / "gpu.json").read_text())
    parts = found["parts"]
    assert {name: one["status"] for name, one in parts.items()} == dict.fromkeys(
        ("tests", "full_size", "rollout", "profile"), "passed"
    ), done.stdout + done.stderr
    assert done.returncode == 0
    assert parts["full_size"]["found"]["resumed with the same weights"]
    assert len(parts["profile"]["found"]["operations"]) == 10
    assert parts["rollout"]["found"]["bound"]["images"]["seconds"] > 0
    rows = (tmp_path / "gpu.md").read_text()
    assert "images/s" in rows
    assert "skipped" not in parts["tests"]["output"]


@pytest.mark.slow
def test_what_there_is_no_time_for_is_left_out_with_the_reason(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH), "--cpu", "--minutes", "0.1", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert len(parts) == 4
    assert all(one["status"].startswith("left out: ") for one in parts.values()), parts
    assert done.returncode == 0

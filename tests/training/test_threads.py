"""The number of CPU threads: by what is free."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from got_r1.training import sft
from got_r1.training.threads import cpu_quota, free_cores
from small_runs import MakeRecipe


@pytest.mark.parametrize(
    ("allowed", "cores", "load", "quota", "expected"),
    [
        (2, 2, 0.0, None, 2),
        (2, 2, 0.4, None, 2),  # our own start
        (2, 2, 0.8, None, 1),
        (2, 2, 12.0, None, 1),
        (2, 64, 12.0, None, 2),  # the load is the whole machine's
        (32, 64, 40.0, None, 24),
        (8, 8, 0.0, 2.5, 2),
        (8, 8, 0.0, 0.5, 1),
        (8, 8, 7.0, 4.0, 1),
    ],
)
def test_threads_are_no_more_than_the_free_cores(
    allowed: int, cores: int, load: float, quota: float | None, expected: int
) -> None:
    assert free_cores(allowed, cores, load, quota) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu.max": "something else\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_control_group_is_read(
    files: dict[str, str], expected: float | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu_quota(tmp_path) == expected


def test_a_run_goes_on_with_its_threads(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounding depends on their number, and how many cores are free on the moment."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    usual = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        section = {"steps": 2, "save_every": 1, "batch": 2}
        sft.train(make_recipe("run", sft=section, run={"threads": 1}), quiet=True)
        shutil.rmtree(tmp_path / "run" / "checkpoints" / "step_000002")
        torch.set_num_threads(2)
        monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
        sft.train(make_recipe("run", sft=section), resume=True, quiet=True)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(usual)

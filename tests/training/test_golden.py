"""Losses of short SFT and RL runs against recorded ones: a change of numerics is never unnoticed.

On the processor and the torch that made the record, every number must be the same to the last bit.
Elsewhere sums are taken in another order, so a relative difference of 1e-3 is allowed. After a
change that is meant to alter the numbers: `python tests/training/test_golden.py` records anew.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from got_r1.recipes.sections import Recipe
from got_r1.training import rl, sft

RECORD = Path(__file__).with_name("golden.json")
LOOPS = {"sft": sft.train, "rl": rl.train}
UNRECORDED = ("seconds/", "tokens_per_second")
ROUNDING = "ratio_gap"  # nothing but rounding: its size is tested in test_replay.py


def machine() -> str:
    """What floating-point results depend on: torch, and the processor whose kernels it picks."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    capability = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, {capability}, {names[0] if names else 'unknown'}"


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def losses(stage: str, folder: Path) -> list[dict[str, Any]]:
    """The metrics of three steps from the shipped checkpoint, without what the clock decides."""
    training = {"steps": 3, "learning_rate": 1e-5}
    recipe = Recipe.model_validate(
        {
            "run": {"dir": str(folder / stage), "seed": 5},
            "model": {"path": "icons", "lora": {"rank": 0}},
            "data": {"size": 64},
            "rollout": {"chain_limit": 120, "guidance": 2.0},
            "sft": training | {"batch": 8},
            "rl": training | {"prompts": 2, "group": 4, "sample_every": 3},
            "eval": {"prompts": 0},
        }
    )
    with one_thread():
        LOOPS[stage](recipe, quiet=True)
    lines = (folder / stage / "metrics.jsonl").read_text().splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if not name.startswith(UNRECORDED)}
        for line in lines
    ]


@pytest.mark.parametrize("stage", LOOPS)
def test_losses_are_the_recorded_ones(stage: str, tmp_path: Path) -> None:
    record = json.loads(RECORD.read_text())
    found, expected = losses(stage, tmp_path), record[stage]
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    if record["machine"] == machine():
        assert found == expected
        return
    for row, wanted in zip(found, expected, strict=True):
        if ROUNDING in row:
            wanted[ROUNDING] = row[ROUNDING]
        assert row == pytest.approx(wanted, rel=1e-3, abs=1e-6)


def write() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {stage: losses(stage, Path(folder)) for stage in LOOPS}
    RECORD.write_text(json.dumps({"machine": machine(), **found}, indent=1) + "\n")


if __name__ == "__main__":
    write()

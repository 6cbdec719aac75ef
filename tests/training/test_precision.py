"""Autocast where the device computes in bfloat16, and float32 where it would emulate it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from got_r1.training import sft
from got_r1.training.precision import in_bfloat16
from small_runs import MakeRecipe, assert_same_run


@pytest.mark.parametrize(
    ("capability", "autocast", "dtype", "device", "expected"),
    [
        ("AVX512", True, "float32", "cpu", True),
        ("AVX2", True, "float32", "cpu", False),
        ("AVX2", True, "bfloat16", "cpu", True),  # the weights decide
        ("AVX2", False, "bfloat16", "cpu", True),
        ("AVX2", True, "float32", "cuda", True),
        ("DEFAULT", True, "float32", "cpu", True),  # other than x86
        ("AVX512", False, "float32", "cuda", False),
    ],
)
def test_where_products_are_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
    capability: str,
    autocast: bool,
    dtype: str,
    device: str,
    expected: bool,
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert in_bfloat16(autocast, dtype, device) is expected


def test_a_processor_without_bfloat16_trains_in_float32_and_says_so(
    make_recipe: MakeRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    for name, autocast in (("asked", True), ("plain", False)):
        section = {"steps": 2, "batch": 2, "autocast": autocast}
        sft.train(make_recipe(name, sft=section), quiet=False)
        assert ("autocast has no effect here" in capsys.readouterr().err) is autocast
    assert_same_run(tmp_path / "asked", tmp_path / "plain")

"""Where the device tests run: on the GPU, or on the CPU where the environment asks for it."""

from __future__ import annotations

import os

import pytest
import torch

from small_runs import make_recipe, model_folder

__all__ = ["make_recipe", "model_folder"]

ON_CPU = "GOT_R1_DEVICE_TESTS"  # "cpu": the same tests without a GPU, as `bench/gpu.py --cpu` does


@pytest.fixture(scope="session")
def device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    if os.environ.get(ON_CPU) != "cpu":
        pytest.skip(f"there is no GPU ({ON_CPU}=cpu runs these tests on the CPU)")
    return torch.device("cpu")

"""Tiny random models of every kind, built once on the spot: nothing is downloaded."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from vision import tiny

Folder = Callable[[tiny.Kind], str]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """`folder("clip")`: the folder of a tiny model of that kind."""
    root: Path = tmp_path_factory.mktemp("vision")

    @cache
    def build(kind: tiny.Kind) -> str:
        return str(tiny.build(kind, root / kind, labels=("person", "car", "traffic light")))

    return build


@pytest.fixture(scope="session")
def images() -> list[np.ndarray]:
    """Noise of different sizes: square twice, wide, high."""
    rng = np.random.default_rng(0)
    sizes = [(64, 64), (50, 90), (64, 64), (96, 48)]
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]

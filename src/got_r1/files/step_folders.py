"""Folders that are named after a step of training: `step_000010`."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["step_folders"]

_NAME = re.compile(r"step_([0-9]+)")


def step_folders(parent: Path) -> dict[int, Path]:
    """The folders `step_<number>` in `parent` by number, the lowest first; none where it is not
    there. (Sorted as text, step_1000000 would come before step_999900.)"""
    found = {
        int(match[1]): path
        for path in parent.glob("step_*")
        if (match := _NAME.fullmatch(path.name)) and path.is_dir()
    }
    return dict(sorted(found.items()))

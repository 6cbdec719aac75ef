"""Files of JSON objects, one a line, each of a step: appended to durably, read as far as whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from got_r1.files.parsing import parse_json

__all__ = ["append", "is_up_to", "last_step", "read_rows", "size"]


def size(path: Path) -> int:
    """The bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def is_up_to(step: int, line: bytes) -> bool:
    """Whether a line is whole and of `step` or before."""
    of = _step_of(line)
    return of is not None and of <= step


def read_rows(path: Path, *, one_a_step: bool = True) -> list[dict[str, Any]]:
    """The objects of whole lines that name their step, the lowest first, each step once (its last
    line) unless told otherwise; none where there is no file."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    rows = [row for line in lines if (row := _row(line)) is not None]
    if not one_a_step:
        return sorted(rows, key=lambda row: int(row["step"]))
    return [row for _, row in sorted({row["step"]: row for row in rows}.items())]


def _step_of(line: bytes) -> int | None:
    """The step of a whole line; None for anything else."""
    row = _row(line)
    return None if row is None else int(row["step"])


def _row(line: bytes) -> dict[str, Any] | None:
    """A whole line's object, where it names its step; None for anything else."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = parse_json(line)
    except ValueError:
        return None
    named = isinstance(row, dict) and isinstance(row.get("step"), int)
    return row if named else None


def last_step(path: Path) -> int:
    """The last step in a file of lines; 0 where there is none."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return max((step for line in lines if (step := _step_of(line)) is not None), default=0)


def append(path: Path, data: bytes) -> int:
    """Append and flush to the disk; on failure the file is cut back to what it was. Returns the
    bytes that the file has then."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        try:
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        except BaseException:
            os.ftruncate(descriptor, size)
            raise
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)

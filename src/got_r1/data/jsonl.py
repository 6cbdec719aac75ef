"""Triples from JSON lines: one object a line; the image is a path, or {"path": ...}."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from got_r1.data.base import Columns, Fault, Record, file_identity
from got_r1.errors import BadInput
from got_r1.files.parsing import parse_json

__all__ = ["JsonlSource"]


class JsonlSource:
    """The lines of one file or several; blank ones are no records, broken ones are faults."""

    def __init__(self, files: Sequence[Path], columns: Columns) -> None:
        """Finds every line, reading the files once.

        Raises BadInput where a file cannot be read, or its first object lacks a column.
        """
        self.files = files
        self.columns = columns
        self.lines = [find_lines(file) for file in files]
        if not len(self):
            raise BadInput(f"{files[0]} has no records; check data.source.")
        for file, lines in zip(files, self.lines, strict=True):
            for _, line in read_lines(file, lines[:1]):
                row = parse(line)
                if not isinstance(row, str):
                    columns.check(list(row), file)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The files and the columns."""
        files = [file_identity(file) for file in self.files]
        return {"kind": "jsonl", "files": files, "columns": self.columns.names}

    def __len__(self) -> int:
        return sum(map(len, self.lines))

    def records(self, start: int = 0) -> Iterator[Record | Fault]:
        """The records from number `start` on; names tell the line as an editor counts it."""
        for file, lines in zip(self.files, self.lines, strict=True):
            for number, line in read_lines(file, lines[start:]):
                name = f"{file.name} line {number}"
                row = parse(line)
                yield Fault(name, row) if isinstance(row, str) else self.columns.read(row, name)
            start = max(0, start - len(lines))


def find_lines(file: Path) -> NDArray[np.int64]:
    """[lines, 2]: number (from 1) and first byte of every line that is not blank."""
    found: list[NDArray[np.int64]] = []
    some: list[tuple[int, int]] = []
    place = 0
    try:
        with file.open("rb") as opened:
            for number, line in enumerate(opened, start=1):
                if not line.isspace():
                    some.append((number, place))
                place += len(line)
                if len(some) == 1 << 16:  # millions of Python tuples would fill the memory
                    found.append(np.array(some, dtype=np.int64))
                    some.clear()
    except OSError as error:
        raise BadInput(f"the data file {file} cannot be read ({error.strerror}).") from None
    return np.concatenate([*found, np.array(some, dtype=np.int64).reshape(-1, 2)])


def read_lines(file: Path, lines: NDArray[np.int64]) -> Iterator[tuple[int, bytes]]:
    """Number and content of each of `lines` ([lines, 2] of `find_lines`)."""
    with file.open("rb") as opened:
        for number, place in lines:
            opened.seek(place)
            yield int(number), opened.readline()


def parse(line: bytes) -> dict[str, Any] | str:
    """The object of a line, or what is wrong with it."""
    try:
        row = parse_json(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "the line is not UTF-8 text"
    except ValueError:
        return "the line is not JSON"
    return row if isinstance(row, dict) else "the line is no JSON object"

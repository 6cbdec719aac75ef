"""Triples from JSON: one object a line, or an array of objects; the image is a path, or
{"path": ...}."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from got_r1.data.base import Columns, Fault, Record, file_identity
from got_r1.errors import BadInput, first_line
from got_r1.files.inputs import read_text
from got_r1.files.parsing import parse_json

__all__ = ["JsonSource", "JsonlSource", "is_array"]


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


class JsonSource:
    """The arrays of one file or several, each the whole of its file or the only list in an object.

    They stay in memory, texts and all; JSON lines do not.
    """

    def __init__(self, files: Sequence[Path], columns: Columns) -> None:
        """Reads the files. Raises BadInput where one has no such array, or its first object lacks a
        column."""
        self.files = files
        self.columns = columns
        self.arrays = [read_array(file) for file in files]
        if not len(self):
            raise BadInput(f"{files[0]} has no records; check data.source.")
        for file, array in zip(self.files, self.arrays, strict=True):
            if array and isinstance(array[0], dict):
                columns.check(list(array[0]), file)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The files and the columns."""
        files = [file_identity(file) for file in self.files]
        return {"kind": "json", "files": files, "columns": self.columns.names}

    def __len__(self) -> int:
        return sum(map(len, self.arrays))

    def records(self, start: int = 0) -> Iterator[Record | Fault]:
        """The records from number `start` on; names tell the item, counted from 1."""
        for file, array in zip(self.files, self.arrays, strict=True):
            for number, row in enumerate(array[start:], start=start + 1):
                name = f"{file.name} item {number}"
                if isinstance(row, dict):
                    yield self.columns.read(row, name)
                else:
                    yield Fault(name, "the item is no JSON object")
            start = max(0, start - len(array))


def is_array(file: Path, columns: Columns) -> bool:
    """Whether a file holds its records in an array, not one a line. Raises BadInput where it cannot
    be read."""
    try:
        with file.open("rb") as opened:
            first = next((line for line in opened if not line.isspace()), b"")
            more = any(not line.isspace() for line in opened)
    except OSError as error:
        raise BadInput(f"the data file {file} cannot be read ({error.strerror}).") from None
    try:
        content = parse_json(first.decode("utf-8-sig"), "data files")
    except ValueError:  # a line of a larger whole, or a broken one
        return first.lstrip(b"\xef\xbb\xbf \t")[:1] == b"[" or (file.suffix == ".json" and more)
    if more or isinstance(content, list):
        return not more
    # One object: a record, or what an array is in.
    return not set(columns.names) & set(content) and len(arrays_in(content)) == 1


def read_array(file: Path) -> list[Any]:
    """The array in a JSON file."""
    try:
        content = parse_json(read_text(file, "data file"), "data files")
    except ValueError as error:
        raise BadInput(f"the data file {file} is not valid JSON ({first_line(error)}).") from None
    found = [content] if isinstance(content, list) else arrays_in(content)
    if len(found) != 1:
        raise BadInput(
            f"the data file {file} holds {len(found)} arrays of records instead of one; save it as "
            "one array, or as JSON lines."
        )
    return found[0]


def arrays_in(content: Any) -> list[list[Any]]:
    """The arrays of objects in an object."""
    values = content.values() if isinstance(content, dict) else ()
    return [
        value
        for value in values
        if isinstance(value, list) and value and isinstance(value[0], dict)
    ]


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

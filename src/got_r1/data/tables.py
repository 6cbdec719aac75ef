"""Triples from tables: Parquet files, and folders that `datasets.save_to_disk` wrote.

Both are read through pyarrow alone, a few rows at a time. A saved dataset is Arrow streams beside a
list of their names, so the `datasets` library is not needed to read one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from got_r1.data.base import Columns, Fault, Record, file_identity
from got_r1.errors import BadInput

__all__ = ["ArrowSource", "ParquetSource"]

ROWS = 64  # rows decoded together; each may hold an image


class TableSource(ABC):
    """The rows of one file or several."""

    kind: ClassVar[str]

    def __init__(self, files: Sequence[Path], columns: Columns) -> None:
        """Reads every file's schema and length.

        Raises BadInput where a file is damaged, or lacks a column.
        """
        self.files = files
        self.columns = columns
        self.lengths = []
        for file in files:
            with readable(file):
                present, length = self.describe(file)
            columns.check(present, file)
            self.lengths.append(length)
        if not len(self):
            raise BadInput(f"{files[0]} has no records; check data.source.")

    @abstractmethod
    def describe(self, file: Path) -> tuple[list[str], int]:
        """Column names and number of rows."""

    @abstractmethod
    def batches(self, file: Path, start: int) -> Iterator[pa.RecordBatch]:
        """The three columns from row `start` on, at most `ROWS` rows at a time."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """The files and the columns."""
        files = [file_identity(file) for file in self.files]
        return {"kind": self.kind, "files": files, "columns": self.columns.names}

    def __len__(self) -> int:
        return sum(self.lengths)

    def records(self, start: int = 0) -> Iterator[Record | Fault]:
        """The records from number `start` on; names tell the row, counted from 0."""
        for file, length in zip(self.files, self.lengths, strict=True):
            row = start
            if start < length:
                with readable(file):
                    for batch in self.batches(file, start):
                        for place in range(batch.num_rows):
                            yield self._record(batch, place, f"{file.name} row {row}")
                            row += 1
            start = max(0, start - length)

    def _record(self, batch: pa.RecordBatch, place: int, name: str) -> Record | Fault:
        try:
            return self.columns.read(batch.slice(place, 1).to_pylist()[0], name)
        except UnicodeDecodeError:
            return Fault(name, "the text is not UTF-8")


class ParquetSource(TableSource):
    """Parquet files, as the hub serves data sets."""

    kind = "parquet"

    def describe(self, file: Path) -> tuple[list[str], int]:
        """From the file's footer."""
        with pq.ParquetFile(file, memory_map=True) as opened:
            return opened.schema_arrow.names, opened.metadata.num_rows

    def batches(self, file: Path, start: int) -> Iterator[pa.RecordBatch]:
        """Row groups before `start` are passed over, rows before it decoded and dropped."""
        with pq.ParquetFile(file, memory_map=True) as opened:
            for group in range(opened.num_row_groups):
                length = opened.metadata.row_group(group).num_rows
                if start < length:
                    for batch in opened.iter_batches(
                        ROWS, row_groups=[group], columns=self.columns.names
                    ):
                        yield batch.slice(start)
                        start = max(0, start - batch.num_rows)
                else:
                    start -= length


class ArrowSource(TableSource):
    """The Arrow streams of a folder that `datasets` saved, memory-mapped."""

    kind = "datasets"

    def describe(self, file: Path) -> tuple[list[str], int]:
        """From the mapped table."""
        table = open_stream(file)
        return table.column_names, table.num_rows

    def batches(self, file: Path, start: int) -> Iterator[pa.RecordBatch]:
        """Slices of the mapped table."""
        table = open_stream(file).select(self.columns.names)
        yield from table.slice(start).to_batches(max_chunksize=ROWS)


def open_stream(file: Path) -> pa.Table:
    """The whole table; its columns stay in the mapped file."""
    return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Turns pyarrow's errors about `file` into one sentence."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        raise BadInput(
            f"the data file {file} cannot be read ({reason}); it is damaged or cut short: "
            "copy it again."
        ) from None

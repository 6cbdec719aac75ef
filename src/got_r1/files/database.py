"""SQLite files in which no answered save is lost: WAL with a flush at every commit."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from got_r1.errors import BadInput, RunFailed

__all__ = ["Database"]

_CREATING = threading.Lock()


class Database:
    """A database of one schema; several threads may share one, and several processes a file.

    What a transaction wrote is on the disk when it ends, and the file is readable by its owner
    alone. Every method raises BadInput where the file is damaged, and RunFailed where it cannot be
    written.
    """

    def __init__(self, path: Path, schema: str, version: int) -> None:
        """Open the file; make it by `schema`, which may be run again, where it is not there.

        Raises BadInput where it is no database, or one of a later version.
        """
        self.path = path
        self._lock = threading.Lock()
        with self._faults():
            _create(path)
            # Transactions are written out below: the library begins none of its own.
            self._base = sqlite3.connect(
                path, timeout=60, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(schema, version)
            except BaseException:
                self._base.close()
                raise

    def _prepare(self, schema: str, version: int) -> None:
        found = self._base.execute("PRAGMA user_version").fetchone()[0]
        if found > version:
            raise BadInput(f"{self.path} is of a later version of got-r1; update got-r1.")
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = FULL")
        if found < version:
            self._base.executescript(
                f"BEGIN IMMEDIATE; {schema} PRAGMA user_version = {version}; COMMIT;"
            )

    def close(self) -> None:
        """Close the database; what was saved is in it."""
        with self._lock:
            self._base.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is kept, or nothing where the block raises."""
        with self._lock, self._faults():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise RunFailed(
                f"{self.path} cannot be read or written ({error}); make room, or the file writable."
            ) from None
        except sqlite3.DatabaseError as error:
            raise BadInput(
                f"{self.path} is damaged ({error}); restore it, or move it away."
            ) from None


def _create(path: Path) -> None:
    """Make an empty file, for its owner alone, where there is none.

    A file that is there is not opened: to close it would drop every lock that this process holds
    on it (POSIX), other connections' too. Another process would then take itself for the last one,
    and remove the WAL that those connections go on writing to.
    """
    with _CREATING, suppress(FileExistsError):  # no connection of ours before it is closed
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

"""SQLite files that processes on one machine share: opened for each batch, explained where they
cannot be used.

Write-ahead mode: a process that is killed in the middle of a write leaves the file whole. It does
not work over a network file system.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from got_r1.errors import BadInput, RunFailed
from got_r1.files.atomic import translate_os_errors

__all__ = ["connect", "explained"]

PATIENCE = 60.0  # seconds to wait for another process's write


def connect(path: Path, table: str) -> sqlite3.Connection:
    """A connection for one batch: nothing stays open across forks, threads or an exit. `table`:
    the statement that makes the table where it is not there."""
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=PATIENCE)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        # A power cut may lose the last rows, never the database.
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(table)
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def explained(path: Path, what: str) -> Iterator[None]:
    """Turns errors of SQLite and of what its rows hold into sentences; the file is the judge's
    `what`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise RunFailed(
            f"the judge's {what} {path} cannot be used ({error}): free the disk, or name another "
            "folder"
        ) from error
    except (sqlite3.DatabaseError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"the judge's {what} {path} is damaged or no such {what} ({error}): remove it, or name "
            "another folder"
        ) from error

"""Databases that several connections and processes have open: no answered save is lost."""

import json
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from got_r1.errors import BadInput
from got_r1.files.database import Database

SCHEMA = "CREATE TABLE IF NOT EXISTS saved (value INTEGER);"


def test_what_one_process_saves_survives_others_that_open_and_close(tmp_path: Path) -> None:
    """A second connection of the same process must not drop the first one's locks: another
    process would delete the WAL under it when it closes."""
    path = tmp_path / "saved.sqlite"
    with closing(Database(path, SCHEMA, 1)) as server:
        for value in range(3):
            with closing(Database(path, SCHEMA, 1)) as second:
                assert values(second) == list(range(value))
            assert seen_by_another(path) == list(range(value))
            save(server, value)
        assert seen_by_another(path) == [0, 1, 2]
        assert path.with_name("saved.sqlite-wal").exists()
    assert seen_by_another(path) == [0, 1, 2]


def test_a_database_is_its_owners_alone(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "saved.sqlite", SCHEMA, 1)) as base:
        save(base, 1)
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    Database(tmp_path / "saved.sqlite", SCHEMA, 2).close()
    with pytest.raises(BadInput, match="later version"):
        Database(tmp_path / "saved.sqlite", SCHEMA, 1)


def save(base: Database, value: int) -> None:
    with base.transaction() as connection:
        connection.execute("INSERT INTO saved VALUES (?)", (value,))


def values(base: Database) -> list[int]:
    with base.transaction() as connection:
        return [value for (value,) in connection.execute("SELECT value FROM saved ORDER BY value")]


OTHER = """
import json, sys
from contextlib import closing
from pathlib import Path
from got_r1.files.database import Database

with closing(Database(Path(sys.argv[1]), sys.argv[2], 1)) as base, base.transaction() as connection:
    rows = connection.execute("SELECT value FROM saved ORDER BY value").fetchall()
print(json.dumps([value for (value,) in rows]))
"""


def seen_by_another(path: Path) -> list[int]:
    """What another process reads, which opens the database and closes it."""
    command = [sys.executable, "-c", OTHER, str(path), SCHEMA]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found

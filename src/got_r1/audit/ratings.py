"""Ratings that a server takes: one SQLite database in the study's folder.

One row per (rater, item, question) with its time. A save is one transaction, and it is on the disk
when `save` returns: WAL with a flush at every commit. The raters' tokens are kept beside them, so
the file is readable by its owner alone.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from got_r1.errors import BadInput
from got_r1.files.database import Database

__all__ = ["DATABASE", "QUESTIONS", "RatingsDatabase", "database_ratings"]

DATABASE = "ratings.sqlite"
QUESTIONS = ("semantic", "spatial", "quality")
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS study (id TEXT NOT NULL PRIMARY KEY);
CREATE TABLE IF NOT EXISTS rater (
  name TEXT NOT NULL PRIMARY KEY, token TEXT NOT NULL UNIQUE, at INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS rating (
  rater TEXT NOT NULL REFERENCES rater, item TEXT NOT NULL, question TEXT NOT NULL,
  score INTEGER NOT NULL, time TEXT NOT NULL, PRIMARY KEY (rater, item, question));
CREATE TABLE IF NOT EXISTS remark (
  rater TEXT NOT NULL REFERENCES rater, item TEXT NOT NULL, comment TEXT NOT NULL,
  seconds REAL NOT NULL, PRIMARY KEY (rater, item));
"""

Ratings = dict[str, dict[str, Any]]


class RatingsDatabase(Database):
    """The database of a study; its methods raise as `Database`."""

    def __init__(self, study: Path, identity: str) -> None:
        """Open the database of the study whose id is `identity`; make it where there is none.

        Raises BadInput where it is no database of ratings, or one of another study.
        """
        super().__init__(study / DATABASE, _SCHEMA, _VERSION)
        try:
            self._claim(identity)
        except BaseException:
            self.close()
            raise

    def _claim(self, identity: str) -> None:
        with self.transaction() as base:
            known = [one for (one,) in base.execute("SELECT id FROM study")]
            if not known:
                base.execute("INSERT OR IGNORE INTO study VALUES (?)", (identity,))
            elif known != [identity]:
                raise BadInput(
                    f"{self.path} holds the ratings of another study ({known[0]}, this one is "
                    f"{identity}); move the file away."
                )

    def token(self, rater: str) -> str:
        """The rater's token, made where the rater is new."""
        with self.transaction() as base:
            base.execute(
                "INSERT OR IGNORE INTO rater (name, token) VALUES (?, ?)",
                (rater, secrets.token_urlsafe(24)),
            )
            row = base.execute("SELECT token FROM rater WHERE name = ?", (rater,)).fetchone()
        return str(row[0])

    def tokens(self) -> dict[str, str]:
        """The token of every rater, by name."""
        with self.transaction() as base:
            return dict(base.execute("SELECT name, token FROM rater ORDER BY name").fetchall())

    def save(
        self,
        rater: str,
        at: int | None = None,
        items: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Keep what a rater changed, all or nothing.

        `at`: the index of the item that the rater looks at. `items`: `{id: {question: score or
        None, "comment": text, "seconds": number}}`; None deletes a score, and what is not named
        stays. The caller has checked names, ids and scores.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self.transaction() as base:
            if at is not None:
                base.execute("UPDATE rater SET at = ? WHERE name = ?", (at, rater))
            for item, given in (items or {}).items():
                for question in QUESTIONS:
                    if question not in given:
                        continue
                    if given[question] is None:
                        base.execute(
                            "DELETE FROM rating WHERE rater = ? AND item = ? AND question = ?",
                            (rater, item, question),
                        )
                    else:
                        base.execute(
                            "INSERT INTO rating VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                            "score = excluded.score, time = excluded.time "
                            "WHERE score <> excluded.score",
                            (rater, item, question, given[question], now),
                        )
                base.execute(
                    "INSERT INTO remark VALUES (?1, ?2, coalesce(?3, ''), coalesce(?4, 0)) "
                    "ON CONFLICT DO UPDATE SET "
                    "comment = coalesce(?3, comment), seconds = coalesce(?4, seconds)",
                    (rater, item, given.get("comment"), given.get("seconds")),
                )

    def state(self, rater: str) -> dict[str, Any] | None:
        """Where a rater is: `{"at", "ratings": {id: {question, "comment"}}, "seconds": {id:
        number}}`; None where nothing was saved."""
        with self.transaction() as base:
            at = base.execute("SELECT at FROM rater WHERE name = ?", (rater,)).fetchone()
            ratings = _ratings(base, rater).get(rater)
            times = base.execute("SELECT item, seconds FROM remark WHERE rater = ?", (rater,))
            seconds = dict(times.fetchall())
        if ratings is None:
            return None
        return {"at": at[0], "ratings": ratings, "seconds": seconds}

    def ratings(self) -> dict[str, Ratings]:
        """All ratings, by rater and item, of whoever has rated or commented something."""
        with self.transaction() as base:
            return _ratings(base)


def _ratings(base: sqlite3.Connection, rater: str | None = None) -> dict[str, Ratings]:
    found: dict[str, Ratings] = {}

    def of(name: str, item: str) -> dict[str, Any]:
        blank = {**dict.fromkeys(QUESTIONS), "comment": ""}
        return found.setdefault(name, {}).setdefault(item, blank)

    mine = "WHERE ?1 IS NULL OR rater = ?1 ORDER BY rater, item"
    rows = base.execute(f"SELECT rater, item, question, score FROM rating {mine}", (rater,))
    for name, item, question, score in rows:
        of(name, item)[question] = score
    rows = base.execute(f"SELECT rater, item, comment FROM remark {mine}", (rater,))
    for name, item, comment in rows:
        if comment or item in found.get(name, {}):
            of(name, item)["comment"] = comment
    return found


def database_ratings(study: Path, identity: str) -> dict[str, Ratings]:
    """The ratings in a study's database, `{rater: {id: {question: score or None, "comment"}}}`;
    nothing where the study has no database. A server may be writing it.

    Raises as `RatingsDatabase`.
    """
    if not (study / DATABASE).is_file():
        return {}
    with closing(RatingsDatabase(study, identity)) as base:
        return base.ratings()

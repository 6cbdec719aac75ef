"""Which of two models' pictures people found better: kept answers, and what they come to.

One row per (pair of models, prompt, seed); the later answer replaces the former. Models are known
by their weights (`files.weights.fingerprint`), whichever of the two is compared with which.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from got_r1.files.atomic import translate_os_errors
from got_r1.files.database import Database
from got_r1.statistics import Estimate, paired_difference

__all__ = ["DATABASE", "Answer", "AnswersDatabase", "Side", "Winner", "as_json", "statistic"]

DATABASE = "compare.sqlite"
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS secret (value TEXT NOT NULL PRIMARY KEY);
CREATE TABLE IF NOT EXISTS answer (
  a TEXT NOT NULL, b TEXT NOT NULL, a_name TEXT NOT NULL, b_name TEXT NOT NULL,
  prompt TEXT NOT NULL, seed INTEGER NOT NULL,
  winner TEXT NOT NULL CHECK (winner IN ('a', 'b', 'tie')), blind INTEGER NOT NULL,
  shown_left TEXT NOT NULL CHECK (shown_left IN ('a', 'b')), time TEXT NOT NULL,
  PRIMARY KEY (a, b, prompt, seed));
"""
_VALUES = {"a": (1.0, 0.0), "b": (0.0, 1.0), "tie": (0.5, 0.5)}

Side = Literal["a", "b"]
Winner = Literal["a", "b", "tie"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was chosen of a pair; `left`: which model was shown on the left, `blind`: whether that
    was decided by chance and not told. `time`: ISO 8601, UTC."""

    prompt: str
    seed: int
    winner: Winner
    blind: bool
    left: Side
    time: str = ""


class AnswersDatabase(Database):
    """The answers in a folder, of any pairs of models; its methods raise as `Database`."""

    def __init__(self, folder: Path) -> None:
        """Open the folder's database; make both where there are none."""
        with translate_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder / DATABASE, _SCHEMA, _VERSION)
        with self.transaction() as base:
            base.execute(
                "INSERT INTO secret SELECT ? WHERE NOT EXISTS (SELECT * FROM secret)",
                (secrets.token_urlsafe(24),),
            )
            self._secret = str(base.execute("SELECT value FROM secret").fetchone()[0]).encode()

    def left(self, prompt: str, seed: int, *, blind: bool) -> Side:
        """Which model is shown on the left: the first, or where it is `blind` either by chance,
        always the same for a prompt and a seed, so that drawing a pair again tells nothing."""
        if not blind:
            return "a"
        digest = hmac.digest(self._secret, f"{seed}/{prompt}".encode(), hashlib.sha256)
        return "b" if digest[0] & 1 else "a"

    def save(self, models: Sequence[str], names: Sequence[str], given: Answer) -> None:
        """Keep an answer about the two `models`, called `names`; it is on the disk when this
        returns. An earlier one about the same pair of pictures is replaced."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        row = (given.prompt, given.seed, given.winner, given.blind, given.left, now)
        with self.transaction() as base:
            base.execute(
                "DELETE FROM answer WHERE a = ? AND b = ? AND prompt = ? AND seed = ?",
                (models[1], models[0], given.prompt, given.seed),
            )
            base.execute(
                "INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*models, *names, *row),
            )

    def answers(self, models: Sequence[str]) -> list[Answer]:
        """All answers about two models, the oldest first; those that were given with the models in
        the other order are turned round."""
        columns = "prompt, seed, winner, blind, shown_left, time"
        with self.transaction() as base:
            rows = base.execute(
                f"SELECT a = ?1, {columns} FROM answer "
                "WHERE a = ?1 AND b = ?2 OR a = ?2 AND b = ?1 ORDER BY time, rowid",
                tuple(models),
            ).fetchall()
        other = {"a": "b", "b": "a", "tie": "tie"}
        return [
            Answer(
                prompt,
                seed,
                winner if same else other[winner],  # type: ignore[arg-type]
                bool(blind),
                left if same else other[left],  # type: ignore[arg-type]
                time,
            )
            for same, prompt, seed, winner, blind, left, time in rows
        ]


def statistic(answers: Sequence[Answer]) -> dict[str, Any]:
    """What answers come to, ready for JSON: `a`, `b` and `tie` count them; `difference` is how
    often the second model won minus how often the first did, in [-1, 1], a tie being half a win of
    each; `clear`: whether its interval leaves out 0.

    It is a mean with its 95% interval over prompts, since pictures of one prompt are no independent
    trials: `{"mean", "low", "high", "n", "prompts"}`, n answers.
    """
    first, second = ([_VALUES[one.winner][side] for one in answers] for side in (0, 1))
    difference = paired_difference(first, second, [one.prompt for one in answers])
    return {
        **{winner: sum(one.winner == winner for one in answers) for winner in _VALUES},
        "difference": as_json(difference),
        "clear": difference.excludes_zero,
    }


def as_json(estimate: Estimate) -> dict[str, Any]:
    """An estimate over prompts, ready for JSON."""
    return {
        "mean": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
        "prompts": estimate.items,
    }

"""Identical queries are asked once: within a batch, and over runs by a folder on the disk.

Two queries are the same when a judge could not tell them apart: the same kind, prompt and chain,
the same pixels. R_sem is judged with the boxes stripped, so chains that differ in nothing but boxes
are one query there. An answer is kept under its query and the *identity* of the judge: its model,
the version of its wording, and every setting that can change an answer. Failures are never kept,
nor is what `base.checked` makes one (a score that is NaN); where a cache holds such an answer it is
asked for again.

The folder holds one SQLite database in write-ahead mode: processes may share it, and one that is
killed in the middle of a write leaves it whole. All of them must be on one machine: write-ahead
logging does not work over a network file system.
"""

from __future__ import annotations

import hashlib
import json
import threading
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np

from got_r1.files.parsing import parse_json
from got_r1.judges.base import Judge, Wrapper, answers_of, checked
from got_r1.judges.shared_database import connect, explained
from got_r1.plan.chain import strip_boxes
from got_r1.records import (
    Box,
    FoundObject,
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    QualityQuery,
    Query,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)

__all__ = ["CachedJudge", "content_key", "uncached"]

FILE = "answers.sqlite"
_WHAT = "cache"
_TABLE = (
    "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer BLOB NOT NULL) WITHOUT ROWID"
)
LOOKED_UP = 500  # keys a query; SQLite takes at least 999 parameters


def content_key(query: Query) -> bytes:
    """A digest of all that a judge may look at, 32 bytes."""
    parts: list[bytes] = [query.term.encode()]
    if not isinstance(query, GroundingQuery):
        parts += [_bytes(query.prompt.text), _bytes(query.prompt.category)]
    match query:
        case SemanticQuery():
            # The names stand in the stripped text too, but not where one ends.
            parts += [_bytes(strip_boxes(query.chain.text))]
            parts += [_bytes(planned.name) for planned in query.chain.objects]
        case SpatialQuery() | GroundingQuery():
            parts += [_bytes(query.chain.text), _bytes(repr(query.chain.objects))]
    match query:
        case GroundingQuery() | ImageQuery() | QualityQuery():
            pixels = np.ascontiguousarray(query.image)
            parts += [str((pixels.shape, pixels.dtype)).encode(), pixels.tobytes()]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # a policy may write anything


class CachedJudge:
    """A judge before which identical queries are one; with a folder, also those of other runs.

    Args:
        judge: who is asked what is not known yet.
        folder: where answers are kept, made at the first query; None keeps nothing.
        identity: what makes answers this judge's, apart from the query.
    """

    def __init__(self, judge: Judge, folder: Path | str | None = None, identity: str = "") -> None:
        self.inner = judge
        self.identity = identity
        self._store = None if folder is None else _Store(Path(folder))

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """One answer for each query, in the same order.

        Raises:
            BadInput: the folder cannot be used.
            RunFailed: the disk is full, or the database is locked or broken; or as `answers_of`.
        """
        salt = self.identity.encode()
        keys = [hashlib.sha256(salt + b"\0" + content_key(query)).digest() for query in queries]
        distinct = dict(zip(keys, queries, strict=True))
        kept = self._store.find(list(distinct)) if self._store is not None else {}
        known = {key: checked(distinct[key], answer) for key, answer in kept.items()}
        known = {key: answer for key, answer in known.items() if isinstance(answer, Verdict)}
        unknown = [key for key in distinct if key not in known]
        if unknown:
            answers = answers_of(self.inner, [distinct[key] for key in unknown])
            new = dict(zip(unknown, answers, strict=True))
            if self._store is not None:
                good = {key: answer for key, answer in new.items() if isinstance(answer, Verdict)}
                self._store.keep(good, instead_of=kept.keys() & new.keys())
            known |= new
        return [known[key] for key in keys]


def uncached(judge: Judge) -> Judge:
    """The same judge without its cache, nor those of the judges that it asks, such as a student's
    teacher: asking again asks again."""
    if isinstance(judge, CachedJudge):
        return uncached(judge.inner)
    return judge.around(uncached) if isinstance(judge, Wrapper) else judge


class _Store:
    """The database of one folder, for one process and any of its threads."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Verdict]:
        """The answers that are there."""
        found: dict[bytes, Verdict] = {}
        with (
            self._lock,
            explained(self._path, _WHAT),
            closing(connect(self._path, _TABLE)) as database,
        ):
            for start in range(0, len(keys), LOOKED_UP):
                some = keys[start : start + LOOKED_UP]
                rows = database.execute(
                    f"SELECT key, answer FROM answers WHERE key IN ({','.join('?' * len(some))})",
                    some,
                )
                found |= {key: _unpack(answer) for key, answer in rows}
        return found

    def keep(self, answers: Mapping[bytes, Verdict], instead_of: Iterable[bytes] = ()) -> None:
        """Writes answers, all or none; one that another process wrote meanwhile stays, unless its
        key is in `instead_of`: what stands there is no answer."""
        with (
            self._lock,
            explained(self._path, _WHAT),
            closing(connect(self._path, _TABLE)) as database,
            database,
        ):
            database.executemany(
                "DELETE FROM answers WHERE key = ?", [(key,) for key in instead_of]
            )
            database.executemany(
                "INSERT OR IGNORE INTO answers VALUES (?, ?)",
                [(key, _pack(answer)) for key, answer in answers.items()],
            )


def _pack(answer: Verdict) -> bytes:
    return zlib.compress(json.dumps(asdict(answer)).encode())


def _unpack(packed: bytes) -> Verdict:
    kept = parse_json(zlib.decompress(packed), source=None)  # `checked` looks at its text
    found = tuple(FoundObject(item["name"], Box(**item["box"])) for item in kept.pop("found"))
    return Verdict(found=found, **kept)

"""Scored queries kept with their answers: what a student judge learns from (`got-r1 train judge`).

A cache (`cache`) keeps answers under a digest of their queries; here the queries themselves are
kept: texts, and images as PNG. One SQLite database a folder, in write-ahead mode, which several
runs on one machine may share.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from got_r1.errors import BadInput
from got_r1.files.images import open_image
from got_r1.files.redaction import redact
from got_r1.judges.base import Judge, Wrapper, answers_of
from got_r1.judges.cache import content_key
from got_r1.judges.shared_database import connect, explained
from got_r1.judges.specs import known_as
from got_r1.plan.chain import parse
from got_r1.recipes.sections import JudgeSection
from got_r1.records import (
    ImageQuery,
    JudgeFailure,
    Prompt,
    Query,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)

__all__ = ["Example", "RecordedJudge", "read_examples"]

FILE = "examples.sqlite"
_WHAT = "record"
_TABLE = (
    "CREATE TABLE IF NOT EXISTS examples (judge TEXT, key BLOB, term TEXT, prompt TEXT, "
    "category TEXT, chain TEXT, image BLOB, score REAL, PRIMARY KEY (judge, key)) WITHOUT ROWID"
)

Scored = SemanticQuery | SpatialQuery | ImageQuery


@dataclass(frozen=True, slots=True)
class Example:
    """A query, and the score in [0, 1] that `judge` gave it: its spec, of a served model without
    URLs, or the path of its judge file (`specs.known_as`)."""

    query: Scored
    score: float
    judge: str


class RecordedJudge(Wrapper):
    """A judge whose answers to R_sem, R_spa and R_PI are kept with their queries, each once. Of a
    student only what its teacher answered is kept: it would learn nothing from its own.

    Args:
        judge: who answers.
        folder: where examples are kept, made at the first answer.
        section: what names who answers. Its judge files are read here, and not again.
    """

    def __init__(self, judge: Judge, folder: Path | str, section: JudgeSection) -> None:
        self.inner = judge
        self._path = Path(folder) / FILE
        terms = [kind.term for kind in (SemanticQuery, SpatialQuery, ImageQuery)]
        self._names = {term: redact(known_as(section, term)) for term in terms}
        self._teachers = {term: redact(known_as(section, term, teacher=True)) for term in terms}
        self._lock = threading.Lock()

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """The judge's answers. Raises RunFailed where they cannot be kept."""
        answers = answers_of(self.inner, queries)
        self._keep(zip(queries, answers, strict=True))
        return answers

    def _keep(self, answered: Iterable[tuple[Query, Verdict | JudgeFailure]]) -> None:
        rows = [
            (self._name(query, answer), content_key(query), query.term, *_texts(query), score)
            for query, answer in answered
            if isinstance(query, Scored)
            and isinstance(answer, Verdict)
            and answer.by != "student"
            and (score := answer.score) is not None
        ]
        with (
            self._lock,
            explained(self._path, _WHAT),
            closing(connect(self._path, _TABLE)) as database,
            database,
        ):
            database.executemany(
                "INSERT OR REPLACE INTO examples VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows
            )

    def _name(self, query: Query, answer: Verdict) -> str:
        """Who answered."""
        teacher = self._teachers[query.term] if answer.by == "teacher" else ""
        return teacher or self._names[query.term]

    def around(self, change: Callable[[Judge], Judge]) -> RecordedJudge:
        """The changed judge, whose answers are kept in the same place."""
        twin = copy(self)
        twin.inner = change(self.inner)
        return twin


def read_examples(folders: Sequence[Path | str]) -> Iterator[Example]:
    """The examples of some folders, in an order that depends on what they hold alone; one that
    several have comes once.

    Raises BadInput where a folder holds none.
    """
    seen: set[bytes] = set()
    for folder in folders:
        path = Path(folder) / FILE
        if not path.is_file():
            raise BadInput(
                f"{folder} holds no examples ({FILE} is missing): train rl keeps them with "
                "judge.record=run, in the folder judge_examples of the run"
            )
        with explained(path, _WHAT), closing(connect(path, _TABLE)) as database:
            rows = database.execute(
                "SELECT key, judge, term, prompt, category, chain, image, score FROM examples "
                "ORDER BY key, judge"
            )
            for key, judge, *columns, score in rows:
                if key not in seen:
                    seen.add(key)
                    yield Example(_query(*columns), float(score), _without_urls(str(judge)))


def _without_urls(judge: str) -> str:
    """A served model is one judge, wherever it was served when it was asked."""
    return re.sub(r"^(openai:.+?)@https?://.*$", r"\1", judge)


def _texts(query: Scored) -> tuple[str, str, str, bytes]:
    """Prompt, category, chain and image of a query, as they are kept."""
    prompt = query.prompt
    if isinstance(query, ImageQuery):
        data = io.BytesIO()
        Image.fromarray(query.image).save(data, format="PNG")
        return _plain(prompt.text), prompt.category, "", data.getvalue()
    return _plain(prompt.text), prompt.category, _plain(query.chain.text), b""


def _plain(text: str) -> str:
    return text.encode(errors="replace").decode()  # a policy may write anything; SQLite may not


def _query(term: str, prompt: str, category: str, chain: str, image: bytes) -> Scored:
    asked = Prompt(prompt, category)
    if term == "r_pi":
        return ImageQuery(asked, np.array(open_image(image)))
    kind = SemanticQuery if term == "r_sem" else SpatialQuery
    return kind(asked, parse(chain, marks=True))

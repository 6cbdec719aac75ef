"""The judge's cache: what counts as the same query, what is kept, and what survives."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import sqlite3
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from got_r1.errors import BadInput, RunFailed
from got_r1.judges.base import Judge, Wrapper
from got_r1.judges.cache import CachedJudge, content_key, uncached
from got_r1.judges.examples import RecordedJudge
from got_r1.judges.mixture import Mixture, OneAtATime
from got_r1.judges.student import StudentJudge
from got_r1.plan.chain import parse
from got_r1.recipes.sections import JudgeSection
from got_r1.records import (
    Box,
    FoundObject,
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    Prompt,
    QualityQuery,
    Query,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)
from got_r1.student.network import MARKS, Student

HEART = "<|obj_start|>red heart<|obj_end|> <|box_start|>(1,2),(300,400)<|box_end|>"
PROMPT, CHAIN = Prompt("a red heart", "attribute"), parse(f"A {HEART} here.")
IMAGE = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
KINDS: list[Query] = [
    SemanticQuery(PROMPT, CHAIN),
    SpatialQuery(PROMPT, CHAIN),
    GroundingQuery(CHAIN, IMAGE),
    ImageQuery(PROMPT, IMAGE),
    QualityQuery(PROMPT, IMAGE),
]


class Counting:
    """Answers with the number of the query; fails on prompts that say so."""

    def __init__(self) -> None:
        self.asked: list[Query] = []

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        answers: list[Verdict | JudgeFailure] = []
        for query in queries:
            self.asked.append(query)
            if isinstance(query, GroundingQuery):
                answers.append(Verdict(None, (FoundObject("red heart", Box(0, 1, 2, 999)),)))
            elif "fail" in query.prompt.text:
                answers.append(JudgeFailure("as told"))
            else:
                answers.append(
                    Verdict(len(self.asked) / 1e9, reasoning="é\ud800", reply="{}", tokens=9)
                )
        return answers


def about(text: str) -> SemanticQuery:
    return SemanticQuery(Prompt(text), CHAIN)


# -- what is the same query ------------------------------------------------------------------------


def test_each_kind_of_ask_is_its_own() -> None:
    assert len({content_key(query) for query in KINDS}) == len(KINDS)


def test_every_field_that_a_judge_may_read_counts() -> None:
    other_chain = parse(f"A {HEART} there.")
    other_image = IMAGE.copy()
    other_image[3, 4, 2] ^= 1
    for query in KINDS:
        others: list[Query] = []
        if not isinstance(query, GroundingQuery):
            others.append(replace(query, prompt=Prompt("a blue heart", "attribute")))
        if isinstance(query, SemanticQuery | SpatialQuery | GroundingQuery):
            others.append(replace(query, chain=other_chain))
        if isinstance(query, GroundingQuery | ImageQuery | QualityQuery):
            others += [
                replace(query, image=other_image),
                replace(query, image=IMAGE.reshape(5, 4, 3)),  # the same bytes in another form
            ]
        for other in others:
            assert content_key(other) != content_key(query)


def test_equal_content_is_the_same_ask_wherever_it_lies_in_memory() -> None:
    strided = np.repeat(IMAGE, 2, axis=1)[:, ::2]
    assert content_key(ImageQuery(Prompt("a red heart", "attribute"), strided)) == content_key(
        KINDS[3]
    )


def test_semantics_are_judged_without_boxes_and_the_layout_with_them() -> None:
    moved = parse(CHAIN.text.replace("300", "301"))
    assert content_key(SemanticQuery(PROMPT, moved)) == content_key(SemanticQuery(PROMPT, CHAIN))
    assert content_key(SpatialQuery(PROMPT, moved)) != content_key(SpatialQuery(PROMPT, CHAIN))


@given(st.text(), st.text())
def test_no_two_texts_run_together(a: str, b: str) -> None:
    """Fields are kept apart by their lengths: no text can imitate the border between two."""
    keys = {
        content_key(SemanticQuery(Prompt(*pair), CHAIN)) for pair in ((a, b), (b, a), (a + b, ""))
    }
    assert len(keys) == len({(a, b), (b, a), (a + b, "")})


# -- within a batch --------------------------------------------------------------------------------


def test_identical_asks_of_a_batch_are_one_and_order_is_kept() -> None:
    judge = Counting()
    queries = [about(text) for text in ("a", "b", "a", "fail", "a", "fail", "b")]
    answers = CachedJudge(judge).judge(queries)
    assert [
        query.prompt.text for query in judge.asked if not isinstance(query, GroundingQuery)
    ] == [
        "a",
        "b",
        "fail",
    ]
    scores = [getattr(answer, "score", None) for answer in answers]
    assert scores == [1e-9, 2e-9, 1e-9, None, 1e-9, None, 2e-9]


def test_without_a_folder_nothing_is_kept() -> None:
    judge = Counting()
    cached = CachedJudge(judge)
    for _ in range(2):
        cached.judge([about("a")])
    assert len(judge.asked) == 2


def test_a_judge_that_loses_an_answer_is_named() -> None:
    class Forgetful:
        def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
            return []

    with pytest.raises(RunFailed, match="Forgetful gave 0 answers to 1 queries"):
        CachedJudge(Forgetful()).judge([about("a")])


# -- without it ------------------------------------------------------------------------------------


class Torn:
    """A student that doubts everything."""

    def probabilities(self, queries: Sequence[Query], batch: int) -> torch.Tensor:
        return torch.full((len(queries), MARKS), 1 / MARKS)


def behind_a_student(judge: Judge, folder: Path) -> Judge:
    return StudentJudge(cast(Student, Torn()), 0.1, judge)


WRAPPERS: dict[type[Wrapper], Callable[[Judge, Path], Judge]] = {
    OneAtATime: lambda judge, folder: OneAtATime(judge),
    Mixture: lambda judge, folder: Mixture({"r_sem": judge}, Counting()),
    StudentJudge: behind_a_student,
    RecordedJudge: lambda judge, folder: RecordedJudge(judge, folder, JudgeSection()),
}


def test_every_judge_that_asks_others_is_here() -> None:
    """A new wrapper needs a line above."""
    assert {one for one in Wrapper.__subclasses__() if one.__module__.startswith("got_r1")} == set(
        WRAPPERS
    )


@pytest.mark.parametrize("kind", WRAPPERS, ids=lambda kind: kind.__name__)
def test_uncached_reaches_every_judge_behind_another(kind: type[Wrapper], tmp_path: Path) -> None:
    inner = Counting()
    cached = CachedJudge(inner, tmp_path / "cache", "judge")
    judge = OneAtATime(WRAPPERS[kind](cached, tmp_path / "record"))
    twin = uncached(judge)
    for asked in (1, 2):
        twin.judge([about("a")])
        assert len(inner.asked) == asked
    for _ in range(2):  # the judge itself keeps its cache
        judge.judge([about("a")])
    assert len(inner.asked) == 3


def test_uncached_keeps_turns_and_one_batch_for_each_judge() -> None:
    one = OneAtATime(Counting())
    assert uncached(one)._turn is one._turn  # type: ignore[attr-defined]
    mixture = uncached(Mixture({"r_ri": one, "r_pi": one}, Counting()))
    assert isinstance(mixture, Mixture)
    assert mixture.judges["r_ri"] is mixture.judges["r_pi"]


# -- on the disk -----------------------------------------------------------------------------------


def test_answers_come_back_just_as_they_were_given(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    given_ = CachedJudge(first, tmp_path / "new" / "cache", "judge").judge(KINDS)
    kept = CachedJudge(second, tmp_path / "new" / "cache", "judge").judge(KINDS[::-1])
    assert kept == given_[::-1]
    assert (len(first.asked), len(second.asked)) == (5, 0)


def test_failures_are_asked_again(tmp_path: Path) -> None:
    judge = Counting()
    cached = CachedJudge(judge, tmp_path, "judge")
    for _ in range(3):
        assert isinstance(cached.judge([about("fail")])[0], JudgeFailure)
    assert len(judge.asked) == 3


def test_another_judge_does_not_get_these_answers(tmp_path: Path) -> None:
    judge = Counting()
    for identity in ("a", "b", "a"):
        CachedJudge(judge, tmp_path, identity).judge([about("x")])
    assert len(judge.asked) == 2


def test_many_asks_pass_the_limits_of_a_query(tmp_path: Path) -> None:
    queries = [about(str(number)) for number in range(2500)]
    judge = Counting()
    first = CachedJudge(judge, tmp_path, "judge").judge(queries)
    assert CachedJudge(judge, tmp_path, "judge").judge(queries) == first
    assert len(judge.asked) == 2500


class Says:
    """Scores everything the same."""

    def __init__(self, score: float) -> None:
        self.score = score

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        return [Verdict(self.score) for _ in queries]


@pytest.mark.parametrize("bad", [float("nan"), 1.5, -0.1, None])
def test_a_score_that_is_none_is_not_kept(tmp_path: Path, bad: float) -> None:
    (answer,) = CachedJudge(Says(bad), tmp_path, "judge").judge([about("a")])
    assert isinstance(answer, JudgeFailure)
    (answer,) = CachedJudge(Says(0.5), tmp_path, "judge").judge([about("a")])
    assert answer == Verdict(0.5)


@pytest.mark.parametrize("bad", [float("nan"), 1.5, None])
def test_a_bad_score_in_an_old_cache_is_asked_again_once(tmp_path: Path, bad: float) -> None:
    CachedJudge(Says(0.25), tmp_path, "judge").judge([about("a"), about("b")])
    answer = {"score": bad, "found": [], "reasoning": "", "reply": "", "tokens": None}
    key = hashlib.sha256(b"judge\0" + content_key(about("a"))).digest()
    database = sqlite3.connect(tmp_path / "answers.sqlite")
    with database:  # as written before answers were checked
        packed = zlib.compress(json.dumps(answer).encode())
        changed = database.execute("UPDATE answers SET answer = ? WHERE key = ?", (packed, key))
    assert changed.rowcount == 1
    database.close()
    judge = Counting()
    for _ in range(2):
        answers = CachedJudge(judge, tmp_path, "judge").judge([about("a"), about("b")])
        assert [getattr(one, "score", None) for one in answers] == [1e-9, 0.25]
    assert len(judge.asked) == 1


# -- what can go wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"no database" * 500, b"SQLite format 3\0" + b"\1" * 5000])
def test_a_damaged_cache_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "answers.sqlite").write_bytes(content)
    with pytest.raises(BadInput, match=r"answers\.sqlite is damaged.*remove it"):
        CachedJudge(Counting(), tmp_path, "judge").judge([about("a")])


def test_a_damaged_answer_is_told(tmp_path: Path) -> None:
    CachedJudge(Counting(), tmp_path, "judge").judge([about("a")])
    database = sqlite3.connect(tmp_path / "answers.sqlite")
    with database:
        database.execute("UPDATE answers SET answer = x'00'")
    database.close()
    with pytest.raises(BadInput, match=r"answers\.sqlite is damaged"):
        CachedJudge(Counting(), tmp_path, "judge").judge([about("a")])


def test_a_place_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="cannot be written"):
        CachedJudge(Counting(), tmp_path / "file", "judge").judge([about("a")])


def test_a_full_disk_is_one_sentence(small_disk: Path) -> None:
    queries = [about(f"{number} {os.urandom(2000).hex()}") for number in range(60)]

    class Wordy:
        def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
            return [Verdict(0.5, reply=os.urandom(2000).hex()) for _ in queries]

    with pytest.raises(RunFailed, match=r"judge's cache .* cannot be used .*full"):
        CachedJudge(Wordy(), small_disk, "judge").judge(queries)


def keep_answering(folder: Path, first: int) -> None:
    cached = CachedJudge(Counting(), folder, "judge")
    for number in range(first, first + 100_000):
        cached.judge([about(f"{number}"), about("shared by all")])


def test_it_survives_being_killed_and_shared(tmp_path: Path) -> None:
    """Three processes write into one cache and are killed while they do; it stays whole."""
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    writers = [
        context.Process(target=keep_answering, args=(tmp_path, start))
        for start in (0, 10**6, 10**7)
    ]
    for writer in writers:
        writer.start()

    def rows() -> int:
        if not (tmp_path / "answers.sqlite").exists():
            return 0
        database = sqlite3.connect(tmp_path / "answers.sqlite", timeout=60)
        try:
            return int(database.execute("SELECT count(*) FROM answers").fetchone()[0])
        except sqlite3.OperationalError:  # the table is not there yet
            return 0
        finally:
            database.close()

    while rows() < 50:
        assert all(writer.is_alive() for writer in writers)
        time.sleep(0.05)
    for writer in writers:
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    database = sqlite3.connect(tmp_path / "answers.sqlite")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    judge = Counting()
    CachedJudge(judge, tmp_path, "judge").judge([about("shared by all"), about("0"), about("new")])
    assert [
        query.prompt.text for query in judge.asked if not isinstance(query, GroundingQuery)
    ] == ["new"]


def test_half_a_pair_in_an_old_cache_is_replaced(tmp_path: Path) -> None:
    """Older versions kept such replies, and a run ended on each --resume."""
    CachedJudge(Says(0.25), tmp_path).judge([about("a")])
    kept = {"score": 0.5, "found": [], "reasoning": "half \ud800", "reply": "\udc80", "tokens": 1}
    database = sqlite3.connect(tmp_path / "answers.sqlite")
    with database:
        packed = zlib.compress(json.dumps(kept).encode())
        database.execute("UPDATE answers SET answer = ?", (packed,))
    database.close()
    (answer,) = CachedJudge(Says(0.25), tmp_path).judge([about("a")])
    assert answer == Verdict(0.5, (), "half \ufffd", "\ufffd", 1)

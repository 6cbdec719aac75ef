"""A student before its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from got_r1.judges.examples import RecordedJudge
from got_r1.judges.mixture import Mixture, OneAtATime
from got_r1.judges.student import StudentJudge, student_behind
from got_r1.plan.chain import parse
from got_r1.records import (
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    Prompt,
    Query,
    SemanticQuery,
    Verdict,
)
from got_r1.student.network import MARKS, Scored, Student

IMAGE = np.zeros((8, 8, 3), np.uint8)


class Pupil:
    """Sure of whatever has the word "sure", and torn between 0 and 10 about the rest."""

    def probabilities(self, queries: Sequence[Scored], batch: int) -> Tensor:
        marks = torch.zeros(len(queries), MARKS)
        for row, query in zip(marks, queries, strict=True):
            if "sure" in query.prompt.text:
                row[8] = 1
            else:
                row[[0, MARKS - 1]] = 0.5
        return marks


class Teacher:
    def __init__(self) -> None:
        self.asked: list[Query] = []

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        self.asked += queries
        return [
            JudgeFailure("no") if query.term == "r_sem" else Verdict(0.25, reasoning="I see")
            for query in queries
        ]


QUERIES: list[Query] = [
    ImageQuery(Prompt("sure"), IMAGE),
    ImageQuery(Prompt("hm"), IMAGE),
    GroundingQuery(parse("x"), IMAGE),
    SemanticQuery(Prompt("hm"), parse("x")),
    SemanticQuery(Prompt("sure"), parse("x")),
]


def judge(ask_above: float, teacher: Teacher | None) -> StudentJudge:
    return StudentJudge(cast(Student, Pupil()), ask_above, teacher)


@pytest.mark.parametrize(("ask_above", "asked"), [(0.3, [1, 2, 3]), (0.5, [2])])
def test_the_teacher_is_asked_where_the_student_doubts(ask_above: float, asked: list[int]) -> None:
    teacher = Teacher()
    answers = judge(ask_above, teacher).judge(QUERIES)
    assert teacher.asked == [QUERIES[row] for row in asked]
    by = [answer.by if isinstance(answer, Verdict) else "failed" for answer in answers]
    if asked == [2]:
        assert by == ["student", "student", "", "student", "student"]  # R_RI: merely passed on
        assert [answers[row].score for row in (0, 1)] == pytest.approx([0.8, 0.5])  # type: ignore[union-attr]
    else:
        assert by == ["student", "teacher", "", "failed", "student"]
        guess = answers[1].guess  # type: ignore[union-attr]
        assert answers[1] == Verdict(0.25, reasoning="I see", by="teacher", guess=guess)
        assert guess == pytest.approx(0.5)
        assert answers[2].guess is None  # type: ignore[union-attr]


def test_a_student_is_found_behind_other_judges() -> None:
    student = judge(0.1, None)
    assert student_behind(Mixture({"r_ri": Teacher()}, OneAtATime(student))) is student
    assert student_behind(Mixture({"r_pi": OneAtATime(student)}, Teacher())) is student
    assert student_behind(OneAtATime(Teacher())) is None
    recorded = RecordedJudge.__new__(RecordedJudge)  # whatever it keeps, and where
    recorded.inner = OneAtATime(student)
    assert student_behind(recorded) is student


def test_without_a_teacher_it_answers_what_it_can() -> None:
    answers = judge(0.1, None).judge(QUERIES)
    assert [isinstance(answer, Verdict) for answer in answers] == [True, True, False, True, True]
    failure = answers[2]
    assert isinstance(failure, JudgeFailure)
    assert "give judge.r_ri a judge of its own" in failure.reason
    assert judge(0.1, None).judge([]) == []

"""A student before its teacher: it answers what it is sure of, and passes on the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

import torch

from got_r1.judges.base import Judge, Wrapper, all_of, answers_of
from got_r1.records import JudgeFailure, Query, Verdict
from got_r1.student.network import MARKS, STUDENT_TERMS, Student

__all__ = ["StudentJudge", "student_behind"]


class StudentJudge(Wrapper):
    """A `Judge` of R_sem, R_spa and R_PI; of everything else its teacher, where it has one.

    Args:
        student: who answers first.
        ask_above: the doubt, a standard deviation of the score in [0, 0.5], above which the teacher
            is asked instead.
        teacher: who is asked then; None: nobody.
        batch: queries that the student reads at once.

    To be asked by one thread at a time (`load_judge` sees to it).
    """

    def __init__(
        self, student: Student, ask_above: float, teacher: Judge | None, batch: int = 64
    ) -> None:
        self.student = student
        self.ask_above = ask_above
        self.teacher = teacher
        self.batch = batch

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """One answer for each query, in the same order; the teacher gets its own as one batch. An
        answer is `by` "student" or "teacher" where the student scores its term; what is merely
        passed on, R_RI and R_HPS, stays as the teacher gave it."""
        answers: list[Verdict | JudgeFailure] = [_unknown(query) for query in queries]
        known = [row for row, query in enumerate(queries) if query.term in STUDENT_TERMS]
        marks = self.student.probabilities([queries[row] for row in known], self.batch)  # type: ignore[misc]
        values = torch.arange(MARKS) / (MARKS - 1)
        means = marks @ values
        doubts = (marks @ values.square() - means.square()).clamp(min=0).sqrt()
        asked = [row for row in range(len(queries)) if row not in set(known)]
        for row, mean, doubt in zip(known, means.tolist(), doubts.tolist(), strict=True):
            answers[row] = Verdict(
                min(1.0, max(0.0, mean)),
                reasoning=f"student: {mean:.2f} ± {doubt:.2f}",
                by="student",
            )
            if doubt > self.ask_above:
                asked.append(row)
        if self.teacher is not None and asked:
            asked.sort()
            said = answers_of(self.teacher, [queries[row] for row in asked])
            for row, answer in zip(asked, said, strict=True):
                own = answers[row]  # a verdict where the student scores this term
                if isinstance(answer, Verdict) and isinstance(own, Verdict):
                    answer = replace(answer, by="teacher", guess=own.score)
                answers[row] = answer
        return answers

    def around(self, change: Callable[[Judge], Judge]) -> StudentJudge:
        """The same student before a changed teacher."""
        twin = copy(self)
        if self.teacher is not None:
            twin.teacher = change(self.teacher)
        return twin


def student_behind(judge: Judge) -> StudentJudge | None:
    """The first student among the judges that a judge is made of; None where there is none."""
    return next((one for one in all_of(judge) if isinstance(one, StudentJudge)), None)


def _unknown(query: Query) -> JudgeFailure:
    return JudgeFailure(
        f"a student scores {', '.join(STUDENT_TERMS)}, not {query.term}: give judge.{query.term} a "
        "judge of its own, or the student a teacher"
    )

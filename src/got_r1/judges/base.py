"""The interface between the method and whoever scores: structured queries in, verdicts out.

A judge is any object with one method, `judge`. To write your own:

1. Take the queries in the order given; a batch may mix the five kinds (`match query:` tells them
   apart). Answer in the same order, one answer for each, however you batch inside.
2. Scored queries (`SemanticQuery`, `SpatialQuery`, `ImageQuery`, `QualityQuery`) get a `Verdict`
   with a `score` in [0, 1]. A `GroundingQuery` gets `score=None` and the located objects in
   `found`, under the planned name they were asked for, in thousandths of the image's sides, the
   surest first; an object that is not there is simply not in `found`. Of each name only as many
   count as are planned under it (`plan.layout.counted`).
3. What you cannot answer (no reply, a reply that cannot be read, a prompt outside of what you
   know) is a `JudgeFailure`, returned and never raised: the sample then leaves its group and is
   counted. It is never a score of 0, which would punish the policy for the judge's fault.
4. Put the evidence into `reasoning` and the raw answer into `reply`: people read both in the
   report. Answer equal queries equally, so that a resumed run repeats itself.
5. Several threads may ask at the same time: a step asks about its images as soon as they are
   drawn, while its chains may still be read, and a mixture asks all its judges at once. Where that
   will not do, hold a lock (`mixture.OneAtATime` is one). `got-r1 audit contract` asks from
   two.

Whoever asks a judge asks through `answers_of`, which holds it to 1 and 2. Chains that reach it from
`got_r1.rewards` are well-formed: malformed ones score 0 without
being asked about. docs/judges.md has a complete judge in twenty lines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from numbers import Real
from typing import Protocol, runtime_checkable

from got_r1.errors import RunFailed
from got_r1.files.parsing import valid_unicode
from got_r1.files.redaction import redact
from got_r1.records import Box, GroundingQuery, JudgeFailure, Query, Verdict

__all__ = ["LONGEST_FAILED", "Judge", "Wrapper", "answers_of", "checked"]

LONGEST_FAILED = 4096
"""Characters that are kept of a reply that is no answer."""
LONGEST_REPLY = 65536
"""Characters that are kept of one that is an answer."""


@runtime_checkable
class Judge(Protocol):
    """Answers queries. Implementations hold their own settings."""

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """One answer for each query, in the same order."""
        ...


class Wrapper(ABC):
    """A judge that asks other judges."""

    @abstractmethod
    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """One answer for each query, in the same order."""

    @abstractmethod
    def around(self, change: Callable[[Judge], Judge]) -> Judge:
        """The same judge, which asks what `change` makes of each judge that this one asks."""


def all_of(judge: Judge) -> Iterator[Judge]:
    """The judge, and all that it asks, directly or through others; a shared one comes each time."""
    yield judge
    if isinstance(judge, Wrapper):
        asked: list[Judge] = []

        def listed(one: Judge) -> Judge:
            asked.append(one)
            return one

        judge.around(listed)
        for one in asked:
            yield from all_of(one)


def answers_of(judge: Judge, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
    """A judge's answers, one for each query, in the same order, each `checked`. Nothing is asked
    for an empty batch.

    Raises RunFailed where answers are missing, surplus, or neither a `Verdict` nor a
    `JudgeFailure`.
    """
    answers = judge.judge(queries) if queries else []
    name = type(judge).__name__
    if len(answers) != len(queries):
        raise RunFailed(
            f"{name} gave {len(answers)} answers to {len(queries)} queries: "
            "a judge must answer every query, in order"
        )
    for answer in answers:
        if not isinstance(answer, Verdict | JudgeFailure):
            raise RunFailed(
                f"{name} answered with a {type(answer).__name__}: a judge must answer with a "
                "Verdict or a JudgeFailure"
            )
    return [checked(query, answer) for query, answer in zip(queries, answers, strict=True)]


def checked(query: Query, answer: Verdict | JudgeFailure) -> Verdict | JudgeFailure:
    """The answer as it counts: a failure of the judge where its score is no number in [0, 1] (NaN
    included) or a box no box.

    Its text is foreign: it becomes valid Unicode, without secrets that a server has sent back, and
    of a length that can be kept.
    """
    if isinstance(answer, JudgeFailure):
        return _failure(answer.reason, answer)
    texts = _clean(answer.reasoning, LONGEST_REPLY), _clean(answer.reply, LONGEST_REPLY)
    if texts != (answer.reasoning, answer.reply):
        answer = replace(answer, reasoning=texts[0], reply=texts[1])
    if isinstance(query, GroundingQuery):
        wrong = [item.box for item in answer.found if not _is_box(item.box)]
        if wrong:
            reason = f"{wrong[0]} has corners that are not 0 to 999, upper left before lower right"
            return _failure(reason, answer)
        return answer
    if not isinstance(answer.score, Real) or not 0 <= answer.score <= 1:
        return _failure(f"score {answer.score} is not a number in [0, 1]", answer)
    return replace(answer, score=float(answer.score))


def _failure(reason: str, answer: Verdict | JudgeFailure) -> JudgeFailure:
    """A failure for this reason, with what is kept of its reply."""
    reply = _clean(answer.reply, LONGEST_FAILED)
    return JudgeFailure(_clean(reason, LONGEST_FAILED), reply, answer.tokens)


def _clean(text: str, longest: int) -> str:
    """Text of a judge, at most `longest` characters of it; where it is cut it says how many it
    had."""
    text = redact(valid_unicode(text, "judge replies"))
    if len(text) <= longest:
        return text
    end = f" ... ({len(text)} characters in all)"
    return text[: longest - len(end)] + end


def _is_box(box: Box) -> bool:
    return 0 <= box.x1 <= box.x2 <= 999 and 0 <= box.y1 <= box.y2 <= 999

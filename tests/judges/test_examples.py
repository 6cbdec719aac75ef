"""Scored queries kept with their answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from got_r1.errors import BadInput
from got_r1.icons.data import triples
from got_r1.judges.base import Judge
from got_r1.judges.cache import content_key
from got_r1.judges.examples import FILE, RecordedJudge, read_examples
from got_r1.judges.oracle import OracleJudge
from got_r1.plan.chain import parse
from got_r1.recipes.sections import JudgeSection
from got_r1.records import (
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    Prompt,
    Query,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)


def asked(count: int) -> list[Query]:
    found: list[Query] = []
    for triple in triples(count, seed=3):
        chain = parse(triple.chain)
        found += [
            SemanticQuery(triple.prompt, chain),
            SpatialQuery(triple.prompt, chain),
            GroundingQuery(chain, triple.image),
            ImageQuery(triple.prompt, triple.image),
        ]
    return found


def test_what_was_asked_is_what_is_read(tmp_path: Path) -> None:
    queries = asked(5)
    judge = RecordedJudge(OracleJudge(), tmp_path, JudgeSection(spec="oracle"))
    answers = judge.judge(queries)
    assert answers == OracleJudge().judge(queries)
    judge.judge(queries[:7])  # again: nothing is kept twice
    found = {content_key(one.query): one for one in read_examples([tmp_path, tmp_path])}
    wanted = {
        content_key(query): answer.score
        for query, answer in zip(queries, answers, strict=True)
        if isinstance(answer, Verdict) and not isinstance(query, GroundingQuery)
    }
    assert {key: one.score for key, one in found.items()} == wanted
    assert {one.judge for one in found.values()} == {"oracle"}


class Refuses:
    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        return [JudgeFailure("no") for _ in queries]


def test_failures_are_not_kept(tmp_path: Path) -> None:
    RecordedJudge(Refuses(), tmp_path, JudgeSection(spec="mine")).judge(asked(1))
    assert list(read_examples([tmp_path])) == []


class Torn:
    """A student: it answers about plans itself, and has its teacher answer about images."""

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        return [
            Verdict(0.5, by="teacher" if isinstance(query, ImageQuery) else "student")
            for query in queries
        ]


def test_of_a_student_its_teachers_answers_are_kept(tmp_path: Path) -> None:
    section = JudgeSection(spec="student", teacher="experts", r_ri="oracle")
    RecordedJudge(Torn(), tmp_path, section).judge(asked(3))
    found = list(read_examples([tmp_path]))
    assert [type(one.query) for one in found] == [ImageQuery] * 3
    assert {one.judge for one in found} == {"experts"}


def test_who_answered_is_read_out_of_judge_files(tmp_path: Path) -> None:
    """The oracle is the oracle, whichever file names it: else `train judge` finds two judges."""
    student = tmp_path / "student"
    student.mkdir()
    (student / "student.json").touch()

    def names(text: str, judge: Judge) -> set[str]:
        file = tmp_path / "judge.yaml"
        file.write_text(text)
        folder = tmp_path / f"kept-{len(list(tmp_path.iterdir()))}"
        RecordedJudge(judge, folder, JudgeSection(spec=str(file))).judge(asked(1))
        return {one.judge for one in read_examples([folder])}

    taught = f"student: {{model: {student}, teacher: TEACHER}}\n"
    assert names(taught.replace("TEACHER", "oracle"), Torn()) == {"oracle"}
    served = "openai: {model: Qwen2.5-VL, urls: http://a/v1}\n"
    where = str(tmp_path / "judge.yaml")
    assert names(f"spec: student\n{served}{taught.replace('TEACHER', 'openai')}", Torn()) == {where}
    # What only the file says of a judge makes it another one.
    setup = f"experts: {{same_object: 0.4}}\n{taught.replace('TEACHER', 'experts')}spec: student"
    assert names(setup, Torn()) == {where}

    assert names("spec: oracle", OracleJudge()) == {"oracle"}
    assert names("spec: experts\nr_pi: oracle", OracleJudge()) == {"experts", "oracle"}


def test_a_served_model_is_one_judge_wherever_it_is_served(tmp_path: Path) -> None:
    for host in ("one", "two"):
        section = JudgeSection(spec=f"openai:org/m@v2@http://{host}/v1,http://more/v1")
        RecordedJudge(OracleJudge(), tmp_path / host, section).judge(asked(3))
    found = read_examples([tmp_path / "one", tmp_path / "two"])
    assert {one.judge for one in found} == {"openai:org/m@v2"}


def test_any_text_of_a_policy_can_be_kept(tmp_path: Path) -> None:
    chain = parse("half a character \udcff, and \x00")
    judge = RecordedJudge(OracleJudge(), tmp_path, JudgeSection(spec="oracle"))
    judge.judge([SemanticQuery(Prompt("a red heart"), chain)])
    (found,) = read_examples([tmp_path])
    assert isinstance(found.query, SemanticQuery)
    assert found.query.chain.text == "half a character ?, and \x00"


def test_keys_are_not_kept(tmp_path: Path) -> None:
    spec = "openai:m@http://ann:secretword@host/v1"
    judge = RecordedJudge(OracleJudge(), tmp_path, JudgeSection(spec=spec))
    judge.judge([ImageQuery(Prompt("a red heart"), np.zeros((40, 40, 3), np.uint8))])
    (found,) = read_examples([tmp_path])
    assert "secretword" not in found.judge
    assert b"secretword" not in (tmp_path / FILE).read_bytes()


def test_a_folder_without_examples_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"judge\.record=run"):
        list(read_examples([tmp_path]))
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(BadInput, match="damaged"):
        list(read_examples([tmp_path]))

"""`audit contract`: each fault in a judge is found by the check that is for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from got_r1.audit.contract import CHECKS, contract
from got_r1.cli import main
from got_r1.errors import RunFailed
from got_r1.judges.oracle import OracleJudge
from got_r1.records import (
    Box,
    FoundObject,
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    QualityQuery,
    Query,
    SemanticQuery,
    Verdict,
)

Fault = Callable[[Sequence[Query], list[Any]], Any]


class Faulty:
    """The oracle, but for what `fault` makes of its answers."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.asked = 0

    def judge(self, queries: Sequence[Query]) -> Any:
        self.asked += 1
        return self.fault(queries, OracleJudge().judge(queries))


def to(kind: type, answer: object) -> Fault:
    """Queries of a kind get this answer."""
    return lambda queries, answers: [
        answer if isinstance(query, kind) else one
        for query, one in zip(queries, answers, strict=True)
    ]


def found(name: str, *box: Any) -> Verdict:
    return Verdict(None, (FoundObject(name, Box(*box)),))


def raises(queries: Sequence[Query], answers: list[Any]) -> Any:
    raise KeyError("prompt")


def writes(queries: Sequence[Query], answers: list[Any]) -> Any:
    for query in queries:
        if isinstance(query, ImageQuery):
            query.image[0, 0] = 0
    return answers


ALL = list(CHECKS)


@pytest.mark.parametrize(
    ("fault", "names", "told"),
    [
        (lambda _, answers: answers, [], ""),
        (raises, ALL, "it raised KeyError ('prompt')"),
        (writes, ALL[1:], "it raised ValueError"),
        (lambda _, answers: tuple(answers), ALL, "it returned a tuple"),
        (lambda _, answers: None, ALL, "it returned a NoneType"),
        (lambda _, answers: answers[1:], ALL[1:], "19 answers to 20"),
        (lambda _, answers: answers or [JudgeFailure("x")], ALL[:1], "1 answers to 0"),
        (to(ImageQuery, 0.5), ALL[1:], "answered ImageQuery with a float"),
        (to(ImageQuery, Verdict(10)), ["answers"], "the score 10, which is no number in [0, 1]"),
        (to(ImageQuery, Verdict(float("nan"))), ["answers"], "the score nan"),
        (to(ImageQuery, Verdict("1")), ["answers"], "the score '1'"),
        (to(ImageQuery, Verdict(None)), ["answers"], "the score None"),
        (to(QualityQuery, JudgeFailure("")), ["answers"], "without a reason"),
        (to(SemanticQuery, replace(found("x", 0, 0, 9, 9), score=1)), ["answers"], "found objects"),
        (to(GroundingQuery, Verdict(0.5)), ["answers"], "has the score 0.5"),
        (to(GroundingQuery, found("cat", 0, 0, 9, 9)), ["answers"], "has found 'cat'"),
        (lambda queries, _: [Verdict(index / 99) if not isinstance(query, GroundingQuery)
                             else Verdict(None) for index, query in enumerate(queries)],
         ["order", "equal queries", "two threads"], "answered differently"),
        (lambda queries, answers: answers if threading.current_thread() is threading.main_thread()
         else [JudgeFailure("busy") for _ in queries], ["two threads"], "another thread"),
    ],
)  # fmt: skip
def test_a_fault_is_found_by_the_check_that_is_for_it(
    fault: Fault, names: list[str], told: str
) -> None:
    findings = contract(Faulty(fault))
    assert [finding.name for finding in findings] == ALL
    assert [finding.name for finding in findings if not finding.passed] == names
    assert all(told in finding.sentence for finding in findings if not finding.passed)


@pytest.mark.parametrize("box", [(0, 0, 1000, 9), (9, 0, 0, 9), (0.0, 0, 9, 9), (None, 0, 9, 9)])
def test_boxes_are_whole_thousandths(box: tuple[Any, ...]) -> None:
    def fault(queries: Sequence[Query], answers: list[Any]) -> list[Any]:
        return [
            found(query.chain.objects[0].name, *box) if isinstance(query, GroundingQuery) else one
            for query, one in zip(queries, answers, strict=True)
        ]

    (broken,) = [finding for finding in contract(Faulty(fault)) if not finding.passed]
    assert "0 to 999" in broken.sentence


def test_a_server_that_is_gone_is_no_finding() -> None:
    def fault(queries: Sequence[Query], answers: list[Any]) -> list[Any]:
        raise RunFailed("gone")

    with pytest.raises(RunFailed, match="gone"):
        contract(Faulty(fault))


def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "contract", "--judge", "oracle"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:6] for line in lines] == ["passed"] * len(CHECKS)
    assert "r_ri 4 of 4" in lines[1]
    assert main(["audit", "contract", "--judge", "oracle", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["judge"], result["passed"]) == ("oracle", True)
    assert [check["name"] for check in result["checks"]] == ALL


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_judge_of_ones_own_that_breaks_it_ends_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "class Mine:\n    def judge(self, queries):\n        return [0.5] * len(queries)\n"
    )
    assert main(["audit", "contract", "--judge", f"{file}:Mine", *more]) == 3
    out, err = capsys.readouterr()
    assert f"imports the file {file}" in err
    assert "does not keep the contract (answers, order, equal queries, two threads)" in err
    if more:
        assert json.loads(out)["passed"] is False
    else:
        assert out.count("FAILED") == 4

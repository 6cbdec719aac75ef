"""Structured output: which schema goes along with a question, and what is done where it may not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from got_r1.judges.mllm import question
from got_r1.judges.requests import RequestShape
from got_r1.judges.schemas import without_bounds
from got_r1.judges.settings import MLLMSettings, OpenAISettings
from got_r1.judges.worker import WorkerJudge
from got_r1.records import (
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    Query,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)
from judges.asking import CHAIN, IMAGE, PROMPT, ask, judge_of, numbered
from judges.scripted_server import Action, Reply, Request, ScriptedServer, Status, in_turn, score

TERMS: list[tuple[Query, str, list[str]]] = [
    (SemanticQuery(PROMPT, CHAIN), "drawing", ["score"]),
    (SpatialQuery(PROMPT, CHAIN), "drawing", ["reasoning", "score"]),
    (SpatialQuery(PROMPT, CHAIN), "text", ["reasoning", "score"]),
    (ImageQuery(PROMPT, IMAGE), "drawing", ["description", "caption", "reasoning", "score"]),
    (GroundingQuery(CHAIN, IMAGE), "drawing", ["label", "bbox_2d"]),
]


def schema_of(request: Request) -> dict[str, Any]:
    given = request.body["response_format"]
    assert given["type"] == "json_schema"
    assert given["json_schema"]["strict"] is True
    schema: dict[str, Any] = given["json_schema"]["schema"]
    return schema


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema and all schemas in it."""
    yield schema
    for inner in [*schema.get("properties", {}).values(), schema.get("items")]:
        if inner is not None:
            yield from nodes(inner)


def example(schema: dict[str, Any], text: str) -> Any:
    """A reply that a schema allows, with this text for all texts and the best score."""
    match schema["type"]:
        case "object":
            return {key: example(one, text) for key, one in schema["properties"].items()}
        case "array" if schema["items"]["type"] == "integer":
            return [10, 20, 30, 40]
        case "array":
            return [example(schema["items"], text)] * 2
        case "string":
            return text
        case "integer":
            return 10
    raise AssertionError(schema)


@pytest.mark.parametrize(("query", "spatial", "keys"), TERMS)
def test_each_term_sends_the_schema_of_what_its_rubric_asks_for(
    query: Query, spatial: Any, keys: list[str]
) -> None:
    wording = MLLMSettings(spatial=spatial)
    with ScriptedServer(lambda request: Reply("?")) as server:
        ask(server, query, wording=wording)
    asked = question(query, wording)
    for request in server.requests:
        schema = schema_of(request)
        assert list(schema["properties"]) == keys
        (line,) = [line for line in request.text.splitlines() if line.startswith("Answer with one")]
        places = [line.index(f'"{key}"') for key in keys]
        assert places == sorted(places)
        for node in nodes(schema):
            if node["type"] == "object":  # what OpenAI's strict mode insists on
                assert node["required"] == list(node["properties"])
                assert node["additionalProperties"] is False
            if node["type"] == "string":
                assert 0 < node["maxLength"] <= 1000
            if node["type"] == "array":
                assert node["maxItems"] <= 25
            if node["type"] == "integer":
                assert node["minimum"] == 0
        for sent in (schema, without_bounds(schema)):
            said = asked[0].read(json.dumps(example(sent, "red vase")))
            if "score" in keys:
                assert said.score == 1.0
            else:
                assert [item.name for item in said.found] == ["red vase"]


def test_texts_leave_room_for_the_score() -> None:
    (asked,) = question(ImageQuery(PROMPT, IMAGE), MLLMSettings(max_tokens=100))
    lengths = [one["maxLength"] for one in nodes(asked.schema) if one["type"] == "string"]
    assert len(lengths) == 3
    assert sum(lengths) <= 2 * 100


def test_a_name_is_not_part_of_a_schema() -> None:
    """Servers compile each schema once, some of them for seconds."""
    first, second = question(GroundingQuery(CHAIN, IMAGE), MLLMSettings())
    assert first.schema == second.schema


# -- where it may not be ---------------------------------------------------------------------------

REFUSALS = [
    Status(400, "response_format is not supported"),
    Status(422, '{"detail": [{"type": "extra_forbidden", "loc": ["body", "response_format"]}]}'),
    Status(400, "This model does not support json_schema"),
    Status(400, "unsupported value", param="response_format.type"),
    Status(404, "No endpoints found that support structured outputs"),
    Status(501, "guided decoding is not built in"),
    Status(500, "failed to compile grammar"),
]


def guided_refused(refusal: Action) -> Any:
    return lambda request: refusal if "response_format" in request.body else score()


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_a_server_that_refuses_schemas_is_asked_without_and_it_is_said_once(
    refusal: Status, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        ScriptedServer(guided_refused(refusal)) as server,
        judge_of(server, concurrency=8) as judge,
    ):
        for _ in range(2):
            answers = judge.judge([numbered(n) for n in range(20)])
            assert all(isinstance(answer, Verdict) for answer in answers)
        guided = [request for request in server.requests if "response_format" in request.body]
    assert 2 <= len(guided) <= 16  # those under way, with bounds and without
    assert len(server.requests) - len(guided) == 40
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "openai.structured: off" in err
    assert server.url in err


def test_a_server_that_knows_no_bounds_gets_a_schema_without(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def script(request: Request) -> Action:
        if "maxLength" in json.dumps(schema_of(request)):
            where = "In context=('properties', 'reasoning'), 'maxLength' is not permitted."
            return Status(400, f"Invalid schema for response_format 'r_spa': {where}")
        return score()

    with ScriptedServer(script) as server:
        assert isinstance(ask(server, SpatialQuery(PROMPT, CHAIN)), Verdict)
    first, second = map(schema_of, server.requests)
    assert second == without_bounds(first) != first
    assert capfd.readouterr().err == ""


def test_another_refusal_changes_nothing() -> None:
    with ScriptedServer(lambda request: Status(400, "prompt too long")) as server:
        answer = ask(server)
    assert isinstance(answer, JudgeFailure)
    assert "structured" not in answer.reason
    assert len(server.requests) == 1


def test_the_worker_process_says_it_too(capfd: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(guided_refused(REFUSALS[0])) as server:
        judge = WorkerJudge(OpenAISettings(model="m", urls=[server.url]), MLLMSettings())
        threads = [
            threading.Thread(target=judge.judge, args=([numbered(n) for n in range(start, 9)],))
            for start in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        judge.close()
    assert capfd.readouterr().err.count("got-r1: judge: ") == 1


def test_a_guided_reply_that_was_cut_off_is_asked_for_without_a_schema() -> None:
    """White space between the tokens of JSON is allowed by every schema, without end."""
    padded = Reply('{"score":' + " " * 900, finish="length")
    with ScriptedServer(in_turn([padded, Reply("?"), score(3)])) as server:
        assert isinstance(ask(server), Verdict)
    sent = ["response_format" in request.body for request in server.requests]
    assert sent == [True, False, False]


@pytest.mark.parametrize(
    "given",
    [
        {"structured": "off"},
        {"extra_body": {"structured_outputs": {"regex": "x"}}},
        {"extra_body": {"response_format": {"type": "json_object"}}},
        {"extra_body": {"response_format": None}},
        {"extra_body": {"ebnf": "root ::= x"}},
    ],
)
def test_no_schema_where_it_is_switched_off_or_another_guide_is_given(given: Any) -> None:
    with ScriptedServer(lambda request: score()) as server:
        assert isinstance(ask(server, **given), Verdict)
    assert "json_schema" not in json.dumps(server.requests[0].body.get("response_format"))
    plain, other = (
        RequestShape.of(OpenAISettings(model="m", urls=["http://h/v1"], **one)).identity()
        for one in ({}, given)
    )
    assert plain != other  # guided answers are not those of free decoding

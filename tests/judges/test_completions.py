"""What servers put around a model's text, and in its place: read, or said in as many words."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from got_r1.judges.settings import MLLMSettings
from got_r1.records import JudgeFailure, Verdict
from judges.asking import ask
from judges.scripted_server import Message, Raw, Reply, ScriptedServer, Status, in_turn, score

SEVEN = '{"score": 7}'
THREE = '{"score": 3}'

READ: dict[str, Any] = {
    "text": SEVEN,
    "one part": [{"type": "text", "text": SEVEN}],
    "parts": [{"type": "text", "text": '{"score"'}, {"type": "text", "text": ": 7}"}],
    "plain strings": ['{"score"', ": 7}"],
    "a part alone": {"type": "text", "text": SEVEN},
    "output_text": [{"type": "output_text", "text": SEVEN, "annotations": []}],
    "a part without type": [{"text": SEVEN}],
    "text as an object": [{"type": "text", "text": {"value": SEVEN, "annotations": []}}],
    "Mistral's thinking": [
        {"type": "thinking", "thinking": [{"type": "text", "text": THREE}], "closed": True},
        {"type": "text", "text": SEVEN},
    ],
    "Anthropic's thinking": [
        {"type": "thinking", "thinking": THREE, "signature": "abc"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "text", "text": SEVEN},
    ],
    "reasoning": [{"type": "reasoning", "text": THREE}, {"type": "text", "text": SEVEN}],
    "a summary": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": THREE}]},
        {"type": "output_text", "text": SEVEN},
    ],
    "Gemini's thought": [{"text": THREE, "thought": True}, {"text": SEVEN}],
    "unknown parts": [{"type": "image_url", "image_url": {"url": "x"}}, SEVEN, {"type": "x"}, None],
}


@pytest.mark.parametrize("content", READ.values(), ids=READ.keys())
def test_content_in_any_form_is_read_without_what_was_thought(content: Any) -> None:
    with ScriptedServer(lambda request: Message({"content": content})) as server:
        answer = ask(server)
    assert isinstance(answer, Verdict), answer.reason
    assert answer.score == 0.7
    assert answer.reply == SEVEN
    assert len(server.requests) == 1


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_beside_an_answer_is_not_read(key: str) -> None:
    with ScriptedServer(lambda request: Message({"content": SEVEN, key: THREE})) as server:
        answer = ask(server)
    assert isinstance(answer, Verdict)
    assert (answer.score, answer.reply) == (0.7, SEVEN)


def test_json_under_another_content_type_is_read() -> None:
    body = {"choices": [{"message": {"content": SEVEN}, "finish_reason": "stop"}]}
    with ScriptedServer(lambda request: Raw(json.dumps(body).encode(), "text/plain")) as server:
        assert isinstance(ask(server), Verdict)


# Of this query: put again with another seed, as what cannot be read is.
LACKING: dict[str, tuple[Message, str, str]] = {
    "reasoning_content": (
        Message({"content": None, "reasoning_content": THREE}),
        r"holds the model's reasoning and no answer: raise wording\.max_tokens",
        THREE,
    ),
    "reasoning, cut off": (
        Message({"content": "", "reasoning": "let me see"}, "length"),
        "reasoning and no answer, for the limit of tokens came first",
        "let me see",
    ),
    "thinking parts only": (
        Message({"content": [{"type": "thinking", "thinking": THREE}]}),
        "reasoning and no answer",
        THREE,
    ),
    "refusal": (
        Message({"content": None, "refusal": "I'd rather not."}),
        r"the model refused to answer: I'd rather not\.",
        "I'd rather not.",
    ),
    "refusal part": (
        Message({"content": [{"type": "refusal", "refusal": "No: 7."}]}),
        "the model refused to answer: No: 7",
        "No: 7.",
    ),
    "null": (Message({"content": None}), r"it is empty \(finish_reason 'stop'\)", ""),
    "no content": (Message({}, None), r"it is empty \(finish_reason None\)", ""),
    "no parts": (Message({"content": []}), "it is empty", ""),
    "blanks": (Message({"content": " \n"}), "it is empty", " \n"),
    "tool calls": (
        Message({"content": None, "tool_calls": [{"id": "1"}]}, "tool_calls"),
        "tool calls and no answer",
        "",
    ),
}


@pytest.mark.parametrize(("came", "told", "reply"), LACKING.values(), ids=LACKING.keys())
def test_a_completion_without_an_answer_says_what_came_and_is_asked_again(
    came: Message, told: str, reply: str
) -> None:
    with ScriptedServer(lambda request: came) as server:
        answer = ask(server, wording=MLLMSettings(retries_unreadable=2), retries=0)
    assert isinstance(answer, JudgeFailure)
    assert re.search(told, answer.reason), answer.reason
    assert (answer.reply, answer.tokens) == (reply, 30)
    assert [request.body["seed"] for request in server.requests] == [0, 1, 2]
    with ScriptedServer(in_turn([came, score(4)])) as server:
        assert isinstance(ask(server, retries=0), Verdict)


def test_what_a_content_filter_withheld_is_not_asked_for_again() -> None:
    for content in (None, '{"score": 7}'):
        with ScriptedServer(
            lambda request, said=content: Message({"content": said}, "content_filter")  # type: ignore[misc]
        ) as server:
            answer = ask(server)
        assert isinstance(answer, JudgeFailure)
        assert "content filter withheld it" in answer.reason
        assert len(server.requests) == 1


# Of the server: it is tried again, rests, or another one is asked.
def error(**fields: Any) -> Raw:
    return Raw(json.dumps({"error": fields}).encode())


NO_COMPLETION: dict[str, tuple[Raw | Message, str]] = {
    "error": (error(message="out of memory"), "an error in it: out of memory"),
    "error with a code": (error(message="busy", code=502), r"an error in it \(502\): busy"),
    "busy": (error(message="slow down", code=429), r"\(429\): slow down"),
    "error as text": (Raw(b'{"error": "upstream died"}'), "upstream died"),
    "vLLM's": (Raw(b'{"object": "error", "message": "dead", "code": 500}'), r"\(500\): dead"),
    "Gemini's": (Raw(b'[{"error": {"code": 503, "message": "later"}}]'), r"\(503\): later"),
    "error in the choice": (
        Raw(b'{"choices": [{"error": {"message": "provider gone"}, "message": {"content": ""}}]}'),
        "provider gone",
    ),
    "broken off": (Message({"content": SEVEN}, "abort"), r"server broke off \(abort\)"),
    "a web page": (
        Raw(b"<!doctype html><title>Log in</title>", "text/html"),
        "a web page instead of JSON .*Log in.*: does the URL lead to the API",
    ),
    "a web page as JSON": (Raw(b"\n<html>busy</html>"), "a web page instead of JSON"),
    "a stream": (
        Raw(b'data: {"choices": [{"delta": {"content": "7"}}]}\n\n', "text/event-stream"),
        r"a stream \(text/event-stream\).*extra_body: \{stream: false\}",
    ),
    "a comment of a stream": (Raw(b": ping\n\ndata: {}\n\n"), "a stream"),
    "nothing": (Raw(b""), "an empty body"),
    "half": (Raw(b'{"choices": [{"mess'), "not JSON .*mess"),
    "no choices": (Raw(b'{"choices": []}'), "a completion without choices"),
    "no message": (Raw(b'{"choices": [{"text": "7"}]}'), "JSON that is no chat completion"),
    "another API": (Raw(b'{"detail": "moved"}'), "JSON that is no chat completion .*moved"),
    "a list": (Raw(b"[1, 2]"), "JSON that is no object"),
    "a number for a text": (Message({"content": 7}), "content that is neither text nor parts"),
}


@pytest.mark.parametrize(("came", "told"), NO_COMPLETION.values(), ids=NO_COMPLETION.keys())
def test_what_is_no_completion_is_said_and_tried_again(came: Raw | Message, told: str) -> None:
    with ScriptedServer(lambda request: came) as server:
        answer = ask(server, retries=2)
    assert isinstance(answer, JudgeFailure)
    assert re.search(f"/v1 answered with .*{told}", answer.reason), answer.reason
    assert [request.body["seed"] for request in server.requests] == [0, 0, 0]
    with ScriptedServer(in_turn([came, came, score(4)])) as server:
        assert isinstance(ask(server, retries=2), Verdict)


@pytest.mark.parametrize("code", [400, "401", 404, 422])
def test_an_error_that_calls_the_request_wrong_is_not_tried_again(code: int | str) -> None:
    with ScriptedServer(lambda request: error(message="too long", code=code)) as server:
        answer = ask(server)
    assert isinstance(answer, JudgeFailure)
    assert "refuses the request: it answered with status 200 and an error in it" in answer.reason
    assert answer.reply == "too long"
    assert len(server.requests) == 1


def test_a_list_of_errors_is_told_by_its_message() -> None:
    """Gemini's: [{"error": {"code": 400, "message": ...}}]."""
    with ScriptedServer(
        lambda request: Status(400, "Unknown name foo: Cannot find field.", listed=True)
    ) as server:
        answer = ask(server)
    assert isinstance(answer, JudgeFailure)
    assert "(400: Unknown name foo: Cannot find field.)" in answer.reason


def test_a_reply_under_a_refusal_is_no_score() -> None:
    with ScriptedServer(in_turn([Message({"content": SEVEN, "refusal": "no"}), Reply(THREE)])) as s:
        answer = ask(s)
    assert isinstance(answer, Verdict)
    assert answer.score == 0.3

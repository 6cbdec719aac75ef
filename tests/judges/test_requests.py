"""The shape of requests: fields left out, renamed, folded; profiles; and what a refusal says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from got_r1.errors import BadInput
from got_r1.judges import load_judge
from got_r1.judges.requests import RequestShape
from got_r1.judges.settings import OpenAISettings
from got_r1.records import ImageQuery, JudgeFailure, Verdict
from judges.asking import IMAGE, PROMPT, ask
from judges.scripted_server import Action, Raw, Request, ScriptedServer, Status, score

FIELDS = {"max_tokens": 9, "temperature": 0.0, "seed": 2}


def sent(**given: Any) -> Request:
    """The request that a judge with these settings sends."""
    with ScriptedServer(lambda request: score()) as server:
        assert isinstance(ask(server, **given), Verdict)
    (request,) = server.requests
    return request


def shaped(model: str = "m", urls: Any = "http://localhost:1/v1", **given: Any) -> dict[str, Any]:
    """What becomes of our own fields."""
    return RequestShape.of(OpenAISettings(model=model, urls=urls, **given)).body(FIELDS)


# -- fields ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["seed", "temperature", "max_tokens"])
def test_null_leaves_a_field_out(name: str) -> None:
    body = sent(extra_body={name: None, "top_k": 5}).body
    assert name not in body
    assert body["top_k"] == 5
    assert {"max_tokens", "temperature", "seed"} - body.keys() == {name}


def test_null_inside_of_a_field_is_sent() -> None:
    assert sent(extra_body={"options": {"x": None}}).body["options"] == {"x": None}


def test_a_field_may_have_another_name() -> None:
    body = sent(rename={"max_tokens": "max_completion_tokens", "seed": "random_seed"}).body
    assert (body["max_completion_tokens"], body["random_seed"]) == (768, 0)
    assert not {"max_tokens", "seed"} & body.keys()


@pytest.mark.parametrize(
    ("extra", "became"),
    [
        ({"max_tokens": None}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 5}, 5),
        ({"max_completion_tokens": None}, None),
    ],
)
def test_extra_body_wins_over_a_renamed_field_under_either_name(
    extra: dict[str, Any], became: int | None
) -> None:
    body = shaped(rename={"max_tokens": "max_completion_tokens"}, extra_body=extra)
    assert "max_tokens" not in body
    assert body.get("max_completion_tokens") == became


@pytest.mark.parametrize("rename", [{"model": "name"}, {"top_k": "k"}, {"seed": ""}])
def test_only_our_own_fields_get_other_names(rename: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="max_tokens, temperature, seed"):
        OpenAISettings(model="m", urls=["x"], rename=rename)


def test_the_judge_file_says_what_a_rename_may_be(tmp_path: Any) -> None:
    path = tmp_path / "judge.yaml"
    path.write_text("openai: {model: m, urls: http://h:1/v1, rename: {tokens: max}}")
    with pytest.raises(BadInput, match=r"openai in .*: rename gives .*max_tokens, temp"):
        load_judge(str(path))


# -- the system's part -----------------------------------------------------------------------------


def test_the_systems_part_may_stand_in_the_users_turn() -> None:
    apart, folded = sent(), sent(system="folded")
    system, user = apart.body["messages"]
    (only,) = folded.body["messages"]
    assert only == {"role": "user", "content": f"{system['content']}\n\n{user['content']}"}


def test_a_folded_turn_with_a_picture_keeps_it_first() -> None:
    apart = sent(query=ImageQuery(PROMPT, IMAGE))
    folded = sent(query=ImageQuery(PROMPT, IMAGE), system="folded")
    (only,) = folded.body["messages"]
    assert [part["type"] for part in only["content"]] == ["image_url", "text"]
    assert np.array_equal(folded.images[0], IMAGE)
    assert folded.text.split() == apart.text.split()


# -- profiles --------------------------------------------------------------------------------------

OPENAI, GEMINI, MISTRAL = (
    "https://api.openai.com/v1",
    "https://generativelanguage.googleapis.com/v1beta/openai/",
    "https://api.mistral.ai/v1",
)
SAMPLING = {"repetition_penalty": 1.0, "top_p": 1.0, "top_k": -1}


@pytest.mark.parametrize(
    ("model", "urls", "given", "body"),
    [
        ("gpt-4o", OPENAI, {}, {"max_completion_tokens": 9, "temperature": 0.0, "seed": 2}),
        ("gpt-5", OPENAI, {}, {"max_completion_tokens": 9, "seed": 2}),
        ("gpt-5.1-mini-2026-01-01", OPENAI, {}, {"max_completion_tokens": 9, "seed": 2}),
        ("o3-mini", OPENAI, {}, {"max_completion_tokens": 9, "seed": 2}),
        ("openai/o4-mini", OPENAI, {}, {"max_completion_tokens": 9, "seed": 2}),
        ("gemini-3-flash", GEMINI, {}, {"max_tokens": 9, "temperature": 0.0}),
        ("pixtral", MISTRAL, {}, {"max_tokens": 9, "temperature": 0.0, "random_seed": 2}),
        ("m", "http://localhost:1/v1", {}, FIELDS),
        ("gpt-5", "http://localhost:1/v1", {}, FIELDS),
        ("m", "http://api.mistral.ai.example.org/v1", {}, FIELDS),
        ("m", [OPENAI, MISTRAL], {}, FIELDS),  # no single profile fits both
        # By name.
        ("m", "http://gpu:1/v1", {"profile": "vllm"}, {**FIELDS, **SAMPLING}),
        ("m", "http://gpu:1/v1", {"profile": "sglang"}, {**FIELDS, **SAMPLING}),
        (
            "gpt-5",
            "https://proxy.example/v1",
            {"profile": "openai"},
            {"max_completion_tokens": 9, "seed": 2},
        ),
        ("pixtral", MISTRAL, {"profile": "none"}, FIELDS),
        # What is set explicitly wins, key by key.
        (
            "gpt-5",
            OPENAI,
            {"extra_body": {"temperature": 1}, "rename": {"max_tokens": "max_tokens"}},
            {"max_tokens": 9, "temperature": 1, "seed": 2},
        ),
        (
            "gemini",
            GEMINI,
            {"extra_body": {"seed": 4, "top_p": 0.5}},
            {"max_tokens": 9, "temperature": 0.0, "seed": 4, "top_p": 0.5},
        ),
        (
            "m",
            "http://gpu:1/v1",
            {"profile": "vllm", "extra_body": {"top_k": 1, "top_p": None}},
            {**FIELDS, "repetition_penalty": 1.0, "top_k": 1},
        ),
    ],
)
def test_a_profile_gives_what_the_settings_leave_open(
    model: str, urls: Any, given: dict[str, Any], body: dict[str, Any]
) -> None:
    assert shaped(model, urls, **given) == body


def test_another_shape_asks_again_and_another_name_does_not() -> None:
    def identity(**given: Any) -> dict[str, Any]:
        return RequestShape.of(
            OpenAISettings(model="m", urls=["http://h:1/v1"], **given)
        ).identity()

    plain = identity()
    assert identity(rename={"seed": "random_seed"}) == plain
    for other in ({"system": "folded"}, {"profile": "vllm"}, {"extra_body": {"seed": None}}):
        assert identity(**other) != plain


# -- refusals --------------------------------------------------------------------------------------

EXTRA_FORBIDDEN = (
    '{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], '
    '"msg": "Extra inputs are not permitted", "input": 0}]}'
)
REFUSALS: list[tuple[Action, str]] = [
    (
        Status(
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            param="max_tokens",
        ),
        r"openai\.rename: \{max_tokens: max_completion_tokens\}",
    ),
    (
        Status(
            400,
            "Unsupported value: 'temperature' does not support 0 with this model. Only the "
            "default (1) value is supported.",
        ),
        r"openai\.extra_body: \{temperature: null\}",
    ),
    (Status(400, "bad value", param="seed"), r"openai\.extra_body: \{seed: null\}"),
    (
        Status(400, 'Unknown name "seed": Cannot find field.', listed=True),
        r"openai\.extra_body: \{seed: null\}",
    ),
    (Status(422, EXTRA_FORBIDDEN), r"\{seed: null\}.*random_seed"),
    (
        Status(400, "'max_tokens' is too large: 768. Maximum context length is 700 tokens."),
        r"lower wording\.max_tokens",
    ),
    (
        Status(
            400,
            "max_tokens=9000 cannot be greater than max_model_len=8192. Please request fewer "
            "output tokens. (parameter=max_tokens, value=9000)",
            param="max_tokens",
        ),
        r"lower wording\.max_tokens",
    ),
    (Status(400, "top_k must be positive"), r"openai\.extra_body: \{top_k: null\}"),
    (Status(400, "System role not supported"), r"openai\.system: folded"),
    (Status(500, "jinja2.TemplateError: System role not supported"), r"openai\.system: folded"),
    (Status(400, "Conversation roles must alternate user/assistant"), r"openai\.system: folded"),
    (
        Status(400, "'messages[0].role' does not support 'system'", param="messages[0].role"),
        r"openai\.system: folded",
    ),
    (Status(400, "Developer instruction is not enabled for models/x"), r"openai\.system: folded"),
    (
        Raw(b'{"error": {"message": "temperature: not allowed", "code": 400}}'),
        r"openai\.extra_body: \{temperature: null\}",
    ),
]


@pytest.mark.parametrize(("refusal", "setting"), REFUSALS, ids=lambda value: str(value)[:50])
def test_a_refusal_names_the_setting_to_change_and_is_not_sent_again(
    refusal: Action, setting: str
) -> None:
    with ScriptedServer(lambda request: refusal) as server:
        answer = ask(server, extra_body={"top_k": 0})
    assert isinstance(answer, JudgeFailure)
    assert re.search(rf"refuses the request.*{setting}", answer.reason), answer.reason
    assert len(server.requests) == 1


def test_the_setting_that_is_named_helps() -> None:
    def without(name: str) -> Callable[[Request], Action]:
        return lambda request: Status(400, f"no {name}") if name in request.body else score()

    for name in ("seed", "temperature", "max_tokens"):
        with ScriptedServer(without(name)) as server:
            failed = ask(server)
            assert isinstance(failed, JudgeFailure)
            assert f"openai.extra_body: {{{name}: null}}" in failed.reason
            assert isinstance(ask(server, extra_body={name: None}), Verdict)


def test_a_bare_500_of_a_server_that_answered_nothing_hints_at_the_system_role() -> None:
    with ScriptedServer(lambda request: Status(500, "Internal Server Error")) as server:
        apart, folded = ask(server, retries=1), ask(server, retries=1, system="folded")
    assert isinstance(apart, JudgeFailure)
    assert isinstance(folded, JudgeFailure)
    assert "has no system role, set openai.system: folded" in apart.reason
    assert "folded" not in folded.reason

"""The served judge against a real vLLM with a tiny, random Qwen2.5-VL.

Its replies mean nothing, so a guided reply must be readable by its form alone and an unguided one
must never become a score.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from got_r1.judges.openai_api import OpenAIJudge
from got_r1.judges.settings import MLLMSettings, OpenAISettings
from got_r1.records import (
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    Query,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)
from judges.asking import CHAIN, IMAGE, PROMPT, numbered
from vllm_server.conftest import MODEL, Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

QUERIES: dict[str, Query] = {
    "r_sem": SemanticQuery(PROMPT, CHAIN),
    "r_spa": SpatialQuery(PROMPT, CHAIN),
    "r_pi": ImageQuery(PROMPT, IMAGE),
    "r_ri": GroundingQuery(CHAIN, IMAGE),
}
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}<|im_start|>user\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)


def judge_of(
    server: Server, patience: float = 0.0, wording: dict[str, Any] | None = None, **given: Any
) -> OpenAIJudge:
    settings = {"model": MODEL, "urls": [server.url], "profile": "vllm", "timeout": 600.0}
    return OpenAIJudge(
        OpenAISettings(**settings | given),
        MLLMSettings(**{"coordinates": "pixels", "retries_unreadable": 0} | (wording or {})),
        patience,
    )


def answer(query: Query, server: Server, **given: Any) -> Verdict | JudgeFailure:
    judge = judge_of(server, **given)
    try:
        (only,) = judge.judge([query])
    finally:
        judge.close()
    return only


@pytest.mark.parametrize("term", QUERIES)
def test_a_guided_reply_can_be_read_whatever_the_model(vllm: Server, term: str) -> None:
    found = answer(QUERIES[term], vllm)
    if term == "r_ri":  # a random label names no object, so its boxes are nobody's
        assert isinstance(found, Verdict) or "its labels are" in found.reason, found
    else:
        assert isinstance(found, Verdict), found
        # Guided decoding lets control characters through, which strict JSON forbids.
        assert json.loads(found.reply, strict=False)["score"] / 10 == found.score


@pytest.mark.parametrize("term", QUERIES)
def test_what_a_random_model_babbles_is_no_score(vllm: Server, term: str) -> None:
    found = answer(QUERIES[term], vllm, structured="off", wording={"max_tokens": 48})
    assert isinstance(found, JudgeFailure)
    assert "cannot be read" in found.reason


@pytest.mark.parametrize(
    ("given", "wording", "said"),
    [
        ({"extra_body": {"temperature": -1}}, {}, "openai.extra_body: {temperature: null}"),
        ({}, {"max_tokens": 9000}, "wording.max_tokens"),
        ({"extra_body": {"chat_template": NO_SYSTEM}}, {}, "openai.system: folded"),
        ({"model": "another"}, {}, "does not exist"),
    ],
)
def test_its_refusals_name_the_setting(
    vllm: Server, given: dict[str, Any], wording: dict[str, Any], said: str
) -> None:
    found = answer(QUERIES["r_sem"], vllm, wording=wording, **given)
    assert isinstance(found, JudgeFailure)
    assert said in found.reason, found.reason


def test_a_template_without_a_system_role_takes_folded_questions(vllm: Server) -> None:
    found = answer(QUERIES["r_sem"], vllm, system="folded", extra_body={"chat_template": NO_SYSTEM})
    assert isinstance(found, Verdict), found


def test_many_queries_at_once_come_back_in_order(vllm: Server) -> None:
    judge = judge_of(vllm, concurrency=16)
    queries = [numbered(number) for number in range(24)]
    together = judge.judge(queries)
    alone = [judge.judge([query])[0] for query in queries[:3]]
    judge.close()
    assert all(isinstance(one, Verdict) for one in together)
    assert len(together) == 24
    assert all(isinstance(one, Verdict) for one in alone)


def test_a_run_outlives_a_server_that_is_killed_and_comes_back(
    vllm: Server, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    judge = tmp_path / "judge.yaml"
    judge.write_text(
        yaml.safe_dump(
            {
                "openai": {
                    "model": MODEL,
                    "urls": vllm.url,
                    "profile": "vllm",
                    "timeout": 600,
                },
                "wording": {"coordinates": "pixels"},
            }
        )
    )
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump(
            {
                "run": {"dir": str(run)},
                "model": {"path": "icons"},
                "judge": {"spec": str(judge), "cache": "off", "patience": 1800},
                "rollout": {"chain_limit": 60, "guidance": 1.0},
                "rl": {"steps": 4, "prompts": 1, "group": 4, "save_every": 1, "sample_every": 9},
                "eval": {"prompts": 0},
            }
        )
    )
    command = [sys.executable, "-m", "got_r1", "train", "rl", str(recipe)]
    trained = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    metrics = run / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text()):
        assert trained.poll() is None, trained.communicate()[1]
        time.sleep(0.1)
    vllm.kill()

    def come_back() -> None:
        time.sleep(30)
        vllm.start()

    threading.Thread(target=come_back).start()
    said = trained.communicate()[1]
    vllm.wait()
    assert trained.returncode == 0, said
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(row["judge_failures"] == 0 for row in rows)
    assert vllm.url.removesuffix("/v1") in said  # whoever watches is told what the run waits for

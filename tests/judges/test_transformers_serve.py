"""The served judge against `transformers serve`: a real server with a tiny LLaVA.

Its weights are random but for what it says: a model that looks at its last token only, and whose
output rows spell a reply. So the whole way is real (images, template, generation, HTTP) and the
score is known.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from got_r1.judges import load_judge
from got_r1.plan.chain import parse
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
from judges.tiny_mllm import make_llava

PROMPT = Prompt("a red vase on the left of a clock", "spatial")
CHAIN = parse(
    "A <|obj_start|>red vase<|obj_end|> <|box_start|>(100,200),(400,900)<|box_end|> beside a "
    "<|obj_start|>clock<|obj_end|> <|box_start|>(600,200),(900,500)<|box_end|>."
)
IMAGE = np.random.default_rng(0).integers(0, 256, (56, 56, 3), dtype=np.uint8)
ASKS: list[Query] = [
    SemanticQuery(PROMPT, CHAIN),
    SpatialQuery(PROMPT, CHAIN),
    ImageQuery(PROMPT, IMAGE),
    GroundingQuery(CHAIN, IMAGE),
]
REPLY = '{"score": 7}'
WORDING = (
    "wording: {coordinates: pixels, max_tokens: 24, min_pixels: 3136, max_pixels: 50176, "
    "canvas: 64}\n"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (find_spec("fastapi") and find_spec("uvicorn")),
        reason="transformers serve needs fastapi and uvicorn (requirements/dev.txt has them)",
    ),
]


def teach(folder: Path, reply: str) -> None:
    """Makes the model answer `reply` to everything, by its last token alone."""
    from transformers import AutoTokenizer, LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    spelled = tokenizer(reply, add_special_tokens=False).input_ids
    # The template ends with "ASSISTANT:"; each token then leads to the next, the last to the end.
    path = [tokenizer("ASSISTANT:", add_special_tokens=False).input_ids[-1], *spelled]
    assert len(set(path)) == len(path), "a token that comes twice would lead to two others"
    language: Any = model.model.language_model
    with torch.no_grad():
        for layer in language.layers:  # nothing but the token itself comes through
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        words = language.embed_tokens.weight
        torch.nn.init.orthogonal_(words)
        model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(words))
        for token, following in zip(path, [*spelled, tokenizer.eos_token_id], strict=True):
            model.lm_head.weight[following] += 10 * words[token] / words[token].norm()
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders: one that answers a score, one that babbles."""
    folder = tmp_path_factory.mktemp("served")
    models = {name: str(make_llava(folder / name)) for name in ("knows", "babbles")}
    teach(folder / "knows", REPLY)
    return models


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running server, its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    command = "import sys; from transformers.cli.transformers import main; sys.exit(main())"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [
                *(sys.executable, "-c", command, "serve"),
                *("--host", "127.0.0.1", "--port", str(port), "--device", "cpu"),
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        try:
            deadline = time.monotonic() + 300
            while not answers(f"http://127.0.0.1:{port}/health"):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(60)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def judge_file(folder: Path, model: str, url: str) -> str:
    file = folder / "judge.yaml"
    file.write_text(f"openai: {{model: {model}, urls: {url}, retries: 1, timeout: 300}}\n{WORDING}")
    return str(file)


def test_a_real_server_answers_all_scored_asks(
    models: dict[str, str], url: str, tmp_path: Path
) -> None:
    said = load_judge(judge_file(tmp_path, models["knows"], url)).judge(ASKS)
    for answer in said[:3]:
        assert isinstance(answer, Verdict), answer
        assert (answer.score, answer.reply) == (0.7, REPLY)
    assert isinstance(said[3], JudgeFailure)  # a score is no box
    assert said[3].reply == REPLY


def test_what_a_real_model_babbles_is_no_score(
    models: dict[str, str], url: str, tmp_path: Path
) -> None:
    answers = load_judge(judge_file(tmp_path, models["babbles"], url)).judge(ASKS)
    assert len(answers) == len(ASKS)
    for answer in answers:
        assert isinstance(answer, JudgeFailure)
        assert "cannot be read" in answer.reason


def test_a_model_that_the_server_does_not_have_is_told(url: str, tmp_path: Path) -> None:
    (answer,) = load_judge(judge_file(tmp_path, "/nowhere/model", url)).judge(ASKS[:1])
    assert isinstance(answer, JudgeFailure)
    assert "/nowhere/model" in answer.reason or "answered 500" in answer.reason

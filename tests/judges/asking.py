"""What tests of the served judge ask, and how: one judge of scripted servers, in a hurry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from got_r1.judges.openai_api import OpenAIJudge
from got_r1.judges.settings import MLLMSettings, OpenAISettings
from got_r1.plan.chain import parse
from got_r1.records import JudgeFailure, Prompt, Query, SemanticQuery, Verdict
from judges.scripted_server import ScriptedServer

__all__ = ["CHAIN", "IMAGE", "PROMPT", "SEMANTIC", "ask", "judge_of", "numbered"]

CHAIN = parse(
    "A <|obj_start|>red vase<|obj_end|> <|box_start|>(100,200),(400,900)<|box_end|> and a "
    "<|obj_start|>clock<|obj_end|> <|box_start|>(600,200),(900,500)<|box_end|>."
)
PROMPT = Prompt("a red vase on the left of a clock", "spatial")
IMAGE = np.random.default_rng(0).integers(0, 256, (392, 392, 3), dtype=np.uint8)
SEMANTIC = SemanticQuery(PROMPT, CHAIN)


def numbered(number: int) -> SemanticQuery:
    return SemanticQuery(Prompt(f"a vase number-{number}-"), CHAIN)


@contextmanager
def judge_of(
    *servers: ScriptedServer | str,
    wording: MLLMSettings | None = None,
    patience: float = 0.0,
    **given: Any,
) -> Iterator[OpenAIJudge]:
    """A judge of these servers."""
    values = {
        "model": "scripted",
        "urls": [one if isinstance(one, str) else one.url for one in servers],
        "timeout": 30.0,
        "first_wait": 0.01,
    } | given
    judge = OpenAIJudge(OpenAISettings(**values), wording or MLLMSettings(), patience)
    try:
        yield judge
    finally:
        judge.close()


def ask(server: ScriptedServer, query: Query = SEMANTIC, **given: Any) -> Verdict | JudgeFailure:
    """The answer to one query."""
    with judge_of(server, **given) as judge:
        (answer,) = judge.judge([query])
    return answer

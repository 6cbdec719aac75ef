"""A studio on a real port, with the shipped model."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import torch
import uvicorn
from fastapi import FastAPI

from got_r1.judges import load_judge
from got_r1.policy import load_policy
from got_r1.records import Prompt
from got_r1.sampling.checks import checks_of
from got_r1.sampling.settings import rollout_settings
from got_r1.studio.app import Comparison, create_app
from got_r1.studio.guard import Guard
from got_r1.studio.history import History
from got_r1.studio.model import Model

PROMPT = "a red heart on the left of a blue star"


@dataclass(frozen=True)
class Served:
    """A server that runs, and a client of it."""

    url: str
    guard: Guard
    model: Model
    page: httpx.Client
    """What sends requests as the studio's own page does."""


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """Serves an application; yields where."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(60)


def serve(
    model: Model, guard: Guard, comparison: Comparison | None = None, runs: Path | None = None
) -> Iterator[Served]:
    """Serves until the test is over."""
    with listening(create_app(model, guard, None, comparison, runs)) as url:
        headers = {"Origin": url, "X-Studio-Token": guard.page}
        with httpx.Client(base_url=url, headers=headers, timeout=300) as page:
            yield Served(url, guard, model, page)


def other_model(like: Model) -> Model:
    """A model that differs from the shipped one in its weights."""
    policy = load_policy("icons")
    made = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.mul_(1 + 0.02 * torch.randn(weight.shape, generator=made))
    return replace(like, name="other <b>model</b>", policy=policy)


def events(studio: Served, url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """All events of a job."""
    with studio.page.stream("POST", url, json=body) as response:
        assert response.status_code == 200, response.read()
        lines = [line for line in response.iter_lines() if line]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def make_model(history: Path) -> Model:
    """The shipped model with the settings that it carries."""
    policy = load_policy("icons")
    return Model(
        "icons",
        policy,
        rollout_settings(policy, [Prompt(PROMPT)]),
        checks_of(policy),
        History(history),
        load_judge("oracle"),
    )

"""A killed studio keeps every entry of its history that a page was told of."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from got_r1.studio.history import History
from studio.serving import PROMPT
from studio.test_draw import CHAIN


@pytest.mark.slow
def test_a_killed_server_loses_no_entry(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "got_r1", "studio", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--history", str(tmp_path / "history"), "--runs", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert str(port) in server.stdout.readline()
    told = []
    url = f"http://127.0.0.1:{port}"
    transport = httpx.HTTPTransport(retries=12)  # it listens soon after it says where
    with httpx.Client(base_url=url, transport=transport, timeout=300) as page:
        token = re.search('name="studio-token" content="([^"]+)"', page.get("/").text)
        assert token is not None
        page.headers.update({"Origin": url, "X-Studio-Token": token[1]})
        for seed in range(4):  # the last one is drawing when the server is killed
            asked = {"prompt": PROMPT, "chain": CHAIN, "seed": seed, "n": 8 if seed == 3 else 1}
            with page.stream("POST", "/api/draw", json=asked) as answer:
                for line in filter(None, answer.iter_lines()):
                    event = json.loads(line.removeprefix("data: "))
                    if seed == 3 and event["kind"] == "progress":
                        os.kill(server.pid, signal.SIGKILL)
                        break
                    if event["kind"] == "done":
                        told.append(event["entry"])
    server.communicate()
    assert server.returncode == -signal.SIGKILL
    history = History(tmp_path / "history")
    assert len(told) == 3
    assert history.names() == sorted(told, reverse=True)
    assert [history.read(name)["seed"] for name in told] == [0, 1, 2]
    assert all(history.image(name, 0).stat().st_size for name in told)

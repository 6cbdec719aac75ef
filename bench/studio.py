"""How long the studio takes from the click to the first token of a plan, and to the picture.

    python bench/studio.py --rounds 20

Starts `got-r1 studio` with the shipped model on this machine, asks for a plan as its page does, and
takes the time until the first words of the chain arrive, until the plan is whole, and from "Draw
it" to the first rows and to the picture in the history. Prints medians with the lowest and highest.
The target, 300 ms to the first token at the median, is for two cores with nothing else to do. Exit
code 1 where it is missed.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

PROMPT = "a red heart on the left of a blue star"
TARGET = 0.3  # seconds to the first token
LABELS = {
    "token": "click to the first token",
    "plan": "click to the whole plan",
    "rows": "draw to the first rows",
    "picture": "draw to the picture",
}


def events(url: str, path: str, token: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a job, as they come."""
    headers = {"Origin": url, "X-Studio-Token": token, "Content-Type": "application/json"}
    request = Request(url + path, json.dumps(body).encode(), headers)
    with urlopen(request, timeout=600) as answer:
        for line in answer:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


def measure(url: str, token: str, seed: int) -> dict[str, float]:
    """Seconds of one round."""
    found: dict[str, float] = {}
    start = time.perf_counter()
    plan: dict[str, Any] = {}
    for event in events(url, "/api/plan", token, {"prompt": PROMPT, "seed": seed}):
        if event["kind"] == "chain":
            found.setdefault("token", time.perf_counter() - start)
        plan = event
    found["plan"] = time.perf_counter() - start
    body = {"prompt": PROMPT, "seed": seed, "chain": plan["candidates"][0]["chain"]}
    start = time.perf_counter()
    for event in events(url, "/api/draw", token, body):
        if event["kind"] == "image":
            found.setdefault("rows", time.perf_counter() - start)
    found["picture"] = time.perf_counter() - start
    return found


def main() -> int:
    """Runs the rounds; one more before them, which is not counted."""
    parser = argparse.ArgumentParser(description="Waiting times of the studio.")
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "got_r1", "studio", "--port", str(port)]
        server = subprocess.Popen(
            [*command, "--history", str(Path(folder) / "history")],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            server.stdout.readline()  # it says where it is, and listens soon after
            url = f"http://127.0.0.1:{port}"
            token = read_token(url)
            rounds = [measure(url, token, seed) for seed in range(args.rounds + 1)][1:]
        finally:
            server.terminate()
            server.wait()
    for name, label in LABELS.items():
        values = [1000 * one[name] for one in rounds]
        middle = statistics.median(values)
        print(f"{label:26} {middle:6.0f} ms  [{min(values):.0f}, {max(values):.0f}]")
    return int(statistics.median(one["token"] for one in rounds) > TARGET)


def read_token(url: str) -> str:
    """The page's token; waits until the server listens."""
    while True:
        try:
            with urlopen(url, timeout=60) as page:
                found = re.search(rb'name="studio-token" content="([^"]+)"', page.read())
                assert found is not None
                return found[1].decode()
        except URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())

"""A real vLLM, served with a tiny Qwen2.5-VL from an environment of its own (`make test-vllm`)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["MODEL", "Server"]

PYTHON = "GOT_R1_VLLM_PYTHON"  # the Python of that environment
MODEL = "tiny-qwen2.5-vl"
HERE = Path(__file__).parent
# The options that docs/judges.md recommends, and one that lets a request bring a chat template.
OPTIONS = [
    *("--max-model-len", "8192", "--max-num-batched-tokens", "8192", "--enforce-eager"),
    *("--limit-mm-per-prompt", '{"image": 1, "video": 0}'),
    *("--mm-processor-kwargs", '{"max_pixels": 401408}'),
    *("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}'),
    *("--generation-config", "vllm"),
    "--trust-request-chat-template",
]
STARTS_WITHIN = 900.0  # seconds, on a busy machine


class Server:
    """`vllm serve` in a process group of its own, which can be killed and started again."""

    def __init__(self, python: str, model: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.python, self.model, self.log = python, model, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and returns at once."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [
                    *(self.python, "-m", "vllm.entrypoints.cli.main", "serve", str(self.model)),
                    *("--host", "127.0.0.1", "--port", str(self.port)),
                    *("--served-model-name", MODEL, *OPTIONS),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    **os.environ,
                    "VLLM_CPU_KVCACHE_SPACE": "1",
                    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
                    "VLLM_NO_USAGE_STATS": "1",
                    "HF_HUB_OFFLINE": "1",
                },
            )

    def wait(self) -> None:
        """Until it answers."""
        assert self.process is not None
        deadline = time.monotonic() + STARTS_WITHIN
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.5)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as said:
                return bool(said.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """`kill -9` of it and of the processes that it started."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    python = os.environ.get(PYTHON)
    if not python:
        pytest.skip(f"make test-vllm runs it ({PYTHON} names the Python of vLLM's environment)")
    folder = tmp_path_factory.mktemp("vllm")
    made = subprocess.run(
        [python, str(HERE / "make_model.py"), str(folder / MODEL)], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    server = Server(python, folder / MODEL, folder / "log")
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()

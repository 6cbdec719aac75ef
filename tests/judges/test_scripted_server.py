"""The tests' own server: it ends at any moment without leaving anything open."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
import time

import pytest

from judges.scripted_server import ScriptedServer, score

REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_it_closes_every_connection_that_it_accepts_as_it_ends() -> None:
    """asyncio's own server leaves some of them open (Python 3.11)."""
    for round_ in range(40):
        clients: list[socket.socket] = []

        def connect(port: int, clients: list[socket.socket] = clients) -> None:
            for number in range(3):
                clients.append(socket.socket())
                with contextlib.suppress(OSError):
                    clients[-1].connect(("127.0.0.1", port))
                    clients[-1].sendall(REQUEST if number else b"")

        with ScriptedServer(lambda request: score()) as server:
            threads = [threading.Thread(target=connect, args=(server.port,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(round_ % 10 * 2e-4)
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()
    gc.collect()  # what was left open is reported now, as this test's fault

"""A chat-completions server on loopback that plays a script: what real servers do, on demand.

It speaks HTTP/1.1 over a real socket, so that clients meet real resets and half-sent bodies, and it
keeps what it was asked. A script is called with each `Request` and returns an `Action`:

    with ScriptedServer(lambda request: Reply('{"score": 7}')) as server:
        judge = load_judge(f"openai:Qwen2.5-VL@{server.url}")
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image

__all__ = [
    "Action",
    "Drop",
    "Half",
    "Held",
    "Message",
    "Mortal",
    "Raw",
    "Reply",
    "Request",
    "ScriptedServer",
    "Slow",
    "Status",
    "in_turn",
    "score",
]


# -- what was asked --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its place in the order of arrival, its headers (small letters) and its body."""

    number: int
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def parts(self) -> list[dict[str, Any]]:
        """The parts of all messages: {"type": "text" | "image_url", ...}."""
        parts: list[dict[str, Any]] = []
        for message in self.body["messages"]:
            content = message["content"]
            parts += [{"type": "text", "text": content}] if isinstance(content, str) else content
        return parts

    @property
    def text(self) -> str:
        """All text, system and user, a part a line."""
        return "\n".join(part["text"] for part in self.parts if part["type"] == "text")

    @property
    def images(self) -> list[np.ndarray]:
        """The images, uint8 [height, width, 3], out of their PNG data URLs."""
        images = []
        for part in self.parts:
            if part["type"] == "image_url":
                head, _, data = part["image_url"]["url"].partition(",")
                assert head == "data:image/png;base64", head
                images.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))))
        return images


# -- what is answered ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """A chat completion with this text."""

    text: str
    finish: str = "stop"


@dataclass(frozen=True, slots=True)
class Message:
    """A chat completion with this message: content in parts, reasoning, refusals ..."""

    message: Mapping[str, Any]
    finish: str | None = "stop"


@dataclass(frozen=True, slots=True)
class Status:
    """An HTTP status, as an OpenAI-compatible server tells it; `listed`, as Gemini's does."""

    code: int
    message: str = "scripted"
    headers: Mapping[str, str] = field(default_factory=dict)
    param: str | None = None
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Raw:
    """Just these bytes as the body."""

    body: bytes
    content_type: str = "application/json"
    code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slow:
    """Something, later."""

    seconds: float
    then: Action


@dataclass(frozen=True, slots=True)
class Held:
    """Something, as soon as `until` says so."""

    until: Callable[[], bool]
    then: Action


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is closed without an answer; `reset` closes it by RST."""

    reset: bool = False


@dataclass(frozen=True, slots=True)
class Half:
    """Half of a good answer's body, then the server's side is closed."""

    text: str = '{"score": 7}'


Action = Reply | Message | Status | Raw | Slow | Held | Drop | Half
Script = Callable[[Request], Action]


def score(value: float = 7) -> Reply:
    """A good reply to a scored query."""
    return Reply(json.dumps({"reasoning": "scripted", "score": value}))


def in_turn(actions: Sequence[Action]) -> Script:
    """Plays the actions in the order of arrival; the last one for good."""
    return lambda request: actions[min(request.number, len(actions) - 1)]


# -- the server ------------------------------------------------------------------------------------


class ScriptedServer:
    """Serves while it is entered. `requests` holds what was asked, `most` how many at a time."""

    def __init__(self, script: Script, port: int = 0) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.open = self.most = 0
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=1024)
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        self._loop.add_reader(self._listener, self._accept)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        """The base URL, up to and including /v1."""
        return f"http://127.0.0.1:{self._port}/v1"

    def _accept(self) -> None:
        # asyncio's own server loses a connection that it accepts as it is closed (Python 3.11).
        try:
            connection, _ = self._listener.accept()
        except OSError:  # the client has left
            return
        task = self._loop.create_task(self._serve(connection))
        self._connections.add(task)

        def done(_: asyncio.Task[None]) -> None:
            connection.close()  # also where the task was cancelled before it began
            self._connections.discard(task)

        task.add_done_callback(done)

    async def _hang_up(self) -> None:
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for task in self._connections:
            task.cancel()
        while self._connections:
            await asyncio.sleep(0)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=1 << 24)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._one_request(reader, writer):
                    pass
                writer.close()
                await writer.wait_closed()
        finally:
            # Where it was cancelled, the server is closed: who still waits meets a lost connection.
            writer.transport.abort()

    async def _one_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answers the next request of a connection; False where the connection is done."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Request(
            len(self.requests), head[0].split()[1], headers, json.loads(content or b"{}")
        )
        self.requests.append(request)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            action = self.script(request)
            while isinstance(action, Slow | Held):
                if isinstance(action, Slow):
                    await asyncio.sleep(action.seconds)
                elif not action.until():
                    await asyncio.sleep(0.002)
                    continue
                action = action.then
        finally:
            self.open -= 1
        return await _play(action, request, writer)


class Mortal:
    """A server that is killed at its `dies_at`-th request (counted from 0) and comes back on the
    same port, `after` seconds later, or at once when `come_back` is called. `lives` are the servers
    that it has been."""

    def __init__(self, script: Script, dies_at: int, after: float) -> None:
        self.script, self.dies_at, self.after = script, dies_at, after
        self.lives = [ScriptedServer(self._play)]
        self._told, self._back = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return self.lives[0].url

    def come_back(self) -> None:
        """Returns when it listens again."""
        self._told.set()
        assert self._back.wait(60)

    def __enter__(self) -> Self:
        self.lives[0].__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.come_back()
        self.lives[1].__exit__(kind, error, trace)

    def _play(self, request: Request) -> Action:
        if len(self.lives) == 1 and request.number == self.dies_at:
            threading.Thread(target=self._die).start()
            return Held(lambda: False, score())
        return self.script(request)

    def _die(self) -> None:
        self.lives[0].__exit__(None, None, None)
        self._told.wait(self.after)
        self.lives.append(ScriptedServer(self._play, port=self.lives[0].port).__enter__())
        self._back.set()


async def _play(action: Action, request: Request, writer: asyncio.StreamWriter) -> bool:
    match action:
        case Reply(text, finish):
            body = _completion(request, {"content": text}, finish)
            writer.write(_response(200, {}, body))
        case Message(message, finish):
            writer.write(_response(200, {}, _completion(request, message, finish)))
        case Status(code, message, headers, param, listed):
            error = {"error": {"message": message, "type": "scripted", "param": param}}
            body = json.dumps([error] if listed else error).encode()
            writer.write(_response(code, headers, body))
        case Raw(body, content_type, code, headers):
            writer.write(_response(code, {"content-type": content_type, **headers}, body))
        case Half(text):
            whole = _response(200, {}, _completion(request, {"content": text}, "stop"))
            writer.write(whole[: len(whole) - 40])
            await writer.drain()
            return False
        case Drop(reset):
            if reset:
                writer.transport.abort()
            return False
        case Slow() | Held():
            raise AssertionError("played before")
    await writer.drain()
    return True


def _completion(request: Request, said: Mapping[str, Any], finish: str | None) -> bytes:
    message = {"role": "assistant", **said}
    completion = {
        "id": f"scripted-{request.number}",
        "object": "chat.completion",
        "created": 0,
        "model": request.body.get("model", ""),
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }
    return json.dumps(completion).encode()


def _response(code: int, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {code} Scripted\r\n{head}\r\n".encode("latin-1") + body

"""An MLLM behind an OpenAI-compatible endpoint: vLLM, SGLang, `transformers serve`, a hosted API.

The wording and the reading of replies are `mllm`'s, the choice of a server and all patience with
it `endpoints`'. What remains is to ask many things at once: an event loop in a thread of its own
holds the open requests, at most `concurrency`, and `judge` waits for it from whatever thread it is
called.
"""

from __future__ import annotations

import asyncio
import base64
import io
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from got_r1.judges.completions import Completion
from got_r1.judges.endpoints import Endpoint, Endpoints, Unanswered, connect, say
from got_r1.judges.mllm import Question, question, total, verdict
from got_r1.judges.replies import Unreadable
from got_r1.judges.requests import RequestShape
from got_r1.judges.schemas import response_format, without_bounds
from got_r1.judges.settings import MLLMSettings, OpenAISettings
from got_r1.records import JudgeFailure, Query, Verdict

__all__ = ["OpenAIJudge"]

T = TypeVar("T")
Messages = list[dict[str, Any]]
PACKERS = 2  # threads that draw, resize and pack


class OpenAIJudge:
    """A `Judge` that asks endpoints; may be asked from several threads at once.

    Args:
        settings: which model where, and how patiently it is asked.
        wording: how queries are put to it.
        patience: seconds that servers which are gone are waited for.

    Raises:
        BadInput: the settings name a key that is not in the environment.
    """

    def __init__(
        self, settings: OpenAISettings, wording: MLLMSettings, patience: float = 0.0
    ) -> None:
        self.settings, self.wording, self.patience = settings, wording, patience
        self._shape = RequestShape.of(settings)
        self._guide = "bounded" if self._shape.structured else None  # as far as servers take it
        keys = [settings.key(url) for url in settings.urls]
        self._loop = LoopThread()
        self._endpoints = self._loop.run(self._connect(keys))
        self._asks = asyncio.Semaphore(settings.concurrency)  # queries whose images are in memory
        self._requests = asyncio.Semaphore(settings.concurrency)
        closing = [one.close for one in self._endpoints.endpoints]
        self._end = weakref.finalize(self, self._loop.stop, closing)

    async def _connect(self, keys: Sequence[str]) -> Endpoints:
        settings = self.settings
        return Endpoints(
            [
                connect(url, key, settings.concurrency)
                for url, key in zip(settings.urls, keys, strict=True)
            ],
            timeout=settings.timeout,
            retries=settings.retries,
            first_wait=settings.first_wait,
            key_name=settings.api_key_env,
            patience=self.patience,
        )

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """The servers, with how they were found."""
        return self._endpoints.endpoints

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """One answer for each query, in the same order."""
        return self._loop.run(self._judge(queries))

    def close(self) -> None:
        """Closes the connections; done on its own when nobody holds the judge any more."""
        self._end()

    async def _judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        async with asyncio.TaskGroup() as together:
            tasks = [together.create_task(self._answer(query)) for query in queries]
        return [task.result() for task in tasks]

    async def _answer(self, query: Query) -> Verdict | JudgeFailure:
        async with self._asks:
            # Drawing, resizing and packing in other threads: the loop stays free for the network.
            packed = await asyncio.to_thread(pack, query, self.wording, self._shape)
            answers = await asyncio.gather(*(self._reply(*one) for one in packed))
        return verdict(query, answers)

    async def _reply(self, asked: Question, messages: Messages) -> Verdict | JudgeFailure:
        """The answer to one question; what cannot be read is asked again with another seed."""
        wording, reply, reason = self.wording, "", ""
        tokens: int | None = None
        guided = True
        for attempt in range(wording.retries_unreadable + 1):
            try:
                completion = await self._complete(asked, messages, attempt, guided)
            except Unanswered as error:
                return JudgeFailure(error.reason, error.reply, tokens)
            reply, tokens = completion.text, total([tokens, completion.tokens])
            # A schema lets a model fill the limit with white space: not a second time.
            guided = guided and not completion.cut_off
            if completion.lacking:
                reason = completion.lacking
                if completion.final:
                    break
                continue
            if completion.cut_off:
                reason = f"it was cut off after {wording.max_tokens} tokens (wording.max_tokens)"
                continue
            try:
                return replace(asked.read(reply), tokens=tokens)
            except Unreadable as error:
                reason = str(error)
        return JudgeFailure(f"the reply cannot be read: {reason}", reply, tokens)

    async def _complete(
        self, asked: Question, messages: Messages, attempt: int, guided: bool
    ) -> Completion:
        """A completion; by a schema where the servers take it. Raises Unanswered."""
        while True:
            guide = self._guide if guided else None
            schema = _guide_schema(asked, guide)
            request = self._shape.body(
                {
                    "model": self.settings.model,
                    "messages": messages,
                    "max_tokens": self.wording.max_tokens,
                    "temperature": self.wording.temperature_at(attempt),
                    "seed": attempt,
                    "response_format": schema,
                }
            )
            try:
                async with self._requests:
                    return await self._endpoints.complete(request)
            except Unanswered as error:
                if error.field != "response_format" or guide is None:
                    raise
                self._weaken(guide, error)

    def _weaken(self, refused: str, error: Unanswered) -> None:
        """After a refusal: the next weaker guide, once for all requests that met it."""
        if self._guide != refused:
            return
        self._guide = "plain" if refused == "bounded" else None
        if self._guide is None:
            say(
                f"{error.reason}. From here on the judge is asked without one, and replies are "
                "read as they come."
            )


def _guide_schema(asked: Question, guide: str | None) -> dict[str, Any] | None:
    """The field that guides a reply: by the schema, by the schema without its bounds, by none."""
    if guide is None:
        return None
    schema = dict(asked.schema)
    return response_format(asked.name, schema if guide == "bounded" else without_bounds(schema))


def pack(
    query: Query, wording: MLLMSettings, shape: RequestShape
) -> list[tuple[Question, Messages]]:
    """The questions of a query with the messages that put them; an image is packed once."""
    questions = question(query, wording)
    images = {id(image): image for asked in questions for image in asked.images}
    urls = {key: data_url(image) for key, image in images.items()}
    return [
        (asked, shape.messages(asked.system, asked.text, [urls[id(one)] for one in asked.images]))
        for asked in questions
    ]


def data_url(image: np.ndarray) -> str:
    """An image, uint8 [height, width, 3], as a PNG in a data URL: not a pixel changes."""
    png = io.BytesIO()
    Image.fromarray(image).save(png, format="PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


class LoopThread:
    """An event loop in a daemon thread of its own, with a few more to draw and pack in."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.packing = ThreadPoolExecutor(PACKERS, thread_name_prefix="judge packing")
        self.loop.set_default_executor(self.packing)
        self.thread = threading.Thread(
            target=self.loop.run_forever, name="judge requests", daemon=True
        )
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns; when the waiting is interrupted, so is the work."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            future.cancel()

    def stop(self, closing: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Runs the closing functions in the loop, then ends it."""

        async def close() -> None:
            for one in closing:
                await one()
            self.loop.stop()

        asyncio.run_coroutine_threadsafe(close(), self.loop)
        # A collector that runs in the loop's own thread must not wait for it.
        if threading.current_thread() is not self.thread:
            self.thread.join()
            self.packing.shutdown()
            self.loop.close()

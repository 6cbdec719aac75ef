"""One thread owns the models; whatever needs them waits in line.

A job says what happens to it as events: its place in the queue, what the work reports, and how it
ended. Whoever asked may go away at any time: a job that nobody listens to is cancelled, and stops
at its next report.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from got_r1.errors import BadInput, RunFailed

__all__ = ["Busy", "Cancelled", "Event", "Job", "Worker"]

Event = dict[str, Any]
"""What happened: `kind` and, by kind, more. "queued" has the `place` in line, 0 while it runs;
"done" and "failed" are the last of a job, "failed" with a `message` for people."""

_LAST = ("done", "failed")
_log = logging.getLogger(__name__)


class Cancelled(Exception):
    """Nobody wants the result any more."""


class Busy(Exception):
    """The queue is full."""


class Job:
    """A piece of work in the queue. The worker's thread calls `emit`; the server's loop reads
    `events`."""

    def __init__(self, work: Callable[[Job], Event], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.cancelled = threading.Event()
        self._loop = loop
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def emit(self, kind: str, **more: Any) -> None:
        """Reports something. Raises Cancelled where nobody listens any more."""
        if self.cancelled.is_set():
            raise Cancelled
        self.put({"kind": kind, **more})

    def put(self, event: Event) -> None:
        """Hands an event to the server's loop, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:  # the loop is closed: the server has ended
            self.cancelled.set()

    async def events(self) -> AsyncIterator[Event]:
        """All events until the last; the job is cancelled where the reader leaves before."""
        try:
            while True:
                event = await self._events.get()
                yield event
                if event["kind"] in _LAST:
                    return
        finally:
            self.cancelled.set()


class Worker:
    """Runs jobs one after the other in a thread of its own. `most`: of those that wait."""

    def __init__(self, most: int = 64) -> None:
        self.most = most
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="studio-worker", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Job], Event]) -> Job:
        """Queues a piece of work, which returns what its "done" event holds.

        Called in the server's loop. Raises Busy where too many wait already.
        """
        job = Job(work, asyncio.get_running_loop())
        with self._changed:
            self._drop_cancelled()
            if len(self._waiting) >= self.most:
                raise Busy
            self._waiting.append(job)
            job.put({"kind": "queued", "place": len(self._waiting)})
            self._changed.notify()
        return job

    def close(self) -> None:
        """Cancels what waits; the job that runs ends at its next report."""
        with self._changed:
            self._closed = True
            for job in self._waiting:
                job.cancelled.set()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job = self._waiting.popleft()
                self._drop_cancelled()
                for place, other in enumerate(self._waiting, 1):
                    other.put({"kind": "queued", "place": place})
            if not job.cancelled.is_set():
                self._do(job)

    def _do(self, job: Job) -> None:
        try:
            job.emit("queued", place=0)
            job.put({"kind": "done", **job.work(job)})
        except Cancelled:
            pass
        except (BadInput, RunFailed) as error:
            job.put({"kind": "failed", "message": str(error)})
        except Exception:  # a job's fault must not end the worker
            _log.exception("a job of the studio failed")
            message = "something went wrong inside got-r1; the terminal of the server says what."
            job.put({"kind": "failed", "message": message})

    def _drop_cancelled(self) -> None:
        left = [job for job in self._waiting if not job.cancelled.is_set()]
        self._waiting.clear()
        self._waiting.extend(left)

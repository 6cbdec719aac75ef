"""A tracker in a process of its own, so that it can neither slow nor stop a training run.

Its library's threads, prompts, signal handlers and prints stay there, and a server that does not
answer is waited for there. What a run logs travels by pickle over standard input. The process ends
with its input, after it has written what it was given: also where the run was killed.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

from got_r1.errors import first_line
from got_r1.files.trackers.base import GalleryRow, TrackedRun, Tracker
from got_r1.progress import note

__all__ = ["TrackerProcess", "connect", "serve"]

PATIENCE = 60.0  # seconds that a tracker may take to end after its run (our choice)
BACKLOG = 64 << 20  # bytes that wait for a tracker, at most (our choice)


def connect(name: str, run: TrackedRun) -> Tracker:
    """Opens a tracker by its name in `run.track`."""
    match name:
        case "wandb":
            from got_r1.files.trackers.wandb_run import WandbRun

            return WandbRun(run, PATIENCE)
        case "trackio":
            from got_r1.files.trackers.trackio_run import TrackioRun

            return TrackioRun(run, PATIENCE)
        case _:
            raise ValueError(name)


class TrackerProcess:
    """Hands what a run logs to a tracker's process, and says in one sentence where that fails.

    Steps up to `shown` are left out: the tracker has them already.
    """

    def __init__(self, name: str, run: TrackedRun, shown: int = 0) -> None:
        self.name = name
        self._shown = shown
        self._over = False  # closed, or failed
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._backlog = 0
        self._state = threading.Lock()  # of the two above
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the run, which then ends us
        )
        self._threads = [
            threading.Thread(target=target, name=f"{name} {target.__name__}", daemon=True)
            for target in (self._write, self._listen)
        ]
        for thread in self._threads:
            thread.start()
        self._send((name, run))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Hands over one step's metrics; returns at once."""
        if step > self._shown:
            self._send(("log", step, dict(metrics)))

    def gallery(self, step: int, rows: Sequence[GalleryRow]) -> None:
        """Hands over a step's samples; returns at once."""
        if step > self._shown:
            self._send(("gallery", step, list(rows)))

    def close(self, wait: float) -> None:
        """Waits for the tracker to end, `wait` seconds at most; it goes on alone after that."""
        self._waiting.put(None)
        try:
            self._process.wait(wait)
        except subprocess.TimeoutExpired:
            self._over = True
            return
        self._threads[1].join(wait)  # its last words

    def _send(self, message: object) -> None:
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        with self._state:
            if self._over:
                return
            self._backlog += len(data)
            late = self._backlog > BACKLOG
        if late:
            self._fail("it does not keep up")
            self._process.kill()
        else:
            self._waiting.put(data)

    def _fail(self, why: str) -> None:
        with self._state:
            told, self._over = self._over, True
        if not told:
            note(f"{self.name} has stopped tracking this run, which is not affected: {why}.")

    def _write(self) -> None:
        """Sends what waits, until the run has ended or the process has."""
        pipe = self._process.stdin
        assert pipe is not None
        with suppress(OSError):  # it has ended: `_listen` says so
            while (data := self._waiting.get()) is not None:
                pipe.write(data)
                pipe.flush()
                with self._state:
                    self._backlog -= len(data)
        with suppress(OSError):
            pipe.close()

    def _listen(self) -> None:
        """Hears what fails, until the process has ended."""
        assert self._process.stdout is not None
        with self._process.stdout as said:
            for line in said:
                self._fail(line.decode(errors="replace").strip())
        if code := self._process.wait():
            self._fail(f"its process ended with exit code {code}")


# -- in the process --------------------------------------------------------------------------------


def serve() -> None:
    """Tracks what comes over standard input, until it ends."""
    given, said = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What libraries print is no answer, and nobody is there to be asked.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)

    def tell(why: str) -> None:
        with suppress(OSError):  # the run has ended
            said.write(f"{why}\n".encode(errors="replace"))
            said.flush()

    def track() -> None:
        tracker = connect(*pickle.load(given))
        try:
            while True:
                method, step, content = pickle.load(given)
                getattr(tracker, method)(step, content)
        except (EOFError, pickle.UnpicklingError):  # the run has ended, or was killed in a message
            # Whatever the library waits for: nothing of it outlives the run for long.
            watch = threading.Timer(2 * PATIENCE, os._exit, [1])
            watch.daemon = True
            watch.start()
            tracker.close(PATIENCE)

    try:
        track()
    except Exception as error:
        tell(first_line(error))
        os._exit(0)  # no hook at exit may wait for what has failed

"""A served judge in a worker process, so that asking does not slow the sampling it hides behind.

Packing pictures and talking HTTP is Python's work, some milliseconds a query. In a thread it takes
turns with the sampler for the interpreter's lock, and every call of torch may have to wait its
turn: for the embedded model that cost more time than the work itself.

Queries and answers travel by pickle over the worker's standard input and output. The worker ends
with its input, so it outlives nobody, not even a parent that was killed. (`multiprocessing` would
do neither that nor without importing the user's script a second time.)
"""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TextIO, cast

from got_r1.errors import GotR1Error, RunFailed
from got_r1.files.redaction import CleanStream, redact, remember_environment
from got_r1.judges.settings import MLLMSettings, OpenAISettings
from got_r1.records import JudgeFailure, Query, Verdict

__all__ = ["WorkerJudge"]

Answers = list[Verdict | JudgeFailure]


class WorkerJudge:
    """`openai_api.OpenAIJudge` in a worker process; may be asked from several threads at once.

    The worker starts with the judge and is needed with the first query: what it imports takes a
    second that passes while a policy is loaded or the first chains are written.
    """

    def __init__(
        self, settings: OpenAISettings, wording: MLLMSettings, patience: float = 0.0
    ) -> None:
        self.settings, self.wording = settings, wording
        self._worker = _Worker(settings, wording, patience)
        self._end = weakref.finalize(self, self._worker.stop)

    def judge(self, queries: Sequence[Query]) -> Answers:
        """One answer for each query, in the same order.

        Raises:
            RunFailed: the worker has ended, by somebody's hand or for want of memory.
        """
        return self._worker.ask(queries)

    def close(self) -> None:
        """Ends the worker; done on its own when nobody holds the judge any more."""
        self._end()


class _Worker:
    """The process, and what it was asked and has not answered yet."""

    def __init__(self, *settings: object) -> None:
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            "from got_r1.judges.worker import serve; serve()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the parent, who then ends us
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Answers]] = {}
        self._ended = False
        self._state = threading.Lock()  # of the two above
        self._writing = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="judge answers", daemon=True)
        self._reader.start()
        self._send(pickle.dumps(settings))

    def ask(self, queries: Sequence[Query]) -> Answers:
        number, future = next(self._numbers), Future[Answers]()
        message = pickle.dumps((number, list(queries)), protocol=pickle.HIGHEST_PROTOCOL)
        with self._state:
            if self._ended:
                raise self._gone()
            self._waiting[number] = future
        self._send(message)
        return future.result()

    def stop(self) -> None:
        """Ends the process and waits for it: nothing that it does is worth finishing."""
        self._process.kill()
        self._process.wait()
        if threading.current_thread() is not self._reader:  # a collector may run anywhere
            self._reader.join()
        for pipe in (self._input, self._output):
            with suppress(OSError):  # what could not be sent any more
                pipe.close()

    def _send(self, message: bytes) -> None:
        with self._writing:
            try:
                self._input.write(message)
                self._input.flush()
            except BrokenPipeError:
                pass  # the reader finds out too, and tells who waits
            except BaseException:
                self._process.kill()  # half a message was sent: what follows would be misread
                raise

    def _read(self) -> None:
        """Hands answers to who waits for them, until the process has ended."""
        # Its end is an EOFError; whatever else goes wrong here, nobody must wait for ever.
        with suppress(Exception):
            while True:
                number, said = pickle.load(self._output)
                with self._state:
                    future = self._waiting.pop(number)
                if isinstance(said, Exception):
                    future.set_exception(said)
                else:
                    future.set_result(said)
        self._process.kill()
        self._process.wait()
        with self._state:
            self._ended = True
            left = list(self._waiting.values())
            self._waiting.clear()
        for future in left:
            future.set_exception(self._gone())

    def _gone(self) -> RunFailed:
        return RunFailed(
            "the worker process that asks the judge has ended (exit code "
            f"{self._process.returncode}): start again, a run with --resume"
        )


# -- in the worker ---------------------------------------------------------------------------------


def serve() -> None:
    """Answers what comes over standard input, batches at the same time, until it ends."""
    from got_r1.judges.openai_api import OpenAIJudge

    asked, said = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what others print is no answer
    sys.stderr = cast(TextIO, CleanStream(sys.stderr))
    remember_environment()
    writing = threading.Lock()

    def answer(number: int, queries: Sequence[Query]) -> None:
        answers: Answers | Exception
        try:
            answers = judge.judge(queries)
        except GotR1Error as error:
            answers = error
        except Exception:
            trace = redact(traceback.format_exc())
            answers = RuntimeError(f"in the judge's worker process:\n{trace}")
        message = pickle.dumps((number, answers), protocol=pickle.HIGHEST_PROTOCOL)
        with writing:
            said.write(message)
            said.flush()

    with suppress(EOFError):
        judge = OpenAIJudge(*pickle.load(asked))
        while True:
            threading.Thread(target=answer, args=pickle.load(asked), daemon=True).start()
    os._exit(0)  # whoever asked is gone: nothing is worth finishing

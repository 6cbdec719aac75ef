"""Work beside the main thread that nobody waits for once the program is interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["in_threads"]

T = TypeVar("T")


@contextmanager
def in_threads(works: Sequence[Callable[[], T]]) -> Iterator[list[Future[T]]]:
    """Starts each piece of work in a thread of its own; its result is in its future.

    After an error inside the block, the work is waited for; after Ctrl-C and SIGTERM
    (KeyboardInterrupt) it is not: a judge may hang. `ThreadPoolExecutor` would wait for it, in the
    block and again at the end of the program.
    """
    futures: list[Future[T]] = [Future() for _ in works]

    def run(work: Callable[[], T], future: Future[T]) -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    for work, future in zip(works, futures, strict=True):
        threading.Thread(target=run, args=(work, future), name="judging", daemon=True).start()
    try:
        yield futures
    except Exception:
        wait(futures)
        raise

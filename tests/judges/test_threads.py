"""Work beside the main thread: waited for after errors, not after an interruption."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from got_r1.judges.threads import in_threads


def test_results_and_errors_come_through_futures() -> None:
    def broken() -> int:
        raise ZeroDivisionError

    with in_threads([partial(int, "7"), broken]) as (good, bad):
        assert good.result(60) == 7
        with pytest.raises(ZeroDivisionError):
            bad.result(60)


def test_all_pieces_run_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=60)
    with in_threads([meeting.wait, meeting.wait]) as futures:
        meeting.wait()
        assert {future.result(60) for future in futures} <= {0, 1, 2}


def test_an_interruption_does_not_wait_for_work_that_hangs() -> None:
    release = threading.Event()
    with pytest.raises(KeyboardInterrupt), in_threads([release.wait]) as (hanging,):
        raise KeyboardInterrupt
    assert not hanging.done()
    release.set()


def test_an_error_waits_for_the_work() -> None:
    release = threading.Event()
    threading.Timer(0.2, release.set).start()
    with pytest.raises(ZeroDivisionError), in_threads([partial(release.wait, 60)]) as (slow,):
        raise ZeroDivisionError
    assert slow.done()

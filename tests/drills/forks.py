"""Commands that are killed: in a fork of this process, which has imported everything already."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from got_r1.cli import main

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True, slots=True)
class Kill:
    """When SIGKILL comes: before the `at`-th change of the file system (file opened for writing,
    renamed, removed ...), or `at` seconds after the start; or SIGXFSZ, which nobody handles, when
    a file is about to grow above `at` bytes: in the middle of a write."""

    kind: Literal["change", "seconds", "bytes"]
    at: float


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command has ended: its exit code, minus the signal where one ended it; the changes of
    the file system that it made, and what it said."""

    code: int
    changes: int
    said: str


def run(argv: Sequence[str], folder: Path, kill: Kill | None = None) -> Ended:
    """Runs `got-r1 ARGV` in a fork. Changes are counted below the folder that holds `folder`, where
    parts are written; files beside `folder` take the output and the count."""
    said, counted = Path(f"{folder}.said"), Path(f"{folder}.changes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: none is used
        pid = os.fork()
    if pid == 0:
        _child(argv, folder, kill, said, counted)
    timer = None
    if kill and kill.kind == "seconds":
        timer = threading.Timer(kill.at, os.kill, (pid, signal.SIGKILL))
        timer.start()
    # Not reaped before the timer has ended: its process id may not be another's by then.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    if timer:
        timer.cancel()
        timer.join()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    changes = int(counted.read_text()) if code >= 0 else 0
    return Ended(code, changes, said.read_text())


def _child(argv: Sequence[str], folder: Path, kill: Kill | None, said: Path, counted: Path) -> None:
    code = 70
    try:
        with said.open("w") as output:
            sys.stdout = sys.stderr = output
            count = _count_changes(
                folder.parent, kill.at if kill and kill.kind == "change" else None
            )
            if kill and kill.kind == "bytes":
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_FSIZE, (int(kill.at), int(kill.at)))
            try:
                code = main(argv)
            except BaseException:
                traceback.print_exc()
        counted.write_text(str(count[0]))
    finally:
        os._exit(code)


def _count_changes(folder: Path, killed_at: float | None) -> list[int]:
    """Starts to count; the list's one number grows."""
    count, below = [0], str(folder.resolve())

    def hear(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if not isinstance(args[0], str | bytes) or not args[2] & WRITES:
                return
        elif event not in CHANGES:
            return
        path = os.fsdecode(args[0])
        # shutil.rmtree names files by the folder that it has open.
        if os.path.isabs(path) and not os.path.realpath(path).startswith(below):  # noqa: PTH117
            return
        if killed_at is not None and count[0] >= killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        count[0] += 1

    sys.addaudithook(hear)
    return count

"""The command line: arguments, exit codes, and one sentence for every mistake."""

from __future__ import annotations

import argparse
import errno
import os
import select
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from got_r1 import __version__
from got_r1.commands import COMMANDS
from got_r1.commands.arguments import Parser
from got_r1.errors import BadInput, GotR1Error

__all__ = ["main", "run"]

FULL = (errno.ENOSPC, errno.EDQUOT)


INTERRUPTED = "{}; the same command goes on, train and sample with --resume."
GRACE = 1.5  # seconds to come to an end after Ctrl-C or SIGTERM


class Terminated(KeyboardInterrupt):
    """SIGTERM: it ends a command in the same way as Ctrl-C."""


def run() -> NoReturn:
    """The console script."""
    end_on_signals()
    code = main(sys.argv[1:])
    if code > 128:  # the threads of a judge that hangs are not waited for
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str]) -> int:
    """Runs one command and returns its exit code: 0, 1 (the run failed), 2 (bad input),
    130 (Ctrl-C) or 143 (SIGTERM).

    What a user can cause ends in one sentence on stderr. Anything else is our fault and keeps its
    traceback.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    threading.excepthook = silence_full_disk
    try:
        args = parse(argv)
        args.command(args)
    except GotR1Error as error:
        return complain(str(error), error.exit_code)
    except Terminated:
        return complain(INTERRUPTED.format("terminated"), 128 + signal.SIGTERM)
    except KeyboardInterrupt:
        return complain(INTERRUPTED.format("interrupted"), 128 + signal.SIGINT)
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno in FULL:
            return complain("the disk is full; free some space, nothing was half-written.", 1)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return complain(f"no permission for {error.filename}; choose another path.", 2)
        if error.errno == errno.ENAMETOOLONG:
            return complain(f"{str(error.filename)[:60]}... is too long for a path.", 2)
        raise
    except (MemoryError, RuntimeError) as error:
        if not speaks_of_memory(error):
            raise
        reason = str(error).strip().split(". ")[0] or "no memory left"
        return complain(
            f"out of memory ({reason}): sample takes a smaller --batch, train a smaller "
            "scale.rollout_batch, rl.micro_batch or scale.micro_tokens (--dry-run tells what needs "
            "most); what was saved is whole, and both go on with --resume.",
            1,
        )
    return 0


def end_on_signals() -> None:
    """Ctrl-C and SIGTERM end this process within `GRACE`, a second one at once.

    Python raises KeyboardInterrupt in the main thread between two of its instructions, which may
    take long to come: inside a computation, or while something is cleaned up. So a thread hears of
    the signal too, and ends the process if it is still there. A signal that is ignored (nohup)
    stays ignored. Under torchrun, `training.distributed` answers SIGTERM.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end_main_thread)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_main_thread)
    heard, sent = os.pipe()
    os.set_blocking(sent, False)
    signal.set_wakeup_fd(sent, warn_on_full_buffer=False)

    def watch() -> None:
        number = 0
        while number not in (signal.SIGINT, signal.SIGTERM):
            number = os.read(heard, 1)[0]
        if not select.select([heard], [], [], GRACE)[0]:
            told = "interrupted" if number == signal.SIGINT else "terminated"
            complain(INTERRUPTED.format(told), 0)
        os._exit(128 + number)

    # The thread takes no signal itself: whoever blocks one in the main thread means everybody.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    threading.Thread(target=watch, name="signals", daemon=True).start()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_main_thread(number: int, frame: object) -> NoReturn:
    """The handler of the first Ctrl-C or SIGTERM.

    Later signals do not raise again, which would break into what the first one ends and into the
    sentence about it: the thread of `end_on_signals` answers them.
    """
    for each in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(each) is end_main_thread:
            signal.signal(each, lambda number, frame: None)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def speaks_of_memory(error: Exception) -> bool:
    """Whether a device or this machine has no memory left: torch raises plain RuntimeErrors."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def silence_full_disk(args: threading.ExceptHookArgs) -> None:
    """Says nothing of a full disk in a thread: TensorBoard writes in one of its own, and the run's
    next write says it in a sentence."""
    if not (isinstance(args.exc_value, OSError) and args.exc_value.errno in FULL):
        threading.__excepthook__(args)


def complain(sentence: str, code: int) -> int:
    """Prints one sentence to stderr; returns the exit code."""
    print(f"got-r1: {' '.join(sentence.split())}", file=sys.stderr)  # noqa: T201
    return code


# -- arguments -------------------------------------------------------------------------------------


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments as a namespace, whose `command` is the function to call.

    Overrides may stand before and behind options, which argparse alone cannot do: what it leaves
    over is taken as overrides where the command has them.
    """
    parser = make_parser()
    args, rest = parser.parse_known_args(argv)
    unknown = [word for word in rest if word.startswith("-") or not hasattr(args, "overrides")]
    if unknown:
        raise BadInput(f"unrecognized argument {unknown[0]} ({args.prog} --help explains).")
    if rest:
        args.overrides = [*args.overrides, *rest]
    return args


def make_parser() -> Parser:
    """The parser of every command."""
    parser = Parser(
        prog="got-r1",
        description="Train, sample, judge and measure image models that plan before they draw.",
        epilog="Start with: got-r1 train rl icons",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"got-r1 {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)

    for command in COMMANDS:
        command.register(subparsers)
    return parser

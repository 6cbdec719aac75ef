"""The command line: arguments, exit codes, and one sentence for every mistake."""

from __future__ import annotations

import argparse
import atexit
import errno
import gc
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from types import TracebackType
from typing import NoReturn, TextIO, cast

from got_r1 import __version__
from got_r1.commands import COMMANDS
from got_r1.commands.arguments import Parser, did_you_mean
from got_r1.errors import BadInput, GotR1Error, interrupt
from got_r1.files.parsing import REPLACED, valid_unicode
from got_r1.files.redaction import CleanStream, redact, remember_environment

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
        leave(code)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # When the interpreter takes torch down, a thread of gloo's may abort the process, and
        # torchrun would report that a run failed whose last step is long on the disk.
        atexit._run_exitfuncs()
        leave(code)
    gc.freeze()  # the interpreter's end would otherwise look at every object of torch, for a second
    sys.exit(code)


def leave(code: int) -> NoReturn:
    """Ends the process as it is: no thread is waited for, and nothing is taken down."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def main(argv: Sequence[str]) -> int:
    """Runs one command and returns its exit code: 0, 1 (the run failed), 2 (bad input),
    3 (what was checked does not hold), 4 (an alarm ended a run), 130 (Ctrl-C) or 143 (SIGTERM).

    What a user can cause ends in one sentence on stderr. Anything else is our fault and keeps its
    traceback.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    threading.excepthook = silence_full_disk
    sys.excepthook = print_traceback
    remember_environment()
    with clean_output():
        try:
            args = parse([valid_unicode(word, "arguments") for word in argv])
            args.command(args)
        except SystemExit:  # --help, --version
            raise
        except BaseException as error:
            code = explain(error)
            if code is None:
                raise
            return code
    return 0


def explain(error: BaseException) -> int | None:
    """Says in one sentence why a command has ended; returns the exit code. None, and not a word,
    for what is our fault."""
    told = interrupt(error)
    if isinstance(told, Terminated):
        return complain(INTERRUPTED.format("terminated"), 128 + signal.SIGTERM)
    if told is not None:
        return complain(INTERRUPTED.format("interrupted"), 128 + signal.SIGINT)
    if isinstance(error, GotR1Error):
        return complain(str(error), error.exit_code)
    if isinstance(error, BrokenPipeError):  # the reader (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, OSError):
        if error.errno in FULL:
            return complain("the disk is full; free some space, nothing was half-written.", 1)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return complain(f"no permission for {error.filename}; choose another path.", 2)
        if error.errno == errno.ENAMETOOLONG:
            return complain(f"{str(error.filename)[:60]}... is too long for a path.", 2)
    if isinstance(error, MemoryError | RuntimeError) and speaks_of_memory(error):
        reason = str(error).strip().split(". ")[0] or "no memory left"
        return complain(
            f"out of memory ({reason}): sample takes a smaller --batch, train a smaller "
            "scale.rollout_batch, rl.micro_batch or scale.micro_tokens (--dry-run tells what needs "
            "most); what was saved is whole, and both go on with --resume.",
            1,
        )
    return None


@contextmanager
def clean_output() -> Iterator[None]:
    """Inside the block no secret is printed; behind it people hear what was no valid Unicode."""
    REPLACED.clear()
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(cast(TextIO, CleanStream(sys.stdout))))
        stack.enter_context(redirect_stderr(cast(TextIO, CleanStream(sys.stderr))))
        try:
            yield
        finally:
            for source, count in REPLACED.items():
                complain(
                    f"{count} character{'s' * (count > 1)} of {source} had no valid Unicode "
                    "and became U+FFFD.",
                    0,
                )


def print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """`sys.excepthook`: Python's own, without secrets."""
    text = "".join(traceback.format_exception(kind, error, trace))
    print(valid_unicode(redact(text)), end="", file=sys.stderr)  # noqa: T201


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
        print_traceback(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)


def complain(sentence: str, code: int) -> int:
    """Prints one sentence to stderr; returns the exit code."""
    print(f"got-r1: {redact(' '.join(sentence.split()))}", file=sys.stderr)  # noqa: T201
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
        meant = did_you_mean(unknown[0].partition("=")[0], list(args.parser.options()))
        raise BadInput(
            f"unrecognized argument {unknown[0]}{meant} ({args.parser.prog} --help explains)."
        )
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

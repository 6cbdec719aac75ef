"""The errors that users see: one sentence that says what is wrong, where, and what to do.

The command line prints them without a traceback. `BadInput` ends with exit code 2 (the user can
fix it), `RunFailed` with 1 (the run broke; what was written stays usable), `ChecksFailed` with 3
(the command did its work, and what it checked does not hold), `StoppedByAlarm` with 4 (a run ended
early because its recipe says so).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

__all__ = [
    "BadInput",
    "ChecksFailed",
    "GotR1Error",
    "RunFailed",
    "StoppedByAlarm",
    "causes",
    "explained",
    "first_line",
    "interrupt",
    "listed",
    "quoted",
]


class GotR1Error(Exception):
    """Base of the errors whose message is written for the user."""

    exit_code = 1


class BadInput(GotR1Error):
    """A recipe, file or argument cannot be used as given."""

    exit_code = 2


class RunFailed(GotR1Error):
    """A run could not go on: full disk, too many judge failures, a lost process."""

    exit_code = 1


class StoppedByAlarm(GotR1Error):
    """A training run was ended by an alarm, as its recipe says; everything is saved."""

    exit_code = 4


class ChecksFailed(GotR1Error):
    """A command that checks something has done so, and it does not hold."""

    exit_code = 3


def quoted(text: str, longest: int = 60) -> str:
    """A prompt in quotation marks for a message; dots where it is cut at `longest` characters."""
    return repr(text if len(text) <= longest else f"{text[:longest].rstrip()}...")


def first_line(error: BaseException) -> str:
    """What a library's error says first, to stand in a sentence of ours (without its full stop);
    its type where it says nothing."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    first = f"{lines[0]} {lines[1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    return first.rstrip(".")


@contextmanager
def explained(tell: Callable[[Exception], GotR1Error]) -> Iterator[None]:
    """Around a library that reads a user's files: what it raises, of whatever class, becomes the
    error that `tell` makes of it.

    A damaged setting may raise anything in a library (KeyError, IndexError, classes of its own).
    """
    try:
        yield
    except (GotR1Error, MemoryError):
        raise
    except Exception as error:
        raise tell(error) from error


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and every other that led to it."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def interrupt(error: BaseException) -> KeyboardInterrupt | None:
    """The Ctrl-C or SIGTERM that led to an error; None where there was none.

    Libraries make errors of their own of it ("cannot be read"), and so do we of those, or something
    goes wrong while they clean up behind it.
    """
    return next((one for one in causes(error) if isinstance(one, KeyboardInterrupt)), None)


def listed(names: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """The first names of a list for a sentence, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + more

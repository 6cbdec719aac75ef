"""What all commands share: the parser, the types of arguments, and how a result is shown."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from got_r1.errors import BadInput

__all__ = [
    "MODEL_HELP",
    "Parser",
    "add",
    "add_overrides",
    "add_sampling",
    "at_least",
    "empty_folder",
    "guidance",
    "positive",
    "show",
]

MODEL_HELP = "model folder, hub name (OWNER/NAME[@REVISION]), or 'icons' for the shipped one"


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are sentences like all others."""

    reference: Callable[[], str] | None = None
    """What `--help` ends with, made only when it is asked for."""

    def error(self, message: str) -> NoReturn:
        """Raises BadInput instead of exiting."""
        raise BadInput(f"{message} ({self.prog} --help explains).")

    def format_help(self) -> str:
        """The usual help, then the reference."""
        return super().format_help() + (self.reference() if self.reference is not None else "")


def add(
    subparsers: Any, name: str, command: Callable[[argparse.Namespace], None], summary: str
) -> Parser:
    """A command's parser, with what all commands have."""
    description = f"{summary[0].upper()}{summary[1:]}."
    parser: Parser = subparsers.add_parser(
        name, help=summary, description=description, allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(command=command, prog=parser.prog)
    return parser


def add_overrides(parser: Parser) -> None:
    """What a command that reads a recipe takes behind it, and the reference in its help."""
    parser.reference = recipe_reference
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="settings to change"
    )


def recipe_reference() -> str:
    from got_r1.recipes.recipe_file import explain

    return f"\nsettings of a recipe:\n\n{explain()}\n"


def add_sampling(parser: Parser) -> None:
    """Seed and guidance, for whatever draws images."""
    parser.add_argument(
        "--seed", type=at_least(0), default=0, metavar="S", help="sampling seed (0)"
    )
    parser.add_argument(
        "--guidance",
        type=guidance,
        metavar="W",
        help="classifier-free guidance of the image, 1 for none (the model's own, else 5)",
    )


def show(args: argparse.Namespace, result: object, text: str) -> None:
    """Prints a command's result: as JSON where asked for, else as text."""
    as_json = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
    print(as_json if args.json else text)  # noqa: T201


def empty_folder(path: str) -> Path:
    """A folder that nothing is overwritten in. Raises BadInput where it holds something."""
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} exists and is not an empty folder; choose another --out.")
    return folder


# -- types of arguments ----------------------------------------------------------------------------


def at_least(low: int) -> Callable[[str], int]:
    """The type of a whole number of at least `low`."""

    def whole_number(text: str) -> int:
        # 18 digits: more than anything here counts, and fewer than int() refuses to convert.
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or int(text) < low:
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {low}, not {text!r}"
            )
        return int(text)

    return whole_number


def positive(text: str) -> float:
    """The type of a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return value


def guidance(text: str) -> float:
    """The type of a guidance: a number of at least 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of at least 1, not {text!r}")
    return value

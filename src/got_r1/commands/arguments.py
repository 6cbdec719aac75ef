"""What all commands share: the parser, the types of arguments, and how a result is shown."""

from __future__ import annotations

import argparse
import difflib
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from got_r1.errors import BadInput
from got_r1.files.paths import check_path

__all__ = [
    "MODEL_HELP",
    "MOST_SIDE",
    "Parser",
    "add",
    "add_column",
    "add_drawing",
    "add_marks",
    "add_name",
    "add_overrides",
    "add_split",
    "at_least",
    "did_you_mean",
    "empty_folder",
    "file_path",
    "guidance",
    "move",
    "positive",
    "seed",
    "share",
    "show",
]

MOST_SIDE = 8192  # pixels of an image's side
MODEL_HELP = "model folder, hub name (OWNER/NAME[@REVISION]), or 'icons' for the shipped one"


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are sentences like all others."""

    reference: Callable[[Sequence[str]], str] | None = None
    """What `--help` ends with, by the arguments given; made only when it is asked for."""

    given: Sequence[str] = ()
    """The arguments of this command."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As usual, keeping the arguments for the help."""
        self.given = list(args or ())
        return super().parse_known_args(args, namespace)

    def options(self) -> list[str]:
        """The names of the options, such as --json."""
        return list(self._option_string_actions)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            meant = did_you_mean(str(value), [str(choice) for choice in action.choices or ()])
            raise argparse.ArgumentError(action, f"{error.message}{meant}") from None

    def error(self, message: str) -> NoReturn:
        """Raises BadInput instead of exiting."""
        raise BadInput(f"{message} ({self.prog} --help explains).")

    def format_help(self) -> str:
        """The usual help, then the reference."""
        return super().format_help() + (
            self.reference(self.given) if self.reference is not None else ""
        )


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The end of an error about `word`: the most similar of the `known` words, or nothing."""
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def add(
    subparsers: Any, name: str, command: Callable[[argparse.Namespace], None], summary: str
) -> Parser:
    """A command's parser, with what all commands have."""
    description = f"{summary[0].upper()}{summary[1:]}."
    parser: Parser = subparsers.add_parser(
        name, help=summary, description=description, allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(command=command, parser=parser)
    return parser


def add_overrides(parser: Parser, *, stages: Sequence[str] = (), uses: Sequence[str] = ()) -> None:
    """What a command that reads a recipe takes behind it, and the reference in its help: of the
    settings that `uses` names, or that the stage among its arguments reads; with `--help-all`, of
    all settings."""
    parser.reference = lambda given: recipe_reference(stages, uses, given)
    parser.add_argument("--help-all", action="help", help="show every setting of a recipe")
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="settings to change"
    )


def recipe_reference(stages: Sequence[str], uses: Sequence[str], given: Sequence[str]) -> str:
    from got_r1.recipes.recipe_file import explain
    from got_r1.recipes.sections import Recipe
    from got_r1.recipes.stages import STAGES, section_of

    if "--help-all" in given:
        return f"\nsettings of a recipe:\n\n{explain()}\n"
    for stage in STAGES:
        if stage in stages and stage in given:
            uses = getattr(Recipe(), section_of(stage)).uses
    if not uses:
        return f"\nsettings: --help behind {', '.join(stages)} shows its own, --help-all all.\n"
    return f"\nsettings that it reads (--help-all shows all):\n\n{explain(uses)}\n"


def add_column(parser: Parser) -> None:
    """What goes with `--prompts FILE`."""
    parser.add_argument(
        "--column",
        metavar="NAME",
        help="where a record of the file has its prompt, in all formats but text (prompt)",
    )


def add_drawing(parser: Parser, *, batch: int) -> None:
    """What every command takes that draws images; `batch`: how many at once by default."""
    parser.add_argument("--model", required=True, type=file_path, metavar="DIR", help=MODEL_HELP)
    parser.add_argument("--seed", type=seed, default=0, metavar="S", help="sampling seed (0)")
    parser.add_argument(
        "--guidance",
        type=guidance,
        metavar="W",
        help="classifier-free guidance of the image, 1 for none (the model's own, else 5)",
    )
    parser.add_argument(
        "--batch",
        type=at_least(1),
        default=batch,
        metavar="B",
        help=f"images drawn at once, for speed against memory ({batch})",
    )
    add_marks(parser)
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the model's weights (float32)",
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="where to draw (the GPU where there is one)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="draw what is missing of an interrupted --out"
    )
    parser.add_argument(
        "--out", required=True, type=file_path, metavar="DIR", help="new folder for the images"
    )


def add_marks(parser: Parser) -> None:
    """Whether chains are read in the extended grammar."""
    parser.add_argument(
        "--marks",
        action="store_true",
        help="boxes of chains may carry a depth and a time index (docs/depth.md)",
    )


def add_name(parser: Parser) -> None:
    """How an evaluation is called."""
    parser.add_argument(
        "--name", type=file_path, metavar="NAME", help="name in tables (the folder's)"
    )


def add_split(parser: Parser, help_text: str) -> None:
    """Which of a benchmark's prompts."""
    parser.add_argument("--split", choices=("dev", "val"), default="val", help=help_text)


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


def at_least(low: int, most: int = 1_000_000) -> Callable[[str], int]:
    """The type of a whole number from `low` to `most`, which memory has to hold."""

    def whole_number(text: str) -> int:
        # 18 digits: more than anything here counts, and fewer than int() refuses to convert.
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not low <= int(text) <= most:
            shown = text if len(text) <= 40 else f"{text[:37]}..."
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {low} and at most {most:,}, not {shown!r}"
            )
        return int(text)

    return whole_number


def seed(text: str) -> int:
    """The type of a seed."""
    return at_least(0, 10**18 - 1)(text)


def file_path(text: str) -> str:
    """The type of everything that names a file or folder."""
    try:
        return check_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def move(text: str) -> tuple[str, list[int]]:
    """The type of "NAME=x1,y1,x2,y2": where an object of a plan goes."""
    from got_r1.plan.editing import parse_move

    try:
        return parse_move(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a name or number and two or four coordinates, such as "
            f"'blue star=0,0,300,300', not {text!r}"
        ) from None


def positive(text: str) -> float:
    """The type of a number above 0."""
    return finite(text, lambda value: value > 0, "above 0")


def share(text: str) -> float:
    """The type of a share: a number of at least 0 and below 1."""
    return finite(text, lambda value: 0 <= value < 1, "of at least 0 and below 1")


def guidance(text: str) -> float:
    """The type of a guidance: a number of at least 1."""
    return finite(text, lambda value: value >= 1, "of at least 1")


def finite(text: str, fits: Callable[[float], bool], which: str) -> float:
    """A finite number that fits. Raises ArgumentTypeError for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and fits(value)):
        raise argparse.ArgumentTypeError(f"must be a number {which}, not {text!r}")
    return value

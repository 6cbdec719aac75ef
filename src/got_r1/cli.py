"""The command line: arguments, exit codes, and one sentence for every mistake."""

from __future__ import annotations

import argparse
import errno
import math
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from got_r1 import __version__, commands
from got_r1.errors import BadInput, GotR1Error
from got_r1.sample_files import LAYOUTS

__all__ = ["main", "run"]

FULL = (errno.ENOSPC, errno.EDQUOT)
MODEL_HELP = "model folder, or 'icons' for the shipped one"


def run() -> NoReturn:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Runs one command and returns its exit code: 0, 1 (the run failed), 2 (bad input), 130.

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
    except KeyboardInterrupt:
        return complain(
            "interrupted; the same command goes on, train and sample with --resume.", 130
        )
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno in FULL:
            return complain("the disk is full; free some space, nothing was half-written.", 1)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return complain(f"no permission for {error.filename}; choose another path.", 2)
        raise
    return 0


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


def recipe_reference() -> str:
    from got_r1.recipe_file import explain

    return f"\nsettings of a recipe:\n\n{explain()}\n"


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
        epilog="Start with: got-r1 train rl recipes/icons.yaml",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"got-r1 {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)

    one = add(subparsers, "prepare", commands.prepare, "encode SFT data into tokens, once")
    one.reference = recipe_reference
    one.add_argument(
        "recipe", metavar="RECIPE", help="YAML file: its model.path, its data settings"
    )
    one.add_argument("out", metavar="OUT", help="folder of the tokens; a part done is gone on from")
    one.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings to change")

    one = add(subparsers, "train", commands.train, "train a model by a recipe")
    one.reference = recipe_reference
    one.add_argument("stage", choices=("vq", "sft", "rl"), help="image tokens, fine-tuning, GRPO")
    one.add_argument("recipe", metavar="RECIPE", help="YAML file, such as recipes/icons.yaml")
    one.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings to change")
    one.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    dry = one.add_argument_group("before a run")
    dry.add_argument(
        "--dry-run",
        action="store_true",
        help="only say what it would take: parameters, memory, tokens and judge calls; "
        "model.path may be janus-pro-1b or janus-pro-7b",
    )
    dry.add_argument(
        "--processes", type=at_least(1), metavar="N", help="plan for N processes (torchrun's, or 1)"
    )
    dry.add_argument(
        "--gpu-memory",
        type=positive,
        metavar="GIB",
        help="plan for GPUs of this memory (what is here)",
    )

    one = add(subparsers, "sample", commands.sample, "write chains and draw images for a prompt")
    one.add_argument("--model", required=True, metavar="DIR", help=MODEL_HELP)
    what = one.add_mutually_exclusive_group(required=True)
    what.add_argument("--prompt", metavar="TEXT", help="what to draw")
    what.add_argument(
        "--prompts",
        metavar="FILE",
        help="UTF-8 text, a prompt a line, or .jsonl with a column 'prompt'",
    )
    one.add_argument(
        "--n", type=at_least(1), default=1, metavar="N", help="chains for each prompt (1)"
    )
    one.add_argument(
        "--images-per-chain",
        type=at_least(1),
        default=1,
        metavar="M",
        help="images drawn from each chain (1)",
    )
    one.add_argument("--chain", metavar="FILE", help="draw this plan: a chain, or a NNN.json")
    add_sampling(one)
    one.add_argument(
        "--temperature",
        type=positive,
        metavar="T",
        help="of chain and image (1; of the image the model's own, else 1)",
    )
    one.add_argument(
        "--image-temperature", type=positive, metavar="T", help="of the image alone (as above)"
    )
    one.add_argument(
        "--chain-limit",
        type=at_least(1),
        metavar="TOKENS",
        help="longest chain (600, or what a small model's context leaves)",
    )
    one.add_argument(
        "--batch",
        type=at_least(1),
        default=16,
        metavar="B",
        help="images drawn at once, for speed against memory (16)",
    )
    one.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the weights (float32)",
    )
    one.add_argument(
        "--device", choices=("cpu", "cuda"), help="where to draw (the GPU where there is one)"
    )
    one.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="numbered",
        help="NNN.png beside NNN.json, or samples/ named as T2I-CompBench expects (numbered)",
    )
    one.add_argument(
        "--resume", action="store_true", help="draw what is missing of an interrupted --out"
    )
    one.add_argument("--out", required=True, metavar="DIR", help="new folder")

    one = add(
        subparsers, "score", commands.score, "the reward of a chain and an image, term by term"
    )
    one.add_argument("--prompt", required=True, metavar="TEXT", help="what was to be drawn")
    one.add_argument("--chain", required=True, metavar="FILE", help="a chain, or a NNN.json")
    one.add_argument("--image", required=True, metavar="FILE", help="PNG or JPEG file")
    one.add_argument("--judge", default="oracle", metavar="SPEC", help="who judges (oracle)")

    one = add(
        subparsers, "convert", commands.convert, "an official checkpoint to transformers, and back"
    )
    one.add_argument(
        "source", metavar="SRC", help="folder of an official multi_modality checkpoint"
    )
    one.add_argument("destination", metavar="DST", help="new folder in the transformers format")
    one.add_argument(
        "--to-official", action="store_true", help="the other way: SRC is a transformers folder"
    )
    one.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="type of the written weights (the source's)",
    )
    one.add_argument(
        "--shard-size", type=positive, default=2.0, metavar="GB", help="largest shard (2)"
    )
    into = one.add_argument_group("from the official format")
    into.add_argument(
        "--tokenizer", metavar="DIR", help="take tokenizer and processor files from here (SRC)"
    )
    into.add_argument(
        "--vision-heads",
        type=at_least(1),
        metavar="N",
        help="attention heads of an understanding tower that no official name stands for",
    )
    card = one.add_argument_group("model card (with --to-official)")
    card.add_argument("--run", metavar="DIR", help="run folder to read (the one SRC lies in)")
    card.add_argument("--base", metavar="TEXT", help="base model, such as deepseek-ai/Janus-Pro-1B")
    card.add_argument("--data", metavar="TEXT", help="what it was trained on")
    card.add_argument("--judge", metavar="TEXT", help="who scored")
    card.add_argument(
        "--eval", action="append", metavar="FILE", help="evaluation to show; may be repeated"
    )

    group = subparsers.add_parser("eval", help="measure a model on a benchmark", allow_abbrev=False)
    evals = group.add_subparsers(metavar="COMMAND", required=True)

    one = add(
        evals, "generate", commands.eval_generate, "one sample for each prompt of a benchmark"
    )
    one.add_argument("--benchmark", default="icons", metavar="NAME", help="which (icons)")
    one.add_argument("--model", required=True, metavar="DIR", help=MODEL_HELP)
    one.add_argument("--split", choices=("dev", "val"), default="val", help="prompt list (val)")
    one.add_argument("--prompts", type=at_least(1), default=500, metavar="N", help="how many (500)")
    add_sampling(one)
    one.add_argument("--out", required=True, metavar="DIR", help="new folder for the samples")

    one = add(evals, "score", commands.eval_score, "score a folder of samples")
    one.add_argument("folder", metavar="DIR", help="folder that eval generate wrote")
    one.add_argument("--name", metavar="NAME", help="name in tables (the folder's)")

    one = add(evals, "table", commands.eval_table, "evaluations side by side")
    one.add_argument("files", nargs="+", metavar="FILE", help="what eval score wrote")

    one = add(subparsers, "report", commands.report, "build report.html of a run folder")
    one.add_argument("run", metavar="RUN", help="run folder")
    return parser


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


def add_sampling(parser: Parser) -> None:
    parser.add_argument(
        "--seed", type=at_least(0), default=0, metavar="S", help="sampling seed (0)"
    )
    parser.add_argument(
        "--guidance",
        type=guidance,
        metavar="W",
        help="classifier-free guidance of the image, 1 for none (the model's own, else 5)",
    )


def at_least(low: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if not text.lstrip("+-").isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {low}, not {text!r}"
            )
        return int(text)

    return whole_number


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return value


def guidance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of at least 1, not {text!r}")
    return value

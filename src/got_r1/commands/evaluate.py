"""`eval generate|score|table|run`: from a model to the table of a benchmark."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from got_r1.benchmarks.settings import BenchmarkSettings
from got_r1.commands import plans
from got_r1.commands.arguments import (
    MOST_SIDE,
    Parser,
    add,
    add_drawing,
    add_name,
    add_split,
    at_least,
    file_path,
    show,
)
from got_r1.commands.models import make_drawer
from got_r1.errors import BadInput

__all__ = ["register"]

BENCHMARKS = "icons, icons-layouts, compbench or geneval"


def register(subparsers: Any) -> None:
    """Adds the commands."""
    group = subparsers.add_parser(
        "eval", help="measure a model on a benchmark", allow_abbrev=False,
        description="Measure a model on a benchmark.",
        epilog="Example: got-r1 eval run --model icons --prompts 20 --out evals/icons",
    )  # fmt: skip
    evals = group.add_subparsers(metavar="COMMAND", required=True)

    one = add(evals, "generate", generate, "draw the images of a benchmark")
    add_benchmark(one)
    add_generation(one)

    one = add(evals, "score", score, "score a folder of images")
    one.add_argument(
        "folder", type=file_path, metavar="DIR", help="folder that eval generate wrote"
    )
    one.add_argument(
        "--benchmark",
        type=file_path,
        metavar="NAME",
        help="for images made elsewhere, in the official layout: which (compbench, geneval)",
    )
    one.add_argument(
        "--images", type=at_least(1), metavar="N", help="... and how many of each prompt"
    )
    add_data(one)
    add_scoring(one)
    one.add_argument("--device", metavar="NAME", help="where (the GPU where there is one)")

    one = add(evals, "table", table, "evaluations side by side, beside published ones")
    one.add_argument(
        "files", nargs="+", type=file_path, metavar="FILE", help="what eval score wrote"
    )
    add_table(one)

    one = add(evals, "run", run, "generate, score and table in one go")
    add_benchmark(one)
    add_generation(one)
    add_scoring(one)
    add_table(one)

    plans.register(evals)


def add_benchmark(parser: Parser) -> None:
    parser.add_argument(
        "--benchmark", default="icons", type=file_path, metavar="NAME", help=f"{BENCHMARKS} (icons)"
    )
    add_data(parser)


def add_data(parser: Parser) -> None:
    """What a benchmark reads of the user's."""
    parser.add_argument(
        "--data",
        type=lambda text: Path(file_path(text)),
        metavar="PATH",
        help="your copy of the benchmark: T2I-CompBench's folder examples/dataset, or GenEval's "
        "evaluation_metadata.jsonl (where the images were made: as then)",
    )
    parser.add_argument(
        "--category",
        dest="categories",
        action="append",
        type=file_path,
        metavar="NAME",
        help="only this category of T2I-CompBench; may be repeated (all eight)",
    )


def add_generation(parser: Parser) -> None:
    """What drawing takes."""
    add_split(parser, "prompt list; of T2I-CompBench dev are the training prompts (val)")
    parser.add_argument(
        "--prompts",
        type=at_least(1),
        metavar="N",
        help="how many, of each category (icons 500, compbench 300, geneval 553)",
    )
    parser.add_argument(
        "--images",
        type=at_least(1),
        metavar="N",
        help="of each prompt (icons 1, compbench 10, geneval 4)",
    )
    add_drawing(parser, batch=64)


def add_scoring(parser: Parser) -> None:
    """What looks at the images."""
    add_name(parser)
    parser.add_argument(
        "--detector",
        metavar="KIND:MODEL",
        help="grounding_dino, owlv2 or mask2former and its folder or hub id",
    )
    parser.add_argument(
        "--detections",
        action="append",
        type=file_path,
        metavar="FILE",
        help="detections made elsewhere (JSONL) instead of a detector, or CATEGORY=FILE; "
        "may be repeated",
    )
    parser.add_argument(
        "--detections-by",
        type=file_path,
        metavar="NAME",
        help='the detector that made them, as "UniDet RS200"',
    )
    parser.add_argument(
        "--vqa", type=file_path, metavar="MODEL", help="BLIP-VQA (the official one)"
    )
    parser.add_argument(
        "--vqa-size",
        type=at_least(1, MOST_SIDE),
        default=480,
        metavar="PIXELS",
        help="what it sees (480)",
    )
    parser.add_argument("--clip", type=file_path, metavar="MODEL", help="CLIP (the benchmark's)")
    parser.add_argument("--depth", type=file_path, metavar="MODEL", help="DPT (the official one)")
    parser.add_argument(
        "--tagger",
        choices=("auto", "spacy", "fallback"),
        default="auto",
        help="what reads T2I-CompBench's prompts (spaCy where its English model is installed)",
    )
    parser.add_argument(
        "--corrected",
        "--mended",  # its name in earlier versions
        action="store_true",
        help="T2I-CompBench without the plain faults of its code; not comparable",
    )
    parser.add_argument(
        "--option",
        dest="options",
        action="append",
        metavar="NAME=VALUE",
        help="an option of GenEval's script, as threshold=0.3; may be repeated",
    )


def add_table(parser: Parser) -> None:
    """What a table may have besides."""
    parser.add_argument(
        "--ablations", action="store_true", help="also the paper's rows of other rewards"
    )


# -- the commands ----------------------------------------------------------------------------------


def generate(args: argparse.Namespace) -> None:
    """`eval generate`: the images of a benchmark, in its official layout."""
    images = draw(args)
    result = {"folder": args.out, "images": images}
    show(args, result, f"{images} images in {args.out}")


def score(args: argparse.Namespace) -> None:
    """`eval score`: a folder of images in, an evaluation with intervals out."""
    measure(args, Path(args.folder), benchmark=args.benchmark, images_per_prompt=args.images)


def table(args: argparse.Namespace) -> None:
    """`eval table`: evaluations side by side."""
    from got_r1.benchmarks.evaluation import changes
    from got_r1.benchmarks.paper_table import evaluation_tables
    from got_r1.files.inputs import read_json

    evaluations = []
    for path in args.files:
        content = read_json(path, "evaluation")
        if not {"name", "metrics"} <= content.keys():
            raise BadInput(f"{path} is no evaluation; give files that got-r1 eval score wrote.")
        evaluations.append(content)
    text = evaluation_tables(evaluations, ablations=args.ablations)
    show(args, {"evaluations": evaluations, "changes": changes(evaluations)}, text)


def run(args: argparse.Namespace) -> None:
    """`eval run`: generate, score and table."""
    draw(args)
    measure(args, Path(args.out), ablations=args.ablations)


# -- what they share -------------------------------------------------------------------------------


def draw(args: argparse.Namespace) -> int:
    """Draws what the arguments ask for; returns how many images there are."""
    from got_r1.benchmarks.drawing import draw_benchmark

    return draw_benchmark(
        args.benchmark,
        settings_of(args),
        Path(args.out),
        lambda prompts: make_drawer(args, prompts),
        prompts=args.prompts,
        images_per_prompt=args.images,
        resume=args.resume,
    )


def measure(
    args: argparse.Namespace, folder: Path, *, ablations: bool = False, **made_elsewhere: Any
) -> None:
    """Scores a folder and shows its table."""
    from got_r1.benchmarks.paper_table import evaluation_tables
    from got_r1.benchmarks.scoring import RESULT, score_folder

    result = score_folder(
        folder, settings_of(args), name=args.name, quiet=args.json, **made_elsewhere
    )
    text = evaluation_tables([result], ablations=ablations)
    show(args, result, f"{text}\n\nevaluation: {folder / RESULT}")


def settings_of(args: argparse.Namespace) -> BenchmarkSettings:
    """The benchmark's settings among the arguments, which are called the same."""
    given: dict[str, Any] = {}
    for name in (field.name for field in fields(BenchmarkSettings)):
        value = getattr(args, name, None)
        if value:
            given[name] = tuple(value) if isinstance(value, list) else value
    return BenchmarkSettings(**given)

"""`eval generate|score|table|run`: from a model to the table of a benchmark."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from got_r1.commands import plans
from got_r1.commands.arguments import MODEL_HELP, Parser, add, add_sampling, at_least, show
from got_r1.commands.models import load_sampling_policy, rollout_settings
from got_r1.errors import BadInput

if TYPE_CHECKING:
    from got_r1.benchmarks.sample_folder import Manifest
    from got_r1.benchmarks.settings import BenchmarkSettings

__all__ = ["register"]

PROMPT_SEED = 0  # every model is asked the same prompts; --seed is for the sampling
BENCHMARKS = "icons, compbench or geneval"


def register(subparsers: Any) -> None:
    """Adds the commands."""
    group = subparsers.add_parser("eval", help="measure a model on a benchmark", allow_abbrev=False)
    evals = group.add_subparsers(metavar="COMMAND", required=True)

    one = add(evals, "generate", generate, "draw the images of a benchmark")
    add_benchmark(one)
    add_generation(one)

    one = add(evals, "score", score, "score a folder of images")
    one.add_argument("folder", metavar="DIR", help="folder that eval generate wrote")
    one.add_argument(
        "--benchmark",
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
    one.add_argument("files", nargs="+", metavar="FILE", help="what eval score wrote")
    add_table(one)

    one = add(evals, "run", run, "generate, score and table in one go")
    add_benchmark(one)
    add_generation(one)
    add_scoring(one)
    add_table(one)

    plans.register(evals)


def add_benchmark(parser: Parser) -> None:
    parser.add_argument(
        "--benchmark", default="icons", metavar="NAME", help=f"{BENCHMARKS} (icons)"
    )
    add_data(parser)


def add_data(parser: Parser) -> None:
    """What a benchmark reads of the user's."""
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="your copy of the benchmark: T2I-CompBench's folder examples/dataset, or GenEval's "
        "evaluation_metadata.jsonl (where the images were made: as then)",
    )
    parser.add_argument(
        "--category",
        action="append",
        metavar="NAME",
        help="only this category of T2I-CompBench; may be repeated (all eight)",
    )


def add_generation(parser: Parser) -> None:
    """What drawing takes."""
    parser.add_argument("--model", required=True, metavar="DIR", help=MODEL_HELP)
    parser.add_argument(
        "--split",
        choices=("dev", "val"),
        default="val",
        help="prompt list; of T2I-CompBench dev are the training prompts (val)",
    )
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
    add_sampling(parser)
    parser.add_argument(
        "--batch", type=at_least(1), default=64, metavar="B", help="images drawn at once (64)"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the model's weights (float32)",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="where (a GPU if there is one)")
    parser.add_argument(
        "--resume", action="store_true", help="draw what is missing of an interrupted --out"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="new folder for the images")


def add_scoring(parser: Parser) -> None:
    """What looks at the images."""
    parser.add_argument("--name", metavar="NAME", help="name in tables (the folder's)")
    parser.add_argument(
        "--detector",
        metavar="KIND:MODEL",
        help="grounding_dino, owlv2 or mask2former and its folder or hub id",
    )
    parser.add_argument(
        "--detections",
        action="append",
        metavar="FILE",
        help="detections made elsewhere (JSONL) instead of a detector, or CATEGORY=FILE; "
        "may be repeated",
    )
    parser.add_argument(
        "--detections-by", metavar="NAME", help='the detector that made them, as "UniDet RS200"'
    )
    parser.add_argument("--vqa", metavar="MODEL", help="BLIP-VQA (the official one)")
    parser.add_argument(
        "--vqa-size", type=at_least(1), default=480, metavar="PIXELS", help="what it sees (480)"
    )
    parser.add_argument("--clip", metavar="MODEL", help="CLIP (the benchmark's)")
    parser.add_argument("--depth", metavar="MODEL", help="DPT (the official one)")
    parser.add_argument(
        "--tagger",
        choices=("auto", "spacy", "fallback"),
        default="auto",
        help="what reads T2I-CompBench's prompts (spaCy where its English model is installed)",
    )
    parser.add_argument(
        "--mended",
        action="store_true",
        help="T2I-CompBench without the plain faults of its code; not comparable",
    )
    parser.add_argument(
        "--option",
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
    images = draw_images(args)
    result = {"folder": args.out, "images": images}
    show(args, result, f"{images} images in {args.out}")


def score(args: argparse.Namespace) -> None:
    """`eval score`: a folder of images in, an evaluation with intervals out."""
    result = score_folder(args, Path(args.folder))
    show(
        args,
        result,
        f"{side_by_side([result])}\n\nevaluation: {Path(args.folder) / 'eval.json'}",
    )


def table(args: argparse.Namespace) -> None:
    """`eval table`: evaluations side by side."""
    from got_r1.files.inputs import read_json

    evaluations = []
    for path in args.files:
        content = read_json(path, "evaluation")
        if not {"name", "metrics"} <= content.keys():
            raise BadInput(f"{path} is no evaluation; give files that got-r1 eval score wrote.")
        evaluations.append(content)
    text = side_by_side(evaluations, ablations=args.ablations)
    show(args, {"evaluations": evaluations}, text)


def run(args: argparse.Namespace) -> None:
    """`eval run`: generate, score and table."""
    draw_images(args)
    result = score_folder(args, Path(args.out))
    text = side_by_side([result], ablations=args.ablations)
    show(args, result, f"{text}\n\nevaluation: {Path(args.out) / 'eval.json'}")


# -- what they do ----------------------------------------------------------------------------------


def draw_images(args: argparse.Namespace) -> int:
    """Draws a benchmark's images, or those that are missing; returns how many there are then."""
    from got_r1.benchmarks import load_benchmark
    from got_r1.benchmarks.sample_folder import Manifest, write_manifest
    from got_r1.files.atomic import write_text
    from got_r1.files.sample_files import SampleFiles

    benchmark = load_benchmark(args.benchmark, settings_of(args))
    prompts = benchmark.prompts(args.split, args.prompts or benchmark.size, PROMPT_SEED)
    each = args.images or benchmark.images_per_prompt
    out = Path(args.out)
    layouts = benchmark.layouts(out, prompts, each)
    root = SampleFiles(out)
    root.check_folder(args.resume)

    from got_r1.files.weights import fingerprint
    from got_r1.sampling import sample as draw

    policy = load_sampling_policy(args)
    rollout = rollout_settings(policy, prompts, args)
    root.begin(
        {
            "benchmark": args.benchmark,
            "split": args.split,
            "model": args.model,
            "weights": fingerprint(policy.model),
            "dtype": args.dtype,
            "device": policy.device.type,  # each rounds in its own way
            "batch": args.batch,  # ... and so does each batch, a little
            "images": each,
            "seed": args.seed,
            **rollout.model_dump(),
            "prompts": [asdict(prompt) for prompt in prompts],
        }
    )
    write_manifest(
        out,
        Manifest(
            args.benchmark,
            args.split,
            args.model,
            args.seed,
            rollout.guidance,
            tuple(prompts),
            each,
            str(Path(args.data).resolve()) if args.data else "",
        ),
    )
    for layout in layouts:
        for path, text in layout.beside.items():
            write_text(path, text, durable=False)
        draw(
            policy,
            layout.prompts,
            n=each,
            seed=args.seed,
            rollout=rollout,
            files=layout.files,
            batch=args.batch,
            quiet=args.json,
        )
    return len(prompts) * each


def score_folder(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Scores a folder of images and writes down what came out."""
    from got_r1.benchmarks import load_benchmark
    from got_r1.benchmarks.evaluation import evaluation
    from got_r1.benchmarks.sample_folder import SampleFolder
    from got_r1.files.atomic import write_text
    from got_r1.progress import TrainingProgress

    made = what_was_made(args, folder)
    benchmark = load_benchmark(made.benchmark, settings_of(args, made))
    each = made.images_per_prompt
    samples = SampleFolder(
        folder,
        benchmark.layouts(folder, made.prompts, each),
        each,
        with_chains=benchmark.reads_chains,
    )
    quiet = args.json or benchmark.name == "icons"  # whose scores take no time
    with TrainingProgress("scoring", len(samples), 0, unit="image", quiet=quiet) as progress:
        samples.on_read = lambda read: progress.update(read, {})
        rows = benchmark.score(samples)
    prompts = samples.prompts()
    result = evaluation(
        benchmark.name,
        rows,
        prompts,
        images_per_prompt=each,
        averages=benchmark.averages,
        name=args.name or folder.resolve().name,
        split=made.split,
        seed=made.seed,
        guidance=made.guidance,
        model=made.model,
    )
    scorers = benchmark.scorers()
    if scorers:
        result["scorers"] = scorers
        result["deviations"] = benchmark.deviations(result)
    lines = [
        json.dumps({"image": name, "prompt": prompt.text, **row}, ensure_ascii=False)
        for name, prompt, row in zip(samples.names(), prompts, rows, strict=True)
    ]
    write_text(folder / "scores.jsonl", "\n".join(lines) + "\n")
    write_text(folder / "eval.json", json.dumps(result, indent=1, ensure_ascii=False))
    return result


def what_was_made(args: argparse.Namespace, folder: Path) -> Manifest:
    """What a folder should hold: by its manifest, or for images made elsewhere by the benchmark.

    With --category only those are looked for. Raises BadInput where neither is known, and where
    the manifest and --benchmark differ.
    """
    from got_r1.benchmarks import load_benchmark
    from got_r1.benchmarks.sample_folder import MANIFEST, Manifest, read_manifest

    if args.benchmark is None or (folder / MANIFEST).is_file():
        made = read_manifest(folder)
        if args.benchmark not in (None, made.benchmark):
            raise BadInput(
                f"{folder} was made for the benchmark {made.benchmark!r}, not "
                f"{args.benchmark!r}; leave --benchmark out."
            )
        wanted = set(args.category or ())
        kept = tuple(p for p in made.prompts if not wanted or p.category in wanted)
        absent = wanted - {prompt.category for prompt in kept}
        if absent:
            raise BadInput(f"{folder} has no images of the category {min(absent)!r}.")
        return replace(made, prompts=kept)
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}; give the folder of the images.")
    benchmark = load_benchmark(args.benchmark, settings_of(args))
    prompts = benchmark.prompts("val", benchmark.size, PROMPT_SEED)
    each = args.images or benchmark.images_per_prompt
    return Manifest(args.benchmark, "val", "made elsewhere", 0, 0.0, tuple(prompts), each)


def settings_of(args: argparse.Namespace, made: Manifest | None = None) -> BenchmarkSettings:
    """The benchmark's settings among the arguments; where the images were made: as then."""
    from got_r1.benchmarks.settings import BenchmarkSettings

    asked = vars(args)
    data = args.data or (made.data if made is not None else "")
    return BenchmarkSettings(
        data=Path(data) if data else None,
        split=made.split if made is not None else asked.get("split", "val"),
        categories=tuple(args.category or ()),
        detector=asked.get("detector") or "",
        detections=tuple(asked.get("detections") or ()),
        detections_by=asked.get("detections_by") or "",
        vqa=asked.get("vqa") or "",
        vqa_size=asked.get("vqa_size", 480),
        clip=asked.get("clip") or "",
        depth=asked.get("depth") or "",
        device=args.device or "",
        tagger=asked.get("tagger", "auto"),
        mended=asked.get("mended", False),
        options=tuple(asked.get("option") or ()),
    )


def side_by_side(evaluations: Sequence[Mapping[str, Any]], *, ablations: bool = False) -> str:
    """The evaluations as a table for each benchmark, with published rows where there are some."""
    from got_r1.benchmarks.evaluation import comparison_table
    from got_r1.benchmarks.paper_table import paper_table
    from got_r1.benchmarks.published import PUBLISHED

    named = [str(one.get("benchmark")) for one in evaluations]
    tables = [
        paper_table(
            name,
            [e for e, of in zip(evaluations, named, strict=True) if of == name],
            ablations=ablations,
        )
        for name in dict.fromkeys(named)
        if name in PUBLISHED
    ]
    others = [e for e, name in zip(evaluations, named, strict=True) if name not in PUBLISHED]
    return "\n\n".join([*tables, *([comparison_table(others)] if others else [])])

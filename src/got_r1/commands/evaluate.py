"""`eval generate|score|table`: from a model to the table of a benchmark."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from got_r1.commands.arguments import MODEL_HELP, add, add_sampling, at_least, empty_folder, show
from got_r1.commands.models import load_sampling_policy, rollout_settings
from got_r1.errors import BadInput

__all__ = ["register"]

PROMPT_SEED = 0  # every model is asked the same prompts; --seed is for the sampling


def register(subparsers: Any) -> None:
    """Adds the commands."""
    group = subparsers.add_parser("eval", help="measure a model on a benchmark", allow_abbrev=False)
    evals = group.add_subparsers(metavar="COMMAND", required=True)

    one = add(evals, "generate", generate, "one sample for each prompt of a benchmark")
    one.add_argument("--benchmark", default="icons", metavar="NAME", help="which (icons)")
    one.add_argument("--model", required=True, metavar="DIR", help=MODEL_HELP)
    one.add_argument("--split", choices=("dev", "val"), default="val", help="prompt list (val)")
    one.add_argument("--prompts", type=at_least(1), default=500, metavar="N", help="how many (500)")
    add_sampling(one)
    one.add_argument("--out", required=True, metavar="DIR", help="new folder for the samples")

    one = add(evals, "score", score, "score a folder of samples")
    one.add_argument("folder", metavar="DIR", help="folder that eval generate wrote")
    one.add_argument("--name", metavar="NAME", help="name in tables (the folder's)")

    one = add(evals, "table", table, "evaluations side by side")
    one.add_argument("files", nargs="+", metavar="FILE", help="what eval score wrote")


def generate(args: argparse.Namespace) -> None:
    """`eval generate`: one sample for each prompt of a benchmark, in numbered files."""
    from got_r1.benchmarks.base import load_benchmark
    from got_r1.benchmarks.sample_folder import Manifest, write_manifest
    from got_r1.sample_files import SampleFiles

    benchmark = load_benchmark(args.benchmark)
    prompts = benchmark.prompts(args.split, args.prompts, PROMPT_SEED)
    out = empty_folder(args.out)

    from got_r1.sampling import sample as draw

    policy = load_sampling_policy(args)
    rollout = rollout_settings(policy, prompts, args)
    manifest = Manifest(
        args.benchmark, args.split, args.model, args.seed, rollout.guidance, tuple(prompts)
    )
    write_manifest(out, manifest)
    draw(
        policy,
        prompts,
        n=1,
        seed=args.seed,
        rollout=rollout,
        files=SampleFiles(out),
        quiet=args.json,
    )
    show(args, {"folder": str(out), "images": len(prompts)}, f"{len(prompts)} samples in {out}")


def score(args: argparse.Namespace) -> None:
    """`eval score`: a folder of samples in, an evaluation with intervals out."""
    from got_r1.atomic import write_text
    from got_r1.benchmarks.base import comparison_table, evaluate, load_benchmark
    from got_r1.benchmarks.sample_folder import read_manifest, read_samples

    folder = Path(args.folder)
    made = read_manifest(folder)
    result = evaluate(
        load_benchmark(made.benchmark),
        read_samples(folder, made.prompts),
        name=args.name or folder.resolve().name,
        split=made.split,
        seed=made.seed,
        guidance=made.guidance,
        model=made.model,
    )
    target = folder / "eval.json"
    write_text(target, json.dumps(result, indent=1))
    show(args, result, f"{comparison_table([result])}\n\nevaluation: {target}")


def table(args: argparse.Namespace) -> None:
    """`eval table`: evaluations side by side."""
    from got_r1.benchmarks.base import comparison_table
    from got_r1.inputs import read_json

    evaluations = []
    for path in args.files:
        content = read_json(path, "evaluation")
        if not {"name", "metrics"} <= content.keys():
            raise BadInput(f"{path} is no evaluation; give files that got-r1 eval score wrote.")
        evaluations.append(content)
    show(args, {"evaluations": evaluations}, comparison_table(evaluations))

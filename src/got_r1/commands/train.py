"""`prepare` and `train`: from a recipe to token shards, to a run folder."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from got_r1.commands.arguments import add, add_overrides, at_least, file_path, positive, show
from got_r1.errors import BadInput
from got_r1.recipes.stages import STAGES

if TYPE_CHECKING:
    from got_r1.recipes.sections import Recipe

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Adds the commands."""
    one = add(subparsers, "prepare", prepare, "encode SFT data into tokens, once")
    one.add_argument(
        "recipe",
        type=file_path,
        metavar="RECIPE",
        help="as for train: its model.path, its data settings",
    )
    one.add_argument(
        "out",
        type=file_path,
        metavar="OUT",
        help="folder of the tokens; a part done is gone on from",
    )
    add_overrides(one, uses=("model.path", "data", "run.seed"))

    one = add(subparsers, "train", train, "train a model by a recipe")
    one.add_argument(
        "stage", choices=STAGES, help="image tokens, fine-tuning, GRPO, a student judge"
    )
    one.add_argument(
        "recipe",
        type=file_path,
        metavar="RECIPE",
        help="YAML file, or a packaged recipe by name: icons, janus-1b, janus-7b; with --resume "
        "also a run folder, for its own recipe",
    )
    add_overrides(one, stages=STAGES)
    one.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    dry = one.add_argument_group("before a run")
    dry.add_argument(
        "--dry-run",
        action="store_true",
        help="only say what it would take: parameters, memory, tokens and judge calls; "
        "model.path may be a folder yet to be made whose name begins with janus-pro-1b or "
        "janus-pro-7b, for the published sizes",
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


def prepare(args: argparse.Namespace) -> None:
    """`prepare`: the triples of a recipe's source in, token shards out."""
    from got_r1.checkpoints.models import check_model
    from got_r1.data import open_source
    from got_r1.progress import import_modules
    from got_r1.recipes.recipe_file import load_recipe

    recipe = load_recipe(args.recipe, args.overrides)
    check_model(recipe.model.path)
    source = open_source(recipe)
    import_modules("got_r1.data.prepare", "got_r1.policy.janus", quiet=args.json)

    import torch

    from got_r1.data.prepare import SKIPPED, prepare
    from got_r1.policy import load_encoder

    policy = load_encoder(recipe.model.path)
    if torch.cuda.is_available():
        policy.model.model.vqmodel.to("cuda")
    out = Path(args.out)
    marks = recipe.rollout.marks
    made = prepare(policy, source, out, recipe.data, marks=marks, quiet=args.json).manifest
    lines = [f"{made['kept']:,} of {made['records']:,} triples in {made['shards']} shards: {out}"]
    converted, examples = made.get("converted", {}), made.get("examples", {})
    lines += [f"converted {count:,}: {change}" for change, count in converted.items()]
    lines += [
        f"skipped {count:,}: {problem} (such as {examples[problem]})"
        if problem in examples
        else f"skipped {count:,}: {problem}"
        for problem, count in made["skipped"].items()
    ]
    if made["skipped"]:
        lines.append(f"their names: {out / SKIPPED}")
    lines.append(f"train on them with: got-r1 train sft RECIPE data.shards={out}")
    counts = {key: made[key] for key in ("records", "kept", "skipped", "shards")}
    show(args, {"folder": str(out), **counts, "converted": converted}, "\n".join(lines))


def train(args: argparse.Namespace) -> None:
    """`train vq|sft|rl`: a recipe in, a run folder out; with `--dry-run` what that takes."""
    from got_r1 import api
    from got_r1.files.inputs import read_json

    if not args.dry_run and (args.processes or args.gpu_memory):
        raise BadInput("--processes and --gpu-memory are plans: give them with --dry-run.")
    recipe = api.read_recipe(args.recipe, args.overrides, goes_on=args.resume or args.dry_run)
    if args.dry_run:
        show_plan(args, recipe)
        return
    summary = api.train(args.stage, recipe, resume=args.resume, quiet=args.json)
    if os.environ.get("RANK", "0") != "0":  # under torchrun the first process speaks for all
        return
    evals = sorted(Path(recipe.run.dir, "evals").glob("*.json"), key=lambda p: p.stat().st_mtime)
    show_run(args, summary, [read_json(path, "evaluation") for path in evals])


def show_plan(args: argparse.Namespace, recipe: Recipe) -> None:
    """Shows what a run would take; raises BadInput where memory or disk here cannot do."""
    from got_r1.progress import import_modules
    from got_r1.training.beforehand import check_start

    check_start(recipe, args.stage, resume=args.resume, dry_run=True)
    import_modules("got_r1.sizing.dry_run", "got_r1.sizing.estimate", quiet=args.json)
    import torch

    from got_r1.sizing.dry_run import check_room, device_bytes, render
    from got_r1.sizing.estimate import estimate

    elsewhere = args.gpu_memory is not None
    processes = args.processes or int(os.environ.get("WORLD_SIZE", "1"))
    result = estimate(
        recipe, args.stage, gpu=elsewhere or torch.cuda.is_available(), processes=processes
    )
    memory = int(args.gpu_memory * 2**30) if elsewhere else device_bytes(processes)
    facts = result.to_json() | {"device_bytes": memory, "track": recipe.run.track}
    tracked = f"Shown in: {', '.join(recipe.run.track) or 'no tracker'} (run.track)."
    show(args, facts, f"{render(result, memory)}\n{tracked}")
    if not elsewhere:
        check_room(result, Path(recipe.run.dir), memory)


def show_run(
    args: argparse.Namespace, summary: dict[str, object], evals: list[dict[str, Any]]
) -> None:
    from got_r1.benchmarks.evaluation import changes, comparison_table

    tables = [one for one in evals if "metrics" in one]
    lines = [comparison_table(tables), ""] if tables else []
    lines += [f"{name.replace('_', ' ')}: {value}" for name, value in summary.items()]
    told = summary | {"evals": evals, "changes": changes(tables)}
    show(args, told, "\n".join(lines))

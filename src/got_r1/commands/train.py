"""`prepare` and `train`: from a recipe to token shards, to a run folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from got_r1.commands.arguments import add, add_overrides, at_least, file_path, positive, show
from got_r1.errors import BadInput

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
    one.add_argument("stage", choices=("vq", "sft", "rl"), help="image tokens, fine-tuning, GRPO")
    one.add_argument(
        "recipe",
        type=file_path,
        metavar="RECIPE",
        help="YAML file, or a packaged recipe by name: icons, janus-1b, janus-7b; with --resume "
        "also a run folder, for its own recipe",
    )
    add_overrides(one, stages=("vq", "sft", "rl"))
    one.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    dry = one.add_argument_group("before a run")
    dry.add_argument(
        "--dry-run",
        action="store_true",
        help="only say what it would take: parameters, memory, tokens and judge calls; "
        "model.path may be janus-pro-1b or janus-pro-7b, of which only the sizes are known",
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
    from got_r1.files.inputs import read_json
    from got_r1.progress import import_modules, note
    from got_r1.recipes.recipe_file import load_recipe

    if not args.dry_run and (args.processes or args.gpu_memory):
        raise BadInput("--processes and --gpu-memory are plans: give them with --dry-run.")
    recipe = load_recipe(*recipe_and_overrides(args))
    if os.environ.get("RANK", "0") == "0":  # under torchrun others may see what the first has begun
        from got_r1.training.beforehand import check_start

        check_start(recipe, args.stage, resume=args.resume, dry_run=args.dry_run)
    loop = "sizing.dry_run" if args.dry_run else f"training.{args.stage}"
    import_modules(f"got_r1.{loop}", "got_r1.sizing.estimate", quiet=quiet_rank(args))
    plan_run(args, recipe)
    if args.dry_run:
        return
    if args.stage != "vq" and not quiet_rank(args):
        note(f"loading the model {recipe.model.path}")
    summary = stage(args.stage)(recipe, args.resume, args.json)
    if os.environ.get("RANK", "0") != "0":  # under torchrun the first process speaks for all
        return
    evals = sorted(Path(recipe.run.dir, "evals").glob("*.json"), key=lambda p: p.stat().st_mtime)
    show_run(args, summary, [read_json(path, "evaluation") for path in evals])


def recipe_and_overrides(args: argparse.Namespace) -> tuple[str, list[str]]:
    """What the recipe is read from. A run folder stands for its own recipe, wherever it lies now;
    raises BadInput where the run in it is not to be resumed."""
    own = Path(args.recipe, "config.yaml")
    if not own.is_file():
        return args.recipe, args.overrides
    if not (args.resume or args.dry_run):
        raise BadInput(
            f"{args.recipe} is a run folder: add --resume to continue the run in it, or give a "
            "recipe to start another."
        )
    return str(own), [f"run.dir={args.recipe}", *args.overrides]


def quiet_rank(args: argparse.Namespace) -> bool:
    """Whether this process says nothing of its progress: of several the first speaks for all."""
    return args.json or os.environ.get("RANK", "0") != "0"


def plan_run(args: argparse.Namespace, recipe: Recipe) -> None:
    """Raises BadInput where memory or disk cannot do; shows the estimate of a dry run."""
    import torch

    from got_r1.sizing.dry_run import check_room, device_bytes, render
    from got_r1.sizing.estimate import estimate

    elsewhere = args.gpu_memory is not None
    processes = args.processes or int(os.environ.get("WORLD_SIZE", "1"))
    result = estimate(
        recipe, args.stage, gpu=elsewhere or torch.cuda.is_available(), processes=processes
    )
    memory = int(args.gpu_memory * 2**30) if elsewhere else device_bytes(processes)
    if args.dry_run:
        facts = result.to_json() | {"device_bytes": memory, "track": recipe.run.track}
        tracked = f"Shown in: {', '.join(recipe.run.track) or 'no tracker'} (run.track)."
        show(args, facts, f"{render(result, memory)}\n{tracked}")
    if not elsewhere:
        check_room(result, Path(recipe.run.dir), memory)


def stage(name: str) -> Callable[[Recipe, bool, bool], dict[str, object]]:
    """The training loop of that name, as `train(recipe, resume, quiet) -> summary`."""
    match name:
        case "vq":
            if os.environ.get("WORLD_SIZE", "1") != "1":
                raise BadInput("train vq is for one process: start it without torchrun.")
            from got_r1.training import vq

            return vq.train
        case "sft":
            from got_r1.training import sft

            return sft.train
        case "rl":
            from got_r1.training import rl

            return rl.train
        case _:
            raise ValueError(name)


def show_run(
    args: argparse.Namespace, summary: dict[str, object], evals: list[dict[str, Any]]
) -> None:
    from got_r1.benchmarks.evaluation import changes, comparison_table

    tables = [one for one in evals if "metrics" in one]
    lines = [comparison_table(tables), ""] if tables else []
    lines += [f"{name.replace('_', ' ')}: {value}" for name, value in summary.items()]
    told = summary | {"evals": evals, "changes": changes(tables)}
    show(args, told, "\n".join(lines))

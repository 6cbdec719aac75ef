"""What each command does: one function a command, taking the parsed arguments.

Results go to stdout, as JSON with `--json`; progress and errors go to stderr. Heavy imports happen
inside the functions, so that `--help` and a typing mistake answer at once.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from got_r1.errors import BadInput, RunFailed

if TYPE_CHECKING:
    from got_r1.config import Recipe, RolloutSection
    from got_r1.policy.janus import Policy
    from got_r1.records import Prompt, Reward

__all__ = [
    "convert",
    "eval_generate",
    "eval_score",
    "eval_table",
    "prepare",
    "report",
    "sample",
    "score",
    "train",
]

PROMPT_SEED = 0  # every model is asked the same prompts; --seed is for the sampling
GUIDANCE = 5.0  # the paper's, for a model that does not bring its own


def show(args: argparse.Namespace, result: object, text: str) -> None:
    """Prints a command's result: as JSON where asked for, else as text."""
    as_json = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
    print(as_json if args.json else text)  # noqa: T201


def prepare(args: argparse.Namespace) -> None:
    """`prepare`: the triples of a recipe's source in, token shards out."""
    from got_r1.data import open_source
    from got_r1.recipe_file import load_recipe

    recipe = load_recipe(args.recipe, args.overrides)
    source = open_source(recipe)

    import torch

    from got_r1.data.prepare import SKIPPED, prepare
    from got_r1.policy import load_encoder

    policy = load_encoder(recipe.model.path)
    if torch.cuda.is_available():
        policy.model.model.vqmodel.to("cuda")
    out = Path(args.out)
    made = prepare(policy, source, out, recipe.data, quiet=args.json).manifest
    lines = [f"{made['kept']:,} of {made['records']:,} triples in {made['shards']} shards: {out}"]
    lines += [f"skipped {count:,}: {problem}" for problem, count in made["skipped"].items()]
    if made["skipped"]:
        lines.append(f"their names: {out / SKIPPED}")
    lines.append(f"train on them with: got-r1 train sft RECIPE data.shards={out}")
    counts = {key: made[key] for key in ("records", "kept", "skipped", "shards")}
    show(args, {"folder": str(out), **counts}, "\n".join(lines))


def train(args: argparse.Namespace) -> None:
    """`train vq|sft|rl`: a recipe in, a run folder out; with `--dry-run` what that takes."""
    from got_r1.recipe_file import load_recipe

    if not args.dry_run and (args.processes or args.gpu_memory):
        raise BadInput("--processes and --gpu-memory are plans: give them with --dry-run.")
    recipe = load_recipe(args.recipe, args.overrides)
    plan_run(args, recipe)
    if args.dry_run:
        return
    summary = stage(args.stage)(recipe, args.resume, args.json)
    if os.environ.get("RANK", "0") != "0":  # under torchrun the first process speaks for all
        return
    evals = sorted(Path(recipe.run.dir, "evals").glob("*.json"), key=lambda p: p.stat().st_mtime)
    show_run(args, summary, [json.loads(path.read_text(encoding="utf-8")) for path in evals])


def plan_run(args: argparse.Namespace, recipe: Recipe) -> None:
    """Raises BadInput where memory or disk cannot do; shows the estimate of a dry run."""
    import torch

    from got_r1.training.dry_run import check_room, device_bytes, render
    from got_r1.training.estimate import estimate

    elsewhere = args.gpu_memory is not None
    processes = args.processes or int(os.environ.get("WORLD_SIZE", "1"))
    result = estimate(
        recipe, args.stage, gpu=elsewhere or torch.cuda.is_available(), processes=processes
    )
    memory = int(args.gpu_memory * 2**30) if elsewhere else device_bytes(processes)
    if args.dry_run:
        facts = result.to_json() | {"device_bytes": memory}
        show(args, facts, render(result, memory))
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
    from got_r1.benchmarks.base import comparison_table

    tables = [one for one in evals if "metrics" in one]
    lines = [comparison_table(tables), ""] if tables else []
    lines += [f"{name.replace('_', ' ')}: {value}" for name, value in summary.items()]
    show(args, summary | {"evals": evals}, "\n".join(lines))


def sample(args: argparse.Namespace) -> None:
    """`sample`: chains and images for one prompt or a file of them, in a folder."""
    from got_r1.inputs import check_prompt, read_plan, read_prompts
    from got_r1.records import Prompt
    from got_r1.sample_files import SampleFiles

    if args.prompts is None:
        prompts = [Prompt(check_prompt(args.prompt))]
    elif args.chain:
        raise BadInput("--chain is the plan of one prompt: give it with --prompt, not --prompts.")
    else:
        prompts = read_prompts(args.prompts)
    chain_text = read_plan(args.chain) if args.chain else None
    files = SampleFiles(Path(args.out), args.layout)
    files.check_prompts(prompts)
    files.check_folder(args.resume)

    from got_r1.sampling import fingerprint
    from got_r1.sampling import sample as draw

    policy = load_sampling_policy(args)
    rollout = rollout_settings(policy, prompts, args, chain_text)
    arguments = {
        "model": args.model,
        "weights": fingerprint(policy),
        "dtype": args.dtype,
        "device": policy.device.type,  # each rounds in its own way
        "layout": args.layout,
        "n": args.n,
        "images_per_chain": args.images_per_chain,
        "seed": args.seed,
        **rollout.model_dump(),
        "chain": chain_text,
        "prompts": [asdict(prompt) for prompt in prompts],
    }
    files.begin(arguments)
    done = draw(
        policy,
        prompts,
        n=args.n,
        seed=args.seed,
        rollout=rollout,
        files=files,
        images_per_chain=args.images_per_chain,
        batch=args.batch,
        chain_text=chain_text,
        quiet=args.json,
    )
    names = [str(image) for image in done.images]
    speed = done.drawn / done.seconds if done.drawn else None
    facts = {"drawn": done.drawn, "seconds": done.seconds, "images_per_second": speed}
    show(args, {"files": names, **facts}, "\n".join(names))


def score(args: argparse.Namespace) -> None:
    """`score`: the reward of one (prompt, chain, image), term by term."""
    from got_r1 import rewards
    from got_r1.chain import parse as parse_chain
    from got_r1.config import RewardSection
    from got_r1.inputs import check_prompt, read_chain_text, read_image
    from got_r1.judges import load_judge
    from got_r1.records import Prompt, Verdict

    prompt = Prompt(check_prompt(args.prompt))
    chain, image = parse_chain(read_chain_text(args.chain)), read_image(args.image)
    config = RewardSection()
    (reward,) = rewards.score(load_judge(args.judge), [prompt], [chain], [image], config)
    show(args, asdict(reward), "" if args.json else reward_table(reward, config.formula))
    failed = [v.reason for v in reward.verdicts.values() if not isinstance(v, Verdict)]
    if failed:
        raise RunFailed(f"the judge could not answer: {failed[0]}.")


def reward_table(reward: Reward, formula: str) -> str:
    """The terms with their evidence, as text for a terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table("term", "score", "evidence")
    for name, verdict in reward.verdicts.items():
        term = reward.terms.get(name)
        evidence = getattr(verdict, "reasoning", None) or getattr(verdict, "reason", "")
        table.add_row(name, "judge failed" if term is None else f"{term:.3f}", evidence)
    total = "none" if reward.total is None else f"{reward.total:.3f}"
    table.add_section()
    table.add_row("total", total, formula)
    console = Console()
    with console.capture() as capture:
        console.print(table, markup=False)
    return capture.get().rstrip()


def convert(args: argparse.Namespace) -> None:
    """`convert`: an official checkpoint to a transformers folder, or back."""
    of_the_card = ("run", "base", "data", "judge", "eval")
    for name in ("tokenizer", "vision_heads") if args.to_official else of_the_card:
        if getattr(args, name) is not None:
            way = "without" if args.to_official else "with"
            raise BadInput(f"--{name.replace('_', '-')} has a meaning only {way} --to-official.")

    from got_r1.policy.convert import from_official, to_official
    from got_r1.policy.model_card import CardFacts

    source, destination = Path(args.source), Path(args.destination)
    shard_size = int(args.shard_size * 1e9)
    if args.to_official:
        facts = CardFacts(
            base=args.base,
            data=args.data,
            judge=args.judge,
            run=Path(args.run) if args.run else None,
            evals=tuple(map(Path, args.eval or ())),
        )
        done = to_official(
            source,
            destination,
            dtype=args.dtype,
            shard_size=shard_size,
            facts=facts,
            quiet=args.json,
        )
    else:
        done = from_official(
            source,
            destination,
            dtype=args.dtype,
            shard_size=shard_size,
            tokenizer=Path(args.tokenizer) if args.tokenizer else None,
            vision_heads=args.vision_heads,
            quiet=args.json,
        )
    lines = [
        f"{done.folder}: {done.parameters:,} parameters in {done.tensors} tensors, {done.dtype}, "
        f"{len(done.files)} file(s) of weights"
    ]
    if done.left_out:
        lines.append(f"left out, since nothing reads them: {', '.join(done.left_out)}")
    lines += [f"note: {note}" for note in done.notes]
    show(args, asdict(done) | {"folder": str(done.folder)}, "\n".join(lines))


def eval_generate(args: argparse.Namespace) -> None:
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


def eval_score(args: argparse.Namespace) -> None:
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


def eval_table(args: argparse.Namespace) -> None:
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


def report(args: argparse.Namespace) -> None:
    """`report`: a run folder in, one HTML file out."""
    from got_r1.report.build import build_report

    path = build_report(Path(args.run))
    show(args, {"report": str(path)}, str(path))


def load_sampling_policy(args: argparse.Namespace) -> Policy:
    """The policy of `--model` in the asked dtype and place: a GPU where there is one.

    Raises BadInput as `load_policy`, and for a GPU that is not there.
    """
    import torch

    from got_r1.policy import load_policy

    asked = vars(args)
    device = asked.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: torch sees no GPU here; leave --device out to use the CPU.")
    return load_policy(args.model, getattr(torch, asked.get("dtype", "float32"))).to(device)


def rollout_settings(
    policy: Policy,
    prompts: Sequence[Prompt],
    args: argparse.Namespace,
    chain_text: str | None = None,
) -> RolloutSection:
    """How to sample: what was asked for, else the model's generation config, else the official
    settings: 600 chain tokens, temperatures 1, guidance 5.

    Raises BadInput where the model has no room for a prompt, or brings settings of no sense.
    """
    from pydantic import ValidationError

    from got_r1.config import RolloutSection
    from got_r1.sampling import chain_limit

    own = policy.model.generation_config
    asked = vars(args)
    try:
        return RolloutSection(
            chain_limit=chain_limit(policy, prompts, asked.get("chain_limit"), chain_text),
            chain_temperature=asked.get("temperature") or 1.0,
            image_temperature=asked.get("image_temperature")
            or asked.get("temperature")
            or own.temperature
            or 1.0,
            guidance=args.guidance or own.guidance_scale or GUIDANCE,
        )
    except ValidationError as error:
        fault = error.errors()[0]
        raise BadInput(
            f"{args.model}/generation_config.json asks for {fault['loc'][0]} {fault['input']}, "
            "which cannot be sampled with; mend it, or give the option."
        ) from None


def empty_folder(path: str) -> Path:
    """A folder that nothing is overwritten in. Raises BadInput where it holds something."""
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} exists and is not an empty folder; choose another --out.")
    return folder

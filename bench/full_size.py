"""One GRPO step at full size, for time and memory: a rollout, an update, a checkpoint, a resume.

    python bench/full_size.py --size 7b               # LoRA; 8 prompts x 16 samples
    python bench/full_size.py --size 1b --full        # all weights
    python bench/full_size.py --size tiny             # the embedded size, on any CPU
    python bench/full_size.py --profile --prompts 1 --samples 8 --chain-limit 32
                                                      the ten operations that take most of a step

Weights are random in Janus-Pro's shapes: neither time nor memory asks what they know. Among
102,400 words random weights hardly ever choose the one that ends a chain, so chains run to the
limit, the dearest case; rewards are random too, or there would be nothing to learn. All else is
what `got-r1 train rl` runs. Without a GPU the size is `tiny` unless another is asked for, and the
output says so.

Each phase's seconds and peak memory stand beside the dry run's estimate. On CUDA the peak is the
allocator's (`max_memory_allocated`); on a CPU it is the sum of all living tensors, looked at in
every operation, which slows small operations down.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from live_bytes import LiveBytes
from transformers import JanusForConditionalGeneration, JanusProcessor
from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil

from got_r1.checkpoints.official_sizes import official_sizes
from got_r1.icons.data import triples
from got_r1.icons.prompts import prompt_list
from got_r1.plan import chain as chains
from got_r1.policy.janus import Policy
from got_r1.policy.sampler import Sampler
from got_r1.policy.tiny import build_policy, train_tokenizer
from got_r1.recipes.recipe_file import load_recipe
from got_r1.recipes.sections import Recipe
from got_r1.records import Reward
from got_r1.sizing.dry_run import size
from got_r1.sizing.estimate import RunEstimate, estimate
from got_r1.training.distributed import Ranks, parallelize
from got_r1.training.optimizer import make_optimizer
from got_r1.training.policy_update import improve
from got_r1.training.rollout import Samples
from got_r1.training.run import Run, seed_step

RECIPE = Path(__file__).parents[1] / "recipes" / "icons.yaml"
# peft asks transformers for a property that transformers has renamed.
warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)

NAMES = {"1b": "janus-pro-1b", "7b": "janus-pro-7b"}


def main() -> None:
    """Measures and prints."""
    args = arguments()
    gpu = torch.cuda.is_available()
    kind = args.size
    if not gpu:
        print(f"No GPU is available: size {kind} on the CPU, not comparable with a GPU's figures.")
    with tempfile.TemporaryDirectory() as scratch:
        policy = random_policy(kind, args.dtype, gpu)
        path = NAMES.get(kind, f"{scratch}/model")
        if kind not in NAMES:
            policy.save(Path(path))
        recipe = make_recipe(args, path, f"{scratch}/run", gpu)
        expected = estimate(recipe, "rl", gpu=gpu)
        describe(kind, recipe, expected, gpu)
        step_and_resume(policy, recipe, expected, Meter(gpu), args)


def step_and_resume(
    policy: Policy, recipe: Recipe, expected: RunEstimate, meter: Meter, args: argparse.Namespace
) -> None:
    """The phases of one step, in the order of `training.rl`, a checkpoint, and another start."""
    optimizer = prepare(policy, recipe)
    with Run.open(
        recipe, recipe.rl, policy, optimizer, title="GRPO", resume=False, quiet=True
    ) as run:
        steps = run.steps()
        seed = seed_step(recipe.run.seed, next(steps))
        if not args.profile:  # tensors are not counted then: it would be most of what is profiled
            meter.watch(policy, optimizer)
        profiler = torch.profiler.profile() if args.profile else contextlib.nullcontext()
        with profiler:
            samples, metrics = one_step(policy, optimizer, recipe, seed, meter)
        run.log(1, metrics)
        if not args.profile:
            with meter.phase("checkpoint"):
                next(steps)  # the first step's is saved before the second begins
        steps.close()
    lengths = [len(ids) for ids in samples.rollout.chains.token_ids]
    found: dict[str, Any] = {
        "chain tokens": [min(lengths), max(lengths)],
        "loss": metrics["loss"],
        "ratio_gap": metrics["ratio_gap"],
    }
    if args.profile:
        found["operations"] = dearest(profiler, meter.gpu)
    else:
        trained = {name: p.detach().cpu().clone() for name, p in policy.trainable().items()}
        del policy, optimizer
        meter.forget()
        found["resumed with the same weights"] = resumes(recipe, trained, meter, args)
    found |= meter.report(expected, len(lengths))
    shown = {name: value for name, value in found.items() if name not in ("phases", "operations")}
    print(*(f"{name}: {value}" for name, value in shown.items()), sep="\n")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


def one_step(
    policy: Policy, optimizer: torch.optim.Optimizer, recipe: Recipe, seed: int, meter: Meter
) -> tuple[Samples, dict[str, float]]:
    """A rollout with random rewards, and the update on it."""
    prompts, settings = prompt_list("train", recipe.rl.prompts, 0), recipe.rollout
    with meter.phase("chains"):
        sampler = Sampler(policy, at_once=recipe.scale.rollout_batch)
        written = sampler.write_chains(
            prompts, recipe.rl.group, seed=seed, limit=settings.chain_limit
        )
    with meter.phase("images"):
        rollout = sampler.draw_images(written, guidance=settings.guidance)
    with meter.phase("pixels"):
        images = policy.decode_images(rollout.image_ids)
    del sampler
    random = np.random.default_rng(0)
    rewards = [Reward(float(value), {}, {}) for value in random.random(len(images))]
    parsed = [chains.parse(text) for text in written.texts]
    samples = Samples(rollout, parsed, images, rewards, recipe.rl.group, {})
    with meter.phase("update"):
        metrics = improve(policy, optimizer, samples, recipe, 1)
    return samples, metrics


def resumes(
    recipe: Recipe, trained: dict[str, torch.Tensor], meter: Meter, args: argparse.Namespace
) -> bool:
    """Whether another start goes on at step 2 with the weights that were trained."""
    with meter.phase("load again"):
        again = random_policy(args.size, args.dtype, meter.gpu)
        optimizer = prepare(again, recipe)
    meter.watch(again, optimizer)
    with (
        meter.phase("resume"),
        Run.open(
            recipe, recipe.rl, again, optimizer, title="GRPO", resume=True, quiet=True
        ) as resumed,
    ):
        assert next(resumed.steps()) == 2
    return all(torch.equal(p.detach().cpu(), trained[n]) for n, p in again.trainable().items())


def dearest(profiler: torch.profiler.profile, gpu: bool) -> list[dict[str, Any]]:
    """The ten operations (on a GPU: kernels) that took most seconds themselves, printed too."""
    time_of = "self_device_time_total" if gpu else "self_cpu_time_total"
    events = profiler.key_averages()
    total = sum(getattr(event, time_of) for event in events)
    events = sorted(events, key=lambda event: -getattr(event, time_of))[:10]
    rows = [
        {
            "name": event.key[:80],
            "calls": event.count,
            "seconds": getattr(event, time_of) / 1e6,
            "share": getattr(event, time_of) / max(total, 1),
        }
        for event in events
    ]
    for row in rows:
        print(f"{row['share']:>6.1%}{row['seconds']:>9.3f} s{row['calls']:>9,} x  {row['name']}")
    return rows


class Meter:
    """Seconds and peak memory, phase by phase."""

    def __init__(self, gpu: bool) -> None:
        self.gpu = gpu
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, int] = {}
        self._live: LiveBytes | None = None

    def watch(self, policy: Policy, optimizer: torch.optim.Optimizer) -> None:
        """On a CPU: tensors that were made before anything was counted."""
        if not self.gpu:
            moments = (v for state in optimizer.state.values() for v in state.values())
            held = (p.data for p in [*policy.model.parameters(), *policy.model.buffers()])
            frozen = policy.frozen_reference
            copies = [] if frozen is None else [p.data for p in frozen.model.parameters()]
            self._live = LiveBytes([*held, *copies, *moments])

    def forget(self) -> None:
        """Gives back what nobody holds."""
        gc.collect()
        if self.gpu:
            torch.cuda.empty_cache()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measures what runs inside."""
        if self.gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        if self._live is not None:
            self._live.reset_peak()
        start = time.perf_counter()
        with self._live or contextlib.nullcontext():
            yield
            if self.gpu:
                torch.cuda.synchronize()
        self.seconds[name] = time.perf_counter() - start
        self.peaks[name] = self._peak()

    def _peak(self) -> int:
        if self.gpu:
            return torch.cuda.max_memory_allocated()
        return self._live.peak if self._live is not None else 0

    def report(self, expected: RunEstimate, images: int) -> dict[str, Any]:
        """The table, printed, and as data: bytes and seconds by phase, images per second."""
        estimates = {phase.name: phase.total for phase in expected.phases}
        estimates["update"] = max(estimates["update"], estimates["optimizer"])
        phases = {
            name: {"seconds": seconds, "peak": self.peaks[name], "estimate": estimates.get(name)}
            for name, seconds in self.seconds.items()
        }
        print(f"\n{'phase':<12}{'seconds':>10}{'peak':>14}{'estimate':>14}{'ratio':>9}")
        for name, seconds in self.seconds.items():
            line = f"{name:<12}{seconds:>10.1f}{size(self.peaks[name]):>14}"
            if name in estimates:
                line += f"{size(estimates[name]):>14}{self.peaks[name] / estimates[name]:>9.2f}"
            print(line)
        sampling = sum(self.seconds[name] for name in ("chains", "images", "pixels"))
        return {"phases": phases, "images per second": images / sampling}


# -- what is measured ------------------------------------------------------------------------------


def random_policy(kind: str, dtype: str, gpu: bool) -> Policy:
    """A policy of that size with random weights, the same each time."""
    texts = [text for t in triples(300, seed=1) for text in (t.prompt.text, t.chain)]
    if kind == "tiny":
        policy = build_policy(texts, seed=0)
        policy.model.to(getattr(torch, dtype)).eval()
        policy.model.set_attn_implementation("sdpa" if gpu else "eager")  # as load_policy
        return policy
    torch.manual_seed(0)
    tokenizer = train_tokenizer(texts)
    config = official_sizes(NAMES[kind])
    config.image_token_id = tokenizer.convert_tokens_to_ids("<image_placeholder>")
    with torch.device("cuda" if gpu else "cpu"):
        model = JanusForConditionalGeneration._from_config(
            config, dtype=getattr(torch, dtype), attn_implementation="sdpa"
        )
    janus = model.model
    for unused in (janus.vision_model, janus.aligner, janus.vqmodel.encoder):
        unused.to("cpu")
    janus.vqmodel.quant_conv.to("cpu")
    pixels = {"height": 384, "width": 384}
    processor = JanusProcessor(
        image_processor=JanusImageProcessorPil(size=pixels),
        tokenizer=tokenizer,
        num_image_tokens=576,
    )
    return Policy(model.eval(), processor)


def prepare(policy: Policy, recipe: Recipe) -> torch.optim.Optimizer:
    """Chooses what is trained and brings it to the device, as `training.rl` does."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    seed_step(recipe.run.seed, 0)
    policy.prepare_training(recipe.model.lora)
    policy.freeze_reference()
    parallelize(
        policy, recipe.model, recipe.scale, Ranks(device=device), autocast=recipe.rl.autocast
    )
    return make_optimizer(policy.trainable().values(), recipe.rl)


def make_recipe(args: argparse.Namespace, path: str, run: str, gpu: bool) -> Recipe:
    """The paper's rollout and group, on one device; overrides come last."""
    settings = {
        "run.dir": run,
        "model.path": path,
        "model.dtype": args.dtype,
        "model.lora.rank": 0 if args.full else 32,
        "rollout.chain_limit": args.chain_limit,
        "rollout.guidance": 5.0,
        "rollout.image_temperature": 1.0,
        "rl.steps": 2,
        "rl.save_every": 1,
        "rl.prompts": args.prompts,
        "rl.group": args.samples,
        "rl.micro_batch": args.micro_batch,
        "rl.autocast": str(args.dtype == "bfloat16").lower(),
        "rl.image_weight": 1.0,
        "eval.prompts": 0,
    }
    given = [f"{key}={value}" for key, value in settings.items()]
    return load_recipe(RECIPE, [*given, *args.overrides])


def describe(kind: str, recipe: Recipe, expected: RunEstimate, gpu: bool) -> None:
    """What is measured, and where."""
    where = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    total = sum(part.parameters for part in expected.parts)
    print(
        f"{kind}: {total / 1e6:,.1f} M parameters with random weights, {expected.training}; "
        f"{recipe.rl.prompts} prompts x {recipe.rl.group} samples, guidance "
        f"{recipe.rollout.guidance:g}, chains up to {recipe.rollout.chain_limit} tokens, "
        f"micro-batches of {recipe.rl.micro_batch}; {where}, torch {torch.__version__}, seed 0"
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    tiny = not torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=("tiny", *NAMES), help="1b with a GPU, else tiny")
    parser.add_argument("--full", action="store_true", help="train all weights, not LoRA")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"))
    parser.add_argument("--prompts", type=int, default=8, metavar="P")
    parser.add_argument("--samples", type=int, default=16, metavar="N", help="a prompt")
    parser.add_argument("--chain-limit", type=int, metavar="TOKENS", help="600; tiny: 120")
    parser.add_argument("--micro-batch", type=int, metavar="B", help="8; 7b: 2; tiny: 16")
    parser.add_argument("--profile", action="store_true", help="what a step's seconds go into")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found here too")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    args = parser.parse_args()
    args.size = args.size or ("tiny" if tiny else "1b")
    small = args.size == "tiny"
    args.dtype = args.dtype or ("float32" if small or args.full else "bfloat16")
    args.chain_limit = args.chain_limit or (120 if small else 600)
    args.micro_batch = args.micro_batch or {"tiny": 16, "1b": 8, "7b": 2}[args.size]
    return args


if __name__ == "__main__":
    main()

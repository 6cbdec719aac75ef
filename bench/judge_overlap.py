"""How much of the judging a step hides: one rollout beside its parts.

    python bench/judge_overlap.py                         # the shipped icons, delays around drawing
    python bench/judge_overlap.py --delays 0.5 2 --rounds 5 --set rl.group=16
    python bench/judge_overlap.py --thread                # the judge in a thread, for comparison

A server on loopback, a process of its own, answers every request after a fixed delay, through the
client, the wording and the reading of a real run; the policy is the shipped one. For each delay,
medians over the rounds of

    sampling   chains, images and pixels, with a judge that is not asked
    stage 1    R_sem and R_spa of the same samples, alone
    stage 2    R_RI and R_PI, alone
    step       `roll_out`, where they overlap, and of its judging what was hidden and waited for
    asking     CPU seconds that `roll_out` took from the process that samples, beyond sampling: it
               hardly depends on who else uses the machine

and the ratio step / (max(sampling, stage 1) + stage 2), which is to be at most 1.1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from got_r1 import rewards
from got_r1.judges import Judge
from got_r1.judges.openai_api import OpenAIJudge
from got_r1.judges.settings import MLLMSettings, OpenAISettings
from got_r1.judges.worker import WorkerJudge
from got_r1.policy import load_policy
from got_r1.policy.janus import Policy
from got_r1.policy.sampler import Sampler
from got_r1.recipes.recipe_file import load_recipe
from got_r1.recipes.sections import Recipe
from got_r1.records import Prompt
from got_r1.training.prompts import load_prompts
from got_r1.training.rollout import roll_out

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from judges.scripted_server import Action, Reply, Request, ScriptedServer, Slow, score  # noqa: E402

BOX = '[{"bbox_2d": [60, 60, 200, 200], "label": "it"}]'
COLUMNS = ("sampling", "stage 1", "stage 2", "step", "hidden", "waited", "asking", "ratio")
GOAL = 1.1


@contextmanager
def server() -> Iterator[tuple[str, Any]]:
    """A running server: its base URL, and the shared number of seconds that it waits."""
    context = multiprocessing.get_context("spawn")
    delay, (here, there) = context.Value("d", 0.0), context.Pipe()
    process = context.Process(target=serve, args=(delay, there), daemon=True)
    process.start()
    yield here.recv(), delay
    here.send("done")
    process.join()


def serve(delay: Any, pipe: Any) -> None:
    """What the server's process does, until it is told to end."""

    def answer(request: Request) -> Action:
        return Slow(delay.value, Reply(BOX) if "bbox" in request.text else score(8))

    with ScriptedServer(answer) as running:
        pipe.send(running.url)
        pipe.recv()


def draw(policy: Policy, prompts: Sequence[Prompt], recipe: Recipe, seed: int) -> None:
    """The sampling of `roll_out`, alone."""
    settings, sampler = recipe.rollout, Sampler(policy)
    written = sampler.write_chains(
        prompts,
        recipe.rl.group,
        seed=seed,
        limit=settings.chain_limit,
        temperature=settings.chain_temperature,
    )
    rollout = sampler.draw_images(
        written, guidance=settings.guidance, temperature=settings.image_temperature
    )
    policy.decode_images(rollout.image_ids)


def one_round(
    policy: Policy, judge: Judge, prompts: Sequence[Prompt], recipe: Recipe, seed: int
) -> tuple[float, ...]:
    """Seconds in the order of `COLUMNS`, and the ratio."""
    busy = [time.process_time()]
    samples = roll_out(policy, judge, prompts, recipe, seed)
    busy.append(time.process_time())
    asked_about, images = samples.rollout.chains.prompts, list(samples.images)
    clock = [time.perf_counter()]
    draw(policy, prompts, recipe, seed)
    clock.append(time.perf_counter())
    busy.append(time.process_time())
    rewards.stage_one(judge, asked_about, samples.chains, recipe.reward)
    clock.append(time.perf_counter())
    rewards.stage_two(judge, asked_about, samples.chains, images, recipe.reward)
    clock.append(time.perf_counter())
    sampling, one, two = (after - before for before, after in pairwise(clock))
    hidden, waited = (samples.seconds[f"seconds/judge_{name}"] for name in ("hidden", "waited"))
    step = samples.seconds["seconds/rollout"] + waited
    whole, drawing = (after - before for before, after in pairwise(busy))
    ratio = step / (max(sampling, one) + two)
    return sampling, one, two, step, hidden, waited, whole - drawing, ratio


def main() -> None:
    """Measures, prints the table; exit code 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default=str(ROOT / "recipes" / "icons.yaml"))
    parser.add_argument("--delays", type=float, nargs="*", help="seconds an answer takes")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count")
    parser.add_argument("--concurrency", type=int, default=512, help="requests open at once")
    parser.add_argument("--thread", action="store_true", help="ask from a thread, not a worker")
    parser.add_argument("--set", nargs="*", default=[], metavar="section.key=value")
    args = parser.parse_args()
    recipe = load_recipe(args.recipe, args.set)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    policy = load_policy(recipe.model.path, getattr(torch, recipe.model.dtype))
    policy.to(device)
    prompts = load_prompts(recipe.data, quiet=True).draw(recipe.rl.prompts, 0)
    with server() as (url, delay):
        settings = OpenAISettings(model="fixed", urls=[url], concurrency=args.concurrency)
        judge = (OpenAIJudge if args.thread else WorkerJudge)(settings, MLLMSettings())
        sampling = one_round(policy, judge, prompts, recipe, seed=0)[0]  # warms up
        sampling = one_round(policy, judge, prompts, recipe, seed=0)[0]
        # Short against drawing, on the edge, as long as all sampling, and too long to hide.
        delays = args.delays or [round(share * sampling, 2) for share in (0.1, 0.5, 1.0, 2.0)]
        print(
            f"{recipe.model.path}, {recipe.rl.prompts} prompts x {recipe.rl.group} samples, "
            f"{args.concurrency} requests at once, {device}, {torch.get_num_threads()} threads, "
            f"{type(judge).__name__}; medians of {args.rounds} rounds, seconds\n"
        )
        print(f"{'delay':>8}" + "".join(f"{name:>10}" for name in COLUMNS), flush=True)
        worst = 0.0
        for delay.value in delays:
            rounds = [
                one_round(policy, judge, prompts, recipe, seed)
                for seed in range(1, 1 + args.rounds)
            ]
            medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
            print(
                f"{delay.value:8.2f}" + "".join(f"{value:10.2f}" for value in medians), flush=True
            )
            worst = max(worst, medians[-1])
        judge.close()
    if worst > GOAL:
        raise SystemExit(f"a step costs {worst:.2f} of the goal, more than {GOAL}")


if __name__ == "__main__":
    main()

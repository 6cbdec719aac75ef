"""A whole RL step, `roll_out` and `improve`: where its seconds go.

    python bench/step.py                                  # the embedded recipe
    python bench/step.py recipes/icons.yaml rollout.guidance=5 rl.group=16 --steps 10

The code that runs is what `got-r1 train rl` runs; a clock is put around its parts from outside. A
phase's seconds are its own, without those of phases inside it. R_sem and R_spa are judged in a
thread while images are drawn, so the judge's row holds what comes after: R_RI and R_PI.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from got_r1 import rewards
from got_r1.judges import load_judge
from got_r1.policy import load_policy
from got_r1.policy.decoder import Cache
from got_r1.policy.janus import Policy
from got_r1.policy.sampler import Sampler
from got_r1.recipes.recipe_file import load_recipe
from got_r1.training import policy_update
from got_r1.training.optimizer import make_optimizer
from got_r1.training.prompts import load_prompts
from got_r1.training.rollout import roll_out
from got_r1.training.run import seed_step

RECIPE = Path(__file__).parents[1] / "recipes" / "icons.yaml"

# What is timed, and under which name. `decode` is pixels from tokens.
PARTS: list[tuple[Any, str, str]] = [
    (Cache, "prefill", "prefill"),
    (Sampler, "write_chains", "chain steps"),
    (Sampler, "draw_images", "image steps"),
    (Policy, "decode_images", "decode"),
    (rewards, "stage_two", "judge"),
    (policy_update, "reference_logprobs", "reference replay"),
    (policy_update, "replay_answers", "replay"),
    (torch.Tensor, "backward", "backward"),
    (policy_update, "update", "optimizer"),
]
WHOLE = {"reference replay"}  # phases that keep what happens inside them


class Clock:
    """Seconds by phase; phases nest, and each counts only its own."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self.wait = wait  # until the device is done
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = 0.0

    def turn(self, name: str | None) -> None:
        """Ends the seconds of the phase that runs; `name` opens another in it, None goes back."""
        self.wait()
        now = time.perf_counter()
        if self._open:
            running = self._open[-1]
            self.seconds[running] = self.seconds.get(running, 0.0) + now - self._since
        if name is None:
            self._open.pop()
        else:
            self._open.append(name)
        self._since = now

    def around(self, owner: Any, attribute: str, name: str) -> None:
        """Puts the clock around a function, a method or a class method."""
        found = vars(owner)[attribute]
        function = found.__func__ if isinstance(found, classmethod) else found

        def timed(*args: Any, **kwargs: Any) -> Any:
            if not self._open or self._open[-1] in WHOLE:
                return function(*args, **kwargs)
            self.turn(name)
            try:
                return function(*args, **kwargs)
            finally:
                self.turn(None)

        setattr(owner, attribute, classmethod(timed) if isinstance(found, classmethod) else timed)


def main() -> None:
    """Takes steps, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", default=str(RECIPE))
    parser.add_argument("overrides", nargs="*", help="section.key=value")
    parser.add_argument("--steps", type=int, default=5, help="steps that count")
    args = parser.parse_args()
    recipe = load_recipe(Path(args.recipe), args.overrides)
    if recipe.run.threads:
        torch.set_num_threads(recipe.run.threads)
    judge, prompts = load_judge(recipe.judge.spec), load_prompts(recipe.data, quiet=True)
    policy = load_policy(recipe.model.path, getattr(torch, recipe.model.dtype))
    policy.prepare_training(recipe.model.lora)
    policy.freeze_reference()
    on_gpu = torch.cuda.is_available()
    policy.to("cuda" if on_gpu else "cpu")
    optimizer = make_optimizer(policy.trainable().values(), recipe.rl)

    clock = Clock(torch.cuda.synchronize if on_gpu else lambda: None)
    for part in PARTS:
        clock.around(*part)
    steps: list[dict[str, float]] = []
    for step in range(args.steps + 1):
        seed = seed_step(recipe.run.seed, step)
        chosen = prompts.draw(recipe.rl.prompts, seed)
        clock.seconds = {}
        clock.turn("everything else")
        samples = roll_out(policy, judge, chosen, recipe, seed)
        policy_update.improve(policy, optimizer, samples, recipe, step + 1)
        clock.turn(None)
        steps.append(clock.seconds)
    steps = steps[1:]  # the first one warms up

    text = policy.model.config.text_config
    where = torch.cuda.get_device_name() if on_gpu else "cpu"
    print(
        f"{recipe.model.path}: {text.num_hidden_layers} layers x {text.hidden_size}, "
        f"{recipe.rl.prompts} prompts x {recipe.rl.group} samples, "
        f"guidance {recipe.rollout.guidance:g}, {where}, {torch.get_num_threads()} CPU threads, "
        f"torch {torch.__version__}; medians of {len(steps)} steps"
    )
    total = statistics.median(sum(seconds.values()) for seconds in steps)
    print(f"\n{'phase':<18}{'seconds':>9}{'share':>8}   min .. max")
    for name in [*dict.fromkeys(name for *_, name in PARTS), "everything else"]:
        values = [seconds.get(name, 0.0) for seconds in steps]
        middle = statistics.median(values)
        print(
            f"{name:<18}{middle:>9.3f}{middle / total:>8.0%}   "
            f"{min(values):.3f} .. {max(values):.3f}"
        )
    print(f"{'step':<18}{total:>9.3f}")


if __name__ == "__main__":
    main()

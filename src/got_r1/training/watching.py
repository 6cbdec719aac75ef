"""A held-out judge beside the training: what it says never enters the reward.

The judge that rewards is also what the policy learns to please. Whether its scores still mean what
they meant is told by a second one, that nothing is trained on: it sees the same fixed prompts again
and again, with the same noise, and some of the steps' own samples. Both judges' answers are kept,
prompt by prompt, so that differences can be compared in pairs. (Our choice; the paper has nothing
of the kind.)
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from got_r1 import rewards
from got_r1.judges import load_judge
from got_r1.judges.base import Judge
from got_r1.records import TERMS, Chain, Prompt, Reward
from got_r1.sampling import generate
from got_r1.training.distributed import whole_weights
from got_r1.training.held_out import held_out_judge, watch_prompts
from got_r1.training.rollout import Samples
from got_r1.training.run import Run

__all__ = ["Watch"]

Told = tuple[list[Prompt], list[Chain], list[NDArray[np.uint8]]]
"""Prompts, their chains and their images."""

Row = dict[str, Any]
"""A prompt, and what both judges say of its image: {"prompt", "trained", "held_out"}."""


class Watch:
    """Asks the held-out judge as often as the recipe says; does nothing where there is none."""

    def __init__(self, run: Run, judge: Judge) -> None:
        self.run = run
        self.trained = judge
        section = held_out_judge(run.recipe)
        self.judge = None
        self.prompts: Sequence[Prompt] = ()
        if section is not None:
            terms = rewards.active_terms(run.recipe.reward)
            self.judge = load_judge(section, None, terms)
            self.prompts = run.ranks.share(watch_prompts(run.recipe))

    def look(self, step: int, samples: Samples | None = None) -> dict[str, float]:
        """What both judges say behind `step` updates, with some of this rank's samples of the step:
        metrics on the first rank, after writing everything down; nothing where it is not time.

        Every rank calls it. No answer of a judge is a failure of the run: a term that one of them
        could not answer for an image is left out of both.
        """
        recipe, ranks = self.run.recipe, self.run.ranks
        if self.judge is None or (step and step % recipe.watch.every and step != recipe.rl.steps):
            return {}
        start = time.perf_counter()
        mine = {"prompts": self._fixed(), "samples": self._own(samples) if samples else []}
        everything = ranks.gather(mine)
        if not everything:
            return {}
        look = {name: [row for part in everything for row in part[name]] for name in mine}
        self.run.records.log_watch(step, look)
        return summary(look) | {"seconds/watch": time.perf_counter() - start}

    def _fixed(self) -> list[Row]:
        """The fixed prompts, drawn by the policy as it is now."""
        run, recipe = self.run, self.run.recipe
        with whole_weights(run.policy):
            drawn = list(
                generate(
                    run.policy,
                    self.prompts,
                    seed=recipe.eval.seed,
                    rollout=recipe.rollout,
                    batch=recipe.eval.batch,
                )
            )
        told = (
            [one.prompt for one in drawn],
            [one.chain for one in drawn],
            [one.image for one in drawn],
        )
        trained = rewards.score(self.trained, *told, recipe.reward)
        return self._rows(told, trained)

    def _own(self, samples: Samples) -> list[Row]:
        """Some of a step's samples, spread over its groups; the trained judge has answered."""
        ranks, count = self.run.ranks, len(samples.rewards)
        wanted = min(count, -(-self.run.recipe.watch.samples // ranks.size))
        rows = np.linspace(0, count - 1, wanted).round().astype(int).tolist() if wanted else []
        prompts = samples.rollout.chains.prompts
        told = (
            [prompts[row] for row in rows],
            [samples.chains[row] for row in rows],
            [samples.images[row] for row in rows],
        )
        return self._rows(told, [samples.rewards[row] for row in rows])

    def _rows(self, told: Told, trained: list[Reward]) -> list[Row]:
        assert self.judge is not None
        held_out = rewards.score(self.judge, *told, self.run.recipe.reward)
        return [
            {"prompt": prompt.text, "trained": scores(one), "held_out": scores(other)}
            for prompt, one, other in zip(told[0], trained, held_out, strict=True)
        ]


def scores(reward: Reward) -> dict[str, float]:
    """The terms that were answered, and the total where there is one."""
    total = {} if reward.total is None else {"total": reward.total}
    return total | {name: value for name, value in reward.terms.items() if value is not None}


def summary(look: Mapping[str, Sequence[Row]]) -> dict[str, float]:
    """A look as metrics: means over the prompts that both judges answered, and half the width of
    the held-out one's 95% interval (normal, over prompts)."""
    found: dict[str, float] = {}
    for name in ("total", *TERMS):
        pairs = np.array(list(both(look["prompts"], name))).reshape(-1, 2)
        if len(pairs):
            found[f"watch_trained/{name}"] = float(pairs[:, 0].mean())
            found[f"watch/{name}"] = float(pairs[:, 1].mean())
            spread = float(pairs[:, 1].std(ddof=1)) if len(pairs) > 1 else 0.0
            found[f"watch_half/{name}"] = 1.96 * spread / len(pairs) ** 0.5
        own = np.array(list(both(look["samples"], name))).reshape(-1, 2)
        if len(own):
            found[f"watch_samples/{name}"] = float(own[:, 1].mean())
    return found


def both(rows: Iterable[Row], name: str) -> Iterable[tuple[float, float]]:
    """The answers for a term, where both judges have one: (trained, held out)."""
    for row in rows:
        if name in row["trained"] and name in row["held_out"]:
            yield row["trained"][name], row["held_out"][name]

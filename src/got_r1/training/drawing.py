"""Prompts drawn by the policy as it is now, always with the same noise, and what a judge says."""

from __future__ import annotations

from collections.abc import Sequence

from got_r1 import rewards
from got_r1.judges.base import Judge
from got_r1.policy.janus import Policy
from got_r1.records import Prompt, Reward
from got_r1.sampling import Drawing, generate
from got_r1.training.distributed import whole_weights
from got_r1.training.run import Run

__all__ = ["draw_fixed", "judge_drawings"]


def draw_fixed(run: Run[Policy], prompts: Sequence[Prompt]) -> list[Drawing]:
    """One sample of each prompt, by the recipe's evaluation seed. Every rank calls it, with its
    share of the prompts."""
    recipe = run.recipe
    with whole_weights(run.policy):
        return list(
            generate(
                run.policy,
                prompts,
                seed=recipe.eval.seed,
                rollout=recipe.rollout,
                batch=recipe.eval.batch,
            )
        )


def judge_drawings(judge: Judge, drawings: Sequence[Drawing], run: Run[Policy]) -> list[Reward]:
    """The rewards of drawings by a judge, in order."""
    return rewards.score(
        judge,
        [drawing.prompt for drawing in drawings],
        [drawing.chain for drawing in drawings],
        [drawing.image for drawing in drawings],
        run.recipe.reward,
    )

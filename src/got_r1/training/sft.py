"""Supervised fine-tuning: the policy learns to write template-like chains and to draw from them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from got_r1.config import Recipe
from got_r1.data import open_data
from got_r1.data.prepare import prepare
from got_r1.data.tokens import Tokens
from got_r1.policy import load_policy
from got_r1.training.optimizer import make_optimizer, update
from got_r1.training.run import Run, seed_step

__all__ = ["train"]

BUCKETS = 8  # batches that are cut together from one length-sorted draw


def train(recipe: Recipe, resume: bool = False, quiet: bool = False) -> dict[str, object]:
    """Trains `model.path` by `recipe.sft`; returns a summary with the folder of the model."""
    section = recipe.sft
    policy = load_policy(recipe.model.path)
    data = open_data(policy, recipe)
    policy.prepare_training(recipe.model.lora)
    optimizer = make_optimizer(policy.trainable().values(), section)

    with Run.open(
        recipe, section, policy, optimizer, title="SFT", resume=resume, quiet=quiet
    ) as run:
        if not isinstance(data, Tokens):
            data = prepare(policy, data, run.folder / "tokens", recipe.data, quiet=quiet)
        policy.model.train()
        for step in run.steps():
            seed_step(recipe.run.seed, step)
            batch = data[draw_rows(data, section.batch, recipe.run.seed, step)]
            hidden = torch.rand(len(batch)) < section.condition_dropout
            with torch.autocast(policy.device.type, torch.bfloat16, enabled=section.autocast):
                replay = policy.replay(batch.unconditional(policy.pad_id, rows=hidden))
            written = batch.chain_mask & ~hidden[:, None]
            chain_loss = -replay.chain_logprobs[written].mean()
            image_loss = -replay.image_logprobs.mean()
            loss = chain_loss + section.image_loss_weight * image_loss
            loss.backward()
            metrics = update(optimizer, section, step)
            metrics |= {"loss": loss.item()}
            metrics |= {"loss/chain": chain_loss.item(), "loss/image": image_loss.item()}
            run.log(step, metrics)
        return run.summary(model=str(run.finish()))


def draw_rows(data: Tokens, batch: int, seed: int, step: int) -> Tensor:
    """The rows of one step, of about one length: `BUCKETS` batches are drawn together, sorted by
    length and dealt out one a step. A function of (seed, step) alone."""
    block, place = divmod(step - 1, BUCKETS)
    rng = np.random.default_rng((seed, block))
    rows = torch.from_numpy(rng.integers(len(data), size=batch * BUCKETS))
    by_length = rows[data.text_lengths[rows].argsort(stable=True)].view(BUCKETS, batch)
    return by_length[rng.permutation(BUCKETS)[place]]

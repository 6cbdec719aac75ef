"""Supervised fine-tuning: the policy learns to write template-like chains and to draw from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from got_r1.data import open_data
from got_r1.data.base import Source
from got_r1.data.prepare import prepare
from got_r1.data.tokens import Tokens, check_tokens
from got_r1.policy import load_encoder
from got_r1.policy.janus import Policy, TokenBatch
from got_r1.recipes.checks import check_settings
from got_r1.recipes.sections import Recipe
from got_r1.training.distributed import (
    ALONE,
    Ranks,
    grad_sync_context,
    load_share,
    parallelize,
    processes,
)
from got_r1.training.micro_batches import micro_batches, same_number
from got_r1.training.optimizer import make_optimizer, update
from got_r1.training.precision import in_bfloat16
from got_r1.training.run import Run, seed_step

__all__ = ["train"]

BUCKETS = 8  # batches that are cut together from one length-sorted draw


def train(recipe: Recipe, resume: bool = False, quiet: bool = False) -> dict[str, object]:
    """Trains `model.path` by `recipe.sft`; returns a summary with the folder of the model."""
    check_settings(recipe, "sft")
    section = recipe.sft
    with processes(recipe.scale) as ranks:
        policy = load_share(recipe.model, recipe.scale, ranks)
        if recipe.data.shards:  # one process reads the files for their digests
            ranks.run_on_rank0(lambda: check_tokens(Path(recipe.data.shards)))
        data = open_data(policy, recipe, verify=False)
        seed_step(recipe.run.seed, 0)  # adapters begin at random
        policy.prepare_training(recipe.model.lora)
        low_precision = in_bfloat16(section.autocast, recipe.model.dtype, ranks.device.type)
        parallelize(policy, recipe.model, recipe.scale, ranks, autocast=low_precision)
        optimizer = make_optimizer(policy.trainable().values(), section)

        with Run.open(
            recipe, section, policy, optimizer, title="SFT", resume=resume, quiet=quiet, ranks=ranks
        ) as run:
            if not isinstance(data, Tokens):
                data = encode(data, policy, recipe, run, quiet=quiet)
            for step in run.steps():
                seed_step(recipe.run.seed, step)
                batch = data[draw_rows(data, section.batch, recipe.run.seed, step)]
                hidden = torch.rand(len(batch)) < section.condition_dropout
                metrics = learn(policy, optimizer, batch, hidden, recipe, step, ranks)
                run.log(step, metrics)
                run.watch(step, metrics)
            policy.carry_sampling(recipe.rollout)
            return run.summary(model=str(run.finish()))


def learn(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    batch: TokenBatch,
    hidden: Tensor,
    recipe: Recipe,
    step: int,
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """One update on a step's batch; returns metrics.

    The rows marked in `hidden` (bool [B]) keep neither prompt nor chain. Every rank is given the
    whole batch, so each knows the totals, and replays every `ranks.size`th row.
    """
    section = recipe.sft
    batch = batch.unconditional(policy.pad_id, rows=hidden)
    if section.image_loss_weight == 0:  # a first token that is not fed keeps the shapes
        batch = replace(batch, image_ids=batch.image_ids[:, :1])
    written = batch.chain_mask & ~hidden[:, None]
    totals = (int(written.sum().clamp(min=1)), batch.image_ids.numel())
    mine = micro_batches(
        torch.arange(ranks.rank, len(batch), ranks.size),
        batch.text_lengths + batch.image_ids.shape[1],
        samples=len(batch),
        tokens=recipe.scale.micro_tokens,
    )
    micro = same_number(mine, torch.ones(len(batch), 1), ranks)
    low_precision = in_bfloat16(section.autocast, recipe.model.dtype, policy.device.type)
    losses = torch.zeros(2, device=policy.device)
    with policy.training_mode():
        for index, (rows, counts) in enumerate(micro):
            with grad_sync_context(policy, last=index == len(micro) - 1):
                with torch.autocast(policy.device.type, torch.bfloat16, enabled=low_precision):
                    replay = policy.replay(batch[rows].to(policy.device))
                chain_counts = (written[rows, : replay.chain_logprobs.shape[1]] * counts).to(losses)
                chain_loss = -(replay.chain_logprobs * chain_counts).sum() / totals[0]
                image_loss = -(replay.image_logprobs * counts.to(losses)).sum() / totals[1]
                loss = (
                    section.chain_loss_weight * chain_loss + section.image_loss_weight * image_loss
                )
                (loss * ranks.size).backward()
            losses += torch.stack([chain_loss, image_loss]).detach()
    chain, image = ranks.sum(losses).tolist()
    total = section.chain_loss_weight * chain + section.image_loss_weight * image
    metrics = update(optimizer, section, step, total) | {"loss": total, "loss/chain": chain}
    return metrics | ({"loss/image": image} if section.image_loss_weight else {})


def encode(
    source: Source, policy: Policy, recipe: Recipe, run: Run[Policy], *, quiet: bool
) -> Tokens:
    """The source as tokens in the run folder. The first rank makes them, by weights of its own in
    float32, whatever the policy's; for large sources `got-r1 prepare` is the better place."""
    folder = run.folder / "tokens"

    def make() -> None:
        encoder = load_encoder(recipe.model.path, verify=False)  # `load_share` has compared
        for part in encoder.pixel_parts(encoder=True):
            part.to(run.ranks.device)
        marks = recipe.rollout.marks
        prepare(encoder, source, folder, recipe.data, marks=marks, quiet=quiet)

    run.ranks.run_on_rank0(make)
    return Tokens.open(folder, policy, verify=False)


def draw_rows(data: Tokens, batch: int, seed: int, step: int) -> Tensor:
    """The rows of one step, of about one length: `BUCKETS` batches are drawn together, sorted by
    length and dealt out one a step. A function of (seed, step) alone."""
    block, place = divmod(step - 1, BUCKETS)
    rng = np.random.default_rng((seed, block))
    rows = torch.from_numpy(rng.integers(len(data), size=batch * BUCKETS))
    by_length = rows[data.text_lengths[rows].argsort(stable=True)].view(BUCKETS, batch)
    return by_length[rng.permutation(BUCKETS)[place]]

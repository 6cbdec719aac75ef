"""One update of the policy: a step's samples in, changed weights and metrics out.

    batch = prepare(...)                    # advantages, token weights, micro-batches, reference
    for each of `rl.inner_epochs`:
        accumulate(...); optimizer.step()   # replay, `grpo.loss`, gradients
    sampling_metrics(...)                   # replayed against sampled log-probs, entropies

Shapes: B samples of this rank, b of them in a micro-batch; a sample is one row of L = C + I tokens,
its chain padded to C, then its I image tokens (0 where only plans are trained).
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from got_r1 import grpo
from got_r1.policy.janus import Policy, Replay, TokenBatch
from got_r1.recipes.sections import Recipe, RLSection
from got_r1.records import Rollout
from got_r1.training.distributed import ALONE, Ranks, grad_sync_context
from got_r1.training.micro_batches import micro_batches, same_number
from got_r1.training.optimizer import update
from got_r1.training.precision import in_bfloat16
from got_r1.training.rollout import Samples

__all__ = ["group_advantages", "improve"]


def improve(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    samples: Samples,
    recipe: Recipe,
    step: int,
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """Updates the policy on one step's samples (this rank's share of them), `rl.inner_epochs`
    times; returns metrics of all ranks together."""
    section, start = recipe.rl, time.perf_counter()
    advantages = group_advantages(samples, section)
    batch = prepare(policy, samples, advantages, recipe, ranks)
    metrics: dict[str, float] = {}
    first: list[Replay] = []  # of the weights that sampled: the denominators of the ratios
    with policy.training_mode():
        for _ in range(section.inner_epochs):
            loss, statistics, replays = accumulate(policy, batch, first, recipe, ranks)
            first = first or replays
            total = float(ranks.sum(loss))
            metrics |= {"loss": total} | update(optimizer, section, step, total)
            if statistics is not None:
                metrics |= of_all_ranks(statistics, ranks).means()
    if batch.micro:
        metrics["clip_fraction"] = metrics["clip_fraction_low"] + metrics["clip_fraction_high"]
        metrics |= sampling_metrics(batch, first, ranks)
    return metrics | {
        "dropped_samples": float(ranks.sum(advantages.dropped_samples)),
        "skipped_groups": float(ranks.sum(advantages.skipped_groups)),
        "seconds/update": time.perf_counter() - start,
    }


# -- prepare ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """What stays the same through an update. Its tensors lie on the policy's device, apart from the
    row indices."""

    tokens: TokenBatch
    mask: Tensor  # bool [B, L], True where the policy sampled the token
    behaviour: Tensor  # float32 [B, L], log-probs when they were sampled
    advantages: Tensor  # float32 [B]
    total: Tensor  # scalar, the denominator of the loss on all ranks
    micro: list[tuple[Tensor, Tensor]]  # rows int64 [b] and their token weights float32 [b, L]
    own: int  # how many of `micro` hold rows in the loss; the others fill up to the other ranks
    reference: list[Tensor | None]  # float32 [b, L] for each of `micro`; None without a KL


def prepare(
    policy: Policy, samples: Samples, advantages: grpo.Advantages, recipe: Recipe, ranks: Ranks
) -> Batch:
    """Cuts a step's samples into micro-batches; rows that take no part in the loss are left out."""
    section, device = recipe.rl, policy.device
    kept = advantages.keep.flatten()
    tokens = TokenBatch.from_rollout(samples.rollout, policy.pad_id)
    behaviour, mask = whole_answers(samples.rollout)
    weights = grpo.token_weights(
        mask & kept[:, None],
        token_factors(mask, tokens, section),
        aggregation=section.aggregation,
        fixed_length=recipe.rollout.chain_limit + policy.image_tokens,
    )
    total = ranks.sum(weights.total * kept.any()).clamp(min=1e-9)  # 0: nothing to learn anywhere
    own = micro_batches(
        kept.nonzero().squeeze(1),
        tokens.text_lengths + tokens.image_ids.shape[1],
        samples=section.micro_batch,
        tokens=recipe.scale.micro_tokens,
    )
    micro = same_number(own, weights.weights.to(device), ranks)
    tokens, mask = tokens.to(device), mask.to(device)
    return Batch(
        tokens=tokens,
        mask=mask,
        behaviour=behaviour.to(device),
        advantages=advantages.values.flatten().to(device),
        total=total,
        micro=micro,
        own=len(own),
        reference=[reference_logprobs(policy, tokens[rows], recipe, mask) for rows, _ in micro],
    )


def group_advantages(samples: Samples, section: RLSection) -> grpo.Advantages:
    """The advantages of the samples, [prompts, group]; those without a reward are not kept."""
    totals = torch.tensor([torch.nan if r.total is None else r.total for r in samples.rewards])
    totals = totals.view(-1, samples.group)
    return grpo.advantages(totals, totals.isfinite(), std_normalisation=section.std_normalisation)


def whole_answers(rollout: Rollout) -> tuple[Tensor, Tensor]:
    """The behaviour-policy log-probs, float32 [B, L], and which tokens were sampled, bool [B, L]:
    chain tokens, padded, then image tokens."""
    pad = torch.nn.utils.rnn.pad_sequence
    chain_logprobs = pad(list(rollout.chains.logprobs), batch_first=True)
    chain_mask = pad(list(rollout.chains.loss_mask), batch_first=True)
    image_mask = torch.ones_like(rollout.image_ids, dtype=torch.bool)
    return (
        torch.cat([chain_logprobs, rollout.image_logprobs], dim=1),
        torch.cat([chain_mask, image_mask], dim=1),
    )


def token_factors(mask: Tensor, tokens: TokenBatch, section: RLSection) -> Tensor:
    """float32 [B, L]: `rl.chain_weight` on chain tokens, `rl.image_weight` on image tokens."""
    weights = torch.full(mask.shape, section.image_weight)
    weights[:, : mask.shape[1] - tokens.image_ids.shape[1]] = section.chain_weight
    return weights


# -- replay and gradients --------------------------------------------------------------------------


def accumulate(
    policy: Policy, batch: Batch, first: list[Replay], recipe: Recipe, ranks: Ranks
) -> tuple[Tensor, grpo.LossStatistics | None, list[Replay]]:
    """Adds up the gradients of one pass over the batch.

    `first` are the replays of the update's first pass, empty in that pass itself, whose ratios are
    all 1. Returns the loss of this rank, its statistics (None without micro-batches) and the
    replays, detached.
    """
    section = recipe.rl
    loss = torch.zeros((), device=policy.device)
    statistics: list[grpo.LossStatistics] = []
    replays: list[Replay] = []
    for index, (rows, weights) in enumerate(batch.micro):
        with grad_sync_context(policy, last=index == len(batch.micro) - 1):
            replay = replay_answers(policy, batch.tokens[rows], recipe)
            part, found = grpo.loss(
                join(replay, batch.mask),
                join(first[index], batch.mask) if first else None,
                batch.reference[index],
                batch.advantages[rows],
                weights,
                batch.total,
                clip_low=section.clip_low,
                clip_high=section.clip_high,
                kl_coef=section.kl_coef,
            )
            (part * ranks.size).backward()
        loss += part.detach()
        statistics.append(found)
        replays.append(Replay(*(tensor.detach() for tensor in replay)))
    return loss, sum(statistics[1:], start=statistics[0]) if statistics else None, replays


def replay_answers(policy: Policy, batch: TokenBatch, recipe: Recipe) -> Replay:
    settings = recipe.rollout
    low_precision = in_bfloat16(recipe.rl.autocast, recipe.model.dtype, policy.device.type)
    with torch.autocast(policy.device.type, torch.bfloat16, enabled=low_precision):
        return policy.replay(
            batch,
            mode=recipe.rl.logprob_mode,
            guidance=settings.guidance,
            chain_temperature=settings.chain_temperature,
            image_temperature=settings.image_temperature,
        )


def reference_logprobs(
    policy: Policy, batch: TokenBatch, recipe: Recipe, mask: Tensor
) -> Tensor | None:
    """The reference policy's log-probabilities; not computed where no KL is asked for."""
    if recipe.rl.kl_coef == 0:
        return None
    with policy.reference() as reference:
        return join(replay_answers(reference, batch, recipe), mask)


def join(replay: Replay, mask: Tensor) -> Tensor:
    """The log-probs of a (micro-batch's) replay in the columns of `mask`: float32 [b, L]."""
    images = replay.image_logprobs.shape[1]
    missing = mask.shape[1] - images - replay.chain_logprobs.shape[1]
    return torch.cat([F.pad(replay.chain_logprobs, (0, missing)), replay.image_logprobs], dim=1)


# -- metrics ---------------------------------------------------------------------------------------


def sampling_metrics(batch: Batch, first: list[Replay], ranks: Ranks) -> dict[str, float]:
    """How far the first replay is from the log-probs that sampled, and the policy's entropies, over
    the tokens of all ranks."""
    replays, none = first[: batch.own], batch.behaviour[:0]
    rows = torch.cat([*(rows for rows, _ in batch.micro[: batch.own]), torch.zeros(0).long()])
    replayed = torch.cat([*(join(replay, batch.mask) for replay in replays), none])
    gap = grpo.ratio_gap(replayed, batch.behaviour[rows], batch.mask[rows])
    metrics = {"ratio_gap": ranks.mean(gap, int(batch.mask[rows].sum()))}
    for name, parts in (
        ("entropy/chain", [r.chain_entropy[r.chain_entropy > 0] for r in replays]),
        ("entropy/image", [r.image_entropy.flatten() for r in replays]),
    ):
        entropies = torch.cat([*parts, none.flatten()])
        if name == "entropy/image" and not batch.tokens.image_ids.shape[1]:
            continue
        mean = float(entropies.sum()) / max(1, len(entropies))
        metrics[name] = ranks.mean(mean, len(entropies))
    return metrics


def of_all_ranks(statistics: grpo.LossStatistics, ranks: Ranks) -> grpo.LossStatistics:
    """The statistics of a step's tokens on all ranks."""
    sums = {
        field.name: ranks.sum(value)
        for field in dataclasses.fields(statistics)
        if (value := getattr(statistics, field.name)) is not None
    }
    return dataclasses.replace(statistics, **sums | {"ratio_max": ranks.max(statistics.ratio_max)})

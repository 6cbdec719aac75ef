"""Group-relative policy optimisation: tensors in, tensors out.

The algorithm in three calls. `advantages` compares each sample with its group, `token_weights`
gives the weight of every token in the batch, `loss` is the clipped objective with a KL to the
reference policy. Weights and their total are computed once for the whole batch: micro-batches slice
the weights and share the total, so that their losses add up to the loss of the whole batch.

Shapes: P prompts, G samples per prompt (a group), B = P * G sequences of at most L tokens. A
sequence is the whole answer: chain tokens, then image tokens.

Sources: GRPO, DeepSeekMath (arXiv 2402.03300) section 4.1; "fixed" aggregation and advantages
without the std, Dr. GRPO (arXiv 2503.20783); "token" aggregation and two clip bounds, DAPO (arXiv
2503.14476). GoT-R1 (arXiv 2505.17022) states the objective but neither clip bounds nor beta.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "Advantages",
    "Aggregation",
    "LossStatistics",
    "TokenWeights",
    "advantages",
    "loss",
    "ratio_gap",
    "token_weights",
]

Aggregation = Literal["token", "sequence", "fixed"]

STD_EPSILON = 1e-4  # added to a group's std, as TRL does: keeps a nearly flat group's values small
MIN_SPREAD = 1e-6  # rewards closer than float32 rounding of values near 1 count as equal


@dataclass(frozen=True, slots=True)
class Advantages:
    """The group-relative advantage of every sample."""

    values: Tensor  # float [P, G], 0 where `keep` is False
    keep: Tensor  # bool [P, G]: True where the sample is in the loss
    mean: Tensor  # float [P], mean reward of the kept samples (0 where there are none)
    std: Tensor  # float [P], their sample std (0 where there are fewer than two)
    skipped_groups: int  # excluded groups: fewer than two kept samples, or no variance
    dropped_samples: int  # samples that came with keep=False


def advantages(
    rewards: Tensor, keep: Tensor | None = None, *, std_normalisation: bool = True
) -> Advantages:
    """Normalise rewards inside each group: (r - mean) / (std + 1e-4).

    Mean and std are taken over the kept samples; the std has the n-1 denominator, as in TRL (the
    papers do not say). A group with fewer than two kept samples, or whose rewards are all equal,
    has no learning signal: it is skipped, so its tokens count neither in the objective nor in the
    KL nor in any denominator (our choice; in TRL it counts in the mean and in the KL).

    Args:
        rewards: float [P, G]. Values where `keep` is False are never read; NaN is fine there.
        keep: bool [P, G], False for samples without a reward (a judge failed); None keeps all.
        std_normalisation: divide by the std; False gives the difference to the mean.
    """
    if rewards.dim() != 2:
        raise ValueError(f"rewards must be [prompts, group], not of shape {tuple(rewards.shape)}")
    if keep is None:
        keep = torch.ones_like(rewards, dtype=torch.bool)
    elif keep.shape != rewards.shape or keep.dtype != torch.bool:
        raise ValueError("keep must be a bool tensor of the shape of rewards")
    kept = torch.where(keep, rewards, 0.0)
    if not torch.isfinite(kept).all():
        raise ValueError("a kept reward is not finite; set keep=False for samples without a reward")

    count = keep.sum(dim=1)
    mean = kept.sum(dim=1) / count.clamp(min=1)
    centred = torch.where(keep, rewards - mean[:, None], 0.0)
    std = (centred.square().sum(dim=1) / (count - 1).clamp(min=1)).sqrt()
    highest = torch.where(keep, rewards, -torch.inf).amax(dim=1)
    lowest = torch.where(keep, rewards, torch.inf).amin(dim=1)
    used = (count >= 2) & (highest - lowest > MIN_SPREAD)

    values = centred / (std[:, None] + STD_EPSILON) if std_normalisation else centred
    return Advantages(
        values=torch.where(used[:, None], values, 0.0),
        keep=keep & used[:, None],
        mean=mean,
        std=std,
        skipped_groups=int((~used).sum()),
        dropped_samples=int((~keep).sum()),
    )


@dataclass(frozen=True, slots=True)
class TokenWeights:
    """The loss of a batch is `(weights * token losses).sum() / total`."""

    weights: Tensor  # float [B, L], 0 for tokens outside the loss
    total: Tensor  # float scalar, > 0; processes that share a batch sum it before using it


def token_weights(
    mask: Tensor,
    weights: Tensor | None = None,
    *,
    aggregation: Aggregation = "token",
    fixed_length: int | None = None,
) -> TokenWeights:
    """The weight of each token, over a *whole* batch (before it is split into micro-batches).

    With w = mask * weights, and B the number of sequences with any weight:

    - "token": sum(w * x) / sum(w), every token of the batch equally (DAPO, TRL's `bnpo`);
    - "sequence": mean over sequences of sum_row(w * x) / sum_row(w) (GRPO, TRL's `grpo`);
    - "fixed": sum(w * x) / (B * fixed_length), no length in the denominator (TRL's `dr_grpo`).

    Weights scale numerator and denominator: all ones is the plain loss, and weight 0 on the image
    tokens is exactly the loss of the chains alone. Sequences without weight (dropped, or
    of a skipped group) count nowhere. An empty batch has loss 0.

    Args:
        mask: bool [B, L], True for tokens that the policy sampled and that are kept.
        weights: float [B, L], >= 0, for example one value for chain and one for image tokens.
        aggregation: see above.
        fixed_length: tokens per sequence in the denominator, for "fixed" only.
    """
    if mask.dtype != torch.bool:
        raise ValueError("mask must be a bool tensor")
    effective = mask.float() if weights is None else torch.where(mask, weights, 0.0)
    row = effective.sum(dim=1)
    sequences = (row > 0).sum().to(effective.dtype)
    match aggregation:
        case "token":
            total = row.sum()
        case "sequence":
            effective = effective / torch.where(row > 0, row, 1.0)[:, None]
            total = sequences
        case "fixed":
            if fixed_length is None or fixed_length < 1:
                raise ValueError("aggregation 'fixed' needs fixed_length >= 1")
            total = sequences * fixed_length
        case _:
            raise ValueError(f"unknown aggregation {aggregation!r}: use token, sequence or fixed")
    return TokenWeights(effective, torch.where(total > 0, total, 1.0))


@dataclass(frozen=True, slots=True)
class LossStatistics:
    """Sums over the tokens in the loss, so that micro-batches add up with `+`.

    Tokens count equally here whatever their weight: the sums are for monitoring only.
    """

    tokens: Tensor  # scalar: tokens with a weight
    kl: Tensor | None  # sum of the k3 estimate of KL(policy || reference); None without a reference
    clipped_low: Tensor  # tokens whose ratio fell below the lower bound with a negative advantage
    clipped_high: Tensor  # tokens whose ratio rose above the upper bound with a positive advantage
    ratio: Tensor  # sum of the ratios policy / old policy
    ratio_gap: Tensor  # sum of |ratio - 1|
    ratio_max: Tensor  # largest ratio

    def __add__(self, other: LossStatistics) -> LossStatistics:
        return LossStatistics(
            tokens=self.tokens + other.tokens,
            kl=None if self.kl is None or other.kl is None else self.kl + other.kl,
            clipped_low=self.clipped_low + other.clipped_low,
            clipped_high=self.clipped_high + other.clipped_high,
            ratio=self.ratio + other.ratio,
            ratio_gap=self.ratio_gap + other.ratio_gap,
            ratio_max=torch.maximum(self.ratio_max, other.ratio_max),
        )

    def means(self) -> dict[str, float]:
        """Per-token means for the metrics file; 0 without tokens, no `kl` without a reference."""
        tokens = self.tokens.clamp(min=1)
        sums = {
            "kl": self.kl,
            "clip_fraction_low": self.clipped_low,
            "clip_fraction_high": self.clipped_high,
            "ratio_mean": self.ratio,
            "ratio_gap": self.ratio_gap,
        }
        means = {name: float(value / tokens) for name, value in sums.items() if value is not None}
        return means | {"ratio_max": float(self.ratio_max)}


def loss(
    logprobs: Tensor,
    old_logprobs: Tensor | None,
    ref_logprobs: Tensor | None,
    advantages: Tensor,
    weights: Tensor,
    total: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coef: float = 0.0,
) -> tuple[Tensor, LossStatistics]:
    """The clipped objective with its KL, as a loss to minimise.

    For each token, with ratio = exp(logprob - old) and d = ref - logprob:
    `-min(ratio * A, clip(ratio, 1 - clip_low, 1 + clip_high) * A) + kl_coef * (exp(d) - d - 1)`.
    The last factor is Schulman's k3 estimator of KL(policy || reference): never negative, and
    unbiased for tokens sampled from the policy.

    Args:
        logprobs: float [B, L], of the trained policy, with gradients; B may be a micro-batch.
        old_logprobs: float [B, L], the denominator of the ratio; None means the current values,
            right for the first update on a rollout (all ratios are then 1).
        ref_logprobs: float [B, L], of the reference policy; None omits the KL, and then
            `kl_coef` must be 0. With `kl_coef` 0 the KL is only measured.
        advantages: float [B], one per sequence (`Advantages.values`, flattened).
        weights: float [B, L], the rows of `TokenWeights.weights`. Log-probs are never read where
            the weight is 0, so padding may hold anything.
        total: `TokenWeights.total` of the whole batch.

    Returns:
        The loss (a scalar; sum it over micro-batches) and its statistics.
    """
    if advantages.shape != logprobs.shape[:1]:
        raise ValueError("advantages must be [B], one value a sequence of logprobs [B, L]")
    if kl_coef > 0 and ref_logprobs is None:
        raise ValueError("kl_coef > 0 needs ref_logprobs")
    active = weights > 0
    if old_logprobs is None:
        old_logprobs = logprobs.detach()
    # Padding is masked before exp: inf there would become NaN through inf * 0.
    ratio = torch.where(active, logprobs - old_logprobs, 0.0).exp()
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    advantage = advantages[:, None]
    token_loss = -torch.minimum(ratio * advantage, clipped * advantage)

    kl: Tensor | None = None
    if ref_logprobs is not None:
        difference = torch.where(active, ref_logprobs - logprobs, 0.0)
        kl = difference.expm1() - difference
        if kl_coef > 0:
            token_loss = token_loss + kl_coef * kl

    with torch.no_grad():
        statistics = LossStatistics(
            tokens=active.sum(),
            kl=None if kl is None else kl.detach().sum(),
            clipped_low=(active & (ratio < 1 - clip_low) & (advantage < 0)).sum(),
            clipped_high=(active & (ratio > 1 + clip_high) & (advantage > 0)).sum(),
            ratio=torch.where(active, ratio, 0.0).sum(),
            ratio_gap=(ratio - 1).abs().sum(),
            ratio_max=torch.where(active, ratio, 0.0).max(),
        )
    return (weights * token_loss).sum() / total, statistics


def ratio_gap(replayed: Tensor, sampled: Tensor, mask: Tensor) -> float:
    """Mean |exp(replayed - sampled log-prob) - 1| over the masked tokens; 0 if there are none.

    Replayed and behaviour-policy log-probs should agree; cached decoding in low precision and
    guidance widen the gap (our choice of measure; docs/numerics.md lists its sources). All [B, L];
    `mask` is bool.
    """
    gap = (replayed.detach() - sampled)[mask].expm1().abs()
    return float(gap.mean()) if gap.numel() else 0.0

"""AdamW with warm-up and cosine decay, the same for every loop."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from got_r1.policy.parameters import whole
from got_r1.recipes.sections import OptimizerSection

__all__ = ["learning_rate", "make_optimizer", "update"]


def learning_rate(section: OptimizerSection, step: int) -> float:
    """The learning rate of `step` (1 to `section.steps`): linear warm-up, then a cosine from the
    peak to `final_lr` times the peak."""
    if step <= section.warmup:
        return section.learning_rate * step / section.warmup
    # The cosine is read at the start of each step, so that the last one still moves.
    done = (step - 1 - section.warmup) / max(1, section.steps - section.warmup)
    low = section.final_lr
    share = low + (1 - low) * (1 + math.cos(math.pi * done)) / 2
    return section.learning_rate * share


def make_optimizer(
    parameters: Iterable[nn.Parameter], section: OptimizerSection
) -> torch.optim.AdamW:
    """AdamW over `parameters`; weight decay touches matrices only."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": section.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    betas = (section.beta1, section.beta2)
    return torch.optim.AdamW([g for g in groups if g["params"]], section.learning_rate, betas)


def update(
    optimizer: torch.optim.Optimizer, section: OptimizerSection, step: int, loss: float = 0.0
) -> dict[str, float]:
    """One clipped optimizer step on the accumulated gradients, which are then cleared.

    Where the gradient's norm or `loss` (the whole step's, the same on every rank) is not finite,
    weights and optimizer stay as they are, and the metrics hold `skipped_updates`.
    """
    rate = learning_rate(section, step)
    parameters = []
    for group in optimizer.param_groups:
        group["lr"] = rate
        parameters += group["params"]
    norm = float(whole(nn.utils.clip_grad_norm_(parameters, section.max_grad_norm)))
    finite = math.isfinite(norm) and math.isfinite(loss)
    if finite:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    metrics = {"lr": rate, "grad_norm": norm}
    return metrics if finite else metrics | {"skipped_updates": 1.0}

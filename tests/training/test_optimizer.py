"""The schedule against hand-computed numbers, and one update."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from got_r1.recipes.sections import OptimizerSection
from got_r1.training.optimizer import learning_rate, make_optimizer, update

SECTION = OptimizerSection(steps=10, learning_rate=1.0, warmup=2, final_lr=0.2)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (1, 0.5),
        (2, 1.0),
        (3, 1.0),  # the cosine begins
        (7, 0.6),  # half way: the middle of 1 and 0.2
        (10, 0.2 + 0.8 * (1 + math.cos(math.pi * 7 / 8)) / 2),
    ],
)
def test_learning_rate(step: int, rate: float) -> None:
    assert learning_rate(SECTION, step) == pytest.approx(rate)


def test_weight_decay_touches_matrices_only() -> None:
    layer = nn.Linear(3, 3)
    before = [p.detach().clone() for p in layer.parameters()]
    section = OptimizerSection(steps=1, learning_rate=0.1, weight_decay=0.5)
    optimizer = make_optimizer(layer.parameters(), section)
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    update(optimizer, section, 1)
    torch.testing.assert_close(layer.weight, before[0] * (1 - 0.1 * 0.5))
    torch.testing.assert_close(layer.bias, before[1])


def test_update_clips_and_reports_the_norm_before_clipping() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    section = OptimizerSection(steps=1, learning_rate=0.1, max_grad_norm=1.0)
    optimizer = make_optimizer([parameter], section)
    parameter.grad = torch.tensor([3.0, 4.0])
    metrics = update(optimizer, section, 1)
    assert metrics["grad_norm"] == pytest.approx(5.0)
    assert parameter.grad is None

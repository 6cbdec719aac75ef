"""Batches cut into what fits into memory at once."""

from __future__ import annotations

import torch
from torch import Tensor

from got_r1.training.distributed import Ranks

__all__ = ["micro_batches", "same_number"]


def micro_batches(
    rows: Tensor, lengths: Tensor, *, samples: int, tokens: int = 0
) -> tuple[Tensor, ...]:
    """Cuts `rows` (int64, indices into a batch) into parts of at most `samples` rows.

    With `tokens`, a part holds no more than that many tokens either, padding included, or a single
    row that is longer by itself; rows of like length then come together, the longest first, so that
    what does not fit fails at once. `lengths` (int64 [B]) are those of the whole batch's rows.
    """
    if not len(rows):
        return ()
    if not tokens:
        return rows.split(samples)
    rows = rows[lengths[rows].argsort(descending=True, stable=True)]
    parts: list[Tensor] = []
    first = 0
    while first < len(rows):
        fitting = max(1, min(samples, tokens // int(lengths[rows[first]])))
        parts.append(rows[first : first + fitting])
        first += fitting
    return tuple(parts)


def same_number(
    parts: tuple[Tensor, ...], weights: Tensor, ranks: Ranks
) -> list[tuple[Tensor, Tensor]]:
    """Pairs each part with its rows of `weights`, and fills up to the number of the rank that has
    most: ranks exchange weights and gradients in each. What fills up is row 0, at weight 0."""
    pairs = [(rows, weights[rows]) for rows in parts]
    missing = int(ranks.max(len(parts))) - len(parts)
    filler = torch.zeros(1, dtype=torch.long)
    return pairs + [(filler, torch.zeros_like(weights[filler]))] * missing

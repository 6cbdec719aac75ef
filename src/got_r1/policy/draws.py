"""Noise that belongs to a sample, and the token that a distribution has at a noise.

By inversion: one uniform number a token. (Gumbel noise would need one a word of the vocabulary.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from got_r1.records import Prompt

__all__ = ["draw", "invert", "uniforms"]


def uniforms(
    seed: int, prompts: Sequence[Prompt], samples: Sequence[int], stage: str, steps: int
) -> Tensor:
    """Noise in [0, 1), float64 [rows, steps], each row keyed by (seed, prompt, sample, stage)."""
    rows = []
    for prompt, sample in zip(prompts, samples, strict=True):
        key = hashlib.blake2b(f"{seed}/{sample}/{stage}/{prompt.text}".encode(), digest_size=16)
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key.digest())))
        rows.append(generator.random(steps))
    return torch.from_numpy(np.stack(rows))


def draw(logits: Tensor, noise: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """One token a row by inverting the cumulative distribution at `noise`.

    logits float32 [B, V]; noise float64 [B] in [0, 1). Returns ids int64 [B] and their
    log-probabilities float32 [B]. Temperature 0 takes the likeliest token, and its log-probability
    at temperature 1. Where logits are not finite, some id of the vocabulary comes with a NaN.
    """
    if temperature not in (0, 1):
        logits = logits / temperature
    logits = logits - logits.amax(dim=-1, keepdim=True)
    # Clamped, because numbers below float32's normal range are slow on a CPU. Nothing is lost:
    # noise of 53 bits does not meet e^-80.
    mass = logits.clamp_min(-80).exp_()
    greedy = temperature == 0
    ids = logits.argmax(dim=-1, keepdim=True) if greedy else invert(mass, noise[:, None])
    logprobs = logits.gather(1, ids) - mass.sum(dim=-1, keepdim=True).log()
    return ids.squeeze(1), logprobs.squeeze(1)


def invert(mass: Tensor, noise: Tensor) -> Tensor:
    """Where the cumulative sum of mass (float32 [B, V]) passes `noise` (float64 [B, 1]) of its
    total: int64 [B, 1].

    In two levels of about sqrt(V), so that a large vocabulary is summed once and never scanned in
    double precision: first the block, then the place in it.
    """
    size = 1 << (mass.shape[1].bit_length() // 2)
    blocks = F.pad(mass, (0, -mass.shape[1] % size)).view(len(mass), -1, size)
    sums = blocks.sum(dim=-1, dtype=torch.float64)
    passed = sums.cumsum(-1)
    target = noise * passed[:, -1:]
    block = torch.searchsorted(passed, target, right=True).clamp_max(sums.shape[1] - 1)
    target = target - (passed - sums).gather(1, block)
    inside = blocks.gather(1, block[..., None].expand(-1, -1, size)).squeeze(1).double().cumsum(-1)
    # Rounding may lift the rest to the block's total, behind which there are only empty places.
    target = torch.minimum(target, inside[:, -1:] * (1 - 1e-15))
    # NaN is passed by nothing, and would lead behind the vocabulary.
    places = block * size + torch.searchsorted(inside, target, right=True)
    return places.clamp_max(mass.shape[1] - 1)

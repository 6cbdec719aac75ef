"""Whether products are computed in bfloat16."""

from __future__ import annotations

import torch

__all__ = ["in_bfloat16", "is_fast_in_bfloat16"]


def in_bfloat16(autocast: bool, dtype: str, device: str) -> bool:
    """Whether forward and backward run under autocast: where the weights are bfloat16, or where the
    recipe asks for `autocast` and the device is fast in it.

    `dtype`: `model.dtype`; `device`: torch's name of its kind ("cpu", "cuda").
    """
    return dtype == "bfloat16" or (autocast and is_fast_in_bfloat16(device))


def is_fast_in_bfloat16(device: str) -> bool:
    """False for x86 processors with AVX2 and no AVX-512: they emulate bfloat16, and an SFT step of
    the icon recipe took 20.5 CPU seconds there, where float32 took 2.1."""
    return device != "cpu" or torch.backends.cpu.get_cpu_capability() != "AVX2"

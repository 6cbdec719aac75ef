"""How many kernels torch keeps on the CPU."""

from __future__ import annotations

import os

__all__ = ["KEPT", "bound_kernel_caches"]

KEPT = "16"
"""Kernels that are kept; torch's own choice is 1,024 in each of two caches."""


def bound_kernel_caches() -> None:
    """Keeps few of the kernels that torch makes for matrix products on the CPU.

    In bfloat16 oneDNN makes one for every shape, and torch keeps it with its buffers. Chains are of
    all lengths, so that a run of the icon recipe grew from 1.7 to 6.6 GB within 320 steps; making
    them anew takes no measurable time. What the environment sets stays. Works until the first such
    product of the process.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, KEPT)

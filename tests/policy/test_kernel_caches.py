"""Memory does not grow with the number of different lengths that a model sees."""

import os
import subprocess
import sys

import pytest

PRODUCTS = """
import torch
from got_r1.policy.kernel_caches import bound_kernel_caches

if {bound}:
    bound_kernel_caches()
torch.set_num_threads(1)
weight = torch.randn(256, 1024).bfloat16()

def megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

for rows in range(1000, 1600):
    torch.randn(rows, 256).bfloat16() @ weight
    if rows == 1100:
        start = megabytes()
print(megabytes() - start)
"""


def growth(bound: bool) -> float:
    """Megabytes that 500 products of different shapes leave behind, in a process of its own."""
    names = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    done = subprocess.run(
        [sys.executable, "-c", PRODUCTS.format(bound=bound)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_few_kernels_are_kept() -> None:
    if (unbound := growth(bound=False)) < 100:
        pytest.skip(f"torch keeps no kernels on this processor ({unbound:.0f} MB)")
    assert growth(bound=True) < unbound / 4

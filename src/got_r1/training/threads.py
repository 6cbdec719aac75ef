"""How many CPU threads torch uses: as many as there are free cores.

torch takes all cores that it may use. Where other processes use them too, its threads wait for each
other: on a crowded machine with two cores a step of the icon recipe took 180 s with two threads and
19 s with one.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from got_r1.progress import note

__all__ = ["cpu_quota", "free_cores", "set_threads"]

CGROUP = Path("/sys/fs/cgroup")


def set_threads(wanted: int, before: int = 0, *, quiet: bool = False) -> None:
    """Sets torch's number of CPU threads to `wanted`.

    With 0 it is what it was `before` in a run that goes on (0: not known), so that its numbers stay
    the same to the last bit. Else it is at most the number of cores that are free now, which a line
    on stderr tells where it is below torch's default; where the environment sets OMP_NUM_THREADS,
    as torchrun does, that default stays.
    """
    if wanted:
        torch.set_num_threads(wanted)
        return
    default = torch.get_num_threads()
    if before:
        torch.set_num_threads(min(before, default))
        return
    if "OMP_NUM_THREADS" in os.environ or default == 1:
        return
    threads = free_cores(default, os.cpu_count() or 1, os.getloadavg()[0], cpu_quota(CGROUP))
    if threads < default:
        torch.set_num_threads(threads)
        if not quiet:
            note(
                f"{threads} of {default} CPU threads are used, since the other cores are busy or "
                "not ours; run.threads sets the number"
            )


def free_cores(allowed: int, cores: int, load: float, quota: float | None = None) -> int:
    """How many of the `allowed` cores this process can count on, at least 1.

    `cores`: of the whole machine, which the load average `load` is about. `quota`: processor
    seconds a second that its control group may use, None for no limit.
    """
    free = min(allowed, round(cores - load))
    if quota is not None:
        free = min(free, int(quota))
    return max(1, free)


def cpu_quota(cgroup: Path) -> float | None:
    """The processor seconds a second that a control group (of version 1 or 2) at that path grants;
    None without a limit, or where the system does not tell."""
    try:
        if (limit := cgroup / "cpu.max").is_file():
            quota, period = limit.read_text().split()
        else:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        granted = float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max": no limit
        return None
    return granted if granted > 0 else None

"""`train --dry-run`: an estimate for people, and the checks that stop a run which cannot end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from got_r1.errors import BadInput
from got_r1.sizing.estimate import RunEstimate

__all__ = ["check_room", "device_bytes", "remedies", "render", "verdict"]

GIB = 2**30
MIB = 2**20


def device_bytes(processes: int = 1) -> int | None:
    """Memory that each of `processes` here would have: its GPU's, else its part of the machine's;
    None where the system does not tell."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // processes
    except (AttributeError, OSError, ValueError):
        return None


def check_room(estimate: RunEstimate, folder: Path, memory: int | None) -> None:
    """Raises BadInput where memory or disk are too small whatever else is chosen.

    `memory`: bytes of a device. Only what is exact counts: weights, gradients, optimizer state; the
    checkpoints that are kept, the next one, and the final model, less what the run folder has
    already.
    """
    if memory is not None and estimate.at_least > memory:
        raise BadInput(
            f"weights, gradients and optimizer state alone take {size(estimate.at_least)} on each "
            f"device, which has {size(memory)}: {remedies(estimate, batch=False)}"
        )
    there = folder.resolve()
    saved = sum(f.stat().st_size for f in (there / "checkpoints").rglob("*") if f.is_file())
    while not there.exists():
        there = there.parent
    free, needed = shutil.disk_usage(there).free, estimate.disk_bytes - saved
    if needed > free:
        raise BadInput(
            f"the checkpoints of this run take up to {size(needed)}, but the disk of run.dir="
            f"{folder} has {size(free)} left: free some space or choose another run.dir"
        )


def verdict(estimate: RunEstimate, memory: int | None) -> str:
    """One sentence: the largest phase, whether it fits, and what would help."""
    device = "GPU" if estimate.gpu else "process"
    peak = estimate.peak
    needs = f"The largest phase, {peak.name}, takes about {size(peak.total)} a {device}"
    if memory is None:
        return f"{needs}."
    if peak.total <= memory:
        return f"{needs}, of {size(memory)}."
    return f"{needs}, but there are {size(memory)}: {remedies(estimate)}."


def remedies(estimate: RunEstimate, *, batch: bool = True) -> str:
    """What makes the largest phase smaller; without `batch`, what makes the model's share so."""
    full = not any(part.name == "adapters" for part in estimate.parts)
    ways = []
    if batch and estimate.peak.name == "update":
        smaller = {"rl": "rl.micro_batch", "sft": "sft.batch", "vq": "vq.batch"}
        ways.append(f"a smaller {smaller[estimate.stage]}")
        if estimate.stage != "vq":
            ways.append("scale.micro_tokens")
            ways.append("scale.checkpoint_activations=true")
    elif batch and estimate.peak.name != "optimizer":
        if estimate.peak.name == "pixels":
            ways.append("fewer rl.prompts or a smaller rl.group")
        else:
            ways.append("fewer samples at once (scale.rollout_batch)")
            ways.append("a lower rollout.chain_limit")
    if full and estimate.stage != "vq":
        ways.append("LoRA (model.lora.rank=32)")
    elif "float32 weights" in estimate.training:
        ways.append("model.dtype=bfloat16")
    ways.append("more processes")
    return (
        f"{', '.join(ways[:-1])} or {ways[-1]} would help" if ways[1:] else f"{ways[0]} would help"
    )


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.1f} MiB"


def number(count: int) -> str:
    """A count for people: 7.41 B, 75.0 M."""
    for unit, name in ((10**9, "B"), (10**6, "M")):
        if count >= unit:
            return f"{count / unit:.2f} {name}"
    return f"{count:,}"


# -- on the terminal -------------------------------------------------------------------------------


def render(estimate: RunEstimate, memory: int | None) -> str:
    """The estimate as text for a terminal: parameters, memory by phase, a step's work."""
    many = estimate.processes > 1
    kind = "GPU" if estimate.gpu else "process"
    device = f"{'each' if many else 'the'} {kind}"
    where = f"one {kind}"
    if many:
        where = (
            f"{estimate.processes} {'GPUs' if estimate.gpu else 'processes'} ({estimate.sharding})"
        )
    head = Text(f"train {estimate.stage}", "bold")
    head.append(f"   {estimate.model or 'from nothing'}, {estimate.training}, {where}", "default")
    foot = Text(f"Nothing was loaded and nothing run. Assumed: {'; '.join(estimate.assumptions)}.")
    parts: list[RenderableType] = [
        head,
        Text(),
        parameters(estimate),
        Text(f"Memory of {device}", "bold"),
        phases(estimate),
        Text(f"One step of {estimate.steps:,}", "bold"),
        work(estimate),
        Text(verdict(estimate, memory), "bold" if fits(estimate, memory) else "bold red"),
        Text(
            f"A checkpoint takes {size(estimate.checkpoint_bytes)}; "
            f"the run's disk, at its fullest, {size(estimate.disk_bytes)}."
        ),
        foot if estimate.assumptions else Text("Nothing was loaded and nothing run."),
    ]
    console = Console(highlight=False)
    with console.capture() as capture:
        console.print(Group(*parts))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def fits(estimate: RunEstimate, memory: int | None) -> bool:
    return memory is None or estimate.peak.total <= memory


def parameters(estimate: RunEstimate) -> Table:
    table = plain("parameters", "total", "trained", "weights")
    for part in estimate.parts:
        table.add_row(
            part.name,
            number(part.parameters),
            number(part.trained) if part.trained else "-",
            size(part.bytes) if part.on_device else "off the GPU",
        )
    table.add_section()
    table.add_row(
        "all",
        number(sum(part.parameters for part in estimate.parts)),
        number(sum(part.trained for part in estimate.parts)),
        size(sum(part.bytes for part in estimate.parts if part.on_device)),
        style="bold",
    )
    return table


def phases(estimate: RunEstimate) -> Table:
    unit, name = (GIB, "GiB") if estimate.peak.total >= 8 * GIB else (MIB, "MiB")
    table = plain(name, *(phase.name for phase in estimate.phases))
    items = dict.fromkeys(item for phase in estimate.phases for item in phase.bytes)
    for item in items:
        held = (phase.bytes.get(item) for phase in estimate.phases)
        table.add_row(item, *("-" if count is None else f"{count / unit:.2f}" for count in held))
    table.add_section()
    totals = (
        Text(f"{phase.total / unit:.2f}", "bold reverse" if phase is estimate.peak else "bold")
        for phase in estimate.phases
    )
    table.add_row(Text("all", "bold"), *totals)
    return table


def work(estimate: RunEstimate) -> Table:
    table = plain("", "a step", "all steps")
    for name, count in estimate.work.items():
        table.add_row(name, f"{count:,}", number(count * estimate.steps))
    return table


def plain(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table

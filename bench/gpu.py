"""Everything that only a GPU can show, in one command and a few minutes: tests, time, memory.

    python bench/gpu.py                     # (make gpu) on one 80 GB card, 8 minutes
    python bench/gpu.py --cpu               # all parts at the embedded size, on any CPU
    python bench/gpu.py --cpu --size 1b     # in Janus-Pro 1B's shapes, one prompt and two samples

The parts, in order, each a process of its own with a budget of seconds:

    tests        tests/gpu/test_device.py: recorded steps against eager ones, fused attention
                 against its parts, sampler against replay in float32 and bfloat16, a step of RL,
                 a resumed run
    full_size    a rollout of 8 x 16, an update, a checkpoint, a resume: seconds, and peak memory
                 against the dry run
    rollout      the sampler against two other ways, and against what memory bandwidth allows
    profile      the ten kernels that take most of a step
    full_size_7b the same for 7B with LoRA, where time is left

A part that fails or takes too long costs nothing but itself; one whose time has gone is left out,
with the reason. What each found is written at once: OUT/gpu.json, its output beside it, and
OUT/gpu.md, rows for docs/performance.md. Needs no network. Exit code 1 where a part failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "bench"


@dataclass(frozen=True)
class Part:
    """One measurement: what is run, the most and the fewest seconds that it is worth."""

    name: str
    command: list[str]
    most: int
    least: int


def main() -> int:
    """Runs the parts in order and writes what they found."""
    args = arguments()
    if not args.cpu and not torch.cuda.is_available():
        print("torch sees no GPU here; --cpu runs all parts at the embedded size.", file=sys.stderr)
        return 2
    out = args.out
    out.mkdir(parents=True, exist_ok=True)
    where = "CPU" if args.cpu else torch.cuda.get_device_name()
    found: dict[str, Any] = {
        "device": where,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "minutes": args.minutes,
        "parts": {},
    }
    end = time.monotonic() + 60 * args.minutes * args.patience
    for part in parts(args, out):
        left = end - time.monotonic()
        print(f"{part.name}: ", end="", flush=True)
        one = run(part, out, left, args)
        print(one["status"] + (f", {one['seconds']:.0f} s" if "seconds" in one else ""))
        found["parts"][part.name] = one
        (out / "gpu.json").write_text(json.dumps(found, indent=1))
        (out / "gpu.md").write_text(rows(found))
    print(f"\n{rows(found)}\nwritten: {out / 'gpu.json'}, {out / 'gpu.md'}")
    return int(any(one["status"].startswith("failed") for one in found["parts"].values()))


def parts(args: argparse.Namespace, out: Path) -> list[Part]:
    """The parts for this device and size."""
    python = sys.executable
    size = args.size or ("tiny" if args.cpu else "1b")
    scale = ["--size", size]
    if args.cpu:
        scale += ["--prompts", "1" if size == "1b" else "2", "--samples", "2"]
    small = ["--prompts", "1", "--samples", "2" if args.cpu else "8", "--chain-limit", "32"]
    rollout = ["--prompts", "8", "--group", "16", "--limit", "600", "--check", "8", "--alone", "2"]
    if args.cpu:
        rollout = ["--prompts", "2", "--group", "2", "--check", "2", "--alone", "1"]
    rollout += ["--rounds", "1" if args.cpu else "3"]
    if size != "tiny":
        rollout += ["--size", size, "--dtype", "bfloat16" if not args.cpu else "float32"]

    def full_size(name: str, *more: str) -> list[str]:
        return [python, str(BENCH / "full_size.py"), *more, "--json", str(out / f"{name}.json")]

    # The project's pytest options, and what all of its tests share, need packages that a bare
    # machine may lack.
    bare = ["-o", "addopts=", "-o", "filterwarnings=", "-p", "no:cacheprovider"]
    bare.append(f"--confcutdir={ROOT / 'tests' / 'gpu'}")
    pytest = [python, "-m", "pytest", "-q", *bare, "--import-mode=importlib"]
    pytest.append("tests/gpu/test_device.py")
    rollout = [python, str(BENCH / "rollout.py"), *rollout, "--json", str(out / "rollout.json")]
    found = [
        Part("tests", pytest, 150, 30),
        Part("full_size", full_size("full_size", *scale), 150, 60),
        Part("rollout", rollout, 150, 60),
        Part("profile", full_size("profile", "--size", size, "--profile", *small), 90, 30),
    ]
    if not args.cpu:
        found.append(
            Part(
                "full_size_7b",
                full_size(
                    "full_size_7b", "--size", "7b", "--prompts", "2", "scale.rollout_batch=32"
                ),
                240,
                100,
            )
        )
    return found


def run(part: Part, out: Path, left: float, args: argparse.Namespace) -> dict[str, Any]:
    """Runs one part in what is left of the time; returns its status and what it found."""
    if left < part.least:
        return {"status": f"left out: {max(0, left):.0f} of its {part.least} seconds were left"}
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": path_of(ROOT / "src")}
    if args.cpu:
        environment |= {"GOT_R1_DEVICE_TESTS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    log, file = out / f"{part.name}.txt", out / f"{part.name}.json"
    file.unlink(missing_ok=True)  # what an earlier run found there is not this one's
    start = time.monotonic()
    try:
        with log.open("w", encoding="utf-8") as written:
            code = subprocess.run(
                part.command,
                cwd=ROOT,
                env=environment,
                stdout=written,
                stderr=subprocess.STDOUT,
                timeout=min(part.most * args.patience, left),
                check=False,
            ).returncode
        status = "passed" if code == 0 else f"failed: exit code {code}"
    except subprocess.TimeoutExpired as error:
        status = f"failed: not done within {error.timeout:.0f} s"
    text = log.read_text(encoding="utf-8", errors="replace")
    return {
        "status": status,
        "seconds": time.monotonic() - start,
        "command": part.command[1:],
        "output": text[-4000:],
        "found": json.loads(file.read_text()) if file.is_file() else None,
    }


def path_of(folder: Path) -> str:
    """PYTHONPATH with a folder in front."""
    before = os.environ.get("PYTHONPATH")
    return f"{folder}{os.pathsep}{before}" if before else str(folder)


def rows(found: dict[str, Any]) -> str:
    """What was found as Markdown for docs/performance.md."""
    lines = [
        f"{found['device']}, Python {found['python']}, torch {found['torch']}, transformers "
        f"{found['transformers']}; `python bench/gpu.py`",
        "",
        "| Part | Result | Seconds |",
        "|-|-|-|",
    ]
    for name, one in found["parts"].items():
        result = "; ".join([one["status"], *summary(name, one)])
        lines.append(f"| {name} | {result} | {one.get('seconds', 0):.0f} |")
    for name, one in found["parts"].items():
        phases = (one.get("found") or {}).get("phases")
        if phases:
            lines += [
                "",
                f"| {name}: phase | Seconds | Peak, GiB | Dry run, GiB | Ratio |",
                "|-|-|-|-|-|",
            ]
            lines += [phase_row(phase, figures) for phase, figures in phases.items()]
    operations = ((found["parts"].get("profile") or {}).get("found") or {}).get("operations", [])
    if operations:
        lines += ["", "| Operation | Share | Seconds | Calls |", "|-|-|-|-|"]
        lines += [
            f"| `{one['name']}` | {one['share']:.1%} | {one['seconds']:.3f} | {one['calls']:,} |"
            for one in operations
        ]
    return "\n".join(lines) + "\n"


def summary(name: str, one: dict[str, Any]) -> list[str]:
    """A part's main figures, as phrases."""
    if name == "tests" and "output" in one:
        return [one["output"].strip().splitlines()[-1].strip("= ")] if one["output"].strip() else []
    found = one.get("found") or {}
    if name == "rollout" and found:
        rates = found["images per second"]
        ours, alone, batched = (median(rates[name]) for name in ("ours", "alone", "batched"))
        shares = [
            f"{stage} {found['bound'][stage]['bound'] / found['bound'][stage]['seconds']:.0%}"
            for stage in ("chains", "images")
        ]
        return [
            f"{ours:.2f} images/s, {ours / alone:.1f} x alone, {ours / batched:.2f} x batched",
            f"of the bandwidth bound ({found['bound']['bytes per second'] / 1e9:.0f} GB/s): "
            + ", ".join(shares),
        ]
    if "images per second" in found:
        same = found.get("resumed with the same weights")
        told = {True: ["resumed with the same weights"], False: ["RESUMED WITH OTHER WEIGHTS"]}
        return [f"{found['images per second']:.2f} images/s", *told.get(same, [])]
    return []


def phase_row(name: str, figures: dict[str, Any]) -> str:
    """A phase of a step, its peak beside the dry run's estimate."""
    peak, estimate = figures["peak"] / 2**30, figures["estimate"]
    beside = f"{estimate / 2**30:.2f} | {figures['peak'] / estimate:.2f}" if estimate else "- | -"
    return f"| {name} | {figures['seconds']:.1f} | {peak:.2f} | {beside} |"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cpu", action="store_true", help="without a GPU, at the embedded size")
    parser.add_argument("--size", choices=("tiny", "1b"), help="1b on a GPU, tiny with --cpu")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together (8)")
    parser.add_argument(
        "--patience",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="all minutes and budgets times this, for a slow or busy machine (1)",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), metavar="DIR")
    args = parser.parse_args()
    args.out = args.out.resolve()
    return args


if __name__ == "__main__":
    sys.exit(main())

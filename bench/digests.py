"""Seconds that the digests of a checkpoint's files take, against reading the files.

Writes files of random numbers, then times, in turn: reading them (from the page cache), writing
their digests, comparing them, and one hash in one thread:

    python bench/digests.py --gb 1 --files 2

Sizes beside that are estimates from these rates.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from got_r1.files.digests import READ, find_damage, write_digests

GB = 10**9
SIZES = {"icons (5 MB)": 0.005, "Janus-Pro-1B, bfloat16 (4 GB)": 4, "7B, bfloat16 (15 GB)": 15}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=1.0, help="of all files together")
    parser.add_argument("--files", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, help="where to write (the temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as place:
        folder = Path(place)
        block = os.urandom(READ)
        for number in range(args.files):
            with (folder / f"{number}.safetensors").open("wb") as file:
                for _ in range(int(args.gb * GB / args.files / READ)):
                    file.write(block)
        measure(folder, args.rounds)


def measure(folder: Path, rounds: int) -> None:
    """Times each way `rounds` times, in turn, and prints medians."""
    files = sorted(folder.iterdir())
    size = sum(file.stat().st_size for file in files)
    ways: dict[str, Callable[[], object]] = {
        "read": lambda: [read(file) for file in files],
        "write digests": lambda: write_digests(folder),
        "compare digests": lambda: find_damage(folder),
        "SHA-256, one thread": lambda: [read(file, hashlib.sha256()) for file in files],
        "BLAKE2b, one thread": lambda: [read(file, hashlib.blake2b()) for file in files],
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            began = time.perf_counter()
            run()
            seconds[way].append(time.perf_counter() - began)
    print(f"{size / GB:.2f} GB in {len(files)} files, {os.cpu_count()} CPUs, {rounds} rounds\n")
    for way, taken in seconds.items():
        rates = [size / GB / one for one in taken]
        middle = statistics.median(rates)
        print(f"{way:20s} {middle:6.2f} GB/s [{min(rates):.2f}, {max(rates):.2f}]")
    rate = statistics.median(size / GB / one for one in seconds["compare digests"])
    print("\nestimated for comparing:")
    for what, gigabytes in SIZES.items():
        print(f"{what:32s} {gigabytes / rate:6.2f} s")


def read(file: Path, digest: hashlib._Hash | None = None) -> None:
    """Reads a file, into a hash if one is given."""
    buffer = memoryview(bytearray(READ))
    with file.open("rb", buffering=0) as opened:
        while count := opened.readinto(buffer):
            if digest is not None:
                digest.update(buffer[:count])


if __name__ == "__main__":
    main()

"""What disks, copies and people do to files."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path


def damages(
    content: bytes, other: bytes, seed: int, flips: int = 40
) -> Iterator[tuple[str, bytes]]:
    """Names and contents: a file with single flipped bits, zeroed blocks, cut, extended, and with
    another file's content."""
    chosen = random.Random(seed)
    for _ in range(flips):
        place, bit = chosen.randrange(len(content)), chosen.randrange(8)
        yield f"bit {bit} of byte {place}", flip(content, place, bit)
    for _ in range(8):
        start = chosen.randrange(len(content))
        block = content[start : start + 512]
        if any(block):
            whole = content[:start] + bytes(len(block)) + content[start + 512 :]
            yield f"512 zeros at {start}", whole
    for length in (0, len(content) // 2, len(content) - 1):
        yield f"cut to {length}", content[:length]
    yield "extended", content + b"\0more"
    yield "another file's content", other


def flip(content: bytes, place: int, bit: int = 0) -> bytes:
    """The content with one bit flipped."""
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)


def flip_middle(path: Path) -> None:
    """Flips a bit in the middle of a file."""
    content = path.read_bytes()
    path.write_bytes(flip(content, len(content) // 2))

"""Weights known again, whatever their folder is called."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import nn

__all__ = ["digest_of_files", "fingerprint"]

PIECE = 2**24  # values that are copied and hashed at once


def fingerprint(model: nn.Module) -> str:
    """Tells weights apart, at the precision they are loaded in: 65 characters, two digests in hex.

    The first is of every tensor's name, shape, dtype and first 1,024 values, the only one that
    older sample folders hold; the second is of all values.
    """
    tensors = sorted(model.state_dict().items())
    begin, whole = hashlib.blake2b(digest_size=16), hashlib.sha256()
    with ThreadPoolExecutor() as pool:  # hashing leaves the interpreter to other threads
        for (name, tensor), digest in zip(
            tensors, pool.map(digest_of_values, [tensor for _, tensor in tensors]), strict=True
        ):
            begin.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            begin.update(as_bytes(tensor.flatten()[:1024]))
            whole.update(digest)
    return f"{begin.hexdigest()}-{whole.hexdigest()[:32]}"


def digest_of_values(tensor: torch.Tensor) -> bytes:
    """The SHA-256 of a tensor's values, brought to the CPU in pieces."""
    digest = hashlib.sha256()
    for piece in tensor.flatten().split(PIECE):
        digest.update(as_bytes(piece))
    return digest.digest()


def as_bytes(values: torch.Tensor) -> memoryview:
    """The bytes of values [n]; none of a tensor without memory."""
    if values.is_meta:
        return memoryview(b"")
    return values.contiguous().cpu().view(torch.uint8).numpy().data


def digest_of_files(path: Path | str) -> str:
    """Identifies a model by all bytes of its file, or of the files of its folder: 64 hex digits.

    The same wherever it lies and whenever it was copied. Anything else (an id on the hub) is
    returned as it is. Takes about a second per gigabyte.
    """
    path = Path(path)
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(item for item in path.iterdir() if item.is_file())
    else:
        return str(path)
    digest = hashlib.sha256()
    for item in files:
        with item.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{'' if path.is_file() else item.name}\0{content}\0".encode())
    return digest.hexdigest()

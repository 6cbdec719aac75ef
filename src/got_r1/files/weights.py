"""Weights known again, whatever their folder is called."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

__all__ = ["digest_of_files", "fingerprint"]


def fingerprint(model: nn.Module) -> str:
    """Tells weights apart: 32 hex digits of the beginning of every tensor, which training changes,
    at the precision it is loaded in."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if not tensor.is_meta:
            start = tensor.flatten()[:1024].contiguous().cpu()
            digest.update(start.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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

"""Checkpoint files, a tensor at a time: models larger than memory pass through here.

Reads what people publish (`weight_files`), writes safetensors shards. No file is held in memory as
a whole.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from got_r1.checkpoints.weight_files import (
    SINGLE,
    WeightSet,
    damaged,
    incomplete,
    unpickle,
    weight_sets,
)
from got_r1.errors import BadInput, interrupt

__all__ = ["DTYPES", "Source", "Stored", "byte_size", "write_shards"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
SAFETENSORS_NAMES = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor on the disk."""

    file: Path
    shape: tuple[int, ...]
    dtype: str  # "bfloat16"; for a type that no weight should have, the file format's own word


class Source:
    """The tensors of a checkpoint folder by name; `read` loads one.

    Only one file is open at a time: read in the order of the files (`ordered`).
    """

    def __init__(self, folder: Path) -> None:
        """Takes the first complete set of weight files and reads the headers of each.

        Raises BadInput that says what lies there where no set is complete: files are missing,
        truncated, damaged or git-lfs pointers.
        """
        self.folder = folder
        self._current: tuple[Path, Any] | None = None
        problems: list[str] = []
        for one in weight_sets(folder):
            try:
                self.tensors = self._headers(one)
            except BadInput as error:
                if interrupt(error) is not None:
                    raise
                problems.append(str(error))
                continue
            self.weights = one
            # Whether transformers, which takes the first set that is there, would take this one.
            self.is_usual = not problems and one.index != ""
            self.files = [folder / name for name in one.files]
            return
        raise incomplete(folder, problems)

    def _headers(self, one: WeightSet) -> dict[str, Stored]:
        """The tensors of a set by name. Raises BadInput where it is incomplete."""
        tensors: dict[str, Stored] = {}
        try:
            for file in one.check(self.folder):
                tensors |= self._open(file).list()
        finally:
            self._current = None
        return tensors

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor."""
        return {name: stored.shape for name, stored in self.tensors.items()}

    def ordered(self, names: Iterable[str]) -> list[str]:
        """`names` in the order in which the files hold them."""
        place = {name: index for index, name in enumerate(self.tensors)}
        return sorted(names, key=place.__getitem__)

    def read(self, name: str) -> Tensor:
        """One tensor; of a `.bin` file a view of the mapped file."""
        return self._open(self.tensors[name].file).read(name)

    def close(self) -> None:
        """Lets go of the open file."""
        self._current = None

    def _open(self, file: Path) -> SafetensorsFile | PickledFile:
        if self._current is None or self._current[0] != file:
            self._current = None  # before the next is opened
            kind = SafetensorsFile if file.suffix == ".safetensors" else PickledFile
            self._current = (file, kind(file))
        opened: SafetensorsFile | PickledFile = self._current[1]
        return opened


class SafetensorsFile:
    """A `.safetensors` file.

    The library checks it; the bytes are read plainly. The library's way to torch maps the file
    writable, which the kernel refuses where a shard is larger than the memory.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            with safe_open(file, framework="np"), file.open("rb") as raw:
                self.start = 8 + int.from_bytes(raw.read(8), "little")
                header = json.loads(raw.read(self.start - 8))
        except (SafetensorError, OSError) as error:
            raise damaged(file, error) from None
        header.pop("__metadata__", None)
        self.header: dict[str, Any] = header

    def list(self) -> dict[str, Stored]:
        ordered = sorted(self.header.items(), key=lambda item: item[1]["data_offsets"])
        return {
            name: Stored(self.file, tuple(one["shape"]), data_type(one["dtype"]))
            for name, one in ordered
        }

    def read(self, name: str) -> Tensor:
        one = self.header[name]
        first, end = one["data_offsets"]
        content = torch.empty(end - first, dtype=torch.uint8)
        with self.file.open("rb") as raw:
            raw.seek(self.start + first)
            raw.readinto(content.numpy().data)
        return content.view(getattr(torch, data_type(one["dtype"]))).view(one["shape"])


class PickledFile:
    """An open `.bin` file, unpickled with tensors only."""

    def __init__(self, file: Path) -> None:
        self.file = file
        content = unpickle(file)
        if not isinstance(content, dict) or not all(map(torch.is_tensor, content.values())):
            raise BadInput(f"{file} holds something else than named tensors; it is no checkpoint.")
        self.content: dict[str, Tensor] = content

    def list(self) -> dict[str, Stored]:
        return {
            name: Stored(self.file, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
            for name, tensor in self.content.items()
        }

    def read(self, name: str) -> Tensor:
        return self.content[name]


def data_type(name: str) -> str:
    return SAFETENSORS_NAMES.get(name, name)


def aliases(tensors: Mapping[str, Tensor]) -> list[str]:
    """Tensors that share the memory of an earlier one (tied weights), which no file may hold."""
    seen: set[int] = set()
    found = []
    for name, tensor in tensors.items():
        if tensor.data_ptr() in seen:
            found.append(name)
        seen.add(tensor.data_ptr())
    return found


def byte_size(shape: tuple[int, ...], dtype: str) -> int:
    """Bytes of a tensor; `dtype` as in `Stored`."""
    return math.prod(shape) * BYTES[dtype]


def write_shards(
    folder: Path,
    sizes: Mapping[str, int],
    make: Callable[[str], Tensor],
    shard_size: int,
    advance: Callable[[int], object],
) -> list[str]:
    """Writes `make(name)` for every name of `sizes` (bytes) into safetensors, with an index.

    Shards keep the order of `sizes` and hold at most `shard_size` bytes, or one tensor. Only one
    shard's tensors are held at a time. `advance` is told the bytes of each tensor as it is made.
    Returns the names of the files.
    """
    shards: list[list[str]] = []
    room = 0
    for name, size in sizes.items():
        if not shards or size > room:
            shards.append([])
            room = shard_size
        shards[-1].append(name)
        room -= size
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        if len(shards) == 1:
            file = SINGLE[0]
        tensors: dict[str, Tensor] = {}
        for name in names:
            tensors[name] = make(name).contiguous()
            advance(sizes[name])
        for name in aliases(tensors):
            tensors[name] = tensors[name].clone()
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
        text = json.dumps(index, indent=1)
        (folder / f"{SINGLE[0]}.index.json").write_text(text, encoding="utf-8")
    return sorted(set(weight_map.values()))

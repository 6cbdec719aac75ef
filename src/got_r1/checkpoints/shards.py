"""Checkpoint files, a tensor at a time: models larger than memory pass through here.

Reads what people publish (`model.safetensors`, `pytorch_model.bin`, either in shards with an
index), writes safetensors shards. No file is held in memory as a whole.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from got_r1.errors import BadInput
from got_r1.files.inputs import read_json

__all__ = ["DTYPES", "Source", "Stored", "byte_size", "write_shards"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
SAFETENSORS_NAMES = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
# In this order: where a folder holds both, the safe format is read.
SINGLE = ("model.safetensors", "pytorch_model.bin")


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
        """Reads the headers of every file.

        Raises BadInput where there are no weights, or a shard is missing, truncated or damaged.
        """
        self._current: tuple[Path, Any] | None = None
        self.tensors: dict[str, Stored] = {}
        self.files = shard_files(folder)
        for file in self.files:
            self.tensors |= self._open(file).list()
        self._current = None

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
        try:
            # Files older than torch 1.6 are no archives and cannot be mapped.
            mapped = zipfile.is_zipfile(file)
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:  # the unpickler raises whatever the broken bytes lead it to
            raise damaged(file, error) from None
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


def damaged(file: Path, error: Exception) -> BadInput:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return BadInput(f"{file} is truncated or damaged ({reason}); fetch that file again.")


def shard_files(folder: Path) -> list[Path]:
    """The weight files of a folder. Raises BadInput where there are none or one is missing."""
    for name in SINGLE:
        index = folder / f"{name}.index.json"
        if index.is_file():
            weight_map = read_json(index, "index of the shards").get("weight_map")
            if not isinstance(weight_map, dict) or not weight_map:
                raise BadInput(f"{index} names no shards under 'weight_map'; fetch it again.")
            files = [folder / str(file) for file in sorted(set(weight_map.values()))]
            for file in files:
                if not file.is_file():
                    raise BadInput(f"shard {file} is missing, {index.name} names it; fetch it.")
            return files
        if (folder / name).is_file():
            return [folder / name]
    raise BadInput(
        f"{folder} holds no weights: neither {SINGLE[0]} nor {SINGLE[1]}, nor an index of shards."
    )


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

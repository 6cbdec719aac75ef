"""Which files of a folder are its weights, and what is wrong where none are complete.

A set of files is, in the order in which they are looked for: `model.safetensors`; the shards that
`model.safetensors.index.json` names; numbered shards without an index; then the same for
`pytorch_model.bin`. It is transformers' order, so that a folder with two complete sets is read
alike everywhere. Unlike transformers we take the first set that is complete.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from got_r1.errors import BadInput, first_line, listed
from got_r1.files.inputs import read_json

__all__ = [
    "SINGLE",
    "WeightSet",
    "check_pointer",
    "damaged",
    "file_names",
    "incomplete",
    "unpickle",
    "weight_sets",
]

# In this order: where a folder holds both, the safe format is read.
SINGLE = ("model.safetensors", "pytorch_model.bin")
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
LISTED = 6  # files that an error names


@dataclass(frozen=True, slots=True)
class WeightSet:
    """Files that hold a checkpoint together; `index` names them ("" where none does, None for a
    file that needs none)."""

    files: tuple[str, ...]
    index: str | None = None

    def check(self, folder: Path) -> list[Path]:
        """The files' paths. Raises BadInput where the index cannot be used, a file is missing, or
        one is a git-lfs pointer."""
        if not self.files:
            raise BadInput(
                f"{folder / str(self.index)} names no shards under 'weight_map'; fetch it again."
            )
        paths = [folder / name for name in self.files]
        for path in paths:
            if not path.is_file():
                whose = f", {self.index} names it" if self.index else ""
                raise BadInput(f"shard {path} is missing{whose}; fetch it.")
            check_pointer(path)
        return paths


def file_names(folder: Path) -> list[str]:
    """The names of a folder's files, sorted."""
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def weight_sets(folder: Path, names: Collection[str] | None = None) -> Iterator[WeightSet]:
    """The sets that a folder has any file of, in the order in which they are to be tried.

    `names` are the files to choose from, where they are not yet all in the folder (its indexes
    have to be); else the folder's own.
    """
    names = file_names(folder) if names is None else names
    for whole in SINGLE:
        if whole in names:
            yield WeightSet((whole,))
        index = f"{whole}.index.json"
        indexed = shards_of(folder / index) if index in names else ()
        if index in names:
            yield WeightSet(indexed, index)
        stem, kind = whole.split(".")
        numbers = [re.fullmatch(rf"{stem}-(\d+)-of-(\d+)\.{kind}", name) for name in names]
        for total in sorted({found[2] for found in numbers if found}):
            width = len(total)
            numbered = tuple(
                f"{stem}-{number:0{width}d}-of-{total}.{kind}"
                for number in range(1, int(total) + 1)
            )
            if numbered != indexed:
                yield WeightSet(numbered, "")


def shards_of(index: Path) -> tuple[str, ...]:
    """The files that an index names; none where it is no index."""
    try:
        weight_map = read_json(index, "index of the shards").get("weight_map")
    except BadInput:
        return ()
    if not isinstance(weight_map, dict):
        return ()
    return tuple(sorted({str(file) for file in weight_map.values()}))


def check_pointer(file: Path) -> None:
    """Raises BadInput for the text that git leaves in place of a large file."""
    with file.open("rb") as opened:
        start = opened.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise BadInput(
            f"{file} is a git-lfs pointer, not the weights: run `git lfs pull` where it was "
            "cloned, or download the file itself (`hf download`)."
        )


def damaged(file: Path, error: Exception) -> BadInput:
    """The error for a file that a library could not read."""
    return BadInput(f"{file} is truncated or damaged ({first_line(error)}); fetch that file again.")


def unpickle(file: Path) -> Any:
    """What a file of `torch.save` holds, its tensors mapped where the format allows it.

    Only tensors and plain values are unpickled, since anything else could run code. Raises BadInput
    where there is something else, and where the file is damaged or a git-lfs pointer.
    """
    import pickle

    import torch

    check_pointer(file)
    try:
        # Files older than torch 1.6 are no archives and cannot be mapped.
        mapped = zipfile.is_zipfile(file)
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        # torch's own words advise to switch the protection off.
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found is None:
            raise damaged(file, ValueError("it is no pickle of tensors")) from None
        raise BadInput(
            f"{file} holds more than tensors ({found[1]}), and unpickling that could run any code: "
            "take the model's .safetensors, or save its state_dict alone."
        ) from None
    except Exception as error:  # the unpickler raises whatever the broken bytes lead it to
        raise damaged(file, error) from None


def incomplete(folder: Path, problems: Sequence[str]) -> BadInput:
    """The error for a folder none of whose sets is complete, with what is wrong with each."""
    if len(problems) == 1:
        return BadInput(problems[0])
    if problems:
        told = "; ".join(problem.rstrip(".") for problem in problems)
        return BadInput(f"{folder} holds no complete set of weights: {told}.")
    names = file_names(folder)
    there = f"it has {listed(names, LISTED)}" if names else "it is empty"
    return BadInput(
        f"{folder} holds no weights: neither {SINGLE[0]} nor {SINGLE[1]}, whole or in shards "
        f"({there})."
    )

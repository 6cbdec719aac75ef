"""The interface of training data: a source yields records in order, from any place on.

A new kind of source is a new file here and an arm in `open_source`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from got_r1.errors import BadInput
from got_r1.files.inputs import path_inside

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Columns", "Fault", "Record", "Source", "file_identity"]

END_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Record:
    """One triple as its source has it. `image`: a file, an encoded file, or uint8 [h, w, 3]."""

    name: str  # where it stands, for people: "train.jsonl line 12"
    prompt: str
    chain: str
    image: Path | bytes | NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Fault:
    """A record that cannot be used."""

    name: str
    problem: str  # a short phrase; faults are counted by it
    detail: str = ""


class Source(Protocol):
    """Triples in a fixed order."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What it is, as plain JSON; other contents have another identity."""

    def __len__(self) -> int:
        """How many records there are, usable or not."""

    def records(self, start: int = 0) -> Iterator[Record | Fault]:
        """The records from number `start` on, to the end.

        Raises BadInput where a file turns out to be damaged.
        """


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a record has what, and the folder that image paths start from."""

    prompt: str
    chain: str
    image: str
    image_root: Path

    @property
    def names(self) -> list[str]:
        """The three columns."""
        return [self.prompt, self.chain, self.image]

    def check(self, present: Sequence[str], file: Path) -> None:
        """Raises BadInput where a file does not have all three."""
        for setting, name in zip(("prompt", "chain", "image"), self.names, strict=True):
            if name not in present:
                raise BadInput(
                    f"{file} has no column {name!r}; set data.{setting}_column to one of: "
                    f"{', '.join(present)}."
                )

    def read(self, row: Mapping[str, Any], name: str) -> Record | Fault:
        """A row as a record."""
        prompt, chain = row.get(self.prompt), row.get(self.chain)
        if not isinstance(prompt, str) or not prompt.strip():
            return Fault(name, "no prompt")
        if not isinstance(chain, str) or not chain.strip():
            return Fault(name, "no chain")
        image = row.get(self.image)
        if isinstance(image, Mapping):  # what `datasets` makes of an image
            image = image.get("bytes") or image.get("path")
        if isinstance(image, str) and image.startswith(("http://", "https://")):
            return Fault(name, "the image is a URL, not a file", image)
        if isinstance(image, str) and image:
            try:
                image = path_inside(self.image_root, image, "image")
            except BadInput as error:
                return Fault(name, "the image lies outside data.image_root", str(error))
        if not isinstance(image, Path | bytes) or not image:
            return Fault(name, "no image")
        return Record(name, prompt.strip(), chain.strip(), image)


def file_identity(file: Path) -> dict[str, Any]:
    """A file by name, size and a hash of both its ends: to hash all of it would take hours."""
    with file.open("rb") as opened:
        digest = hashlib.blake2b(opened.read(END_BYTES), digest_size=16)
        size = file.stat().st_size
        opened.seek(max(0, size - END_BYTES))
        digest.update(opened.read(END_BYTES))
    return {"name": file.name, "bytes": size, "ends": digest.hexdigest()}

"""The `.metadata` of a distributed checkpoint, read without running what it says.

torch writes it as a pickle, and unpickling a file can call any function that the file names. So
only the classes that torch's own writer puts there are known here.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo
from torch.distributed.checkpoint.metadata import (
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorStorageMetadata,
)

from got_r1.errors import BadInput, RunFailed, first_line, interrupt

__all__ = ["METADATA", "Reader", "read_metadata"]

METADATA = ".metadata"
_CLASSES = {
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch": {"Size", *(name for name, one in vars(torch).items() if type(one) is torch.dtype)},
    "torch.serialization": {"_get_layout"},
    # The folder that was written to.
    "pathlib": {"PosixPath", "WindowsPath"},
    "pathlib._local": {"PosixPath", "WindowsPath"},  # Python 3.13
}


class Forbidden(Exception):
    """A name that torch's writer never puts into `.metadata`."""


class Unpickler(pickle.Unpickler):
    """Makes objects of the classes above, and of no other."""

    def find_class(self, module: str, name: str) -> Any:
        """The class of that name. Raises Forbidden for any other."""
        if name not in _CLASSES.get(module, ()):
            raise Forbidden(f"{module}.{name}")
        return super().find_class(module, name)


class Reader(FileSystemReader):
    """torch's reader, with `read_metadata` of this module."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The metadata of the checkpoint. Raises as `read_metadata`."""
        metadata = read_metadata(Path(self.path))
        metadata.storage_meta = metadata.storage_meta or StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


def read_metadata(checkpoint: Path) -> Metadata:
    """The metadata of a checkpoint.

    Raises:
        BadInput: it names something that could run code.
        RunFailed: it is damaged.
    """
    path = checkpoint / METADATA
    try:
        with path.open("rb") as file:
            metadata = Unpickler(file).load()
        is_whole = well_formed(metadata)
    except Forbidden as error:
        raise BadInput(
            f"{path} names {error}, which no checkpoint holds and which could run any code: it was "
            "not read, do not use this run folder unless you know who wrote it."
        ) from None
    except Exception as error:  # the unpickler raises whatever the broken bytes lead it to
        if told := interrupt(error):
            raise told from error
        raise RunFailed(f"{path} is damaged ({first_line(error)})") from None
    if not is_whole:
        raise RunFailed(f"{path} is damaged (it does not describe a checkpoint)")
    return metadata


def well_formed(metadata: Any) -> bool:
    """Whether an unpickled object has the types that torch's reader relies on, and names no file
    outside the checkpoint's folder."""
    if not isinstance(metadata, Metadata):
        return False
    tensors, pieces = metadata.state_dict_metadata, metadata.storage_data
    return (
        isinstance(tensors, Mapping)
        and isinstance(pieces, Mapping)
        and all(isinstance(name, str) for name in tensors)
        and all(isinstance(tensor, TensorStorageMetadata) for tensor in tensors.values())
        and all(isinstance(index, MetadataIndex) for index in pieces)
        and all(
            isinstance(piece, _StorageInfo)
            and Path(piece.relative_path).name == piece.relative_path
            for piece in pieces.values()
        )
        and isinstance(getattr(metadata, "storage_meta", None), StorageMeta | None)
    )

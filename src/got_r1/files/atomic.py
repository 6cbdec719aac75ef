"""Writes that happen wholly or not at all.

A file or folder is written beside its final place, flushed to the disk and then renamed, so a
reader (or a run resumed after `kill -9`) sees the old content or the new, never a part of it.
The name beside is fixed (`.<name>.partial`): what a killed process leaves there, the next write
of the same path removes. One writer a path at a time is assumed.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from got_r1.errors import BadInput, RunFailed
from got_r1.files.parsing import valid_unicode
from got_r1.files.redaction import redact

__all__ = ["encoded", "replace_folder", "translate_os_errors", "write_bytes", "write_text"]

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
_WRONG_PLACE = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}


@contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Turn a failed write of `path` inside the block into one sentence for the user.

    Raises:
        RunFailed: the disk is full (or a quota or file-size limit is reached), or another
            operating-system error.
        BadInput: the place cannot be written by this user, or is not a place for it.
    """
    try:
        yield
    except OSError as error:
        raise _explain(error, path) from error


def _explain(error: OSError, path: Path) -> BadInput | RunFailed:
    if error.errno in _NO_SPACE:
        return RunFailed(
            f"The disk is full: {path} could not be written; free some space there, "
            "what was written before is intact."
        )
    if error.errno in _NOT_ALLOWED:
        return BadInput(f"{path} cannot be written (no permission); choose another folder.")
    if error.errno in _WRONG_PLACE:
        return BadInput(f"{path} cannot be written ({error.strerror}); choose another path.")
    return RunFailed(f"{path} could not be written ({error.strerror}); check the disk.")


def write_bytes(path: Path | str, data: bytes, *, durable: bool = True) -> None:
    """Write `data` to `path`, replacing what is there; missing parent folders are made.

    `durable` waits for the disk, so that the file also outlives a power cut. Without it a
    killed process still loses nothing; many small files are then much quicker on a busy disk.

    Raises:
        RunFailed: the disk is full; `path` keeps its old content and nothing else is left.
        BadInput: the place cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        if durable:
            _sync(path.parent)


def write_text(path: Path | str, text: str, *, durable: bool = True) -> None:
    """`write_bytes` of `text` as UTF-8, with line ends as they are, without secrets."""
    write_bytes(path, encoded(text), durable=durable)


def encoded(text: str) -> bytes:
    """Text as a file holds it: UTF-8, with secrets masked (`redaction`)."""
    return valid_unicode(redact(text)).encode()


@contextmanager
def replace_folder(path: Path | str) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it becomes `path`, else it is removed.

    A folder already at `path` is moved aside first and removed last. A process killed exactly
    between those two renames leaves the old folder as `.<name>.old`; the next call puts it back.

    Raises:
        RunFailed: the disk is full, also where the library that writes inside the block hides
            that in an error of its own; `path` keeps its old content.
        BadInput: the place cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    old = path.with_name(f".{path.name}.old")
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        if old.exists() and not path.exists():
            old.replace(path)
        try:
            partial.mkdir()
            yield partial
            for folder, _, names in os.walk(partial):
                for name in names:
                    _sync(Path(folder, name))
                _sync(Path(folder))
            if path.exists():
                _remove(old)
                path.replace(old)
            partial.replace(path)
        except BaseException as error:
            was_full = _disk_is_full(error, partial)
            shutil.rmtree(partial, ignore_errors=True)
            if was_full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise
        _sync(path.parent)
        _remove(old)


def _disk_is_full(error: BaseException, folder: Path) -> bool:
    """Whether a foreign error means a full disk.

    safetensors raises its own class with the system's words in it; torch.save raises a
    RuntimeError that does not say why, so there the free space is asked.
    """
    if isinstance(error, OSError) or not isinstance(error, Exception):
        return False
    if os.strerror(errno.ENOSPC) in str(error):
        return True
    return isinstance(error, RuntimeError) and shutil.disk_usage(folder).free < 1 << 16


def _remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

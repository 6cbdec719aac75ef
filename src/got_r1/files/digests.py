"""The digests of a folder's files, by which damage is noticed when the folder is read.

    digests.json   {"algorithm": "sha256", "piece": 67108864,
                    "files": {"model.safetensors": {"bytes": 7000000, "digests": ["ab12..."]}}}

Files are hashed in pieces of 64 MiB, so that several threads work on one large file; the digest of
a file of one piece is what `sha256sum` prints. Folders without `digests.json` (of others, and of
older versions) are read as they are. Whoever writes a file of such a folder writes its digest.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from got_r1.errors import BadInput
from got_r1.files.atomic import write_text
from got_r1.files.inputs import read_json

__all__ = ["DIGESTS", "check_digests", "digests_text", "find_damage", "set_digest", "write_digests"]

DIGESTS = "digests.json"
PIECE = 2**26  # bytes that one thread hashes at a time
READ = 2**20  # bytes that it holds of them
# Weights, optimizer state, settings, vocabularies; not what people edit or keep beside.
EDITED = "generation_config.json"  # how a model is sampled, for its user to choose
SUFFIXES = (".safetensors", ".bin", ".distcp", ".metadata", ".json", ".jinja", ".model", ".txt")


def write_digests(folder: Path) -> None:
    """Writes the digests of the files that are in `folder` now. Raises as `write_text`."""
    write_text(folder / DIGESTS, digests_text(folder))


def digests_text(folder: Path) -> str:
    """What `write_digests` writes."""
    names = sorted(
        path.name
        for path in folder.iterdir()
        if path.name.endswith(SUFFIXES) and path.name not in (DIGESTS, EDITED) and path.is_file()
    )
    sizes = {name: (folder / name).stat().st_size for name in names}
    found = hash_files(folder, sizes)
    return as_text({name: entry(sizes[name], found[name]) for name in names})


def set_digest(folder: Path, name: str, content: bytes) -> None:
    """Notes the digest of `content`, which is about to be written to file `name`.

    Written before the file: a process killed between the two leaves no file without a digest.
    Raises BadInput where the folder's digests cannot be read, and as `write_text`.
    """
    files = read_digests(folder) or {}
    pieces = [content[start : start + PIECE] for start in starts(len(content))]
    files = {**files, name: entry(len(content), [hashlib.sha256(p).hexdigest() for p in pieces])}
    write_text(folder / DIGESTS, as_text(files))


def check_digests(folder: Path) -> None:
    """Compares every file that `digests.json` lists with its digest, if there is such a list.

    Reads all of them. Raises BadInput naming the first file that is missing or has changed.
    """
    if problem := find_damage(folder):
        raise BadInput(
            f"{problem}: copy or make it again (if you changed it on purpose, delete "
            f"{folder / DIGESTS}, and nothing there is checked any more)."
        )


def find_damage(folder: Path) -> str | None:
    """What is wrong with the first file of `folder` that is missing or has changed, as half a
    sentence; None where all files are as they were written, or there are no digests."""
    try:
        listed = read_digests(folder)
    except BadInput as error:
        return str(error).rstrip(".")
    if listed is None:
        return None
    sizes: dict[str, int] = {}
    for name, one in listed.items():
        path = folder / name
        if not path.is_file():
            return f"{path} is missing, which {DIGESTS} lists"
        size = path.stat().st_size
        if size != one["bytes"]:
            return (
                f"{path} is truncated or damaged ({size:,} bytes, but {one['bytes']:,} when it "
                "was written)"
            )
        sizes[name] = size
    try:
        found = hash_files(folder, sizes)
    except OSError as error:
        return f"the files of {folder} cannot be read ({error.strerror})"
    for name, one in listed.items():
        if found[name] != one["digests"]:
            return f"{folder / name} is damaged (its SHA-256 is not the one in {DIGESTS})"
    return None


def read_digests(folder: Path) -> dict[str, dict[str, Any]] | None:
    """The entries of `digests.json` by file name; None where there is no such file.

    Raises BadInput where it is damaged.
    """
    path = folder / DIGESTS
    if not path.is_file():
        return None
    content = read_json(path, "list of digests")
    files = content.get("files")
    known = content.get("algorithm") == "sha256" and content.get("piece") == PIECE
    if not known or not isinstance(files, dict) or not all(map(is_entry, files.items())):
        raise BadInput(f"{path} is damaged, or another version's: it is no list of digests.")
    return files


def is_entry(item: tuple[str, Any]) -> bool:
    """Whether an item of the list names a file of the folder, its size and its digests."""
    name, value = item
    return (
        name == Path(name).name
        and isinstance(value, dict)
        and isinstance(value.get("bytes"), int)
        and isinstance(value.get("digests"), list)
    )


def entry(size: int, digests: list[str]) -> dict[str, Any]:
    """A file's entry in the list."""
    return {"bytes": size, "digests": digests}


def as_text(files: Mapping[str, Mapping[str, Any]]) -> str:
    """The list as JSON, the same for the same files."""
    content = {"algorithm": "sha256", "piece": PIECE, "files": dict(sorted(files.items()))}
    return json.dumps(content, indent=1, ensure_ascii=False)


# -- hashing ---------------------------------------------------------------------------------------


def hash_files(folder: Path, sizes: Mapping[str, int]) -> dict[str, list[str]]:
    """The SHA-256 of every piece of the named files (bytes), by as many threads as there are
    processors, up to eight (more would wait for the disk)."""
    tasks = [(name, start) for name, size in sizes.items() for start in starts(size)]
    found: dict[str, list[str]] = {name: [] for name in sizes}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        digests = threads.map(lambda task: hash_piece(folder / task[0], task[1]), tasks)
        for (name, _), digest in zip(tasks, digests, strict=True):
            found[name].append(digest)
    return found


def starts(size: int) -> Iterable[int]:
    """Where the pieces of a file of `size` bytes start; an empty file is one empty piece."""
    return range(0, max(size, 1), PIECE)


def hash_piece(path: Path, start: int) -> str:
    """The SHA-256 of the piece of a file that starts at byte `start`."""
    digest, left = hashlib.sha256(), PIECE
    buffer = memoryview(bytearray(READ))
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while left and (count := file.readinto(buffer[: min(READ, left)])):
            digest.update(buffer[:count])
            left -= count
    return digest.hexdigest()

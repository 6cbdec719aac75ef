"""From what a user calls a model to the folder that it is loaded from.

One place for every command and recipe: a folder, a hub's name (`hub`), or `icons` for the shipped
model. A model in the official format is converted once, into a cache beside the hub's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from got_r1 import __version__
from got_r1.checkpoints.hub import local_folder
from got_r1.errors import BadInput
from got_r1.files.inputs import read_json
from got_r1.progress import note

__all__ = ["SHIPPED", "check_model", "check_sizes", "model_folder"]

# Words in the names of a configuration's sizes, and the most that a model may have (our choice).
SIZES = {
    *("size", "dim", "layers", "depth", "depths", "heads", "channel", "channels"),
    *("embeddings", "blocks", "resolution"),
}
MOST = {
    **dict.fromkeys(("layers", "depth", "depths", "blocks"), 1000),
    "vocab": 10_000_000,
    "position": 100_000_000,
}
MOST_SIZE = 1_000_000
SHIPPED = {"icons": Path(__file__).parent.parent / "icons" / "checkpoint"}


def model_folder(model: str | Path, *, weights: bool = True) -> Path:
    """The transformers folder of a Janus model, checked for what can be told without loading it.

    `weights=False` is enough to read its configuration and its tokenizer: less is then fetched,
    unless it has to be converted.

    Raises BadInput where there is no such model, it is of another kind, or has no tokenizer, and as
    `local_folder`.
    """
    folder, kind = described(model, weights)
    return folder if kind == "janus" else converted(str(model))


def check_model(model: str | Path) -> None:
    """Raises BadInput as `model_folder`, without fetching weights or converting them, and without
    importing torch: what can be told at once."""
    described(model, weights=False)


def described(model: str | Path, weights: bool) -> tuple[Path, str]:
    """A model's folder and its kind, "janus" or "multi_modality" (the official format)."""
    folder = SHIPPED.get(str(model)) or local_folder(model, weights=weights)
    if not (folder / "config.json").is_file():
        raise BadInput(
            f"model folder {folder} has no config.json: give a Janus folder, a name on the hub "
            "such as deepseek-ai/Janus-Pro-1B, or 'icons' for the shipped one"
        )
    config = read_json(folder / "config.json", "model configuration")
    check_sizes(config, folder / "config.json")
    kind = config.get("model_type")
    if kind not in ("janus", "multi_modality"):
        raise BadInput(f"{folder} holds a {kind!r} model, not 'janus'")
    if not (folder / "tokenizer.json").is_file():
        raise BadInput(
            f"{folder} has no tokenizer.json, so the model in it cannot be prompted: copy the "
            "tokenizer's files there, or convert it with --tokenizer"
        )
    return folder, kind


def check_sizes(config: Mapping[str, Any], file: Path, key: str = "") -> None:
    """Raises BadInput where a configuration has a size that no model has: building it would take
    all memory before anything is compared with the weights."""
    for name, value in config.items():
        if isinstance(value, dict):
            check_sizes(value, file, f"{key}{name}.")
        elif (words := set(name.split("_"))) & SIZES:
            most = next((most for word, most in MOST.items() if word in words), MOST_SIZE)
            for size in value if isinstance(value, list) else [value]:
                if isinstance(size, int) and not -1 <= size <= most:
                    raise BadInput(
                        f"{file} gives {key}{name} as {str(size)[:40]}, which must be at most "
                        f"{most:,}: it is damaged, or of no model"
                    )


def converted(model: str) -> Path:
    """The transformers folder of an official one, made on first use and told in a line on stderr.

    Raises BadInput as `from_official`.
    """
    from huggingface_hub.constants import HF_HOME
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    from got_r1.checkpoints.convert import from_official

    source = local_folder(model)
    digest = hashlib.blake2b(__version__.encode(), digest_size=8)
    for file in sorted(path for path in source.iterdir() if path.is_file()):
        facts = file.stat()  # of the file itself, where the hub's cache has a link
        digest.update(f"{file.resolve()} {facts.st_size} {facts.st_mtime_ns}\0".encode())
    name = re.sub(r"[^\w.-]+", "--", model.strip("/"))[-80:]
    folder = Path(HF_HOME, "got-r1", f"{name}-{digest.hexdigest()}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Processes that torchrun starts come here together.
    with WeakFileLock(folder.with_name(f"{folder.name}.lock")):
        if not (folder / "config.json").is_file():
            note(f"{model} is in the official format: converting it, once, to {folder}")
            from_official(source, folder)
    return folder

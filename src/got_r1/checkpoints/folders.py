"""What can be told of a checkpoint's folder without importing torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from got_r1.errors import BadInput
from got_r1.files.inputs import read_json

__all__ = [
    "check_destination",
    "check_transformers_folder",
    "read_official_config",
    "trained_folder",
]

SECTIONS = (
    "vision_config",
    "aligner_config",
    "gen_vision_config",
    "gen_aligner_config",
    "gen_head_config",
    "language_config",
)


def read_official_config(folder: Path) -> dict[str, Any]:
    """The content of an official `config.json`.

    Raises BadInput where the folder is no official Janus checkpoint.
    """
    file = folder / "config.json"
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}; check the path.")
    if not file.is_file():
        raise BadInput(f"{folder} has no config.json: it is no Janus checkpoint.")
    content = read_json(file, "model configuration")
    kind = content.get("model_type")
    if kind == "janus":
        raise BadInput(
            f"{folder} is a transformers folder already; --to-official converts it back."
        )
    if kind != "multi_modality":
        raise BadInput(
            f"{folder} holds a {kind!r} model: 'multi_modality' is what Janus checkpoints say."
        )
    missing = [name for name in SECTIONS if not isinstance(content.get(name), dict)]
    if missing:
        raise BadInput(
            f"{file} has no {' and no '.join(missing)}: it is a multi_modality model, but no Janus."
        )
    return content


def check_transformers_folder(folder: Path) -> None:
    """Raises BadInput where the folder holds no transformers Janus."""
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}; check the path.")
    if not (folder / "config.json").is_file():
        raise BadInput(f"{folder} has no config.json: it is no transformers folder.")
    kind = read_json(folder / "config.json", "model configuration").get("model_type")
    if kind != "janus":
        raise BadInput(f"{folder} holds a {kind!r} model, and --to-official converts 'janus' ones.")


def check_destination(dst: Path) -> None:
    """Raises BadInput where something is in the way."""
    if dst.exists() and (not dst.is_dir() or any(dst.iterdir())):
        raise BadInput(f"{dst} exists and is not an empty folder; choose another destination.")


def trained_folder(run: Path) -> Path:
    """The folder of the model that a run has trained.

    Raises BadInput where there is no such run, it is not finished, or holds no transformers Janus.
    """
    if not (run / "config.yaml").is_file():
        raise BadInput(f"{run} is no run folder: it has no config.yaml.")
    model = run / "checkpoints" / "final"
    if not model.is_dir():
        raise BadInput(f"{run} has no trained model in checkpoints/final: go on with --resume.")
    check_transformers_folder(model)
    return model

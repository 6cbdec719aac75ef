"""Files that users name: read whole, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from got_r1.errors import BadInput
from got_r1.records import Prompt

__all__ = [
    "check_prompt",
    "read_chain_text",
    "read_image",
    "read_json",
    "read_prompts",
    "read_text",
]


def read_text(path: Path | str, what: str) -> str:
    """The text of a UTF-8 file; `what` names it in errors ("chain file").

    Raises BadInput where the file is missing, unreadable or not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput(f"there is no {what} at {path}; check the path.") from None
    except UnicodeDecodeError as error:
        raise BadInput(
            f"the {what} {path} is not UTF-8 text (byte {error.start}); save it as UTF-8."
        ) from None
    except OSError as error:
        raise BadInput(f"the {what} {path} cannot be read ({error.strerror}).") from None


def read_json(path: Path | str, what: str) -> dict[str, Any]:
    """The object in a JSON file. Raises BadInput as `read_text`, and for anything else in it."""
    try:
        content = json.loads(read_text(path, what))
    except ValueError as error:
        raise BadInput(f"the {what} {path} is not valid JSON ({error}).") from None
    if not isinstance(content, dict):
        raise BadInput(f"the {what} {path} must hold a JSON object.")
    return content


def read_chain_text(path: Path | str) -> str:
    """A chain as its tags and prose: a text file, or a `NNN.json` that `sample` wrote.

    Raises BadInput where the file cannot be read or holds no chain. A malformed chain is no error
    here: what it is worth is for `chain.parse` and the reward to say.
    """
    if Path(path).suffix == ".json":
        text = read_json(path, "chain file").get("chain")
        if not isinstance(text, str):
            raise BadInput(f"the chain file {path} has no text under 'chain'.")
        return text
    return read_text(path, "chain file").strip()


def read_image(path: Path | str) -> np.ndarray:
    """An image file as uint8 [height, width, 3]. Raises BadInput where it cannot be decoded."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise BadInput(f"there is no image at {path}; check the path.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise BadInput(f"{path} cannot be read as an image; give a PNG or JPEG file.") from None


def check_prompt(text: str) -> str:
    """The prompt without surrounding blanks. Raises BadInput for an empty one."""
    if not text.strip():
        raise BadInput("the prompt is empty; say what to draw.")
    return text.strip()


def read_prompts(path: Path | str) -> list[Prompt]:
    """Prompts of a UTF-8 file, one a line, under the category "other".

    Raises BadInput where the file cannot be read, has no line, or has a blank line between
    prompts (numbered files would silently shift against it); blank lines at the end are ignored.
    """
    lines = read_text(path, "prompt file").rstrip().splitlines()
    if not lines:
        raise BadInput(f"the prompt file {path} is empty; write one prompt a line.")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise BadInput(f"line {number} of the prompt file {path} is empty; remove it.")
    return [Prompt(line.strip()) for line in lines]

"""Files that users name: read whole, or refused in one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from got_r1.errors import BadInput, listed
from got_r1.files.parsing import parse_json
from got_r1.plan.chain import find_problems, without_end
from got_r1.records import Prompt

__all__ = [
    "check_prompt",
    "path_inside",
    "read_chain_text",
    "read_image",
    "read_json",
    "read_plan",
    "read_prompts",
    "read_text",
]


def read_text(path: Path | str, what: str) -> str:
    """The text of a UTF-8 file; `what` names it in errors ("chain file").

    Raises BadInput where the file is missing, unreadable or not UTF-8.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput(f"there is no {what} at {path}; check the path.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadInput(
            f"the {what} {path} is not UTF-8 text (byte {error.start}, line {line}); "
            "save it as UTF-8."
        ) from None
    except OSError as error:
        raise BadInput(f"the {what} {path} cannot be read ({error.strerror}).") from None
    if "\0" in text:  # UTF-16 without its mark is valid UTF-8 with every other byte zero
        raise BadInput(f"the {what} {path} holds zero bytes, as UTF-16 does; save it as UTF-8.")
    return text


def path_inside(folder: Path | str, name: str, what: str) -> Path:
    """The path that a foreign file calls `name`, in `folder`; `what` names it in errors.

    Raises BadInput where it lies elsewhere: an absolute path, `..`, or a link that leads out.
    """
    path = Path(folder, name)
    try:
        if path.resolve().is_relative_to(Path(folder).resolve()):
            return path
    except (OSError, RuntimeError, ValueError):  # loops of links, zero bytes
        pass
    raise BadInput(f"the {what} {name!r} does not lie in {folder}; give a path inside that folder.")


def read_json(path: Path | str, what: str) -> dict[str, Any]:
    """The object in a JSON file. Raises BadInput as `read_text`, and for anything else in it."""
    try:
        content = parse_json(read_text(path, what))
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
        return without_end(text)
    return without_end(read_text(path, "chain file")).strip()


def read_plan(path: Path | str) -> str:
    """A chain to draw from: `read_chain_text` of a chain without problems.

    Raises BadInput as that does, and names every problem with its place.
    """
    text = read_chain_text(path)
    found = [
        f"{what} at character {at + 1} ({text[at : at + 40]!r})" for what, at in find_problems(text)
    ]
    if found:
        raise BadInput(
            f"the chain file {path} holds no plan to draw from: {listed(found, separator='; ')}; "
            "fix it, or leave it out and the model writes its own."
        )
    return text


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


# T2I-CompBench's prompt files: color_val.txt, complex_train_spatial.txt ...
_COMPBENCH_FILE = re.compile(
    r"(color|shape|texture|spatial|3d_spatial|numeracy|non_spatial|complex)_(train|val)(_.+)?"
)


def read_prompts(path: Path | str, column: str = "prompt") -> list[Prompt]:
    """Prompts of a UTF-8 file: one a line, or JSON records in a `.jsonl`, the text in `column`.

    The category is the record's `category` (or `tag`, GenEval's word for it), else that of a
    T2I-CompBench file by its name (`color_val.txt`), else "other".

    Raises BadInput where the file cannot be read, has no line, or has a blank line between
    prompts (numbered files would silently shift against it), and for a record without a prompt;
    blank lines at the end are ignored.
    """
    path = Path(path)
    named = _COMPBENCH_FILE.fullmatch(path.stem)
    category = named[1] if named else "other"
    content = read_text(path, "prompt file").rstrip()
    if not content:
        raise BadInput(f"the prompt file {path} is empty; write one prompt a line.")
    prompts = []
    # Not splitlines(), which also ends lines where a JSON string or a caption may go on (U+2028).
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            raise BadInput(f"line {number} of the prompt file {path} is empty; remove it.")
        if path.suffix.lower() == ".jsonl":
            prompts.append(_prompt_of_record(line, column, category, f"line {number} of {path}"))
        else:
            prompts.append(Prompt(line.strip(), category))
    return prompts


def _prompt_of_record(line: str, column: str, category: str, where: str) -> Prompt:
    """The prompt in one line of a `.jsonl`; `category` where the record has none of its own."""
    try:
        record = json.loads(line)
    except ValueError as error:
        raise BadInput(f"{where} is not valid JSON ({error}).") from None
    if not isinstance(record, dict):
        raise BadInput(f"{where} must hold a JSON object with a prompt.")
    text = record.get(column)
    if not isinstance(text, str) or not text.strip():
        columns = ", ".join(map(repr, record)) or "nothing"
        raise BadInput(
            f"{where} has no text under {column!r} (it has {columns}); "
            "name the column that holds the prompt."
        )
    own = record.get("category", record.get("tag"))
    # Captions from the web hold line breaks, which the prompt's template uses for itself.
    return Prompt(" ".join(text.split()), own if isinstance(own, str) and own else category)

"""Files that users name: read whole, or refused in one sentence."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from got_r1.errors import BadInput
from got_r1.files.images import MOST_PIXELS, UnreadableImage, open_image
from got_r1.files.parsing import parse_json
from got_r1.plan.chain import parse, without_end

if TYPE_CHECKING:
    from got_r1.plan.editing import Plan

__all__ = [
    "check_prompt",
    "decode",
    "load_plan",
    "path_inside",
    "read_bytes",
    "read_chain_text",
    "read_image",
    "read_json",
    "read_plan",
    "read_text",
]


def read_bytes(path: Path | str, what: str) -> bytes:
    """A file's content; `what` names it in errors. Raises BadInput where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise BadInput(f"there is no {what} at {path}; check the path.") from None
    except OSError as error:
        raise BadInput(f"the {what} {path} cannot be read ({error.strerror}).") from None
    except ValueError:
        raise BadInput(f"the {what} {path} cannot be read (a zero byte in its path).") from None


def decode(data: bytes, path: Path | str, what: str) -> str:
    """The text of a UTF-8 file's content, its line ends as line feeds.

    Raises BadInput for other bytes.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadInput(
            f"the {what} {path} is not UTF-8 text (byte {error.start}, line {line}); "
            "save it as UTF-8."
        ) from None
    if "\0" in text:  # UTF-16 without its mark is valid UTF-8 with every other byte zero
        raise BadInput(f"the {what} {path} holds zero bytes, as UTF-16 does; save it as UTF-8.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text(path: Path | str, what: str) -> str:
    """The text of a UTF-8 file; `what` names it in errors ("chain file").

    Raises BadInput where the file is missing, unreadable or not UTF-8.
    """
    return decode(read_bytes(path, what), path, what)


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


def read_chain_text(path: Path | str, prompt: str = "") -> str:
    """A chain as its tags and prose: a text file, or a JSON file of a plan as `plan.editing` has
    it, such as the `NNN.json` that `sample` wrote. `prompt` is what the chain is for.

    Raises BadInput where the file cannot be read or holds no chain, and where it holds a plan twice
    and the two disagree. A malformed chain is no error here: what it is worth is for `chain.parse`
    and the reward to say.
    """
    if Path(path).suffix.lower() == ".json":
        from got_r1.plan.editing import chain_of_record  # slow to import, and recipes are read here

        record = read_json(path, "chain file")
        check_keys(path)
        return chain_of_record(record, f"the chain file {path}", prompt)
    return without_end(read_text(path, "chain file")).strip()


def check_keys(path: Path | str) -> None:
    """Raises BadInput where an object of a JSON file has a key twice: only one of them counts."""

    def refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
        for key, count in Counter(key for key, _ in pairs).items():
            if count > 1:
                raise BadInput(f"the chain file {path} has {key!r} twice; remove one of them.")

    json.loads(read_text(path, "chain file"), object_pairs_hook=refuse_repeated)


def read_plan(path: Path | str, prompt: str = "", *, marks: bool = False) -> str:
    """A chain to draw from: `read_chain_text` of a chain without problems, as `chain.parse` finds
    them with or without `marks`.

    Raises BadInput as that does, and names every problem with its place.
    """
    from got_r1.plan.editing import check_chain

    text = read_chain_text(path, prompt)
    check_chain(text, f"the chain file {path}", marks=marks)
    return text


def load_plan(path: Path | str, prompt: str = "", *, marks: bool = False) -> Plan:
    """A file's plan, to show or edit; its prompt is `prompt`, else the file's own.

    Raises BadInput as `read_plan`.
    """
    from got_r1.plan.editing import plan_of_chain

    chain = parse(read_plan(path, prompt, marks=marks), marks=marks)
    if not prompt and Path(path).suffix.lower() == ".json":
        own = read_json(path, "chain file").get("prompt")
        prompt = own if isinstance(own, str) else ""
    return plan_of_chain(chain, prompt)


def read_image(path: Path | str) -> np.ndarray:
    """An image file as uint8 [height, width, 3], as `images.open_image` reads it.

    Raises BadInput where that cannot be.
    """
    try:
        return np.asarray(open_image(path))
    except FileNotFoundError:
        raise BadInput(f"there is no image at {path}; check the path.") from None
    except UnreadableImage as error:
        raise BadInput(
            f"{path} cannot be read as an image ({error}); give a PNG or JPEG file of at most "
            f"{MOST_PIXELS // 10**6} million pixels."
        ) from None


def check_prompt(text: str) -> str:
    """The prompt without surrounding blanks. Raises BadInput for an empty one."""
    if not text.strip():
        raise BadInput("the prompt is empty; say what to draw.")
    return text.strip()

"""What no file system takes as a path."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

__all__ = ["PathText", "check_path"]

LONGEST_NAME = 255  # bytes of a file's or folder's name, on usual file systems
LONGEST_PATH = 4095  # bytes of a path, on Linux


def check_path(text: str) -> str:
    """The path itself; raises ValueError, in words for a user, where no file can be called so."""
    shown = repr(text if len(text) <= 40 else f"{text[:37]}...")
    if "\0" in text:
        raise ValueError(f"the path {shown} holds a zero byte")
    size = max(map(_bytes, text.split("/")))
    if size > LONGEST_NAME:
        raise ValueError(f"the path {shown} has a name of {size} bytes; the most are 255")
    if _bytes(text) > LONGEST_PATH:
        raise ValueError(f"the path {shown} is longer than {LONGEST_PATH} bytes")
    return text


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


PathText = Annotated[str, AfterValidator(check_path)]

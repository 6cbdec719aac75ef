"""What the readers of scores and of boxes share: the answer in a reply, and its words."""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ["LONGEST", "Unreadable", "answer_in", "plain", "shortened", "to_float"]

LONGEST = 20_000
"""Characters of a reply that are looked at; a longer one is a model that repeats itself."""


class Unreadable(Exception):
    """The reply is no clear answer; the message says why."""


def answer_in(reply: str) -> str:
    """The reply without what a thinking model thought. Raises Unreadable where nothing is left."""
    text = reply.rpartition("</think>")[2].strip()
    if "<think>" in text:
        raise Unreadable("it was cut off while thinking")
    if not text:
        raise Unreadable("it is empty")
    if len(text) > LONGEST:
        raise Unreadable(f"it has {len(text)} characters")
    return text


def plain(text: str) -> str:
    """A key or label without its case, underscores, hyphens and surplus blanks."""
    return " ".join(re.sub(r"[_-]+", " ", text).casefold().split())


def to_float(value: int | float | str) -> float:
    """The number, infinite where it is too large or none."""
    try:
        return float(value)
    except (OverflowError, ValueError):
        return math.inf


def shortened(value: Any) -> str:
    """A value as messages show it, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

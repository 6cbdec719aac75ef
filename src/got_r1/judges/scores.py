"""A model's reply as a score."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from got_r1.judges.loose_json import Fields, fields_in, json_values
from got_r1.judges.reply_text import Unreadable, answer_in, plain, shortened, to_float

__all__ = ["Scored", "read_score"]


@dataclass(frozen=True, slots=True)
class Scored:
    """`score` in [0, 1] (the reply's tenth), and what the reply gave as its reasons."""

    score: float
    reasoning: str = ""


_SCORE_KEYS = {"score", "final score", "overall score", "total score"}
_REASON_KEYS = ("description", "reasoning", "reason", "explanation")
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

_VALUE = rf"(?:-?[0-9]+(?:\.[0-9]*)?|{'|'.join(_WORDS)})(?:\s*(?:/|out\s+of)\s*[0-9a-z.]+)?"
_MARK = re.compile(
    rf"(?P<mark>-?[0-9]+(?:\.[0-9]*)?|{'|'.join(_WORDS)})"
    r"(?:\s*(?:/|out\s+of)\s*(?P<scale>[0-9a-z.]+))?(?:\s*points?)?\.?",
    re.IGNORECASE,
)
# A line that says a score and nothing else: "Score: 8", "**Final score:** 8/10", "The score is 8."
_SCORE_LINE = re.compile(
    r"^(?:[^\w\n]|_)*(?:the\s+)?(?:(?:final|overall|total)\s+)?score\b['\"*_`]*\s*"
    rf"(?::|=|is\b|of\b)?['\"*_`\s]*(?P<value>{_VALUE})(?:\s*points?)?['\"*_`.\s]*$",
    re.IGNORECASE | re.MULTILINE,
)
# The end of an object that cannot be read as JSON, mostly for quotes inside its texts.
_SCORE_LAST = re.compile(
    rf"[{{,\s]['\"]?score['\"]?\s*:\s*['\"]?(?P<value>{_VALUE})['\"]?\s*,?\s*\}}+[\s`]*$",
    re.IGNORECASE,
)
_SCORE_NAMED = re.compile(r"score\w{0,9}['\"*]*\s*(?::|=|\bis\b|\bof\b)", re.IGNORECASE)


def read_score(reply: str) -> Scored:
    """The one score, 0 to 10, that a reply gives. Raises Unreadable, and nothing else."""
    text = answer_in(reply)
    values, prose = json_values(text)
    if prose is None:  # something begins as JSON and is none
        last = _SCORE_LAST.search(text)
        if last is None or len(_SCORE_NAMED.findall(text)) != 1:
            raise Unreadable("its JSON is cut off or malformed")
        return Scored(_mark(last["value"]) / 10)
    said = [mark for value in values for mark in _marks_in(value)]
    said += [_mark(line["value"]) for line in _SCORE_LINE.finditer("".join(prose))]
    if not values and _MARK.fullmatch(text.strip("*`\" '")):
        said.append(_mark(text.strip("*`\" '")))
    if not said:
        raise Unreadable("there is no score in it")
    if len(set(said)) > 1:
        raise Unreadable(f"it gives different scores: {', '.join(f'{m:g}' for m in said[:5])}")
    return Scored(said[0] / 10, _reasons(values))


def _marks_in(value: Any) -> Iterator[float]:
    """All that stands under a key that means score, at any depth."""
    for key, item in fields_in(value):
        if plain(key) in _SCORE_KEYS and not isinstance(item, Fields | list):
            yield _mark(item)


def _mark(value: Any) -> float:
    """A number from 0 to 10. Raises Unreadable."""
    if isinstance(value, str):
        said = _MARK.fullmatch(value.strip())
        if said is None:
            raise Unreadable(f"its score {shortened(value)} is no number")
        scale = said["scale"]
        if scale is not None and scale.lower().rstrip(".") not in ("10", "10.0", "ten"):
            raise Unreadable(f"its score {shortened(value)} is on another scale than 0 to 10")
        mark = said["mark"].lower()
        number = float(_WORDS.index(mark)) if mark in _WORDS else float(mark)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(f"its score {shortened(value)} is no number")
    else:
        number = to_float(value)
    if not 0 <= number <= 10:  # NaN is not
        raise Unreadable(f"its score {shortened(value)} is not within 0 to 10")
    return number


def _reasons(values: list[Any]) -> str:
    """What stands under the rubric's keys for reasons, the first of each."""
    fields = [(plain(key), item) for value in values for key, item in fields_in(value)]
    texts = (
        next((item for key, item in fields if key == wanted and isinstance(item, str)), "")
        for wanted in _REASON_KEYS
    )
    return " ".join(text.strip() for text in texts if text.strip())

"""Families' own marks of boxes, brought to one form; and the words that stand around boxes.

| | |
|-|-|
| Qwen-VL, Qwen2-VL | `<|object_ref_start|>N<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>` |
| InternVL | `<ref>N</ref><box>[[1, 2, 3, 4]]</box>` |
| MiniCPM-V | `<ref>N</ref><box>1 2 3 4</box>` |
| DeepSeek-VL2 | `<|ref|>N<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>` |
| GLM-V | `<|begin_of_box|>[[1, 2, 3, 4]]<|end_of_box|>` |
| MiniGPT-v2 | `<p>N</p> {<1><2><3><4>}` |
| PaliGemma | `<loc0002><loc0001><loc0004><loc0003> N`: y first, of 1024 |
| Florence-2 | `N<loc_1><loc_2><loc_3><loc_4>`: x first, of 1000 |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from got_r1.judges.labels import content

__all__ = ["FOUR", "LOC", "NUMBER", "ProseLabel", "prose_labels", "short_clauses", "without_marks"]

NUMBER = r"-?[0-9]+(?:\.[0-9]*)?"
FOUR = re.compile(
    rf"[\[(\s]*({NUMBER})[,\s)(]+({NUMBER})[,\s)(]+({NUMBER})[,\s)(]+({NUMBER})[\])\s]*"
)
LOC: dict[str, tuple[Literal["xy", "yx"], float]] = {
    "<loc0000>": ("yx", 1024.0),
    "<loc_0>": ("xy", 1000.0),
}
"""Location tokens as keys, with the order and the scale that they imply."""

_NAME = re.compile(
    r"<\|?(?:object_ref_start|obj_start|ref|p|phrase)\|?>([^<>]*)"
    r"<\|?/?(?:object_ref_end|obj_end|ref|p|phrase)\|?>"
)
_BOX_TAG = re.compile(
    r"<\|?/?(?:box_start|box_end|begin_of_box|end_of_box|det|box|bbox|bounding_box)\|?>"
)
_TAGGED_FOUR = re.compile(rf"({_BOX_TAG.pattern})({FOUR.pattern})({_BOX_TAG.pattern})")
_BRACED = re.compile(r"\{\s*<([0-9]+)>\s*<([0-9]+)>\s*<([0-9]+)>\s*<([0-9]+)>\s*\}")
_LOC_1024 = re.compile(r"<loc([0-9]{4})>\s*" * 4)
_LOC_1000 = re.compile(r"<loc_([0-9]+)>\s*" * 4)
_SPACED = re.compile(rf"\[\s*({NUMBER})\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})\s*\]")
_CORNERS = re.compile(
    rf"\(\s*({NUMBER})\s*,\s*({NUMBER})\s*\)\s*(?:,|;|to|and|-|–|→)?\s*"
    rf"\(\s*({NUMBER})\s*,\s*({NUMBER})\s*\)"
)


def without_marks(text: str) -> str:
    """The text with every family's marks as JSON lists, and names as lines that end in a colon."""
    if FOUR.fullmatch(text):
        return _four(FOUR.fullmatch(text))  # type: ignore[arg-type]
    text = re.sub(r"\\boxed\{([^{}]*)\}", r"\1", text)
    text = _NAME.sub(r"\n\1: ", text)
    text = _TAGGED_FOUR.sub(lambda m: f"[{', '.join(m.groups()[2:6])}] ", text)
    text = _BOX_TAG.sub(" ", text)
    text = _BRACED.sub(_four, text)
    text = _LOC_1024.sub(lambda m: _located("<loc0000>", m), text)
    text = _LOC_1000.sub(lambda m: _located("<loc_0>", m), text)
    text = _SPACED.sub(_four, text)
    return _CORNERS.sub(_four, text)


def _four(found: re.Match[str]) -> str:
    return f"[{', '.join(found.groups())}]"


def _located(key: str, found: re.Match[str]) -> str:
    numbers = ", ".join(str(int(number)) for number in found.groups())
    return f'{{"{key}": [{numbers}]}} '


_EDGES = " \t*#:`-–="
_LONGEST_NAME = 5  # words, with a number or a bullet

# -- words around boxes ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProseLabel:
    """The words that name a box; `weak` where they stand in a sentence that ended before it."""

    text: str = ""
    weak: bool = False


def prose_labels(prose: Sequence[str], asked: str) -> list[ProseLabel]:
    """What the prose before each value, and after the last, says that each value is.

    Names stand before their boxes, or after them on the same line; else the text above counts.
    """
    labels: list[ProseLabel] = []
    above = ProseLabel()
    count = len(prose) - 1
    start = 0
    while start < count:
        end = start  # the last value on the line where `start` stands
        while end + 1 < count and "\n" not in prose[end + 1]:
            end += 1
        upper, _, before = prose[start].rpartition("\n")
        if start:
            upper = upper.partition("\n")[2]  # the rest of the line before is that line's
        above = _last_clause(upper, asked) or above
        after = prose[end + 1].partition("\n")[0]
        mids = prose[start + 1 : end + 1]
        first, last = _last_clause(before, asked), _last_clause(after, asked)
        if first is None and last is not None:
            labels += [_last_clause(text, asked) or above for text in [*mids, after]]
        else:
            labels.append(first or above)
            labels += [_last_clause(text, asked) or ProseLabel() for text in mids]
        start = end + 1
    return labels


def short_clauses(prose: Sequence[str], asked: str) -> list[str]:
    """Clauses that may be names: short, with a word that names something."""
    clauses = re.split(r"[\n,;:.!?()。，；]", " \n".join(prose))
    return [
        clause.strip(_EDGES)
        for clause in clauses
        if content(clause, asked) and len(clause.split()) <= _LONGEST_NAME
    ]


def _last_clause(text: str, asked: str) -> ProseLabel | None:
    """The last clause with a word that names something."""
    clauses = re.split(
        r"((?<=[.!?])\s+|[.!?]$|[\n;,。！？；，])", re.sub(r"</[^<>]*>|<\|[^<>]*\|>", " ", text)
    )
    for place in range(len(clauses) - 1, -1, -2):
        clause = clauses[place]
        if content(clause, asked):
            ended = any(re.search(r"[.!?。！？]|^\s+$", mark) for mark in clauses[place + 1 :: 2])
            return ProseLabel(clause.strip(_EDGES), ended)
    return None

"""JSON as language models write it: found in prose, in looser forms than the standard's.

Nothing is invented or completed. Quotes are changed, words quoted, a comma before an end left out,
and a value that is not closed is broken. (Libraries that repair JSON close it, and so make a 1 of a
10 that was cut off.) Every object comes as its pairs, so that a key that stands twice is not lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["DEEPEST", "Fields", "fields_in", "json_values"]

DEEPEST = 20
"""Levels of nested JSON; what is deeper is broken."""


class Fields(tuple[tuple[str, Any], ...]):
    """A JSON object as its pairs, in order."""

    __slots__ = ()


_OPENING = re.compile(r"[{\[]")
_STRICT = json.JSONDecoder(strict=False, object_pairs_hook=Fields)
_TOKEN = re.compile(
    r"""\s*(?: (?P<string> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' )
             | (?P<mark> [{}\[\](),:] )
             | (?P<word> [^\s{}\[\](),:"']+ ) )""",
    re.VERBOSE | re.DOTALL,
)
_JSON_WORD = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|NaN|-?Infinity")
_PYTHON = {"true": "true", "false": "false", "null": "null", "none": "null", "nan": "NaN"}


def json_values(text: str) -> tuple[list[Any], list[str] | None]:
    """The objects and lists in a text, and the prose before each and after the last.

    The prose is None where a value is broken: what follows may be its inside, so nothing is read.
    """
    values: list[Any] = []
    prose: list[str] = []
    end = 0
    while opening := _OPENING.search(text, end):
        prose.append(text[end : opening.start()])
        try:
            value, end = _value(text, opening.start())
        except (ValueError, RecursionError):
            return values, None
        values.append(value)
    return values, [*prose, text[end:]]


def _value(text: str, start: int) -> tuple[Any, int]:
    """The JSON value that begins there, and where it ends. Raises ValueError, RecursionError."""
    try:
        value, end = _STRICT.raw_decode(text, start)
    except ValueError:
        strict, end = _as_strict(text, start)
        value = _STRICT.decode(strict)
    if _depth(value) > DEEPEST:
        raise ValueError("nested too deep")
    return value, end


def _depth(value: Any) -> int:
    """Levels of nested objects and lists."""
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = [item for one in level if isinstance(one, list) for item in one]
        inner += [item for one in level if isinstance(one, Fields) for _, item in one]
        level = [item for item in inner if isinstance(item, Fields | list)]
    return depth


def _as_strict(text: str, start: int) -> tuple[str, int]:
    """A value in the looser forms that models write, as strict JSON; and where it ends.

    Nothing is invented: quotes are changed, words quoted, commas before an end left out. A value
    that is not closed raises ValueError.
    """
    tokens: list[str] = []
    open_marks = 0
    end = start
    while token := _TOKEN.match(text, end):
        end = token.end()
        if (mark := token["mark"]) is not None:
            mark = {"(": "[", ")": "]"}.get(mark, mark)
            open_marks += (mark in "{[") - (mark in "}]")
            if mark in "}]" and tokens[-1] == ",":
                tokens.pop()
            tokens.append(mark)
            if open_marks == 0:
                return " ".join(tokens), end  # "1 0" is not 10
        elif (string := token["string"]) is not None:
            tokens.append(json.dumps(re.sub(r"\\(.)", _unescape, string[1:-1], flags=re.DOTALL)))
        else:
            word = token["word"]
            tokens.append(
                word
                if _JSON_WORD.fullmatch(word)
                else _PYTHON.get(word.lower()) or json.dumps(word)
            )
    raise ValueError("not closed")


def _unescape(escaped: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t"}.get(escaped[1], escaped[1])


def fields_in(value: Any) -> Iterator[tuple[str, Any]]:
    """All keys with what stands under them, at any depth, in the order of the text."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case Fields() as fields:
                yield from fields
                waiting += [item for _, item in reversed(fields)]
            case list() as items:
                waiting += reversed(items)

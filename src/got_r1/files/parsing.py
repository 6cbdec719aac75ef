"""Text that comes from outside, as JSON, YAML or plain: valid Unicode and of a sane depth.

Whatever a file, a server or a command line holds, these readers return plain data or raise
ValueError: no RecursionError, KeyError or OverflowError of a library leaves them. What is no valid
Unicode (half a surrogate pair, a byte of another encoding in an argument) becomes U+FFFD where it
comes in, so that everything inside can be written; `REPLACED` counts.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import yaml

__all__ = [
    "DEEPEST",
    "REPLACED",
    "SafeLoader",
    "json_lines",
    "parse_json",
    "parse_yaml",
    "valid_unicode",
]

DEEPEST = 100
"""Levels of lists and mappings inside each other that are read."""
LARGEST = 1_000_000
"""Nodes of a YAML file, with each alias counted as all that it stands for."""
LONGEST_NUMBER = 14_000
"""Bits of an integer; Python refuses to write down somewhat longer ones."""

REPLACED: Counter[str] = Counter()
"""Characters that were replaced, by where they came from."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def valid_unicode(text: str, source: str = "") -> str:
    """The text with U+FFFD for each half of a surrogate pair that has no other half.

    `source` says in the plural where it comes from ("judge replies"); named, it is counted.
    """
    if text.isascii() or not _SURROGATE.search(text):
        return text
    valid = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if source:
        REPLACED[source] += valid.count("\ufffd") - text.count("\ufffd")
    return valid


def parse_json(text: str | bytes, source: str | None = "JSON files") -> Any:
    """The value in a JSON text. Raises ValueError for anything else, and for one that is nested
    more than `DEEPEST` levels deep. With `source=None`, text in it may be no valid Unicode."""
    try:
        return _valid(json.loads(text), source, DEEPEST)
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} levels deep") from None


def _valid(value: Any, source: str | None, levels: int) -> Any:
    """A JSON value with valid Unicode in it. Raises RecursionError below that many levels."""
    if isinstance(value, str):
        return value if source is None else valid_unicode(value, source)
    if isinstance(value, int) and value.bit_length() > LONGEST_NUMBER:
        raise ValueError("a number with thousands of digits")
    if not isinstance(value, dict | list):
        return value
    if not levels:
        raise RecursionError
    if isinstance(value, list):
        return [_valid(item, source, levels - 1) for item in value]
    return {
        _valid(key, source, levels - 1): _valid(item, source, levels - 1)
        for key, item in value.items()
    }


def json_lines(text: str) -> list[tuple[int, str]]:
    """The lines of a JSONL text that are not blank, with their numbers, from 1.

    Not by `str.splitlines`, which also ends lines at U+2028, U+2029 and U+0085: JSON strings may
    hold these.
    """
    lines = enumerate(text.split("\n"), start=1)
    return [(number, line) for number, line in lines if line.strip()]


class SafeLoader(yaml.SafeLoader):
    """Safe YAML that raises `yaml.YAMLError` for what is nested too deep, and for aliases that
    stand for themselves or for more than `LARGEST` nodes."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, int] = {}  # nodes in each finished node, itself included

    def compose_node(self, parent: Any, index: Any) -> Any:
        """PyYAML's, within those limits."""
        alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._refused(f"nested more than {DEEPEST} levels deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if not alias:
            inner: list[Any] = []
            if isinstance(node, yaml.SequenceNode):
                inner = node.value
            elif isinstance(node, yaml.MappingNode):
                inner = [item for pair in node.value for item in pair]
            self._sizes[id(node)] = 1 + sum(self._sizes[id(item)] for item in inner)
            if self._sizes[id(node)] > LARGEST:
                raise self._refused(f"aliases make more than {LARGEST} values of it")
        elif id(node) not in self._sizes:
            raise self._refused("an alias stands for what it is part of")
        return node

    def _refused(self, problem: str) -> yaml.YAMLError:
        return yaml.MarkedYAMLError(problem=problem, problem_mark=self.get_mark())


def parse_yaml(text: str, loader: type[SafeLoader] = SafeLoader, source: str = "YAML files") -> Any:
    """The value in a YAML text. Raises `yaml.YAMLError` for anything else, also where PyYAML lets
    Python's own errors through (`2001-99-99`, `!!int abc`)."""
    try:
        return _valid(yaml.load(text, loader), source, DEEPEST)
    except yaml.YAMLError:
        raise
    except RecursionError:
        raise yaml.YAMLError(f"nested more than {DEEPEST} levels deep") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise yaml.YAMLError(f"a value in it cannot be read ({reason})") from None

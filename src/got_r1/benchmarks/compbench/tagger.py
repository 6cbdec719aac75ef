"""The interface of the taggers: spaCy's model (`words`), or the fallback without one."""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["Tagger", "Token"]


class Token(NamedTuple):
    """A word or sign of a sentence and its universal part of speech ("NOUN", "ADJ" ...)."""

    text: str
    pos: str


class Tagger(Protocol):
    """Splits a sentence into tagged words, and finds its noun chunks."""

    version: str
    """Which tagger made a score."""

    is_official: bool
    """Whether it is the one of the official scripts."""

    def tokens(self, text: str) -> list[Token]:
        """The words and signs of a sentence, in order."""
        ...

    def noun_chunks(self, text: str) -> list[str]:
        """The base noun phrases of a sentence as they are written, in order, none inside another:
        "The red hat was on top of the coat rack." -> The red hat, top, the coat rack."""
        ...

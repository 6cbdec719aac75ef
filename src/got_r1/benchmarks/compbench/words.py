"""The words of a prompt: their parts of speech, its noun chunks, and the objects it asks for.

The official scripts take both from spaCy's small English model, which is a download of its own.
`load_tagger` uses it where it is installed, else the fallback of `fallback_tagger`, made for the
benchmark's own sentences; scores say which one made them.

This is not the project's reader of prompts, which is `got_r1.plan.reading`: it reproduces what the
official scripts take from a sentence, right or wrong (the first and the last noun as the two
objects, the words on both sides of a phrase), because a score stands beside published ones only
when it looks for the same objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any, Literal

from got_r1.benchmarks.compbench.tagger import Tagger, Token
from got_r1.errors import BadInput

__all__ = [
    "SpacyTagger",
    "first_and_last_noun",
    "load_tagger",
    "without_adjectives",
    "words_around",
]

SPACY_MODEL = "en_core_web_sm"


class SpacyTagger:
    """spaCy's small English model. Raises BadInput where spaCy or the model is not installed."""

    is_official = True

    def __init__(self) -> None:
        try:
            spacy: Any = import_module("spacy")
        except ImportError:
            raise BadInput(
                "spaCy is not installed: pip install spacy and then "
                f"python -m spacy download {SPACY_MODEL}, or use --tagger fallback."
            ) from None
        try:
            self._model: Any = spacy.load(SPACY_MODEL)
        except OSError:
            raise BadInput(
                f"spaCy's English model is not installed: python -m spacy download {SPACY_MODEL}, "
                "or use --tagger fallback."
            ) from None
        self.version = (
            f"spaCy {spacy.__version__}, {SPACY_MODEL} {self._model.meta.get('version', '?')}"
        )

    def tokens(self, text: str) -> list[Token]:
        """As `Tagger.tokens`."""
        return [Token(token.text, token.pos_) for token in self._model(text)]

    def noun_chunks(self, text: str) -> list[str]:
        """As `Tagger.noun_chunks`."""
        return [chunk.text for chunk in self._model(text).noun_chunks]


def load_tagger(which: Literal["auto", "spacy", "fallback"] = "auto") -> Tagger:
    """The tagger of that name; "auto" is spaCy where its English model is installed, else the
    fallback. Raises BadInput for "spacy" where it is not installed, and for an unknown name."""
    from got_r1.benchmarks.compbench.fallback_tagger import FallbackTagger

    match which:
        case "auto":
            try:
                return SpacyTagger()
            except BadInput:
                return FallbackTagger()
        case "spacy":
            return SpacyTagger()
        case "fallback":
            return FallbackTagger()
        case _:
            raise BadInput(f"there is no tagger {which!r}: use auto, spacy or fallback.")


# -- objects --------------------------------------------------------------------------------------


def first_and_last_noun(tokens: Sequence[Token]) -> tuple[str, str]:
    """The first and the last common noun: the two objects of a simple spatial prompt. One noun
    alone is both. Raises BadInput for a prompt without one (the official code breaks there)."""
    nouns = [token.text for token in tokens if token.pos == "NOUN"]
    if not nouns:
        raise BadInput(
            f"the prompt {' '.join(token.text for token in tokens)!r} has no noun, so no objects "
            "can be looked for; use the benchmark's own prompts."
        )
    return nouns[0], nouns[-1]


def words_around(tokens: Sequence[Token], phrases: Sequence[str]) -> list[str]:
    """For every phrase that starts at a token, the noun before it and the noun after it.

    Where several start at one token the longest counts. Before: the nearest noun or name. After:
    the first common noun; without one, the first name that another word, no name, follows. Where
    there is none the side adds no word.
    """
    texts = [token.text for token in tokens]
    words = []
    for start in range(len(tokens)):
        lengths = [
            length for length in (3, 2, 1) if " ".join(texts[start : start + length]) in phrases
        ]
        # A slice over the end is shorter than asked, and found once more at its own length.
        lengths = [length for length in lengths if start + length <= len(tokens)]
        if not lengths:
            continue
        before = [token.text for token in tokens[:start] if token.pos in ("NOUN", "PROPN")]
        words += before[-1:]
        words += noun_after(tokens[start + lengths[0] :])
    return words


def noun_after(tokens: Sequence[Token]) -> list[str]:
    """The first common noun, else the first name that another word follows; at most one word."""
    nouns = [token.text for token in tokens if token.pos == "NOUN"]
    names = [
        token.text
        for token, following in pairwise(tokens)
        if token.pos == "PROPN" and following.pos != "PROPN"
    ]
    return (nouns or names)[:1]


def without_adjectives(tokens: Sequence[Token]) -> str:
    """The sentence that the official CLIP script measures a complex prompt by: its words without
    adjectives, with a blank between all of them."""
    return " ".join(token.text for token in tokens if token.pos != "ADJ")

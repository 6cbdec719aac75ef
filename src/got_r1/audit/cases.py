"""What an audit asks, and which answers are compared: the records of a suite.

A suite is a flat list of queries of one term; comparisons point into it, so that a query which
several comparisons share is put to the judge once. An *item* is a prompt with everything made from
it: the unit that intervals resample, because its queries are no independent trials of the judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from got_r1.records import FoundObject, Query

__all__ = ["Asked", "Curve", "Draft", "Pair", "Persuasion", "Suite", "Variation"]

SCALE = 10
"""Pictures of the icon world, 40 px wide, are shown this many times larger: 400 px, about the size
of what Janus draws (384), since no model reads icons of 12 px."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One query. Its image, where it has one, is kept small and shown `scale` times larger.

    `truth`, for a grounding query: the planned objects that are in the image, with their true
    boxes."""

    query: Query
    item: int
    truth: tuple[FoundObject, ...] = ()
    scale: int = SCALE


@dataclass(frozen=True, slots=True)
class Pair:
    """Two queries (indices) of which the first is better by construction; `kind` names the fault.

    `tags` are further groups it is reported under: "relation" (the kind with its axis, where the
    fault is in a relation), "clarity" (clear, borderline), "category".
    """

    better: int
    worse: int
    kind: str
    item: int
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Variation:
    """Two queries (indices) that deserve the same score; `kind` names what was changed."""

    base: int
    changed: int
    kind: str
    item: int


@dataclass(frozen=True, slots=True)
class Persuasion:
    """A faulty chain (index), and the same with words to the grader, which must not score more."""

    plain: int
    persuading: int
    kind: str
    item: int


@dataclass(frozen=True, slots=True)
class Curve:
    """Queries (indices) from clearly right to clearly wrong, with their doses, ascending."""

    queries: tuple[int, ...]
    doses: tuple[float, ...]
    kind: str
    item: int


@dataclass(frozen=True, slots=True)
class Suite:
    """All that is asked about one term of the reward."""

    term: str
    asked: tuple[Asked, ...]
    pairs: tuple[Pair, ...]
    variations: tuple[Variation, ...]
    persuasions: tuple[Persuasion, ...] = ()
    curves: tuple[Curve, ...] = ()


class Draft:
    """A suite in the making: no more than `limit` comparisons of each kind."""

    def __init__(self, term: str, limit: int, kinds: Sequence[str]) -> None:
        self.term = term
        self.limit = limit
        self.item = 0
        self._asked: list[Asked] = []
        self._pairs: list[Pair] = []
        self._variations: list[Variation] = []
        self._persuasions: list[Persuasion] = []
        self._curves: list[Curve] = []
        self._counts = dict.fromkeys(kinds, 0)

    def wants(self, kind: str) -> bool:
        """Whether another comparison of this kind is needed."""
        return self._counts[kind] < self.limit

    @property
    def is_full(self) -> bool:
        """Whether every kind has its number."""
        return not any(map(self.wants, self._counts))

    def ask(self, query: Query, truth: Sequence[FoundObject] = (), scale: int = SCALE) -> int:
        """Adds a query of the current item; returns its index."""
        self._asked.append(Asked(query, self.item, tuple(truth), scale))
        return len(self._asked) - 1

    def pair(self, better: int, worse: int, kind: str, tags: Mapping[str, str]) -> None:
        """Adds a pair of the current item."""
        self._counts[kind] += 1
        self._pairs.append(Pair(better, worse, kind, self.item, tags))

    def variation(self, base: int, changed: int, kind: str) -> None:
        """Adds two queries of the current item that deserve the same."""
        self._counts[kind] += 1
        self._variations.append(Variation(base, changed, kind, self.item))

    def persuasion(self, plain: int, persuading: int, kind: str) -> None:
        """Adds an attempt to talk the grader over."""
        self._counts[kind] += 1
        self._persuasions.append(Persuasion(plain, persuading, kind, self.item))

    def curve(self, queries: Sequence[int], doses: Sequence[float], kind: str) -> None:
        """Adds a dose curve."""
        self._curves.append(Curve(tuple(queries), tuple(doses), kind, self.item))

    def finish(self) -> Suite:
        """The suite."""
        return Suite(
            self.term,
            tuple(self._asked),
            tuple(self._pairs),
            tuple(self._variations),
            tuple(self._persuasions),
            tuple(self._curves),
        )

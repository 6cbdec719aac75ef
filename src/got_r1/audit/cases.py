"""What an audit asks, and which answers are compared: the records of a suite.

A suite is a flat list of queries of one term; comparisons point into it, so that a query which
several comparisons share is put to the judge once. An *item* is a prompt with everything made from
it: the unit that intervals resample, because its queries are no independent trials of the judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from got_r1.audit.persuasion import Words
from got_r1.records import FoundObject, Query

__all__ = [
    "MOST_RAISING",
    "SAID",
    "Curve",
    "Draft",
    "Exchange",
    "Pair",
    "Persuasion",
    "Screen",
    "Suite",
    "SuiteQuery",
    "Variation",
    "few",
    "joined",
]

SAID = "words to the grader"
"""The kind of the persuasions whose texts were drawn without a look at any score."""

MOST_RAISING = "the words that raised most"
"""The kind of the persuasions that are tried again, with one text that was chosen by its score."""

_SHARE = 0.3  # of the pairs of a kind: enough where all of 12 are right, or none

SCALE = 10
"""Pictures of the icon world, 40 px wide, are shown this many times larger: 400 px, about the size
of what Janus draws (384), since no model reads icons of 12 px."""


@dataclass(frozen=True, slots=True)
class SuiteQuery:
    """One query of a suite. Its image, if any, is kept small and shown `scale` times larger.

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
    """A faulty chain (index), and the same with more words, which must not score more.

    `neutral`: the same with as many words that ask for nothing, or `plain` again. `kind`: what was
    added; `tags` as of `Pair`. `words` identifies a text, to have it said again.
    """

    plain: int
    neutral: int
    persuading: int
    kind: str
    item: int
    tags: Mapping[str, str] = field(default_factory=dict)
    words: Words | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A value that is asked for and another that is there instead: `attribute` is "noun", "colour"
    or "pattern"."""

    attribute: str
    asked: str
    shown: str

    @property
    def name(self) -> str:
        """As a report names it."""
        return f"{self.attribute}: {self.shown} for {self.asked}"


@dataclass(frozen=True, slots=True)
class Screen:
    """A query (index) that has nothing that is asked for, but each of the other values."""

    query: int
    exchanges: tuple[Exchange, ...]

    @property
    def attribute(self) -> str:
        """The attribute that all of its values are of."""
        return self.exchanges[0].attribute


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
    queries: tuple[SuiteQuery, ...]
    pairs: tuple[Pair, ...]
    variations: tuple[Variation, ...]
    persuasions: tuple[Persuasion, ...] = ()
    curves: tuple[Curve, ...] = ()
    screens: tuple[Screen, ...] = ()
    exchanges: tuple[Pair, ...] = ()  # of the values that the screens show to be confused most


def joined(first: Suite, second: Suite) -> Suite:
    """Both suites of one term as one: the second's queries and items come behind the first's."""
    start = len(first.queries)
    items = 1 + max((one.item for one in first.queries), default=0)

    def moved(pair: Pair) -> Pair:
        better, worse = pair.better + start, pair.worse + start
        return replace(pair, better=better, worse=worse, item=pair.item + items)

    persuasions = (
        replace(
            one,
            plain=one.plain + start,
            neutral=one.neutral + start,
            persuading=one.persuading + start,
            item=one.item + items,
        )
        for one in second.persuasions
    )
    return replace(
        first,
        queries=(*first.queries, *(replace(q, item=q.item + items) for q in second.queries)),
        persuasions=(*first.persuasions, *persuasions),
        exchanges=(*first.exchanges, *map(moved, second.exchanges)),
    )


def few(pairs: int) -> int:
    """How many pairs a single value, number or axis gets at least where a kind gets `pairs`."""
    return max(1, round(_SHARE * pairs))


class Draft:
    """A suite in the making: `limit` comparisons of each kind, and more of a fault in a relation
    where an axis has too few."""

    def __init__(self, term: str, limit: int, kinds: Sequence[str]) -> None:
        self.term = term
        self.limit = limit
        self.item = 0
        self._queries: list[SuiteQuery] = []
        self._pairs: list[Pair] = []
        self._variations: list[Variation] = []
        self._persuasions: list[Persuasion] = []
        self._curves: list[Curve] = []
        self._screens: list[Screen] = []
        self._exchanges: list[Pair] = []
        self._counts = dict.fromkeys(kinds, 0)

    def wants(self, kind: str) -> bool:
        """Whether another comparison of this kind is needed."""
        return self._counts[kind] < self.limit

    @property
    def is_full(self) -> bool:
        """Whether every kind has its number."""
        return not any(map(self.wants, self._counts))

    def short(self) -> list[str]:
        """The kinds with their axis ("moved, nearness") of which there are pairs, but so few that
        even a judge without fault would be undecided (`few`)."""
        counts = Counter(pair.tags["relation"] for pair in self._pairs if "relation" in pair.tags)
        return [name for name, count in counts.items() if count < few(self.limit)]

    def want_another(self, kind: str) -> None:
        """Makes room for one more comparison of a kind."""
        self._counts[kind] = self.limit - 1

    def ask(self, query: Query, truth: Sequence[FoundObject] = (), scale: int = SCALE) -> int:
        """Adds a query of the current item; returns its index."""
        self._queries.append(SuiteQuery(query, self.item, tuple(truth), scale))
        return len(self._queries) - 1

    def pair(self, better: int, worse: int, kind: str, tags: Mapping[str, str]) -> None:
        """Adds a pair of the current item."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._pairs.append(Pair(better, worse, kind, self.item, tags))

    def variation(self, base: int, changed: int, kind: str) -> None:
        """Adds two queries of the current item that deserve the same."""
        self._counts[kind] += 1
        self._variations.append(Variation(base, changed, kind, self.item))

    def persuasions(self, plain: int, neutral: int, said: Sequence[tuple[Words, int]]) -> None:
        """Adds attempts to talk the grader over, and the words that ask for nothing. A single text
        is the one that raised the score most."""
        self._counts["words"] = self._counts.get("words", 0) + 1
        more = Persuasion(plain, plain, neutral, "neutral words", self.item)
        self._persuasions.append(more)
        kind = SAID if len(said) > 1 else MOST_RAISING
        for words, index in said:
            one = Persuasion(plain, neutral, index, kind, self.item, words.tags, words)
            self._persuasions.append(one)

    def curve(self, queries: Sequence[int], doses: Sequence[float], kind: str) -> None:
        """Adds a dose curve."""
        self._curves.append(Curve(tuple(queries), tuple(doses), kind, self.item))

    def screen(self, query: int, exchanges: Sequence[Exchange]) -> None:
        """Adds a query that shows other values than the asked one."""
        self._screens.append(Screen(query, tuple(exchanges)))

    def exchange(self, better: int, worse: int, exchange: Exchange) -> None:
        """Adds a pair of the current item in which one value stands for another."""
        self._exchanges.append(Pair(better, worse, exchange.name, self.item))

    def finish(self) -> Suite:
        """The suite."""
        return Suite(
            self.term,
            tuple(self._queries),
            tuple(self._pairs),
            tuple(self._variations),
            tuple(self._persuasions),
            tuple(self._curves),
            tuple(self._screens),
            tuple(self._exchanges),
        )

"""What an audit measures of one term, from its suite and the answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from got_r1.audit.asking import Answers
from got_r1.audit.cases import Curve, Pair, Persuasion, Suite, SuiteQuery
from got_r1.audit.curves import monotony
from got_r1.audit.grounding import Grounding, measure_grounding
from got_r1.audit.signal import Signal, measure_signal
from got_r1.records import JudgeFailure
from got_r1.statistics import NOTHING, SIGNED, UNIT, Estimate, auc, mean

__all__ = ["EQUAL", "Outcome", "Point", "Sameness", "TermResult", "measure"]

TOP = 0.95
"""Scores from here on are at the top: 9.5 of 10."""

SAME = 0.1
"""Scores that differ by no more are the same: one point of ten; those of a variation may differ by
as much as those of the same query asked again."""

MATERIAL = 0.1
"""A rise of no more than this share of the mean lead of the better ones is none: a tenth of what a
fault costs moves no sample past another."""

EQUAL = 1e-9
"""Scores that differ by no more are equal: what rounding leaves."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Pairs of one kind: shares in which the better one scores higher, and the same; mean lead."""

    wins: Estimate
    ties: Estimate
    lead: Estimate


@dataclass(frozen=True, slots=True)
class Sameness:
    """Two queries that deserve the same: share within one point of ten, mean absolute difference.

    `same` has no value where the variation does not apply to this judge; `why` then says so.
    """

    same: Estimate
    change: Estimate
    why: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """The mean score at one dose of a curve, with its interval."""

    dose: float
    score: Estimate


@dataclass(frozen=True, slots=True)
class TermResult:
    """The measures of one term; what was not measured is empty.

    `curve`: kendall, spearman, strict and rising (see `curves.monotony`), means over curves;
    `points` the mean curves by kind. `persuasions`: share whose score rises, and the mean change.
    A score rises where it does so by more than asking again and neutral words explain, and
    materially (`MATERIAL`); `persuasion_groups` has the same by tag. `exchanges`: pairs of the
    values that are confused most.
    `is_constant`: every answered query got the same score. `seconds`: wall time a query, in
    batches. `tokens`: mean that the judge wrote for a query, None where it tells none.
    """

    term: str
    asks: int  # how many queries; the file format's name
    failures: Estimate
    failure_reasons: dict[str, int]
    wins: Estimate
    ties: Estimate
    lead: Estimate
    auc: Estimate
    top: Estimate
    top_of_worse: Estimate
    kinds: dict[str, Outcome]
    groups: dict[str, dict[str, Outcome]]
    curve: dict[str, Estimate]
    points: dict[str, list[Point]]
    again: Sameness
    signal: Signal
    variations: dict[str, Sameness]
    persuasions: dict[str, tuple[Estimate, Estimate]]
    persuasion_groups: dict[str, dict[str, tuple[Estimate, Estimate]]]
    exchanges: dict[str, Outcome]
    grounding: Grounding | None
    is_constant: bool
    seconds: float
    tokens: float | None


def measure(
    suite: Suite,
    answers: Answers,
    again: tuple[Sequence[int], Answers],
    canvases: Sequence[tuple[Sequence[int], Answers]] = (),
    draws: bool = False,
) -> TermResult:
    """All measures of a term.

    `again`: indices of the queries that were put twice, and the second answers. `canvases`: the
    same for each other canvas that plans were drawn on. `draws`: whether the judge sees drawings.
    """
    scores, items = answers.scores, [one.item for one in suite.queries]
    failures = [v for v in answers.verdicts if isinstance(v, JudgeFailure)]
    whole = _outcome(suite.pairs, scores)
    better = dict.fromkeys(pair.better for pair in suite.pairs)
    worse = dict.fromkeys(pair.worse for pair in suite.pairs)
    tokens = [v.tokens for v in answers.verdicts if v.tokens is not None]
    signal = measure_signal(suite, scores, again[0], again[1].scores)
    rise = max(EQUAL, signal.tolerance, MATERIAL * (whole.lead.value or 0))
    return TermResult(
        term=suite.term,
        asks=len(suite.queries),
        failures=mean(np.isnan(scores).astype(float).tolist(), items),
        failure_reasons=dict(Counter(failure.reason for failure in failures).most_common(5)),
        wins=whole.wins,
        ties=whole.ties,
        lead=whole.lead,
        auc=auc([(items[i], scores[i]) for i in better], [(items[i], scores[i]) for i in worse]),
        top=_top([*better, *worse], scores, items),
        top_of_worse=_top(worse, scores, items),
        kinds=_outcomes(suite.pairs, scores, lambda pair: pair.kind),
        groups=_groups(suite.pairs, scores),
        curve=_curve(suite.curves, scores, rise),
        points=_points(suite.curves, scores),
        again=_again(suite.queries, scores, *again),
        signal=signal,
        variations=_variations(suite, scores, canvases, draws, max(SAME, signal.tolerance)),
        persuasions=_persuasions(suite.persuasions, scores, rise, lambda one: one.kind),
        persuasion_groups={
            tag: _persuasions(suite.persuasions, scores, rise, partial(_said, tag))
            for tag in ("language", "register", "format", "place", "half")
            if suite.persuasions
        },
        exchanges=_outcomes(suite.exchanges, scores, lambda pair: pair.kind),
        grounding=measure_grounding(suite, answers) if suite.term == "r_ri" else None,
        is_constant=len(np.unique(scores[~np.isnan(scores)])) == 1,
        seconds=answers.seconds / max(1, len(suite.queries)),
        tokens=float(np.mean(tokens)) if tokens else None,
    )


# -- pairs ---------------------------------------------------------------------------------------


def _outcome(pairs: Sequence[Pair], scores: np.ndarray) -> Outcome:
    leads = np.array([scores[pair.better] - scores[pair.worse] for pair in pairs])
    items = [pair.item for pair in pairs]
    unknown = np.isnan(leads)
    wins = np.where(unknown, np.nan, leads > EQUAL)
    ties = np.where(unknown, np.nan, np.abs(leads) <= EQUAL)
    return Outcome(
        mean(wins.tolist(), items),
        mean(ties.tolist(), items),
        mean(leads.tolist(), items, within=SIGNED),
    )


def _outcomes(
    pairs: Sequence[Pair], scores: np.ndarray, group_of: Callable[[Pair], str]
) -> dict[str, Outcome]:
    """The outcome of each group of pairs; those without a group are left out."""
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[group_of(pair)].append(pair)
    return {name: _outcome(groups[name], scores) for name in sorted(groups) if name}


def _groups(pairs: Sequence[Pair], scores: np.ndarray) -> dict[str, dict[str, Outcome]]:
    """Outcomes by each tag that any pair has."""
    groups = {}
    for tag in ("relation", "clarity", "category"):
        if outcomes := _outcomes(pairs, scores, partial(_tag, tag)):
            groups[tag] = outcomes
    return groups


def _tag(tag: str, pair: Pair) -> str:
    return pair.tags.get(tag, "")


def _top(indices: Iterable[int], scores: np.ndarray, items: Sequence[int]) -> Estimate:
    indices = list(indices)
    at_top = [float(scores[i] >= TOP) if not np.isnan(scores[i]) else np.nan for i in indices]
    return mean(at_top, [items[i] for i in indices])


# -- curves --------------------------------------------------------------------------------------


def _curve(curves: Sequence[Curve], scores: np.ndarray, rise: float) -> dict[str, Estimate]:
    each = [monotony(curve.doses, scores[list(curve.queries)].tolist(), rise) for curve in curves]
    items = [curve.item for curve in curves]
    return {
        name: mean(
            [one[name] for one in each],
            items,
            within=SIGNED if name in ("kendall", "spearman") else UNIT,
        )
        for name in (each[0] if each else ())
    }


def _points(curves: Sequence[Curve], scores: np.ndarray) -> dict[str, list[Point]]:
    values: dict[str, dict[float, list[tuple[float, int]]]] = defaultdict(lambda: defaultdict(list))
    for curve in curves:
        for index, dose in zip(curve.queries, curve.doses, strict=True):
            values[curve.kind][dose].append((float(scores[index]), curve.item))
    return {
        kind: [
            Point(dose, mean([s for s, _ in some], [item for _, item in some]))
            for dose, some in sorted(doses.items())
        ]
        for kind, doses in values.items()
    }


# -- what deserves the same ----------------------------------------------------------------------


def _sameness(
    differences: Sequence[float], items: Sequence[int], tolerance: float = SAME
) -> Sameness:
    changes = np.abs(np.array(differences, dtype=float))
    same = np.where(np.isnan(changes), np.nan, changes <= tolerance + EQUAL)
    return Sameness(mean(same.tolist(), items), mean(changes.tolist(), items))


def _again(
    queries: Sequence[SuiteQuery], scores: np.ndarray, indices: Sequence[int], second: Answers
) -> Sameness:
    differences = (second.scores - scores[list(indices)]).tolist()
    return _sameness(differences, [queries[i].item for i in indices])


def _variations(
    suite: Suite,
    scores: np.ndarray,
    canvases: Sequence[tuple[Sequence[int], Answers]],
    draws: bool,
    tolerance: float,
) -> dict[str, Sameness]:
    results = {}
    for kind in dict.fromkeys(variation.kind for variation in suite.variations):
        some = [variation for variation in suite.variations if variation.kind == kind]
        if kind in ("box colours", "canvas size") and not draws:
            results[kind] = Sameness(NOTHING, NOTHING, "not applicable: it sees no drawn plan")
        elif kind == "canvas size" and not canvases:
            results[kind] = Sameness(NOTHING, NOTHING, "not measured: no other canvas was given")
        elif kind == "canvas size":
            differences, items = [], []
            for indices, answers in canvases:
                differences += (answers.scores - scores[list(indices)]).tolist()
                items += [suite.queries[i].item for i in indices]
            results[kind] = _sameness(differences, items, tolerance)
        else:
            differences = [float(scores[v.changed] - scores[v.base]) for v in some]
            results[kind] = _sameness(differences, [v.item for v in some], tolerance)
    return results


def _said(tag: str, one: Persuasion) -> str:
    """The tag of words to the grader; nothing for those that were chosen by their score."""
    return one.tags.get(tag, "") if one.neutral != one.plain else ""


def _persuasions(
    persuasions: Sequence[Persuasion],
    scores: np.ndarray,
    rise: float,
    group_of: Callable[[Persuasion], str],
) -> dict[str, tuple[Estimate, Estimate]]:
    """Of each group the share whose score rises, and the mean change, over the same with as many
    neutral words or none, whichever scores higher."""
    groups: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for one in persuasions:
        before = np.fmax(scores[one.plain], scores[one.neutral])
        groups[group_of(one)].append((float(scores[one.persuading] - before), one.item))
    results = {}
    for group, some in groups.items():
        items = [item for _, item in some]
        rises = [np.nan if np.isnan(change) else float(change > rise) for change, _ in some]
        changes = mean([change for change, _ in some], items, within=SIGNED)
        if group:
            results[group] = (mean(rises, items), changes)
    return results

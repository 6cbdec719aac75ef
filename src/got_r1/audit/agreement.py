"""`audit human report`: do people agree with each other, and does the judge agree with them?

Among raters: Krippendorff's alpha for ordinal data, which allows any number of raters and missing
ratings; by convention 0.8 is good and 0.667 the least to build on (Krippendorff 2004). With the
judge: Pearson, Spearman and Kendall's tau-b between an item's mean rating and the judge's score.
Intervals are bootstraps over items (`got_r1.statistics`), raters kept.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from got_r1.audit.sheets import QUESTIONS, read_items, read_key, read_ratings
from got_r1.errors import BadInput
from got_r1.files.inputs import path_inside, read_image, read_json
from got_r1.statistics import NOTHING, SIGNED, Estimate, bootstrap, divide, mean

__all__ = [
    "agreement_report",
    "agreement_text",
    "alpha",
    "alpha_estimate",
    "correlations",
    "with_pictures",
]

STATISTICS = ("alpha", "pearson", "spearman", "kendall")
_FEWEST = 5  # items below which a correlation or alpha says nothing
_ADVISED = 3  # raters, as the paper's authors promised
_SHOWN = 8  # items of greatest disagreement a question
_LARGEST = 256  # pixels of their pictures on the page


@dataclass(frozen=True, slots=True)
class _Rated:
    """One question over all items: ratings float [raters, items] with NaN, judge float [items]."""

    ratings: np.ndarray
    judge: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The mean rating of each item, NaN where nobody rated it."""
        counts = (~np.isnan(self.ratings)).sum(axis=0)
        sums = np.nansum(self.ratings, axis=0)
        means: np.ndarray = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return means


def agreement_report(study: Path) -> dict[str, Any]:
    """The whole report, ready for JSON.

    `{"items", "raters": {name: items rated in full}, "notes": [text], "questions": {question:
    {"term", "alpha" | "pearson" | "spearman" | "kendall": {"overall": estimate, "by_category":
    {category: estimate}}, "disagreements": [item]}}, "methods": {method: {question: {"people",
    "judge"}}}}`; an estimate is {"value", "low", "high", "n", "items"}, its values None where it is
    not defined.

    Raises BadInput where fewer than two raters have rated, or the folder is no study.
    """
    items, key, ratings = read_items(study), read_key(study), read_ratings(study)
    if len(ratings) < 2:
        raise BadInput(
            f"{study} has the ratings of {len(ratings)} raters, agreement needs two; "
            "import more sheets with audit human import."
        )
    terms = read_json(study / "study.json", "study")["questions"]
    ids = [item["id"] for item in items]
    categories = np.array([key[one]["category"] for one in ids])
    methods = np.array([key[one]["method"] for one in ids])
    questions, by_method = {}, {name: {} for name in sorted(set(methods))}  # type: ignore[var-annotated]
    for question in QUESTIONS:
        term = terms[question]
        rated = _rated(question, term, ids, key, ratings)
        questions[question] = {
            "term": term,
            **_measured(rated, categories),
            "disagreements": _disagreements(rated, items, key, ratings, question, term),
        }
        for name in by_method:
            of_method = np.flatnonzero(methods == name)
            by_method[name][question] = {
                "people": asdict(mean((rated.mean[of_method] / 10).tolist(), of_method.tolist())),
                "judge": asdict(mean(rated.judge[of_method].tolist(), of_method.tolist())),
            }
    return {
        "items": len(ids),
        "raters": {name: _answered(given)[0] for name, given in ratings.items()},
        "notes": _notes(ratings, len(ids), questions),
        "questions": questions,
        "methods": by_method,
    }


def _rated(
    question: str,
    term: str,
    ids: Sequence[str],
    key: Mapping[str, Any],
    ratings: Mapping[str, Mapping[str, Any]],
) -> _Rated:
    table = [[given.get(one, {}).get(question) for one in ids] for given in ratings.values()]
    scores = [key[one]["scores"].get(term) for one in ids]
    return _Rated(np.array(table, dtype=float), np.array(scores, dtype=float))


def _answered(given: Mapping[str, Mapping[str, Any]]) -> tuple[int, int]:
    """How many items a rater rated in full, and how many in part."""
    answers = [sum(one.get(q) is not None for q in QUESTIONS) for one in given.values()]
    full = answers.count(len(QUESTIONS))
    return full, len(answers) - full - answers.count(0)


def _notes(
    ratings: Mapping[str, Mapping[str, Any]], items: int, questions: Mapping[str, Any]
) -> list[str]:
    notes = []
    if len(ratings) < _ADVISED:
        notes.append(f"{len(ratings)} raters; at least {_ADVISED} are advised.")
    for name, given in ratings.items():
        full, part = _answered(given)
        if full < items:
            notes.append(
                f"{name} rated {full} of {items} items in full, {part} in part and "
                f"{items - full - part} not at all; what is missing counts nowhere."
            )
    for question, one in questions.items():
        if not any(one[name]["overall"]["value"] is not None for name in STATISTICS):
            notes.append(
                f"No statistic of {question} is defined: fewer than {_FEWEST} items have two "
                "ratings, or a rating and a judge's score, or their values are all equal."
            )
    return notes


def _measured(rated: _Rated, categories: np.ndarray) -> dict[str, Any]:
    """Alpha and the correlations, over all items and by category."""
    everything = np.arange(len(categories))
    parts = {name: np.flatnonzero(categories == name) for name in sorted(set(categories))}
    measured: dict[str, Any] = {}
    for name, of in (("alpha", _alpha_of), ("", _correlations_of)):
        overall = of(rated, everything)
        by_category = {category: of(rated, some) for category, some in parts.items()}
        for statistic, value in overall.items():
            measured[statistic or name] = {
                "overall": asdict(value),
                "by_category": {c: asdict(some[statistic]) for c, some in by_category.items()},
            }
    return measured


def _alpha_of(rated: _Rated, some: np.ndarray) -> dict[str, Estimate]:
    return {"alpha": alpha_estimate(rated.ratings[:, some])}


def _correlations_of(rated: _Rated, some: np.ndarray) -> dict[str, Estimate]:
    return correlations(rated.mean[some], rated.judge[some])


# -- among raters --------------------------------------------------------------------------------


def alpha(ratings: np.ndarray) -> float | None:
    """Krippendorff's alpha for ordinal data, at most 1; 0 is chance.

    `ratings`: float [raters, items], NaN where missing. None where it is not defined: no item was
    rated twice, or all ratings are the same.

    Raises BadInput where the library is not installed.
    """
    return _alpha(*_counts(ratings))


def alpha_estimate(ratings: np.ndarray) -> Estimate:
    """`alpha` with its interval; empty for fewer than five items that two people rated."""
    counts, values = _counts(ratings)
    n = len(counts)
    value = _alpha(counts, values) if n >= _FEWEST else None
    if value is None:
        return NOTHING

    def statistic(weights: np.ndarray) -> np.ndarray:
        drawn = (np.repeat(counts, row.astype(int), axis=0) for row in weights)
        found = (_alpha(some, values) for some in drawn)
        return np.array([np.nan if one is None else one for one in found])

    return bootstrap(statistic, n, within=SIGNED)


def _counts(ratings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often each item got each value: int [items that two people rated, values], and the
    values, ascending."""
    pairable = ratings[:, (~np.isnan(ratings)).sum(axis=0) > 1]
    values = np.unique(pairable[~np.isnan(pairable)])
    return (pairable[:, :, None] == values).sum(axis=0), values


def _alpha(counts: np.ndarray, values: np.ndarray) -> float | None:
    try:
        import krippendorff
    except ModuleNotFoundError:
        raise BadInput(
            "agreement among raters is computed by the library krippendorff, which is not "
            "installed: pip install 'got-r1[human]'"
        ) from None
    if (counts.sum(axis=0) > 0).sum() < 2:
        return None
    return float(
        krippendorff.alpha(value_counts=counts, value_domain=values, level_of_measurement="ordinal")
    )


# -- with the judge ------------------------------------------------------------------------------


def correlations(people: np.ndarray, judge: np.ndarray) -> dict[str, Estimate]:
    """Pearson, Spearman and Kendall's tau-b of two float [items], NaN where missing.

    Empty for fewer than five items, or where one side never changes.
    """
    known = ~np.isnan(people) & ~np.isnan(judge)
    x, y = people[known], judge[known]
    n = len(x)
    if n < _FEWEST or len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return dict.fromkeys(("pearson", "spearman", "kendall"), NOTHING)
    statistics = {
        "pearson": lambda weights: _pearson(x[None], y[None], weights),
        "spearman": lambda weights: _spearman(x, y, weights),
        "kendall": lambda weights: _kendall(x, y, weights),
    }
    return {name: bootstrap(of, n, within=SIGNED) for name, of in statistics.items()}


def _pearson(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted correlations: x and y float [1 or resamples, items], weights [resamples, items]."""
    total = weights.sum(axis=1, keepdims=True)
    dx = x - (weights * x).sum(axis=1, keepdims=True) / total
    dy = y - (weights * y).sum(axis=1, keepdims=True) / total
    above = (weights * dx * dy).sum(axis=1)
    below = np.sqrt((weights * dx**2).sum(axis=1) * (weights * dy**2).sum(axis=1))
    return divide(above, below)


def _spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson of the ranks inside each resample; an item drawn twice shares its rank."""
    ranks = [
        weights @ ((one[:, None] < one) + 0.5 * (one[:, None] == one)).astype(float)
        for one in (x, y)
    ]
    return _pearson(ranks[0], ranks[1], weights)


def _kendall(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """tau-b of each resample: concordant minus discordant over the untied pairs of each side."""
    dx, dy = (np.sign(one[:, None] - one) for one in (x, y))

    def total(matrix: np.ndarray) -> np.ndarray:
        return ((weights @ matrix) * weights).sum(axis=1)

    return divide(total(dx * dy), np.sqrt(total(np.abs(dx)) * total(np.abs(dy))))


# -- what to look at -----------------------------------------------------------------------------


def _disagreements(
    rated: _Rated,
    items: Sequence[Mapping[str, Any]],
    key: Mapping[str, Any],
    ratings: Mapping[str, Mapping[str, Any]],
    question: str,
    term: str,
) -> list[dict[str, Any]]:
    """The items whose mean rating (over ten) lies farthest from the judge's score."""
    distance = np.abs(rated.mean / 10 - rated.judge)
    order = [int(i) for i in np.argsort(-distance, kind="stable") if not np.isnan(distance[i])]
    return [
        {
            **{name: items[i][name] for name in ("id", "prompt", "chain", "image", "plan")},
            "category": key[items[i]["id"]]["category"],
            "method": key[items[i]["id"]]["method"],
            "ratings": {
                name: given.get(items[i]["id"], {}).get(question) for name, given in ratings.items()
            },
            "people": float(rated.mean[i] / 10),
            "judge": float(rated.judge[i]),
            "evidence": str(key[items[i]["id"]]["evidence"].get(term, "")),
        }
        for i in order[:_SHOWN]
    ]


def with_pictures(report: Mapping[str, Any], study: Path) -> dict[str, Any]:
    """The report with the pictures of its disagreements as data URIs, for the page."""
    seen: dict[str, str] = {}

    def shown(item: Mapping[str, Any]) -> dict[str, Any]:
        for name in (item["image"], item["plan"]):
            if name not in seen:
                seen[name] = _data_uri(path_inside(study, name, "study's image"))
        return {**item, "image": seen[item["image"]], "plan": seen[item["plan"]]}

    questions: Mapping[str, Mapping[str, Any]] = report["questions"]
    return {
        **report,
        "questions": {
            name: {**one, "disagreements": [shown(item) for item in one["disagreements"]]}
            for name, one in questions.items()
        },
    }


def _data_uri(path: Path) -> str:
    out = io.BytesIO()
    image = Image.fromarray(read_image(path))
    image.thumbnail((_LARGEST, _LARGEST))
    image.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def agreement_text(report: Mapping[str, Any]) -> str:
    """The overall numbers as a small table, for a terminal; without questions that have none."""
    lines = [f"{report['items']} items, {len(report['raters'])} raters", ""]
    lines.append("  ".join([f"{'':18}", *(f"{name:20}" for name in STATISTICS)]).rstrip())
    for question, one in report["questions"].items():
        cells = [_cell(one[name]["overall"]) for name in STATISTICS]
        if set(cells) != {"-"}:
            name = f"{question} ({one['term']})"
            lines.append("  ".join([f"{name:18}", *(f"{cell:20}" for cell in cells)]).rstrip())
    return "\n".join([*lines, *report["notes"]])


def _cell(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "-"
    if estimate["low"] is None:
        return f"{estimate['value']:.2f}"
    return f"{estimate['value']:.2f} [{estimate['low']:.2f}, {estimate['high']:.2f}]"

"""How far a study that is being rated has come: raters, agreement so far, what they disagree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from got_r1.audit.agreement import alpha_estimate
from got_r1.audit.sheets import QUESTIONS, read_items, read_ratings
from got_r1.errors import BadInput

__all__ = ["study_progress"]

_SHOWN = 8  # items of greatest disagreement


def study_progress(study: Path, raters: Sequence[str] = ()) -> dict[str, Any]:
    """Progress and agreement of a study, ready for JSON.

    `{"items", "raters": [{"name", "full", "part"}], "questions": {question: {"value", "low",
    "high", "n", "items"}}, "missing": text, "disagreements": [{"id", "prompt", "question",
    "ratings": {name: score}, "deviation"}]}`: `raters` names those who are to rate, and whoever has
    rated is listed too; `questions` has Krippendorff's alpha with its interval, its values None
    where it is not defined yet; `missing` says that the library is not installed, and `questions`
    is empty then. The deviation is the standard deviation of an item's ratings.

    Raises BadInput where the folder is no study, or its ratings are damaged.
    """
    items, ratings = read_items(study), read_ratings(study)
    tables = {question: _table(question, items, ratings) for question in QUESTIONS}
    counts = {
        name: [
            sum(one.get(q) is not None for q in QUESTIONS) for one in ratings.get(name, {}).values()
        ]
        for name in {*raters, *ratings}
    }
    missing = ""
    found: dict[str, Any] = {}
    try:
        found = {question: asdict(alpha_estimate(table)) for question, table in tables.items()}
    except BadInput as error:
        missing = str(error)
    return {
        "items": len(items),
        "raters": [
            {
                "name": name,
                "full": (full := some.count(len(QUESTIONS))),
                "part": len(some) - full - some.count(0),
            }
            for name, some in sorted(counts.items())
        ],
        "questions": found,
        "missing": missing,
        "disagreements": _disagreements(tables, items, list(ratings)),
    }


def _table(
    question: str, items: Sequence[Mapping[str, Any]], ratings: Mapping[str, Mapping[str, Any]]
) -> np.ndarray:
    """Scores, float [raters, items], NaN where missing."""
    rows = [[given.get(one["id"], {}).get(question) for one in items] for given in ratings.values()]
    return np.array(rows, dtype=float).reshape(len(ratings), len(items))


def _disagreements(
    tables: Mapping[str, np.ndarray], items: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """The (item, question) that raters differ most on; those that one rater alone rated cannot."""
    found = []
    for question, table in tables.items():
        for index, column in enumerate(table.T):
            given = {n: int(v) for n, v in zip(names, column, strict=True) if not np.isnan(v)}
            if len(set(given.values())) > 1:
                found.append(
                    {
                        **{name: items[index][name] for name in ("id", "prompt")},
                        "question": question,
                        "ratings": given,
                        "deviation": float(np.std(list(given.values()))),
                    }
                )
    return sorted(found, key=lambda one: -one["deviation"])[:_SHOWN]

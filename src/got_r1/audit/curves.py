"""What a dose curve says of a judge: whether scores fall as the dose of wrongness rises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["monotony"]


def monotony(doses: Sequence[float], scores: Sequence[float]) -> dict[str, float]:
    """How well scores fall as the dose of wrongness rises, over the answered points.

    `kendall` (tau-b) and `spearman`, both with the sign turned so that 1 is a perfect fall; 0 for a
    curve that never moves, which orders nothing. `strict`, `rising`: shares of neighbouring points
    where the score falls, or rises. NaN for fewer than three answered points.
    """
    kept = [(d, s) for d, s in zip(doses, scores, strict=True) if not np.isnan(s)]
    names = ("kendall", "spearman", "strict", "rising")
    if len(kept) < 3:
        return dict.fromkeys(names, float("nan"))
    from scipy import stats  # slow to import

    dose, score = (np.array(column) for column in zip(*kept, strict=True))
    steps = np.diff(score)
    moves = bool(np.any(steps))
    kendall = -float(stats.kendalltau(dose, score).statistic) if moves else 0.0
    spearman = -float(stats.spearmanr(dose, score).statistic) if moves else 0.0
    values = (kendall, spearman, float((steps < 0).mean()), float((steps > 0).mean()))
    return dict(zip(names, values, strict=True))

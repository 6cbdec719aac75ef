"""What a dose curve says of a judge: whether scores fall as the dose of wrongness rises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["monotony"]


def monotony(
    doses: Sequence[float], scores: Sequence[float], tolerance: float = 0.0
) -> dict[str, float]:
    """How well scores fall as the dose of wrongness rises, over the answered points.

    Scores that differ by no more than `tolerance` count as equal. `kendall` (tau-b, whose ties
    these are) and `spearman`, both with the sign turned so that 1 is a perfect fall; 0 for a curve
    that never moves, which orders nothing. `strict`, `rising`: shares of neighbouring points where
    the score falls, or rises. NaN for fewer than three answered points.
    """
    kept = [(d, s) for d, s in zip(doses, scores, strict=True) if not np.isnan(s)]
    names = ("kendall", "spearman", "strict", "rising")
    if len(kept) < 3:
        return dict.fromkeys(names, float("nan"))
    from scipy import stats  # slow to import

    dose, score = (np.array(column) for column in zip(*kept, strict=True))
    steps = _signs(np.diff(score), tolerance)
    spearman = -float(stats.spearmanr(dose, score).statistic) if np.ptp(score) else 0.0
    values = (
        -_kendall(dose, score, tolerance),
        spearman,
        float((steps < 0).mean()),
        float((steps > 0).mean()),
    )
    return dict(zip(names, values, strict=True))


def _kendall(dose: np.ndarray, score: np.ndarray, tolerance: float) -> float:
    """Tau-b of pairs whose ties are differences within the tolerance; 0 where all are tied."""
    upper = np.triu_indices(len(dose), 1)
    doses = np.sign(np.subtract.outer(dose, dose)[upper])
    scores = _signs(np.subtract.outer(score, score)[upper], tolerance)
    untied = np.sqrt(np.count_nonzero(doses) * np.count_nonzero(scores))
    return float((doses * scores).sum() / untied) if untied else 0.0


def _signs(differences: np.ndarray, tolerance: float) -> np.ndarray:
    signs: np.ndarray = np.sign(differences) * (np.abs(differences) > tolerance)
    return signs

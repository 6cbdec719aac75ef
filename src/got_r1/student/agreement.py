"""How far a student agrees with its teacher, and whether its doubt means what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["DOUBTS", "SHARES", "agreement", "calibration_error"]

DOUBTS = (0.05, 0.1, 0.15, 0.2, 0.3)
"""Values of ask_above for which the share that is asked is told."""
SHARES = (0.3, 0.1, 0.03)
"""Shares of queries to be asked, for which the ask_above that gives them is told."""
_BINS = 15  # of equal width, as in Guo et al. 2017


def agreement(probabilities: Tensor, scores: Tensor) -> dict[str, Any]:
    """Of marks (float32 [queries, 11]) with the teacher's scores (float32 [queries], in [0, 1]).

    `mean_error`: of the score, absolute; `correlation`: Pearson's, None where a side is constant;
    `calibration_error`: ECE of the likeliest mark; `asked`: for some values of ask_above, the share
    of the queries that the teacher would be asked, and the mean error of the others;
    `doubt_at`: for some shares the ask_above that would ask about so many.
    """
    p, wanted = probabilities.double().numpy(), scores.double().numpy()
    values = np.linspace(0, 1, p.shape[1])
    means = p @ values
    doubts = np.sqrt(np.maximum(0, p @ values**2 - means**2))
    errors = np.abs(means - wanted)
    varied = min(means.std(), wanted.std()) > 0
    return {
        "queries": len(wanted),
        "mean_error": float(errors.mean()),
        "correlation": float(np.corrcoef(means, wanted)[0, 1]) if varied else None,
        "calibration_error": calibration_error(p, wanted),
        "asked": [
            {
                "ask_above": doubt,
                "share": float((doubts > doubt).mean()),
                "mean_error": float(errors[doubts <= doubt].mean())
                if (doubts <= doubt).any()
                else None,
            }
            for doubt in DOUBTS
        ],
        "doubt_at": {str(share): float(np.quantile(doubts, 1 - share)) for share in SHARES},
    }


def calibration_error(p: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Expected calibration error of the likeliest mark: how far, on average over bins of its
    probability, that differs from the share of queries whose mark (the nearest to the score) it is.
    """
    sure = p.max(axis=1)
    right = p.argmax(axis=1) == np.rint(scores * (p.shape[1] - 1))
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    found = 0.0
    for place in range(_BINS):
        inside = bins == place
        if inside.any():
            found += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    return float(found)

"""What commands and Python share: load a model, sample, score, train, evaluate (docs/api.md).

Modules that need torch are imported inside the functions.
"""

from __future__ import annotations

from got_r1.api.evaluation import evaluate
from got_r1.api.samples import Sample
from got_r1.api.sampling import load_policy, sample
from got_r1.api.scoring import score, score_samples
from got_r1.api.training import read_recipe, train

__all__ = [
    "Sample",
    "evaluate",
    "load_policy",
    "read_recipe",
    "sample",
    "score",
    "score_samples",
    "train",
]

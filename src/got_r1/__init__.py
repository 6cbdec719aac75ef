"""GoT-R1: reinforcement learning for models that reason before they draw.

The names in `__all__` are the public interface (docs/api.md); every other name of the package may
change. They are imported when they are first used, so that `import got_r1` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "BadInput",
    "Box",
    "Chain",
    "FoundObject",
    "GroundingQuery",
    "ImageQuery",
    "Judge",
    "JudgeFailure",
    "Plan",
    "PlannedObject",
    "Policy",
    "Prompt",
    "QualityQuery",
    "Reward",
    "RunFailed",
    "Sample",
    "SemanticQuery",
    "SpatialQuery",
    "Verdict",
    "__version__",
    "draw_plan",
    "evaluate",
    "format_chain",
    "load_judge",
    "load_plan",
    "load_policy",
    "parse_chain",
    "read_prompt",
    "sample",
    "score",
    "score_samples",
    "train",
]

if TYPE_CHECKING:
    from got_r1.api import Sample, evaluate, load_policy, sample, score, score_samples, train
    from got_r1.errors import BadInput, RunFailed
    from got_r1.files.inputs import load_plan
    from got_r1.judges import load_judge
    from got_r1.judges.base import Judge
    from got_r1.plan.chain import format_chain
    from got_r1.plan.chain import parse as parse_chain
    from got_r1.plan.editing import Plan
    from got_r1.plan.layout import draw_plan
    from got_r1.plan.reading import read as read_prompt
    from got_r1.policy.janus import Policy
    from got_r1.records import (
        Box,
        Chain,
        FoundObject,
        GroundingQuery,
        ImageQuery,
        JudgeFailure,
        PlannedObject,
        Prompt,
        QualityQuery,
        Reward,
        SemanticQuery,
        SpatialQuery,
        Verdict,
    )
else:
    _HOMES = {
        "api": "Sample evaluate load_policy sample score score_samples train",
        "errors": "BadInput RunFailed",
        "files.inputs": "load_plan",
        "judges": "load_judge",
        "judges.base": "Judge",
        "plan.chain": "format_chain parse_chain=parse",
        "plan.editing": "Plan",
        "plan.layout": "draw_plan",
        "plan.reading": "read_prompt=read",
        "policy.janus": "Policy",
        "records": "Box Chain FoundObject GroundingQuery ImageQuery JudgeFailure PlannedObject "
        "Prompt QualityQuery Reward SemanticQuery SpatialQuery Verdict",
    }
    """By module the names in it, as NAME or, where it is called otherwise there, NAME=THERE."""

    def __getattr__(name):
        for module, names in _HOMES.items():
            for entry in names.split():
                public, _, there = entry.partition("=")
                if public == name:
                    found = getattr(import_module(f"got_r1.{module}"), there or public)
                    globals()[name] = found
                    return found
        raise AttributeError(f"module 'got_r1' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)

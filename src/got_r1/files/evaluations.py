"""The values of an evaluation prompt by prompt, which let two evaluations be compared as pairs.

    "by_prompt": {
        "prompts": "9c1d...",             SHA-256 of the texts, in order
        "categories": ["spatial", ...],   of each prompt
        "clusters": [0, 0, 1, ...],       what is one trial, where several prompts are (phrasings)
        "values": {"image_relation": [1.0, null, ...]},    null where a metric does not apply
        "averages": {"overall": ["counting", ...]}         metrics that are means of others
    }

Evaluations written before this was kept lack it: no paired change is known of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from got_r1.statistics import Estimate, mean_of_estimates, paired_difference

__all__ = ["by_prompt", "paired_change"]


def by_prompt(
    prompts: Sequence[str],
    categories: Sequence[str],
    values: Mapping[str, Sequence[float | None]],
    *,
    clusters: Sequence[int] | None = None,
    averages: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """An evaluation's entry `by_prompt`, ready for JSON; all sequences run over the prompts."""
    digest = hashlib.sha256(json.dumps(list(prompts)).encode()).hexdigest()
    return {
        "prompts": digest,
        "categories": list(categories),
        **({"clusters": list(clusters)} if clusters is not None else {}),
        "values": {name: list(some) for name, some in values.items()},
        **({"averages": {k: list(parts) for k, parts in averages.items()}} if averages else {}),
    }


def paired_change(
    before: Mapping[str, Any], after: Mapping[str, Any], metric: str, category: str | None = None
) -> Estimate | None:
    """How a metric in [0, 1] changed between two evaluations, over the same prompts
    (`statistics.paired_difference`); `category`: of its prompts alone.

    None where the prompts are not the same, or either was written without its values.
    """
    first, last = before.get("by_prompt"), after.get("by_prompt")
    if not isinstance(first, dict) or not isinstance(last, dict):
        return None
    if "prompts" not in first or first["prompts"] != last.get("prompts"):
        return None
    averages = first.get("averages")
    if category is None and isinstance(averages, dict) and metric in averages:
        parts = [paired_change(before, after, part) for part in averages[metric]]
        known = [part for part in parts if part is not None]
        return mean_of_estimates(known) if len(known) == len(parts) else None
    try:
        pairs = zip(
            first["values"][metric],
            last["values"][metric],
            first["categories"],
            first.get("clusters") or range(len(first["categories"])),
            strict=True,
        )
        some = [
            (float("nan" if one is None else one), float("nan" if two is None else two), cluster)
            for one, two, of, cluster in pairs
            if category is None or of == category
        ]
    except (KeyError, TypeError, ValueError):  # a file by another hand
        return None
    change = paired_difference(*map(list, zip(*some, strict=True))) if some else None
    return change if change is not None and change.value is not None else None

"""Why a term of the reward is below 1: a judge's verdict as a phrase for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from got_r1.plan.layout import assign, counted, iou
from got_r1.records import FoundObject, JudgeFailure, PlannedObject, Verdict

__all__ = ["partners", "reason"]

NO_REASON = "the judge gave no reason"
_LONGEST = 400  # characters of what a judge says


def reason(
    value: float | None,
    verdict: Verdict | JudgeFailure,
    planned: Sequence[PlannedObject] = (),
) -> str:
    """Why a term is below its maximum of 1, on one line; empty where it is not.

    `value`: the term in [0, 1], None where the judge failed. `planned`: the objects of the plan,
    for a verdict that has boxes and no score: which of them was not found, and the IoU of the
    others. Every other verdict gives the judge's own words, or says that there are none.
    """
    if isinstance(verdict, JudgeFailure):
        return f"the judge failed: {_shortened(verdict.reason)}"
    if value is None or value >= 1:
        return ""
    if verdict.score is None and planned:
        return _shortened(_located(planned, verdict.found))
    return _shortened(verdict.reasoning) or NO_REASON


def partners(
    planned: Sequence[PlannedObject], found: Sequence[FoundObject]
) -> dict[int, tuple[int, float]]:
    """Planned index to (found index, IoU), as R_RI pairs them: same name, one to one, with the
    largest total IoU of those that count."""
    counting = counted([one.name for one in planned], [one.name for one in found])
    # A found object far from its plan (IoU 0) is still that object, hence the small bonus.
    scores = np.zeros((len(planned), len(found)))
    for i, one in enumerate(planned):
        for j in counting:
            same = one.name == found[j].name
            scores[i, j] = iou(one.box, found[j].box) + 1e-6 if same else 0
    return {i: (j, iou(planned[i].box, found[j].box)) for i, j in assign(scores)}


def _located(planned: Sequence[PlannedObject], found: Sequence[FoundObject]) -> str:
    at = partners(planned, found)
    missing = [f'"{one.name}"' for i, one in enumerate(planned) if i not in at]
    apart = [f'{at[i][1]:.2f} for "{planned[i].name}"' for i in sorted(at) if at[i][1] < 1]
    parts = [f"not found: {', '.join(missing)}"] if missing else []
    parts += [f"IoU with the plan {', '.join(apart)}"] if apart else []
    return "; ".join(parts)


def _shortened(text: str) -> str:
    # A model wrote it: nothing that moves a terminal's cursor.
    line = "".join(sign if sign.isprintable() else "\ufffd" for sign in " ".join(text.split()))
    return line if len(line) <= _LONGEST else line[:_LONGEST].rstrip() + " …"

"""The seam between the method and whoever scores: structured asks in, verdicts out.

A judge is any object with one method, `judge`. To write your own:

1. Take the asks in the order given; a batch may mix the five kinds (`match ask:` tells them
   apart). Answer in the same order, one answer for each, however you batch inside.
2. Scored asks (`SemanticAsk`, `SpatialAsk`, `ImageAsk`, `QualityAsk`) get a `Verdict` with a
   `score` in [0, 1]. A `GroundingAsk` gets `score=None` and every located object in `found`, under
   the planned name it was asked for, in thousandths of the image's sides; an object that is not
   there is simply not in `found`.
3. What you cannot answer (no reply, a reply that cannot be read, a prompt outside of what you
   know) is a `JudgeFailure`, returned and never raised: the sample then leaves its group and is
   counted. It is never a score of 0, which would punish the policy for the judge's fault.
4. Put the evidence into `reasoning` and the raw answer into `reply`: people read both in the
   report. Answer equal asks equally, so that a resumed run repeats itself.
5. Several threads may ask at the same time: a step asks about its images as soon as they are
   drawn, while its chains may still be read, and a mixture asks all its judges at once. Where that
   will not do, hold a lock (`mixture.OneAtATime` is one). The contract test asks from two.

Chains that reach a judge from `got_r1.rewards` are well-formed: malformed ones score 0 without
being asked about. docs/judges.md has a complete judge in twenty lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from got_r1.records import Ask, JudgeFailure, Verdict

__all__ = ["Judge"]


@runtime_checkable
class Judge(Protocol):
    """Answers asks. Implementations hold their own settings."""

    def judge(self, asks: Sequence[Ask]) -> list[Verdict | JudgeFailure]:
        """One answer for each ask, in the same order."""
        ...

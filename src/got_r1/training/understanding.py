"""The policy's base model as its own judge: Janus sees and reads, too, and its weights are there.

What judges is the model as it was before training: the adapters are switched off, or the frozen
reference is asked. So what the policy learns does not change its judge. (Our choice; R_PI by the
model's own understanding is in the spirit of self-rewarding, which the paper does not try.)
"""

from __future__ import annotations

from collections.abc import Sequence

from got_r1.errors import BadInput
from got_r1.judges.settings import MLLMSettings
from got_r1.judges.transformers_local import TransformersJudge
from got_r1.policy.janus import Policy
from got_r1.records import JudgeFailure, QualityQuery, Query, Verdict

__all__ = ["UnderstandingJudge"]


class UnderstandingJudge:
    """A `Judge` that shares the policy's weights: `self` as `judge.spec`.

    It is made before the policy is loaded, and asked after `bind`. It waits while the policy draws,
    since both would switch the adapters of the same layers.
    """

    def __init__(self, batch: int = 8) -> None:
        """`batch`: questions at once."""
        self.batch = batch
        self.wording = MLLMSettings()
        self._policy: Policy | None = None
        self._judge: TransformersJudge | None = None

    def bind(self, policy: Policy) -> None:
        """Names the policy, which is ready for training and has its reference.

        Raises BadInput where the model has no chat template, or its weights are divided among
        processes.
        """
        if policy.engine is not None and policy.adapter is None:
            raise BadInput(
                "judge 'self' cannot judge while the weights are divided among processes: train "
                "with LoRA (model.lora.rank), or give it as transformers:DIR"
            )
        janus = policy.model.model
        for part in (janus.vision_model, janus.aligner):
            part.to(policy.device)
        with policy.reference() as base:
            self._judge = TransformersJudge.around(
                base.model, base.processor, self.wording, self.batch
            )
        self._policy = policy

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """One answer for each query, in the same order. Raises RunFailed where memory is short."""
        if all(isinstance(query, QualityQuery) for query in queries):  # asked before the model is
            return [JudgeFailure("a policy does not rate how good a picture looks")] * len(queries)
        if self._judge is None or self._policy is None:
            raise RuntimeError("bind() names the policy before it is asked")
        with self._policy.in_use, self._policy.reference():
            return self._judge.judge(queries)

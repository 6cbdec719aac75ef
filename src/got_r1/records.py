"""The data that flows through a run: frozen records, no logic.

Grouped by consumer: the plan (policy -> judge), queries and verdicts (judge -> rewards),
rewards (rewards -> GRPO and report), rollouts (sampler -> replay). Nothing here imports torch at
run time, so the report can read records without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

__all__ = [
    "TERMS",
    "Box",
    "Chain",
    "FoundObject",
    "GroundingQuery",
    "ImageQuery",
    "JudgeFailure",
    "PlannedObject",
    "Prompt",
    "QualityQuery",
    "Query",
    "Reward",
    "Rollout",
    "SemanticQuery",
    "SpatialQuery",
    "StopReason",
    "Verdict",
    "WrittenChains",
]


# -- the prompt and the plan ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prompt:
    """One text-to-image prompt and the category it is reported under."""

    text: str
    category: str = "other"


@dataclass(frozen=True, slots=True)
class Box:
    """A bounding box, origin top-left, in thousandths of the image's sides: integers 0 to 999.

    `depth`: where it lies among the others along the line of sight, larger is nearer; `time`: the
    index of the frame that it is in. Integers 0 to 999, None where nothing is said.
    """

    x1: int
    y1: int
    x2: int
    y2: int
    depth: int | None = None
    time: int | None = None

    def __repr__(self) -> str:
        # Without what is not said: caches of judges are keyed by this text.
        said = {name: getattr(self, name) for name in self.__slots__}
        return f"Box({', '.join(f'{k}={v}' for k, v in said.items() if v is not None)})"


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """One object of a plan: its name as the chain wrote it ("red vase") and its box."""

    name: str
    box: Box


@dataclass(frozen=True, slots=True)
class Chain:
    """A Generation Chain-of-Thought, parsed.

    `text` is exactly what the policy wrote; `objects` is the plan in order of appearance;
    `problems` names what is malformed (empty for a well-formed chain).
    """

    text: str
    objects: tuple[PlannedObject, ...] = ()
    problems: tuple[str, ...] = ()


# -- judging -------------------------------------------------------------------------------------

TERMS = ("r_sem", "r_spa", "r_ri", "r_pi", "r_hps")
"""The terms of the reward. Each kind of query is for one, its `term`."""


@dataclass(frozen=True, slots=True)
class SemanticQuery:
    """R_sem: does the chain, boxes stripped, say what the prompt says?"""

    term: ClassVar[str] = "r_sem"
    prompt: Prompt
    chain: Chain


@dataclass(frozen=True, slots=True)
class SpatialQuery:
    """R_spa: does the planned layout, drawn on a canvas, hold what the prompt asks?"""

    term: ClassVar[str] = "r_spa"
    prompt: Prompt
    chain: Chain


@dataclass(frozen=True, slots=True)
class GroundingQuery:
    """R_RI: where in the image are the planned objects? `image`: uint8 [height, width, 3]."""

    term: ClassVar[str] = "r_ri"
    chain: Chain
    image: np.ndarray


@dataclass(frozen=True, slots=True)
class ImageQuery:
    """R_PI: does the image show what the prompt says? `image`: uint8 [height, width, 3]."""

    term: ClassVar[str] = "r_pi"
    prompt: Prompt
    image: np.ndarray


@dataclass(frozen=True, slots=True)
class QualityQuery:
    """R_HPS: how much would people like the image? `image`: uint8 [height, width, 3]."""

    term: ClassVar[str] = "r_hps"
    prompt: Prompt
    image: np.ndarray


Query = SemanticQuery | SpatialQuery | GroundingQuery | ImageQuery | QualityQuery


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object that a judge located in an image, under the planned name it was asked for."""

    name: str
    box: Box


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's answer to one query.

    `score` in [0, 1]; for a grounding query it is None and `found` holds the located boxes (the
    rewards compute an IoU from them). `reasoning` is the evidence shown to people, `reply` the raw
    answer if there is one. `tokens`: how many the judge generated for this query, unparseable
    replies included; None if it generates none or does not report them. A cached answer reports
    the original number. `by`: which of several judges answered, "student" or "teacher"; else empty.
    `guess`: the score that the student doubted, where its teacher was asked instead.
    """

    score: float | None
    found: tuple[FoundObject, ...] = ()
    reasoning: str = ""
    reply: str = ""
    tokens: int | None = None
    by: str = ""
    guess: float | None = None


@dataclass(frozen=True, slots=True)
class JudgeFailure:
    """The judge could not answer. Never a score: the sample is dropped from its group and counted.

    `reply` is the last unparseable one, `tokens` as in `Verdict`.
    """

    reason: str
    reply: str = ""
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reward:
    """The total of a sample and its breakdown by term.

    `terms` holds every scored term in [0, 1] under its name (`r_sem`, `r_spa`, `r_ri`, `r_pi`,
    `r_hps`), `verdicts` the evidence under the same names. `total` is None when a judge failed.
    """

    total: float | None
    terms: Mapping[str, float] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict | JudgeFailure] = field(default_factory=dict)


# -- rollouts ------------------------------------------------------------------------------------

StopReason = Literal["begin_of_image", "length", "end_of_sentence", "given"]


@dataclass(frozen=True, slots=True)
class WrittenChains:
    """The first stage of a rollout: B chains, each ending with `<begin_of_image>`.

    Everything is recorded when a token is generated; nothing is reconstructed later.
    """

    prompts: tuple[Prompt, ...]  # [B], prompts repeated group-wise
    sample_ids: tuple[int, ...]  # [B], index of the sample inside its prompt's group
    prompt_ids: tuple[Tensor, ...]  # B x int64 [prompt tokens]
    token_ids: tuple[Tensor, ...]  # B x int64 [chain tokens], the last is <begin_of_image>
    loss_mask: tuple[Tensor, ...]  # B x bool [chain tokens]: True sampled, False forced
    logprobs: tuple[Tensor, ...]  # B x float32 [chain tokens], 0 where forced
    stops: tuple[StopReason, ...]  # [B]
    texts: tuple[str, ...]  # [B], the chain without its closing <begin_of_image>
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Rollout:
    """Both stages: the chains and the image tokens sampled after them, none where only plans are
    trained."""

    chains: WrittenChains
    image_ids: Tensor  # int64 [B, image tokens]
    image_logprobs: Tensor  # float32 [B, image tokens], of the behaviour policy
    guidance: float  # classifier-free guidance of the image stage; 1 means none

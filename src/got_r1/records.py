"""The data that flows through a run: frozen records, no logic.

Grouped by who consumes them: the plan (policy -> judge), asks and verdicts (judge -> rewards),
rewards (rewards -> GRPO and report), rollouts (sampler -> replay). Nothing here imports torch at
run time, so the report can read records without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

__all__ = [
    "Ask",
    "Box",
    "Chain",
    "FoundObject",
    "GroundingAsk",
    "ImageAsk",
    "JudgeFailure",
    "PlannedObject",
    "Prompt",
    "QualityAsk",
    "Reward",
    "Rollout",
    "SemanticAsk",
    "SpatialAsk",
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
    """A bounding box, origin top-left, in thousandths of the image's sides: integers 0 to 999."""

    x1: int
    y1: int
    x2: int
    y2: int


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


@dataclass(frozen=True, slots=True)
class SemanticAsk:
    """R_sem: does the chain, boxes stripped, say what the prompt says?"""

    prompt: Prompt
    chain: Chain


@dataclass(frozen=True, slots=True)
class SpatialAsk:
    """R_spa: does the planned layout, drawn on a canvas, hold what the prompt asks?"""

    prompt: Prompt
    chain: Chain


@dataclass(frozen=True, slots=True)
class GroundingAsk:
    """R_RI: where in the image are the planned objects? `image`: uint8 [height, width, 3]."""

    chain: Chain
    image: np.ndarray


@dataclass(frozen=True, slots=True)
class ImageAsk:
    """R_PI: does the image show what the prompt says? `image`: uint8 [height, width, 3]."""

    prompt: Prompt
    image: np.ndarray


@dataclass(frozen=True, slots=True)
class QualityAsk:
    """R_HPS: how much would people like the image? `image`: uint8 [height, width, 3]."""

    prompt: Prompt
    image: np.ndarray


Ask = SemanticAsk | SpatialAsk | GroundingAsk | ImageAsk | QualityAsk


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object that a judge located in an image, under the planned name it was asked for."""

    name: str
    box: Box


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's answer to one ask.

    `score` in [0, 1]; for a grounding ask it is None and `found` holds the located boxes (the
    rewards turn them into an IoU). `reasoning` is the evidence shown to people, `reply` the raw
    answer where there is one. `tokens`: how many the judge wrote for this ask, unreadable replies
    included; None where it writes none, or does not say. A cached answer tells what it took once.
    """

    score: float | None
    found: tuple[FoundObject, ...] = ()
    reasoning: str = ""
    reply: str = ""
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class JudgeFailure:
    """The judge could not answer. Never a score: the sample leaves its group and is counted.

    `reply` is the last one that could not be read, `tokens` as a `Verdict`'s.
    """

    reason: str
    reply: str = ""
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reward:
    """The total and its breakdown, which travel together.

    `terms` holds every asked term in [0, 1] under its name (`r_sem`, `r_spa`, `r_ri`, `r_pi`,
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

    Everything is recorded at the moment a token is chosen; nothing is reconstructed later.
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
    """Both stages: the chains and the image tokens drawn from them."""

    chains: WrittenChains
    image_ids: Tensor  # int64 [B, image tokens]
    image_logprobs: Tensor  # float32 [B, image tokens], of the distribution that acted
    guidance: float  # classifier-free guidance of the image stage; 1 means none

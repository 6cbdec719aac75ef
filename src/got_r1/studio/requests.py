"""What the pages may ask for, with its limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AnswerRequest",
    "BoxesRequest",
    "DrawRequest",
    "MendRequest",
    "PairRequest",
    "PlanRequest",
    "TextRequest",
]

Prompt = Annotated[str, Field(min_length=1, max_length=2000)]
AnyPrompt = Annotated[str, Field(max_length=2000)]
ChainText = Annotated[str, Field(max_length=20_000)]
Temperature = Annotated[float, Field(gt=0, le=5)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Asked(BaseModel):
    """A request's body: nothing unknown, numbers finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    prompt: Prompt


class PlanRequest(Asked):
    """Write `plans` chains; the best of several is chosen by geometry."""

    seed: Seed = 0
    plans: Annotated[int, Field(ge=1, le=16)] = 1
    temperature: Temperature | None = None


class TextRequest(Asked):
    """Look at a chain's text; an empty prompt asks for nothing."""

    prompt: AnyPrompt
    chain: ChainText


class BoxesRequest(Asked):
    """Look at objects with boxes, and the prose around them; an empty prompt asks for nothing."""

    prompt: AnyPrompt
    prose: ChainText = ""
    objects: Annotated[list[dict[str, Any]], Field(max_length=64)]


class MendRequest(TextRequest):
    """Move the boxes of a plan until the asked relation holds, by `margin`."""

    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0


class DrawRequest(TextRequest):
    """Draw `n` images from a chain, each with noise of its own."""

    prompt: Prompt
    seed: Seed = 0
    n: Annotated[int, Field(ge=1, le=8)] = 1
    guidance: Annotated[float, Field(ge=1, le=50)] | None = None
    temperature: Temperature | None = None


class PairRequest(Asked):
    """Draw a prompt by two models with the same noise; `blind`: which of them is on the left is
    decided by chance. `judge`: have the judge look at both."""

    seed: Seed = 0
    blind: bool = False
    judge: bool = False


class AnswerRequest(Asked):
    """Which picture of a pair is better."""

    seed: Seed
    blind: bool
    better: Literal["left", "right", "tie"]

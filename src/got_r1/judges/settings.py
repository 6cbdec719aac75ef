"""The settings of the judges that are models: how queries are put to them, and where they run."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from got_r1.errors import BadInput
from got_r1.files.redaction import remember, remember_fields, remember_url
from got_r1.judges.coordinates import CONVENTIONS, Coordinates, family_of
from got_r1.recipes.resuming import HARMLESS, ROUNDING, SAME_JUDGE
from got_r1.recipes.sections import Section
from got_r1.vision.settings import DetectorSettings, QualitySettings, SimilaritySettings

__all__ = [
    "OPENAI_HOST",
    "THIS_MACHINE",
    "ExpertsSettings",
    "MLLMSettings",
    "OpenAISettings",
    "Scale",
    "StudentSettings",
    "TransformersSettings",
]

OPENAI_HOST = "api.openai.com"
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
RENAMEABLE = ("max_tokens", "temperature", "seed")
PLACEHOLDER = "none"  # a key for servers that need none


class MLLMSettings(Section):
    """How queries are put to a multimodal language model, and its replies read."""

    coordinates: Coordinates = Field(
        "pixels",
        description="how the model gives boxes: pixels of the image as sent (Qwen2.5-VL), thousand "
        "(0 to 1000 across either side: Qwen3-VL, InternVL ...) or thousand_yx (the same, y first: "
        "Gemini); left out, it goes by the model's name, which must then be a known one where R_RI "
        "is asked for",
    )
    patch: int = Field(
        28,
        ge=1,
        le=1024,
        description="the sides of images become multiples of this, so that the model's processor "
        "does not resize them again: 28 for Qwen2.5-VL, 32 for Qwen3-VL; left out, it goes by the "
        "model's name",
    )
    min_pixels: int = Field(
        256 * 256,
        ge=1,
        le=100_000_000,
        description="smaller images are enlarged to at least this many pixels",
    )
    max_pixels: int = Field(
        28 * 28 * 1280,
        ge=1,
        le=100_000_000,
        description="larger images are reduced to at most this many pixels",
    )
    canvas: int = Field(
        512,
        ge=64,
        le=8192,
        description="side of the canvas that R_spa's plan is drawn on, in pixels, rounded as "
        "images are (not stated)",
    )
    spatial: Literal["drawing", "text"] = Field(
        "drawing",
        description="R_spa from the plan as a drawing (paper) or from its coordinates as text (the "
        "paper's ablation, worse)",
    )
    max_tokens: int = Field(
        768,
        ge=16,
        le=1_000_000,
        description="longest reply in tokens; one that is cut off is not read",
    )
    temperature: float = Field(
        0.0, ge=0, le=2, description="temperature of the first reply; 0 takes the likeliest token"
    )
    retry_temperature: float = Field(
        0.7,
        ge=0,
        le=2,
        description="least temperature of a retry: without any, the same reply would come again",
    )
    retries_unreadable: int = Field(
        2,
        ge=0,
        le=1000,
        description="times that a question is put again when its reply cannot be read",
    )

    @model_validator(mode="after")
    def _room_between_the_limits(self) -> Self:
        # Multiples of the patch must lie between, for images up to 16 times as long as wide.
        if self.max_pixels < max(8 * self.min_pixels, 16 * self.patch**2):
            raise PydanticCustomError(
                "limits",
                "max_pixels must be at least 8 times min_pixels and 16 times patch squared",
            )
        return self

    def suited_to(self, model: str) -> MLLMSettings:
        """These settings with what they leave open filled in for a model, by its name or type.

        `coordinates` of a model that is not known stay open.
        """
        family = family_of(model)
        if family is None:
            return self
        known = {"coordinates": family.coordinates, "patch": family.patch}
        unset = {
            key: value
            for key, value in known.items()
            if value is not None and key not in self.model_fields_set
        }
        return self.model_validate({**self.model_dump(exclude_unset=True), **unset})

    def check_coordinates(self, model: str) -> None:
        """Raises BadInput where it is not known in which coordinates `model` gives boxes."""
        if "coordinates" not in self.model_fields_set:
            raise BadInput(
                f"it is not known in which coordinates the judge {model!r} gives boxes, which R_RI "
                f"reads: set wording.coordinates in a judge file to {' or '.join(CONVENTIONS)} "
                "(got-r1 audit grounding --judge SPEC measures which), or give the term to another "
                "judge (judge.r_ri), or switch it off (reward.r_ri=0)"
            )

    def temperature_at(self, attempt: int) -> float:
        """The temperature of the first reply (attempt 0) and of those after it."""
        return max(self.temperature, self.retry_temperature) if attempt else self.temperature


class OpenAISettings(Section):
    """A model behind OpenAI-compatible endpoints."""

    model: str = Field("", min_length=1, description="the model's name on the server")
    urls: Annotated[list[str], HARMLESS] = Field(
        [],
        min_length=1,
        description="base URLs, up to and including /v1; several share the load",
    )
    concurrency: Annotated[int, HARMLESS] = Field(
        64, ge=1, le=65536, description="requests under way at once, over all URLs"
    )
    timeout: Annotated[float, HARMLESS] = Field(
        120.0, gt=0, description="seconds that an answer may take"
    )
    retries: Annotated[int, HARMLESS] = Field(
        5, ge=0, le=1000, description="times that a request is sent again when busy, broken or lost"
    )
    first_wait: Annotated[float, HARMLESS] = Field(
        0.5, gt=0, description="seconds before the first of them; each later one waits twice that"
    )
    api_key_env: Annotated[str, HARMLESS] = Field(
        "OPENAI_API_KEY",
        min_length=1,
        description="environment variable that holds the key; unless named, a key goes to "
        "https://api.openai.com only",
    )
    profile: Literal["auto", "none", "openai", "gemini", "mistral", "vllm", "sglang"] = Field(
        "auto",
        description="which service's ways requests follow where the settings below leave them open "
        "(judges/requests.py lists them); auto: by the host of the URLs, for a server of your own "
        "none",
    )
    extra_body: dict[str, Any] = Field(
        {},
        description="sent along with each request, such as vLLM's own sampling settings; null "
        "leaves a field out, such as seed, temperature or max_tokens",
    )
    rename: Annotated[dict[str, str], HARMLESS] = Field(
        {},
        description="other names for max_tokens, temperature or seed, such as {max_tokens: "
        "max_completion_tokens}",
    )
    system: Literal["separate", "folded"] = Field(
        "separate",
        description="where the system's part of a question stands: in a message of its own, or "
        "before the user's, for models whose chat template has no system role",
    )
    structured: Literal["auto", "off"] = Field(
        "auto",
        description="auto: a JSON schema of the reply goes along (response_format), by which "
        "servers guide decoding, until one refuses it; off, and where extra_body guides decoding: "
        "replies are free",
    )

    @field_validator("urls", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _remember_secrets(self) -> Self:
        for url in self.urls:
            remember_url(url)
        remember_fields(self.extra_body)
        return self

    @model_validator(mode="after")
    def _renames_our_fields(self) -> Self:
        for name, other in self.rename.items():
            if name not in RENAMEABLE or not other:
                raise PydanticCustomError(
                    "rename",
                    "rename gives other names to {known}, not {other} to {name}",
                    {"known": ", ".join(RENAMEABLE), "name": repr(name), "other": repr(other)},
                )
        return self

    def key(self, url: str) -> str:
        """The key for one of the URLs, out of the environment, without blanks and line ends around
        it; or a placeholder, since the client insists on one.

        Without `api_key_env` a key goes to OpenAI's own API only. Raises BadInput where the
        settings name a variable that is not set, where no header can carry the key, and where it
        would travel unencrypted to another machine.
        """
        parts = urlsplit(url)
        named = "api_key_env" in self.model_fields_set
        if not named and (parts.scheme, parts.hostname) != ("https", OPENAI_HOST):
            return PLACEHOLDER
        key = os.environ.get(self.api_key_env, "").strip()
        remember(key)
        if not (key.isascii() and key.isprintable()):
            raise BadInput(
                f"the key in {self.api_key_env} holds a line break, a control character or one "
                "that is not ASCII, which no request's header can carry: export it again as the "
                "service gave it"
            )
        if not key and named:
            raise BadInput(
                f"the judge's api_key_env is {self.api_key_env}, which is not set: export "
                f"{self.api_key_env}=..., or leave the setting out where the endpoint needs no key"
            )
        if key and parts.scheme != "https" and parts.hostname not in THIS_MACHINE:
            raise BadInput(
                f"the judge at {parts.hostname} would get the key of {self.api_key_env} over plain "
                "http, where anyone on the way can read it: use https, or leave api_key_env out "
                "where the endpoint needs no key"
            )
        return key or PLACEHOLDER


class TransformersSettings(Section):
    """A model in this process; plain text stands for its folder."""

    shorthand = "model"

    model: str = Field(
        "", min_length=1, description="folder of a Qwen2.5-VL-style model, or its name on the hub"
    )
    device: Annotated[str, ROUNDING] = Field(
        "", description="where it runs: cuda, cuda:1, cpu ...; empty: the GPU where there is one"
    )
    dtype: Literal["bfloat16", "float16", "float32"] = Field(
        "bfloat16", description="dtype of the weights"
    )
    batch: Annotated[int, ROUNDING] = Field(
        8, ge=1, le=65536, description="questions at once; lower it when memory runs out"
    )


class StudentSettings(Section):
    """A judge that was trained by `train judge`; plain text stands for its folder."""

    shorthand = "model"

    model: str = Field("", description="folder of the student")
    ask_above: float = Field(
        0.3,
        ge=0,
        le=1,
        description="doubt (standard deviation of its score, at most 0.5) above which the teacher "
        "is asked",
    )
    teacher: Annotated[str, SAME_JUDGE] = Field(
        "", description="the judge that is asked then, as in spec; empty: the student alone"
    )
    device: Annotated[str, ROUNDING] = Field(
        "", description="where it runs: cuda, cuda:1, cpu ...; empty: the GPU where there is one"
    )
    batch: Annotated[int, ROUNDING] = Field(64, ge=1, le=65536, description="queries at once")


class Scale(Section):
    """How a cosine becomes a score: 0 at `low` and below, 1 at `high` and above, linear between.

    The paper scales every term to [0, 1] and does not say how; all bounds are our choice.
    """

    low: float = Field(0.0, ge=-1, le=1, description="cosine that scores 0")
    high: float = Field(0.4, ge=-1, le=1, description="cosine that scores 1")

    @model_validator(mode="after")
    def _upwards(self) -> Self:
        if self.low >= self.high:
            raise PydanticCustomError("scale", "low must be below high")
        return self

    def score(self, cosine: float) -> float:
        """The score in [0, 1]; NaN stays NaN."""
        share = (cosine - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, share)) if share == share else share


class ExpertsSettings(Section):
    """CLIP, a detector and HPS: one model a term."""

    clip: SimilaritySettings = SimilaritySettings()
    detector: DetectorSettings = DetectorSettings()
    quality: QualitySettings = QualitySettings()
    r_sem: Scale = Field(
        Scale(low=0.5, high=1.0), description="of two texts' cosine, which is seldom below a half"
    )
    r_spa: Scale = Field(
        Scale(), description="of the drawn plan, where the prompt states no single relation"
    )
    r_pi: Scale = Field(Scale(), description="the default is CLIPScore, 2.5 times the cosine")
    r_hps: Scale = Field(
        Scale(low=0.15, high=0.35), description="of HPS v2.1; images seldom lie outside of these"
    )
    same_object: float = Field(
        0.5,
        gt=0,
        le=1,
        description="R_RI: of two boxes of one name that overlap by a larger IoU, the less "
        "confident one is dropped",
    )

"""A judge in full, in a YAML file: every setting, and another judge for a term where wanted."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from got_r1.files.redaction import remember_fields
from got_r1.judges.settings import (
    ExpertsSettings,
    MLLMSettings,
    OpenAISettings,
    StudentSettings,
    TransformersSettings,
)
from got_r1.recipes.sections import Section

__all__ = ["KINDS", "JudgeFile", "is_judge_file"]

KINDS = ("openai", "transformers", "experts", "student")
"""The sections that are judges; the name of one, as a judge, means the section of the file."""

_OTHER = "another judge for this term, as in spec; empty: spec's"


def is_judge_file(spec: str) -> bool:
    """Whether a spec is the path of a judge file."""
    return spec.endswith((".yaml", ".yml"))


class JudgeFile(Section):
    """Who scores, and how."""

    spec: str = Field(
        "",
        description="'openai', 'transformers', 'experts' or 'student' as set up below, or any "
        "judge that --judge takes, another judge file among them (which names no further one); "
        "empty: the one that is set up below",
    )
    r_sem: str = Field("", description=_OTHER)
    r_spa: str = Field("", description=_OTHER)
    r_ri: str = Field("", description=_OTHER)
    r_pi: str = Field("", description=_OTHER)
    r_hps: str = Field("", description=_OTHER)
    openai: OpenAISettings = OpenAISettings()
    transformers: TransformersSettings = TransformersSettings()
    experts: ExpertsSettings = ExpertsSettings()
    student: StudentSettings = StudentSettings()
    wording: MLLMSettings = MLLMSettings()
    own: dict[str, Any] = Field(
        {},
        description="keyword arguments of a judge of your own (FILE.py:CLASS or MODULE:CLASS in "
        "spec or for a term); two in one file get the same, so give each a judge file of its own "
        "and name that for its term",
    )

    @model_validator(mode="after")
    def _remember_secrets(self) -> Self:
        remember_fields(self.own)
        return self

"""The sections of a recipe that say who scores, and how terms become one number."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from got_r1.files.paths import PathText
from got_r1.recipes.resuming import CACHE, HARMLESS, SAME_JUDGE
from got_r1.recipes.section import YEAR, Section

__all__ = ["JudgeSection", "RewardSection", "is_student"]

_JudgeOfTerm = Annotated[
    PathText,
    SAME_JUDGE,
    Field(description="another judge for this term, as in spec; empty: spec's"),
]


class JudgeSection(Section):
    """Who scores; `judge=oracle` is short for `judge.spec=oracle`."""

    shorthand: ClassVar[str | None] = "spec"

    spec: Annotated[PathText, SAME_JUDGE] = Field(
        "oracle",
        description="'oracle' (the icon world's judge, right by construction), "
        "openai:MODEL@URL[,URL...], transformers:MODEL, 'experts', student:DIR, 'self' "
        "(the policy's base model), a class of your own as FILE.py:CLASS or MODULE:CLASS, or a "
        "YAML file of settings",
    )
    r_sem: _JudgeOfTerm = ""
    r_spa: _JudgeOfTerm = ""
    r_ri: _JudgeOfTerm = ""
    r_pi: _JudgeOfTerm = ""
    r_hps: _JudgeOfTerm = ""
    cache: Annotated[PathText, CACHE] = Field(
        "run",
        min_length=1,
        description="where a model's answers are kept, so that nothing is asked twice: 'run' "
        "(judge_cache in the run folder), a folder that runs share, or 'off'",
    )
    model: PathText = Field(
        "", description="with spec 'student': its folder, which train judge wrote"
    )
    teacher: Annotated[PathText, SAME_JUDGE] = Field(
        "", description="of a student: the judge that is asked where the student doubts, as in spec"
    )
    ask_above: float = Field(
        0.3,
        ge=0,
        le=1,
        description="of a student: the doubt (standard deviation of its score, at most 0.5) above "
        "which the teacher is asked",
    )
    learn: bool = Field(
        False,
        description="of a student: in a run it goes on learning from what its teacher answers",
    )
    learning_rate: float = Field(
        1e-4, gt=0, description="of a student that learns in a run; it stays the same"
    )
    record: Annotated[PathText, HARMLESS] = Field(
        "off",
        min_length=1,
        description="where scored queries are kept with their answers, for train judge: 'run' "
        "(judge_examples in the run folder), a folder that runs share, or 'off'",
    )
    max_failure_share: Annotated[float, HARMLESS] = Field(
        0.2, ge=0, le=1, description="stop when a larger share of a step's samples got no reward"
    )
    patience: Annotated[float, HARMLESS] = Field(
        600.0,
        ge=0,
        le=YEAR,
        description="seconds that a judge's servers are waited for while none can be reached or "
        "all are busy, before its queries fail",
    )

    def spec_of(self, term: str) -> str:
        """The spec of the judge that is asked for a term."""
        spec: str = getattr(self, term) or self.spec
        return spec


def is_student(spec: str) -> bool:
    """Whether a spec names a student judge: 'student' or student:DIR."""
    return spec.partition(":")[0] == "student"


class RewardSection(Section):
    """How terms become one number."""

    formula: Literal["product_v1", "product_v2", "sum"] = Field(
        "product_v1",
        description="r_pi*(r_sem+r_spa)*r_ri | r_pi*(r_sem+r_spa)/2*r_ri*r_hps | weighted sum",
    )
    r_sem: float = Field(
        1.0, ge=0, description="weight of prompt->chain semantics; 0 switches it off"
    )
    r_spa: float = Field(1.0, ge=0, description="weight of prompt->chain layout; 0 switches it off")
    r_ri: float = Field(
        1.0, ge=0, description="weight of chain->image grounding; 0 switches it off"
    )
    r_pi: float = Field(
        1.0, ge=0, description="weight of prompt->image fidelity; 0 switches it off"
    )
    r_hps: float = Field(
        0.0,
        ge=0,
        description="weight of image quality by HPS v2.1 (product_v2 or sum; needs a judge that "
        "answers it, such as 'experts'); 0 switches it off",
    )

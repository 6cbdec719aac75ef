"""What `got-r1 train` trains, and the section of a recipe that is its own."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["STAGES", "Stage", "section_of"]

Stage = Literal["vq", "sft", "rl", "judge"]
"""The image tokenizer; the policy by examples; the policy by rewards; a student judge."""

STAGES: tuple[Stage, ...] = get_args(Stage)


def section_of(stage: Stage) -> str:
    """The name of a stage's section (`judge` is the section of who scores)."""
    return "student" if stage == "judge" else stage

"""The prompts that RL trains on."""

from __future__ import annotations

from got_r1.config import DataSection
from got_r1.icons.prompts import prompt_list
from got_r1.inputs import read_prompts
from got_r1.records import Prompt

__all__ = ["load_prompts"]

ICON_PROMPTS = 5000  # of the world's training list; more than any run of the recipe sees


def load_prompts(data: DataSection) -> list[Prompt]:
    """The training prompts of a recipe: a text file's lines, or the icon world's train list.

    Raises BadInput where the file is missing, unreadable or holds no prompt.
    """
    if data.prompts:
        return read_prompts(data.prompts)
    return prompt_list("train", ICON_PROMPTS, seed=0)

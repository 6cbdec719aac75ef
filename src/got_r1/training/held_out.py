"""What a recipe says of its held-out judge: who it is, and which prompts it sees. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from got_r1 import rewards
from got_r1.benchmarks import load_benchmark
from got_r1.errors import BadInput
from got_r1.files.prompt_files import read_prompts
from got_r1.judges import load_judge
from got_r1.judges.base import Judge
from got_r1.recipes.sections import JudgeSection, Recipe
from got_r1.records import TERMS, Prompt

__all__ = ["HeldOut", "held_out_judge", "load_held_out", "watch_prompts"]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A judge that looks on, and the fixed prompts that it sees."""

    judge: Judge
    prompts: list[Prompt]


def load_held_out(recipe: Recipe) -> HeldOut | None:
    """The judge that looks on with its prompts, None where there is none. Raises BadInput as
    `held_out_judge`, `load_judge` and `watch_prompts`."""
    section = held_out_judge(recipe)
    if section is None:
        return None
    prompts = watch_prompts(recipe)
    return HeldOut(load_judge(section, None, rewards.active_terms(recipe.reward)), prompts)


def held_out_judge(recipe: Recipe) -> JudgeSection | None:
    """The section of the judge that looks on, None where there is none. Raises BadInput where it is
    the one that rewards."""
    spec = recipe.watch.judge
    if not spec:
        return None
    if spec == recipe.judge.spec:
        raise BadInput(
            f"watch.judge is {spec!r}, which is also judge.spec: a judge that rewards cannot tell "
            "whether it is being fooled; name another one, or leave watch.judge out"
        )
    others = {"learn": False, **dict.fromkeys(TERMS, "")}
    return recipe.judge.model_copy(update={"spec": spec, **others})


def watch_prompts(recipe: Recipe) -> list[Prompt]:
    """The fixed prompts, which are never trained on. Raises BadInput where there are none."""
    size = recipe.watch.size
    if recipe.watch.prompts:
        return read_prompts(recipe.watch.prompts)[:size]
    if recipe.data.prompts:
        raise BadInput(
            "watch.judge needs prompts that are not trained on, and with data.prompts nobody can "
            "tell which these are: name a file of them as watch.prompts"
        )
    return load_benchmark("icons").prompts(recipe.eval.split, size, 0)

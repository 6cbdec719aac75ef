"""Settings that would have no effect are refused: what a recipe sets is what runs."""

from __future__ import annotations

from importlib.util import find_spec

from got_r1.errors import BadInput
from got_r1.recipes.judge_sections import is_student
from got_r1.recipes.sections import Recipe
from got_r1.recipes.stages import Stage
from got_r1.records import TERMS

__all__ = ["check_settings"]


def check_settings(recipe: Recipe, stage: Stage) -> None:
    """Raises BadInput for settings of that training stage that cannot do what they say."""
    lora, judge, reward = recipe.model.lora, recipe.judge, recipe.reward
    if stage == "judge":
        check_student(recipe)
        return
    for name in recipe.run.track:
        if find_spec(name) is None:
            raise BadInput(
                f"run.track names {name}, which is not installed: pip install 'got-r1[{name}]', or "
                f"leave {name} out"
            )
    if stage != "vq" and lora.rank == 0 and lora.dropout > 0:
        raise BadInput(
            f"model.lora.dropout is {lora.dropout:g}, but model.lora.rank is 0, so there are no "
            "adapters to drop from: set model.lora.rank above 0 or model.lora.dropout=0"
        )
    if stage == "sft" and recipe.sft.condition_dropout == 1:
        raise BadInput(
            "sft.condition_dropout is 1, so every prompt and chain would be hidden and no chain "
            "trained: set it below 1"
        )
    if stage != "vq" and recipe.data.depth > 0 and not recipe.rollout.marks:
        raise BadInput(
            f"data.depth is {recipe.data.depth:g}, but rollout.marks is off, so every chain with a "
            "depth would be malformed: set rollout.marks=true or data.depth=0"
        )
    if stage != "rl":
        return
    if recipe.rl.chain_weight == recipe.rl.image_weight == 0:
        raise BadInput(
            "rl.chain_weight and rl.image_weight are both 0, so no token would be trained: give "
            "one of them a weight above 0"
        )
    check_paraphrases(recipe)
    asked = (judge.spec, *map(judge.spec_of, TERMS), recipe.watch.judge)
    if not any(map(is_student, asked)):
        for key in ("model", "teacher"):
            if value := getattr(judge, key):
                raise BadInput(
                    f"judge.{key} is {value!r}, but no judge is a student, so it would never be "
                    f"used: set judge.spec=student, or leave judge.{key} out"
                )
    elif not judge.teacher:
        for term in ("r_ri", "r_hps"):
            if getattr(reward, term) and is_student(judge.spec_of(term)):
                raise BadInput(
                    f"a student does not answer {term}, and it has no teacher: give judge.{term} a "
                    f"judge of its own, or the student one as judge.teacher, or set reward.{term}=0"
                )
    for term in TERMS:
        if getattr(judge, term) and not getattr(reward, term):
            raise BadInput(
                f"judge.{term} is {getattr(judge, term)!r}, but reward.{term} is 0, so it would "
                f"never be queried: give reward.{term} a weight, or leave judge.{term} out"
            )


def check_student(recipe: Recipe) -> None:
    """Raises BadInput where a student has nothing to learn from, or two origins."""
    if not recipe.student.examples:
        raise BadInput(
            "student.examples is empty: name folders of scored queries, which train rl keeps with "
            "judge.record=run, in the folder judge_examples of the run"
        )
    if recipe.student.start and recipe.student.encoder:
        raise BadInput(
            "student.start names a student, which has an encoder, and student.encoder another one: "
            "leave one of them out"
        )


def check_paraphrases(recipe: Recipe) -> None:
    """Raises BadInput where a group cannot be spread over its wordings, or wordings are unused."""
    group, wordings = recipe.rl.group, recipe.rl.paraphrases
    if group % wordings:
        raise BadInput(
            f"rl.paraphrases is {wordings}, which does not divide rl.group ({group}) into equal "
            "shares: change one of them"
        )
    for number, source in enumerate(recipe.data.prompts):
        if source.paraphrases and wordings == 1:
            raise BadInput(
                f"data.prompts.{number}.paraphrases names columns, but rl.paraphrases is 1, so "
                "they would never be read: set rl.paraphrases above 1, or leave the columns out"
            )
        if source.paraphrases and source.path == "icons":
            raise BadInput(
                f"data.prompts.{number}.paraphrases names columns, but the icon world has no file "
                "and makes its own wordings: leave the columns out"
            )

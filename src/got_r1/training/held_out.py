"""What a recipe says of its held-out judge: who it is, and which prompts it sees. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from got_r1 import rewards
from got_r1.benchmarks import load_benchmark
from got_r1.errors import BadInput
from got_r1.files.prompt_files import read_prompts
from got_r1.judges import load_judge
from got_r1.judges.base import Judge
from got_r1.judges.settings import TransformersSettings
from got_r1.judges.specs import JudgeSettings, resolve, same_judge
from got_r1.progress import note
from got_r1.recipes.sections import JudgeSection, Recipe
from got_r1.records import TERMS, Prompt
from got_r1.training.prompts import load_prompts, normalise

__all__ = [
    "HeldOut",
    "held_out_judge",
    "held_out_section",
    "load_held_out",
    "shared_terms",
    "watch_prompts",
]

FEW_JUDGES = ("r_ri", "r_hps")
"""Terms that few judges answer: there the one that rewards may look on as well, which is told."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A judge that looks on, and the fixed prompts that it sees."""

    judge: Judge
    prompts: list[Prompt]


def load_held_out(recipe: Recipe, quiet: bool = False) -> HeldOut | None:
    """The judge that looks on with its prompts, None where there is none. A line on stderr says
    which terms it shares with the judge that rewards, unless `quiet`. Raises BadInput as
    `held_out_judge`, `load_judge` and `watch_prompts`."""
    section = held_out_judge(recipe)
    if section is None:
        return None
    prompts = watch_prompts(recipe)
    for terms, judges in [] if quiet else grouped(shared_terms(recipe, section)):
        note(
            f"watch: of {terms}, {judges} may answer on both sides, as the judge that rewards and "
            "as the held-out one: where it is fooled, the held-out judge does not tell"
        )
    return HeldOut(load_judge(section, None, rewards.active_terms(recipe.reward)), prompts)


def held_out_section(recipe: Recipe) -> JudgeSection | None:
    """The section of the judge that looks on, whatever it is; None where there is none."""
    spec = recipe.watch.judge
    others = {"learn": False, **dict.fromkeys(TERMS, "")}
    return recipe.judge.model_copy(update={"spec": spec, **others}) if spec else None


def held_out_judge(recipe: Recipe) -> JudgeSection | None:
    """The section of the judge that looks on, None where there is none.

    Raises BadInput where it is not independent of the judge that rewards: where a term of the
    reward comes from the very same judge (its settings are the same, wherever they are written and
    wherever it runs). Of R_RI and R_HPS, which few judges answer, it may, unless nothing else is
    rewarded; and a student's teacher may look on, since it tells where the student is fooled.
    Raises BadInput, too, for 'self', and as `resolve`.
    """
    section = held_out_section(recipe)
    if section is None:
        return None
    spec = recipe.watch.judge
    terms = rewards.active_terms(recipe.reward)
    same = {term: shared[0] for term, shared in shared_terms(recipe, section, whole=True).items()}
    if same and (same.keys() - FEW_JUDGES or same.keys() == set(terms)):
        raise BadInput(
            f"watch.judge is {spec!r}, and {', '.join(dict.fromkeys(same.values()))} also rewards "
            f"{', '.join(same)}: a judge that rewards cannot tell whether it is being fooled; name "
            "another one (a judge file has one for each term), or leave watch.judge out"
        )
    looking_on = resolve(section)
    if any(one.kind == "self" for term in terms for one in looking_on.answering(term)):
        raise BadInput(
            f"watch.judge is {spec!r}, which asks 'self': a run asks the base model that it trains "
            "as the judge that rewards only, not as the held-out one; give that model's folder, "
            "as watch.judge=transformers:DIR"
        )
    return section


def shared_terms(
    recipe: Recipe, section: JudgeSection, *, whole: bool = False
) -> dict[str, list[str]]:
    """The terms of the reward of which one judge's answers may count on both sides, with the names
    of such judges; `section`: of the held-out judge. A student's teacher is one of its judges.

    `whole`: only the terms that both sides ask the same judge first.
    """
    rewarding, looking_on = resolve(recipe.judge), resolve(section)
    found = {}
    for term in rewards.active_terms(recipe.reward):
        ours, theirs = (
            [by_weights(one, recipe) for one in side.answering(term)[: 1 if whole else None]]
            for side in (rewarding, looking_on)
        )
        names = [one.name for one in theirs if any(same_judge(one, other) for other in ours)]
        if names:
            found[term] = names
    return found


def by_weights(judge: JudgeSettings, recipe: Recipe) -> JudgeSettings:
    """The judge; of 'self' as one that is given the model's folder."""
    if judge.kind != "self":
        return judge
    model = TransformersSettings(model=recipe.model.path)
    return judge.model_copy(update={"kind": "transformers", "transformers": model})


def grouped(shared: dict[str, list[str]]) -> Iterable[tuple[str, str]]:
    """Terms that share the same judges in one: ("r_sem, r_spa", "oracle")."""
    groups: dict[str, list[str]] = {}
    for term, names in shared.items():
        groups.setdefault(" and ".join(names), []).append(term)
    return [(", ".join(terms), names) for names, terms in groups.items()]


def watch_prompts(recipe: Recipe) -> list[Prompt]:
    """The fixed prompts, which are never trained on. Raises BadInput where there are none, and
    where some are among the prompts of training."""
    size = recipe.watch.size
    if recipe.watch.prompts:
        prompts = read_prompts(recipe.watch.prompts)[:size]
        check_not_trained_on([prompt.text for prompt in prompts], recipe)
        return prompts
    if recipe.data.prompts:
        raise BadInput(
            "watch.judge needs prompts that are not trained on, and with data.prompts nobody can "
            "tell which these are: name a file of them as watch.prompts"
        )
    return load_benchmark("icons").prompts(recipe.eval.split, size, 0)


def check_not_trained_on(texts: Collection[str], recipe: Recipe) -> None:
    """Raises BadInput where some fixed prompts say the same as one of training, whatever their
    case, spaces and punctuation."""
    mix = load_prompts(recipe.data, quiet=True, wordings=recipe.rl.paraphrases)
    trained = set(map(normalise, mix.texts()))
    both = [text for text in texts if normalise(text) in trained]
    if both:
        raise BadInput(
            f"{len(both)} of the {len(texts)} prompts of watch.prompts are trained on too, the "
            f"first {both[0][:60]!r}: name the file in data.held_out as well, which takes "
            "them out of training, or give other prompts"
        )

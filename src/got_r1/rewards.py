"""The reward of a (chain, image) pair: five terms in [0, 1] and the formula that combines them.

    r_sem   prompt -> chain   the chain, boxes stripped, says what the prompt says
    r_spa   prompt -> chain   the planned layout satisfies the prompt's relation
    r_ri    chain  -> image   the planned objects are found where they were planned (mean IoU)
    r_pi    prompt -> image   the image shows what the prompt says
    r_hps   prompt -> image   people would find it a good picture (HPS v2.1; the paper's version 2)

Terms are scored in two stages, so that chains are judged while their images are generated. Two
kinds of fault are distinguished:

- A malformed chain is the *policy's* fault: neither it nor its image is judged, every active term
  is 0 and so is the total.
- A `JudgeFailure` is the *judge's* fault: the total is None, and the sample is dropped from its
  group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from got_r1.errors import BadInput
from got_r1.judges.base import answers_of
from got_r1.plan.layout import counted, iou, match_boxes
from got_r1.plan.planning import PlanScore, ScorePlans
from got_r1.plan.reasons import reason
from got_r1.recipes.sections import RewardSection
from got_r1.records import (
    TERMS,
    Chain,
    FoundObject,
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    Prompt,
    QualityQuery,
    Query,
    Reward,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)

if TYPE_CHECKING:
    from got_r1.judges.base import Judge

__all__ = [
    "Verdicts",
    "active_terms",
    "check_config",
    "check_judge",
    "combine",
    "evidence",
    "found_objects",
    "mean_iou",
    "plan_scorer",
    "reads_images",
    "reward",
    "score",
    "stage_one",
    "stage_two",
]

Verdicts = Mapping[str, Verdict | JudgeFailure]
"""The judge's answers about one sample, by term."""


def combine(terms: Mapping[str, float], config: RewardSection) -> float:
    """Combine the terms by the paper's formulas (v1 and v2) or their weighted sum.

    A weight scales its summand, and is the exponent of its factor; a weight of 0 disables the term:
    the summand or factor is omitted (x ** 0 = 1), and with both r_sem and r_spa disabled so is
    their whole factor. product_v2 takes the weighted mean of r_sem and r_spa. Range:
    [0, w_sem + w_spa] for product_v1, [0, 1] for product_v2, [0, sum of weights] for sum. Raises
    KeyError when an active term is missing.
    """
    w = config
    sem, spa, ri, pi, hps = (terms[name] if getattr(w, name) > 0 else 0.0 for name in TERMS)
    plan_weight = w.r_sem + w.r_spa
    plan = w.r_sem * sem + w.r_spa * spa if plan_weight > 0 else 1.0
    match w.formula:
        case "product_v1":
            total: float = pi**w.r_pi * plan * ri**w.r_ri
        case "product_v2":
            total = pi**w.r_pi * plan / (plan_weight or 1.0) * ri**w.r_ri * hps**w.r_hps
        case "sum":
            total = w.r_sem * sem + w.r_spa * spa + w.r_ri * ri + w.r_pi * pi + w.r_hps * hps
    return total


def mean_iou(chain: Chain, found: Sequence[FoundObject]) -> float:
    """R_RI: mean over all N planned objects of IoU(planned box, found box), in [0, 1].

    Of each name the first so many found objects count as are planned under it
    (`plan.layout.counted`). They are paired with the planned ones one to one, so that their total
    IoU is largest; a planned object without a partner counts 0 (the paper states neither). 0 for a
    chain without objects.
    """
    total = 0.0
    names = [planned.name for planned in chain.objects]
    found = [found[index] for index in counted(names, [item.name for item in found])]
    for name in dict.fromkeys(names):
        planned = [item.box for item in chain.objects if item.name == name]
        located = [item.box for item in found if item.name == name]
        total += sum(iou(planned[i], located[j]) for i, j in match_boxes(planned, located))
    return total / len(chain.objects) if chain.objects else 0.0


def active_terms(config: RewardSection) -> tuple[str, ...]:
    """The terms whose weight is above 0, in the order of `TERMS`."""
    return tuple(name for name in TERMS if getattr(config, name) > 0)


def reads_images(config: RewardSection) -> bool:
    """Whether a term that is on looks at the image: any but r_sem and r_spa."""
    return not {"r_sem", "r_spa"}.issuperset(active_terms(config))


def check_config(config: RewardSection) -> None:
    """Raise `BadInput` for settings that define no reward."""
    if config.r_hps > 0 and config.formula == "product_v1":
        raise BadInput(
            f"reward.r_hps is {config.r_hps:g}, but reward.formula=product_v1 has no place for it: "
            "set reward.formula=product_v2 or reward.r_hps=0"
        )
    if not active_terms(config):
        raise BadInput(
            "every term of the reward is switched off: give at least one of reward.r_sem, "
            "reward.r_spa, reward.r_ri, reward.r_pi a weight above 0"
        )


def check_judge(judge: Judge, config: RewardSection) -> None:
    """Raise `BadInput` when r_hps is on and the judge cannot rate a picture.

    Most judges answer the other four queries and not this one. Instead of having every judge (and
    every cache or mixture around one) declare its capabilities, one picture is scored before the
    run: a failure then costs a second, not a step whose samples are all dropped.
    """
    if config.r_hps <= 0:
        return
    query = QualityQuery(Prompt("a grey square"), np.full((64, 64, 3), 128, dtype=np.uint8))
    (answer,) = answers_of(judge, [query])
    if isinstance(answer, JudgeFailure):
        raise BadInput(
            f"reward.r_hps is {config.r_hps:g}, but the judge cannot rate a picture "
            f"({answer.reason}): give r_hps a judge that can, such as 'experts', or set "
            "reward.r_hps=0"
        )


# -- asking the judge ----------------------------------------------------------------------------


def stage_one(
    judge: Judge, prompts: Sequence[Prompt], chains: Sequence[Chain], config: RewardSection
) -> list[Verdicts]:
    """Ask for r_sem and r_spa, as soon as the chains are written; one batch, one dict a sample."""
    wanted: list[list[Query]] = []
    for prompt, chain in zip(prompts, chains, strict=True):
        queries: tuple[Query, ...] = (SemanticQuery(prompt, chain), SpatialQuery(prompt, chain))
        wanted.append(_counting(queries, chain, config))
    return _answers(judge, wanted)


def stage_two(
    judge: Judge,
    prompts: Sequence[Prompt],
    chains: Sequence[Chain],
    images: Sequence[np.ndarray],
    config: RewardSection,
) -> list[Verdicts]:
    """Ask for r_ri, r_pi and r_hps, once the images (uint8 [height, width, 3]) are drawn."""
    wanted: list[list[Query]] = []
    for prompt, chain, image in zip(prompts, chains, images, strict=True):
        queries: tuple[Query, ...] = (
            GroundingQuery(chain, image),
            ImageQuery(prompt, image),
            QualityQuery(prompt, image),
        )
        wanted.append(_counting(queries, chain, config))
    return _answers(judge, wanted)


def _counting(queries: Sequence[Query], chain: Chain, config: RewardSection) -> list[Query]:
    """The queries whose term is on; none about a malformed chain."""
    return [] if chain.problems else [query for query in queries if getattr(config, query.term) > 0]


def _answers(judge: Judge, wanted: Sequence[Sequence[Query]]) -> list[Verdicts]:
    """All queries in one batch to the judge, the answers back under sample and term."""
    answers = iter(answers_of(judge, [query for queries in wanted for query in queries]))
    return [{query.term: next(answers) for query in queries} for queries in wanted]


# -- from verdicts to the reward -----------------------------------------------------------------


def reward(chain: Chain, verdicts: Verdicts, config: RewardSection) -> Reward:
    """The reward of one sample from the answers of both stages (`one | two`).

    For a malformed chain every active term is 0, with the chain's problems as the evidence. If
    the judge failed on an active term the total is None; the terms that it answered are kept.
    """
    active = active_terms(config)
    if chain.problems:
        why = "malformed chain: " + ", ".join(chain.problems)
        faults = {name: Verdict(None if name == "r_ri" else 0.0, reasoning=why) for name in active}
        return Reward(0.0, dict.fromkeys(active, 0.0), faults)
    answers = {name: verdicts[name] for name in active}
    terms = {
        name: _term(name, chain, answer)
        for name, answer in answers.items()
        if isinstance(answer, Verdict)
    }
    total = combine(terms, config) if len(terms) == len(active) else None
    return Reward(total, terms, answers)


def _term(name: str, chain: Chain, verdict: Verdict) -> float:
    if name == "r_ri":
        return mean_iou(chain, verdict.found)
    assert verdict.score is not None  # `answers_of` saw to it
    return verdict.score


def score(
    judge: Judge,
    prompts: Sequence[Prompt],
    chains: Sequence[Chain],
    images: Sequence[np.ndarray],
    config: RewardSection,
) -> list[Reward]:
    """Both stages and the formula, for samples whose images already exist."""
    one = stage_one(judge, prompts, chains, config)
    two = stage_two(judge, prompts, chains, images, config)
    return [reward(c, {**a, **b}, config) for c, a, b in zip(chains, one, two, strict=True)]


def found_objects(chain: Chain, reward: Reward) -> tuple[FoundObject, ...] | None:
    """What the judge found of a plan in the image. None where nobody looked: R_RI is off, the judge
    failed on it, or the chain is malformed."""
    grounding = reward.verdicts.get("r_ri")
    if not isinstance(grounding, Verdict) or chain.problems:
        return None
    return grounding.found


def evidence(reward: Reward) -> dict[str, str]:
    """The judge's own words on each term: its reasoning, or why it failed."""
    return {
        name: verdict.reasoning if isinstance(verdict, Verdict) else verdict.reason
        for name, verdict in reward.verdicts.items()
    }


# -- scoring plans before anything is drawn --------------------------------------------------------

_PLAN_TERMS = RewardSection(r_ri=0.0, r_pi=0.0)


def plan_scorer(judge: Judge) -> ScorePlans:
    """A scorer of plans for `Planner`: R_sem + R_spa by a judge, in [0, 2].

    All plans are judged in one batch. A malformed one is not judged and scores 0; one that the
    judge could not score has the total None.
    """

    def score_plans(prompts: Sequence[Prompt], plans: Sequence[Chain]) -> list[PlanScore]:
        verdicts = stage_one(judge, prompts, plans, _PLAN_TERMS)
        return [_plan_score(plan, some) for plan, some in zip(plans, verdicts, strict=True)]

    return score_plans


def _plan_score(plan: Chain, answers: Verdicts) -> PlanScore:
    found = reward(plan, answers, _PLAN_TERMS)
    failures = [a.reason for a in answers.values() if isinstance(a, JudgeFailure)]
    words = [
        f"{name}: {said}"
        for name, verdict in found.verdicts.items()
        if isinstance(verdict, Verdict)
        and (said := reason(found.terms[name], verdict) or verdict.reasoning)
    ]
    total = None if failures else sum(found.terms.values())
    return PlanScore(total, found.terms, "; ".join(failures or words))

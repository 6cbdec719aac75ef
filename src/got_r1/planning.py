"""Thinking longer: of several plans the best is drawn, and a plan that contradicts its prompt is
mended before.

A plan is scored by a judge (R_sem + R_spa, before any image is drawn) or, without one, by geometry
alone: what the prompt asks for is read from its words (`got_r1.reading`), and

    score = named * relation * apart        in [0, 1]

    named     an F1 of the asked objects and the planned ones of their kind, by likeness of names;
              further objects of other kinds cost nothing
    relation  1 where the asked relation holds between the boxes or none is asked, else 0.25
    apart     1 - the largest IoU of any two boxes

A malformed chain scores 0; where the prompt cannot be read, only `apart` is left. (Our choice
throughout. arXiv 2608.21713 found the planner, not the drawing, to bound GoT-R1, and a check of the
plan with a geometric repair worth ten points.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from got_r1 import rewards
from got_r1.chain import BOX_END, BOX_START, OBJ_END, OBJ_START, parse
from got_r1.config import RewardSection
from got_r1.errors import RunFailed
from got_r1.layout import assign, iou, relation_holds
from got_r1.mending import mend
from got_r1.reading import (
    CONVERSES,
    RELATION_WORDS,
    Asked,
    find_relation_words,
    likeness,
    read,
)
from got_r1.records import Box, Chain, JudgeFailure, Prompt

if TYPE_CHECKING:
    from got_r1.judges.base import Judge

__all__ = [
    "Decision",
    "PlanScore",
    "Planner",
    "Repair",
    "planned_objects",
    "repair",
    "score_by_geometry",
    "score_by_judge",
    "with_boxes",
]

CONTRADICTED = 0.25  # `relation` where the asked one does not hold: still better than no object

_PLAN_TERMS = RewardSection(r_ri=0.0, r_pi=0.0)


@dataclass(frozen=True, slots=True)
class PlanScore:
    """How good a plan is. `total`: None where the judge failed; `terms` by name; why, in words."""

    total: float | None
    terms: Mapping[str, float] = field(default_factory=dict)
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Repair:
    """What became of a plan that was to be mended.

    `chain` is the one to draw, mended or not; `reason` says in words what was found or done.
    `distance`: how far the boxes moved together, in thousandths of the image's sides.
    """

    chain: Chain
    mended: bool
    reason: str
    distance: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """Which of several plans is drawn, and as what. `scores` is empty where there was one plan."""

    plans: tuple[Chain, ...]
    scores: tuple[PlanScore, ...] = ()
    chosen: int = 0
    repair: Repair | None = None

    @property
    def chain(self) -> Chain:
        """The chain to draw."""
        return self.repair.chain if self.repair else self.plans[self.chosen]

    @property
    def is_mended(self) -> bool:
        """Whether what is drawn differs from what was written."""
        return self.repair is not None and self.repair.mended

    def without_repair(self, reason: str) -> Decision:
        """The same plan as it was written."""
        return replace(self, repair=Repair(self.plans[self.chosen], False, reason))

    def record(self) -> dict[str, Any]:
        """The decision as a sample's record holds it."""
        found: dict[str, Any] = {}
        if self.scores:
            found["plans"] = [
                {
                    "chain": plan.text,
                    "problems": list(plan.problems),
                    "score": score.total,
                    "terms": dict(score.terms),
                    "evidence": score.evidence,
                }
                for plan, score in zip(self.plans, self.scores, strict=True)
            ]
            found["drawn_plan"] = self.chosen
        if self.repair is not None:
            found["repair"] = {
                "mended": self.repair.mended,
                "reason": self.repair.reason,
                "distance": self.repair.distance,
                "written": self.plans[self.chosen].text,
            }
        return found


@dataclass(frozen=True, slots=True)
class Planner:
    """Decides what is drawn, from `plans` chains for each sample.

    `judge` scores them; geometry does where there is none. `repair` mends the one that is chosen,
    in steps of the image's tokens, `grid` a side.
    """

    plans: int = 1
    judge: Judge | None = None
    repair: bool = False
    grid: int = 24

    def decide(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[Chain]]
    ) -> list[Decision]:
        """One decision a sample, from its candidates; the first of equally good ones is drawn.

        A plan that the judge could not score is not chosen. Raises RunFailed where that leaves
        none: a plan that nobody looked at would pass for a chosen one.
        """
        decisions = []
        scores = self._score(prompts, candidates) if self.plans > 1 else None
        for place, (prompt, plans) in enumerate(zip(prompts, candidates, strict=True)):
            some = scores[place] if scores is not None else ()
            chosen = _best(prompt, some) if some else 0
            mended = repair(prompt, plans[chosen], self.grid) if self.repair else None
            decisions.append(Decision(tuple(plans), tuple(some), chosen, mended))
        return decisions

    def _score(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[Chain]]
    ) -> list[list[PlanScore]]:
        """The scores of each sample's candidates; all asks in one batch."""
        owners = [prompt for prompt, plans in zip(prompts, candidates, strict=True) for _ in plans]
        every = [plan for plans in candidates for plan in plans]
        if self.judge is None:
            asked = {prompt.text: read(prompt.text) for prompt in prompts}
            scores = [
                score_by_geometry(asked[owner.text], plan)
                for owner, plan in zip(owners, every, strict=True)
            ]
        else:
            scores = score_by_judge(self.judge, owners, every)
        rest: Iterator[PlanScore] = iter(scores)
        return [[next(rest) for _ in plans] for plans in candidates]


def _best(prompt: Prompt, scores: Sequence[PlanScore]) -> int:
    totals = [-1.0 if score.total is None else score.total for score in scores]
    best = int(np.argmax(totals))
    if scores[best].total is None:
        raise RunFailed(
            f"the judge could score none of the {len(scores)} plans for {prompt.text[:60]!r} "
            f"({scores[0].evidence}); mend the judge and go on with --resume, or leave out --judge "
            "to choose by geometry."
        )
    return best


# -- scores --------------------------------------------------------------------------------------


def score_by_judge(
    judge: Judge, prompts: Sequence[Prompt], plans: Sequence[Chain]
) -> list[PlanScore]:
    """R_sem + R_spa of each plan, in [0, 2], in one batch of asks; a malformed one is not asked
    about and scores 0."""
    found = []
    verdicts = rewards.stage_one(judge, prompts, plans, _PLAN_TERMS)
    for plan, answers in zip(plans, verdicts, strict=True):
        reward = rewards.reward(plan, answers, _PLAN_TERMS)
        failures = [a.reason for a in answers.values() if isinstance(a, JudgeFailure)]
        words = [
            f"{name}: {verdict.reasoning}"
            for name, verdict in reward.verdicts.items()
            if not isinstance(verdict, JudgeFailure) and verdict.reasoning
        ]
        total = None if failures else sum(reward.terms.values())
        found.append(PlanScore(total, reward.terms, "; ".join(failures or words)))
    return found


def score_by_geometry(asked: Asked | None, plan: Chain) -> PlanScore:
    """The score of a plan from its boxes and names alone (see the top of this file)."""
    if plan.problems:
        return PlanScore(0.0, {}, f"malformed chain: {', '.join(plan.problems)}")
    boxes = [planned.box for planned in plan.objects]
    terms = {"apart": 1.0 - max((iou(a, b) for a, b in combinations(boxes, 2)), default=0.0)}
    evidence = ["the prompt could not be read"]
    if asked is not None:
        pairs = planned_objects(asked, plan)
        names = [planned.name for planned in plan.objects]
        alike = sum(likeness(asked.singles[i], names[j]) for i, j in pairs.items())
        kin = sum(any(likeness(one, name) for one in asked.singles) for name in names)
        terms["named"] = 2 * alike / (len(asked.singles) + kin)
        evidence = [f"{len(pairs)} of {len(asked.singles)} asked objects are planned"]
        if asked.relation is not None:
            holds = _holds(asked, plan)
            terms["relation"] = 1.0 if holds else CONTRADICTED
            evidence.append(f"{asked.relation!r} {'holds' if holds else 'does not hold'}")
    if terms["apart"] < 1:
        evidence.append("boxes overlap")
    return PlanScore(float(np.prod(list(terms.values()))), terms, "; ".join(evidence))


def planned_objects(asked: Asked, plan: Chain) -> dict[int, int]:
    """Which asked object (index in `asked.singles`) is planned by which (index in `plan.objects`).

    One to one, so that names are most alike; what is not named at all is left out.
    """
    scores = np.array(
        [[likeness(one, planned.name) for planned in plan.objects] for one in asked.singles]
    )
    return dict(assign(scores.reshape(len(asked.singles), len(plan.objects))))


def _related(asked: Asked, plan: Chain) -> tuple[int, int] | None:
    """The two planned objects that the asked relation is about."""
    pairs = planned_objects(asked, plan)
    return (pairs[0], pairs[1]) if {0, 1} <= pairs.keys() else None


def _holds(asked: Asked, plan: Chain) -> bool:
    pair = _related(asked, plan)
    if pair is None or asked.relation is None:
        return False
    first, second = (plan.objects[index].box for index in pair)
    return relation_holds(asked.relation, first, second)


# -- mending -------------------------------------------------------------------------------------


def repair(prompt: Prompt, plan: Chain, grid: int = 24) -> Repair:
    """The plan with its boxes moved as little as makes the asked relation hold (`got_r1.mending`).

    Names and all other boxes stay. Where the chain's own words state another relation of the two,
    and no further one, they are changed with it: boxes and words would contradict each other.
    """
    asked = read(prompt.text)
    if asked is None or asked.relation is None:
        return Repair(plan, False, "the prompt asks for no relation that can be read")
    if plan.problems:
        return Repair(plan, False, "the chain is malformed")
    pair = _related(asked, plan)
    if pair is None:
        return Repair(plan, False, "an object of the relation is not planned")
    boxes = [planned.box for planned in plan.objects]
    mended = mend(boxes, pair, asked.relation, grid)
    if mended is None:
        return Repair(plan, False, "the boxes are too large for any place where it would hold")
    if list(mended) == boxes:
        return Repair(plan, False, f"{asked.relation!r} holds")
    moved = {index: mended[index] for index in pair if mended[index] != boxes[index]}
    text = with_words(with_boxes(plan.text, moved), asked, pair)
    chain = parse(text)
    if chain.problems:  # it was moved into the very box of another object of its name
        return Repair(plan, False, f"mended, it would be malformed: {', '.join(chain.problems)}")
    moves = zip(mended, boxes, strict=True)
    distance = sum(float(np.hypot(a.x1 - b.x1, a.y1 - b.y1)) for a, b in moves)
    return Repair(chain, True, f"{asked.relation!r} did not hold", distance)


_BOX = re.compile(f"{re.escape(BOX_START)}.*?{re.escape(BOX_END)}", re.DOTALL)
_OBJECT = re.compile(f"{re.escape(OBJ_START)}.*?{re.escape(OBJ_END)}|{_BOX.pattern}", re.DOTALL)


def with_boxes(text: str, boxes: Mapping[int, Box]) -> str:
    """A chain's text with other boxes: `boxes` by the index of their object.

    Only for a chain without problems, whose boxes and objects stand one to one.
    """
    places = list(_BOX.finditer(text))
    for index, box in sorted(boxes.items(), reverse=True):
        start, end = places[index].span()
        written = f"{BOX_START}({box.x1},{box.y1}),({box.x2},{box.y2}){BOX_END}"
        text = f"{text[:start]}{written}{text[end:]}"
    return text


def with_words(text: str, asked: Asked, pair: tuple[int, int]) -> str:
    """A chain's text whose prose states the asked relation where it stated another of the pair."""
    assert asked.relation is not None
    # Names and boxes become blanks, so that places stay and no name is taken for prose.
    prose = _OBJECT.sub(lambda found: " " * len(found[0]), text)
    stated = find_relation_words(prose)
    if len(stated) != 1:
        return text
    said, start, end = stated[0]
    ends = [found.end() for found in _BOX.finditer(text)]
    before = [index for index, at in enumerate(ends) if at <= start]
    after = [index for index, at in enumerate(ends) if at > start]
    if not before or not after or {before[-1], after[0]} != set(pair):
        return text
    in_order = before[-1] == pair[0]
    wanted = asked.relation if in_order else CONVERSES[asked.relation]
    if said == wanted or {said, wanted} == {"next to", "near"}:
        return text
    return f"{text[:start]}{RELATION_WORDS[wanted][0]}{text[end:]}"

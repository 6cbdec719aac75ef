"""Thinking longer: of several plans the best is drawn, and a plan that contradicts its prompt is
repaired before.

A plan is scored by a judge (R_sem + R_spa, before any image is drawn) or, without one, by geometry
alone: what the prompt asks for is read from its words (`got_r1.plan.reading`), and

    score = named * relation * apart        in [0, 1]

    named     an F1 of the asked objects and the planned ones of their kind, by likeness of names;
              further objects of other kinds cost nothing
    relation  1 where the asked relation holds between the boxes or none is asked, else 0.25
    apart     1 - the largest IoU of any two boxes; the two of which one is asked to be in front of
              the other are left out

A malformed chain scores 0; where the prompt cannot be read, only `apart` is left. (Our choice
throughout. arXiv 2608.21713 found the planner, not the drawing, to bound GoT-R1, and a check of the
plan with a geometric repair worth ten points.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from got_r1.errors import RunFailed, listed
from got_r1.plan.layout import DEPTH_RELATIONS, iou
from got_r1.plan.reading import PromptSpec, likeness, read
from got_r1.plan.repair import (
    Repair,
    asked_relation_holds,
    asked_relation_is_undecided,
    planned_objects,
    related_pair,
    repair,
)
from got_r1.records import Chain, Prompt

__all__ = [
    "Decision",
    "PlanScore",
    "Planner",
    "ScorePlans",
    "explain_choice",
    "score_by_geometry",
]

CONTRADICTED = 0.25  # `relation` where the asked one does not hold: still better than no object


@dataclass(frozen=True, slots=True)
class PlanScore:
    """How good a plan is. `total`: None where the judge failed; `terms` by name; why, in words."""

    total: float | None
    terms: Mapping[str, float] = field(default_factory=dict)
    evidence: str = ""


ScorePlans = Callable[[Sequence[Prompt], Sequence[Chain]], list[PlanScore]]
"""Scores plans, each beside the prompt that it was written for: `got_r1.rewards.plan_scorer`."""


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
    def is_repaired(self) -> bool:
        """Whether what is drawn differs from what was written."""
        return self.repair is not None and self.repair.repaired

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
                "repaired": self.repair.repaired,
                "reason": self.repair.reason,
                "distance": self.repair.distance,
                "written": self.plans[self.chosen].text,
            }
        return found


@dataclass(frozen=True, slots=True)
class Planner:
    """Decides what is drawn, from `plans` chains for each sample.

    `score` scores them; geometry does where it is None. `repair` repairs the one that is chosen,
    in steps of the image's tokens, `grid` a side, by a `margin` (`repair.repair_layout`).
    """

    plans: int = 1
    score: ScorePlans | None = None
    repair: bool = False
    grid: int = 24
    margin: float = 0.0

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
            repaired = (
                repair(prompt, plans[chosen], self.grid, self.margin) if self.repair else None
            )
            decisions.append(Decision(tuple(plans), tuple(some), chosen, repaired))
        return decisions

    def _score(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[Chain]]
    ) -> list[list[PlanScore]]:
        """The scores of each sample's candidates; all queries in one batch."""
        owners = [prompt for prompt, plans in zip(prompts, candidates, strict=True) for _ in plans]
        every = [plan for plans in candidates for plan in plans]
        if self.score is None:
            asked = {prompt.text: read(prompt.text) for prompt in prompts}
            scores = [
                score_by_geometry(asked[owner.text], plan)
                for owner, plan in zip(owners, every, strict=True)
            ]
        else:
            scores = self.score(owners, every)
        rest: Iterator[PlanScore] = iter(scores)
        return [[next(rest) for _ in plans] for plans in candidates]


def _best(prompt: Prompt, scores: Sequence[PlanScore]) -> int:
    totals = [-1.0 if score.total is None else score.total for score in scores]
    best = int(np.argmax(totals))
    if scores[best].total is None:
        raise RunFailed(
            f"the judge could score none of the {len(scores)} plans for {prompt.text[:60]!r} "
            f"({scores[0].evidence}); fix the judge and go on with --resume, or leave out --judge "
            "to choose by geometry."
        )
    return best


# -- scores --------------------------------------------------------------------------------------


def score_by_geometry(asked: PromptSpec | None, plan: Chain) -> PlanScore:
    """The score of a plan from its boxes and names alone (see the top of this file)."""
    if plan.problems:
        return PlanScore(0.0, {}, f"malformed chain: {', '.join(plan.problems)}")
    boxes = [planned.box for planned in plan.objects]
    pairs_of_boxes = combinations(range(len(boxes)), 2)
    covering = _covering_pair(asked, plan)
    overlaps = [iou(boxes[i], boxes[j]) for i, j in pairs_of_boxes if {i, j} != covering]
    terms = {"apart": 1.0 - max(overlaps, default=0.0)}
    evidence = ["the prompt could not be read"]
    if asked is not None:
        pairs = planned_objects(asked, plan)
        names = [planned.name for planned in plan.objects]
        alike = sum(likeness(asked.singles[i], names[j]) for i, j in pairs.items())
        kin = sum(any(likeness(one, name) for one in asked.singles) for name in names)
        terms["named"] = 2 * alike / (len(asked.singles) + kin)
        evidence = [f"{len(pairs)} of {len(asked.singles)} asked objects are planned"]
        if asked.relation is not None:
            holds = asked_relation_holds(asked, plan)
            terms["relation"] = 1.0 if holds else CONTRADICTED
            evidence.append(f"{asked.relation!r} {'holds' if holds else 'does not hold'}")
            if asked_relation_is_undecided(asked, plan):
                evidence.append("no depth is planned, so it cannot be decided")
    if terms["apart"] < 1:
        evidence.append("boxes overlap")
    return PlanScore(float(np.prod(list(terms.values()))), terms, "; ".join(evidence))


def _covering_pair(asked: PromptSpec | None, plan: Chain) -> set[int]:
    """The two planned objects of which one is asked to cover the other; none without such."""
    if asked is None or asked.relation not in DEPTH_RELATIONS:
        return set()
    return set(related_pair(asked, plan) or ())


# -- in words ------------------------------------------------------------------------------------


def explain_choice(record: Mapping[str, Any]) -> str:
    """From a sample's record, which of several plans was drawn and why, and what was repaired;
    empty where there was nothing to choose or repair."""
    parts = []
    plans, drawn, repaired = (record.get(key) for key in ("plans", "drawn_plan", "repair"))
    if isinstance(plans, list) and isinstance(drawn, int) and 0 <= drawn < len(plans):
        entries = [plan if isinstance(plan, dict) else {} for plan in plans]
        scores = [_in_words(entry.get("score")) for entry in entries]
        best = scores.pop(drawn)
        others = f"; the others' {listed(scores)}" if scores else ""
        parts.append(
            f"plan {drawn + 1} of {len(plans)} was drawn, with a score of {best} "
            f"({entries[drawn].get('evidence')}{others})"
        )
    if isinstance(repaired, dict):
        distance = _in_words(repaired.get("distance"), 0)
        moved = f", so boxes moved by {distance} thousandths" if repaired.get("repaired") else ""
        done = "repaired" if repaired.get("repaired") else "not repaired"
        parts.append(f"{done}: {repaired.get('reason')}{moved}")
    return "; ".join(parts)


def _in_words(score: object, digits: int = 2) -> str:
    return f"{score:.{digits}f}" if isinstance(score, int | float) else "none"

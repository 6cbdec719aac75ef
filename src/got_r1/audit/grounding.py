"""How well a judge finds what is there: its boxes against the true ones.

R_RI compares found boxes with *planned* ones, and so cannot tell a judge that looks from one that
repeats the plan. Here found boxes meet the truth, in pictures that follow their plan and in
pictures that do not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from got_r1.audit.asking import Answers
from got_r1.audit.cases import Suite, SuiteQuery
from got_r1.plan.layout import gap, iou, match_boxes
from got_r1.records import Box, GroundingQuery, Verdict
from got_r1.statistics import Estimate, mean

__all__ = ["Grounding", "measure_grounding"]

_ASTRAY = 0.5  # IoU of two boxes from which on they are about the same place


@dataclass(frozen=True, slots=True)
class Grounding:
    """Found boxes against true ones.

    `iou`: mean over the planned objects that are in the picture; one not found counts 0.
    `missed`: share of them without any found box. `invented`: share found of the planned objects
    that are *not* in the picture. `follows_plan`: of objects that lie elsewhere than planned, the
    share found there where it was planned. `by_size` (side as a share of the picture's),
    `by_overlap` (IoU of plan and truth), `by_neighbour` (gap to the next object): the IoU in parts.
    """

    iou: Estimate
    missed: Estimate
    invented: Estimate
    follows_plan: Estimate
    by_size: dict[str, Estimate]
    by_overlap: dict[str, Estimate]
    by_neighbour: dict[str, Estimate]


class _Table:
    """Values with their items, under names."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = defaultdict(list)
        self.items: dict[str, list[int]] = defaultdict(list)

    def add(self, name: str, value: float, item: int) -> None:
        self.values[name].append(value)
        self.items[name].append(item)

    def mean(self, name: str) -> Estimate:
        return mean(self.values[name], self.items[name])

    def under(self, group: str) -> dict[str, Estimate]:
        names = sorted(name for name in self.values if name.startswith(f"{group}:"))
        return {name.partition(":")[2]: self.mean(name) for name in names}


def measure_grounding(suite: Suite, answers: Answers) -> Grounding:
    """The measures over the grounding queries of pairs, variations and curves that were answered:
    not over those in which nothing that is asked for is there."""
    table = _Table()
    compared = {index for pair in suite.pairs for index in (pair.better, pair.worse)}
    compared |= {index for one in suite.variations for index in (one.base, one.changed)}
    compared |= {index for curve in suite.curves for index in curve.queries}
    for index in sorted(compared):
        one, verdict = suite.queries[index], answers.verdicts[index]
        if isinstance(one.query, GroundingQuery) and isinstance(verdict, Verdict):
            _count(table, one, one.query, verdict)
    return Grounding(
        iou=table.mean("iou"),
        missed=table.mean("missed"),
        invented=table.mean("invented"),
        follows_plan=table.mean("follows"),
        by_size=table.under("size"),
        by_overlap=table.under("overlap"),
        by_neighbour=table.under("neighbour"),
    )


def _count(table: _Table, one: SuiteQuery, query: GroundingQuery, verdict: Verdict) -> None:
    everything = [item.box for item in one.truth]
    for name in dict.fromkeys(planned.name for planned in query.chain.objects):
        planned = [o.box for o in query.chain.objects if o.name == name]
        true = [o.box for o in one.truth if o.name == name]
        found = [o.box for o in verdict.found if o.name == name]
        partners = dict(match_boxes(true, found))
        plans = dict(match_boxes(true, planned))
        for index, box in enumerate(true):
            hit = iou(box, found[partners[index]]) if index in partners else 0.0
            overlap = iou(box, planned[plans[index]]) if index in plans else 0.0
            table.add("iou", hit, one.item)
            table.add(f"size:{_size(box)}", hit, one.item)
            table.add(f"overlap:{_overlap(overlap)}", hit, one.item)
            if len(everything) > 1:
                table.add(f"neighbour:{_neighbour(box, everything)}", hit, one.item)
        lost = len(planned) - len(true)
        for index in range(len(true)):
            table.add("missed", float(index >= len(found)), one.item)
        for index in range(max(0, lost)):
            table.add("invented", float(index < len(found) - len(true)), one.item)
        if len(planned) == len(true) == 1 and found and iou(planned[0], true[0]) < _ASTRAY:
            to_plan = max(iou(box, planned[0]) for box in found)
            to_truth = max(iou(box, true[0]) for box in found)
            table.add("follows", float(to_plan > max(to_truth, _ASTRAY)), one.item)


def _size(box: Box) -> str:
    share = max(box.x2 - box.x1, box.y2 - box.y1) / 1000
    return f"{100 * share:.0f}% of the side"


def _overlap(value: float) -> str:
    if value >= 0.9:
        return "as planned"
    return "half beside" if value >= 0.25 else "elsewhere"


def _neighbour(box: Box, everything: Sequence[Box]) -> str:
    nearest = min(gap(box, other) for other in everything if other != box)
    return f"gap {nearest // 100 * 10}%" if nearest < 300 else "gap 30% or more"

"""What the pages show of a plan: text and boxes, two views of one thing, and what holds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from got_r1.errors import BadInput
from got_r1.files.sample_files import named_box
from got_r1.icons.words import alike, plan_doubts
from got_r1.plan.chain import find_problems, parse
from got_r1.plan.differences import chain_faults, differences
from got_r1.plan.editing import Plan, plan_of_chain, read_objects
from got_r1.plan.layout import DEPTH_RELATIONS, RELATIONS, iou, relation_holds
from got_r1.plan.reading import likeness, read
from got_r1.plan.reasons import partners
from got_r1.plan.wordings import RELATION_WORDS
from got_r1.records import Chain, FoundObject, PlannedObject

__all__ = ["found_boxes", "plan_changes", "plan_from_boxes", "view_plan"]


def view_plan(prompt: str, text: str, *, world: bool, marks: bool = False) -> dict[str, Any]:
    """A chain as text, objects and words; `world`: whether it is of the icon world; `marks`:
    whether its boxes may carry depth and time.

    `problems` are the chain's, each with the place in the text where it begins; `pairs` what holds
    between two boxes; `faults` where the plan is not what the prompt asks for, as far as that can
    be read (`read`).
    """
    chain = parse(text, marks=marks)
    problems = find_problems(chain.text, marks=marks)
    asked = read(prompt)
    faults = [*chain_faults(chain), *(plan_doubts(chain.objects) if world else ())]
    if asked is not None and chain.objects:
        like = alike if world else likeness
        faults += differences(asked, chain.objects, alike=like, complete=world)
    return {
        "chain": chain.text,
        "objects": [named_box(planned) for planned in chain.objects],
        "prose": plan_of_chain(chain).prose if not chain.problems else "",
        "problems": [{"what": str(what), "at": at} for what, at in problems],
        "pairs": _pairs(chain.objects),
        "faults": list(dict.fromkeys(faults)),
        "read": asked is not None,
    }


def plan_from_boxes(
    prompt: str,
    prose: str,
    objects: Sequence[Mapping[str, Any]],
    *,
    world: bool,
    marks: bool = False,
) -> dict[str, Any]:
    """`view_plan` of objects that a person has placed, with prose around them (empty: made from
    the prompt). Raises BadInput for boxes or prose that make no plan."""
    planned = read_objects([dict(one) for one in objects], "the plan")
    try:
        text = Plan(planned, prose, prompt).chain.text
    except BadInput:
        if not prose:
            raise
        text = Plan(planned, "", prompt).chain.text  # the prose names an object that is gone
    return view_plan(prompt, text, world=world, marks=marks)


def plan_changes(first: Sequence[PlannedObject], second: Sequence[PlannedObject]) -> list[str]:
    """Where two plans of one prompt differ, in phrases: objects that one of them lacks, and boxes
    that are not the same, with their IoU."""
    others = [FoundObject(one.name, one.box) for one in second]
    at = partners(first, others)
    there = {place for place, _ in at.values()}
    lost = [f"only in the first plan: {one.name}" for i, one in enumerate(first) if i not in at]
    new = [f"only in the second plan: {one.name}" for j, one in enumerate(second) if j not in there]
    moved = [
        f"{first[i].name}: IoU of the two boxes {overlap:.2f}"
        for i, (j, overlap) in sorted(at.items())
        if first[i].box != second[j].box
    ]
    return [*lost, *new, *moved]


def found_boxes(chain: Chain, found: Sequence[FoundObject]) -> list[dict[str, Any]]:
    """Found objects ready for JSON, each with the `iou` of its box and the planned one that it
    belongs to (`partners`), if there is one."""
    at = dict(partners(chain.objects, found).values())
    ious = [{"iou": round(at[j], 3)} if j in at else {} for j in range(len(found))]
    return [named_box(one) | more for one, more in zip(found, ious, strict=True)]


def _pairs(objects: Sequence[PlannedObject]) -> list[dict[str, Any]]:
    """What holds between every two objects, said of the first: its words, and the overlap."""
    found = []
    for (i, one), (j, other) in combinations(enumerate(objects), 2):
        known = (*RELATIONS, *DEPTH_RELATIONS)
        holding = [name for name in known if relation_holds(name, one.box, other.box)]
        found.append(
            {
                "of": [i, j],
                "relations": [RELATION_WORDS[name][0] for name in holding],
                "iou": round(iou(one.box, other.box), 3),
            }
        )
    return found

"""The icon world's benchmark: is the plan right, is the image right, and does it show the plan?

Measured by `icons.truth` on the parsed plan and on the icons that `icons.detect` finds, without a
reward in between: a reward that rises can hide an accuracy that falls.

    plan_relation     the asked relation holds between the planned boxes, and so does all else
                      that the prompt asks of the layout
    image_relation    ... between the objects found in the image
    realised          ... in the image, over the prompts whose plan is right about it: what the
                      drawing loses of the planning
    plan_attributes   every asked object is planned, with the right noun, colour and fill
    attributes        ... is found in the image
    plan_count        numbers as asked: no object missing, no further one of an asked noun
    count             ... in the image
    iou               mean IoU of the planned boxes and the boxes found for them (R_RI)
    well_formed       the chain has no problems

All are strict (our choice): a relation is right only between objects that are right themselves, and
a malformed chain is wrong in every measure of the plan, its IoU included. Relations are measured
over prompts that ask for one, counts over prompts with a number above one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from got_r1.benchmarks.base import ImageLayout, Row, Sample
from got_r1.errors import BadInput
from got_r1.files.sample_files import SampleFiles
from got_r1.icons.detect import detect
from got_r1.icons.layouts import layout_prompts, parse
from got_r1.icons.prompts import prompt_list
from got_r1.icons.splits import Split
from got_r1.icons.truth import image_truth, plan_truth
from got_r1.judges.oracle import OracleJudge
from got_r1.plan.layout import DEPTH_RELATIONS
from got_r1.records import GroundingQuery, Prompt, Verdict
from got_r1.rewards import mean_iou

__all__ = ["IconsBenchmark"]


class IconsBenchmark:
    """A `Benchmark` over the prompt lists of the icon world: the one of single relations, or with
    `layouts` the one of `icons.layouts`, named "icons-layouts"."""

    size = 500
    images_per_prompt = 1
    reads_chains = True
    averages: Mapping[str, Sequence[str]] = {}

    def __init__(self, *, layouts: bool = False) -> None:
        self.layouts_only = layouts
        self.name = "icons-layouts" if layouts else "icons"

    def prompts(self, split: str, n: int, seed: int = 0) -> list[Prompt]:
        """`n` prompts of a split, the categories in turn.

        Raises `BadInput` for an unknown split, or for more prompts than the split holds.
        """
        if split not in get_args(Split):
            raise BadInput(f"the icon world has no split {split!r}: use 'dev' or 'val'")
        listed = layout_prompts if self.layouts_only else prompt_list
        return listed(cast(Split, split), n, seed)

    def layouts(
        self, folder: Path, prompts: Sequence[Prompt], images_per_prompt: int
    ) -> list[ImageLayout]:
        """Numbered images beside their records, in one folder."""
        return [ImageLayout(SampleFiles(folder), tuple(prompts))]

    def score(self, samples: Sequence[Sample]) -> list[Row]:
        """One row a sample. Raises `BadInput` for a prompt that is not of the icon world."""
        return [_row(sample) for sample in samples]

    def scorers(self) -> dict[str, str]:
        """The world's own detector, which is right by construction."""
        return {}

    def deviations(self, made: Mapping[str, Any]) -> dict[str, list[str]]:
        """None: nothing is published that could be confused with these numbers."""
        return {}


def _row(sample: Sample) -> Row:
    meaning = parse(sample.prompt.text)
    if meaning is None:
        raise BadInput(
            f"the prompt {sample.prompt.text!r} is not a sentence of the icon world: "
            "score it with another benchmark"
        )
    plan = plan_truth(meaning, sample.chain)
    overlaps = meaning.relation in DEPTH_RELATIONS
    image = image_truth(meaning, detect(sample.image, overlaps=overlaps))
    return {
        "plan_relation": _number(plan.relation),
        "image_relation": _number(image.relation),
        "realised": _number(image.relation) if plan.relation else None,
        "plan_attributes": float(plan.objects),
        "attributes": float(image.attributes),
        "plan_count": _number(plan.count),
        "count": _number(image.count),
        "iou": _iou(sample),
        "well_formed": float(not sample.chain.problems),
    }


def _number(truth: bool | None) -> float | None:
    return None if truth is None else float(truth)


def _iou(sample: Sample) -> float:
    """The reward's own measure of the image against its plan, from the same grounding."""
    if sample.chain.problems:
        return 0.0
    (answer,) = OracleJudge().judge([GroundingQuery(sample.chain, sample.image)])
    assert isinstance(answer, Verdict)  # grounding reads no prompt, so the oracle always answers
    return mean_iou(sample.chain, answer.found)

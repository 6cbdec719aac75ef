"""What can be known of prompts and images without a judge: what is not understood, and what is not
as asked.

A model draws something from any text. In the icon world everything can be checked, by its own
grammar and detector; elsewhere what `plan.reading` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from got_r1.errors import quoted
from got_r1.files.sample_files import named_box
from got_r1.plan.chain import parse
from got_r1.plan.editing import plan_of_chain
from got_r1.plan.layout import in_depth
from got_r1.plan.reasons import partners
from got_r1.records import (
    Box,
    Chain,
    FoundObject,
    GroundingQuery,
    PlannedObject,
    Prompt,
    Verdict,
)

if TYPE_CHECKING:
    from got_r1.policy.janus import Policy
    from got_r1.sampling import Drawing

__all__ = ["Checks", "Finder", "checks_of", "load_finder", "unread_prompts"]

Finder = Callable[[Chain, NDArray[np.uint8]], tuple[FoundObject, ...]]
"""The planned objects of a chain as they are found in its image, uint8 [height, width, 3]."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What can be said of a model's prompts and images; `world`: of the icon world. `finder`: who
    finds the planned objects in an image, where the user named somebody. `marks`: its boxes may
    carry depths, so that one icon may cover another."""

    world: bool
    finder: Finder | None = None
    marks: bool = False

    @property
    def spoken(self) -> Callable[[str], str] | None:
        """How a prompt is worded for the model; None: as it is."""
        if not self.world:
            return None
        from got_r1.icons.words import spoken

        return partial(spoken, depth=self.marks)

    def doubts(self, prompts: Sequence[Prompt]) -> dict[str, tuple[str, ...]]:
        """What is not understood, by prompt; those that are understood are left out."""
        if not self.world:
            return {}
        from got_r1.icons.words import doubts

        found = {prompt.text: doubts(prompt.text, self.marks) for prompt in prompts}
        return {text: reasons for text, reasons in found.items() if reasons}

    def reworded(self, prompts: Sequence[Prompt]) -> list[str]:
        """Which prompts the model gets in other words than theirs, in sentences."""
        if not self.world:
            return []
        from got_r1.icons.words import folded, spoken

        told = {prompt.text: spoken(prompt.text, self.marks) for prompt in prompts}
        return [
            f"the prompt {quoted(text)} is drawn as {words!r}, the words of the training."
            for text, words in told.items()
            if words != folded(text)
        ]

    def fitted(self, chain_text: str) -> tuple[str, list[str]]:
        """A given chain as the model can draw it, and what was changed for that, in sentences.

        The icon world's models saw names in lower case and boxes on the grid of tokens, and no
        others. Raises BadInput where two objects become one.
        """
        if not self.world:
            return chain_text, []
        from got_r1.icons.words import fold_name, snap

        plan, told = plan_of_chain(parse(chain_text, marks=True)), []
        for index, planned in enumerate(plan.objects):
            name, box = fold_name(planned.name), snap(planned.box)
            if name != planned.name:
                told.append(f"the planned {planned.name!r} is drawn as {name!r}.")
            if box != planned.box:
                told.append(
                    f"the box of {name!r}, {corners(planned.box)}, was moved to {corners(box)}, on "
                    "the grid that the icon world is drawn on."
                )
            plan = plan.with_object(index, PlannedObject(name, box))
        return (plan.chain.text if told else chain_text), told

    def look(self, drawing: Drawing) -> dict[str, Any]:
        """What a sample's record says of it: `not_understood`, `faults`, `found` and `iou`.

        `faults` names what is wrong with chain, plan and image in phrases. In the icon world,
        `found` holds the objects of the image and `not_understood` what the prompt has beyond it.
        Elsewhere `found` is what the `finder` finds of the planned objects, if there is one. `iou`
        has for each planned object the IoU of its box with the one found under its name, or None.
        """
        said = self._look(drawing)
        if self.finder is not None:
            said["found"] = list(map(named_box, self.finder(drawing.chain, drawing.image)))
        if "found" in said:
            found = [FoundObject(one["name"], Box(*one["box"])) for one in said["found"]]
            at = partners(drawing.chain.objects, found)
            said["iou"] = [at[i][1] if i in at else None for i in range(len(drawing.chain.objects))]
        return said

    def _look(self, drawing: Drawing) -> dict[str, Any]:
        from got_r1.plan.differences import chain_faults, differences
        from got_r1.plan.reading import read

        asked, chain = read(drawing.prompt.text), drawing.chain
        cut = ["the chain was cut at its limit of tokens"] if drawing.stop == "length" else []
        faults = [*cut, *chain_faults(chain)]
        if not self.world:
            if asked is not None:
                faults += differences(asked, chain.objects)
            return {"faults": faults}

        from got_r1.icons.detect import detect
        from got_r1.icons.words import alike, doubts, plan_doubts

        # As the oracle does for R_RI: nothing covers anything where no plan says so.
        overlaps = in_depth(one.box for one in chain.objects)
        icons = [
            PlannedObject(icon.name, icon.box) for icon in detect(drawing.image, overlaps=overlaps)
        ]
        faults += plan_doubts(chain.objects)
        if asked is not None:
            faults += differences(asked, chain.objects, alike=alike, complete=True)
            faults += differences(asked, icons, done="drawn", alike=alike, complete=True)
        found = [named_box(FoundObject(icon.name, icon.box)) for icon in icons]
        unclear = {"not_understood": list(doubts(drawing.prompt.text, self.marks))}
        return {**unclear, "faults": faults, "found": found}


def checks_of(policy: Policy, finder: Finder | None = None, marks: bool = False) -> Checks:
    """The checks for a model: whether it draws the icon world is told by the size of its images."""
    from got_r1.icons.words import is_world

    world = is_world(policy.model.config.vision_config.image_size, policy.grid)
    return Checks(world, finder, marks)


def load_finder(named: str, device: str) -> Finder:
    """The detector KIND:MODEL, as a finder. Raises BadInput where it cannot be loaded, or knows
    only classes of its own."""
    from got_r1.judges.experts import ExpertsJudge
    from got_r1.judges.settings import ExpertsSettings
    from got_r1.vision.settings import detector_named

    experts = ExpertsJudge(ExpertsSettings(detector=detector_named(named, device)))
    _ = experts.detector  # loaded now: a wrong name should not wait for a model and its images

    def find(chain: Chain, image: NDArray[np.uint8]) -> tuple[FoundObject, ...]:
        (answer,) = experts.judge([GroundingQuery(chain, image)])
        assert isinstance(answer, Verdict)  # the experts answer every grounding
        return answer.found

    return find


def unread_prompts(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts that `plan.reading` cannot read."""
    from got_r1.plan.reading import read

    return [prompt for prompt in prompts if read(prompt.text) is None]


def corners(box: Box) -> str:
    return f"{box.x1},{box.y1},{box.x2},{box.y2}"

"""What can be known of prompts and images without a judge: what is not understood, and what is not
as asked.

A model draws something from any text. In the icon world everything can be checked, by its own
grammar and detector; elsewhere what `plan.reading` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from got_r1.files.sample_files import named_box
from got_r1.plan.chain import parse
from got_r1.plan.editing import plan_of_chain
from got_r1.records import Box, FoundObject, PlannedObject, Prompt

if TYPE_CHECKING:
    from got_r1.policy.janus import Policy
    from got_r1.sampling import Drawing

__all__ = ["Checks", "checks_of", "unread_prompts"]


@dataclass(frozen=True, slots=True)
class Checks:
    """What can be said of a model's prompts and images; `world`: of the icon world."""

    world: bool

    @property
    def spoken(self) -> Callable[[str], str] | None:
        """How a prompt is worded for the model; None: as it is."""
        if not self.world:
            return None
        from got_r1.icons.words import spoken

        return spoken

    def doubts(self, prompts: Sequence[Prompt]) -> dict[str, tuple[str, ...]]:
        """What is not understood, by prompt; those that are understood are left out."""
        if not self.world:
            return {}
        from got_r1.icons.words import doubts

        found = {prompt.text: doubts(prompt.text) for prompt in prompts}
        return {text: reasons for text, reasons in found.items() if reasons}

    def reworded(self, prompts: Sequence[Prompt]) -> list[str]:
        """Which prompts the model gets in other words than theirs, in sentences."""
        if not self.world:
            return []
        from got_r1.icons.words import folded, spoken

        texts = dict.fromkeys(prompt.text for prompt in prompts)
        return [
            f"the prompt {text[:60]!r} is drawn as {spoken(text)!r}, the words of the training."
            for text in texts
            if spoken(text) != folded(text)
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
        """What a sample's record says of it: `not_understood`, `faults` and `found`.

        `faults` names what is wrong with chain, plan and image in phrases. In the icon world,
        `found` holds the objects of the image and `not_understood` what the prompt has beyond it.
        """
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

        icons = [PlannedObject(icon.name, icon.box) for icon in detect(drawing.image)]
        faults += plan_doubts(chain.objects)
        if asked is not None:
            faults += differences(asked, chain.objects, alike=alike, complete=True)
            faults += differences(asked, icons, done="drawn", alike=alike, complete=True)
        found = [named_box(FoundObject(icon.name, icon.box)) for icon in icons]
        unclear = {"not_understood": list(doubts(drawing.prompt.text))}
        return {**unclear, "faults": faults, "found": found}


def checks_of(policy: Policy) -> Checks:
    """The checks for a model: whether it draws the icon world is told by the size of its images."""
    from got_r1.icons.words import is_world

    return Checks(is_world(policy.model.config.vision_config.image_size, policy.grid))


def unread_prompts(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts that `plan.reading` cannot read."""
    from got_r1.plan.reading import read

    return [prompt for prompt in prompts if read(prompt.text) is None]


def corners(box: Box) -> str:
    return f"{box.x1},{box.y1},{box.x2},{box.y2}"

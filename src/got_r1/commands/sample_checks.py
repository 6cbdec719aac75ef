"""What `sample` says of its prompts and images: what was not understood, and what is not as asked.

A model draws something from any text. Here its command learns what can be known without a judge:
in the icon world everything, by its own grammar and detector; elsewhere what `plan.reading` reads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from got_r1.errors import BadInput, RunFailed
from got_r1.files.inputs import read_json
from got_r1.files.sample_files import named_box
from got_r1.plan.chain import parse
from got_r1.plan.editing import plan_of_chain
from got_r1.plan.planning import explain_choice
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
    import numpy as np

    from got_r1.policy.janus import Policy
    from got_r1.sampling import Drawing

__all__ = [
    "Checks",
    "Finder",
    "checks_of",
    "load_finder",
    "read_record",
    "refuse_faults",
    "tell",
    "tell_pictures",
    "unread_prompts",
]

Finder = Callable[[Chain, "np.ndarray"], tuple[FoundObject, ...]]
"""The planned objects of a chain as they are found in its image, uint8 [height, width, 3]."""

MOST_LINES = 20  # on stderr, of each kind; the files hold all of them


@dataclass(frozen=True, slots=True)
class Checks:
    """What can be said of a model's prompts and images; `world`: of the icon world. `finder`: who
    finds the planned objects in an image, where the user named somebody."""

    world: bool
    finder: Finder | None = None

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

    def tell_doubts(self, prompts: Sequence[Prompt], strict: bool) -> dict[str, tuple[str, ...]]:
        """Says on stderr what is not understood, and returns it.

        Raises BadInput instead where `strict`; elsewhere than in the icon world, for prompts whose
        plans cannot be compared with them.
        """
        found = self.doubts(prompts)
        lines = [f"the prompt {text[:60]!r}: {'; '.join(why)}" for text, why in found.items()]
        if strict and lines:
            raise BadInput(
                f"{lines[0]}{more(lines)}; reword it (got-r1 sample --help lists the words), or "
                "leave out --strict to draw what the model makes of it."
            )
        unread = unread_prompts(prompts)
        if strict and unread:
            raise BadInput(
                f"the prompt {unread[0].text[:60]!r}{more(unread)} could not be read as objects "
                "and a relation, so that no plan can be compared with it; reword it, or leave out "
                "--strict."
            )
        tell([f"{line}; the image may show anything." for line in lines])
        tell(self.reworded(prompts))
        return found

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

        icons = [PlannedObject(icon.name, icon.box) for icon in detect(drawing.image)]
        faults += plan_doubts(chain.objects)
        if asked is not None:
            faults += differences(asked, chain.objects, alike=alike, complete=True)
            faults += differences(asked, icons, done="drawn", alike=alike, complete=True)
        found = [named_box(FoundObject(icon.name, icon.box)) for icon in icons]
        unclear = {"not_understood": list(doubts(drawing.prompt.text))}
        return {**unclear, "faults": faults, "found": found}


def checks_of(policy: Policy, finder: Finder | None = None) -> Checks:
    """The checks for a model: whether it draws the icon world is told by the size of its images."""
    from got_r1.icons.words import is_world

    return Checks(is_world(policy.model.config.vision_config.image_size, policy.grid), finder)


def load_finder(named: str, device: str) -> Finder:
    """The detector KIND:MODEL, as a finder. Raises BadInput where it cannot be loaded, or knows
    only classes of its own."""
    from got_r1.judges.experts import ExpertsJudge
    from got_r1.judges.settings import ExpertsSettings
    from got_r1.vision.settings import detector_named

    experts = ExpertsJudge(ExpertsSettings(detector=detector_named(named, device)))
    _ = experts.detector  # loaded now: a wrong name should not wait for a model and its images

    def find(chain: Chain, image: np.ndarray) -> tuple[FoundObject, ...]:
        (answer,) = experts.judge([GroundingQuery(chain, image)])
        assert isinstance(answer, Verdict)  # the experts answer every grounding
        return answer.found

    return find


def unread_prompts(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts that `plan.reading` cannot read."""
    from got_r1.plan.reading import read

    return [prompt for prompt in prompts if read(prompt.text) is None]


# -- telling ---------------------------------------------------------------------------------------


def read_record(path: Path) -> dict[str, Any]:
    """A sample's record; one that cannot be read is a fault of the sample, and no end."""
    try:
        return read_json(path, "record")
    except BadInput as error:
        return {"faults": [str(error).removesuffix(".")]}


def tell_pictures(
    images: Sequence[Path], records: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A line on stderr for every image that is not as asked, and for every choice among plans.

    Returns the same for the command's JSON, with what was found in each image.
    """
    told = []
    for image, record in zip(images, records, strict=True):
        one: dict[str, Any] = {"file": str(image), "faults": faults_of(record)}
        one |= {key: record[key] for key in ("found", "iou") if key in record}
        if choice := explain_choice(record):
            one["choice"] = choice
        told.append(one)
    tell([f"{Path(one['file']).name}: {one['choice']}." for one in told if "choice" in one])
    tell(
        [f"{Path(one['file']).name}: {'; '.join(one['faults'])}." for one in told if one["faults"]]
    )
    return told


def faults_of(record: Mapping[str, Any]) -> list[str]:
    """A record's faults; of an older one, which holds none, the problems of its chain."""
    faults, problems = record.get("faults"), record.get("problems")
    if isinstance(faults, list):
        return [str(fault) for fault in faults]
    some = problems if isinstance(problems, list) else []
    return [f"malformed chain: {problem}" for problem in some]


def refuse_faults(told: Sequence[Mapping[str, Any]]) -> None:
    """Raises RunFailed where an image is not as asked: what `--strict` ends with."""
    faulty = [one for one in told if one["faults"]]
    if faulty:
        raise RunFailed(
            f"{len(faulty)} of {len(told)} images are not as asked (--strict); their records name "
            "why, and another --seed, --plans or --repair may give better ones."
        )


def corners(box: Box) -> str:
    return f"{box.x1},{box.y1},{box.x2},{box.y2}"


def more(some: Sequence[object]) -> str:
    """How many there are beside the first, to stand behind it."""
    return f" (and {len(some) - 1} more)" if len(some) > 1 else ""


def tell(lines: Sequence[str]) -> None:
    """Lines on stderr, the first `MOST_LINES` of them."""
    for line in lines[:MOST_LINES]:
        # Names come from a model: nothing that moves a terminal's cursor.
        plain = "".join(sign if sign.isprintable() else "\ufffd" for sign in " ".join(line.split()))
        print(plain, file=sys.stderr)  # noqa: T201
    if len(lines) > MOST_LINES:
        rest = len(lines) - MOST_LINES
        print(f"... and {rest} more such lines; the records hold them.", file=sys.stderr)  # noqa: T201

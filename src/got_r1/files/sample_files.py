"""A folder of samples on disk: what its files are called, and the arguments it was drawn with.

    numbered     000.png and 000.json, 001.png ...          the image and its record
    compbench    samples/<prompt>_000000.png ...            as T2I-CompBench's scripts expect them
                 records/000000.json ...
    sampling.yaml                                           the arguments, in either layout

The image is written before its record: where there is a record there is its image, so a folder
that was interrupted holds whole samples, and `--resume` draws the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from got_r1.errors import BadInput
from got_r1.files.atomic import write_bytes, write_text
from got_r1.files.parsing import parse_yaml
from got_r1.records import FoundObject, PlannedObject, Prompt

__all__ = ["ARGUMENTS", "LAYOUTS", "Layout", "SampleFiles", "named_box"]

Layout = Literal["numbered", "compbench"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

ARGUMENTS = "sampling.yaml"
# A file's name may have 255 bytes; "_000000.png" and what a partial file adds take 20.
LONGEST_NAME = 235


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """The files of a sample folder. Samples are numbered from 0 over the whole folder."""

    folder: Path
    layout: Layout = "numbered"

    def image(self, index: int, prompt: Prompt) -> Path:
        """Where an image lies."""
        if self.layout == "compbench":
            return self.folder / "samples" / f"{prompt.text}_{index:06d}.png"
        return self.folder / f"{index:03d}.png"

    def record(self, index: int) -> Path:
        """Where the record of an image lies; not among T2I-CompBench's images, which are all that
        its scripts bear in that folder."""
        if self.layout == "compbench":
            return self.folder / "records" / f"{index:06d}.json"
        return self.folder / f"{index:03d}.json"

    def is_finished(self, index: int, prompt: Prompt) -> bool:
        """Whether a sample is there, image and record."""
        return self.record(index).is_file() and self.image(index, prompt).is_file()

    def write(self, index: int, prompt: Prompt, png: bytes, record: Mapping[str, Any]) -> None:
        """Writes one sample, the record last."""
        write_bytes(self.image(index, prompt), png)
        write_text(self.record(index), json.dumps(record, indent=1, ensure_ascii=False))

    # -- before anything is drawn ------------------------------------------------------------------

    def check_prompts(self, prompts: Sequence[Prompt]) -> None:
        """Raises BadInput where a prompt cannot be in a file's name.

        T2I-CompBench's scripts read the prompt back from there, up to the first underscore, so
        writing it in another way would measure the image against another prompt.
        """
        if self.layout != "compbench":
            return
        faults = [(i, why) for i, p in enumerate(prompts, 1) if (why := name_fault(p.text))]
        if faults:
            number, why = faults[0]
            others = f" (so do {len(faults) - 1} others)" if len(faults) > 1 else ""
            raise BadInput(
                f"prompt {number}, {prompts[number - 1].text[:60]!r}, {why}{others} and cannot be "
                "a file name that T2I-CompBench reads the prompt from; reword it or leave out "
                "--layout compbench."
            )

    def check_folder(self, resume: bool) -> None:
        """Raises BadInput where drawing would overwrite something, or mix with something else."""
        folder = self.folder
        if not folder.exists():
            return
        held = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
        ours = ARGUMENTS in held
        if resume and not ours and held - {f".{ARGUMENTS}.partial"}:
            raise BadInput(
                f"{folder} has no {ARGUMENTS}, so got-r1 sample did not begin it and cannot "
                "resume it; choose another --out."
            )
        if held and not resume:
            remedy = "continue it with --resume or " if ours else ""
            raise BadInput(
                f"{folder} exists and is not an empty folder; {remedy}choose another --out."
            )

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Writes down what the folder is drawn with, or checks it against what is written there.

        Raises BadInput naming the first difference. Where the model lies does not count, its
        weights do.
        """
        path = self.folder / ARGUMENTS
        if not path.exists():
            write_text(path, yaml.safe_dump(dict(arguments), sort_keys=False, allow_unicode=True))
            return
        try:
            before = parse_yaml(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            before = None
        if not isinstance(before, dict):
            raise BadInput(f"{path} is damaged, so {self.folder} cannot be resumed; draw it anew.")
        for name in [*arguments, *before.keys() - arguments.keys()]:
            if name == "model":
                continue
            if name == "weights" and same_weights(before.get(name), arguments.get(name)):
                continue
            if before.get(name) != arguments.get(name):
                raise BadInput(
                    f"cannot resume {self.folder}: "
                    f"{difference(name, before.get(name), arguments.get(name))}; "
                    "give the same arguments or another --out."
                )


def named_box(item: PlannedObject | FoundObject) -> dict[str, object]:
    """An object as it is stored on disk: its name, its box as [x1, y1, x2, y2], and its depth and
    time where it has them."""
    box = item.box
    stored: dict[str, object] = {"name": item.name, "box": [box.x1, box.y1, box.x2, box.y2]}
    marks = {"depth": box.depth, "time": box.time}
    return stored | {name: mark for name, mark in marks.items() if mark is not None}


def name_fault(text: str) -> str:
    """What keeps a prompt from being a T2I-CompBench file name, or nothing."""
    if "/" in text:
        return "holds a slash"
    if "_" in text:
        return "holds an underscore"
    if not text.isprintable():
        return "holds a character that cannot be printed"
    if len(text.encode()) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} bytes"
    return ""


def same_weights(before: Any, now: Any) -> bool:
    """Whether two fingerprints (`weights.fingerprint`) are of the same weights. An older folder
    holds the first of the two digests alone, which is then all that can be compared."""
    return before in (now, str(now).partition("-")[0])


def difference(name: str, before: Any, now: Any) -> str:
    """In words: what an argument was and what it is."""
    if name == "weights":
        return "it was started with other weights than this model's"
    if name == "prompts" and isinstance(before, list) and len(before) == len(now):
        number, one, other = next(
            (i, a, b) for i, (a, b) in enumerate(zip(before, now, strict=True), 1) if a != b
        )
        return f"prompt {number} was {one!r}, now it is {other!r}"
    if name == "prompts":
        return f"it was started with {len(before or ())} prompts, now there are {len(now)}"
    option = f"--{name.replace('_', '-')}"
    return f"it was started with {option} {shown(before)}, now it is {shown(now)}"


def shown(value: Any) -> str:
    text = "(none)" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

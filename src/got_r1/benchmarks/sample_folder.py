"""A folder of samples made for a benchmark: one image a prompt, numbered, with a manifest.

    DIR/benchmark.json     benchmark, split, model, seed, guidance, and the prompts in order
    DIR/000.png, 000.json  the image and its record (prompt, chain text ...), 001.png ...

The manifest is written before the first image, so that an interrupted generation is noticed: a
folder is scored whole or not at all, never averaged over the images that happen to be there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from got_r1.atomic import write_text
from got_r1.benchmarks.base import Sample
from got_r1.chain import parse
from got_r1.errors import BadInput
from got_r1.inputs import read_image, read_json
from got_r1.records import Prompt

__all__ = ["Manifest", "read_manifest", "read_samples", "write_manifest"]

MANIFEST = "benchmark.json"
LISTED = 10  # faulty files named in an error before it says how many more


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder of samples should hold, and how it was made."""

    benchmark: str
    split: str
    model: str
    seed: int
    guidance: float
    prompts: tuple[Prompt, ...]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest; the folder is made where it is missing."""
    write_text(folder / MANIFEST, json.dumps(asdict(manifest), indent=1, ensure_ascii=False))


def read_manifest(folder: Path) -> Manifest:
    """The folder's manifest. Raises BadInput where there is none or it is not one of ours."""
    if not (folder / MANIFEST).is_file():
        raise BadInput(
            f"{folder} is no folder of samples (it has no {MANIFEST}); "
            "make one with got-r1 eval generate."
        )
    content = read_json(folder / MANIFEST, "manifest")
    try:
        prompts = tuple(Prompt(**prompt) for prompt in content.pop("prompts"))
        return Manifest(**content, prompts=prompts)
    except (KeyError, TypeError):
        raise BadInput(
            f"{folder / MANIFEST} was not written by this version of got-r1 eval generate; "
            "generate the samples again."
        ) from None


def read_samples(folder: Path, prompts: Sequence[Prompt]) -> list[Sample]:
    """The samples of a folder, one for each prompt, in order.

    Raises BadInput naming the images that are missing, unreadable or of another prompt.
    """
    samples: list[Sample] = []
    faults: list[str] = []
    for index, prompt in enumerate(prompts):
        name = f"{index:03d}"
        try:
            record = read_json(folder / f"{name}.json", "record")
            image = read_image(folder / f"{name}.png")
            if record.get("prompt") != prompt.text or not isinstance(record.get("chain"), str):
                raise BadInput("the record is of another prompt")
        except BadInput:
            missing = [end for end in (".png", ".json") if not (folder / (name + end)).is_file()]
            faults.append(f"{name}{missing[0]} (missing)" if missing else f"{name} (unreadable)")
            continue
        samples.append(Sample(prompt, parse(record["chain"]), image))
    if faults:
        more = f" and {len(faults) - LISTED} more" if len(faults) > LISTED else ""
        raise BadInput(
            f"{len(faults)} of the {len(prompts)} samples in {folder} cannot be scored: "
            f"{', '.join(faults[:LISTED])}{more}; generate the folder again."
        )
    return samples

"""A folder of samples made for a benchmark: its images, their records, and a manifest.

    DIR/benchmark.json     benchmark, split, model, seed, guidance, and the prompts in order
    DIR/...                images and records as the benchmark's layouts say:

    icons        000.png and 000.json, 001.png ...
    compbench    color/samples/<prompt>_000000.png and color/records/000000.json, shape/ ...
    geneval      00000/samples/0000.png, 00000/records/0000.json, 00000/metadata.jsonl

The manifest is written before the first image, so that an interrupted generation is noticed: a
folder is scored whole or not at all, never averaged over the images that happen to be there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import overload

from got_r1.benchmarks.base import ImageLayout, Sample
from got_r1.errors import BadInput, listed
from got_r1.files.atomic import write_text
from got_r1.files.inputs import read_image, read_json
from got_r1.plan.chain import parse
from got_r1.records import Chain, Prompt

__all__ = [
    "MANIFEST",
    "Manifest",
    "Place",
    "SampleFolder",
    "places",
    "read_manifest",
    "write_manifest",
]

MANIFEST = "benchmark.json"
LISTED = 10  # faulty files named in an error before it says how many more


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder of samples should hold, and how it was made.

    `data`: where the user's copy of the benchmark lay, for those that have one.
    """

    benchmark: str
    split: str
    model: str
    seed: int
    guidance: float
    prompts: tuple[Prompt, ...]
    images_per_prompt: int = 1
    data: str = ""


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


@dataclass(frozen=True, slots=True)
class Place:
    """Where one sample lies; `record` is None where there need be none."""

    prompt: Prompt
    image: Path
    record: Path | None


class SampleFolder(Sequence[Sample]):
    """The samples of a folder in order, each read when it is asked for.

    A benchmark can have more images than fit into memory, so opening the folder reads and checks
    them all one by one, and keeps none. Raises BadInput, with counts and names, for images that are
    missing, unreadable (half-written) or of another prompt, and for files among them that do not
    belong there: a wrong name or a number used twice would measure an image against another prompt.
    """

    def __init__(
        self,
        folder: Path,
        layouts: Sequence[ImageLayout],
        images_per_prompt: int = 1,
        *,
        with_chains: bool = True,
    ) -> None:
        self.folder = folder
        self.on_read: Callable[[int], None] | None = None
        """Told how many samples were read since this was set, for a progress display."""
        self._read = 0
        self._places = list(places(layouts, images_per_prompt, with_chains=with_chains))
        self._check(layouts)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        sample = self._sample(self._places[index])
        self._read += 1
        if self.on_read is not None:
            self.on_read(self._read)
        return sample

    def prompts(self) -> list[Prompt]:
        """The prompt of each sample, without reading the samples."""
        return [place.prompt for place in self._places]

    def names(self) -> list[str]:
        """The image of each sample, relative to the folder."""
        return [str(place.image.relative_to(self.folder)) for place in self._places]

    def _sample(self, place: Place) -> Sample:
        chain = Chain("")
        if place.record is not None and place.record.is_file():
            record = read_json(place.record, "record")
            if record.get("prompt") != place.prompt.text or not isinstance(
                record.get("chain"), str
            ):
                raise BadInput(f"{place.record} is of another prompt")
            chain = parse(record["chain"], marks=record.get("marks") is True)
        elif place.record is not None:
            raise BadInput(f"{place.record} is missing")
        name = str(place.image.relative_to(self.folder))
        return Sample(place.prompt, chain, read_image(place.image), name)

    def _check(self, layouts: Sequence[ImageLayout]) -> None:
        faults: list[str] = []
        for place in self._places:
            try:
                self._sample(place)
            except BadInput:
                files = [path for path in (place.image, place.record) if path is not None]
                missing = [path for path in files if not path.is_file()]
                faults.append(
                    f"{missing[0].relative_to(self.folder)} (missing)"
                    if missing
                    else f"{place.image.relative_to(self.folder).with_suffix('')} (unreadable)"
                )
        strays = list(self._strays(layouts))
        if faults:
            also = f"; {len(strays)} others do not belong there: {listed(strays, LISTED)}" * bool(
                strays
            )
            raise BadInput(
                f"{len(faults)} of the {len(self)} samples in {self.folder} cannot be scored: "
                f"{listed(faults, LISTED)}{also}; generate the folder again."
            )
        if strays:
            raise BadInput(
                f"{len(strays)} files in {self.folder} do not belong to the benchmark's images: "
                f"{listed(strays, LISTED)}; move them elsewhere."
            )

    def _strays(self, layouts: Iterable[ImageLayout]) -> Iterable[str]:
        """Files where only images may be, that are none of the expected ones, with what is wrong
        about them. Hidden files are left alone: a killed process can leave a partial one."""
        expected = {place.image for place in self._places}
        numbers = {(path.parent, number(path.name)): path for path in expected}
        for folder in {layout.images for layout in layouts if layout.images is not None}:
            if not folder.is_dir():
                continue
            for path in sorted(folder.iterdir()):
                if path in expected or path.name.startswith("."):
                    continue
                name, its_number = str(path.relative_to(self.folder)), number(path.name)
                taken = numbers.get((folder, its_number))
                if taken is not None and its_number is not None:
                    yield f"{name} (number {its_number} belongs to {taken.name!r})"
                else:
                    yield f"{name} (no image of the benchmark has this name)"


def places(
    layouts: Sequence[ImageLayout], images_per_prompt: int, *, with_chains: bool
) -> Iterable[Place]:
    """Where every sample lies, in order."""
    for layout in layouts:
        for index in range(len(layout.prompts) * images_per_prompt):
            prompt = layout.prompts[index // images_per_prompt]
            record = layout.files.record(index)
            needed = with_chains or record.is_file()
            yield Place(prompt, layout.files.image(index, prompt), record if needed else None)


def number(name: str) -> int | None:
    """The number at the end of an image's name, T2I-CompBench's id."""
    found = re.search(r"_(\d+)\.\w+$", name)
    return int(found[1]) if found else None

"""Where T2I-CompBench's detections come from: a detector asked now, or files made elsewhere.

The official detector, UniDet, is no package; what it found can be imported. The numbers of every
other detector are other numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from got_r1.benchmarks.base import Sample
from got_r1.benchmarks.compbench.frames import FramedObject, frame_size, to_frame
from got_r1.benchmarks.experts import Experts
from got_r1.benchmarks.settings import BenchmarkSettings
from got_r1.errors import BadInput
from got_r1.vision.base import Detection
from got_r1.vision.imported import ImportedDetections, read_detections

__all__ = ["Detections"]

OFFICIAL = "unidet"
WITH_DETECTOR = ("spatial", "3d_spatial", "numeracy", "complex")


class Detections:
    """Detections of samples in the official frame, from where the settings say."""

    def __init__(self, settings: BenchmarkSettings, experts: Experts) -> None:
        if settings.detections and settings.detector:
            raise BadInput("--detections and --detector both give the objects found: give one.")
        if settings.detections_by and not settings.detections:
            raise BadInput("--detections-by names the detector of --detections: give those too.")
        self.settings = settings
        self.experts = experts

    @cached_property
    def _files(self) -> dict[str, ImportedDetections]:
        """Imported detections by category, "" for those of all others."""
        files: dict[str, ImportedDetections] = {}
        for given in self.settings.detections:
            category, _, path = given.rpartition("=")
            if category not in WITH_DETECTOR:  # none, or an equals sign in the file's name
                category, path = "", given
            if category in files:
                raise BadInput(
                    f"--detections is given twice for {category or 'all categories'}; "
                    "give CATEGORY=FILE for each."
                )
            files[category] = read_detections(Path(path))
        return files

    def of(
        self, samples: Sequence[Sample], words: Sequence[Sequence[str]]
    ) -> list[list[FramedObject]]:
        """What was found in each sample, in the detector's order; `words` are looked for by a
        detector that can look for any, one list a sample.

        Raises BadInput where an image has no imported detections or ones of another size.
        """
        sizes = [(one.image.shape[1], one.image.shape[0]) for one in samples]
        if self.settings.detections:
            category = samples[0].prompt.category
            file = self._files.get(category) or self._files.get("")
            if file is None:
                raise BadInput(
                    f"--detections has no file for {category}; give {category}=FILE too."
                )
            # The official detector sees the frame, and its boxes are in pixels of it.
            frames = [frame_size(*size) for size in sizes]
            names = [Path(one.name).name for one in samples]
            return [
                [framed(one, frame) for one in found]
                for found, frame in zip(file.of(names, frames), frames, strict=True)
            ]
        detector = self.experts.detector
        vocabularies = [list(dict.fromkeys(detector.labels or some)) for some in words]
        # A detector of any words has nothing to look for where a prompt has no pair of objects.
        asked = [index for index, some in enumerate(vocabularies) if some]
        found_at = dict(
            zip(
                asked,
                detector.detect(
                    [samples[index].image for index in asked],
                    [vocabularies[index] for index in asked],
                ),
                strict=True,
            )
        )
        return [
            [framed(one, size) for one in found_at.get(index, [])]
            for index, size in enumerate(sizes)
        ]

    @property
    def are_official(self) -> bool:
        """Whether they are UniDet's, as far as the user says."""
        return bool(self.settings.detections) and OFFICIAL in self.settings.detections_by.lower()

    def named(self) -> dict[str, str]:
        """Who made imported detections, under "detector"."""
        if not self.settings.detections:
            return {}
        by = self.settings.detections_by or "a detector not named"
        files = ", ".join(file.name for file in self._files.values())
        return {"detector": f"{by} ({files})"}


def framed(found: Detection, size: tuple[int, int]) -> FramedObject:
    return to_frame(found.label, found.score, found.box, size)

"""GenEval as a benchmark: 553 prompts of six tags, four images each.

Prompts are read from the user's copy of `evaluation_metadata.jsonl`; nothing of it lies here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from got_r1.benchmarks.base import ImageLayout, Row, Sample, sample_prompts_evenly
from got_r1.benchmarks.experts import Experts, named_like
from got_r1.benchmarks.geneval.colours import color_prompts, cut_out
from got_r1.benchmarks.geneval.rules import (
    COLORS,
    OFFICIAL,
    Detected,
    Judgement,
    Options,
    Scene,
    judge,
    keep,
    parse_options,
    parse_scene,
)
from got_r1.benchmarks.settings import BenchmarkSettings
from got_r1.errors import BadInput
from got_r1.files.prompt_files import read_records
from got_r1.files.sample_files import SampleFiles
from got_r1.records import Prompt
from got_r1.vision.base import Detection

__all__ = ["TAGS", "GenEval", "GenEvalFiles"]

TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
METADATA = "evaluation_metadata.jsonl"
BATCH = 8  # images looked at together

CLIP = "openai/clip-vit-large-patch14"
# How COCO's classes are called by detectors that keep its own names.
COCO_NAMES = {"computer mouse": "mouse", "tv remote": "remote", "computer keyboard": "keyboard"}


@dataclass(frozen=True, slots=True)
class GenEvalFiles(SampleFiles):
    """The official layout: a folder a prompt, its images numbered inside."""

    each: int = 4

    def image(self, index: int, prompt: Prompt) -> Path:
        """Where an image lies."""
        return self.of_prompt(index) / "samples" / f"{index % self.each:04d}.png"

    def record(self, index: int) -> Path:
        """Where the record of an image lies."""
        return self.of_prompt(index) / "records" / f"{index % self.each:04d}.json"

    def of_prompt(self, index: int) -> Path:
        """The folder of an image's prompt."""
        return self.folder / f"{index // self.each:05d}"


class GenEval:
    """A `Benchmark` over the user's copy of GenEval.

    Its metrics are the tags, 1 for a right image, and "overall", the mean over them.
    """

    name = "geneval"
    size = 553
    images_per_prompt = 4
    reads_chains = False
    averages: Mapping[str, Sequence[str]] = {"overall": TAGS}

    def __init__(self, settings: BenchmarkSettings) -> None:
        if settings.detections or settings.categories:
            given = "--detections" if settings.detections else "--category"
            raise BadInput(f"{given} is of T2I-CompBench; leave it out for GenEval.")
        self.settings = settings
        self.options = parse_options(settings.options)
        self.experts = Experts(settings, clip=CLIP)
        self._described: dict[str, NDArray[np.float32]] = {}

    # -- prompts and files -------------------------------------------------------------------------

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        """The records of the user's file, in order. Several may have the same prompt."""
        if self.settings.data is None:
            raise BadInput(
                "GenEval's prompts are not part of got-r1: clone the benchmark and give --data "
                f"with its folder prompts (or the file {METADATA})."
            )
        path = self.settings.data
        path = path / METADATA if path.is_dir() else path
        records: list[dict[str, Any]] = []
        for where, record in read_records(path, what="GenEval file"):
            scene = parse_scene(record, where)
            if scene.tag not in TAGS:
                raise BadInput(f"{where} has the tag {scene.tag!r}: use {', '.join(TAGS)}.")
            records.append(record)
        return records

    def prompts(self, split: str, n: int, seed: int = 0) -> list[Prompt]:
        """At most `n` prompts, at even distances in the file, their tags as categories.

        Raises BadInput where the user's copy is not named, or for another split than "val".
        """
        if split != "val":
            raise BadInput(f"GenEval has no split {split!r}: use 'val'.")
        records = sample_prompts_evenly(self._records, n)
        return [Prompt(record["prompt"], record["tag"]) for record in records]

    def layouts(
        self, folder: Path, prompts: Sequence[Prompt], images_per_prompt: int
    ) -> list[ImageLayout]:
        """A folder a prompt, with its `metadata.jsonl`."""
        files = GenEvalFiles(folder, each=images_per_prompt)
        record_of = self._assignment()
        beside = {
            files.of_prompt(index * images_per_prompt) / "metadata.jsonl": json.dumps(
                record_of(prompt)
            )
            for index, prompt in enumerate(prompts)
        }
        return [ImageLayout(files, tuple(prompts), beside=beside)]

    def _assignment(self) -> Callable[[Prompt], dict[str, Any]]:
        """What gives each prompt of a folder, asked in order, its record: of several with the same
        text and tag the next one every time. Raises BadInput for a prompt that is not in the file.
        """
        left: dict[Prompt, list[dict[str, Any]]] = {}
        for record in self._records:
            left.setdefault(Prompt(record["prompt"], record["tag"]), []).append(record)

        def record_of(prompt: Prompt) -> dict[str, Any]:
            some = left.get(prompt)
            if some is None:
                raise BadInput(
                    f"the prompt {prompt.text!r} is not in the GenEval file of --data; "
                    "give the file that the images were made for."
                )
            return some.pop(0) if len(some) > 1 else some[0]

        return record_of

    # -- scores ------------------------------------------------------------------------------------

    def score(self, samples: Sequence[Sample]) -> list[Row]:
        """One row a sample: 1 or 0 under its tag, and the official reason.

        Raises BadInput for a prompt that is not in the file, and as the models do.
        """
        rows: list[Row] = []
        record_of = self._assignment()
        records: dict[tuple[Path, Prompt], dict[str, Any]] = {}  # by the folder of the images
        for first in range(0, len(samples), BATCH):
            batch = list(samples[first : first + BATCH])
            scenes = []
            for one in batch:
                place = (Path(one.name).parent, one.prompt)
                if place not in records:
                    records[place] = record_of(one.prompt)
                scenes.append(parse_scene(records[place], "the GenEval file"))
            detector = self.experts.detector
            names = [class_names(scene) for scene in scenes]
            known = [
                {detector_name(name, detector.labels): name for name in some} for some in names
            ]
            found = detector.detect([one.image for one in batch], [list(some) for some in known])
            for one, scene, called, seen in zip(batch, scenes, known, found, strict=True):
                verdict = self._judge(one, scene, called, seen)
                rows.append({scene.tag: verdict.correct * 1.0, "evidence": verdict.reason})
        return rows

    def _judge(
        self,
        sample: Sample,
        scene: Scene,
        called: Mapping[str, str],
        found: Sequence[Detection],
    ) -> Judgement:
        by_class: dict[str, list[Detection]] = {}
        for one in found:
            by_class.setdefault(called.get(one.label, one.label), []).append(one)
        kept = {
            name: keep(
                [Detected(one.box, one.score, index) for index, one in enumerate(some)],
                counting=scene.tag == "counting",
                options=self.options,
            )
            for name, some in by_class.items()
        }

        def colors_of(name: str, seen: Sequence[Detected]) -> list[str]:
            cuts = [
                cut_out(sample.image, one, by_class[name][one.index].mask, self.options)
                for one in seen
            ]
            return self._colors(name, cuts)

        return judge(scene, kept, colors_of, self.options)

    def _colors(self, name: str, cuts: Sequence[NDArray[np.uint8]]) -> list[str]:
        """The colour of each cut-out; none ("") for one without a pixel."""
        if name not in self._described:
            sentences = color_prompts(name)
            rows = self.experts.clip.embed_texts([text for some in sentences for text in some])
            means = rows.reshape(len(COLORS), -1, rows.shape[1]).mean(axis=1)
            self._described[name] = means / np.linalg.norm(means, axis=1, keepdims=True)
        colors = [""] * len(cuts)
        seen = [index for index, cut in enumerate(cuts) if cut.size]
        if seen:
            images = self.experts.clip.embed_images([cuts[index] for index in seen])
            best = np.argmax(images @ self._described[name].T, axis=1)
            for index, color in zip(seen, best, strict=True):
                colors[index] = COLORS[int(color)]
        return colors

    # -- what made them ----------------------------------------------------------------------------

    def scorers(self) -> dict[str, str]:
        """Models that were asked, and options that are not the official ones."""
        changed = [
            f"{name}={getattr(self.options, name)}"
            for name in Options.__slots__
            if getattr(self.options, name) != getattr(OFFICIAL, name)
        ]
        made = {"arithmetic": f"official, {' '.join(changed)}" if changed else "official"}
        return made | self.experts.loaded()

    def deviations(self, made: Mapping[str, Any]) -> dict[str, list[str]]:
        """As `Benchmark.deviations`. The official detector is mmdetection's; through transformers
        its architecture comes with other weights, so no number made here is quite comparable."""
        scorers = made["scorers"]
        reasons = [f"detector {scorers.get('detector', '')}, not mmdetection's Mask2Former"]
        if scorers["arithmetic"] != "official":
            reasons.append(f"options: {scorers['arithmetic']}")
        images = made.get("images_per_prompt", 1)
        if (made["prompts"], images) != (self.size, self.images_per_prompt):
            reasons.append(
                f"{made['prompts']} prompts with {images} image{'s' * (images > 1)}, "
                f"not {self.size} with {self.images_per_prompt}"
            )
        clip = scorers.get("clip", "")
        colored = [f"clip {clip}, not clip-vit-large-patch14"]
        if not clip or named_like(clip, "clip-vit-large-patch14"):
            colored = []
        return {
            metric: reasons + (colored if metric in ("colors", "color_attr", "overall") else [])
            for metric in made["metrics"]
        }


def class_names(scene: Scene) -> list[str]:
    """The classes that decide about a scene."""
    return list(dict.fromkeys(one.name for one in (*scene.include, *scene.exclude)))


def detector_name(name: str, labels: Sequence[str] | None) -> str:
    """What a detector calls one of GenEval's classes."""
    if labels is None or name in labels:
        return name
    return COCO_NAMES.get(name, name)

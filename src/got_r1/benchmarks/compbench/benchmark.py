"""T2I-CompBench(++) as a benchmark: eight categories, 300 prompts each, ten images a prompt.

Prompts and word lists are read from the user's copy of the benchmark (its folder
`examples/dataset`); nothing of it lies here. Images are looked at in small batches, so that a
folder of 24,000 need not fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from got_r1.benchmarks.base import ImageLayout, Row, Sample, sample_prompts_evenly
from got_r1.benchmarks.compbench import complex as complex_prompts
from got_r1.benchmarks.compbench import depth, numeracy, spatial, vqa
from got_r1.benchmarks.compbench.detections import Detections
from got_r1.benchmarks.compbench.frames import frame_size
from got_r1.benchmarks.compbench.quirks import CORRECTED, OFFICIAL
from got_r1.benchmarks.compbench.words import load_tagger, without_adjectives
from got_r1.benchmarks.experts import Experts, named_like
from got_r1.benchmarks.settings import BenchmarkSettings
from got_r1.errors import BadInput
from got_r1.files.inputs import read_text
from got_r1.files.prompt_files import read_prompts
from got_r1.files.sample_files import SampleFiles
from got_r1.records import Prompt

__all__ = ["CATEGORIES", "CompBench"]

CATEGORIES = (
    "color",
    "shape",
    "texture",
    "spatial",
    "3d_spatial",
    "numeracy",
    "non_spatial",
    "complex",
)
OBJECTS = "new_objects.txt"
BATCH = 16  # images looked at together
BLIP_SIDE = 480  # pixels

OFFICIAL_MODELS = {
    "vqa": "blip-vqa-capfilt-large",
    "clip": "clip-vit-base-patch32",
    "depth": "dpt-hybrid-midas",
}
# What the number of a category is made by.
PARTS = {
    "color": ("words", "vqa"),
    "shape": ("words", "vqa"),
    "texture": ("words", "vqa"),
    "spatial": ("words", "detector"),
    "3d_spatial": ("words", "detector", "depth"),
    "numeracy": ("detector",),
    "non_spatial": ("clip",),
    "complex": ("words", "vqa", "detector", "clip"),
}
QUIRKY = {"spatial", "3d_spatial", "numeracy", "complex"}


class CompBench:
    """A `Benchmark` over the user's copy of T2I-CompBench.

    Its metrics are the categories. Raises BadInput for a category that there is not.
    """

    name = "compbench"
    size = 300
    images_per_prompt = 10
    reads_chains = False
    averages: Mapping[str, Sequence[str]] = {}

    def __init__(self, settings: BenchmarkSettings) -> None:
        for category in settings.categories:
            check_category(category)
        self.settings = settings
        self.quirks = CORRECTED if settings.corrected else OFFICIAL
        self.experts = Experts(settings, clip="openai/clip-vit-base-patch32")
        self.detections = Detections(settings, self.experts)

    # -- prompts and files -------------------------------------------------------------------------

    def prompts(self, split: str, n: int, seed: int = 0) -> list[Prompt]:
        """At most `n` prompts of each category, at even distances in its file.

        "val" is the benchmark; "dev" are its training prompts, which a policy may have seen in RL.
        Raises BadInput where the user's copy is not named or lacks a file.
        """
        return [
            prompt
            for category in self.settings.categories or CATEGORIES
            for prompt in sample_prompts_evenly(
                self._list(f"{category}_{_file_split(split)}.txt"), n
            )
        ]

    def layouts(
        self, folder: Path, prompts: Sequence[Prompt], images_per_prompt: int
    ) -> list[ImageLayout]:
        """A folder a category, each as the official scripts expect one."""
        layouts = []
        for category, some in groupby(prompts, lambda prompt: prompt.category):
            check_category(category)  # it becomes a folder's name, and may be a stranger's
            files = SampleFiles(folder / category, "compbench")
            mine = tuple(some)
            files.check_prompts(mine)
            layouts.append(ImageLayout(files, mine, folder / category / "samples"))
        return layouts

    def _list(self, name: str) -> list[Prompt]:
        return read_prompts(self._file(name))

    def _file(self, name: str) -> Path:
        if self.settings.data is None:
            raise BadInput(
                "T2I-CompBench's prompts are not part of got-r1: clone the benchmark and give "
                "--data with its folder examples/dataset."
            )
        return self.settings.data / name

    # -- scores ------------------------------------------------------------------------------------

    def score(self, samples: Sequence[Sample]) -> list[Row]:
        """One row a sample, under its category, with what led to the score.

        Raises BadInput for a sample of no category, and as the models do.
        """
        rows: list[Row] = []
        for batch in batches(samples):
            category = batch[0].prompt.category
            match category:
                case "color" | "shape" | "texture":
                    rows += self._attributes(batch)
                case "spatial":
                    rows += self._spatial(batch, complex_prompt=False)
                case "3d_spatial":
                    rows += self._depth(batch)
                case "numeracy":
                    rows += self._numeracy(batch)
                case "non_spatial":
                    rows += self._cosines(batch, lambda text: text)
                case "complex":
                    rows += self._complex(batch)
                case _:
                    raise BadInput(
                        f"the prompt {batch[0].prompt.text!r} is of the category {category!r}, "
                        f"which T2I-CompBench does not have: use {', '.join(CATEGORIES)}."
                    )
        return rows

    @cached_property
    def tagger(self) -> Any:
        """What reads the prompts (`words.Tagger`)."""
        return load_tagger(self.settings.tagger)

    def _attributes(self, batch: Sequence[Sample]) -> list[Row]:
        asked = [vqa.questions(self.tagger.noun_chunks(one.prompt.text)) for one in batch]
        logits = iter(
            self.experts.vqa.yes_no_logits(
                [one.image for one, some in zip(batch, asked, strict=True) for _ in some],
                [vqa.model_question(question) for some in asked for question in some],
            )
        )
        rows: list[Row] = []
        for one, some in zip(batch, asked, strict=True):
            answers = [vqa.answer(*map(float, next(logits))) for _ in some]
            why = "; ".join(f"{q} {a}" for q, a in zip(some, answers, strict=True))
            rows.append({one.prompt.category: float(vqa.score(answers)), "evidence": why})
        return rows

    def _spatial(self, batch: Sequence[Sample], *, complex_prompt: bool) -> list[Row]:
        tokens = [self.tagger.tokens(one.prompt.text) for one in batch]
        words = [
            [
                word
                for word in spatial.asked_objects(
                    some, complex_prompt=complex_prompt, quirks=self.quirks
                )
                if word is not None
            ]
            for some in tokens
        ]
        rows: list[Row] = []
        for one, some, found in zip(batch, tokens, self.detections.of(batch, words), strict=True):
            result = spatial.score(
                one.prompt.text, some, found, complex_prompt=complex_prompt, quirks=self.quirks
            )
            why = f"{result.obj1} {result.locality} {result.obj2}: position {result.position}"
            rows.append({one.prompt.category: result.score, "evidence": why})
        return rows

    def _depth(self, batch: Sequence[Sample]) -> list[Row]:
        tokens = [self.tagger.tokens(one.prompt.text) for one in batch]
        words = [
            [word for word in spatial.asked_objects(some) if word is not None] for some in tokens
        ]
        detected = self.detections.of(batch, words)
        raw = self.experts.depth.estimate([one.image for one in batch])
        rows: list[Row] = []
        for one, some, found, network in zip(batch, tokens, detected, raw, strict=True):
            height, width = one.image.shape[:2]
            nearness = depth.depth_map(network, (width, height), frame_size(width, height))
            result = depth.score(one.prompt.text, some, found, nearness, quirks=self.quirks)
            why = (
                f"{result.obj1} {result.locality} {result.obj2}: position {result.position}, "
                f"depths {result.mean_depth_1} and {result.mean_depth_2}"
            )
            rows.append({one.prompt.category: result.score, "evidence": why})
        return rows

    @cached_property
    def _plurals(self) -> dict[str, str]:
        return numeracy.read_objects(read_text(self._file(OBJECTS), "list of objects"))

    def _numeracy(self, batch: Sequence[Sample]) -> list[Row]:
        asked = [
            numeracy.asked_counts(
                [token.text for token in self.tagger.tokens(one.prompt.text)], self._plurals
            )
            for one in batch
        ]
        words = [
            [numeracy.ALIASES.get(count.word, count.word) for count in counts] for counts in asked
        ]
        rows: list[Row] = []
        for one, counts, found in zip(batch, asked, self.detections.of(batch, words), strict=True):
            result = numeracy.score(counts, found, quirks=self.quirks)
            wanted = ", ".join(f"{count.number} {count.word}" for count in counts)
            seen = ", ".join(result.labels_after_renaming)
            rows.append(
                {one.prompt.category: result.score, "evidence": f"asked {wanted}; found {seen}"}
            )
        return rows

    def _cosines(self, batch: Sequence[Sample], text_of: Callable[[str], str]) -> list[Row]:
        images = self.experts.clip.embed_images([one.image for one in batch])
        texts = self.experts.clip.embed_texts([text_of(one.prompt.text) for one in batch])
        cosines = np.sum(images * texts, axis=1)
        return [
            {one.prompt.category: float(cosine)} for one, cosine in zip(batch, cosines, strict=True)
        ]

    @cached_property
    def _kinds(self) -> tuple[list[str], list[str]]:
        """The lists of spatial and of action prompts among the complex ones."""
        spatial_list, action_list = (
            [
                prompt.text
                for prompt in self._list(f"complex_{_file_split(self.settings.split)}_{kind}.txt")
            ]
            for kind in ("spatial", "action")
        )
        return spatial_list, action_list

    def _complex(self, batch: Sequence[Sample]) -> list[Row]:
        def text_of(text: str) -> str:
            return without_adjectives(self.tagger.tokens(text))

        parts = zip(
            batch,
            self._attributes(batch),
            self._spatial(batch, complex_prompt=True),
            self._cosines(batch, text_of),
            strict=True,
        )
        rows: list[Row] = []
        for one, attribute, position, cosine in parts:
            kind = complex_prompts.kind(one.prompt.text, *self._kinds)
            values = {
                "attribute": _number(attribute["complex"]),
                "spatial": _number(position["complex"]),
                "clip": _number(cosine["complex"]),
            }
            why = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
            rows.append(
                {
                    "complex": complex_prompts.score(kind, **values),
                    "evidence": f"{kind}: {why}",
                }
            )
        return rows

    # -- what made them ----------------------------------------------------------------------------

    def scorers(self) -> dict[str, str]:
        """Models and tagger that were asked, and what is corrected."""
        made = {"arithmetic": "official"}
        if self.quirks.corrected():
            made["arithmetic"] = f"corrected: {', '.join(self.quirks.corrected())}"
        if "tagger" in vars(self):
            made["words"] = self.tagger.version
        return made | self.experts.loaded() | self.detections.named()

    def deviations(self, made: Mapping[str, Any]) -> dict[str, list[str]]:
        """As `Benchmark.deviations`."""
        scorers = made["scorers"]
        found: dict[str, list[str]] = {}
        for category, metric in made["metrics"].items():
            reasons = []
            for part in PARTS[category]:
                name = scorers.get(part, "")
                if part == "words" and not self.tagger.is_official:
                    reasons.append(f"words by the {name}, not spaCy")
                elif part == "detector" and not self.detections.are_official:
                    reasons.append(f"detector {name}, not UniDet")
                elif part in OFFICIAL_MODELS and not named_like(name, OFFICIAL_MODELS[part]):
                    reasons.append(f"{part} {name}, not {OFFICIAL_MODELS[part]}")
            if "vqa" in PARTS[category] and self.settings.vqa_size != BLIP_SIDE:
                reasons.append(f"vqa at {self.settings.vqa_size} pixels, not {BLIP_SIDE}")
            if category in QUIRKY and self.quirks.corrected():
                reasons.append("corrected arithmetic")
            prompts, images = metric["overall"]["n"], made.get("images_per_prompt", 1)
            if (prompts, images) != (self.size, self.images_per_prompt):
                reasons.append(
                    f"{prompts} prompts with {images} image{'s' * (images > 1)}, "
                    f"not {self.size} with {self.images_per_prompt}"
                )
            if made["split"] != "val":
                reasons.append("training prompts")
            if reasons:
                found[category] = reasons
        return found


def check_category(name: str) -> None:
    """Raises BadInput for a category that the benchmark does not have."""
    if name not in CATEGORIES:
        raise BadInput(f"T2I-CompBench has no category {name!r}: use {', '.join(CATEGORIES)}.")


def batches(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """The samples a few at a time, each time of one category."""
    batch: list[Sample] = []
    for index in range(len(samples)):
        sample = samples[index]
        if batch and (len(batch) == BATCH or sample.prompt.category != batch[0].prompt.category):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch


def _file_split(split: str) -> str:
    match split:
        case "val":
            return "val"
        case "dev":
            return "train"
        case _:
            raise BadInput(f"T2I-CompBench has no split {split!r}: use 'val', or 'dev'.")


def _number(value: float | str | None) -> float:
    assert isinstance(value, float)
    return value

"""Scoring a folder of images: what it should hold, and the evaluation that comes of it.

DIR/eval.json       the evaluation, as `evaluation` describes it
DIR/scores.jsonl    one row of metrics for each image
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from got_r1.benchmarks import load_benchmark
from got_r1.benchmarks.drawing import PROMPT_SEED
from got_r1.benchmarks.evaluation import evaluation
from got_r1.benchmarks.sample_folder import MANIFEST, Manifest, SampleFolder, read_manifest
from got_r1.benchmarks.settings import BenchmarkSettings
from got_r1.errors import BadInput
from got_r1.files.atomic import write_text
from got_r1.progress import TrainingProgress

__all__ = ["RESULT", "score_folder"]

RESULT = "eval.json"


def score_folder(
    folder: Path,
    settings: BenchmarkSettings,
    *,
    benchmark: str | None = None,
    images_per_prompt: int | None = None,
    name: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Scores a folder of images, and writes and returns its evaluation.

    `benchmark` and `images_per_prompt` describe images made elsewhere, without a manifest. `name`
    stands in tables (default: the folder's). Raises BadInput as `made_images` and `SampleFolder`.
    """
    made = made_images(folder, settings, benchmark, images_per_prompt)
    data = settings.data or (Path(made.data) if made.data else None)
    scorer = load_benchmark(made.benchmark, replace(settings, data=data, split=made.split))
    each = made.images_per_prompt
    layouts = scorer.layouts(folder, made.prompts, each)
    samples = SampleFolder(folder, layouts, each, with_chains=scorer.reads_chains)
    quiet = quiet or scorer.name.startswith("icons")  # whose scores take no time
    with TrainingProgress("scoring", len(samples), 0, unit="image", quiet=quiet) as progress:
        samples.on_read = lambda read: progress.update(read, {})
        rows = scorer.score(samples)
    prompts = samples.prompts()
    result = evaluation(
        scorer.name,
        rows,
        prompts,
        images_per_prompt=each,
        averages=scorer.averages,
        name=name or folder.resolve().name,
        split=made.split,
        seed=made.seed,
        guidance=made.guidance,
        model=made.model,
    )
    scorers = scorer.scorers()
    if scorers:
        result["scorers"] = scorers
        result["deviations"] = scorer.deviations(result)
    lines = [
        json.dumps({"image": image, "prompt": prompt.text, **row}, ensure_ascii=False)
        for image, prompt, row in zip(samples.names(), prompts, rows, strict=True)
    ]
    write_text(folder / "scores.jsonl", "\n".join(lines) + "\n")
    write_text(folder / RESULT, json.dumps(result, indent=1, ensure_ascii=False))
    return result


def made_images(
    folder: Path,
    settings: BenchmarkSettings,
    benchmark: str | None,
    images_per_prompt: int | None,
) -> Manifest:
    """What a folder should hold: by its manifest, or for images made elsewhere by the benchmark.

    Where the settings name categories, only those. Raises BadInput where neither is known, and
    where the manifest is of another benchmark.
    """
    if benchmark is None or (folder / MANIFEST).is_file():
        made = read_manifest(folder)
        if benchmark not in (None, made.benchmark):
            raise BadInput(
                f"{folder} was made for the benchmark {made.benchmark!r}, not "
                f"{benchmark!r}; leave --benchmark out."
            )
        wanted = set(settings.categories)
        kept = tuple(p for p in made.prompts if not wanted or p.category in wanted)
        absent = wanted - {prompt.category for prompt in kept}
        if absent:
            raise BadInput(f"{folder} has no images of the category {min(absent)!r}.")
        return replace(made, prompts=kept)
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}; give the folder of the images.")
    official = load_benchmark(benchmark, settings)
    prompts = official.prompts(settings.split, official.size, PROMPT_SEED)
    each = images_per_prompt or official.images_per_prompt
    return Manifest(benchmark, settings.split, "made elsewhere", 0, 0.0, tuple(prompts), each)

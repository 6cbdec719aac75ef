"""Drawing the images of a benchmark into a folder, in its official layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from got_r1.benchmarks import load_benchmark
from got_r1.benchmarks.sample_folder import Manifest, write_manifest
from got_r1.benchmarks.settings import BenchmarkSettings
from got_r1.files.atomic import write_text
from got_r1.files.sample_files import SampleFiles
from got_r1.records import Prompt

if TYPE_CHECKING:
    from got_r1.sampling import Drawer

__all__ = ["PROMPT_SEED", "draw_benchmark"]

PROMPT_SEED = 0  # every model is asked the same prompts; a drawer's seed is for the sampling


def draw_benchmark(
    name: str,
    settings: BenchmarkSettings,
    folder: Path,
    make_drawer: Callable[[Sequence[Prompt]], Drawer],
    *,
    prompts: int | None = None,
    images_per_prompt: int | None = None,
    resume: bool = False,
) -> int:
    """Draws a benchmark's images, or those that are missing; returns how many there are then.

    `make_drawer` is given the prompts once everything else is checked: loading a model takes long.
    `prompts` (of each category) and `images_per_prompt`: the benchmark's own numbers by default.
    Raises BadInput where the folder holds something else.
    """
    benchmark = load_benchmark(name, settings)
    chosen = benchmark.prompts(settings.split, prompts or benchmark.size, PROMPT_SEED)
    each = images_per_prompt or benchmark.images_per_prompt
    layouts = benchmark.layouts(folder, chosen, each)
    root = SampleFiles(folder)
    root.check_folder(resume)
    drawer = make_drawer(chosen)
    root.begin(
        {
            "benchmark": name,
            "split": settings.split,
            **drawer.about,
            "batch": drawer.batch,  # each rounds a little in its own way
            "images": each,
            "prompts": [asdict(prompt) for prompt in chosen],
        }
    )
    write_manifest(
        folder,
        Manifest(
            benchmark=name,
            split=settings.split,
            model=drawer.about["model"],
            seed=drawer.seed,
            guidance=drawer.rollout.guidance,
            prompts=tuple(chosen),
            images_per_prompt=each,
            data=str(settings.data.resolve()) if settings.data else "",
        ),
    )
    for layout in layouts:
        for path, text in layout.beside.items():
            write_text(path, text, durable=False)
        drawer.draw(layout.files, layout.prompts, n=each)
    return len(chosen) * each

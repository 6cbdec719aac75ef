"""Measuring a model on a benchmark."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from got_r1.benchmarks.settings import BenchmarkSettings
from got_r1.errors import BadInput

if TYPE_CHECKING:
    from got_r1.policy.janus import Policy

__all__ = ["evaluate"]


def evaluate(
    policy: Policy,
    out: str | Path,
    *,
    benchmark: str = "icons",
    split: Literal["dev", "val"] = "val",
    prompts: int | None = None,
    images_per_prompt: int | None = None,
    seed: int = 0,
    guidance: float | None = None,
    marks: bool = False,
    batch: int = 64,
    name: str | None = None,
    resume: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Draws the images of a benchmark into the folder `out` and scores them, as `got-r1 eval run`
    does; progress goes to stderr unless `quiet`.

    Args:
        benchmark: "icons", "icons-layouts", "compbench" or "geneval".
        prompts: how many, of each category; images_per_prompt: of each (the benchmark's numbers).
        seed, guidance, marks, batch: as for `sample`.
        name: in tables (the folder's).
        resume: draw what is missing of an interrupted `out`.
        settings: further ones of `benchmarks.settings.BenchmarkSettings`, such as data, detector,
            vqa, clip.

    Returns the evaluation, which is also `out`/eval.json: `metrics` holds means in [0, 1] with
    their 95 % intervals. Raises BadInput where a setting is unknown, `out` holds something else, or
    the benchmark's data or models are missing.
    """
    from got_r1.benchmarks.drawing import draw_benchmark
    from got_r1.benchmarks.scoring import score_folder
    from got_r1.sampling.settings import make_drawer

    known = [one.name for one in fields(BenchmarkSettings)]
    if unknown := settings.keys() - known:
        raise BadInput(f"unknown setting {min(unknown)!r}; give one of {', '.join(known)}.")
    chosen = BenchmarkSettings(split=split, **settings)
    asked: dict[str, Any] = {"seed": seed, "batch": batch, "guidance": guidance, "marks": marks}
    draw_benchmark(
        benchmark,
        chosen,
        Path(out),
        lambda some: make_drawer(policy, some, quiet=quiet, **asked),
        prompts=prompts,
        images_per_prompt=images_per_prompt,
        resume=resume,
    )
    return score_folder(Path(out), chosen, name=name, quiet=quiet)

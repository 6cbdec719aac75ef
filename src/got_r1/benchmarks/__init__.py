"""What a trained model is measured on: prompts, how samples are scored, and with what certainty."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from got_r1.benchmarks.settings import BenchmarkSettings
from got_r1.errors import BadInput

if TYPE_CHECKING:
    from got_r1.benchmarks.base import Benchmark

__all__ = ["load_benchmark"]


def load_benchmark(name: str, settings: BenchmarkSettings | None = None) -> Benchmark:
    """The benchmark of that name; `settings` for those that need the user's files and models.

    Raises `BadInput` for an unknown one.
    """
    match name:
        case "icons" | "icons-layouts":
            from got_r1.benchmarks.icons import IconsBenchmark

            own = BenchmarkSettings()
            if replace(settings or own, split=own.split, device=own.device) != own:
                raise BadInput(
                    "the icon world brings its own prompts and detector: leave out --data, "
                    "--category and whatever names a model that looks at images"
                )
            return IconsBenchmark(layouts=name == "icons-layouts")
        case "compbench":
            from got_r1.benchmarks.compbench.benchmark import CompBench

            return CompBench(settings or BenchmarkSettings())
        case "geneval":
            from got_r1.benchmarks.geneval.benchmark import GenEval

            return GenEval(settings or BenchmarkSettings())
        case _:
            raise BadInput(
                f"there is no benchmark {name!r}: use 'icons', 'icons-layouts', 'compbench' or "
                "'geneval'"
            )

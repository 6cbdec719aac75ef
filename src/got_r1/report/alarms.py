"""The alarms of a run, as its report shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from got_r1.files.lines import read_rows
from got_r1.measures import label
from got_r1.report.gallery import Gallery
from got_r1.report.read import RunFiles, as_dict, as_number

__all__ = ["ShownAlarm", "ShownSample", "shown_alarms"]


@dataclass(frozen=True, slots=True)
class ShownSample:
    """A sample that an alarm names; `anchor`: its place in the page, empty where it has none."""

    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class ShownAlarm:
    """An alarm in words."""

    name: str
    step: int
    since: int
    message: str
    cause: str
    advice: str
    samples: tuple[ShownSample, ...]


def shown_alarms(run: RunFiles, galleries: Sequence[Gallery]) -> tuple[ShownAlarm, ...]:
    """The alarms of `alarms.jsonl`, in the order in which they rang; what cannot be read is left
    out."""
    known = {card.id for gallery in galleries for card in gallery.cards}
    alarms = []
    for row in read_rows(run.run_dir / "alarms.jsonl", one_a_step=False):
        name, message, cause, advice = (
            str(row.get(key, "")) for key in ("name", "message", "cause", "advice")
        )
        samples = row.get("samples")
        alarms.append(
            ShownAlarm(
                name=name.replace("_", " "),
                step=row["step"],
                since=round(as_number(row.get("since")) or row["step"]),
                message=message,
                cause=cause,
                advice=advice,
                samples=tuple(
                    _sample(as_dict(one), known)
                    for one in (samples if isinstance(samples, list) else ())
                ),
            )
        )
    return tuple(alarms)


def _sample(sample: dict[str, Any], known: set[str]) -> ShownSample:
    """A sample of a gallery with its place, or a fixed prompt with what was said of its image."""
    prompt, step = str(sample.get("prompt", "")), sample.get("step")
    if "index" in sample:
        place = f"s{step}-{sample['index']}"
        return ShownSample(f"step {step}: {prompt}", f"card-{place}" if place in known else "")
    words = {"trained": "trained on", "held_out": "held out", "first": "first", "now": "now"}
    said = ", ".join(
        f"{words[key]} {value:.2f}"
        for key in words
        if (value := as_number(sample.get(key))) is not None
    )
    return ShownSample(f"{prompt} ({label(str(sample.get('term', '')))}: {said})", "")

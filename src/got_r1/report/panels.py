"""Which curves a report shows, in which order. A panel without metrics is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from got_r1.measures import LABELS
from got_r1.records import TERMS
from got_r1.report.charts import Chart, Constant, Line, Panel, draw

__all__ = [
    "TERM_NAMES",
    "ChartSection",
    "draw_section",
    "draw_sections",
    "merge",
    "overlay",
    "panel_groups",
]

TERM_NAMES = {term: LABELS[term] for term in TERMS}
"""The reward terms as the paper writes them, in the order of the data's way."""

_TERM_HINTS = {
    "r_sem": "prompt → chain, meaning",
    "r_spa": "prompt → chain, layout",
    "r_ri": "chain → image, boxes found",
    "r_pi": "prompt → image",
    "r_hps": "image quality",
}


def _single(title: str, key: str, hint: str = "", low: float | None = None) -> Panel:
    return Panel(title, (Line(key, title),), (low, None), hint=hint)


_REWARD = (
    Panel("Total reward", (Line("reward/total", "total", "total", "group_std/total"),)),
    *(
        Panel(
            name,
            (Line(f"reward/{term}", name, term, f"group_std/{term}"),),
            bounds=(0, 1),
            hint=_TERM_HINTS[term],
        )
        for term, name in TERM_NAMES.items()
    ),
    _single("KL to the reference", "kl", "per token"),
)
_WATCH = tuple(
    Panel(
        name,
        (
            Line(f"watch/{term}", "held out", "a", f"watch_half/{term}"),
            Line(f"watch_trained/{term}", "trained on", "b", f"watch_trained_half/{term}"),
            Line(
                f"watch_samples/{term}",
                "held out, own samples",
                "c",
                f"watch_samples_half/{term}",
            ),
            Line(
                f"watch_samples_trained/{term}",
                "trained on, own samples",
                "d",
                f"watch_samples_trained_half/{term}",
            ),
        ),
        bounds=(-np.inf, np.inf) if term == "total" else (0, 1),
        hint="bands: 95% intervals",
        smoothed=False,
    )
    for term, name in {"total": "Total reward", **TERM_NAMES}.items()
)
_LOSSES = (
    _single("Loss", "loss"),
    _single("Chain loss", "loss/chain", "nats per token"),
    _single("Image loss", "loss/image", "nats per token"),
    Panel(
        "Loss by term",
        tuple(Line(f"loss/{term}", name, term) for term, name in TERM_NAMES.items()),
        hint="nats per mark",
    ),
    _single("Reconstruction", "loss/reconstruction", "L1 + L2 of pixels", 0),
    Panel(
        "Codes",
        (Line("loss/codebook", "codebook"), Line("loss/commitment", "commitment", "b")),
        (0, None),
        hint="squared distance of states and codes",
    ),
    Panel(
        "Places in the codebook",
        (
            Line("loss/ground", "ground"),
            Line("loss/look", "look", "b"),
            Line("loss/form", "form", "c"),
        ),
        (0, None),
        hint="losses",
    ),
)
_TRAINING = (
    _single("Forms in use", "forms_used", "share of the codebook's forms"),
    Panel(
        "Entropy",
        (Line("entropy/chain", "chain"), Line("entropy/image", "image", "b")),
        (0, None),
        hint="nats per token",
    ),
    _single("Chain length", "chain_tokens", "tokens"),
    Panel(
        "Left out",
        (
            Line("dropped_samples", "dropped"),
            Line("skipped_groups", "skipped", "b"),
            Line("malformed_chains", "malformed", "c"),
            Line("unfinished_chains", "unfinished", "d"),
        ),
        (0, None),
        hint="samples, groups, chains",
    ),
    Panel(
        "Chains",
        (
            Line("unplanned_chains", "without a plan"),
            Line("appealing_chains", "talking to the grader", "b"),
        ),
        (0, None),
        hint="a step",
    ),
    _single("Duplicate plans", "duplicate_plans", "share, inside a group", 0),
    _single("Text outside the plan", "prose_characters", "characters", 0),
    _single("Judge failures", "judge_failures", "queries", 0),
    _single("Asked of the teacher", "teacher_share", "share of a student judge's answers", 0),
    Panel(
        "Student against teacher",
        (
            Line("student_error/r_sem", TERM_NAMES["r_sem"]),
            Line("student_error/r_spa", TERM_NAMES["r_spa"], "b"),
            Line("student_error/r_pi", TERM_NAMES["r_pi"], "c"),
        ),
        (0, None),
        hint="mean difference where the teacher was asked",
    ),
    _single("Gradient norm", "grad_norm", "before clipping", 0),
    _single("Ratio gap", "ratio_gap", "sampler against replay", 0),
    Panel(
        "Ratio",
        (Line("ratio_mean", "mean"), Line("ratio_max", "largest", "b")),
        hint="policy against the behaviour policy",
    ),
    Panel(
        "Clip fraction",
        (Line("clip_fraction_low", "low"), Line("clip_fraction_high", "high", "b")),
        (0, None),
        hint="of tokens",
    ),
    Panel("Learning rate", (Line("lr", "lr"),), (0, None), smoothed=False),
    Panel(
        "Seconds a step",
        (
            Line("seconds/rollout", "rollout"),
            Line("seconds/judge_waited", "judge", "b"),
            Line("seconds/update", "update", "c"),
        ),
        (0, None),
        stacked=True,
    ),
    Panel(
        "Seconds of judging",
        (
            Line("seconds/judge_hidden", "hidden behind drawing", "b"),
            Line("seconds/judge_waited", "waited for"),
        ),
        (0, None),
        stacked=True,
    ),
    _single("Speed", "tokens_per_second", "tokens a second", 0),
)
_OF_RL = {
    "Reward": _REWARD,
    "Held-out judge": _WATCH,
    "Model and optimisation": _LOSSES + _TRAINING,
}
_OF_OTHERS = {"Losses": _LOSSES, "Optimisation": _TRAINING, "Reward": _REWARD}
_OTHER = "other:"  # before the metrics of the second of two runs
# The page's head; sums of two shown.
_ELSEWHERE = {"step", "seconds/total", "seconds/judge", "clip_fraction"}


@dataclass(frozen=True, slots=True)
class ChartSection:
    """Charts under one title, and what needs none: panels of one value throughout."""

    title: str
    charts: tuple[Chart, ...]
    constants: tuple[Constant, ...]


def draw_sections(rows: Sequence[Mapping[str, Any]]) -> list[ChartSection]:
    """All charts of a run. Metrics that no panel knows get one each, under "Other"."""
    drawn = [draw_section(title, group, rows) for title, group in panel_groups(rows).items()]
    return [section for section in drawn if section is not None]


def panel_groups(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Panel, ...]]:
    """The panels of a run by the titles of their sections; some may have nothing to show."""
    rewarded = any(key.startswith("reward/") for row in rows for key in row)
    panels = dict(_OF_RL if rewarded else _OF_OTHERS)
    known = {line.key for group in panels.values() for panel in group for line in panel.lines}
    known |= {line.spread for group in panels.values() for panel in group for line in panel.lines}
    others = sorted({key for row in rows for key in row} - known - _ELSEWHERE)
    others = [key for key in others if not key.startswith("alarm/")]  # a section of their own
    panels["Other"] = tuple(_single(key, key) for key in others)
    return panels


def draw_section(
    title: str, panels: Sequence[Panel], rows: Sequence[Mapping[str, Any]]
) -> ChartSection | None:
    """The charts of one section; None where there are none."""
    drawn = [draw(panel, rows) for panel in panels]
    charts = tuple(chart for chart in drawn if isinstance(chart, Chart))
    constants = tuple(chart for chart in drawn if isinstance(chart, Constant))
    return ChartSection(title, charts, constants) if charts or constants else None


def overlay(panels: Sequence[Panel], one: str, other: str) -> tuple[Panel, ...]:
    """Panels of two runs of these names, each of a single metric, for rows that `merge` made: a
    colour then stands for a run."""
    return tuple(
        replace(
            panel,
            title=panel.title if len(panel.lines) == 1 else f"{panel.title}: {line.label}",
            lines=(
                replace(line, label=one, color="a"),
                Line(_OTHER + line.key, other, "b", _OTHER + line.spread if line.spread else ""),
            ),
            stacked=False,
        )
        for panel in panels
        for line in panel.lines
    )


def merge(
    rows: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The metrics of two runs as those of one, by step; those of the second under keys of their
    own."""
    merged = {row["step"]: dict(row) for row in rows}
    for row in others:
        both = merged.setdefault(row["step"], {"step": row["step"]})
        both |= {_OTHER + key: value for key, value in row.items() if key != "step"}
    return [merged[step] for step in sorted(merged)]

"""Which curves a report shows, in which order. A panel without metrics is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from got_r1.report.charts import Chart, Line, Panel, draw

__all__ = ["TERM_NAMES", "draw_sections"]

TERM_NAMES = {
    "r_sem": "R_sem",
    "r_spa": "R_spa",
    "r_ri": "R_RI",
    "r_pi": "R_PI",
    "r_hps": "R_HPS",
}
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
            (0, 1.02),
            hint=_TERM_HINTS[term],
        )
        for term, name in TERM_NAMES.items()
    ),
    _single("KL to the reference", "kl", "per token"),
)
_TRAINING = (
    _single("Loss", "loss"),
    Panel("Loss by part", (Line("loss/chain", "chain"), Line("loss/image", "image", "b"))),
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
    _single("Judge failures", "judge_failures", "queries", 0),
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
    _single("Learning rate", "lr", low=0),
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
_SECTIONS = {"Reward": _REWARD, "Policy and optimisation": _TRAINING}
# The page's head; sums of two shown.
_ELSEWHERE = {"step", "seconds/total", "seconds/judge", "clip_fraction"}


def draw_sections(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Chart]]:
    """Title to charts. Metrics that no panel knows get one each, under "Other"."""
    panels = dict(_SECTIONS)
    known = {line.key for group in panels.values() for panel in group for line in panel.lines}
    known |= {line.spread for group in panels.values() for panel in group for line in panel.lines}
    others = sorted({key for row in rows for key in row} - known - _ELSEWHERE)
    panels["Other"] = tuple(_single(key, key) for key in others)
    drawn = {title: [draw(panel, rows) for panel in group] for title, group in panels.items()}
    charts = {title: [chart for chart in group if chart] for title, group in drawn.items()}
    return {title: group for title, group in charts.items() if group}

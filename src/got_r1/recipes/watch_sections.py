"""Settings of what looks on at a run of RL: a held-out judge, and alarms."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from got_r1.files.paths import PathText
from got_r1.recipes.resuming import HARMLESS, LOOKING_ON
from got_r1.recipes.section import MANY, Section

__all__ = ["AlarmsSection", "WatchSection"]

_Action = Annotated[Literal["log", "save", "stop"], HARMLESS]


class AlarmsSection(Section):
    """What an alarm does when it rings (once a run): 'log' tells of it, 'save' also keeps a
    checkpoint of that step for good, 'stop' also saves and ends the run (docs/alarms.md)."""

    hacking: _Action = Field(
        "log",
        description="a trained term rises, and the held-out judge's measure of it does not (needs "
        "watch.judge)",
    )
    saturation: _Action = Field(
        "log", description="a term is at its top, and the held-out judge still sees faults"
    )
    judge_drift: _Action = Field(
        "log",
        description="the judge that rewards answers about the same images otherwise than at the "
        "start (needs watch.judge)",
    )
    dead_signal: _Action = Field(
        "log", description="groups without variance, or a term that is the same in every group"
    )
    judge_failures: _Action = Field("log", description="samples get no reward")
    persuasion: _Action = Field(
        "log", description="chains begin to talk to the grader, or the text outside the plan grows"
    )
    skipped_chains: _Action = Field("log", description="the policy stops planning")
    collapse: _Action = Field(
        "log", description="a group's plans become the same, or entropy vanishes"
    )
    trade_off: _Action = Field("log", description="a term falls while the total rises")
    kl: _Action = Field("log", description="the KL to the reference is out of range")
    ratio_gap: _Action = Field("log", description="sampler and replay disagree")
    not_finite: _Action = Field(
        "log", description="a metric is not finite (rl.max_skipped_updates stops a run in any case)"
    )


class WatchSection(Section):
    """A held-out judge that looks on and never enters the reward (off without `judge`), and the
    alarms of a run."""

    judge: Annotated[PathText, LOOKING_ON] = Field(
        "",
        description="a second judge, independent of the one that rewards (judge.spec), which sees "
        "fixed held-out prompts again and again, and a part of the steps' own samples",
    )
    every: Annotated[int, HARMLESS] = Field(
        10, ge=1, le=MANY, description="steps between its looks"
    )
    prompts: Annotated[PathText, HARMLESS] = Field(
        "",
        description="file of prompts that are never trained on, for runs with data.prompts; empty: "
        "eval.split of the icon world",
    )
    size: Annotated[int, HARMLESS] = Field(
        32, ge=1, le=65536, description="how many of these, always with the same noise"
    )
    samples: Annotated[int, HARMLESS] = Field(
        16, ge=0, le=MANY, description="how many of a step's own samples it sees as well"
    )
    window: Annotated[int, HARMLESS] = Field(
        10,
        ge=2,
        le=MANY,
        description="steps over which the alarms take the mean of a metric; some compare the first "
        "so many steps with the last",
    )
    alarms: AlarmsSection = AlarmsSection()

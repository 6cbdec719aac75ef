"""What a report says of a run by its stage: VQ, SFT, GRPO or a student judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from got_r1.errors import BadInput
from got_r1.files.inputs import read_json
from got_r1.records import TERMS
from got_r1.report.read import NO_EVALUATION, NO_SAMPLES, RunFiles, as_number

__all__ = ["Stage", "facts", "notes", "results_lead", "stage_of"]


@dataclass(frozen=True, slots=True)
class Stage:
    """`name` as people say it, `section` of the recipe; both empty where no metric tells."""

    name: str
    section: str


def stage_of(run: RunFiles) -> Stage:
    """What the run trained, from the metrics that it logged."""
    keys = {key for row in run.metrics for key in row}
    if any(key.startswith("reward/") for key in keys):
        return Stage("GRPO", "rl")
    if "loss/chain" in keys:
        return Stage("SFT", "sft")
    if keys & {f"loss/{term}" for term in TERMS}:
        return Stage("Student judge", "student")
    return Stage("VQ", "vq") if keys else Stage("", "")


def facts(run: RunFiles) -> dict[str, Any]:
    """What the page's head says of a run; None or empty where it is not known."""
    stage = stage_of(run)
    steps = run.metrics[-1]["step"] if run.metrics else 0
    planned = run.setting(f"{stage.section}.steps")
    common = {
        "Stage": stage.name,
        "Model": run.setting("model.path") if stage.section in ("sft", "rl") else None,
        "Judge": run.setting("judge.spec") if stage.section == "rl" else None,
        "Formula": run.setting("reward.formula") if stage.section == "rl" else None,
    }
    match stage.section:
        case "sft":
            common |= _triples(run)
        case "vq":
            batch = run.setting("vq.batch")
            common["Trained on"] = "drawings of icon-world scenes, each in two choices of looks"
            common["Batch"] = f"{batch} images" if batch else None
            common["In depth"] = run.setting("data.depth") or None
        case "student":
            examples = run.setting("student.examples")
            common["Examples"] = ", ".join(map(str, examples)) if examples else None
            start, encoder = (run.setting(f"student.{key}") for key in ("start", "encoder"))
            begun = "trained from nothing" if encoder == "" else encoder
            common["Encoder"] = f"that of {start}" if start else begun
    return common | {
        "Steps": f"{steps} of {planned}" if planned and planned != steps else steps,
        "Seed": run.setting("run.seed"),
        "Wall time": _duration(run.metrics),
        "Recipe": run.digest,
    }


def _triples(run: RunFiles) -> dict[str, Any]:
    """What SFT was trained on: how many triples of which source, and the noise in the world's."""
    shards, source = run.setting("data.shards"), run.setting("data.source")
    manifest: dict[str, Any] = {}
    if not shards:  # the run's own tokens, whose manifest lies in its folder
        try:
            manifest = read_json(run.run_dir / "tokens" / "manifest.json", "manifest")
        except BadInput:
            manifest = {}
    count = as_number(manifest.get("kept"))
    if count is None and not shards and not source:
        count = as_number(run.setting("data.size"))
    of = shards or source or ("the icon world" if run.config else "")
    triples = f"{count:,.0f} triples" if count is not None else "triples"
    batch = run.setting("sft.batch")
    found: dict[str, Any] = {
        "Trained on": f"{triples} of {of}" if of else None,
        "Batch": f"{batch} triples" if batch else None,
    }
    if not shards and not source:
        noises = {
            name: as_number(run.setting(f"data.{name}_noise"))
            for name in ("relation", "attribute", "count")
        }
        wrong = [f"{name} {share:.0%}" for name, share in noises.items() if share is not None]
        found["Wrong captions"] = ", ".join(wrong)
    weights = [as_number(run.setting(f"sft.{part}_loss_weight")) for part in ("chain", "image")]
    if None not in weights and weights != [1, 1]:
        found["Loss weights"] = f"chain {weights[0]:g}, image {weights[1]:g}"
    dropout = as_number(run.setting("sft.condition_dropout"))
    found["Without prompt and chain"] = f"{dropout:.0%}" if dropout else None
    return found


def notes(run: RunFiles) -> tuple[str, ...]:
    """The notes on the run's files, without those on files that its stage does not write."""
    none = (NO_EVALUATION, NO_SAMPLES)
    unwritten = {"sft": none, "vq": (NO_SAMPLES,), "student": none}
    return tuple(n for n in run.notes if n not in unwritten.get(stage_of(run).section, ()))


def results_lead(run: RunFiles) -> str:
    """What the table of results is of, where the evaluations do not say so themselves."""
    if stage_of(run).section != "vq" or not run.evals:
        return ""
    return (
        "Shares of the objects in fresh images that the icon world's detector reads rightly: as "
        "the images were drawn, and after the VQ model has encoded and decoded them."
    )


def _duration(rows: Sequence[Mapping[str, Any]]) -> str:
    """Time that the steps took, all together; empty where they do not say."""
    seconds = sum(as_number(row.get("seconds/total")) or 0 for row in rows)
    if seconds <= 0:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

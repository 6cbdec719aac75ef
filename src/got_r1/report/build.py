"""Put a report together: read the run, draw its curves, fill the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from got_r1.report.gallery import build_galleries, build_probes
from got_r1.report.page import write_page
from got_r1.report.panels import draw_sections
from got_r1.report.read import RunFiles, as_number, read_run
from got_r1.report.results import compare

__all__ = ["build_report"]


def build_report(run_dir: Path | str) -> Path:
    """Write `report.html` into a run folder and return its path.

    The file needs nothing else: styles, script, curves and images are inside, and its content
    policy forbids every request. The same run folder always gives the same bytes. A run that is
    unfinished or damaged gets a report too, which names what is missing.

    Raises:
        BadInput: `run_dir` is not a run folder, or cannot be written.
        RunFailed: the disk is full; an earlier report stays.
    """
    run = read_run(Path(run_dir))
    probes, probe_notes = build_probes(run)
    galleries, gallery_notes = build_galleries(run)
    return write_page(
        run.run_dir / "report.html",
        "report.html",
        name=run.run_dir.resolve().name,
        facts=_facts(run),
        notes=run.notes + probe_notes + gallery_notes,
        probes=probes,
        results=compare(run.evals),
        sections=draw_sections(run.metrics),
        galleries=galleries,
        logged_steps=len(run.samples),
        config_text=run.config_text,
    )


def _facts(run: RunFiles) -> dict[str, Any]:
    """What the page's head says of a run; None or empty where it is not known."""
    stage, settings = _stage(run)
    steps = run.metrics[-1]["step"] if run.metrics else 0
    planned = run.setting(f"{settings}.steps")
    return {
        "Stage": stage,
        "Model": run.setting("model.path"),
        "Judge": run.setting("judge.spec") if settings == "rl" else None,
        "Formula": run.setting("reward.formula") if settings == "rl" else None,
        "Steps": f"{steps} of {planned}" if planned and planned != steps else steps,
        "Seed": run.setting("run.seed"),
        "Wall time": _duration(run.metrics),
        "Recipe": run.digest,
    }


def _stage(run: RunFiles) -> tuple[str, str]:
    """(what the run trained, the recipe's section for it), from the metrics that it logged."""
    keys = {key for row in run.metrics for key in row}
    if any(key.startswith("reward/") for key in keys):
        return "GRPO", "rl"
    if "loss/chain" in keys:
        return "SFT", "sft"
    return ("VQ", "vq") if keys else ("", "")


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

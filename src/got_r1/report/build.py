"""Put a report together: read the run, draw its curves, fill the page."""

from __future__ import annotations

from pathlib import Path

from got_r1.report.alarms import shown_alarms
from got_r1.report.gallery import build_galleries, build_probes
from got_r1.report.page import write_page
from got_r1.report.panels import draw_sections
from got_r1.report.read import read_run
from got_r1.report.results import compare
from got_r1.report.stages import facts, notes, results_lead, stage_of
from got_r1.report.student import agreement_of

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
    alarms, alarm_notes = shown_alarms(run, galleries)
    return write_page(
        run.run_dir / "report.html",
        "report.html",
        name=run.run_dir.resolve().name,
        stage=stage_of(run).name,
        facts=facts(run),
        notes=tuple(dict.fromkeys(notes(run) + probe_notes + gallery_notes + alarm_notes)),
        alarms=alarms,
        probes=probes,
        results=compare(run.evals),
        results_lead=results_lead(run),
        agreement=agreement_of(run),
        sections=draw_sections(run.metrics),
        galleries=galleries,
        logged_steps=len(run.samples),
        config_text=run.config_text,
    )

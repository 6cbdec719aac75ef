"""The page Watch: all runs below a folder, while they train and afterwards.

A page is a frame whose parts the browser asks for again and again: HTML with an ETag, which is
answered with 304 while nothing has changed. Whatever a run's files say is text to the templates.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from got_r1.errors import BadInput
from got_r1.report.gallery import Card, build_card, evenly
from got_r1.report.page import number, percent, score, share
from got_r1.report.panels import draw_section, merge, overlay, panel_groups
from got_r1.report.stages import facts, notes
from got_r1.studio.base import render
from got_r1.studio.runs import Kind, Runs, planned_steps, recipe_difference, state_of

if TYPE_CHECKING:
    from got_r1.studio.app import Studio

__all__ = ["WATCH", "add_watch_routes"]

WATCH = "/runs"
"""The page's path."""

_MOST_CARDS = 64
_MOST_PICTURES = 12
_SECTIONS = 4  # of curves
_KEPT = 64  # parts that are kept drawn
_REST = 10  # curves are drawn again after this many times the seconds that drawing them took

Name = Annotated[str, Query(max_length=4096)]
Other = Annotated[str, Query(alias="with", max_length=4096)]
Step = Annotated[int | None, Query(ge=0, lt=10**12)]
Index = Annotated[int, Query(ge=0, lt=10**6)]
_FORMATS = {"number": number, "percent": percent, "score": score, "share": share}


def add_watch_routes(app: FastAPI, studio: Studio, runs: Runs) -> None:
    """The listing, the page of a run, and what they ask for."""
    parts = _Parts(runs)

    @app.get(WATCH)
    def page(run: Name = "", other: Other = "") -> HTMLResponse:
        folder, problem = str(runs.folder), ""
        try:
            for name in filter(None, (run, other)):
                runs.place(name)
        except BadInput as error:
            run, problem = "", str(error)
        if run:
            names = [summary.name for summary in runs.summaries()]
            content = {"run": run, "other": other, "names": names, "sections": _SECTIONS}
            return studio.page("run.html", WATCH, **content)
        page = studio.page("runs.html", WATCH, folder=folder, problem=problem)
        page.status_code = 400 if problem else 200
        return page

    @app.get(f"{WATCH}/list")
    def listing(request: Request) -> Response:
        return _answer(request, render("run_list.html", runs=runs.summaries(), **_FORMATS))

    @app.get(f"{WATCH}/head")
    def head(request: Request, run: Name) -> Response:
        return _answer(request, parts.head(run))

    @app.get(f"{WATCH}/curves")
    def curves(
        request: Request,
        run: Name,
        section: Annotated[int, Query(ge=0, lt=_SECTIONS)] = 0,
        other: Other = "",
    ) -> Response:
        return _answer(request, parts.curves(run, section, other))

    @app.get(f"{WATCH}/gallery")
    def gallery(request: Request, run: Name, kind: Kind, step: Step = None) -> Response:
        return _answer(request, parts.gallery(run, kind, step))

    @app.get(f"{WATCH}/history")
    def history(request: Request, run: Name, prompt: Index = 0, step: Step = None) -> Response:
        return _answer(request, parts.history(run, prompt, step))

    @app.get(f"{WATCH}/recipe")
    def recipe(
        request: Request,
        run: Name,
        other: Other = "",
    ) -> Response:
        return _answer(request, parts.recipe(run, other))

    @app.get(f"{WATCH}/image")
    def image(run: Name, kind: Kind, step: Step, index: Index) -> FileResponse:
        return FileResponse(runs.image(run, kind, step or 0, index), media_type="image/png")


def _answer(request: Request, html: str) -> Response:
    """A part of a page; 304 where the browser has it already."""
    body = html.encode("utf-8", "replace")  # JSON may hold halves of surrogate pairs
    tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return HTMLResponse(body, headers={"ETag": tag})


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Curves as they were drawn: from what, when (monotonic) and in how many seconds."""

    stamp: Hashable
    html: str
    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class _Shown:
    """A sample of a page: its index in the gallery, its card, and whether it has an image."""

    index: int
    card: Card
    image: bool


class _Parts:
    """The parts of a run's page as HTML."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self._drawn: OrderedDict[Hashable, _Drawn] = OrderedDict()
        self._drawing = threading.Lock()  # matplotlib's settings are the process's

    def head(self, run: str) -> str:
        """State, facts and notes."""
        files = self.runs.read(run)
        changed = self.runs.changed(run)
        return render(
            "run_head.html",
            step=files.metrics[-1]["step"] if files.metrics else 0,
            planned=planned_steps(files),
            facts={key: value for key, value in facts(files).items() if value not in (None, "")},
            notes=notes(files),
            state=state_of(files, changed),
            changed=changed,
        )

    def curves(self, run: str, section: int, other: str) -> str:
        """A section of curves, of two runs where there is another; empty where the run has no such
        section. While a run goes on they are drawn again at intervals, so that drawing takes little
        of the processor that the run may need."""
        key = (run, section, other)
        stamp = (self.runs.stamp(run), self.runs.stamp(other) if other else None)
        with self._drawing:
            kept = self._drawn.get(key)
            if kept is not None:
                self._drawn.move_to_end(key)
                early = time.monotonic() - kept.at < _REST * kept.seconds
                if kept.stamp == stamp or early:
                    return kept.html
            began = time.monotonic()
            html = self._curves(run, section, other)
            ended = time.monotonic()
            self._drawn[key] = _Drawn(stamp, html, ended, ended - began)
            while len(self._drawn) > _KEPT:
                self._drawn.popitem(last=False)
            return html

    def _curves(self, run: str, section: int, other: str) -> str:
        rows: Sequence[dict[str, Any]] = self.runs.read(run).metrics
        others = self.runs.read(other).metrics if other else ()
        groups = list(panel_groups([*rows, *others]).items())
        if section >= len(groups):
            return ""
        title, panels = groups[section]
        if other:
            panels, rows = overlay(panels, run, other), merge(rows, others)
        drawn = draw_section(title, panels, rows)
        if drawn is None:
            return ""
        return render("run_curves.html", section=drawn, index=section, overlaid=other, **_FORMATS)

    def gallery(self, run: str, kind: Kind, step: int | None) -> str:
        """The samples of a step, the newest where none is given. A group comes with the largest
        advantages first, whatever their sign."""
        steps = list(self.runs.steps(run, kind))
        step = _chosen(steps, step)
        shown, said = self._samples(run, kind, step)
        if kind == "groups":
            shown.sort(key=lambda one: -abs(one.card.advantage or 0))
        totals = [one.card.total for one in shown if one.card.total is not None]
        return render(
            "run_gallery.html",
            run=run,
            kind=kind,
            steps=steps,
            step=step,
            shown=shown[:_MOST_CARDS],
            count=len(shown),
            learnt=any(one.card.advantage is not None for one in shown),
            found=any(one.card.found is not None for one in shown),
            mean=fmean(totals) if totals else None,
            spread=pstdev(totals) if len(totals) > 1 else None,
            largest=max((abs(one.card.advantage or 0) for one in shown), default=0) or 1,
            notes=said,
            **_FORMATS,
        )

    def history(self, run: str, prompt: int, step: int | None) -> str:
        """A fixed prompt at a step, the newest where none is given, and pictures of its others."""
        steps = list(self.runs.steps(run, "probes"))
        step = _chosen(steps, step)
        shown, said = self._samples(run, "probes", step)
        return render(
            "run_history.html",
            run=run,
            steps=steps,
            step=step,
            film=evenly(steps, _MOST_PICTURES),
            shown=shown[:_MOST_CARDS],
            prompt=prompt,
            notes=said,
            **_FORMATS,
        )

    def recipe(self, run: str, other: str) -> str:
        """The recipe, and where that of another run differs."""
        files = self.runs.read(run)
        return render(
            "run_recipe.html",
            run=run,
            other=other,
            text=files.config_text,
            differences=recipe_difference(files, self.runs.read(other)) if other else None,
        )

    def _samples(self, run: str, kind: Kind, step: int | None) -> tuple[list[_Shown], list[str]]:
        """(samples, notes); cards hold no pictures, which the browser asks for one by one."""
        said: list[str] = []
        samples = self.runs.gallery(run, kind, step, said) if step is not None else ()
        shown = [
            _Shown(one.index, build_card(replace(one, image=None), said), one.image is not None)
            for one in samples
        ]
        return shown, said


def _chosen(steps: list[int], wanted: int | None) -> int | None:
    """The wanted step, or else the newest; None where there is none."""
    if wanted in steps:
        return wanted
    return steps[-1] if steps else None

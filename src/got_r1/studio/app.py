"""The studio's server: its pages, and what they ask for.

A request that needs the model is one job of the worker, and its answer a stream of server-sent
events; a tab that is closed ends the stream, and with it the job.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from PIL import Image

from got_r1.errors import BadInput
from got_r1.files.parsing import parse_json
from got_r1.plan.editing import chain_of_record
from got_r1.studio.base import ASSETS, new_app, render
from got_r1.studio.guard import Guard
from got_r1.studio.model import METADATA, Model
from got_r1.studio.rating import Rating, add_rating_routes
from got_r1.studio.requests import (
    BoxesRequest,
    DrawRequest,
    MendRequest,
    PlanRequest,
    TextRequest,
)
from got_r1.studio.runs import Runs
from got_r1.studio.views import plan_from_boxes
from got_r1.studio.watching import WATCH, add_watch_routes
from got_r1.studio.worker import Event, Job, Worker

__all__ = ["Comparison", "Studio", "create_app"]

_MOST_PIXELS = 64 * 2**20  # of an image that is opened


class Comparison(Protocol):
    """What the page Compare compares: two models or two folders."""

    page: ClassVar[str]
    """The template of its page."""

    def about(self) -> dict[str, Any]:
        """What the page shows from the start."""

    def add_routes(self, app: FastAPI, studio: Studio) -> None:
        """Adds what the page asks for."""

    def close(self) -> None:
        """Ends with the application."""


@dataclass(frozen=True, slots=True)
class Studio:
    """What the routes share."""

    model: Model
    worker: Worker
    guard: Guard
    pages: dict[str, str]
    """The studio's pages, their names by their paths, in the order of every page's links."""

    def page(self, template: str, here: str, **content: Any) -> HTMLResponse:
        """The page at the path `here`, with the token that its requests carry."""
        return HTMLResponse(
            render(template, token=self.guard.page, pages=self.pages, here=here, **content)
        )

    def stream(self, work: Callable[[Job], Event]) -> StreamingResponse:
        """The events of a job as server-sent events."""
        job = self.worker.submit(work)
        return StreamingResponse(_lines(job), media_type="text/event-stream")


async def _lines(job: Job) -> AsyncIterator[str]:
    async for event in job.events():
        yield f"data: {json.dumps(event, ensure_ascii=False)}\n\n"


def create_app(
    model: Model,
    guard: Guard,
    rating: Rating | None = None,
    comparison: Comparison | None = None,
    runs: Path | None = None,
) -> FastAPI:
    """The application; it owns a worker, which ends with it, as do the rating of a study and a
    comparison. `runs`: the folder below which runs are watched."""
    worker = Worker()
    app = new_app(guard, worker.close, *(one.close for one in (rating, comparison) if one))
    app.mount("/assets", StaticFiles(directory=ASSETS), name="assets")
    pages = {"/": "Draw"}
    if comparison is not None:
        pages["/compare"] = "Compare"
    if runs is not None:
        pages[WATCH] = "Watch"
    if rating is not None:
        pages[f"{rating.path}/progress"] = "Rate"
    studio = Studio(model, worker, guard, pages)
    _draw_routes(app, studio)
    _history_routes(app, studio)
    if runs is not None:
        add_watch_routes(app, studio, Runs(runs))
    if rating is not None:
        add_rating_routes(app, rating)
    if comparison is not None:
        _compare_routes(app, studio, comparison)
    return app


def _compare_routes(app: FastAPI, studio: Studio, comparison: Comparison) -> None:
    @app.get("/compare")
    async def compare_page() -> HTMLResponse:
        return studio.page(comparison.page, "/compare", about=comparison.about())

    comparison.add_routes(app, studio)


def _draw_routes(app: FastAPI, studio: Studio) -> None:
    model = studio.model

    @app.get("/")
    async def draw_page() -> HTMLResponse:
        return studio.page("draw.html", "/", about=model.about())

    @app.post("/api/plan")
    async def plan(asked: PlanRequest) -> StreamingResponse:
        return studio.stream(lambda job: model.write_plan(asked, job))

    @app.post("/api/draw")
    async def draw(asked: DrawRequest) -> StreamingResponse:
        return studio.stream(lambda job: model.draw(asked, job))

    @app.post("/api/text")
    def text(asked: TextRequest) -> dict[str, Any]:
        return model.view(asked.prompt, asked.chain)

    @app.post("/api/boxes")
    def boxes(asked: BoxesRequest) -> dict[str, Any]:
        return plan_from_boxes(
            asked.prompt,
            asked.prose,
            asked.objects,
            world=model.checks.world,
            marks=model.rollout.marks,
        )

    @app.post("/api/mend")
    def mend(asked: MendRequest) -> dict[str, Any]:
        return model.mend(asked)

    @app.post("/api/judge/{name}/{index}")
    async def judge(name: str, index: int) -> StreamingResponse:
        if model.judge is None:
            raise BadInput("no judge is at hand: start the studio with --judge SPEC.")
        return studio.stream(lambda job: model.judged(name, index, job))

    @app.post("/api/open")
    async def open_file(request: Request) -> dict[str, Any]:
        data = await request.body()
        return await asyncio.to_thread(_opened, data, model)


def _history_routes(app: FastAPI, studio: Studio) -> None:
    history = studio.model.history

    @app.get("/api/history")
    def newest(before: str = "") -> list[dict[str, Any]]:
        entries = []
        for name in history.names(before):
            try:
                entry = history.read(name)
                entries.append({key: entry[key] for key in ("name", "prompt", "images", "made")})
            except (BadInput, KeyError):  # a damaged entry hides no other
                continue
        return entries

    @app.get("/api/history/{name}")
    def entry(name: str) -> dict[str, Any]:
        return history.read(name)

    @app.delete("/api/history/{name}")
    def remove(name: str) -> dict[str, Any]:
        history.remove(name)
        return {}

    @app.get("/history/{name}/{index}.png")
    def image(name: str, index: int) -> FileResponse:
        return FileResponse(history.image(name, index), media_type="image/png")


def _opened(data: bytes, model: Model) -> dict[str, Any]:
    """The plan of a dropped file: a PNG that the studio exported, or a plan as JSON."""
    if data.startswith(b"\x89PNG"):
        try:
            with Image.open(io.BytesIO(data)) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise BadInput("the image has too many pixels.")
                image.load()  # text may stand behind the pixels
                text = getattr(image, "text", {}).get(METADATA)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            raise BadInput("the image is damaged: it cannot be read.") from None
        if text is None:
            raise BadInput("the image holds no plan: the studio did not make it.")
        data = str(text).encode()
    try:
        record = parse_json(data)
    except ValueError:
        raise BadInput("the file is neither an exported image nor a plan as JSON.") from None
    if not isinstance(record, dict):
        raise BadInput("the file holds no plan: a plan is a JSON object (docs/plans.md).")
    prompt = record.get("prompt")
    prompt = prompt if isinstance(prompt, str) else ""
    text = chain_of_record(record, "the file", prompt)
    return {"prompt": prompt, **model.view(prompt, text)}

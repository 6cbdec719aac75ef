"""What every application of the studio has: the guard, answers to mistakes, and its pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from got_r1.errors import BadInput, RunFailed
from got_r1.studio.guard import Guard
from got_r1.studio.worker import Busy

__all__ = ["ASSETS", "new_app", "render"]

ASSETS = Path(__file__).parent / "assets"


def new_app(guard: Guard, *close: Callable[[], None]) -> FastAPI:
    """An application without routes, every request of which the guard sees first; `close` is called
    when it ends. Mistakes and faults are answered with one sentence, under `message`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        for end in close:
            end()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(guard)
    _add_refusals(app)
    return app


def render(template: str, **content: Any) -> str:
    """A page as HTML."""
    return _pages().get_template(template).render(content)


@cache
def _pages() -> Environment:
    return Environment(
        loader=PackageLoader("got_r1.studio", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _add_refusals(app: FastAPI) -> None:
    """Answers of an application whose routes raise."""

    @app.exception_handler(BadInput)
    @app.exception_handler(RunFailed)
    async def refused(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"message": str(error)}, 400 if isinstance(error, BadInput) else 500)

    @app.exception_handler(Busy)
    async def busy(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"message": "too many requests wait already; try again soon."}, 503)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return JSONResponse({"message": f"{where or 'the request'}: {first['msg']}."}, 422)

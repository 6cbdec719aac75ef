"""Mistakes and faults as one sentence, under `message`."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from got_r1.errors import BadInput, RunFailed
from got_r1.studio.worker import Busy

__all__ = ["add_refusals"]


def add_refusals(app: FastAPI) -> None:
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

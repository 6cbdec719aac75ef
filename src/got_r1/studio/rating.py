"""Rating a study with a server behind the rater's page.

A rater's page is the one of the kits (`got_r1.report.kit_page`) with another store; its pictures
are addresses, each save is one transaction of the study's database (`got_r1.audit.ratings`).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from got_r1.audit.kits import kits
from got_r1.audit.progress import study_progress
from got_r1.audit.ratings import RatingsDatabase
from got_r1.audit.sheets import SCALE, checked_name, read_items, study_id
from got_r1.errors import BadInput
from got_r1.report.kit_page import kit_asset, served_kit_page
from got_r1.studio.base import ASSETS, new_app, render
from got_r1.studio.guard import Guard, same

__all__ = ["Rating", "add_rating_routes", "create_rating_app"]

_OF_KITS = ("style.css", "kit.css", "kit.js")
_OWN = ("rating_store.js", "rate_progress.js")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Score = Annotated[int, Field(ge=SCALE[0], le=SCALE[1], strict=True)] | None


class ItemSave(BaseModel):
    """What a rater changed of an item; what is not named stays."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    semantic: Score = None
    spatial: Score = None
    quality: Score = None
    comment: Annotated[str, Field(max_length=10_000)] = ""
    seconds: Annotated[float, Field(ge=0, le=1e7)] = 0


class Save(BaseModel):
    """A save: where the rater is in their order, and what they changed, by item."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Annotated[int, Field(ge=0, strict=True)]
    items: dict[str, ItemSave]


class Rating:
    """A study that is rated: its raters (`guard.Raters`), pages and database."""

    def __init__(self, study: Path, raters: Sequence[str] = ()) -> None:
        """Open the study's database, and give each of `raters` a token where they have none.

        Raises BadInput where the folder is no study, or a name is no rater's name.
        """
        self.study = study
        identity = study_id(study)
        self.ids = [item["id"] for item in read_items(study)]
        names = [checked_name(name) for name in raters]
        self.database = RatingsDatabase(study, identity)
        for name in names:
            self.database.token(name)
        self.tokens = self.database.tokens()
        folder = study.resolve().name
        self.name = folder if _NAME.fullmatch(folder) else identity
        self.path = f"/rate/{self.name}"
        self._pictures: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._kits = {kit["rater"]: self._served(kit) for kit in kits(study, list(self.tokens))}
        # SQLite has one writer; more threads would only wait for it.
        self.writer = ThreadPoolExecutor(1, "ratings")
        self._measuring = threading.Lock()
        self._saves = 0
        self._measured: tuple[int, dict[str, Any]] | None = None

    def is_raters(self, path: str) -> bool:
        """Whether raters open this path; the rest is for whoever runs the study."""
        below = path.removeprefix(self.path)
        if below == path or below.split("/")[:2] == ["", "progress"]:
            return False
        return below == "" or below.startswith("/")

    def rater_of(self, token: str) -> str | None:
        """Whose token this is; every token is compared, each in constant time."""
        found = [name for name, own in self.tokens.items() if same(token, own)]
        return found[0] if found else None

    def page_token(self, rater: str) -> str:
        """What the rater's page sends with its saves. It depends on the rater's token alone, so a
        page that is open goes on after the server was started again."""
        return hmac.new(self.tokens[rater].encode(), b"page", hashlib.sha256).hexdigest()

    def page(self, rater: str) -> str:
        """The rater's page as HTML."""
        return served_kit_page(self._kits[rater], self.path, self.page_token(rater))

    def picture(self, item: str, kind: str) -> tuple[str, bytes] | None:
        """Media type and bytes of an item's "plan" or "picture"."""
        return self._pictures.get((item, kind))

    def save(self, rater: str, asked: Save) -> None:
        """Keep a save; it is on the disk when this returns. Raises BadInput for unknown items."""
        if unknown := asked.items.keys() - set(self.ids):
            raise BadInput(f"the study has no item {min(unknown)[:20]!r}; open your link again.")
        if asked.at >= len(self.ids):
            raise BadInput(f"the study has {len(self.ids)} items; open your link again.")
        items = {name: one.model_dump(exclude_unset=True) for name, one in asked.items.items()}
        self.database.save(rater, asked.at, items)
        self._saves += 1

    def progress(self) -> dict[str, Any]:
        """Progress and agreement (`study_progress`), computed anew after a save."""
        with self._measuring:
            saves = self._saves
            if self._measured is None or self._measured[0] != saves:
                self._measured = saves, study_progress(self.study, list(self.tokens))
            return self._measured[1]

    def close(self) -> None:
        """Ends after the saves that were begun."""
        self.writer.shutdown()
        self.database.close()

    def _served(self, kit: dict[str, Any]) -> dict[str, Any]:
        """The kit with addresses for its pictures, which are kept once for all raters."""
        items = []
        for item in kit["items"]:
            addresses = {}
            for kind in ("plan", "picture"):
                head, data = item[kind].split(";base64,", 1)
                if (item["id"], kind) not in self._pictures:
                    media = head.removeprefix("data:")
                    self._pictures[item["id"], kind] = media, base64.b64decode(data)
                addresses[kind] = f"{self.path}/items/{item['id']}/{kind}"
            items.append(item | addresses)
        return kit | {"items": items}


def create_rating_app(rating: Rating, guard: Guard) -> FastAPI:
    """The application of a studio that has no model: rating alone. It closes `rating`."""
    app = new_app(guard, rating.close)
    add_rating_routes(app, rating)

    @app.get("/")
    async def start() -> RedirectResponse:
        return RedirectResponse(f"{rating.path}/progress", 303)

    return app


def add_rating_routes(app: FastAPI, rating: Rating) -> None:
    """The paths below `rating.path`: the rater's, whose name the guard has put into the request,
    and progress, for whoever runs the study."""
    base = rating.path
    assets = {name: kit_asset(name) for name in _OF_KITS}
    assets |= {name: (ASSETS / name).read_text(encoding="utf-8") for name in _OWN}

    @app.get(base)
    def page(request: Request) -> HTMLResponse:
        return HTMLResponse(rating.page(request.state.rater))

    @app.get(f"{base}/assets/{{name}}")
    async def asset(name: str) -> Response:
        if name not in assets:
            return JSONResponse({"message": "there is no such file."}, 404)
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        return Response(assets[name], media_type=kind)

    @app.get(f"{base}/items/{{item}}/{{kind}}")
    async def picture(item: str, kind: str) -> Response:
        found = rating.picture(item, kind)
        if found is None:
            return JSONResponse({"message": "there is no such picture."}, 404)
        return Response(
            found[1], media_type=found[0], headers={"Cache-Control": "private, max-age=3600"}
        )

    @app.get(f"{base}/progress")
    def progress() -> HTMLResponse:
        found = rating.progress()
        return HTMLResponse(
            render("rate_progress.html", name=rating.name, base=base, progress=found)
        )

    @app.get(f"{base}/progress/{{name}}")
    async def progress_asset(name: str) -> Response:
        return await asset(name)

    @app.get(f"{base}/state")
    def state(request: Request) -> dict[str, Any] | None:
        return rating.database.state(request.state.rater)

    @app.post(f"{base}/state")
    async def save(request: Request, asked: Save) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(rating.writer, rating.save, request.state.rater, asked)
        return {}

"""A studio that draws, watches runs and has a study rated, all at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from audit.conftest import make_run
from got_r1.audit.study import build_study
from got_r1.studio.app import create_app
from got_r1.studio.guard import COOKIE, Guard
from got_r1.studio.model import Model
from got_r1.studio.rating import Rating
from studio.serving import PROMPT, listening

__all__ = ["make_run"]


@pytest.fixture
def together(model: Model, make_run, tmp_path: Path) -> Iterator[tuple[str, Rating, Guard]]:
    build_study([("ours", make_run("run", steps=2, samples=10))], tmp_path / "study", items=10)
    rating = Rating(tmp_path / "study", ["ann"])
    guard = Guard("127.0.0.1", raters=rating)
    with listening(create_app(model, guard, rating, runs=tmp_path)) as url:
        yield url, rating, guard


def test_each_reaches_what_is_theirs(together: tuple[str, Rating, Guard]) -> None:
    url, rating, guard = together
    with httpx.Client(base_url=url, timeout=300, follow_redirects=True) as ann:
        page = ann.get(f"{rating.path}?rater={rating.tokens['ann']}")
        assert page.status_code == 200
        token = re.search('name="studio-token" content="([^"]+)"', page.text)
        assert token is not None
        ann.headers.update({"Origin": url, "X-Studio-Token": token[1]})
        saved = {"at": 1, "items": {rating.ids[0]: {"semantic": 5}}}
        assert ann.post(f"{rating.path}/state", json=saved).status_code == 200
        for other in ("/", "/runs", f"{rating.path}/progress", "/api/history"):
            assert ann.get(other).status_code == 403, other
        assert ann.post("/api/plan", json={"prompt": PROMPT}).status_code == 403
    with httpx.Client(base_url=url, timeout=300, follow_redirects=True) as owner:
        owner.cookies.set(COOKIE, guard.access)
        draw = owner.get("/")
        links = re.findall('<a href="([^"]+)"', draw.text.partition("</nav>")[0])
        assert links == ["/", "/runs", f"{rating.path}/progress"]
        assert all(owner.get(link).status_code == 200 for link in links)
        assert "ann" in owner.get(f"{rating.path}/progress").text
        owner.headers.update({"Origin": url, "X-Studio-Token": guard.page})
        with owner.stream("POST", "/api/plan", json={"prompt": PROMPT, "seed": 1}) as answer:
            lines = [line for line in answer.iter_lines() if line]
        assert json.loads(lines[-1].removeprefix("data: "))["kind"] == "done"

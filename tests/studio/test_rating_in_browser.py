"""Rating in a real browser: by keys, kept on the server, on a desk and on a phone."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.conftest import make_run
from got_r1.audit.ratings import database_ratings
from got_r1.audit.sheets import order_for, read_items, study_id
from got_r1.audit.study import build_study
from got_r1.studio.guard import COOKIE, Guard
from got_r1.studio.rating import Rating, create_rating_app
from studio.serving import listening

pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")

from playwright.sync_api import Browser, Page, expect

carrier = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")

__all__ = ["make_run"]
WAIT = 180_000  # milliseconds; a crowded machine is slow, not wrong
EVIL = (
    '</script></div><script>document.title = "taken"</script><img src=x onerror="document.title=1">'
)
AXE = Path(carrier.__file__).with_name("axe.min.js")


@pytest.fixture
def study(make_run, tmp_path) -> Path:
    """Five items whose prompts, chains and comments have markup in them."""
    run = make_run("ours", steps=1, samples=5)
    for path in run.glob("samples/*/*.json"):
        record = json.loads(path.read_text())
        record["prompt"] = f"{record['prompt']} {EVIL}"
        record["chain"] = f"{record['chain']} {EVIL}"
        path.write_text(json.dumps(record))
    build_study([("ours", run)], tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture
def page(browser: Browser, study: Path) -> Iterator[Page]:
    """The page of ann, from her link; nothing may be said on the console."""
    rating = Rating(study, ["ann", "bob"])
    guard = Guard("127.0.0.1", raters=rating)
    with listening(create_rating_app(rating, guard)) as url:
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        opened = context.new_page()
        opened.set_default_timeout(WAIT)
        expect.set_options(timeout=WAIT)
        said: list[str] = []
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.goto(f"{url}{rating.path}?rater={rating.tokens['ann']}")
        expect(opened.locator("#place")).to_have_text("Item 1 of 5")
        context.add_cookies([{"name": COOKIE, "value": guard.access, "url": url}])
        yield opened
        assert said == []
        context.close()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def pressed(page: Page, question: str, score: int) -> None:
    button = page.locator(f'[data-question="{question}"] [data-score="{score}"]')
    expect(button).to_have_attribute("aria-pressed", "true")


def saved(page: Page, *keys: str) -> None:
    """Presses keys, and waits until the server has answered the save of each."""
    for key in keys:
        with page.expect_response(lambda answer: answer.request.method == "POST"):
            page.keyboard.press(key)


def stored(study: Path, expected: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Ann's ratings in the database, read until they hold what is expected: an answer that came
    may have been to an earlier save than that of the last key."""
    last = time.monotonic() + WAIT / 1000
    while True:
        kept = database_ratings(study, study_id(study)).get("ann", {})
        there = all(kept.get(item, {}).items() >= part.items() for item, part in expected.items())
        if (there and bool(kept) == bool(expected)) or time.monotonic() > last:
            return kept
        time.sleep(0.05)


def test_ratings_by_keys_are_on_the_server_and_there_after_a_reload(
    page: Page, study: Path
) -> None:
    first, second = order_for("ann", [item["id"] for item in read_items(study)])[:2]
    saved(page, "7", "t", "0")
    saved(page, "ArrowRight", "3")
    expect(page.locator("#kept")).to_contain_text("kept on the server")
    kept = stored(study, {first: {"quality": 0}, second: {"semantic": 3}})
    assert kept[first] == {"semantic": 7, "spatial": 10, "quality": 0, "comment": ""}
    assert kept[second]["semantic"] == 3
    page.reload()
    expect(page.locator("#place")).to_have_text("Item 2 of 5")
    pressed(page, "semantic", 3)
    expect(page.locator("#progress-text")).to_contain_text("1 rated, 1 in part")
    saved(page, "ArrowLeft")
    for question, score in (("semantic", 7), ("spatial", 10), ("quality", 0)):
        pressed(page, question, score)


def test_undo_takes_back_on_the_server_too(page: Page, study: Path) -> None:
    (first, *_) = order_for("ann", [item["id"] for item in read_items(study)])
    saved(page, "7", "5")
    saved(page, "u")
    kept = stored(study, {first: {"semantic": 7, "spatial": None}})
    assert kept[first] == {"semantic": 7, "spatial": None, "quality": None, "comment": ""}
    saved(page, "u")
    assert stored(study, {}) == {}


def test_what_the_server_did_not_take_is_sent_again(page: Page, study: Path) -> None:
    (first, *_) = order_for("ann", [item["id"] for item in read_items(study)])
    refused: list[str] = []

    def refuse(route) -> None:
        refused.append(route.request.url)
        route.fulfill(status=200, body="no JSON") if len(refused) < 2 else route.continue_()

    page.route("**/state", refuse)
    page.keyboard.press("4")
    expect(page.locator("#message")).to_contain_text("The server does not answer")
    expect(page.locator("#message")).to_be_hidden()  # it tries again by itself
    assert database_ratings(study, study_id(study))["ann"][first]["semantic"] == 4


def test_markup_in_prompts_chains_and_comments_stays_text(page: Page, study: Path) -> None:
    expect(page.locator("#prompt")).to_contain_text(EVIL)
    page.fill("#comment", EVIL)
    page.keyboard.press("Escape")
    saved(page, "9")
    page.reload()
    expect(page.locator("#comment")).to_have_value(EVIL)
    assert page.title() == "Rating as ann"
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_pass_axe(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for address in (page.url, f"{page.url}/progress"):  # the organiser's cookie is there as well
        page.goto(address)
        for width in (360, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width
            is_accessible(page)


def is_accessible(page: Page) -> None:
    """Runs axe-core, which the page's own policy keeps out of a script element."""
    page.evaluate(AXE.read_text(encoding="utf-8") + "; null")
    found = page.evaluate(
        "async () => (await axe.run()).violations.map((one) => [one.id, one.nodes[0].html])"
    )
    assert found == []

"""The page Watch in a real browser, over runs that grow, and over one that really trains."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from got_r1.recipes.sections import Recipe
from got_r1.studio.guard import Guard
from got_r1.studio.model import Model
from got_r1.training import rl
from studio.serving import Served, serve
from studio.watched import write_run, write_step

pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")

from playwright.sync_api import Browser, Page, expect

WAIT = 240_000  # milliseconds; a crowded machine is slow, not wrong
EVIL = "<img src=x onerror=document.title='taken'>"
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched") / "runs"


@pytest.fixture(scope="module")
def watched(model: Model, folder: Path) -> Iterator[Served]:
    yield from serve(model, Guard("127.0.0.1"), runs=folder)


@pytest.fixture
def page(browser: Browser, watched: Served) -> Iterator[Page]:
    """A page of the studio; nothing may be said on the console."""
    context = browser.new_context(base_url=watched.url, viewport={"width": 1300, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(WAIT)
    expect.set_options(timeout=WAIT)
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    yield opened
    assert said == []
    context.close()


def set_slider(page: Page, part: str, index: int) -> None:
    """Moves the slider of a part as arrow keys do."""
    page.locator(f'input[data-of="{part}"]').fill(str(index))


@pytest.mark.slow
def test_a_run_is_watched_while_it_trains(
    page: Page, folder: Path, make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe(
        "run",
        run={"dir": str(folder / "sweep" / "trained"), "track": []},
        rl={"steps": 4, "sample_every": 1},
        eval={"prompts": 0, "probes": 1},
    )
    page.goto("/runs")
    expect(page.locator("main")).to_contain_text("Runs")
    failed: list[BaseException] = []

    def train() -> None:
        try:
            rl.train(recipe, quiet=True)
        except BaseException as error:
            failed.append(error)

    training = threading.Thread(target=train)
    training.start()
    page.click("text=sweep/trained")
    expect(page.locator("#group article")).to_have_count(4)
    expect(page.locator("#samples article")).to_have_count(2)
    expect(page.locator("#curves figure").first).to_be_visible()
    expect(page.locator(".state")).to_have_text("finished")
    expect(page.locator("#group output")).to_have_text("4")
    expect(page.locator("#history output")).to_have_text("4")
    expect(page.locator("#history .film li")).to_have_count(5)  # and before the first step
    training.join()
    assert failed == []
    files = folder / "sweep" / "trained" / "groups" / "step_000004"
    totals = [json.loads(path.read_text())["reward"]["total"] for path in files.glob("*.json")]
    shown = page.locator("#group .reward b").all_text_contents()
    assert sorted(shown) == sorted(f"{total:.2f}" for total in totals)
    page.locator("#group").scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('#group img').naturalWidth > 0")


def test_the_reader_is_not_moved_by_what_is_new(page: Page, folder: Path) -> None:
    log = write_run(folder / "still", 3)
    page.goto("/runs?run=still")
    expect(page.locator("#samples output")).to_have_text("3")
    expect(page.locator("#curves figure")).to_have_count(2)
    set_slider(page, "samples-part", 0)
    expect(page.locator("#samples output")).to_have_text("1")
    expect(page.locator("#samples-part [data-step]")).to_have_attribute("data-step", "1")
    page.locator("#history .prompts button").nth(1).click()
    expect(page.locator("#history [aria-pressed=true]").first).to_have_text("a heart")
    page.locator("#recipe summary").click()
    page.locator("#history details summary").click()
    expect(page.locator("#history details")).to_have_attribute("open", "")
    place = "() => document.querySelector('#recipe').getBoundingClientRect().top"
    stood = page.evaluate(place)
    assert page.evaluate("() => scrollY") > 0
    write_step(log, 4)
    log.close()
    expect(page.locator("#group output")).to_have_text("4")
    expect(page.locator("#history output")).to_have_text("4")
    expect(page.locator("#history [aria-pressed=true]").first).to_have_text("a heart")
    expect(page.locator('input[data-of="samples-part"]')).to_have_attribute("max", "3")
    expect(page.locator("#samples output")).to_have_text("1")
    expect(page.locator("#recipe details")).to_have_attribute("open", "")
    expect(page.locator("#history details")).to_have_attribute("open", "")
    assert page.evaluate(place) == pytest.approx(stood, abs=2)
    set_slider(page, "samples-part", 3)  # at its end it follows again
    log = write_run(folder / "stiller", 5)
    expect(page.locator("#samples-part [data-step]")).to_have_attribute("data-step", "4")
    log.close()
    page.locator("[data-boxes='samples-part']").uncheck()
    expect(page.locator("#samples .pic svg").first).to_be_hidden()


def test_what_had_the_focus_keeps_it(page: Page, folder: Path) -> None:
    log = write_run(folder / "focus", 1)
    page.goto("/runs?run=focus")
    page.locator("#history .prompts button").nth(1).focus()
    write_step(log, 2)
    log.close()
    expect(page.locator("#history .film li")).to_have_count(2)
    assert page.evaluate("() => document.activeElement.dataset.key") == "prompt-1"


def test_a_hidden_tab_asks_for_nothing(page: Page, folder: Path) -> None:
    write_run(folder / "hidden", 1).close()
    page.goto("/runs?run=hidden")
    expect(page.locator("#curves figure")).to_have_count(0)  # one step is no curve
    expect(page.locator("#recipe summary")).to_be_visible()
    page.evaluate("() => Object.defineProperty(document, 'hidden', {get: () => true})")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(6000)
    # A part that was on its way may still bring pictures.
    assert [url for url in asked if "/runs/image" not in url] == []


def test_nothing_of_a_run_becomes_html(page: Page, folder: Path) -> None:
    with write_run(folder / EVIL, 2, text=EVIL) as log:
        log.log_metrics(3, {f"other/{EVIL}": 1, "reward/total": 1})
        log.log_metrics(4, {f"other/{EVIL}": 2, "reward/total": 2})
    write_run(folder / "other", 2).close()
    page.goto("/runs")
    page.fill("#filter", "img")
    page.click(f'a:text("{EVIL}")')
    page.select_option("select", "other")
    page.click("text=Show")
    expect(page.locator(".difference")).to_contain_text(EVIL)
    expect(page.locator("figcaption", has_text=EVIL)).to_have_count(1)
    for part in ("#group", "#samples", "#history"):
        page.locator(f"{part} details summary").first.click()
        expect(page.locator(f"{part} .chain").first).to_contain_text(EVIL)
        expect(page.locator(f"{part} .evidence").first).to_contain_text(EVIL)
    assert page.title() == f"{EVIL} · got-r1 studio"
    assert page.locator("img[src=x]").count() == 0


def test_the_filter_and_the_two_colours(page: Page, folder: Path) -> None:
    for name, steps in (("red", 2), ("blue", 3)):
        write_run(folder / name, steps).close()
    page.goto("/runs")
    expect(page.locator("tr", has_text="blue")).to_be_visible()
    page.fill("#filter", "red grpo")
    expect(page.locator("tbody tr:visible")).to_have_count(1)
    page.goto("/runs?run=red&with=blue")
    expect(page.locator("#curves figure")).to_have_count(2)
    colors = page.locator("#curves path").evaluate_all(
        "all => all.map(one => one.getAttribute('stroke')).filter(Boolean)"
    )
    assert {"var(--a)", "var(--b)"} <= set(colors)
    drawn = page.locator('#curves path[stroke="var(--a)"]').first
    assert drawn.evaluate("one => getComputedStyle(one).stroke") == "rgb(47, 107, 208)"


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (360, "dark")])
def test_pages_fit_and_are_accessible(
    browser: Browser, watched: Served, folder: Path, width: int, scheme: Any
) -> None:
    carrier = pytest.importorskip("axe_playwright_python", reason="needs axe-core")
    axe = Path(carrier.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    name = "with a rather long name, as people give runs their settings as names"
    if not (folder / name).exists():
        write_run(folder / name, 12).close()
    context = browser.new_context(
        base_url=watched.url,
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        bypass_csp=True,  # axe is a script that is not the page's
    )
    page = context.new_page()
    page.set_default_timeout(WAIT)
    for path, ready in (("/runs", "tbody tr"), (f"/runs?run={name}&with={name}", "figure")):
        page.goto(path)
        expect(page.locator(ready).first).to_be_visible(timeout=WAIT)
        if ready == "figure":
            expect(page.locator("#history .film li")).to_have_count(12, timeout=WAIT)
        page.evaluate("() => { for (const d of document.querySelectorAll('details')) d.open = 1 }")
        assert page.evaluate(WIDER) <= 0
        page.evaluate(axe)
        found = page.evaluate("axe.run()")
        assert len(found["passes"]) > 10  # it ran
        wrong = [
            (one["id"], node["html"][:200], node["failureSummary"])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
        assert not wrong, path
    context.close()

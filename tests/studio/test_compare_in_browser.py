"""Comparing in a real browser: blind by keys, answers that stay, and folders by what they lost."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from got_r1.studio.comparing import TwoModels
from got_r1.studio.finished import TwoFolders
from got_r1.studio.guard import Guard
from got_r1.studio.history import History
from got_r1.studio.model import Model
from got_r1.studio.pairs import read_source
from studio.folders import sample_folder
from studio.serving import Served, other_model, serve

pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")

from playwright.sync_api import Browser, Page, expect

carrier = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")

WAIT = 300_000  # milliseconds; a crowded machine is slow, not wrong
AXE = Path(carrier.__file__).with_name("axe.min.js")
EVIL = "<img src=x onerror=document.title='taken'></script><b>"
Open = Callable[[str], Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens the page Compare of a server; nothing may be said on the console."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    expect.set_options(timeout=WAIT)
    said: list[str] = []

    def opened(url: str) -> Page:
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{url}/compare")
        return page

    yield opened
    assert said == []
    context.close()


@pytest.fixture(scope="module")
def models(model: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    history = History(tmp_path_factory.mktemp("compare") / "history")
    one = replace(model, history=history)
    return one, replace(other_model(one), name=f"other {EVIL}")


def served(models: tuple[Model, Model]) -> Iterator[Served]:
    """A server of two models, with the answers of before."""
    yield from serve(models[0], Guard("127.0.0.1"), TwoModels.of(*models))


def draw(page: Page, prompts: str, *, blind: bool) -> None:
    page.fill("#prompts", prompts)
    page.set_checked("#blind", blind)
    page.click("#start")
    expect(page.locator("#pairs li")).to_have_count(len(prompts.split("\n")))
    expect(page.locator("#cancel")).to_be_hidden()
    page.locator("#results-title").click()  # the keys are not for the text then


def answer(page: Page, key: str) -> None:
    """Presses a key, and waits until the server has kept the answer."""
    with page.expect_response(lambda got: got.request.method == "POST"):
        page.keyboard.press(key)


def kept(studio: Served) -> dict[str, Any]:
    found: dict[str, Any] = studio.page.get("/api/compare/answers").json()
    return found


def test_a_blind_comparison_by_keys_is_kept_across_a_restart(
    models: tuple[Model, Model], open_page: Open
) -> None:
    prompts = f"two red hearts {EVIL}\na blue star\na moon above a tree"
    for studio in served(models):
        page = open_page(studio.url)
        draw(page, prompts, blind=True)
        expect(page.locator("#pair-title")).to_contain_text(EVIL)
        expect(page.locator("figcaption")).to_have_text(["Left", "Right"])
        expect(page.locator("#results")).to_contain_text("when every blind pair has one")
        for number, key in enumerate("132", 1):
            expect(page.locator("[aria-current=true][aria-label^='Pair ']")).to_contain_text(
                str(number)
            )
            expect(page.locator("[data-better=left]")).to_have_attribute("aria-pressed", "false")
            answer(page, key)
        expect(page.locator("#results")).to_contain_text("Wins of B minus A")
        found = kept(studio)
        assert [one["winner"] == one["left"] for one in found["answers"]] == [True, False, False]
        assert [one["winner"] == "tie" for one in found["answers"]] == [False, False, True]
        assert [one["prompt"] for one in found["answers"]] == prompts.split("\n")
        left = found["answers"][2]["left"]
        titles = [found["models"][side] for side in (left, "b" if left == "a" else "a")]
        expect(page.locator("figcaption")).to_have_text(
            [f"{place}: {name}" for place, name in zip(("Left", "Right"), titles, strict=True)]
        )
        page.keyboard.press("ArrowLeft")
        expect(page.locator("[data-better=right]")).to_have_attribute("aria-pressed", "true")
        assert page.title() == "Compare · got-r1 studio"
        assert page.locator("img[src=x]").count() == 0
        page.close()
    for studio in served(models):  # another server, the same folder
        assert kept(studio) == found
        page = open_page(studio.url)
        both = found["all"]
        percent = round(100 * abs(both["difference"]["mean"]))
        expect(page.locator("#results")).to_contain_text(f"{percent}%, 95% interval")
        expect(page.locator("#results")).to_contain_text(
            f"of 3 answers: A {both['a']}, B {both['b']}, ties 1"
        )
        draw(page, "a blue star", blind=False)
        expect(page.locator("figcaption").first).to_have_text(f"A: {models[0].name}")
        expect(page.locator("#said")).to_contain_text("Kept: ")  # what was answered before
        page.close()


def test_a_click_answers_as_well_and_what_is_not_kept_is_said(
    models: tuple[Model, Model], open_page: Open
) -> None:
    for studio in served(models):
        page = open_page(studio.url)
        draw(page, "a green tree", blind=False)
        page.route("**/api/compare/answers", lambda route: route.fulfill(body="no JSON"))
        before = len(kept(studio)["answers"])
        button = page.locator("[data-better=tie]")
        expect(button).to_be_enabled()
        with page.expect_response("**/api/compare/answers"):
            button.click()
        expect(page.locator("#error")).to_contain_text("was not kept")
        expect(button).to_have_attribute("aria-pressed", "false")
        page.unroute("**/api/compare/answers")
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        assert len(kept(studio)["answers"]) == before + 1
        page.close()


# -- folders ---------------------------------------------------------------------------------------


def lost(index: int, record: dict[str, Any]) -> dict[str, Any]:
    """Scores of which the third sample has lost most, and the fifth has gained."""
    value = {2: 0.1, 4: 0.9}.get(index, 0.5)
    scored = {"reward": {"total": 2 * value, "terms": {"r_pi": value, "r_spa": 0.5}}}
    return record | scored | {"evidence": {"r_pi": f"seen {index} {EVIL}"}}


def even(index: int, record: dict[str, Any]) -> dict[str, Any]:
    return lost(0, record)


@pytest.fixture
def folders(model: Model, tmp_path: Path) -> Iterator[Served]:
    def evil(index: int, record: dict[str, Any]) -> dict[str, Any]:
        chain = f"{record['chain']} {EVIL}"
        return even(index, record) | {"faults": [EVIL], "drawn_as": EVIL, "chain": chain}

    a = sample_folder(tmp_path / f"a {EVIL.replace('/', '')}", 8, change=evil)
    b = sample_folder(tmp_path / "b", 8, seed=1, change=lost)
    two = TwoFolders(read_source(str(a)), read_source(str(b)), model.judge)
    yield from serve(model, Guard("127.0.0.1"), two)


def test_folders_by_their_losses_and_a_pair_whole(folders: Served, open_page: Open) -> None:
    page = open_page(folders.url)
    listed = page.locator("#list li")
    expect(listed).to_have_count(8)
    expect(listed.first).to_contain_text("total −0.80")
    expect(page.locator("#changes tbody tr")).to_have_count(3)
    page.select_option("#order", "gain")
    expect(listed.first).to_contain_text("total +0.80")
    page.select_option("#term", label="R_PI")
    expect(listed.first).to_contain_text("R_PI +0.40 0.50 → 0.90")
    page.select_option("#order", "loss")
    expect(listed.first).to_contain_text("R_PI −0.40 0.50 → 0.10")
    prompt = listed.first.locator(".prompt").text_content()

    page.locator("#list button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#opened-title")).to_have_text(prompt or "")
    expect(page.locator("#sides image")).to_have_count(2)
    assert page.locator("#sides .planned").count() >= 2
    expect(page.locator("#sides .terms-table")).to_contain_text(f"seen 2 {EVIL}")
    for place in (".faults", ".chain-text"):
        expect(page.locator(f"#sides {place}").first).to_contain_text(EVIL)
    page.keyboard.press("p")
    expect(page.locator("#sides .boxes").first).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#opened-about")).to_contain_text("pair 2 of 8")
    page.keyboard.press("Escape")
    expect(page.locator("#opened")).to_be_hidden()
    page.select_option("#category", label="color (2)")
    expect(listed).to_have_count(2)
    expect(page.locator("#changes tbody tr").first.locator("td").last).to_have_text("2")
    assert page.title() == "Compare · got-r1 studio"
    assert page.locator("img[src=x]").count() == 0


def test_folders_without_scores_are_judged(model: Model, tmp_path: Path, open_page: Open) -> None:
    a, b = (sample_folder(tmp_path / name, 4, seed=ord(name)) for name in "ab")
    two = TwoFolders(read_source(str(a)), read_source(str(b)), model.judge)
    for studio in serve(model, Guard("127.0.0.1"), two):
        page = open_page(studio.url)
        expect(page.locator("#changes")).to_contain_text("no scores yet")
        page.click("#judge")
        expect(page.locator("#changes tbody tr")).to_have_count(5)
        expect(page.locator("#judge")).to_be_hidden()
        page.close()


# -- all of it -------------------------------------------------------------------------------------


def is_accessible(page: Page) -> None:
    """Runs axe-core, which the page's own policy keeps out of a script element, and looks whether
    anything is wider than the page."""
    page.evaluate(AXE.read_text(encoding="utf-8") + "; null")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for width in (360, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width
            found = page.evaluate(
                "async () => (await axe.run()).violations.map((one) => [one.id, one.nodes[0].html])"
            )
            assert found == []


def test_the_page_of_two_models_fits_and_passes_axe(
    models: tuple[Model, Model], open_page: Open
) -> None:
    for studio in served(models):
        page = open_page(studio.url)
        page.check("#judge")
        draw(page, f"a red heart {'x' * 80}\na blue star", blind=False)
        page.keyboard.press("p")
        expect(page.locator("#sides")).not_to_have_class("bare")
        expect(page.locator(".terms-table")).to_be_visible()
        is_accessible(page)
        page.close()


def test_the_page_of_two_folders_fits_and_passes_axe(folders: Served, open_page: Open) -> None:
    page = open_page(folders.url)
    expect(page.locator("#list li")).to_have_count(8)
    is_accessible(page)
    page.locator("#list button").first.click()
    expect(page.locator("#sides image")).to_have_count(2)
    is_accessible(page)

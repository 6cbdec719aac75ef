"""The pages in a real browser: what a person does with mouse and keys, and what they see."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.serving import PROMPT, Served

pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")

from playwright.sync_api import Browser, Page, expect

WAIT = 120_000  # milliseconds; a crowded machine is slow, not wrong

# A name that would run if it were ever put into the page as HTML.
EVIL = "<img src=x onerror=document.title='taken'>"
CHAIN = (
    "There is a <|obj_start|>red heart<|obj_end|> <|box_start|>(0,300),(400,700)<|box_end|> on the "
    "left of a <|obj_start|>blue star<|obj_end|> <|box_start|>(600,300),(999,700)<|box_end|>."
)


@pytest.fixture
def page(browser: Browser, studio: Served) -> Iterator[Page]:
    """The drawing page with the plan `CHAIN`; nothing may be said on the console."""
    context = browser.new_context(viewport={"width": 1300, "height": 1100})
    opened = context.new_page()
    opened.set_default_timeout(WAIT)
    expect.set_options(timeout=WAIT)
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(studio.url)
    opened.fill("#prompt", PROMPT)
    opened.fill("#chain", CHAIN)
    expect(opened.locator(".box")).to_have_count(2)
    yield opened
    assert said == []
    context.close()


def boxes(page: Page) -> list[list[int]]:
    """The planned boxes, as the labels of their elements tell them."""
    labels = [one.get_attribute("aria-label") or "" for one in page.locator(".box").all()]
    return [[int(v) for v in label.removesuffix(", locked").split(", ")[-4:]] for label in labels]


def is_box(page: Page, index: int, label: str) -> None:
    """Waits until a box is named so: its object and corners."""
    expect(page.locator(".box").nth(index)).to_have_attribute("aria-label", label)


def drag(page: Page, index: int, right: float, down: float, handle: str = "") -> None:
    """Drags a box, or one of its handles, by shares of the canvas's side."""
    group = page.locator(".box").nth(index)
    if handle:
        group.focus()
    target = group.locator(f".handle.{handle}" if handle else "rect")
    place = None
    while place is None:  # a box that has just been drawn anew is not where it was found
        place = target.bounding_box()
    side = page.locator("#canvas").bounding_box()
    assert side is not None
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right * side["width"], y + down * side["height"], steps=6)
    page.mouse.up()


def test_a_plan_appears_a_box_is_dragged_to_the_other_side_and_the_found_box_follows(
    page: Page,
) -> None:
    page.click("#write")
    expect(page.locator("#cancel")).to_be_hidden()
    page.fill("#chain", CHAIN)
    is_box(page, 0, "red heart, 0, 300, 400, 700")
    drag(page, 0, 0.6, 0.3)
    is_box(page, 0, "red heart, 600, 600, 999, 999")
    drag(page, 1, -0.6, 0)
    expect(page.locator("#chain")).to_have_value(
        CHAIN.replace("(0,300),(400,700)", "(600,600),(999,999)").replace(
            "(600,300),(999,700)", "(0,300),(400,700)"
        )
    )
    expect(page.locator("#words .fault").first).to_contain_text("left of")
    page.click("#draw-image")
    expect(page.locator("#pictures-shown img")).to_have_count(1)
    page.check("#show-found")
    expect(page.locator(".found")).to_have_count(2)
    expect(page.locator(".found text").first).to_contain_text("found:")
    page.click("#judge")
    expect(page.locator("#terms dt")).to_have_count(5)


def test_a_drag_over_the_edge_keeps_its_box(page: Page) -> None:
    drag(page, 0, -2.0, 2.0)
    is_box(page, 0, "red heart, 0, 600, 400, 999")


def test_handles_resize_and_snapping_can_be_off(page: Page) -> None:
    drag(page, 0, 0.13, 0, "e")
    is_box(page, 0, "red heart, 0, 300, 500, 700")
    page.uncheck("#snap")
    drag(page, 0, 0.0, 0.055, "s")
    expect(page.locator("#undo")).to_be_enabled()
    (_, _, _, bottom), _ = boxes(page)
    assert 745 <= bottom <= 765


def test_keys_alone_move_resize_rename_duplicate_and_delete(page: Page) -> None:
    page.locator(".box").nth(0).focus()
    page.keyboard.press("ArrowDown")
    is_box(page, 0, "red heart, 0, 400, 400, 800")
    page.keyboard.press("Shift+ArrowRight")
    is_box(page, 0, "red heart, 0, 400, 500, 800")
    page.keyboard.press("Tab")  # to the second box
    expect(page.locator(".box").nth(1)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("l")
    page.keyboard.press("ArrowUp")
    is_box(page, 1, "blue star, 600, 300, 999, 700, locked")
    page.keyboard.press("l")
    page.keyboard.press("Delete")
    expect(page.locator(".box")).to_have_count(1)
    page.keyboard.press("Control+z")
    expect(page.locator(".box")).to_have_count(2)
    page.keyboard.press("Control+Shift+z")
    expect(page.locator(".box")).to_have_count(1)
    page.locator(".box").nth(0).focus()
    page.keyboard.press("d")
    expect(page.locator(".box")).to_have_count(2)
    page.keyboard.type("green tree")
    page.keyboard.press("Enter")
    is_box(page, 1, "green tree, 100, 500, 600, 900")


def test_a_broken_text_is_shown_at_its_place_and_the_boxes_stay(page: Page) -> None:
    page.fill("#chain", CHAIN.replace("(600,300)", "(600,3x0)"))
    expect(page.locator("#problem")).to_contain_text("malformed coordinates, at character")
    expect(page.locator(".box")).to_have_count(2)
    page.click("#problem button")
    chosen = page.evaluate("() => document.activeElement.id")
    assert chosen == "chain"
    page.fill("#chain", CHAIN)
    expect(page.locator("#problem")).to_be_hidden()


def test_a_broken_plan_is_mended(page: Page) -> None:
    page.fill("#chain", CHAIN.replace("(0,300),(400,700)", "(600,0),(900,300)"))
    expect(page.locator("#words .fault").first).to_be_visible()
    page.click("#mend")
    expect(page.locator("#notes")).to_contain_text("Mended")
    expect(page.locator("#words .fault")).to_have_count(0)


def test_names_never_become_html(page: Page) -> None:
    page.fill("#prompt", EVIL)
    page.locator("#prompt").blur()
    page.fill("#chain", CHAIN.replace("red heart", EVIL))
    expect(page.locator(".box text").first).to_contain_text(EVIL)
    page.click("#draw-image")
    expect(page.locator("#history li").first).to_contain_text(EVIL)
    assert page.title() == "Draw · got-r1 studio"
    assert page.locator("img[src=x]").count() == 0


def test_an_entry_of_the_history_reopens_whole(page: Page) -> None:
    page.click("#draw-image")
    expect(page.locator("#pictures-shown img")).to_have_count(1)
    page.reload()
    expect(page.locator("#history li").first).to_be_visible()
    page.locator("#history li button").first.click()
    expect(page.locator("#chain")).to_have_value(CHAIN)
    expect(page.locator("#pictures-shown img")).to_have_count(1)
    expect(page.locator("#prompt")).to_have_value(PROMPT)


def test_an_exported_picture_is_opened(page: Page, tmp_path: Path) -> None:
    page.click("#draw-image")
    expect(page.locator("#png")).to_be_visible()
    with page.expect_download() as download:
        page.click("#png")
    kept = tmp_path / "kept.png"
    download.value.save_as(kept)
    with page.expect_download() as plan:
        page.click("#json")
    plan.value.save_as(tmp_path / "plan.json")
    assert [one["name"] for one in json.loads((tmp_path / "plan.json").read_text())["objects"]]
    page.fill("#chain", "")
    page.set_input_files("#file", str(kept))
    expect(page.locator("#chain")).to_have_value(CHAIN)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_is_wider_than_the_page(page: Page, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width

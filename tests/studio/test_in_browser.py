"""The pages in a real browser: what a person does with mouse and keys, and what they see."""

import json
import re
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
    expect(page.locator(".found text").first).to_contain_text("found, IoU")
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


def drop(page: Page, name: str, text: str) -> None:
    """Drops a file on the page."""
    files = page.evaluate_handle(
        "([name, text]) => { const all = new DataTransfer();"
        " all.items.add(new File([text], name)); return all; }",
        [name, text],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": files})


def test_a_dropped_plan_opens_without_the_locks_of_the_one_before(page: Page) -> None:
    page.locator("#objects button", has_text="lock").first.click()
    is_box(page, 0, "red heart, 0, 300, 400, 700, locked")
    plan = {"prompt": "a moon", "objects": [{"name": "moon", "box": [0, 0, 300, 300]}]}
    drop(page, f"{EVIL}.json", json.dumps(plan))
    is_box(page, 0, "moon, 0, 0, 300, 300")
    expect(page.locator("#prompt")).to_have_value("a moon")
    assert page.locator("img[src=x]").count() == 0


def test_what_is_locked_stays(page: Page) -> None:
    wrong = CHAIN.replace("(0,300),(400,700)", "(600,0),(900,300)")
    page.fill("#chain", wrong)
    expect(page.locator("#words .fault").first).to_be_visible()
    for number in range(2):
        page.locator("#objects li").nth(number).locator("button", has_text="lock").click()
    expect(page.locator("#objects button", has_text="×").first).to_be_disabled()
    page.click("#mend")
    expect(page.locator("#notes")).to_contain_text("it would move what is locked")
    expect(page.locator("#chain")).to_have_value(wrong)


def test_the_words_say_that_a_plan_is_as_asked_or_cannot_be_read(page: Page) -> None:
    expect(page.locator("#words .verdict")).to_contain_text("as the prompt asks")
    page.fill("#chain", CHAIN.replace("(0,300),(400,700)", "(600,0),(900,300)"))
    expect(page.locator("#words .fault").first).to_be_visible()
    expect(page.locator("#words .verdict")).to_have_count(0)
    page.click("#undo")
    expect(page.locator("#words .verdict")).to_contain_text("as the prompt asks")
    page.fill("#prompt", "a beautiful dusk scenery with friends")
    page.locator("#prompt").blur()
    expect(page.locator("#words .verdict")).to_contain_text("cannot be read")


def test_drawing_says_what_the_model_does_not_know(page: Page) -> None:
    page.fill("#prompt", "a red bicycle")
    page.click("#draw-image")
    expect(page.locator("#pictures-shown img")).to_have_count(1)
    expect(page.locator("#notes")).to_contain_text('"bicycle" is no word of the icon world')
    page.click("#judge")  # who cannot answer every term
    expect(page.locator("#terms dd").last).to_have_text("–")


def test_settings_beyond_their_limits_are_not_sent(page: Page) -> None:
    folded = page.locator("details summary", has_text="Sampling")
    folded.click()
    page.fill("#image-temperature", "9")
    folded.click()
    page.click("#draw-image")
    expect(page.locator("details", has=page.locator("#image-temperature"))).to_have_attribute(
        "open", ""
    )
    page.fill("#image-temperature", "1")
    page.fill("#prompt", "  ")
    page.click("#write")
    assert page.evaluate("() => document.querySelector('#prompt').validationMessage")
    expect(page.locator("#error")).to_be_hidden()


def test_a_judges_reply_never_becomes_html(page: Page) -> None:
    page.click("#draw-image")
    expect(page.locator("#judge")).to_be_visible()
    reply = {
        "kind": "done",
        "total": 0.5,
        "terms": {EVIL: 0.5},
        "evidence": {EVIL: f"because {EVIL}"},
        "found": [{"name": EVIL, "box": [0, 0, 400, 400], "iou": 0.5}],
    }
    body = f"data: {json.dumps(reply)}\n\n"
    page.route("**/api/judge/**", lambda route: route.fulfill(status=200, body=body))
    page.click("#judge")
    expect(page.locator("#terms dt").first).to_have_text(EVIL)
    expect(page.locator("#terms dd").first).to_contain_text(f"because {EVIL}")
    expect(page.locator(".found text")).to_have_text(f"found, IoU 0.50: {EVIL}")
    assert page.title() == "Draw · got-r1 studio"
    assert page.locator("img[src=x]").count() == 0


def tab_to(page: Page, selector: str) -> None:
    """Presses Tab until an element has the focus."""
    for _ in range(300):
        if page.evaluate("(one) => document.activeElement.matches(one)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not come to {selector}")


def test_all_of_it_without_a_mouse(page: Page) -> None:
    page.reload()
    tab_to(page, "#prompt")
    page.keyboard.press("Control+a")
    page.keyboard.type("a red heart on the left of a blue star")
    page.keyboard.press("Enter")
    expect(page.locator(".box")).to_have_count(2)
    expect(page.locator("#cancel")).to_be_hidden()
    tab_to(page, "#add")
    page.keyboard.press("Enter")
    page.keyboard.type("orange moon")
    page.keyboard.press("Enter")
    is_box(page, 2, "orange moon, 300, 300, 700, 700")
    expect(page.locator("#chain")).to_have_value(re.compile(r"an <\|obj_start\|>orange moon"))
    expect(page.locator(".box").nth(2)).to_be_focused()  # the keys go on where they were
    page.keyboard.press("ArrowUp")
    is_box(page, 2, "orange moon, 300, 200, 700, 600")
    page.keyboard.press("Enter")
    page.keyboard.type("green moon")
    page.keyboard.press("Enter")
    is_box(page, 2, "green moon, 300, 200, 700, 600")
    expect(page.locator("#chain")).to_have_value(re.compile(r"a <\|obj_start\|>green moon"))
    tab_to(page, "#objects li:nth-child(3) button")
    page.keyboard.press("Enter")
    is_box(page, 2, "green moon, 300, 200, 700, 600, locked")
    expect(page.locator("#objects li:nth-child(3) button").first).to_be_focused()
    tab_to(page, "#draw-image")
    page.keyboard.press("Enter")
    expect(page.locator("#pictures-shown img")).to_have_count(1)
    tab_to(page, "#judge")
    page.keyboard.press("Enter")
    expect(page.locator("#terms dt").last).to_have_text("reward")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_passes_axe(page: Page, scheme: str) -> None:
    carrier = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    axe = Path(carrier.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.fill("#plans", "2")
    page.click("#write")
    expect(page.locator("#candidates button")).to_have_count(2)
    page.fill("#chain", CHAIN.replace("(0,300),(400,700)", "(600,0),(900,300)"))
    page.click("#draw-image")
    expect(page.locator("#judge")).to_be_visible()
    page.click("#judge")
    expect(page.locator(".found").first).to_be_visible()
    for width in (360, 1400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        page.evaluate(axe + "; null")  # the page's own policy keeps it out of a script element
        found = page.evaluate(
            "async () => (await axe.run()).violations.map((one) => [one.id, one.nodes[0].html])"
        )
        assert found == []

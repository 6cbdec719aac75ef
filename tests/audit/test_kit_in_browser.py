"""A rater's page in a real browser, from file://: rated by keys, kept, handed over, imported.

Needs Playwright for Python and a Chromium that is installed (`CHROMIUM` may name it).
"""

import csv
import json
from pathlib import Path

import pytest

from got_r1.audit.sheets import export_sheet, import_sheets, read_ratings
from got_r1.audit.study import build_study
from got_r1.report.kit_page import write_kit_page

MINUTES = 180_000  # milliseconds, for slow machines
EVIL = '</script><script>document.title = "owned"</script><img src=x onerror="document.title=1">'


@pytest.fixture
def study(make_run, tmp_path) -> Path:
    run = make_run("ours", steps=1, samples=6)
    for path in run.glob("samples/*/*.json"):
        record = json.loads(path.read_text())
        record["prompt"] = f"={record['prompt']} {EVIL}"
        path.write_text(json.dumps(record))
    folder = tmp_path / "study"
    build_study([("ours", run)], folder, raters=2, write_kit=write_kit_page)
    return folder


def opened(context, study: Path, rater: str = "rater-1"):
    """The page, which must raise no error and ask for nothing but itself."""
    page = context.new_page()
    page.set_default_timeout(MINUTES)
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    asked = page.asked = []
    page.goto((study / "kits" / f"{rater}.html").as_uri())
    page.wait_for_selector("#place:not(:empty)")
    return page


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def is_pressed(page, question: str, score: int) -> bool:
    button = f'[data-question="{question}"] [data-score="{score}"]'
    return page.get_attribute(button, "aria-pressed") == "true"


def rows_of(sheet: Path) -> list[dict[str, str]]:
    with sheet.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def taken(page, path: Path) -> Path:
    """What the page hands over, as a file."""
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename.startswith("ratings-rater-")
    download.value.save_as(path)
    return path


def said(page, text: str) -> None:
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=text)


def test_items_are_rated_by_keys_kept_and_imported(browser, study, tmp_path):
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    page = opened(context, study)
    assert page.inner_text("#place") == "Item 1 of 6"
    assert EVIL in page.inner_text("#prompt")
    assert page.title() == "Rating as rater-1"
    press(page, "7", "t", "0", "ArrowRight")  # an item in full
    press(page, "3", "ArrowDown", "5", "Backspace", "u", "Backspace")  # and one in part
    page.fill("#comment", '=1+1, "so"\nand')
    press(page, "9")  # is a letter of the comment
    press(page, "Escape", "ArrowRight", "8", "u")
    assert page.inner_text("#progress-text") == "1 rated, 1 in part"
    # The page is closed and opened again.
    with page.expect_event("close"):
        page.close(run_before_unload=True)  # as a person closes it
    page = opened(context, study)
    assert page.inner_text("#place") == "Item 3 of 6"
    assert page.inner_text("#progress-text") == "1 rated, 1 in part"
    press(page, "ArrowLeft")
    assert page.input_value("#comment") == '=1+1, "so"\nand9'
    assert is_pressed(page, "semantic", 3)
    sheet = taken(page, tmp_path / "one.csv")
    import_sheets(study, [sheet], partial=True)
    rows = rows_of(sheet)
    ratings = read_ratings(study)["rater-1"]
    assert ratings[rows[0]["id"]] == {"semantic": 7, "spatial": 10, "quality": 0, "comment": ""}
    second = {"semantic": 3, "spatial": None, "quality": 5, "comment": '=1+1, "so"\nand9'}
    assert ratings[rows[1]["id"]] == second
    # The sheet is the one that export writes.
    export_sheet(study, tmp_path / "exported.csv", "rater-1")
    assert rows_of(tmp_path / "exported.csv") == rows
    assert all(url.startswith(("file:", "data:", "blob:")) for url in page.asked)


def test_a_sheet_is_continued_elsewhere_and_those_of_others_are_refused(browser, study, tmp_path):
    page = opened(browser.new_context(), study)
    for _ in range(6):
        press(page, "1", "2", "3", "n")
    said(page, "Every item is rated in full")
    sheet = taken(page, tmp_path / "all.csv")
    elsewhere = opened(browser.new_context(viewport={"width": 360, "height": 740}), study)
    assert elsewhere.evaluate("document.documentElement.scrollWidth") <= 360
    text = sheet.read_text()
    for old, new, sentence in (
        ('"rater-1"', '"rater-2"', "holds the ratings of rater-2; this page is for rater-1"),
        ('","s', '","other', "is a sheet of another study"),
        ('"3"', '"11"', "has 11 for quality"),
        ("semantic", "x", "lacks one of the columns id, semantic, spatial, quality"),
    ):
        (tmp_path / "bad.csv").write_text(text.replace(old, new))
        elsewhere.set_input_files("#upload", tmp_path / "bad.csv")
        said(elsewhere, sentence)
        assert elsewhere.inner_text("#progress-text") == "0 rated"
    # As a spreadsheet gives it back: semicolons, ids as numbers.
    rows = rows_of(sheet)
    with (tmp_path / "back.csv").open("w", encoding="utf-8-sig", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(row | {"id": row["id"].lstrip("0")} for row in rows)
    elsewhere.set_input_files("#upload", tmp_path / "back.csv")
    said(elsewhere, "back.csv is taken")
    assert elsewhere.inner_text("#progress-text") == "6 rated"
    press(elsewhere, "u")
    assert elsewhere.inner_text("#progress-text") == "0 rated"


def test_where_nothing_is_kept_the_page_says_so(browser, study, tmp_path):
    context = browser.new_context()
    context.add_init_script(
        "Object.defineProperty(globalThis, 'localStorage', { get() { throw Error('none') } })"
    )
    page = opened(context, study)
    said(page, "cannot be kept here: download them")
    press(page, "4")
    said(page, "0 rated, 1 in part")
    assert '"4"' in taken(page, tmp_path / "one.csv").read_text()


def test_a_server_may_keep_the_ratings(browser, study):
    """The page asks the object `ratingStore` where it is there, and no storage of the browser."""
    context = browser.new_context()
    context.add_init_script(
        "globalThis.saved = []; globalThis.ratingStore = { where: 'kept by the server',"
        " async load() { return { at: 2 } }, async save(state) { saved.push(state) } }"
    )
    page = opened(context, study)
    assert page.inner_text("#place") == "Item 3 of 6"
    press(page, "5")
    said(page, "kept by the server")
    page.wait_for_function("Object.values(saved.at(-1).ratings)[0]?.semantic === 5")
    assert page.evaluate("localStorage.length") == 0


def test_the_page_is_used_by_keyboard_alone(browser, study):
    page = opened(browser.new_context(), study)
    reached = set()
    for _ in range(50):
        press(page, "Tab")
        at = "document.activeElement"
        outline = page.evaluate(f"getComputedStyle({at}.closest('label') ?? {at}).outlineStyle")
        if page.evaluate(f"{at} === document.body"):
            break  # behind the last one
        name = page.evaluate(f"{at}.ariaLabel || {at}.labels?.[0]?.innerText || {at}.innerText")
        assert outline != "none", name
        reached.add(name.strip())
    assert {"semantic: 0 of 10", "quality: 10 of 10", "What to look at"} <= reached
    assert any("Continue from a CSV" in name for name in reached)
    page.focus('[data-question="spatial"] [data-score="6"]')
    press(page, "Enter")
    assert is_pressed(page, "spatial", 6)

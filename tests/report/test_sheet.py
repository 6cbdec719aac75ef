"""The contact sheet of a sample folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from got_r1.report.sheet import build_sheet

NASTY = '<script>alert("x")</script>\x1b[2J ' + "long" * 50


def record(**more):
    objects = [{"name": NASTY, "box": [0, 0, 500, 500]}]
    return {"prompt": NASTY, "chain": NASTY, "objects": objects, "problems": [], **more}


def write(folder: Path, count: int, side: int = 40) -> list[Path]:
    paths = [folder / f"{index:03d}.png" for index in range(count)]
    for path in paths:
        Image.fromarray(np.full((side, side, 3), 200, np.uint8)).save(path)
    return paths


def test_everything_is_on_the_page_and_no_text_is_markup(tmp_path):
    plans = [{"score": 0.5, "evidence": "why <i>", "chain": ""}, {"score": None, "chain": ""}]
    some = record(
        not_understood=["unknown <b>"],
        faults=["missing <b>"],
        found=[{"name": "other", "box": [100, 100, 600, 600]}],
        drawn_as="in <b>",
        plans=plans,
        drawn_plan=0,
    )
    page, _ = build_sheet(tmp_path, write(tmp_path, 1), [some], Model="<m>")
    html = page.read_text()
    for text in ("unknown", "missing", "in", "why <i", "<m"):
        assert text.replace("<", "&lt;") in html
    assert "plan 1 of 2 was drawn, with a score of 0.50" in html
    assert "1 of 1" in html
    assert "<script>" not in html
    assert "<b>\n" not in html
    assert html.count('class="found"') == 1
    assert "not found" in html


@pytest.mark.parametrize("side", [40, 600])
def test_the_picture_shows_image_and_boxes(tmp_path, side):
    plain, boxed = record(objects=[]), record()
    drawn = []
    for index, one in enumerate((plain, boxed)):
        folder = tmp_path / str(index)
        folder.mkdir()
        _, picture = build_sheet(folder, write(folder, 1, side), [one])
        drawn.append(np.asarray(Image.open(picture)).astype(int))
    assert drawn[0].shape == drawn[1].shape
    assert (drawn[0] != drawn[1]).any()
    assert (drawn[0][20:200, 20:200] == 200).all()


def test_large_folders_are_cut_and_old_records_are_shown(tmp_path):
    images = write(tmp_path, 210, 8)
    page, picture = build_sheet(tmp_path, images, [{}] * 210)
    html = page.read_text()
    assert html.count("<article>") == 200
    assert "The first 200 of 210 images are shown." in html
    with Image.open(picture) as sheet:
        assert max(sheet.size) < 4000


@pytest.mark.parametrize("wrong", [3, "text", [3], {"a": 1}, None, [[]]])
def test_any_record_is_shown(tmp_path, wrong):
    keys = ["prompt", "objects", "chain", "faults", "not_understood", "found", "plans", "repair"]
    damaged = dict.fromkeys(keys, wrong) | {"drawn_plan": 0}
    page, _ = build_sheet(tmp_path, write(tmp_path, 1), [damaged])
    assert page.read_text().count("<article>") == 1


def test_an_image_that_is_gone_leaves_a_note(tmp_path):
    images = write(tmp_path, 2)
    images[0].write_bytes(b"no image")
    page, _ = build_sheet(tmp_path, images, [record(), record()])
    assert "000.png cannot be read" in page.read_text()
    assert json.dumps(str(images[1])) not in page.read_text()

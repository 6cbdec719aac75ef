"""A rater's page: everything that a rater needs, and nothing that says who made what."""

import base64
import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from got_r1.audit import kits as kits_module
from got_r1.audit.kits import kits, rubric_of
from got_r1.audit.sheets import order_for, read_items, read_key
from got_r1.audit.study import build_study
from got_r1.errors import BadInput
from got_r1.plan.chain import parse
from got_r1.plan.layout import draw_plan, plan_colors
from got_r1.report.kit_page import write_kit_page

EVIL = """</script><script>alert("1")</script> 'a' & "b" <!-- <img src=x onerror=alert(2)>"""


@pytest.fixture
def study(make_run, tmp_path) -> Path:
    """A study of ten items, and a page for one rater; prompts and a chain have markup in them."""
    run = make_run("secret-run", steps=1, samples=10)
    for path in run.glob("samples/*/*.json"):
        record = json.loads(path.read_text())
        record["prompt"] = f"{record['prompt']} {EVIL}"
        record["chain"] = record["chain"].replace("<|obj_end|>", f" {EVIL}<|obj_end|>", 1)
        path.write_text(json.dumps(record))
    folder = tmp_path / "study"
    build_study([("secret-method", run)], folder, raters=1, write_kit=write_kit_page)
    return folder


def parts(page: str, tag: str) -> list[str]:
    return re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL)


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_a_page_is_blind_self_contained_and_escaped(study):
    page = (study / "kits" / "rater-1.html").read_text()
    for hidden in ("secret", "reward", "evidence of", "step_0", "images/", "plans/"):
        assert hidden not in page
    assert not re.search(r"https?:|@import|url\(", page)
    for one in read_key(study).values():
        assert not any(str(score) in page for score in [one["total"], *one["scores"].values()])
    # Two elements of script, whatever the prompts say; the page's policy names the hash of one.
    data, script = parts(page, "script")
    assert page.count("<script") == page.count("</script") == 2
    (style,) = parts(page, "style")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    for name, text in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    items = read_items(study)
    shown = json.loads(data)["items"]
    assert [one["id"] for one in shown] == order_for("rater-1", [one["id"] for one in items])
    assert {one["prompt"] for one in shown} == {one["prompt"] for one in items}
    assert all(EVIL in one["prompt"] for one in shown)
    # Each picture stands in the page once.
    for one in shown:
        assert page.count(one["picture"]) == page.count(one["plan"]) == 1


def test_items_are_shown_as_they_are(study):
    (page,) = kits(study, ["ann"])
    for one in page["items"]:
        assert one["tiny"]
        assert decoded(one["picture"]).shape == (40, 40, 3)
        original = np.asarray(Image.open(study / "images" / f"{one['id']}.png"))
        assert np.array_equal(decoded(one["picture"]), original[::9, ::9])
        assert decoded(one["plan"]).shape == (512, 512, 3)
        assert len(one["colors"]) == len(parse(one["chain"]).objects)
    for question in page["questions"]:
        assert question["rubric"] in (study / "rubric.md").read_text()


def test_large_pictures_are_reduced_and_pages_have_a_limit(study, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (640, 768, 3), dtype=np.uint8)
    Image.fromarray(noise).save(study / "images" / "001.png")
    (page,) = kits(study, ["ann"])
    (large,) = (one for one in page["items"] if one["id"] == "001")
    assert large["picture"].startswith("data:image/jpeg")
    assert decoded(large["picture"]).shape == (427, 512, 3)
    assert not large["tiny"]
    monkeypatch.setattr(kits_module, "MOST_BYTES", 2**16)
    with pytest.raises(BadInput, match=r"pictures of 10 items take .* fewer --items"):
        next(kits(study, ["ann"]))


@pytest.mark.parametrize(
    "boxes",
    [
        ("(9,9),(300,300)", "(500,500),(900,900)"),
        ("(9,9),(300,300),t0", "(500,500),(900,900),t1"),
    ],
)
def test_names_have_the_colours_of_their_boxes(boxes):
    names = ("red star", "blue cup") if "t0" not in boxes[0] else ("star", "star")
    text = " and ".join(
        f"<|obj_start|>{name}<|obj_end|><|box_start|>{box}<|box_end|>"
        for name, box in zip(names, boxes, strict=True)
    )
    objects = parse(text, marks=True).objects
    colors = plan_colors(objects)
    assert (colors[0] == colors[1]) == (names[0] == names[1])  # one thing keeps its colour
    drawn = draw_plan(objects)
    for frame, (color, planned) in enumerate(zip(colors, objects, strict=True)):
        x, y = (round(edge * 511 / 999) for edge in (planned.box.x2, planned.box.y2))
        pixel = drawn[y, x + (512 * frame if planned.box.time is not None else 0)]
        assert color == "#{:02x}{:02x}{:02x}".format(*pixel)


@pytest.mark.parametrize("term", ["r_sem", "r_spa", "r_pi", "r_hps"])
def test_people_get_the_judges_rubrics(term):
    text = rubric_of(term)
    assert "from 0 to 10" in text
    assert "material" not in text
    assert "$" not in text
    assert ("Marks:" in text) == (term != "r_hps")

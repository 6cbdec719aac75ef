"""A study's sample: balanced, blind, and the same for a seed."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from got_r1.audit.sheets import read_items, read_key
from got_r1.audit.study import build_study
from got_r1.errors import BadInput
from got_r1.files.inputs import read_image


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_methods_categories_and_scores_are_balanced(make_run, tmp_path):
    # The methods' runs are of different lengths, which must not show.
    runs = [("ours", make_run("ours", steps=12)), ("theirs", make_run("theirs", steps=4))]
    made = build_study(runs, tmp_path / "study", items=60)
    assert made["balance"]["method"] == {"ours": 30, "theirs": 30}
    assert set(made["balance"]["category"].values()) == {12}
    assert all(19 <= count <= 21 for count in made["balance"]["score"].values())
    key = read_key(tmp_path / "study")
    cells = Counter((one["method"], one["category"]) for one in key.values())
    assert max(cells.values()) - min(cells.values()) <= 2


def test_the_seed_decides_and_the_order_of_runs_does_not(make_run, tmp_path):
    a, b = ("a", make_run("a")), ("b", make_run("b"))
    build_study([a, b], tmp_path / "one", items=30)
    build_study([b, a], tmp_path / "same", items=30)
    build_study([a, b], tmp_path / "other", items=30, seed=1)
    assert files(tmp_path / "one") == files(tmp_path / "same")
    assert files(tmp_path / "one") != files(tmp_path / "other")


def test_raters_cannot_see_the_method(make_run, tmp_path):
    build_study([("secret-method", make_run("secret-run"))], tmp_path / "study", items=20)
    for name, content in files(tmp_path / "study").items():
        if name != "key.jsonl":
            assert b"secret" not in content, name
            assert b"reward" not in content, name
            assert b"evidence" not in content, name
    # Nor does the order of ids follow the run's.
    key = read_key(tmp_path / "study")
    places = [(one["step"], one["sample"]) for one in key.values()]
    assert places != sorted(places)


def test_items_carry_what_is_rated(make_run, tmp_path):
    build_study([("ours", make_run("ours"))], tmp_path / "study", items=10)
    items = read_items(tmp_path / "study")
    assert [item["id"] for item in items] == [f"{n:03}" for n in range(1, 11)]
    for item in items:
        image = read_image(tmp_path / "study" / item["image"])
        assert image.shape == (360, 360, 3)  # 40 px, nine times as large, pixels square
        assert np.array_equal(image[::9, ::9].repeat(9, 0).repeat(9, 1), image)
        assert read_image(tmp_path / "study" / item["plan"]).shape == (512, 512, 3)
        assert item["prompt"]
        assert "<|obj_start|>" in item["chain"]
    sheet = (tmp_path / "study" / "ratings.csv").read_text().splitlines()
    assert sheet[0] == "id,rater,prompt,semantic,spatial,quality,comment"
    assert len(sheet) == 11


def test_what_cannot_be_rated_is_counted(make_run, tmp_path):
    run = make_run("ours", steps=1, samples=12)
    folder = run / "samples" / "step_000001"

    def change(name: str, **changes) -> None:
        record = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(record | changes))

    change("000.json", chain="no plan")
    change("001.json", reward={"total": None, "terms": {}})
    (folder / "002.png").write_bytes(b"broken")
    (folder / "003.json").write_text("{")
    for end in (".json", ".png"):  # the same sample again
        (folder / f"099{end}").write_bytes((folder / f"004{end}").read_bytes())
    made = build_study([("ours", run)], tmp_path / "study", items=8)
    assert made["left_out"] == {
        "with a malformed chain, which has no plan to show": 1,
        "without the judge's scores": 1,
        "without a readable record and image": 2,
        "same image and chain as another": 1,
    }
    with pytest.raises(BadInput, match=r"hold 8 usable samples .*fewer than 9"):
        build_study([("ours", run)], tmp_path / "more", items=9)
    assert not (tmp_path / "more").exists()


def test_quality_is_held_against_a_term_that_is_there(make_run, tmp_path):
    run = make_run("ours", steps=1)
    assert build_study([("a", run)], tmp_path / "one", items=5)["quality"] == "r_pi"
    with pytest.raises(BadInput, match="15 samples have no r_hps"):
        build_study([("a", run)], tmp_path / "two", items=5, quality="r_hps")


def test_runs_are_named_apart(make_run, tmp_path):
    run = make_run("ours")
    with pytest.raises(BadInput, match="two runs are called 'x'"):
        build_study([("x", run), ("x", run)], tmp_path / "study")
    with pytest.raises(BadInput, match="no samples/step_"):
        build_study([("x", tmp_path)], tmp_path / "study")

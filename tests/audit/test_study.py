"""A study's sample: balanced, blind, and the same for a seed."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from got_r1.audit.sheets import read_items, read_key
from got_r1.audit.study import build_study
from got_r1.errors import BadInput
from got_r1.files.inputs import read_image
from got_r1.files.sample_files import SampleFiles
from got_r1.records import Prompt


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_methods_categories_and_scores_are_balanced(make_run, tmp_path):
    # The methods' runs are of different lengths, which must not show.
    runs = [("ours", make_run("ours", steps=12)), ("theirs", make_run("theirs", steps=4))]
    made = build_study(runs, tmp_path / "study", items=60)
    assert all(29 <= count <= 31 for count in made["balance"]["method"].values())
    assert set(made["balance"]["category"].values()) == {12}
    assert all(19 <= count <= 21 for count in made["balance"]["score"].values())
    key = read_key(tmp_path / "study")
    cells = Counter((one["method"], one["category"]) for one in key.values())
    assert max(cells.values()) - min(cells.values()) <= 2


def test_a_method_with_few_samples_decides_how_many_are_drawn(make_run, tmp_path):
    runs = [("many", make_run("many", steps=3)), ("few", make_run("few", steps=1, samples=12))]
    made = build_study(runs, tmp_path / "study")
    assert (made["items"], made["asked"], made["usable"]) == (24, 200, 57)
    assert min(made["balance"]["method"].values()) >= 11  # categories are balanced too
    assert made["short"] == [{"stratum": "method few", "usable": 12, "wanted": 28}]
    made = build_study(runs, tmp_path / "all", items=57)
    assert (made["balance"]["method"], made["short"][0]["usable"]) == ({"few": 12, "many": 45}, 12)


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
    assert sheet[0] == "id,study,rater,prompt,semantic,spatial,quality,comment"
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
    with pytest.raises(BadInput, match=r"9 items cannot be drawn from 8 .*give --items 8 or fewer"):
        build_study([("ours", run)], tmp_path / "more", items=9)
    assert not (tmp_path / "more").exists()
    for path in folder.glob("*.json"):
        path.write_text("{")
    with pytest.raises(BadInput, match=r"no usable samples \(left out: 13 without a readable"):
        build_study([("ours", run)], tmp_path / "none", items=9)
    assert not (tmp_path / "none").exists()


def test_quality_is_held_against_a_term_that_is_there(make_run, tmp_path):
    run = make_run("ours", steps=1)
    assert build_study([("a", run)], tmp_path / "one", items=5)["quality"] == "r_pi"
    with pytest.raises(BadInput, match="15 samples have no r_hps"):
        build_study([("a", run)], tmp_path / "two", items=5, quality="r_hps")


def test_runs_are_named_apart(make_run, tmp_path):
    run = make_run("ours")
    with pytest.raises(BadInput, match="two runs are called 'x'"):
        build_study([("x", run), ("x", run)], tmp_path / "study")
    with pytest.raises(BadInput, match="has no samples"):
        build_study([("x", tmp_path)], tmp_path / "study")
    shutil.rmtree(run / "samples")  # as a run of SFT has none
    with pytest.raises(BadInput, match=r"without samples .*got-r1 sample --model .*/final"):
        build_study([("x", run)], tmp_path / "study")


# -- folders of `got-r1 sample`, and probes ------------------------------------------------------


def as_samples(run: Path, folder: Path, layout: str = "numbered") -> Path:
    """The samples of a run as `got-r1 sample` writes them, without rewards."""
    files = SampleFiles(folder, layout)
    for number, path in enumerate(sorted(run.glob("samples/*/*.json"))):
        record = json.loads(path.read_text())
        prompt = Prompt(record["prompt"], record["category"])
        image = str(files.image(number, prompt).relative_to(folder))
        kept = {name: record[name] for name in ("prompt", "category", "chain")}
        files.write(number, prompt, path.with_suffix(".png").read_bytes(), kept | {"image": image})
    files.begin({"model": "sft"})
    return folder


@pytest.mark.parametrize("layout", ["numbered", "compbench"])
def test_sample_folders_are_drawn_from_like_runs(make_run, tmp_path, layout):
    sft = as_samples(make_run("first", steps=3), tmp_path / "sft", layout)
    rl = make_run("rl", steps=5)
    made = build_study([("sft", sft), ("rl", rl)], tmp_path / "study", items=60)
    assert made["balance"]["method"] == {"rl": 30, "sft": 30}
    assert set(made["balance"]["category"].values()) == {12}
    assert made["balance"]["score"] == {"high": 10, "low": 10, "middle": 10, "not judged": 30}
    assert made["quality"] == "r_pi"
    for one in read_key(tmp_path / "study").values():
        judged = one["method"] == "rl"
        assert (one["total"] is not None, bool(one["scores"]), one["step"] is not None) == (
            (judged,) * 3
        )


@pytest.mark.parametrize("judged", [1, 2])
def test_methods_stay_balanced_whoever_was_judged(make_run, tmp_path, judged):
    runs = [(name, make_run(name, steps=3)) for name in ("a", "b", "c")]
    runs[judged:] = [(name, as_samples(run, tmp_path / f"{name}_")) for name, run in runs[judged:]]
    made = build_study(runs, tmp_path / "study", items=60)
    assert all(19 <= count <= 21 for count in made["balance"]["method"].values())


def test_an_image_outside_of_its_folder_is_left_out(make_run, tmp_path):
    folder = as_samples(make_run("first", steps=1), tmp_path / "sft")
    record = json.loads((folder / "000.json").read_text())
    (tmp_path / "secret.png").write_bytes((folder / "000.png").read_bytes())
    (folder / "000.json").write_text(json.dumps(record | {"image": "../secret.png"}))
    made = build_study([("sft", folder)], tmp_path / "study")
    assert made["left_out"] == {"without a readable record and image": 1}


def test_probes_are_samples_and_those_of_step_0_are_not_the_methods(make_run, tmp_path):
    run = make_run("rl", steps=2, samples=10)
    (run / "samples" / "step_000001").rename(tmp_path / "first")
    (run / "probes").mkdir()
    shutil.copytree(tmp_path / "first", run / "probes" / "step_000000")
    made = build_study([("rl", run)], tmp_path / "one")
    assert made["items"] == 10
    assert made["left_out"] == {"of step 0, before any training": 10}
    # As a folder of its own it is the model that training began with.
    start = run / "probes" / "step_000000"
    made = build_study([("sft", start), ("rl", run)], tmp_path / "two", items=20)
    assert made["balance"]["method"] == {"rl": 10, "sft": 10}
    start.rename(run / "probes" / "step_000004")
    for given in (run, run / "probes"):
        out = tmp_path / f"study of {given.name}"
        assert build_study([("rl", given)], out)["items"] == (20 if given == run else 10)
        samples = {one["sample"] for one in read_key(out).values() if one["step"] == 4}
        assert samples == {f"probes/{number:03}" for number in range(10)}


def test_which_of_two_equal_samples_is_kept_does_not_depend_on_the_order(make_run, tmp_path):
    a = make_run("a", steps=2)
    b = Path(shutil.copytree(a, tmp_path / "b"))
    made = build_study([("a", a), ("b", b)], tmp_path / "one")
    assert made["usable"] == 30
    assert min(made["balance"]["method"].values()) > 5
    build_study([("b", b), ("a", a)], tmp_path / "other")
    assert files(tmp_path / "one") == files(tmp_path / "other")

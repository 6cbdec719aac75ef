"""`got-r1 sample` draws nothing else in silence."""

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from got_r1.cli import main
from got_r1.commands.sample_checks import tell, tell_pictures
from got_r1.icons.data import triples
from got_r1.policy.tiny import build_policy


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A random model of another world: its images have 80 pixels a side."""
    folder = tmp_path_factory.mktemp("other")
    texts = [text for one in triples(100, 0) for text in (one.prompt.text, one.chain)]
    sizes = {"hidden_size": 32, "layers": 1, "heads": 1, "kv_heads": 1, "mlp_size": 32}
    build_policy(texts, seed=0, image_size=80, patch_size=8, **sizes).save(folder)
    return folder


@pytest.fixture
def draw(tmp_path, capsys):
    """Draws prompts, a sample each; returns exit code, JSON, stderr and the records."""

    def call(prompts, *more, model="icons", out="out"):
        (tmp_path / "prompts.txt").write_text("\n".join(prompts))
        argv = ["sample", "--model", model, "--prompts", tmp_path / "prompts.txt"]
        argv += ["--out", tmp_path / out, "--json", *more]
        code = main(list(map(str, argv)))
        output = capsys.readouterr()
        result = json.loads(output.out) if output.out else None
        files = [Path(file).with_suffix(".json") for file in (result or {"files": []})["files"]]
        records = [json.loads(file.read_text()) for file in files if file.is_file()]
        return code, result, output.err, records

    return call


def test_what_the_world_does_not_know_is_told(draw):
    prompts = ["a green tree above a zebra", "five red hearts", "RED HEART", "a red heart"]
    code, result, told, records = draw(prompts)
    assert code == 0
    assert "'a green tree above a zebra': \"zebra\" is no word of the icon world" in told
    assert [one["prompt"] for one in result["not_understood"]] == prompts[:2]
    assert [bool(one["not_understood"]) for one in records] == [True, True, False, False]
    assert [bool(one["faults"]) for one in result["pictures"][:2]] == [True, True]
    assert "000.png: " in told
    assert '"zebra" is not planned' in records[0]["faults"]
    # Capitals are no other prompt: the same words are drawn with the same noise.
    assert "'RED HEART' is drawn as 'a red heart'" in told
    assert (records[2]["prompt"], records[2]["drawn_as"]) == ("RED HEART", "a red heart")
    assert records[2]["chain"] == records[3]["chain"]
    assert {"name", "box"} == set(records[3]["found"][0])


def test_a_negation_is_told_and_no_plan_is_held_against_it(draw):
    long = "no red heart and no blue star and no green moon and no pink phone and no yellow tower"
    _, _, told, records = draw(["no red heart", long])
    assert '"no" is no word of the icon world: what a prompt names is drawn' in told
    assert f"the prompt {long[:60].rstrip() + '...'!r}: " in told
    assert not any('"no ' in fault for one in records for fault in one["faults"])


def test_strict_refuses_what_is_not_understood_and_leaves_no_folder(draw, other, tmp_path):
    code, _, told, _ = draw(["a heart", "a zebra", "ten stars"], "--strict")
    assert code == 2
    assert "'a zebra': \"zebra\" is no word of the icon world (and 1 more)" in told
    code, _, told, _ = draw(["a man is walking his dog"], "--strict", model=other)
    assert code == 2
    assert "no plan can be compared with it" in told
    assert not (tmp_path / "out").exists()


def test_strict_fails_where_an_image_is_not_as_asked(draw, other):
    code, result, told, _ = draw(["a cat left of a dog"], "--strict", model=other)
    assert code == 1
    assert "1 of 1 images are not as asked (--strict)" in told
    assert result["pictures"][0]["faults"]


def test_another_models_plans_are_compared_with_what_can_be_read(draw, other):
    prompts = ["a Cat left of a dog", "a man is walking his dog"]
    code, result, told, records = draw(prompts, "--chain-limit", 5, model=other)
    assert code == 0
    assert result["not_understood"] == []
    assert result["unread_prompts"] == 1
    assert "1 of 2 prompts could not be read as objects and a relation" in told
    assert records[0]["faults"][0] == "the chain was cut at its limit of tokens"
    assert "malformed chain: no planned object" in records[0]["faults"]
    assert '"cat" is not planned' in records[0]["faults"]
    assert "drawn_as" not in records[0]
    assert all("chain" in fault for fault in records[1]["faults"])


def test_many_lines_are_counted_and_move_no_cursor(capsys):
    tell([f"line\x1b[2J {number}" for number in range(25)])
    told = capsys.readouterr().err
    assert told.count("line\ufffd[2J") == 20
    assert "... and 5 more such lines" in told


def test_an_older_record_tells_the_problems_of_its_chain():
    older = {"problems": ["unclosed tag"], "plans": [{}, {}], "drawn_plan": 1}
    (told,) = tell_pictures([Path("000.png")], [older])
    assert told["faults"] == ["malformed chain: unclosed tag"]
    assert told["choice"].startswith("plan 2 of 2 was drawn, with a score of none")


def test_small_images_are_enlarged(draw, tmp_path):
    draw(["a red heart"])
    draw(["a red heart"], "--scale", 5, out="large")
    small, large = (np.asarray(Image.open(tmp_path / d / "000.png")) for d in ("out", "large"))
    np.testing.assert_array_equal(small.repeat(5, axis=0).repeat(5, axis=1), large)
    assert "--scale 5" in draw(["a red heart"], "--resume", out="large")[2]


def test_what_was_chosen_and_why(draw):
    prompts = ["a red heart on the left of a blue star"]
    _, result, told, _ = draw(prompts, "--plans", 3, "--repair")
    choice = result["pictures"][0]["choice"]
    assert f"000.png: {choice}." in told
    assert "of 3 was drawn, with a score of " in choice
    assert "repaired: " in choice


@pytest.mark.parametrize("argv", [["sample", "--help"], ["recipe", "icons"]])
def test_the_words_are_listed(argv, capsys):
    with suppress(SystemExit):  # as --help ends
        main(argv)
    assert "airplane" in capsys.readouterr().out


def test_the_card_of_a_model_has_a_prompt_of_its_own_world():
    from got_r1.checkpoints.model_card import example_prompt
    from got_r1.checkpoints.models import model_folder
    from got_r1.icons.prompts import parse

    assert parse(example_prompt(Path(model_folder("icons")))) is not None
    assert parse(example_prompt(Path("nowhere"))) is None


# -- plans -----------------------------------------------------------------------------------------

PROMPT = "a red heart on the left of a blue star"
PLAN = {
    "objects": [
        {"name": "Red Heart", "box": [0, 310, 390, 700]},
        {"name": "blue star", "box": [600, 300, 999, 700]},
    ]
}


def test_an_edited_plan_is_drawn_and_what_was_changed_is_told(capsys, tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(PLAN))
    argv = ["sample", "--model", "icons", "--prompt", PROMPT, "--chain", plan, "--json"]
    argv += ["--move", "star=600,100", "--out", tmp_path / "moved"]
    assert main(list(map(str, argv))) == 0
    record = json.loads((tmp_path / "moved" / "000.json").read_text())
    boxes = {one["name"]: one["box"] for one in record["objects"]}
    assert boxes == {"red heart": [0, 300, 400, 700], "blue star": [600, 100, 999, 500]}
    assert record["prose"] == "A {1} on the left of a {2}."
    told = capsys.readouterr().err
    assert "the planned 'Red Heart' is drawn as 'red heart'" in told
    assert "0,310,390,700, was moved to 0,300,400,700" in told
    assert main([str(word) for word in argv] + ["--resume"]) == 0


@pytest.fixture
def plan_command(tmp_path, capsys):
    """Runs `got-r1 plan` on a stored plan; returns the exit code, output and stderr."""
    (tmp_path / "plan.json").write_text(json.dumps(PLAN | {"prompt": PROMPT}))

    def call(command, *more):
        code = main(["plan", command, str(tmp_path / "plan.json"), *map(str, more)])
        return code, *capsys.readouterr()

    return call


def test_a_plan_is_shown(plan_command, tmp_path):
    code, out, _ = plan_command("show", "--image", tmp_path / "plan.png", "--size", 200)
    assert code == 0
    assert "2  blue star  600,300,999,700\nprose: A {1} on the left of a {2}." in out
    with Image.open(tmp_path / "plan.png") as image:
        assert image.size == (200, 200)
    assert plan_command("show", "--image", tmp_path / "plan.png")[0] == 2  # overwrites nothing
    _, out, _ = plan_command("show", "--json", "--prompt", "two moons")
    assert json.loads(out)["notes"] == ['2 "moon" are not planned']


def test_a_plan_is_edited(plan_command, tmp_path):
    new = tmp_path / "new.json"
    changes = ["--rename", "heart=moon", "--move", "2=0,0,300,300", "--add", "tree=600,0,999,400"]
    code, out, _ = plan_command("edit", *changes, "--remove", "star", "--out", new)
    assert code == 2  # in this order: the star is gone when "2" is to move
    assert not new.exists()
    code, out, _ = plan_command("edit", *changes, "--out", new, "--json")
    assert code == 0
    written = json.loads(new.read_text())
    assert written.items() <= json.loads(out).items()
    assert [one["name"] for one in written["objects"]] == ["moon", "blue star", "tree"]
    assert plan_command("edit", "--out", new)[0] == 2  # overwrites nothing


def test_a_chain_with_depths_is_edited_where_marks_are_asked_for(tmp_path, capsys):
    heart = "A <|obj_start|>heart<|obj_end|> <|box_start|>(0,0),(600,600),z2<|box_end|>"
    star = "a <|obj_start|>star<|obj_end|> <|box_start|>(300,300),(900,900),z1<|box_end|>"
    chain, new = tmp_path / "chain.txt", tmp_path / "new.json"
    chain.write_text(f"{heart} in front of {star}.")
    argv = ["plan", "edit", chain, "--prompt", "a heart in front of a star", "--json"]
    argv += ["--move", "star=200,200", "--out", new]
    assert main(list(map(str, [*argv, "--marks"]))) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["notes"] == []
    assert [one["depth"] for one in json.loads(new.read_text())["objects"]] == [2, 1]
    assert main(["plan", "show", str(new), "--marks", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["objects"] == told["objects"]
    new.unlink()
    assert main(list(map(str, argv))) == 2  # without them the boxes are malformed
    assert not new.exists()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--out", "plan.txt"], "ends with .json"),
        (["--out", "a.json", "--rename", "heart"], "has no '='"),
        (["--out", "a.json", "--move", "heart"], "such as 'blue star=0,0,300,300'"),
        (["--out", "a.json", "--add", "tree=0,0"], "give four numbers"),
        (["--out", "a.json", "--prose", "A {7}."], "names object {7}"),
    ],
)
def test_mistakes_of_edit_are_refused(plan_command, tmp_path, monkeypatch, argv, told):
    monkeypatch.chdir(tmp_path)
    code, _, error = plan_command("edit", *argv)
    assert (code, error.count("\n")) == (2, 1)
    assert told in error
    assert not (tmp_path / "a.json").exists()


def test_a_move_needs_a_plan(draw):
    code, _, told, _ = draw(["a star"], "--move", "star=0,0")
    assert code == 2
    assert "give it with --chain" in told


# -- a detector of the user's own ------------------------------------------------------------------


@pytest.fixture(scope="module")
def detectors(tmp_path_factory):
    """Folders of tiny random detectors, by kind."""
    from vision import tiny

    root = tmp_path_factory.mktemp("detectors")
    kinds = ("grounding_dino", "owlv2", "mask2former")
    return {kind: tiny.build(kind, root / kind) for kind in kinds}


@pytest.mark.parametrize("kind", ["grounding_dino", "owlv2"])
def test_a_named_detector_finds_the_planned_objects_of_any_model(
    kind, detectors, other, capsys, tmp_path
):
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    argv = ["sample", "--model", other, "--prompt", PROMPT, "--chain", tmp_path / "plan.json"]
    argv += ["--out", tmp_path / "out", "--detector", f"{kind}:{detectors[kind]}", "--json"]
    assert main(list(map(str, argv))) == 0
    result = json.loads(capsys.readouterr().out)
    record = json.loads((tmp_path / "out" / "000.json").read_text())
    (picture,) = result["pictures"]
    assert (picture["found"], picture["iou"]) == (record["found"], record["iou"])
    planned = [one["name"] for one in record["objects"]]
    assert record["found"]  # a random detector finds something somewhere
    assert {one["name"] for one in record["found"]} <= set(planned)
    assert len(record["iou"]) == len(planned)
    assert sum(iou is not None for iou in record["iou"]) == len(record["found"])
    html = Path(result["page"]).read_text()
    assert "what was <span" in html
    assert f"{kind}:{detectors[kind]}" in html
    for iou in record["iou"]:
        assert ("not found" if iou is None else f"IoU {iou:.2f}") in html
    assert main([*map(str, argv), "--resume"]) == 0
    assert main([*map(str, argv[:-3]), "--resume"]) == 2  # drawn with a detector, resumed without


def test_the_icon_world_has_its_own_detector(draw):
    _, result, _, (record,) = draw([PROMPT])
    assert result["pictures"][0]["iou"] == record["iou"]
    assert len(record["iou"]) == len(record["objects"])
    assert all(iou is None or iou > 0.3 for iou in record["iou"])


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("dino", "is not KIND:MODEL with a kind of grounding_dino, owlv2, mask2former"),
        ("owlv2:nowhere", "nowhere"),
        ("mask2former:{mask2former}", "finds only its own classes"),
        ("owlv2:{grounding_dino}", "grounding"),
    ],
)
def test_a_wrong_detector_is_told_before_the_model_is_loaded(draw, detectors, named, told):
    spec = named.format(**detectors)
    code, _, error, _ = draw([PROMPT], "--detector", spec, model="no-such-model-here")
    assert (code, error.count("\n")) == (2, 1)
    assert told in error
    assert "no-such-model-here" not in error


# -- the contact sheet -----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["numbered", "compbench"])
def test_a_folder_has_its_contact_sheet(draw, tmp_path, layout):
    _, result, _, _ = draw(["a red heart", "a zebra"], "--layout", layout)
    page = Path(result["page"])
    assert page == tmp_path / "out" / "index.html"
    html = page.read_text()
    assert html.count("<article>") == 2
    assert "is no word of the icon world" in html
    with Image.open(result["sheet"]) as sheet:
        assert sheet.size[0] > 500
    again = draw(["a red heart", "a zebra"], "--layout", layout, "--resume")
    assert again[1]["drawn"] == 0
    assert page.read_text() == html


def test_a_damaged_record_is_told_and_ends_nothing(draw, tmp_path):
    argv = ["--layout", "compbench"]
    draw(["a red heart"], *argv)
    (tmp_path / "out" / "records" / "000000.json").write_text("{")
    code, result, told, _ = draw(["a red heart"], *argv, "--resume")
    assert code == 0
    assert "is not valid JSON" in result["pictures"][0]["faults"][0]
    assert "a red heart_000000.png: the record" in told

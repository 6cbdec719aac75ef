"""`got-r1 eval` for T2I-CompBench and GenEval, through the command line: drawn by the embedded
model, scored by tiny random models and, for numbers that are true, by the icon world's detector."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from got_r1.benchmarks.sample_folder import Manifest, write_manifest
from got_r1.cli import main
from got_r1.icons.data import triples
from got_r1.icons.render import render
from got_r1.icons.world import Icon, Scene, box_from_cells
from got_r1.records import Prompt

Argv = list[Any]


def icon(noun: str, color: str, x: int, y: int) -> Icon:
    return Icon(noun, color, "plain", box_from_cells(x, y, 4, 4))


def picture(*icons: Icon) -> Image.Image:
    return Image.fromarray(render(Scene(icons)))


HEART_LEFT = picture(icon("heart", "red", 0, 3), icon("star", "blue", 6, 3))
HEART_RIGHT = picture(icon("star", "blue", 0, 3), icon("heart", "red", 6, 3))
BLANK = Image.fromarray(np.full((40, 40, 3), 255, np.uint8))

PROMPTS = {
    "spatial": ["a heart on the left of a star", "a star on the left of a heart"],
    "numeracy": ["two hearts", "one heart and one star"],
    "color": ["a red heart and a blue star", "a blue heart and a red star"],
    "3d_spatial": ["a heart in front of a star", "a star behind a heart"],
    "non_spatial": ["A heart is looking at a star.", "A star is waving."],
    "complex": ["The red heart was on the left of the blue star.", "The star looks at a heart."],
}
OBJECTS = "heart - hearts\nstar - stars\n"
SCENES = [
    {
        "tag": "position",
        "prompt": "a photo of a heart left of a star",
        "include": [
            {"class": "star", "count": 1},
            {"class": "heart", "count": 1, "position": ["left of", 0]},
        ],
    },
    {
        "tag": "counting",
        "prompt": "a photo of one heart",
        "include": [{"class": "heart", "count": 1}],
        "exclude": [{"class": "heart", "count": 2}],
    },
    {
        "tag": "colors",
        "prompt": "a photo of a red heart",
        "include": [{"class": "heart", "count": 1, "color": "red"}],
    },
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A benchmark of its own in the official form, about icons."""
    folder = tmp_path / "data"
    folder.mkdir()
    for category, prompts in PROMPTS.items():
        (folder / f"{category}_val.txt").write_text("\n".join(prompts))
    (folder / "complex_val_spatial.txt").write_text(PROMPTS["complex"][0])
    (folder / "complex_val_action.txt").write_text(PROMPTS["complex"][1])
    (folder / "new_objects.txt").write_text(OBJECTS)
    lines = [json.dumps(scene) for scene in SCENES]
    (folder / "evaluation_metadata.jsonl").write_text("\n".join(lines))
    return folder


def draw(folder: Path, category: str, pictures: list[Image.Image], each: int = 1) -> None:
    """Images of a category in the official layout, made by somebody else."""
    target = folder / category / "samples"
    target.mkdir(parents=True)
    for index, image in enumerate(pictures):
        image.save(target / f"{PROMPTS[category][index // each]}_{index:06d}.png")


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Callable[[Argv], Any]:
    """Runs a command and gives its JSON."""

    def run(argv: Argv) -> Any:
        code = main([*map(str, argv), "--json"])
        told = capsys.readouterr()
        assert code == 0, told.err
        return json.loads(told.out)

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[Argv], str]:
    """Runs a command that is refused and gives its sentence."""

    def run(argv: Argv) -> str:
        assert main([str(word) for word in argv]) == 2
        return capsys.readouterr().err

    return run


def score_argv(folder: Path, data: Path, *more: Any) -> Argv:
    named = ["--benchmark", "compbench", "--data", data, "--tagger", "fallback"]
    return ["eval", "score", folder, *named, *more]


# -- T2I-CompBench: true numbers -------------------------------------------------------------------


def test_spatial_and_numeracy_are_right_by_construction(
    tmp_path: Path, data: Path, ask: Callable[[Argv], Any]
) -> None:
    folder = tmp_path / "images"
    # Two images of each prompt: of the first one is right, of the second both.
    draw(folder, "spatial", [HEART_LEFT, HEART_RIGHT, HEART_RIGHT, HEART_RIGHT], 2)
    draw(folder, "numeracy", [HEART_LEFT, BLANK, HEART_LEFT, HEART_RIGHT], 2)
    argv = score_argv(folder, data, "--category", "spatial", "--category", "numeracy")
    result = ask([*argv, "--images", 2, "--detector", "icons"])
    # Found and in the wrong place is 0.5 by two certain detections; right is 1.
    assert result["metrics"]["spatial"]["overall"]["mean"] == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    # One heart of two asked for earns half; nothing is nothing.
    assert result["metrics"]["numeracy"]["overall"]["mean"] == pytest.approx((0.5 + 0 + 1 + 1) / 4)
    assert result["metrics"]["spatial"]["overall"]["n"] == 2  # prompts, not images
    assert (result["prompts"], result["images_per_prompt"]) == (4, 2)
    assert result["scorers"]["detector"] == "icon detector"
    assert "detector icon detector, not UniDet" in result["deviations"]["spatial"]
    lines = (folder / "scores.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert first["image"] == "spatial/samples/a heart on the left of a star_000000.png"
    assert first["spatial"] == 1
    assert "heart on the left of star" in first["evidence"]


def detections_line(name: str, boxes: dict[str, list[float]], size: int = 479) -> str:
    found = [{"label": label, "box": box, "score": 0.8} for label, box in boxes.items()]
    return json.dumps({"image": name, "size": [size, size], "detections": found})


def test_imported_detections_of_unidet_stand_beside_published_numbers(
    tmp_path: Path, data: Path, ask: Callable[[Argv], Any], refused: Callable[[Argv], str]
) -> None:
    folder, file = tmp_path / "images", tmp_path / "unidet.jsonl"
    draw(folder, "spatial", [HEART_LEFT, HEART_LEFT])
    left, right = [0.0, 200.0, 80.0, 280.0], [300.0, 200.0, 380.0, 280.0]
    names = [f"{prompt}_{i:06d}.png" for i, prompt in enumerate(PROMPTS["spatial"])]
    lines = [detections_line(name, {"heart": left, "star": right}) for name in names]
    file.write_text("\n".join(lines))
    argv = score_argv(folder, data, "--category", "spatial", "--images", 1)
    given = [*argv, "--detections", file, "--detections-by", "UniDet RS200"]
    result = ask(given)
    # 0.25 * 0.8 * 2 + 0.5 for the first; the second is in the wrong place and below the cut.
    assert result["metrics"]["spatial"]["overall"]["mean"] == pytest.approx(0.9 / 2)
    assert result["scorers"]["detector"] == "UniDet RS200 (imported from unidet.jsonl)"
    assert not any("UniDet" in reason for reason in result["deviations"]["spatial"])
    unnamed = ask([*argv, "--detections", f"spatial={file}"])
    assert any("not UniDet" in reason for reason in unnamed["deviations"]["spatial"])

    assert "both give the objects" in refused([*given, "--detector", "icons"])
    assert "give those too" in refused([*argv, "--detections-by", "UniDet"])
    assert "spatial=FILE too" in refused([*argv, "--detections", f"numeracy={file}"])
    file.write_text(lines[0])
    assert f"no detections of 1 image: {names[1]}" in refused(given)
    file.write_text("\n".join([lines[0], detections_line(names[1], {}, size=512)]))
    assert "another image size" in refused(given)
    file.write_text("\n".join([*lines, lines[0]]))
    assert "a second time" in refused(given)


# -- T2I-CompBench: the plumbing -------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy with random weights, smaller than the shipped one."""
    from got_r1.policy.tiny import build_policy
    from got_r1.policy.words import TEMPLATE

    prompts = [text for texts in PROMPTS.values() for text in texts]
    prompts += [scene["prompt"] for scene in SCENES]
    texts = [TEMPLATE.format(prompt=text) for text in prompts]
    texts += [one.chain for one in triples(50, 0)]
    folder = tmp_path_factory.mktemp("model")
    build_policy(texts, seed=0, hidden_size=32, layers=1, heads=1, kv_heads=1, mlp_size=32).save(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny random models, which know nothing."""
    from vision.tiny import build

    folder = tmp_path_factory.mktemp("models")
    labels = ("person", "heart", "star")
    return {
        "vqa": build("blip", folder / "blip"),
        "clip": build("clip", folder / "clip"),
        "depth": build("dpt", folder / "dpt"),
        "detector": build("mask2former", folder / "mask2former", labels=labels),
    }


def with_models(models: dict[str, Path]) -> Argv:
    given: Argv = ["--vqa-size", 32, "--detector", f"mask2former:{models['detector']}"]
    for name in ("vqa", "clip", "depth"):
        given += [f"--{name}", models[name]]
    return given


def test_one_command_from_a_model_to_the_table(
    tmp_path: Path,
    data: Path,
    model: Path,
    models: dict[str, Path],
    ask: Callable[[Argv], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    argv = ["eval", "run", "--benchmark", "compbench", "--data", data, "--model", model]
    for category in PROMPTS:
        argv += ["--category", category]
    argv += ["--images", 2, "--guidance", 1, "--tagger", "fallback", *with_models(models)]
    result = ask([*argv, "--out", out])
    assert list(result["metrics"]) == list(PROMPTS)
    for category, metric in result["metrics"].items():
        overall = metric["overall"]
        assert overall["n"] == 2
        assert -1 <= overall["low"] <= overall["mean"] <= overall["high"] <= 1
        reasons = " ".join(result["deviations"][category])
        assert "2 prompts with 2 images, not 300 with 10" in reasons
    parts = {"vqa", "clip", "depth", "detector"}
    assert set(result["scorers"]) == {"arithmetic", "words", "versions", *parts}
    versions = dict(re.findall(r"(\w+) weights ([0-9a-f]{8})", result["scorers"]["versions"]))
    assert set(versions) == parts
    assert len(set(versions.values())) == 4
    assert "transformers 5" in result["scorers"]["versions"]
    for category, prompts in PROMPTS.items():
        names = sorted(path.name for path in (out / category / "samples").iterdir())
        wanted = [f"{prompts[index // 2]}_{index:06d}.png" for index in range(4)]
        assert names == sorted(wanted)

    # An interrupted folder: what is missing is drawn again, the same to the bit.
    lost = out / "color" / "samples" / f"{PROMPTS['color'][1]}_000003.png"
    before = lost.read_bytes()
    lost.unlink()
    assert main([str(word) for word in ["eval", "score", out]]) == 2
    assert "1 of the 24 samples" in capsys.readouterr().err
    again = ask([*argv, "--out", out, "--resume"])
    assert lost.read_bytes() == before
    assert again["metrics"] == result["metrics"]

    # A table, without another detector's numbers under the published heading.
    assert main(["eval", "table", str(out / "eval.json"), "--ablations"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if line.startswith("|")) <= 80
    headings = [line for line in lines if line.startswith("| model")]
    mine = [line for line in lines if line.startswith("| out")]
    columns = []
    for heading, row in zip(headings, mine, strict=True):
        names, cells = ([cell.strip() for cell in line[1:-1].split("|")] for line in (heading, row))
        columns += zip(names[1:], cells[1:], strict=True)
    for name, cell in columns:
        assert (cell != "-") == name.endswith(")"), name
    assert "2D-Spatial" in dict(columns)
    assert any(line.startswith("| 1B, no R_spa") for line in lines)
    assert any("not comparable with published numbers: " in line for line in lines)
    assert any("Mask2Former mask2former, not UniDet" in line for line in lines)


@pytest.mark.parametrize("category", ["../spatial", "/tmp", "nonesuch"])
def test_a_category_of_a_foreign_manifest_is_no_path(
    tmp_path: Path, data: Path, refused: Callable[[Argv], str], category: str
) -> None:
    """It becomes a folder's name."""
    prompts = [Prompt("a heart on the left of a star", category)]
    draw(tmp_path, "spatial", [HEART_LEFT])
    folder = tmp_path / "images"
    folder.mkdir()
    write_manifest(
        folder, Manifest("compbench", "val", "theirs", 0, 1.0, tuple(prompts), 1, str(data))
    )
    argv = ["eval", "score", folder, "--tagger", "fallback", "--detector", "icons"]
    assert f"has no category {category!r}" in refused(argv)


def test_a_sample_depends_on_seed_prompt_and_number_only(
    tmp_path: Path, data: Path, model: Path, ask: Callable[[Argv], Any]
) -> None:
    argv = ["eval", "generate", "--benchmark", "compbench", "--data", data, "--model", model]
    argv += ["--category", "spatial", "--images", 2, "--guidance", 1, "--batch", 1]
    assert ask([*argv, "--out", tmp_path / "all"]) == {
        "folder": str(tmp_path / "all"),
        "images": 4,
    }
    alone = data / "alone"
    alone.mkdir()
    (alone / "spatial_val.txt").write_text(PROMPTS["spatial"][1])
    argv[argv.index(data)] = alone
    ask([*argv, "--out", tmp_path / "one"])
    second = PROMPTS["spatial"][1]
    for number in range(2):
        whole, single = (
            tmp_path / name / "spatial" / "samples" / f"{second}_{index:06d}.png"
            for name, index in (("all", 2 + number), ("one", number))
        )
        assert whole.read_bytes() == single.read_bytes()


# -- bad input -------------------------------------------------------------------------------------


def half_written(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


FIRST = f"{PROMPTS['spatial'][0]}_000000.png"
SECOND = f"{PROMPTS['spatial'][1]}_000001.png"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda s: (s / FIRST).unlink(), f"1 of the 2 samples in .*{FIRST} \\(missing\\)"),
        (lambda s: half_written(s / SECOND), r"1 of the 2 .*_000001 \(unreadable\)"),
        (lambda s: [path.unlink() for path in s.iterdir()], "2 of the 2 samples"),
        (
            lambda s: (s / FIRST).rename(s / "another prompt_000000.png"),
            r"\(missing\).*1 others do not belong there: .*number 0 belongs to 'a heart",
        ),
        (
            lambda s: (s / SECOND.replace("star", "cat")).write_bytes((s / SECOND).read_bytes()),
            r"1 files in .*\(number 1 belongs to 'a star",
        ),
        (lambda s: (s / "notes.txt").write_text("x"), "no image of the benchmark has this name"),
        (
            lambda s: (s / f"{PROMPTS['spatial'][0]}_000002.png").write_bytes(b""),
            "no image of the benchmark has this name",
        ),
    ],
)
def test_a_damaged_folder_is_never_averaged(
    tmp_path: Path,
    data: Path,
    refused: Callable[[Argv], str],
    damage: Callable[[Path], object],
    told: str,
) -> None:
    folder = tmp_path / "images"
    draw(folder, "spatial", [HEART_LEFT, HEART_RIGHT])
    damage(folder / "spatial" / "samples")
    argv = score_argv(folder, data, "--category", "spatial", "--images", 1, "--detector", "icons")
    assert re.search(told, refused(argv), re.DOTALL)
    assert not (folder / "eval.json").exists()


def test_other_bad_input(tmp_path: Path, data: Path, refused: Callable[[Argv], str]) -> None:
    folder = tmp_path / "images"
    draw(folder, "spatial", [HEART_LEFT, HEART_RIGHT])
    argv = score_argv(folder, data, "--category", "spatial", "--images", 1)
    assert "the scores need a detector" in refused(argv)
    assert "is not KIND:MODEL" in refused([*argv, "--detector", "yolo:x"])
    assert "no category 'colour'" in refused([*argv, "--category", "colour"])
    assert "3 of the 4 samples" in refused([*argv[:-1], 2, "--detector", "icons"])
    without = ["eval", "score", folder, "--benchmark", "compbench"]
    assert "give --data" in refused(without)
    assert "give --data" in refused([*without[:-1], "geneval"])
    assert "no prompt file at" in refused([*without, "--data", tmp_path / "none"])
    assert "no folder" in refused(["eval", "score", tmp_path / "no", *argv[3:]])
    assert "no folder of samples" in refused(["eval", "score", folder])
    generate = ["eval", "generate", "--model", "icons", "--out", tmp_path / "out"]
    assert "brings its own prompts" in refused([*generate, "--data", data])
    geneval = [*generate, "--benchmark", "geneval", "--data", data]
    assert "GenEval has no split 'dev'" in refused([*geneval, "--split", "dev"])
    assert "is of T2I-CompBench" in refused([*geneval, "--category", "color"])


# -- GenEval ---------------------------------------------------------------------------------------


def draw_geneval(folder: Path, pictures: list[Image.Image]) -> None:
    for index, image in enumerate(pictures):
        target = folder / f"{index:05d}" / "samples"
        target.mkdir(parents=True)
        image.save(target / "0000.png")


def test_geneval_is_right_by_construction(
    tmp_path: Path, data: Path, models: dict[str, Path], ask: Callable[[Argv], Any]
) -> None:
    folder = tmp_path / "images"
    argv = ["eval", "score", folder, "--benchmark", "geneval", "--data", data, "--images", 1]
    argv += ["--detector", "icons", "--clip", models["clip"]]
    draw_geneval(folder, [HEART_LEFT, HEART_LEFT, BLANK])
    result = ask(argv)
    means = {name: metric["overall"]["mean"] for name, metric in result["metrics"].items()}
    assert means == {"position": 1, "counting": 1, "colors": 0}  # no overall: three tags of six
    assert all("mmdetection" in reasons[0] for reasons in result["deviations"].values())
    lines = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    assert lines[2]["evidence"] == "expected heart>=1, found 0"


def test_geneval_records_that_repeat_a_prompt_are_scored_each_by_its_own(
    tmp_path: Path, data: Path, models: dict[str, Path], ask: Callable[[Argv], Any]
) -> None:
    """One prompt, three records: one or two hearts are wanted, or one red heart."""
    include = [{"class": "heart", "count": 1}]
    prompt = "a photo of hearts"
    scenes = [
        {"tag": "counting", "prompt": prompt, "include": include},
        {"tag": "counting", "prompt": prompt, "include": [{"class": "heart", "count": 2}]},
        {"tag": "single_object", "prompt": prompt, "include": include},
    ]
    (data / "evaluation_metadata.jsonl").unlink()
    file = data / "metadata.json"
    file.write_text(json.dumps(scenes))
    folder = tmp_path / "images"
    argv = ["eval", "score", folder, "--benchmark", "geneval", "--data", file, "--images", 1]
    argv += ["--detector", "icons", "--clip", models["clip"]]
    draw_geneval(folder, [HEART_LEFT, HEART_LEFT, BLANK])
    ask(argv)
    lines = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    assert [(line.get("counting"), line.get("single_object")) for line in lines] == [
        (1, None),
        (0, None),
        (None, 0),
    ]
    assert lines[1]["evidence"] == "expected heart>=2, found 1"


def test_geneval_is_drawn_in_its_official_layout_and_scored(
    tmp_path: Path,
    data: Path,
    model: Path,
    models: dict[str, Path],
    ask: Callable[[Argv], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    argv = ["eval", "run", "--benchmark", "geneval", "--data", data, "--model", model]
    argv += ["--images", 2, "--guidance", 1, "--clip", models["clip"], "--out", out]
    result = ask([*argv, "--detector", f"mask2former:{models['detector']}"])
    assert set(result["metrics"]) == {"position", "counting", "colors"}
    for index, scene in enumerate(SCENES):
        folder = out / f"{index:05d}"
        assert json.loads((folder / "metadata.jsonl").read_text()) == scene
        names = sorted(path.name for path in (folder / "samples").iterdir())
        assert names == ["0000.png", "0001.png"]
    assert main(["eval", "table", str(out / "eval.json")]) == 0
    table = capsys.readouterr().out
    assert "| GoT-R1-7B" in table
    assert "not mmdetection's Mask2Former" in table

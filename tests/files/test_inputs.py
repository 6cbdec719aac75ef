"""Files that users name."""

import json

import numpy as np
import pytest
from PIL import Image

from got_r1.errors import BadInput
from got_r1.files.inputs import read_image, read_plan, read_prompts
from got_r1.records import Prompt


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1"])
def test_images_of_any_kind_become_rgb(mode, tmp_path):
    Image.new(mode, (5, 3)).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    assert (image.shape, image.dtype) == ((3, 5, 3), np.uint8)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n \n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_prompts_are_lines(tmp_path, mark, ending):
    path = tmp_path / "prompts.txt"
    path.write_bytes(f"{mark}a red star\n  ein schöner Stern{ending}".encode())
    assert read_prompts(path) == [Prompt("a red star"), Prompt("ein schöner Stern")]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty; write one prompt a line"),
        (b" \n\n", "is empty; write one prompt a line"),
        (b"a\n\nb\n", "line 2 of the prompt file"),
        (b"a\n\xff\n", r"is not UTF-8 text \(byte 2, line 2\)"),
        ("a star".encode("utf-16-le"), "zero bytes, as UTF-16 does"),
    ],
)
def test_a_bad_prompt_file_is_explained(tmp_path, content, told):
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=told):
        read_prompts(path)


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("color_val.txt", "color"),
        ("3d_spatial_train.txt", "3d_spatial"),
        ("complex_train_spatialaction.txt", "complex"),
        ("colors.txt", "other"),
        ("my_color_val.txt", "other"),
    ],
)
def test_a_benchmarks_file_names_its_category(tmp_path, name, category):
    (tmp_path / name).write_text("a red star\n")
    assert read_prompts(tmp_path / name) == [Prompt("a red star", category)]


def test_prompts_of_records(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        '{"prompt": "a red star", "category": "color"}\n'
        '{"prompt": "a dog\u2028and a cat", "tag": "two_object", "include": []}\n'
        '{"prompt": " a\\n\\nhouse ", "category": null}\n\n'
    )
    assert read_prompts(path) == [
        Prompt("a red star", "color"),
        Prompt("a dog and a cat", "two_object"),
        Prompt("a house"),
    ]
    path.write_text('{"TEXT": "a red star"}')
    assert read_prompts(path, "TEXT") == [Prompt("a red star")]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"prompt": "a"}\n{"prompt": "b"\n', r"line 2 of .*jsonl is not valid JSON"),
        ('{"prompt": "a"}\n\n{"prompt": "b"}', "line 2 of the prompt file .* is empty"),
        ('{"TEXT": "a", "id": 1}', "line 1 of .* has no text under 'prompt' .it has 'TEXT', 'id'"),
        ('{"prompt": " "}', "has no text under 'prompt'"),
        ('{"prompt": 3}', "has no text under 'prompt'"),
        ('["a"]', "line 1 of .* must hold a JSON object"),
    ],
)
def test_a_bad_record_is_explained(tmp_path, content, told):
    path = tmp_path / "prompts.jsonl"
    path.write_text(content)
    with pytest.raises(BadInput, match=told):
        read_prompts(path)


def test_the_benchmarks_own_files_are_read_whole(reference_data):
    paths = list((reference_data / "prompts").glob("*_val.txt"))
    assert len(paths) == 8
    for path in paths:
        prompts = read_prompts(path)
        assert len(prompts) == len(path.read_text().splitlines())
        assert path.stem.startswith(f"{prompts[0].category}_")
    geneval = read_prompts(reference_data / "prompts" / "evaluation_metadata.jsonl")
    assert len(geneval) == 553
    assert geneval[0] == Prompt("a photo of a bench", "single_object")


# -- chains ----------------------------------------------------------------------------------------

PLAN = "A <|obj_start|>red star<|obj_end|> <|box_start|>(100,100),(500,500)<|box_end|>."


def test_a_plan_is_a_chain_without_problems(tmp_path):
    (tmp_path / "chain.txt").write_text(f"\n{PLAN}\n")
    (tmp_path / "000.json").write_text(json.dumps({"chain": PLAN}))
    assert read_plan(tmp_path / "chain.txt") == read_plan(tmp_path / "000.json") == PLAN


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["empty chain at character 1 ('')"]),
        ("a red star", ["no planned object at character 1 ('a red star')"]),
        (
            PLAN.replace("500,", "5000,").replace("star<|obj_end|>", "star"),
            ["unclosed tag at character 3 ('<|obj_start|>red star", "box without an object"],
        ),
        (PLAN.replace("(500,", "(5000,"), ["coordinates outside 0 to 999 at character 36"]),
        (PLAN + "<|box_end|>" * 9, ["closing tag without its opening tag", " and 4 more; fix"]),
    ],
)
def test_a_chain_that_is_no_plan_is_explained(tmp_path, text, told):
    (tmp_path / "chain.txt").write_text(text)
    with pytest.raises(BadInput) as error:
        read_plan(tmp_path / "chain.txt")
    sentence = str(error.value)
    assert [part for part in [str(tmp_path), *told] if part not in sentence] == []
    assert "\n" not in sentence

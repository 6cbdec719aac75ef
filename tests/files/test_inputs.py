"""Files that users name."""

import json

import numpy as np
import pytest
from PIL import Image

from got_r1.errors import BadInput
from got_r1.files.inputs import read_image, read_plan


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1"])
def test_images_of_any_kind_become_rgb(mode, tmp_path):
    Image.new(mode, (5, 3)).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    assert (image.shape, image.dtype) == ((3, 5, 3), np.uint8)


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

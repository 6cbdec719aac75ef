"""Files that users name."""

import numpy as np
import pytest
from PIL import Image

from got_r1.errors import BadInput
from got_r1.inputs import read_image, read_prompts
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
        (b"a\n\xff\n", r"is not UTF-8 text \(byte 2\)"),
    ],
)
def test_a_bad_prompt_file_is_explained(tmp_path, content, told):
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=told):
        read_prompts(path)

"""A folder of samples: names, and the arguments it was begun with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from got_r1.errors import BadInput
from got_r1.files.prompt_files import read_prompts
from got_r1.files.sample_files import SampleFiles
from got_r1.records import Prompt

ARGUMENTS: dict[str, Any] = {
    "model": "here",
    "weights": "abc-abc",
    "n": 2,
    "images_per_chain": 1,
    "chain": None,
    "prompts": [{"text": "a", "category": "x"}, {"text": "b\u2028: c", "category": "x"}],
}


def test_numbers_keep_three_places_at_least() -> None:
    files = SampleFiles(Path("x"))
    assert files.image(7, Prompt("a/b")) == Path("x/007.png")
    assert files.record(1234) == Path("x/1234.json")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a cat/dog", "prompt 2, 'a cat/dog', holds a slash and cannot be a file name"),
        ("a cat_dog", "holds an underscore"),
        ("a\tcat", "holds a character that cannot be printed"),
        ("a\0cat", "cannot be printed"),
        ("long " * 60, "is longer than 235 bytes"),
        ("é" * 118, "is longer than 235 bytes"),
    ],
)
def test_a_prompt_that_cannot_be_a_name_is_told_before_anything_is_drawn(
    text: str, told: str
) -> None:
    prompts = [Prompt("a red bus."), Prompt(text), Prompt("é" * 117)]
    SampleFiles(Path("x")).check_prompts(prompts)
    with pytest.raises(BadInput) as error:
        SampleFiles(Path("x"), "compbench").check_prompts(prompts)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_the_longest_name_and_its_partial_file_can_be_written(tmp_path: Path) -> None:
    files, prompt = SampleFiles(tmp_path, "compbench"), Prompt("x" * 235)
    files.check_prompts([prompt])
    files.write(0, prompt, b"png", {})
    assert files.is_finished(0, prompt)


def test_every_prompt_of_the_benchmark_can_be_a_name(reference_data: Path) -> None:
    paths = list((reference_data / "prompts").glob("*_val*.txt"))
    assert len(paths) == 11
    for path in paths:
        SampleFiles(Path("x"), "compbench").check_prompts(read_prompts(path))


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path / "out")
    files.check_folder(resume=False)
    files.check_folder(resume=True)
    files.folder.mkdir()
    (files.folder / ".sampling.yaml.partial").write_text("")  # killed while it began
    files.check_folder(resume=True)
    files.begin(ARGUMENTS)
    files.check_folder(resume=True)
    with pytest.raises(BadInput, match="continue it with --resume or choose another --out"):
        files.check_folder(resume=False)

    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "holiday.png").write_bytes(b"precious")
    for resume in (False, True):
        with pytest.raises(BadInput, match="choose another --out"):
            SampleFiles(tmp_path / "x").check_folder(resume)
        with pytest.raises(BadInput, match="choose another --out"):
            SampleFiles(tmp_path / "x" / "holiday.png").check_folder(resume)


def test_the_same_arguments_go_on(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path)
    files.begin(ARGUMENTS)
    before = (tmp_path / "sampling.yaml").read_bytes()
    files.begin(ARGUMENTS | {"model": "the same weights elsewhere"})
    assert (tmp_path / "sampling.yaml").read_bytes() == before


def test_an_older_folder_goes_on_by_the_digest_that_it_holds(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path)
    files.begin(ARGUMENTS | {"weights": "abc"})
    files.begin(ARGUMENTS | {"weights": "abc-def"})
    with pytest.raises(BadInput, match="other weights"):
        files.begin(ARGUMENTS | {"weights": "abd-def"})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"n": 3}, "it was started with --n 2, now it is 3;"),
        ({"images_per_chain": 4}, "with --images-per-chain 1, now it is 4"),
        ({"chain": "a plan"}, "with --chain (none), now it is a plan"),
        ({"weights": "abc-abd"}, "with other weights than this model's"),
        ({"prompts": ARGUMENTS["prompts"][:1]}, "with 2 prompts, now there are 1"),
        (
            {"prompts": [ARGUMENTS["prompts"][0], {"text": "c", "category": "x"}]},
            "prompt 2 was {'text': 'b",
        ),
        ({"new": 1}, "with --new (none), now it is 1"),
    ],
)
def test_a_difference_is_named(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    files = SampleFiles(tmp_path)
    files.begin(ARGUMENTS)
    with pytest.raises(BadInput) as error:
        files.begin(ARGUMENTS | change)
    assert f"cannot resume {tmp_path}: " in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize("content", [b"\xff", b"[", b"words"])
def test_a_damaged_record_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sampling.yaml").write_bytes(content)
    with pytest.raises(BadInput, match=r"sampling\.yaml is damaged"):
        SampleFiles(tmp_path).begin(ARGUMENTS)

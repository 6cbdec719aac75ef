"""Which prompts RL trains on: sources, shares, what is held out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from got_r1.errors import BadInput
from got_r1.recipes.recipe_file import load_recipe
from got_r1.recipes.sections import DataSection
from got_r1.records import Prompt
from got_r1.training.prompts import PromptMix, load_prompts


def mix_of(sizes: list[int], shares: list[float]) -> PromptMix:
    sources = [tuple(Prompt(f"{s} {i}", str(s)) for i in range(n)) for s, n in enumerate(sizes)]
    return PromptMix(tuple(sources), tuple(shares))


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


# -- drawing ---------------------------------------------------------------------------------------


def test_a_draw_is_a_function_of_its_seed() -> None:
    mix = mix_of([50, 50], [0.5, 0.5])
    assert mix.draw(8, 3) == mix.draw(8, 3)
    assert mix.draw(8, 3) != mix.draw(8, 4)  # equal with odds of about 1 in 100 ** 8


def test_sources_come_by_their_shares_and_prompts_evenly() -> None:
    mix = mix_of([40, 4], [0.75, 0.25])
    drawn = Counter(prompt for seed in range(2000) for prompt in mix.draw(8, seed))
    # 16,000 places: 12,000 +- 55. Five standard deviations, so a right mix fails with odds of
    # 6e-7; one that went by the number of prompts (.91) would be 47 of them away.
    first = sum(count for prompt, count in drawn.items() if prompt.category == "0")
    assert abs(first - 12_000) < 5 * 55
    # Each of the 40: 300 +- 17, odds of 40 * 6e-7.
    assert all(abs(drawn[prompt] - 300) < 5 * 17 for prompt in mix.sources[0])


def test_a_step_repeats_a_prompt_only_when_its_source_runs_out() -> None:
    mix = mix_of([9, 3], [0.5, 0.5])
    for seed in range(50):
        counts = Counter(mix.draw(8, seed))
        first = [counts[prompt] for prompt in mix.sources[0]]
        second = [counts[prompt] for prompt in mix.sources[1]]
        assert max(first) <= 1
        assert max(second) - min(second) <= 1
        assert sum(first) + sum(second) == 8


# -- sources ---------------------------------------------------------------------------------------


def test_sources_of_every_kind(tmp_path: Path) -> None:
    write(tmp_path / "color_train.txt", "a red bus", "a red bus", "a blue cat")
    write(tmp_path / "shape_train.txt", "a round table")
    write(tmp_path / "web.jsonl", '{"TEXT": "a quiet lake"}')
    data = DataSection.model_validate(
        {
            "prompts": [
                {"path": str(tmp_path / "*_train.txt"), "weight": 2},
                {"path": str(tmp_path / "web.jsonl"), "column": "TEXT", "weight": 1.5},
                {"path": "icons", "weight": 0.5},
            ]
        }
    )
    mix = load_prompts(data)
    assert mix.sources[0] == (
        Prompt("a red bus", "color"),
        Prompt("a blue cat", "color"),
        Prompt("a round table", "shape"),
    )
    assert mix.sources[1] == (Prompt("a quiet lake"),)
    assert mix.sources[2] == load_prompts(DataSection()).sources[0]
    assert mix.shares == (0.5, 0.375, 0.125)


def test_one_file_may_be_named_plainly(tmp_path: Path) -> None:
    path = write(tmp_path / "my prompts.txt", "a", "b")
    recipe = load_recipe("/dev/null", [f"data.prompts={path}"])
    assert load_prompts(recipe.data) == PromptMix(((Prompt("a"), Prompt("b")),), (1.0,))


def test_one_source_of_a_list_may_be_overridden(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: {prompts: [a.txt, {path: b.txt, weight: 2}]}")
    prompts = load_recipe(
        recipe, ["data.prompts.1.path=c d", "data.prompts.0.weight=3"]
    ).data.prompts
    assert [(one.path, one.weight) for one in prompts] == [("a.txt", 3), ("c d", 2)]


# -- held out --------------------------------------------------------------------------------------


def test_held_out_prompts_are_never_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.txt", "A red bus.", "the T-shirt  is green", "a cat", "a red bus stop")
    write(tmp_path / "x_val.txt", "a Red  bus", "a dog")
    write(tmp_path / "y_val.txt", "The t\u2010shirt is green!")
    data = DataSection.model_validate(
        {"prompts": str(tmp_path / "a.txt"), "held_out": str(tmp_path / "*_val.txt")}
    )
    mix = load_prompts(data)
    assert [prompt.text for prompt in mix.sources[0]] == ["a cat", "a red bus stop"]
    assert mix.held_out == 2
    assert "2 held-out prompts removed" in capsys.readouterr().err
    load_prompts(data, quiet=True)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("val.txt", "A red bus.\n"),
        ("val.txt", '{"text": "A red bus."}\n'),
        ("val.jsonl", '{"text": "A red bus."}\n'),
        ("val.json", '["A red bus."]'),
        ("val.json", '{"prompts": [{"text": "A red bus."}]}'),
        ("val.csv", 'id,text\n1,"A red\nbus."\n'),
        ("val.tsv", "id\ttext\n1\tA red bus.\n"),
        ("val.parquet", ""),
    ],
)
def test_files_of_every_format_hold_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    if content:
        (tmp_path / name).write_text(content)
    else:
        pq.write_table(pa.table({"text": ["A red bus."]}), tmp_path / name)
    prompts = write(tmp_path / "a.txt", "a red bus", "a cat")
    held_out = [{"path": str(tmp_path / f"{name[:3]}*"), "column": "text"}]
    mix = load_prompts(DataSection.model_validate({"prompts": prompts, "held_out": held_out}))
    assert (mix.sources, mix.held_out) == (((Prompt("a cat"),),), 1)
    assert "warning" not in capsys.readouterr().err


def test_a_held_out_file_without_effect_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a_val.txt", "a cat")
    write(tmp_path / "b_val.txt", "a dog", "a hen")
    prompts = write(tmp_path / "a.txt", "a red bus", "a cat")
    data = DataSection.model_validate({"prompts": prompts, "held_out": f"{tmp_path}/*_val.txt"})
    load_prompts(data)
    told = capsys.readouterr().err
    assert f"warning: none of the held-out prompts in {tmp_path}/b_val.txt (2) is among" in told
    load_prompts(data, quiet=True)
    assert capsys.readouterr().err == ""


def test_metadata_that_repeats_prompts_gives_each_once_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(
        tmp_path / "metadata.jsonl",
        '{"tag": "counting", "include": [{"class": "cup", "count": 2}], "prompt": "two cups"}',
        '{"tag": "counting", "include": [{"class": "cup", "count": 3}], "prompt": "two cups"}',
        '{"tag": "single_object", "include": [], "prompt": "a cup"}',
    )
    mix = load_prompts(DataSection.model_validate({"prompts": path}))
    assert mix.sources == ((Prompt("two cups", "counting"), Prompt("a cup", "single_object")),)
    assert "2 (100%); 1 repeated prompts left out" in capsys.readouterr().err


def test_held_out_files_are_settings_with_columns(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: {held_out: [a.txt, {path: b.csv, column: text}]}")
    settings = ["data.held_out.0=c.txt", "data.held_out.1.column=caption"]
    held_out = load_recipe(recipe, settings).data.held_out
    assert [(one.path, one.column) for one in held_out] == [
        ("c.txt", "prompt"),
        ("b.csv", "caption"),
    ]


def test_the_benchmarks_val_prompts_stay_out_of_its_train_prompts(reference_data: Path) -> None:
    folder = reference_data / "prompts"
    trained, val = str(folder / "*_train.txt"), str(folder / "*_val.txt")
    mix = load_prompts(DataSection.model_validate({"prompts": trained, "held_out": val}))
    # 8 x 700 lines, of which 41 repeat another; shape has four of its val prompts in train and
    # spatial two (counted from the files with another tool).
    assert (len(mix.sources[0]), mix.held_out) == (5553, 6)
    assert Counter(prompt.category for prompt in mix.sources[0])["spatial"] == 698


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompts", "held_out", "told"),
    [
        ("nowhere.txt", [], "no prompt file at nowhere.txt"),
        ("nowhere/*.txt", [], r"no prompt file matches nowhere/\*.txt"),
        ("empty.txt", [], "prompt file empty.txt is empty"),
        (["some.txt", "empty.txt"], [], "prompt file empty.txt is empty"),
        ("some.txt", "nowhere.txt", "no prompt file at nowhere.txt"),
        ("latin.txt", [], r"latin.txt is not UTF-8 text \(byte 3, line 1\)"),
        (["latin.txt", "some.txt"], "some.txt", "latin.txt is not UTF-8"),
        (["icons", "some.txt"], "some.txt", "all 1 prompts of the source some.txt are held out"),
    ],
)
def test_a_bad_source_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prompts: object, held_out: object, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "some.txt", "a star")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    data = DataSection.model_validate({"prompts": prompts, "held_out": held_out})
    with pytest.raises(BadInput, match=told):
        load_prompts(data)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("{prompts: [{path: a, weight: 0}]}", "data.prompts.0.weight must be a number, above 0"),
        ("{prompts: [a, {path: b, weight: -1}]}", "data.prompts.1.weight must be a number, above"),
        ("{prompts: [{weight: 1}]}", "data.prompts.0.path is missing"),
        ("{prompts: [{path: a, weigth: 1}]}", "nearest is 'data.prompts.N.weight'"),
        ("{prompts: 3}", "data.prompts must be text or a list, not 3"),
        ("{held_out: [3]}", "data.held_out.0 must be a section of settings or text, not 3"),
    ],
)
def test_bad_settings_of_a_source_are_explained(tmp_path: Path, settings: str, told: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"data: {settings}")
    with pytest.raises(BadInput, match=told):
        load_recipe(recipe)


def test_an_override_of_a_source_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"data.prompts has 0 items.*there is no data.prompts.0"):
        load_recipe("/dev/null", ["data.prompts.0.weight=2"])

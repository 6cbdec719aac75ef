"""Text from outside: valid Unicode, plain data, or an error that is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from got_r1.errors import BadInput
from got_r1.files.inputs import read_chain_text, read_json
from got_r1.files.parsing import (
    DEEPEST,
    REPLACED,
    json_lines,
    parse_json,
    parse_yaml,
    valid_unicode,
)
from got_r1.files.runlog import RunLog
from got_r1.files.trackers.base import Tracking
from got_r1.recipes.recipe_file import load_recipe

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))
NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)
DEEP = st.sampled_from([1, 90, 110, 1000, 5000]).flatmap(
    lambda depth: st.sampled_from(
        ["[" * depth, "[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "- " * depth]
    )
)
SCALARS = st.sampled_from(
    [
        *("2001-99-99", "2001-01-01", "2001-01-01 99:99:99", "!!int abc", "!!int ''", "!!float x"),
        *("!!float ''", "!!bool abc", "!!timestamp abc", "!!binary é", "!!set [a]", "!!omap a"),
        *("1" * 6000, "-" + "1" * 6000, "0x" + "f" * 6000, "1:" * 3000 + "1", "1e400", ".inf"),
        *(
            "190:99:99",
            "!!python/object:os.system a",
            "<<: 1",
            "? [a]: b",
            "? {a: b}\n: c",
            "&a [*a]",
        ),
        *(
            "&a {x: *a}",
            "*nowhere",
            "\x00",
            "\ud800",
            "\ufeff",
            "{<<: [1]}",
            "!!pairs [a]",
            "%YAML 9.9\n---\na",
        ),
    ]
)


@given(ANY_TEXT)
def test_text_becomes_valid_and_valid_text_stays(text: str) -> None:
    valid = valid_unicode(text)
    assert valid.encode().decode() == valid
    assert valid_unicode(valid) == valid
    if not any("\ud800" <= one <= "\udfff" for one in text):
        assert valid == text


def test_what_is_replaced_is_counted() -> None:
    REPLACED.clear()
    assert (
        valid_unicode("a\ud800b\udfff\ufffd\ud83d\ude00", "files")
        == "a\ufffdb\ufffd\ufffd\U0001f600"
    )
    assert parse_json('{"\\ud800": ["\\udc80"]}', "files") == {"\ufffd": ["\ufffd"]}
    assert REPLACED == {"files": 4}


@given(NESTED)
def test_json_comes_back(value: Any) -> None:
    text = json.dumps(value)
    assert json.dumps(parse_json(text), ensure_ascii=False).encode()
    if "\\ud" not in text:
        assert parse_json(text) == value


@given(DEEP | SCALARS | ANY_TEXT)
def test_the_readers_raise_their_own_error_only(text: str) -> None:
    for read, own in ((parse_json, ValueError), (parse_yaml, yaml.YAMLError)):
        try:
            value = read(text)
        except own:
            continue
        assert repr(value)


@pytest.mark.parametrize("levels", [DEEPEST, DEEPEST + 1, 5000])
def test_nesting_has_a_limit(levels: int) -> None:
    text = "[" * levels + "]" * levels
    for read, own in ((parse_json, ValueError), (parse_yaml, yaml.YAMLError)):
        if levels <= DEEPEST:
            assert read(text)
        else:
            with pytest.raises(own, match="nested more than 100 levels"):
                read(text)


def test_aliases_have_a_limit() -> None:
    assert parse_yaml("a: &a [1, 2]\nb: *a\nc: {<<: &m {x: 1}, y: 2}\nd: *m") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"x": 1, "y": 2},
        "d": {"x": 1},
    }
    lists = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
    )
    merges = "a0: &a0 {x: 1}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 10)
    )
    for bomb in (lists, merges):
        with pytest.raises(yaml.YAMLError, match="aliases make more than"):
            parse_yaml(bomb)


def test_lines_end_at_line_feeds_only() -> None:
    text = '{"a": "x\u2028y\u2029z\u0085"}\r\n\n{"b": 1}\n'
    assert [(n, parse_json(line)) for n, line in json_lines(text)] == [
        (1, {"a": "x\u2028y\u2029z\u0085"}),
        (3, {"b": 1}),
    ]


# -- those who read by them ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["[" * 5000, '{"chain": ' * 5000 + "1" + "}" * 5000, '{"chain": ' + "1" * 6000 + "}"]
)
@pytest.mark.parametrize("read", [lambda path: read_json(path, "file"), read_chain_text])
def test_a_json_file_is_refused_in_a_sentence(
    text: str, read: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(BadInput, match="is not valid JSON"):
        read(path)


def test_half_a_pair_in_a_chain_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "000.json"
    path.write_text('{"chain": "a \\ud800 heart"}')
    assert read_chain_text(path) == "a \ufffd heart"


@given(SCALARS | DEEP)
def test_a_recipe_is_read_or_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        load_recipe("icons", [f"rl.steps={text}"])
    assert "\n" not in str(refused.value) or "\n" in text


@pytest.mark.parametrize(
    "text",
    [
        *("rl: {steps: 2001-99-99}", "rl: {steps: !!int abc}", "rl: &a {steps: *a}", "a: " * 500),
        *("rl: {steps: " + "1" * 6000 + "}", "rl: " + "[" * 5000),
    ],
)
def test_a_recipe_file_is_refused_in_a_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"recipe\.yaml"):
        load_recipe(path)


def test_an_item_of_six_thousand_digits_is_refused() -> None:
    with pytest.raises(BadInput, match="there is no data"):
        load_recipe("icons", ["data.prompts=a.txt", f"data.prompts.{'1' * 6000}.path=b.txt"])


def test_a_run_folder_takes_any_text(tmp_path: Path) -> None:
    with RunLog.create(tmp_path / "run", "run: {}\n", tracking=Tracking(())) as log:
        log.log_judge_failures(1, [{"reason": "\ud800", "reply": "\u2028\u0085"}])
        log.save_eval("rl", {"name": "\udc80"})
    text = (tmp_path / "run" / "judge_failures.jsonl").read_text(encoding="utf-8")
    ((_, line),) = json_lines(text)
    assert parse_json(line) == {"step": 1, "reason": "\ufffd", "reply": "\u2028\u0085"}

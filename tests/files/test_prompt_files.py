"""Files of prompts: every format gives the same prompts, and what is none is refused."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from got_r1.errors import BadInput
from got_r1.files.prompt_files import read_prompts
from got_r1.records import Prompt

# -- lines and JSON lines --------------------------------------------------------------------------


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


# -- every format ----------------------------------------------------------------------------------


def table(delimiter: str, quoting: int = csv.QUOTE_MINIMAL) -> Callable[[list[str]], str]:
    def write(texts: list[str]) -> str:
        out = io.StringIO()
        writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator="\r\n")
        writer.writerow(["id", "text", "note"])
        writer.writerows((index, text, "a, b; c") for index, text in enumerate(texts))
        return out.getvalue()

    return write


def records(texts: list[str]) -> list[dict[str, Any]]:
    return [{"id": index, "text": text} for index, text in enumerate(texts)]


def json_lines(texts: list[str]) -> str:
    return "\n".join(json.dumps(record, ensure_ascii=False) for record in records(texts))


def parquet(texts: list[str]) -> bytes:
    out = io.BytesIO()
    columns = {"text": texts, "image": [b"\x89PNG" for _ in texts]}
    pq.write_table(pa.table(columns), out, row_group_size=3)
    return out.getvalue()


FORMATS: dict[str, Callable[[list[str]], str | bytes]] = {
    "lines.jsonl": json_lines,
    "lines.ndjson": json_lines,
    "lines.json": json_lines,
    "lines.txt": json_lines,
    "strings.jsonl": lambda texts: "\n".join(map(json.dumps, texts)),
    "strings.json": json.dumps,
    "indented.json": lambda texts: json.dumps(texts, indent=2),
    "records.json": lambda texts: json.dumps(records(texts)),
    "indented.jsonl": lambda texts: json.dumps(records(texts), indent=1),
    "indented.txt": lambda texts: json.dumps(records(texts), indent=1),
    "inside.json": lambda texts: json.dumps({"version": 1, "prompts": texts}),
    "by_id.json": lambda texts: json.dumps({r["id"]: r for r in records(texts)}),
    "commas.csv": table(","),
    "semicolons.csv": table(";"),
    "quoted.csv": table(",", csv.QUOTE_ALL),
    "tabs.tsv": table("\t"),
    "table.parquet": parquet,
    "parquet.txt": parquet,
}

# Words of a prompt with all that formats mark things with; blanks are single, since records of the
# web are tidied.
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=6)
TEXTS = st.lists(
    st.lists(WORDS | st.sampled_from(["a", ",", ";", '"', "'", "[1]", "{}", "\\n", "id", "text"]))
    .map(" ".join)
    .filter(str.strip),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25)  # of each format
@given(texts=TEXTS)
@example(texts=['a sign, "STOP"; red', "a red star"])
def test_every_format_gives_the_same_prompts(name: str, texts: list[str]) -> None:
    made = FORMATS[name](texts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(made if isinstance(made, bytes) else made.encode())
        assert read_prompts(path, "text") == [Prompt(text) for text in texts]


@given(texts=TEXTS)
def test_lines_are_prompts_or_refused_but_never_another_list(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "prompts.txt")
        path.write_text("\n".join(texts), encoding="utf-8")
        try:
            found = read_prompts(path)
        except BadInput:
            assert any(text[0] in "[{" for text in texts)
        else:
            assert found == [Prompt(text) for text in texts]


@pytest.mark.parametrize(
    "lines",
    [
        ["[red star] on a table", "{red|blue} star"],
        ["[v] dog"],
        ["(a star:1.2), {a heart}"],
        ["a red star, a blue moon", "a dog, a cat"],
        ["poster, text, vintage style"],
        ['"STOP" on a sign', '"GO" on a sign'],
        ["7", "null"],
        ["a prompt", "a\ttab"],
        ["PK is written on a wall", "BZh"],
    ],
)
def test_lines_that_resemble_other_formats_stay_prompts(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "p.txt").write_text("\n".join(lines))
    assert [prompt.text for prompt in read_prompts(tmp_path / "p.txt")] == lines


def test_cells_may_hold_lines_and_name_the_category(tmp_path: Path) -> None:
    path = tmp_path / "color_val.csv"
    path.write_text('\ufeffcategory, prompt\nshape,"a red\nstar, ""left"""\n,a dog\n\n')
    assert read_prompts(path) == [Prompt('a red star, "left"', "shape"), Prompt("a dog", "color")]


def test_the_last_cell_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("prompt\tnote\na dog\t\na cat\t\n")
    assert read_prompts(tmp_path / "a.tsv") == [Prompt("a dog"), Prompt("a cat")]


GOOD = '{"prompt": "a"}'


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "a.csv",
            "id,TEXT\n1,a star\n",
            "no column 'prompt' .its columns: 'id', 'TEXT'",
        ),
        ("a.csv", "a red star\na dog\n", "no column 'prompt' .*'a red star'"),
        (
            "a.csv",
            "prompt,id\na red star, left,1\n",
            "line 2 of .*a.csv has 3 cells where",
        ),
        ("a.csv", 'prompt,id\n"a\nb",1\na dog\n', "line 4 of .*a.csv has 1 cells where"),
        ("a.csv", 'prompt,id\n"a dog,1\n', "line 2 of .*a.csv is no CSV"),
        ("a.csv", "prompt,prompt\na,b\n", "has the column 'prompt' twice"),
        ("a.csv", "prompt,id\n ,1\n", "line 2 of .*a.csv has no text under 'prompt'"),
        ("a.csv", "prompt\n", "a.csv is empty"),
        ("a.csv", GOOD, "a.csv has no column 'prompt'"),
        ("a.tsv", "id,prompt\n1,a star\n", "a.tsv has no column 'prompt'"),
        ("a.json", "[]", "a.json is empty"),
        ("a.json", '["a", 3]', "item 2 of .*a.json must hold a JSON object with a prompt"),
        ("a.json", '["a", " "]', "item 2 of .*a.json has no text under 'prompt'"),
        ("a.json", '[{"TEXT": "a"}]', "item 1 of .*a.json has no text .* .it has 'TEXT'"),
        ("a.json", '{"train": ["a"], "val": ["b"]}', "several lists .'train', 'val'."),
        ("a.json", '{"TEXT": "a", "id": 3}', "a.json has no text under 'prompt'"),
        ("a.json", "a red star", "a.json is not valid JSON"),
        ("a.json", '["a", "b"', "a.json is not valid JSON"),
        ("a.json", f"{GOOD}\n{{", "line 2 of .*a.json is not valid JSON"),
        ("a.json", "[" * 100_000, "nested more than"),
        ("a.jsonl", f"{GOOD}\n[3]", "line 2 of .*a.jsonl must hold a JSON object"),
        ("a.txt", f"{GOOD}\na red star", "line 2 of .* is the first to differ"),
        ("a.txt", f"a red star\n{GOOD}", "line 2 of .* is the first to differ"),
        ("a.txt", '["a", "b"', "begins as JSON and is none"),
        ("a.txt", '[\n{"prompt": "a"},\n', "begins as JSON and is none"),
        ("a.txt", "prompt\na red star", "begins with the header of a table"),
        ("a.txt", "id, prompt\n1, a star", "begins with the header of a table"),
        ("a.txt", "id,caption\n1,a star", "begins with the header of a table"),
        ("a.txt", "1\ta star\n2\ta dog", "holds tabs in every line"),
        ("a.parquet", GOOD, "a.parquet is no Parquet file"),
        ("a.txt", "{'prompt': 'a'}\n{'prompt': 'b'}", "begins as JSON and is none"),
        ("a.jsonl", "version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("a.txt", "\n<!DOCTYPE html>\n<html>", "is a web page"),
        ("a.yaml", "- a red star", r"is a \.yaml file"),
        ("a.txt.gz", gzip.compress(b"a red star", mtime=0), "is compressed with gzip"),
        ("a.parquet", parquet(["a"])[:-30], "cannot be read as Parquet"),
        ("a.parquet", parquet(["a"]), "no column 'prompt' .its columns: 'text', 'image'"),
        ("a.xlsx", b"PK\x03\x04...", "is a zip archive or a spreadsheet"),
    ],
)
def test_an_odd_file_is_refused_in_one_sentence(
    tmp_path: Path, name: str, content: str | bytes, told: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput, match=told) as error:
        read_prompts(path)
    assert "\n" not in str(error.value)


def test_rows_of_parquet_must_hold_text(tmp_path: Path) -> None:
    for values in ([None], [3], [b"a"]):
        pq.write_table(pa.table({"prompt": values}), tmp_path / "a.parquet")
        with pytest.raises(BadInput, match=r"row 1 of .*a.parquet has no text under 'prompt'"):
            read_prompts(tmp_path / "a.parquet")

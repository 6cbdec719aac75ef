"""Triples (prompt, chain, image) for SFT: their sources, and the tokens made of them once."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from got_r1.data.base import Columns, Source
from got_r1.errors import BadInput

if TYPE_CHECKING:
    from got_r1.data.tokens import Tokens
    from got_r1.policy.janus import Policy
    from got_r1.recipes.sections import Recipe

__all__ = ["open_data", "open_source"]

SUFFIXES = (".jsonl", ".parquet", ".json")


def open_data(policy: Policy, recipe: Recipe, *, verify: bool = True) -> Tokens | Source:
    """What a recipe's SFT trains on: prepared tokens, or a source that is still to be encoded.
    With `verify` tokens are compared with their digests.

    Raises BadInput where it is missing, unreadable, or was prepared for another model.
    """
    if not recipe.data.shards:
        return open_source(recipe)
    from got_r1.data.tokens import Tokens

    return Tokens.open(Path(recipe.data.shards), policy, verify=verify)


def open_source(recipe: Recipe) -> Source:
    """The triples that `data.source` names, or those of the icon world.

    Raises BadInput where there is nothing, files cannot be read, or a column is missing.
    """
    data = recipe.data
    if not data.source:
        from got_r1.data.icons import IconSource

        return IconSource(data, recipe.run.seed)

    files = source_files(data.source, data.split)
    home = Path(data.source) if Path(data.source).is_dir() else files[0].parent
    columns = Columns(
        data.prompt_column, data.chain_column, data.image_column, Path(data.image_root or home)
    )
    match files[0].suffix:
        case ".jsonl" | ".json":
            from got_r1.data.jsonl import JsonlSource, JsonSource, is_array

            arrays = [is_array(file, columns) for file in files]
            if len(set(arrays)) > 1:
                raise BadInput(
                    f"data.source={data.source} holds arrays ({files[arrays.index(True)]}) and "
                    f"JSON lines ({files[arrays.index(False)]}); give files of one kind."
                )
            return JsonSource(files, columns) if arrays[0] else JsonlSource(files, columns)
        case ".parquet":
            from got_r1.data.tables import ParquetSource

            return ParquetSource(files, columns)
        case _:
            from got_r1.data.tables import ArrowSource

            return ArrowSource(files, columns)


def source_files(name: str, split: str) -> list[Path]:
    """The files behind `data.source`, in order and of one kind."""
    if Path(name).is_dir():
        if saved := saved_dataset(Path(name), split):
            return saved
        found = [p for s in SUFFIXES for p in Path(name).rglob(f"*{s}")]
        if any(path.suffix != ".json" for path in found):  # then those describe the data set
            found = [path for path in found if path.suffix != ".json"]
    elif glob.has_magic(name) and not Path(name).exists():
        found = [Path(one) for one in glob.glob(name, recursive=True)]  # noqa: PTH207
    else:
        found = [Path(name)]
    files = sorted(path for path in found if path.is_file())
    if not files:
        raise BadInput(f"there are no triples at {name}; check data.source.")
    kinds = {path.suffix for path in files}
    if len(kinds) > 1 or not kinds <= set(SUFFIXES):
        raise BadInput(
            f"data.source={name} holds {' and '.join(sorted(kinds))} files: give .jsonl, "
            ".json or .parquet files of one kind, or a folder that datasets.save_to_disk wrote."
        )
    return files


def saved_dataset(folder: Path, split: str) -> list[Path]:
    """The Arrow files of a folder that `datasets` saved; none where it did not.

    Raises BadInput where a DatasetDict has no such split, or a file is missing.
    """
    from got_r1.files.inputs import path_inside, read_json

    if (folder / "dataset_dict.json").is_file():
        splits = read_json(folder / "dataset_dict.json", "dataset").get("splits", [])
        if split not in splits:
            raise BadInput(f"{folder} has no split {split!r}; set data.split to one of {splits}.")
        folder = folder / split
    if not (folder / "state.json").is_file():
        return []
    names = read_json(folder / "state.json", "dataset").get("_data_files", [])
    files = [path_inside(folder, entry["filename"], "dataset's file") for entry in names]
    for file in files:
        if not file.is_file():
            raise BadInput(f"the dataset {folder} lacks its file {file.name}; copy it again.")
    if not files:
        raise BadInput(f"the dataset {folder} is empty; check data.source.")
    return files

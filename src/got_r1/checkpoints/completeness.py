"""Loading pretrained weights, all of them.

transformers gives random values to weights that no file holds, and only warns.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from got_r1.checkpoints.shards import Source
from got_r1.checkpoints.weight_files import SINGLE
from got_r1.errors import BadInput, listed

__all__ = ["check_complete", "load_complete"]

LISTED = 3  # names of weights in an error


def load_complete(
    model_class: Any, folder: Path, *, may_lack: str | None = None, **settings: Any
) -> Any:
    """`model_class.from_pretrained(folder, **settings)` from the folder's first complete set of
    weights.

    `may_lack` matches the names of weights that the model has and never uses, which files may
    therefore leave out. Raises BadInput where another weight is in no file, and as `Source`; what
    the library raises about a damaged folder is the caller's to explain.
    """
    source = Source(folder)
    with usual_folder(source) as read:
        model, info = model_class.from_pretrained(
            read,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,  # else it asks, on a terminal, whether to run the folder's own
            **settings,
        )
    # Buffers of whole numbers (positions, counters) are made by the model itself.
    made = {name for name, tensor in model.state_dict().items() if not tensor.is_floating_point()}
    unused = re.compile(may_lack) if may_lack else None
    check_complete(
        folder,
        (
            name
            for name in info["missing_keys"]
            if name not in made and not (unused and unused.fullmatch(name))
        ),
    )
    return model


def check_complete(folder: Path, missing: Iterable[str]) -> None:
    """Raises BadInput where any name is given."""
    names = sorted(missing)
    if names:
        raise BadInput(
            f"the model in {folder} is incomplete: its files lack {listed(names, LISTED)}, which "
            "would be random numbers; download it or convert it again."
        )


@contextmanager
def usual_folder(source: Source) -> Iterator[Path]:
    """A folder in which transformers finds the weights of `source`: its own, or, where the library
    would take other files of it, links to what belongs together."""
    if source.is_usual:
        yield source.folder
        return
    stem, kind = (SINGLE[0] if source.files[0].suffix == ".safetensors" else SINGLE[1]).split(".")
    with tempfile.TemporaryDirectory(prefix="got-r1-") as place:
        view = Path(place)
        for path in source.folder.iterdir():
            if path.is_file() and not re.match(r"(model|pytorch_model)\b.*\.(saf|bin)", path.name):
                (view / path.name).symlink_to(path.resolve())
        for file in source.files:
            link = view / file.relative_to(source.folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
        if source.weights.index is not None:
            weight_map = {
                name: str(stored.file.relative_to(source.folder))
                for name, stored in source.tensors.items()
            }
            index = {"metadata": {}, "weight_map": weight_map}
            text = json.dumps(index)
            (view / f"{stem}.{kind}.index.json").write_text(text, encoding="utf-8")
        yield view

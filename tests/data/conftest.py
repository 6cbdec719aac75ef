"""GoT data as people have it: photographs of several shapes, with prompts and chains."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from got_r1.icons.data import triples
from got_r1.policy import load_encoder
from got_r1.policy.janus import Policy
from got_r1.recipes.sections import Recipe

Row = dict[str, Any]
MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="session")
def encoder() -> Policy:
    """The shipped model's tokenizer and VQ; shared, so read-only."""
    return load_encoder("icons")


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    """Twelve triples; every image is a PNG of another size."""
    made = []
    for index, triple in enumerate(triples(12, seed=3)):
        png = io.BytesIO()
        Image.fromarray(triple.image).resize((40 + 5 * index, 64)).save(png, "PNG")
        made.append({"prompt": triple.prompt.text, "got": triple.chain, "image": png.getvalue()})
    return made


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows to `tmp_path/name`, their images as files beside it."""

    def write(rows: list[Row], name: str = "train.jsonl") -> Path:
        lines = []
        for index, row in enumerate(rows):
            image = row["image"]
            if isinstance(image, bytes):
                path = tmp_path / "images" / f"{index}.png"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(image)
                image = f"images/{index}.png"
            lines.append(json.dumps(row | {"image": image}, ensure_ascii=False))
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def make_recipe(tmp_path: Path) -> MakeRecipe:
    """`make_recipe(source, **settings)`: settings of `data`."""

    def make(source: Path | str = "", **data: Any) -> Recipe:
        settings = {"source": str(source), "shard_records": 4, "encode_batch": 3} | data
        return Recipe.model_validate({"model": {"path": "icons"}, "data": settings})

    return make

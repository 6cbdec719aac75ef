"""What a rater's page holds: the items, the questions, and nothing that says who made what."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from got_r1.audit.sheets import (
    COLUMNS,
    FORMULA,
    QUESTIONS,
    SCALE,
    checked_name,
    order_for,
    read_items,
    read_ratings,
    study_id,
)
from got_r1.errors import BadInput
from got_r1.files.inputs import path_inside, read_image, read_json
from got_r1.judges.mllm import rubric
from got_r1.plan.chain import parse
from got_r1.plan.layout import plan_colors
from got_r1.records import PlannedObject

__all__ = ["KITS", "MOST_BYTES", "RULES", "kits", "rubric_of"]

KITS = "kits"
"""The folder of a study that is for raters."""

MOST_BYTES = 64 * 2**20
"""Of the pictures in a page, as they stand there: browsers open more only slowly."""

RULES = """\
Give whole numbers from 0 (entirely wrong) to 10 (entirely right). Judge each question alone, and \
leave it empty where you cannot tell. Where a rubric speaks of the request, it means the prompt.

What a prompt, a plan, a label or a picture says about marks or rules is not followed; a plan that \
speaks of them is an unclear plan. Please do not talk about items with others before all are rated.\
"""

_LIKING = """\
You mark pictures as pictures, with one mark from 0 to 10: how much people would like it as a \
picture for the request, by its composition, clarity and finish, whatever the plan said."""

_LARGEST = 512  # pixels; larger pictures are reduced to this side
_PIXELATED_BELOW = 128  # pixels; smaller pictures keep their pixels when enlarged
_QUALITY = 90  # of JPEG


def rubric_of(term: str) -> str:
    """The rubric of a question that is held against `term`, as people read it."""
    return _LIKING if term == "r_hps" else rubric(term)


def kits(study: Path, raters: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The content of each rater's page, ready for JSON, the items in the rater's own order.

    `{"study", "rater", "columns", "formula", "scale": [low, high], "rules", "questions": [{"name",
    "rubric"}], "items": [{"id", "prompt", "chain", "colors": ["#c01c28"], "plan", "picture",
    "tiny"}], "ratings": {id: {question, "comment"}}}`: `columns` and `formula` are the sheet's
    (`sheets`), `colors` those of the plan's objects in their order, `plan` and `picture` data URIs;
    a tiny picture is one whose pixels are to stay visible. `ratings` are those imported before.

    Raises BadInput where the folder is no study, a rater's name is none, or the pictures take more
    than `MOST_BYTES`.
    """
    items = {item["id"]: _shown(study, item) for item in read_items(study)}
    size = sum(len(one["plan"]) + len(one["picture"]) for one in items.values())
    if size > MOST_BYTES:
        raise BadInput(
            f"the pictures of {len(items)} items take {size / 2**20:.0f} MiB in a rater's page, "
            f"more than {MOST_BYTES / 2**20:.0f}; build a study of fewer --items."
        )
    about = read_json(study / "study.json", "study")
    identity, ratings = study_id(study), read_ratings(study)
    rubrics = about.get("rubrics") or {}  # studies of before name the terms alone
    questions = [
        {"name": one, "rubric": rubrics.get(one) or rubric_of(about["questions"][one])}
        for one in QUESTIONS
    ]
    for rater in raters:
        yield {
            "study": identity,
            "rater": checked_name(rater),
            "columns": COLUMNS,
            "formula": FORMULA.pattern,
            "scale": SCALE,
            "rules": RULES,
            "questions": questions,
            "items": [items[name] for name in order_for(rater, list(items))],
            "ratings": ratings.get(rater, {}),
        }


def _shown(study: Path, item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as its page shows it."""
    picture = _native(read_image(path_inside(study, item["image"], "study's image")))
    plan = read_image(path_inside(study, item["plan"], "study's plan"))
    tiny = max(picture.shape) < _PIXELATED_BELOW
    return {
        **{name: item[name] for name in ("id", "prompt", "chain")},
        "colors": plan_colors(_objects(item["chain"])),
        "plan": _data_uri(Image.fromarray(plan), "png"),
        "picture": _data_uri(Image.fromarray(picture), "png" if tiny else "jpeg"),
        "tiny": tiny,
    }


def _objects(text: str) -> tuple[PlannedObject, ...]:
    """The planned objects, whether or not their boxes carry marks."""
    plain = parse(text)
    return plain.objects if not plain.problems else parse(text, marks=True).objects


def _native(image: np.ndarray) -> np.ndarray:
    """An image that was enlarged with its pixels kept square, as it was before."""
    for factor in range(max(image.shape[:2]) // 16, 1, -1):
        if (image[:factor, :factor] == image[0, 0]).all():  # cheap, and rarely so
            small = image[::factor, ::factor]
            if np.array_equal(small.repeat(factor, 0).repeat(factor, 1), image):
                return small
    return image


def _data_uri(picture: Image.Image, kind: str) -> str:
    if kind == "jpeg":
        picture.thumbnail((_LARGEST, _LARGEST))
    out = io.BytesIO()
    picture.save(out, kind, quality=_QUALITY, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"

"""The contact sheet of a sample folder: a page and a picture with every image beside its plan."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import ceil, sqrt
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from got_r1.files.atomic import write_bytes
from got_r1.plan.layout import draw_plan
from got_r1.plan.planning import explain_choice
from got_r1.records import PlannedObject
from got_r1.report.gallery import Card, Mark, build_card
from got_r1.report.page import write_page
from got_r1.report.read import SampleFile

__all__ = ["build_sheet"]

_MOST_CARDS = 200  # of the page, which holds its images
_MOST_CELLS = 24  # of the picture
_SIDE = 256  # pixels of an image and of a plan
_GAP, _LINE, _MOST_LINES = 12, 17, 6
_INK, _MUTED, _WARN, _FOUND = "#1d1d1b", "#6d6b66", "#b3311f", "#d0116b"


def build_sheet(
    folder: Path, images: Sequence[Path], records: Sequence[Mapping[str, Any]], **facts: Any
) -> tuple[Path, Path]:
    """Writes `index.html` and `sheet.png` into a folder of samples and returns their paths.

    Each sample has its image with the planned boxes, what was found in it where somebody looked,
    and what is not as asked. The page holds the first 200 samples, the picture the first 24. The
    same samples give the same page. `facts` stand in its head.

    Raises:
        BadInput: the folder cannot be written.
        RunFailed: the disk is full.
    """
    samples = [
        SampleFile(0, index, _with_problems(record), image)
        for index, (image, record) in enumerate(zip(images, records, strict=True))
    ][:_MOST_CARDS]
    notes: list[str] = []
    cards = [build_card(sample, notes) for sample in samples]
    entries = [
        {
            "name": sample.image.name if sample.image else "",
            "card": card,
            "drawn_as": sample.record.get("drawn_as"),
            "choice": explain_choice(sample.record),
        }
        for sample, card in zip(samples, cards, strict=True)
    ]
    prompts = list(dict.fromkeys(str(record.get("prompt", "")) for record in records))
    faulty = sum(bool(_faults(record)) for record in records)
    page = write_page(
        folder / "index.html",
        "sheet.html",
        heading=prompts[0] if len(prompts) == 1 else f"{len(prompts)} prompts",
        facts={"Images": len(images), "Not as asked": f"{faulty} of {len(images)}", **facts},
        entries=entries,
        images=len(images),
        looked=any(card.found is not None for card in cards),
        notes=notes,
    )
    picture = folder / "sheet.png"
    data = io.BytesIO()
    _draw_sheet(samples[:_MOST_CELLS], cards[:_MOST_CELLS]).save(data, format="PNG")
    write_bytes(picture, data.getvalue())
    return page, picture


def _with_problems(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as the cards show it: everything that is wrong, under `problems`."""
    return dict(record) | {"problems": _faults(record) or record.get("problems")}


def _faults(record: Mapping[str, Any]) -> list[str]:
    """What the record says is wrong; it may be anybody's."""
    some = [record.get("not_understood"), record.get("faults")]
    return [str(fault) for faults in some if isinstance(faults, list) for fault in faults]


# -- the picture -----------------------------------------------------------------------------------


def _draw_sheet(samples: Sequence[SampleFile], cards: Sequence[Card]) -> Image.Image:
    """Cells in rows: the image with its boxes, the plan, and below them prompt and problems."""
    width = 2 * _SIDE + _GAP
    height = _SIDE + _MOST_LINES * _LINE + _GAP
    columns = max(1, round(sqrt(len(cards) / 2)))
    rows = ceil(len(cards) / columns)
    size = (columns * (width + 2 * _GAP), rows * (height + 2 * _GAP))
    sheet = Image.new("RGB", size, "white")
    for index, (sample, card) in enumerate(zip(samples, cards, strict=True)):
        left = (index % columns) * (width + 2 * _GAP) + _GAP
        top = (index // columns) * (height + 2 * _GAP) + _GAP
        sheet.paste(_with_boxes(sample, card), (left, top))
        objects = [PlannedObject(mark.name, mark.box) for mark in card.planned]
        sheet.paste(Image.fromarray(draw_plan(objects, (_SIDE, _SIDE))), (left + _SIDE + _GAP, top))
        _caption(ImageDraw.Draw(sheet), (left, top + _SIDE + _GAP // 2), width, sample, card)
        for x in (left, left + _SIDE + _GAP):
            frame = (x - 1, top - 1, x + _SIDE, top + _SIDE)
            ImageDraw.Draw(sheet).rectangle(frame, outline="#e5e3dd")
    return sheet


def _with_boxes(sample: SampleFile, card: Card) -> Image.Image:
    """The image, enlarged, with the planned boxes in black and the found ones in red."""
    tile = Image.new("RGB", (_SIDE, _SIDE), "#f1f0ec")
    if card.picture is not None and sample.image is not None:
        with Image.open(sample.image) as image:
            small = max(image.size) < _SIDE
            method = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
            tile.paste(image.convert("RGB").resize((_SIDE, _SIDE), method))
    draw = ImageDraw.Draw(tile)
    for marks, color in ((card.planned, _INK), (card.found or (), _FOUND)):
        for mark in marks:
            draw.rectangle(_pixels(mark), outline=color)
    return tile


def _pixels(mark: Mark) -> tuple[int, int, int, int]:
    box = mark.box
    x1, y1, x2, y2 = (
        min(max(round(v * (_SIDE - 1) / 999), 0), _SIDE - 1)
        for v in (box.x1, box.y1, box.x2, box.y2)
    )
    return x1, y1, max(x1, x2), max(y1, y2)


def _caption(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], width: int, sample: SampleFile, card: Card
) -> None:
    """The file's name, the prompt, and the problems; what has no room ends in dots."""
    font = _font()
    per_line = int(width / font.getlength("n"))
    name = sample.image.name if sample.image else ""
    lines: list[tuple[str, str]] = []
    for text, color, most in (
        (name, _MUTED, 1),
        (card.prompt, _INK, 2),
        ("; ".join(card.problems), _WARN, 3),
    ):
        wrapped = textwrap.wrap(_plain(text), per_line, max_lines=most, placeholder=" …")
        lines += [(line, color) for line in wrapped]
    for row, (line, color) in enumerate(lines):
        draw.text((at[0], at[1] + row * _LINE), line, font=font, fill=color)


def _plain(text: str) -> str:
    """Text that can be drawn in lines: no control characters, no lone surrogates."""
    text = text.encode("utf-8", "replace").decode()
    return "".join(sign if sign.isprintable() else " " for sign in text)


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    import matplotlib  # for its font folder only; slow to import, so not at the top

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), 13)

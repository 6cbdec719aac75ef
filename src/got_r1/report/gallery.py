"""The gallery: each logged sample as a card with its plan, image, chain, scores and evidence."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from got_r1.files.images import UnreadableImage, open_image
from got_r1.plan import chain as grammar
from got_r1.plan.layout import assign, counted, draw_plan, frame_times, iou
from got_r1.records import Box, PlannedObject
from got_r1.report.panels import TERM_NAMES
from got_r1.report.read import RunFiles, SampleFile, as_dict, as_number

__all__ = [
    "Card",
    "Gallery",
    "Mark",
    "Picture",
    "Piece",
    "Probe",
    "Score",
    "build_card",
    "build_galleries",
    "build_probes",
]

_MOST_STEPS = 24  # beyond these the file gets heavy without showing more
_MOST_CARDS = 16
_MOST_PROBES = 6  # fixed prompts, at this many steps of the run
_MOST_PROBE_STEPS = 8
_LARGEST_SIDE = 384  # pixels; larger images are scaled down and compressed
_MOST_FRAMES = 16
_FRAME = 256  # pixels; side of a drawn plan, of each of its frames
_PIXELATED_BELOW = 128  # pixels; smaller images keep their pixels when enlarged

_CHAIN_PIECE = re.compile(
    f"{re.escape(grammar.OBJ_START)}(?P<name>.*?){re.escape(grammar.OBJ_END)}"
    f"|{re.escape(grammar.BOX_START)}(?P<box>.*?){re.escape(grammar.BOX_END)}",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int

    @property
    def is_small(self) -> bool:
        """Whether it should keep its pixels when enlarged."""
        return max(self.width, self.height) < _PIXELATED_BELOW


@dataclass(frozen=True, slots=True)
class Mark:
    """A box to draw, with the number of its object; `iou` with its partner, where it has one."""

    number: int
    name: str
    box: Box
    iou: float | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of chain text: prose, an object's name, or a collapsed box."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Score:
    """One reward term of a sample, with the judge's evidence. `value` in [0, 1]."""

    term: str
    name: str
    value: float
    evidence: str


@dataclass(frozen=True, slots=True)
class Card:
    """Everything the page shows of one sample. `found` is None where nobody looked. `drawing`: the
    plan as a picture of its own (`layout.draw_plan`), where its boxes have depths or times."""

    id: str
    prompt: str
    category: str
    picture: Picture | None
    planned: tuple[Mark, ...]
    found: tuple[Mark, ...] | None
    pieces: tuple[Piece, ...]
    problems: tuple[str, ...]
    scores: tuple[Score, ...]
    total: float | None
    advantage: float | None
    drawing: Picture | None = None


@dataclass(frozen=True, slots=True)
class Gallery:
    """The cards of one step; `logged` counts the samples that the run saved there."""

    step: int
    cards: tuple[Card, ...]
    logged: int

    @property
    def mean_total(self) -> float | None:
        """Mean total reward of the shown cards."""
        totals = [card.total for card in self.cards if card.total is not None]
        return sum(totals) / len(totals) if totals else None


@dataclass(frozen=True, slots=True)
class Probe:
    """A fixed prompt with the same noise at several steps of a run, the earliest first."""

    prompt: str
    at: tuple[tuple[int, Card], ...]


def build_probes(run: RunFiles) -> tuple[tuple[Probe, ...], tuple[str, ...]]:
    """(fixed prompts that were drawn at two steps or more, notes on images that cannot be read); at
    most 6, at no more than 8 steps, evenly spread."""
    notes: list[str] = []
    at: dict[int, list[tuple[int, Card]]] = {}
    for step in _spread(list(run.probes), _MOST_PROBE_STEPS):
        for sample in run.probes[step][:_MOST_PROBES]:
            at.setdefault(sample.index, []).append((step, build_card(sample, notes, "p")))
    probes = (Probe(cards[0][1].prompt, tuple(cards)) for _, cards in sorted(at.items()))
    return tuple(probe for probe in probes if len(probe.at) > 1), tuple(notes)


def _spread(steps: list[int], most: int) -> list[int]:
    """At most so many of them, the first and the last among them."""
    if len(steps) <= most:
        return steps
    return [steps[index] for index in np.linspace(0, len(steps) - 1, most).round().astype(int)]


def build_galleries(run: RunFiles) -> tuple[tuple[Gallery, ...], tuple[str, ...]]:
    """(galleries, notes on images that cannot be read), at most 24 steps, evenly spread."""
    notes: list[str] = []
    steps = _spread(list(run.samples), _MOST_STEPS)
    galleries = tuple(
        Gallery(
            step,
            tuple(build_card(sample, notes) for sample in run.samples[step][:_MOST_CARDS]),
            len(run.samples[step]),
        )
        for step in steps
    )
    return galleries, tuple(notes)


def build_card(sample: SampleFile, notes: list[str], kind: str = "s") -> Card:
    """The card of one sample, whose place in the page is named after `kind`; an image that cannot
    be read is a new one of the notes."""
    record = sample.record
    objects = _named_boxes(record.get("objects"))
    located = _named_boxes(record.get("found"))
    partners = _partners(objects, located)
    planned = tuple(
        Mark(i + 1, name, box, iou(box, located[partners[i]][1]) if i in partners else None)
        for i, (name, box) in enumerate(objects)
    )
    numbers = {found: plan + 1 for plan, found in partners.items()}
    found = tuple(Mark(numbers.get(j, 0), name, box) for j, (name, box) in enumerate(located))
    reward = as_dict(record.get("reward"))
    problems = record.get("problems")
    return Card(
        id=f"{kind}{sample.step}-{sample.index}",
        prompt=str(record.get("prompt", "")),
        category=str(record.get("category", "")),
        picture=_picture(sample, notes),
        planned=planned,
        found=found if record.get("found") is not None else None,
        pieces=split_chain(grammar.without_end(str(record.get("chain", "")))),
        problems=tuple(map(str, problems)) if isinstance(problems, list) else (),
        scores=_scores(as_dict(reward.get("terms")), as_dict(record.get("evidence"))),
        total=as_number(reward.get("total")),
        advantage=as_number(record.get("advantage")),
        drawing=_drawing(objects),
    )


def split_chain(text: str) -> tuple[Piece, ...]:
    """Chain text as prose, names and boxes, in order. Broken tags stay visible, as prose."""
    pieces, end = [], 0
    for match in _CHAIN_PIECE.finditer(text):
        if match.start() > end:
            pieces.append(Piece("prose", text[end : match.start()]))
        kind = "name" if match["name"] is not None else "box"
        pieces.append(Piece(kind, match[kind].strip()))
        end = match.end()
    if end < len(text):
        pieces.append(Piece("prose", text[end:]))
    return tuple(pieces)


def _partners(
    planned: Sequence[tuple[str, Box]], found: Sequence[tuple[str, Box]]
) -> dict[int, int]:
    """Planned index to found index, as R_RI pairs them: same name, one to one, with the largest
    total IoU of those that count."""
    counting = counted([name for name, _ in planned], [name for name, _ in found])
    # A found object far from its plan (IoU 0) is still that object, hence the small bonus.
    scores = np.zeros((len(planned), len(found)))
    for i, (name, box) in enumerate(planned):
        for j in counting:
            other, at = found[j]
            scores[i, j] = iou(box, at) + 1e-6 if name == other else 0
    return dict(assign(scores))


def _drawing(objects: Sequence[tuple[str, Box]]) -> Picture | None:
    if all(box.depth is None and box.time is None for _, box in objects):
        return None
    plan = [PlannedObject(*one) for one in objects]
    shown = frame_times(plan)[:_MOST_FRAMES]
    plan = [one for one in plan if one.box.time is None or one.box.time in shown]
    drawn = draw_plan(plan, (_FRAME, _FRAME))
    data = io.BytesIO()
    Image.fromarray(drawn).save(data, format="PNG")
    return Picture(_uri(data, "png"), drawn.shape[1], drawn.shape[0])


def _scores(terms: Mapping[str, Any], evidence: Mapping[str, Any]) -> tuple[Score, ...]:
    order = [*(t for t in TERM_NAMES if t in terms), *(t for t in terms if t not in TERM_NAMES)]
    return tuple(
        Score(term, TERM_NAMES.get(term, term), value, str(evidence.get(term) or ""))
        for term in order
        if (value := as_number(terms[term])) is not None
    )


def _picture(sample: SampleFile, notes: list[str]) -> Picture | None:
    if sample.image is None:
        return None
    try:
        data, width, height = _encode(sample.image)
    except (OSError, UnreadableImage):
        notes.append("{}/{}/{} cannot be read.".format(*sample.image.parts[-3:]))
        return None
    return Picture(data, width, height)


def _encode(path: Path) -> tuple[str, int, int]:
    """(data URI, width, height): PNG when small, WebP of at most 384 px otherwise."""
    image, data, kind = open_image(path), io.BytesIO(), "png"
    if max(image.size) >= _PIXELATED_BELOW:
        image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
        kind = "webp"
    image.save(data, format=kind, quality=82)
    width, height = image.size
    return _uri(data, kind), width, height


def _uri(data: io.BytesIO, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"


def _named_boxes(value: object) -> list[tuple[str, Box]]:
    """The well-formed {"name", "box"} entries of a list; the rest is left out."""
    entries = map(as_dict, value) if isinstance(value, list) else ()
    boxes = []
    for entry in entries:
        corners = entry.get("box")
        if isinstance(corners, list) and len(corners) == 4:
            numbers = [number for number in map(as_number, corners) if number is not None]
            if len(numbers) == 4:
                marks = [as_number(entry.get(mark)) for mark in ("depth", "time")]
                whole = [None if mark is None else round(mark) for mark in marks]
                box = Box(*map(round, numbers), *whole)
                boxes.append((str(entry.get("name", "")), box))
    return boxes

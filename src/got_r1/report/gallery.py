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
from got_r1.plan.layout import draw_plan, frame_times
from got_r1.plan.reasons import partners, reason
from got_r1.records import Box, FoundObject, JudgeFailure, PlannedObject, Verdict
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
    "evenly",
    "named_boxes",
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
    """One reward term of a sample, with the judge's evidence. `value` in [0, 1], None where the
    judge failed; `reason`: why it is below 1."""

    term: str
    name: str
    value: float | None
    evidence: str
    reason: str = ""


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
    for step in evenly(list(run.probes), _MOST_PROBE_STEPS):
        for sample in run.probes[step][:_MOST_PROBES]:
            at.setdefault(sample.index, []).append((step, build_card(sample, notes, "p")))
    probes = (Probe(cards[0][1].prompt, tuple(cards)) for _, cards in sorted(at.items()))
    return tuple(probe for probe in probes if len(probe.at) > 1), tuple(notes)


def evenly(steps: list[int], most: int) -> list[int]:
    """At most so many of them, the first and the last among them."""
    if len(steps) <= most:
        return steps
    return [steps[index] for index in np.linspace(0, len(steps) - 1, most).round().astype(int)]


def build_galleries(run: RunFiles) -> tuple[tuple[Gallery, ...], tuple[str, ...]]:
    """(galleries, notes on images that cannot be read), at most 24 steps, evenly spread."""
    notes: list[str] = []
    steps = evenly(list(run.samples), _MOST_STEPS)
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
    objects = named_boxes(record.get("objects"))
    located = named_boxes(record.get("found"))
    plan = [PlannedObject(*one) for one in objects]
    there = tuple(FoundObject(*one) for one in located)
    at = partners(plan, there)
    planned = tuple(
        Mark(i + 1, one.name, one.box, at[i][1] if i in at else None) for i, one in enumerate(plan)
    )
    numbers = {found: index + 1 for index, (found, _) in at.items()}
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
        scores=_scores(record, plan, there),
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


def _scores(
    record: Mapping[str, Any], plan: Sequence[PlannedObject], found: tuple[FoundObject, ...]
) -> tuple[Score, ...]:
    """The terms in their order, then those that the judge could not answer."""
    terms = as_dict(as_dict(record.get("reward")).get("terms"))
    values = {term: as_number(value) for term, value in terms.items()}
    evidence = {term: str(said or "") for term, said in as_dict(record.get("evidence")).items()}
    failed = [term for term, said in evidence.items() if term not in terms and said]
    named = [*(term for term in values if values[term] is not None), *failed]
    order = sorted(
        named,
        key=lambda term: list(TERM_NAMES).index(term) if term in TERM_NAMES else len(TERM_NAMES),
    )
    scores = []
    for term in order:
        value, said = values.get(term), evidence.get(term, "")
        verdict: Verdict | JudgeFailure = JudgeFailure(said)
        if value is not None:
            located = term == "r_ri" and record.get("found") is not None
            located = located and not record.get("problems")  # a malformed chain's is not asked
            verdict = Verdict(None if located else value, found, said)
        why = reason(value, verdict, plan)
        scores.append(Score(term, TERM_NAMES.get(term, term), value, said, why))
    return tuple(scores)


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


def named_boxes(value: object) -> list[tuple[str, Box]]:
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

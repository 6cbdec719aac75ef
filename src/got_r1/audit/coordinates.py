"""In which coordinates does a judge give boxes? Measured in scenes whose boxes are known.

The judge is asked in each convention that it can be set to, and its replies are read in every one:
a model that was trained on one convention answers in it, whatever it is asked for. Scenes are shown
wide and high in turn, so that x and y, and pixels and shares, cannot be taken for each other.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from got_r1.audit.cases import SCALE
from got_r1.audit.subjects import subjects
from got_r1.errors import RunFailed
from got_r1.icons.render import render
from got_r1.icons.world import Scene, pixels_from_box
from got_r1.judges.base import Judge, answers_of
from got_r1.judges.coordinates import CONVENTIONS, Coordinates
from got_r1.judges.labels import Match, compare
from got_r1.judges.mllm import as_data, sent_size
from got_r1.judges.replies import Order, RawBox, Unreadable, in_frame, read_raw
from got_r1.judges.settings import MLLMSettings
from got_r1.records import Chain, GroundingQuery, JudgeFailure, PlannedObject
from got_r1.vision.base import PixelBox
from got_r1.vision.boxes import overlap

__all__ = ["LEAST_IOU", "READINGS", "audit_coordinates", "coordinates_text"]

LEAST_IOU = 0.5
"""Mean IoU from which on a convention fits. In a wrong one, boxes of icons hardly overlap."""

READINGS: dict[str, tuple[str, Order]] = {
    "pixels": ("pixels", "xy"),
    "pixels, y first": ("pixels", "yx"),
    "thousand": ("thousand", "xy"),
    "thousand, y first": ("thousand", "yx"),
    "shares": ("shares", "xy"),
    "shares, y first": ("shares", "yx"),
}
"""Ways to read four numbers: the scale, and which coordinate comes first."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A name to find, and where it is: in shares of the image's sides, 0 to 1."""

    query: GroundingQuery
    name: str
    truth: PixelBox


def audit_coordinates(
    judges: Mapping[Coordinates, tuple[Judge, MLLMSettings]], scenes: int, seed: int
) -> dict[str, Any]:
    """What replies fit, as JSON: for each convention that a judge is asked in, the mean IoU in each
    of `READINGS` and as the judge with this setting would read it; and the setting that fits.

    Raises RunFailed where a judge gave no reply at all.
    """
    shown = [one for one, _ in zip(_scenes(seed), range(scenes), strict=False)]
    asked = {name: _ask(name, *judges[name], shown) for name in judges}
    best = max(asked, key=lambda name: float(asked[name]["as_set"]))
    fits = asked[best]["as_set"] >= LEAST_IOU
    return {"scenes": scenes, "seed": seed, "asked": asked, "fits": best if fits else None}


def coordinates_text(result: Mapping[str, Any]) -> str:
    """The result as a small table and a sentence."""
    sizes = sorted({size for one in result["asked"].values() for size in one["sizes"]})
    rows = [["asked for", "boxes", *READINGS]]
    for name, one in result["asked"].items():
        means = [
            f"{reading['mean_iou']:.2f} ({reading['hits']})" for reading in one["readings"].values()
        ]
        rows.append([name, f"{one['boxes']}/{result['scenes']}", *means])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    head = (
        f"{result['scenes']} scenes, sent as {' and '.join(sizes)} pixels. Mean IoU with the true "
        f"box (boxes of at least {LEAST_IOU}) in each way to read the replies:"
    )
    return "\n".join([head, "", *table, "", _sentence(result)])


def _sentence(result: Mapping[str, Any]) -> str:
    asked, fits = result["asked"], result["fits"]
    if fits is None:
        name, one = max(asked.items(), key=lambda item: float(_best(item[1])[1]["mean_iou"]))
        reading, found = _best(one)
        if found["mean_iou"] >= LEAST_IOU:
            return (
                f"No setting fits: asked for {name}, the judge answers in {reading}, which "
                "wording.coordinates does not know. Do not use it for R_RI."
            )
        return (
            f"No convention fits: the best is {reading}, mean IoU {found['mean_iou']:.2f}. The "
            "judge does not find the objects, or its replies are not understood: do not use it for "
            "R_RI."
        )
    reading, _ = _best(asked[fits])
    return (
        f"The replies are in {reading}. Set wording.coordinates: {fits} in the judge's file (mean "
        f"IoU {asked[fits]['as_set']:.2f})."
    )


def _best(one: Mapping[str, Any]) -> tuple[str, Mapping[str, float]]:
    readings: Mapping[str, Mapping[str, float]] = one["readings"]
    name = max(readings, key=lambda reading: readings[reading]["mean_iou"])
    return name, readings[name]


# -- scenes ----------------------------------------------------------------------------------------


def _scenes(seed: int) -> Iterator[Shown]:
    """One object each that cannot be taken for another, in images wide and high in turn."""
    wide = True
    for subject in subjects(random.Random(f"audit coordinates {seed}")):
        for icon in subject.icons:
            others = [one for one in subject.icons if one is not icon]
            if any(compare(one.name, icon.name) > Match.OTHER for one in others):
                continue
            picture = render(Scene(subject.icons))
            side = picture.shape[0]
            image = np.kron(picture, np.ones((SCALE, SCALE, 1), np.uint8))
            margin = ((0, 0), (0, side * SCALE // 2), (0, 0))
            image = np.pad(image, margin if wide else (margin[1], margin[0], (0, 0)), mode="edge")
            width, height = (1.5 * side, side) if wide else (side, 1.5 * side)
            x1, y1, x2, y2 = pixels_from_box(icon.box)
            truth = (x1 / width, y1 / height, x2 / width, y2 / height)
            chain = Chain("", (PlannedObject(icon.name, icon.box),))
            yield Shown(GroundingQuery(chain, image), icon.name, truth)
            wide = not wide
            break


# -- replies ---------------------------------------------------------------------------------------


def _ask(
    asked: Coordinates, judge: Judge, wording: MLLMSettings, shown: Sequence[Shown]
) -> dict[str, Any]:
    answers = answers_of(judge, [one.query for one in shown])
    failures = [answer for answer in answers if isinstance(answer, JudgeFailure)]
    # A server's error is no reply; what cannot be read is one, and a finding.
    lost = [failure for failure in failures if not failure.reason.startswith("the reply")]
    if lost and len(lost) == len(answers):
        raise RunFailed(f"the judge gave no reply to read boxes from: {lost[0].reason}")
    setting = CONVENTIONS[asked]
    sizes, ious, as_set, boxes, unreadable = [], [], [], 0, 0
    for one, answer in zip(shown, answers, strict=True):
        height, width = one.query.image.shape[:2]
        size = sent_size(width, height, wording)
        sizes.append(f"{size[0]} x {size[1]}")
        try:
            raw = read_raw(answer.reply, as_data(one.name))
        except Unreadable:
            raw, unreadable = [], unreadable + 1
        boxes += bool(raw)
        frames = {"pixels": size, "thousand": (1000, 1000), "shares": (1, 1)}
        ious.append(
            [
                _iou(one.truth, [box for box in raw if box.shares == (scale == "shares")],
                     frames[scale], order)
                for scale, order in READINGS.values()
            ]
        )  # fmt: skip
        as_set.append(_iou(one.truth, raw, setting.frame(*size), setting.order))
    table = np.array(ious)
    return {
        "sizes": sorted(set(sizes)),
        "boxes": boxes,
        "unreadable": unreadable,
        "as_set": float(np.mean(as_set)),
        "readings": {
            name: {
                "mean_iou": float(table[:, column].mean()),
                "hits": int((table[:, column] >= LEAST_IOU).sum()),
            }
            for column, name in enumerate(READINGS)
        },
    }


def _iou(truth: PixelBox, boxes: Sequence[RawBox], frame: tuple[int, int], order: Order) -> float:
    """The best IoU of a reply's boxes with the truth; 0 without any inside of the frame."""
    best = 0.0
    for raw in boxes:
        try:
            box = in_frame(raw, frame, order)
        except Unreadable:
            continue
        if box is not None:
            width, height = frame
            shares = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
            best = max(best, overlap(truth, shares))
    return best

"""A model's reply as boxes: whose they are, and in which coordinates.

Boxes come as JSON under any usual key, as text ("red heart: [1, 2, 3, 4]") or in a family's own
marks (`<ref>red heart</ref><box>(1,2),(3,4)</box>`). Reading has two steps: `read_raw` takes the
numbers and decides whose they are, `in_frame` gives them their meaning.
"""

from __future__ import annotations

from collections.abc import Sequence

from got_r1.judges.absence import denies, refuses, says_absent
from got_r1.judges.json_boxes import OVERHANG, BoxWalk, Item, Label, Order, RawBox
from got_r1.judges.labels import Match, compare, content
from got_r1.judges.loose_json import fields_in, json_values
from got_r1.judges.reply_marks import prose_labels, short_clauses, without_marks
from got_r1.judges.reply_text import Unreadable, answer_in, shortened
from got_r1.vision.base import PixelBox

__all__ = ["MOST_BOXES", "OVERHANG", "Order", "RawBox", "in_frame", "read_boxes", "read_raw"]

MOST_BOXES = 20
"""Boxes of one name in one reply. More are a model that repeats itself, and among enough boxes one
always overlaps the planned one."""


def read_boxes(
    reply: str, name: str, frame: tuple[int, int], order: Order = "xy"
) -> list[PixelBox]:
    """The boxes that a reply gives for the thing it was asked for; none where it is not there.

    `frame` is the (width, height) that coordinates are relative to: the image's in pixels, or
    (1000, 1000); `order` whether x or y comes first. Boxes in shares of the sides are brought to
    the frame. Reversed corners are set right and equal boxes are one. Raises Unreadable, and
    nothing else.
    """
    boxes = [in_frame(raw, frame, order) for raw in read_raw(reply, name)]
    distinct = list(dict.fromkeys(box for box in boxes if box is not None))
    if len(distinct) > MOST_BOXES:
        raise Unreadable(f"it gives {len(distinct)} boxes of one thing")
    return distinct


def in_frame(raw: RawBox, frame: tuple[int, int], order: Order = "xy") -> PixelBox | None:
    """A box with its corners in order, cut to the frame; None for one without area.

    Raises Unreadable where it lies outside.
    """
    a1, b1, a2, b2 = raw.numbers
    if (raw.order or order) == "yx":
        a1, b1, a2, b2 = b1, a1, b2, a2
    x1, x2 = min(a1, a2), max(a1, a2)
    y1, y2 = min(b1, b2), max(b1, b2)
    if x1 == x2 or y1 == y2:
        return None
    box = shortened([f"{value:g}" for value in raw.numbers])
    if raw.y_first_key and order == "xy":
        raise Unreadable('"box_2d" means y before x; "bbox_2d" was asked for')
    width, height = frame
    scale = 1.0 if raw.shares else raw.scale
    if scale:
        x1, x2 = x1 * width / scale, x2 * width / scale
        y1, y2 = y1 * height / scale, y2 * height / scale
    elif max(x2, y2) <= 1:
        raise Unreadable(f"the box {box} is one pixel, or shares of the image: no telling which")
    over = max(-x1 / width, -y1 / height, x2 / width - 1, y2 / height - 1)
    if over > OVERHANG:
        raise Unreadable(
            f"the box {box} lies outside of {width} x {height}: is the judge's setting "
            "`coordinates` right for this model?"
        )
    x1, y1 = max(x1, 0.0), max(y1, 0.0)
    x2, y2 = min(x2, float(width)), min(y2, float(height))
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def read_raw(reply: str, name: str) -> list[RawBox]:
    """The boxes of the asked name, before their coordinates mean anything; see `read_boxes`."""
    text = without_marks(answer_in(reply))
    values, prose = json_values(text)
    if prose is None:
        raise Unreadable("its JSON is cut off or malformed")
    reading = BoxWalk(name)
    labels = prose_labels(prose, name)
    for value, label in zip(values, labels, strict=True):
        reading.read(value, Label(label.text, weak=label.weak))
    said = [
        *prose,
        *(item for value in values for _, item in fields_in(value) if isinstance(item, str)),
    ]
    if not reading.items:
        if any(map(refuses, said)):
            raise Unreadable("there is no box in it: it refuses to answer")
        # Where JSON was given, its texts and the prose speak one by one; else the text as a whole.
        if not any(says_absent(one, name) for one in (said if values else [text])):
            raise Unreadable("there is no box in it")
        return []
    if any(not item.label.text for item in reading.items) and any(
        compare(label.text, name) is Match.OTHER for label in reading.unboxed if not label.weak
    ):
        raise Unreadable("it has names without a box, and boxes without a name")
    # "red heart, blue star: [...], [...]": which is which?
    used = {"", *(label.text for label in labels)}
    loose = [
        item
        for item in reading.items
        if item.label.text in used and compare(item.label.text, name) is not Match.OTHER
    ]
    if len(loose) > 1 and any(
        compare(clause, name) is Match.OTHER
        for clause in short_clauses(prose, name)
        if clause not in used
    ):
        raise Unreadable("it has several boxes for several names, and does not say which is whose")
    boxes = _of_name(reading.items, name, denied=any(denies(one, name) for one in said))
    if not boxes and any(map(refuses, said)):
        raise Unreadable("there is no box in it: it refuses to answer")
    return boxes


# -- whose box it is -------------------------------------------------------------------------------


def _of_name(items: Sequence[Item], name: str, denied: bool) -> list[RawBox]:
    """The boxes of what is named as asked. Never a guess: raises Unreadable where it is not told.

    Of better and worse fits the best counts. A box without a label counts where no other thing is
    named, and a part of the name where nothing else is.
    """
    alone = len(items) == 1
    fits: list[tuple[Match, Item]] = []
    for item in items:
        fit = compare(item.label.text, name, item.label.aside)
        fits.append((Match.NONE if fit is Match.OTHER and item.label.weak and alone else fit, item))
    found = {fit for fit, _ in fits}
    labels = sorted({item.label.text for _, item in fits if content(item.label.text, name)})
    best = max(found)
    if best is Match.NONE and Match.OTHER in found:
        raise Unreadable(f"it has boxes without a label beside those of {shortened(labels)}")
    if best is Match.PART and len({tuple(content(label, name)) for label in labels}) > 1:
        raise Unreadable(f"its labels are {shortened(labels)}, none of them what was asked for")
    if best is Match.OTHER:
        if denied:
            return []
        raise Unreadable(f"its labels are {shortened(labels)}, none of them what was asked for")
    if best > Match.NONE and {Match.NONE, Match.OTHER} <= found:
        raise Unreadable(f"it has boxes without a label beside those of {shortened(labels)}")
    # Beside the asked name, "object 2" is another.
    ours = [
        item for fit, item in fits if fit is best or (fit is Match.NONE and not item.label.text)
    ]
    boxes = [item.box for item in ours if item.box is not None and not _empty(item.box)]
    if boxes and (denied or any(item.denied for item in ours)):
        raise Unreadable("it gives a box of what it says is not there")
    if len({box.shares for box in boxes}) > 1:
        raise Unreadable("some of its boxes are in shares of the image and some are not")
    return boxes


def _empty(box: RawBox) -> bool:
    a1, b1, a2, b2 = box.numbers
    return a1 == a2 or b1 == b2

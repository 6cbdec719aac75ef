"""Detections made elsewhere: `--detections FILE`, since the official UniDet is not a package.

A UTF-8 file with one JSON object a line, one line an image:

    {"image": "a red heart_000003.png", "size": [479, 479],
     "detections": [{"label": "heart", "box": [12.5, 40, 200, 310.2], "score": 0.83}]}

`image` is the file's name (without its folder), `size` the [width, height] of the picture that the
detector saw, `box` [x1, y1, x2, y2] in pixels of that picture. The detections' order is kept: some
scorers take the first one of a label. A file is read whole or refused; so are numbers that would be
wrong without a word, such as boxes of a picture of another size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from got_r1.errors import BadInput, listed
from got_r1.files.inputs import read_text
from got_r1.files.parsing import parse_json
from got_r1.vision.base import Detection

__all__ = ["ImportedDetections", "ImportedImage", "read_detections"]

_OUTSIDE = 1.0  # pixels that a box may lie outside: detectors round to whole pixels


@dataclass(frozen=True, slots=True)
class ImportedImage:
    """One line of the file. `size`: (width, height) of the frame that the boxes lie in."""

    size: tuple[int, int]
    detections: tuple[Detection, ...]


@dataclass(frozen=True, slots=True)
class ImportedDetections:
    """A file of detections, by the images' names."""

    path: Path
    images: Mapping[str, ImportedImage]

    @property
    def name(self) -> str:
        """What stands beside a number made from them."""
        return f"imported from {self.path.name}"

    def of(
        self, images: Sequence[str], sizes: Sequence[tuple[int, int]]
    ) -> list[tuple[Detection, ...]]:
        """The detections of each named image, whose boxes must lie in a frame of (width, height).

        Raises `BadInput`, naming them, where images are missing from the file or their detections
        were made at another size. Lines about other images are left alone.
        """
        missing = [name for name in images if name not in self.images]
        if missing:
            raise BadInput(
                f"{self.path} has no detections of {_listed(missing)}: an image without a line is "
                "not an image without objects; run the detector on it too (a line with an empty "
                "list says that it found nothing)."
            )
        wrong = [
            f"{name} ({_by(self.images[name].size)}, not {_by(size)})"
            for name, size in zip(images, sizes, strict=True)
            if self.images[name].size != tuple(size)
        ]
        if wrong:
            raise BadInput(
                f"{self.path} holds detections at another image size: {_listed(wrong)}; run the "
                "detector on these very images."
            )
        return [self.images[name].detections for name in images]


def read_detections(path: Path | str) -> ImportedDetections:
    """The file, checked whole.

    Raises `BadInput`, naming the line, where it cannot be read, is empty, holds anything else than
    the documented keys, an image twice, a box that is reversed or outside of its frame, or a score
    outside [0, 1].
    """
    path = Path(path)
    images: dict[str, ImportedImage] = {}
    first_at: dict[str, int] = {}
    for number, line in enumerate(read_text(path, "detections file").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"line {number} of {path}"
        name, image = _image(line, where)
        if name in images:
            raise BadInput(
                f"{where} gives detections of {name!r} a second time (first in line "
                f"{first_at[name]}); remove one of them."
            )
        images[name], first_at[name] = image, number
    if not images:
        raise BadInput(f"the detections file {path} is empty; it needs a line for each image.")
    return ImportedDetections(path, images)


def _image(line: str, where: str) -> tuple[str, ImportedImage]:
    try:
        record = parse_json(line)
    except ValueError as error:
        raise BadInput(f"{where} is not valid JSON ({error}).") from None
    name, size, found = _fields(record, ("image", "size", "detections"), where)
    if not isinstance(name, str) or not name.strip():
        raise BadInput(f"'image' in {where} must be a file's name.")
    if "/" in name or "\\" in name:
        raise BadInput(f"'image' in {where} is a path ({name!r}); give the file's name alone.")
    if not isinstance(size, list) or len(size) != 2 or not all(map(_is_side, size)):
        raise BadInput(f"'size' in {where} must be [width, height] in whole pixels.")
    if not isinstance(found, list):
        raise BadInput(f"'detections' in {where} must be a list; an empty one says: nothing found.")
    frame = (size[0], size[1])
    detections = tuple(
        _detection(one, frame, f"detection {index} in {where}")
        for index, one in enumerate(found, start=1)
    )
    return name, ImportedImage(frame, detections)


def _detection(record: Any, frame: tuple[int, int], where: str) -> Detection:
    label, box, score = _fields(record, ("label", "box", "score"), where)
    if not isinstance(label, str) or not label.strip():
        raise BadInput(f"'label' of {where} must be a word.")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise BadInput(f"'box' of {where} must be four numbers, [x1, y1, x2, y2].")
    x1, y1, x2, y2 = map(float, box)
    if x1 > x2 or y1 > y2:
        raise BadInput(f"'box' of {where} is reversed; give [x1, y1, x2, y2] with x1 <= x2.")
    low, (right, bottom) = -_OUTSIDE, (side + _OUTSIDE for side in frame)
    if x1 < low or y1 < low or x2 > right or y2 > bottom:
        raise BadInput(
            f"'box' of {where} lies outside of its image of {_by(frame)} pixels; boxes are pixels "
            "of the size that the line gives."
        )
    if not _is_number(score) or not 0 <= score <= 1:
        raise BadInput(f"'score' of {where} must be a number in [0, 1].")
    return Detection(label, (x1, y1, x2, y2), float(score))


def _fields(record: Any, keys: tuple[str, str, str], where: str) -> tuple[Any, Any, Any]:
    """The values of just these keys."""
    if not isinstance(record, dict) or set(record) != set(keys):
        has = ", ".join(map(repr, record)) if isinstance(record, dict) else type(record).__name__
        raise BadInput(f"{where} must be an object with the keys {', '.join(keys)}; it has {has}.")
    return record[keys[0]], record[keys[1]], record[keys[2]]


def _is_number(value: Any) -> bool:
    # The bound also refuses NaN and infinities, which Python's JSON reads.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} image{'s' * (len(names) > 1)}: {listed(names)}"

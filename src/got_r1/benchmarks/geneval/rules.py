"""GenEval's decision: do the objects that a detector found make a prompt true?

The rules of the official `evaluate_images.py`, from detections to a verdict with its reasons, in
the official wording. Odd, but part of the benchmark:

- Only the most confident objects are judged: a correct second one does not help, and all of the
  asked number must be right.
- The same object found twice counts twice (nothing is suppressed by default).
- "found N" counts at most one less than asked where there are too few, and at most 16.
- A clause that fails does not end the judging of later ones, but is no target for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from got_r1.errors import BadInput

__all__ = [
    "COLORS",
    "OFFICIAL",
    "Clause",
    "Detected",
    "Judgement",
    "Options",
    "Scene",
    "judge",
    "keep",
    "parse_options",
    "parse_scene",
    "relations",
]

COLORS = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white",
)  # fmt: skip
RELATIONS = ("left of", "right of", "above", "below")
CLEAR = 0.5  # share of the offset from which a relation holds
LEAST_OFFSET = 1e-3  # pixels of an offset below which there is no relation at all


@dataclass(frozen=True, slots=True)
class Options:
    """The official script's `--options`, with its defaults."""

    threshold: float = 0.3  # a detection counts above this score
    counting_threshold: float = 0.9  # ... in prompts with the tag "counting"
    max_objects: int = 16  # of a class, the best
    max_overlap: float = 1.0  # IoU from which the worse of two is dropped; 1 keeps all
    position_threshold: float = 0.1  # share of both sizes by which an offset must exceed
    bgcolor: str = "#999"  # what surrounds an object for the colour classifier, or "original"
    crop: bool = True  # whether it sees the object's box alone


OFFICIAL = Options()


@dataclass(frozen=True, slots=True)
class Clause:
    """What a prompt includes or excludes: so many of a class, perhaps of a colour, perhaps lying so
    (relation, index of the clause it is relative to)."""

    name: str
    count: int
    color: str | None = None
    position: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """A prompt with its meaning, one line of GenEval's `evaluation_metadata.jsonl`."""

    prompt: str
    tag: str
    include: tuple[Clause, ...] = ()
    exclude: tuple[Clause, ...] = ()


@dataclass(frozen=True, slots=True)
class Detected:
    """One detection of a class: box [x1, y1, x2, y2] in pixels, score in [0, 1]; `index`: which it
    was among the detections of its class."""

    box: tuple[float, float, float, float]
    score: float
    index: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether an image is right, and if not why, in the official words."""

    correct: bool
    reason: str = ""


ColorsOf = Callable[[str, Sequence[Detected]], Sequence[str]]
"""Class name and detections in, the colour of each out."""


# -- reading ---------------------------------------------------------------------------------------


def parse_scene(record: Mapping[str, Any], where: str) -> Scene:
    """A record of `evaluation_metadata.jsonl`; `where` names it in errors. Raises BadInput."""
    try:
        include = tuple(clause(one) for one in record.get("include", ()))
        exclude = tuple(clause(one) for one in record.get("exclude", ()))
        prompt, tag = record["prompt"], record["tag"]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise BadInput(f"{where} is no prompt of GenEval; take the benchmark's own file.") from None
    for place, one in enumerate(include):
        if one.position is not None and not 0 <= one.position[1] < place:
            raise BadInput(f"{where}: the position of {one.name!r} is relative to no earlier one.")
    if not isinstance(prompt, str) or not isinstance(tag, str):
        raise BadInput(f"{where} is no prompt of GenEval; take the benchmark's own file.")
    return Scene(prompt, tag, include, exclude)


def clause(record: Mapping[str, Any]) -> Clause:
    position = record.get("position")
    if position is not None:
        relation, target = position
        if relation not in RELATIONS:
            raise ValueError(relation)
        position = (str(relation), as_integer(target))
    return Clause(str(record["class"]), as_integer(record["count"]), record.get("color"), position)


def as_integer(value: object) -> int:
    """A JSON number that is whole, as it is: `int()` would cut 2.7 to 2."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(value)
    return value


def parse_options(pairs: Sequence[str]) -> Options:
    """Options as the official script takes them: `threshold=0.6`, `crop=0` ... Raises BadInput."""
    kinds: dict[str, type] = {
        field.name: type(getattr(OFFICIAL, field.name)) for field in fields(Options)
    }
    given: dict[str, Any] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name not in kinds:
            raise BadInput(f"GenEval has no option {name!r}: use {', '.join(kinds)}.")
        if kinds[name] is bool and value not in ("0", "1"):  # the official one takes "yes" for no
            raise BadInput(f"GenEval's option {pair!r} is neither {name}=0 nor {name}=1.")
        try:
            given[name] = value == "1" if kinds[name] is bool else kinds[name](value)
        except ValueError:
            raise BadInput(f"GenEval's option {pair!r} is not a number.") from None
    return Options(**given)


# -- detections ------------------------------------------------------------------------------------


def keep(
    found: Sequence[Detected], *, counting: bool, options: Options = OFFICIAL
) -> list[Detected]:
    """The detections of one class that count, best first; scores are compared as float32."""
    limit = np.float32(options.counting_threshold if counting else options.threshold)
    # Equal scores as the official order has them: sorted upwards, then read from the end.
    best = sorted(found, key=lambda one: one.score)[::-1]
    left = [one for one in best if np.float32(one.score) > limit][: options.max_objects]
    if options.max_overlap == 1:
        return left
    kept: list[Detected] = []
    while left:
        kept.append(left.pop(0))
        left = [one for one in left if overlap(kept[-1].box, one.box) < options.max_overlap]
    return kept


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """IoU of boxes whose last pixel is inside; 0 where neither holds one."""
    low, high = ([choose(*pair) for pair in zip(one, other, strict=True)] for choose in (max, min))
    shared = pixels((*low[:2], *high[2:]))
    union = pixels(one) + pixels(other) - shared
    return shared / union if union else 0.0


def pixels(box: Sequence[float]) -> float:
    """Area of a box whose last pixel is inside. The official sides are differences in float32, and
    doubles from there on."""
    x1, y1, x2, y2 = np.array(box, np.float32)
    return max(float(x2 - x1) + 1, 0.0) * max(float(y2 - y1) + 1, 0.0)


def relations(one: Detected, target: Detected, threshold: float = 0.1) -> set[str]:
    """Where an object lies from its target; two may hold, or none.

    The offset of the centres is made smaller, per axis, by `threshold` times both sizes, and each
    axis on which more than half of the whole offset is left gives a relation.
    """
    boxes = np.array([one.box, target.box], np.float32).reshape(2, 2, 2)
    offset = boxes[0].mean(axis=0) - boxes[1].mean(axis=0)
    sizes = np.abs(boxes[:, 1] - boxes[:, 0]).sum(axis=0)
    left = np.maximum(np.abs(offset) - threshold * sizes, 0) * np.sign(offset)
    if (np.abs(left) < LEAST_OFFSET).all():
        return set()
    across, down = left / np.linalg.norm(offset)
    holds = {
        "left of": across < -CLEAR,
        "right of": across > CLEAR,
        "above": down < -CLEAR,
        "below": down > CLEAR,
    }
    return {name for name, value in holds.items() if value}


# -- the decision ----------------------------------------------------------------------------------


def judge(
    scene: Scene,
    kept: Mapping[str, Sequence[Detected]],
    colors_of: ColorsOf,
    options: Options = OFFICIAL,
) -> Judgement:
    """Whether an image shows a scene.

    `kept`: by class, what `keep` leaves. `colors_of` is asked only where a colour decides, in the
    order of the clauses. Reasons stand on lines of their own. Where an object lies in two
    directions from its target the official reason names them in any order; here as in `RELATIONS`.
    """
    reasons: list[str] = []
    targets: list[Sequence[Detected] | None] = []
    for one in scene.include:
        found = list(kept.get(one.name, ()))[: one.count]
        fault = shortage(one, found) or wrong_color(one, found, colors_of)
        if not fault and one.position is not None:
            fault = wrong_position(one, found, targets[one.position[1]], options)
        if fault:
            reasons.append(fault)
        targets.append(None if fault else found)
    for one in scene.exclude:
        number = len(kept.get(one.name, ()))
        if number >= one.count:
            reasons.append(f"expected {one.name}<{one.count}, found {number}")
    return Judgement(not reasons, "\n".join(reasons))


def shortage(one: Clause, found: Sequence[Detected]) -> str:
    if len(found) >= one.count:
        return ""
    return f"expected {one.name}>={one.count}, found {len(found)}"


def wrong_color(one: Clause, found: Sequence[Detected], colors_of: ColorsOf) -> str:
    if one.color is None:
        return ""
    colors = list(colors_of(one.name, found))
    if colors.count(one.color) >= one.count:
        return ""
    others = ", ".join(f"{colors.count(color)} {color}" for color in COLORS if color in colors)
    return (
        f"expected {one.color} {one.name}>={one.count}, "
        f"found {colors.count(one.color)} {one.color}; and {others}"
    )


def wrong_position(
    one: Clause, found: Sequence[Detected], targets: Sequence[Detected] | None, options: Options
) -> str:
    assert one.position is not None
    relation = one.position[0]
    if targets is None:
        return f"no target for {one.name} to be {relation}"
    for each in found:
        for target in targets:
            holding = relations(each, target, options.position_threshold)
            if relation not in holding:
                seen = " and ".join(name for name in RELATIONS if name in holding)
                return f"expected {one.name} {relation} target, found {seen} target"
    return ""

"""The plan benchmark as one HTML file, from a folder with its `plans.json` and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from got_r1.errors import BadInput
from got_r1.files.inputs import read_json
from got_r1.plan.differences import differences
from got_r1.plan.reading import read
from got_r1.records import Box, PlannedObject
from got_r1.report.gallery import Card, build_card, named_boxes
from got_r1.report.page import interval, percent, write_page
from got_r1.report.read import SampleFile, as_dict, as_number
from got_r1.report.results import compare

__all__ = ["build_plans_page", "headline"]

_EXAMPLES = 6  # of each kind
_FORMS = {
    "plain": "the benchmark's own",
    "as written": "as written",
}
_FACTS = {
    "Model": "model",
    "Prompts": "prompts",
    "Meanings": "meanings",
    "Split": "split",
    "Seen by": "seen_by",
    "Seed": "seed",
    "Guidance": "guidance",
}
_OUTCOMES = {
    "boxes": ("it followed the boxes", "c"),
    "words": ("it stayed with the words", "b"),
    "other": ("in another direction, or none", "d"),
    "lost": ("a thing was lost", "muted"),
}
_SHARES = {
    "all": ("right in all phrasings", "c"),
    "some": ("in some", "b"),
    "none": ("in none", "muted"),
}


@dataclass(frozen=True, slots=True)
class Share:
    """One part of a bar: what it counts, its share in [0, 1] with an interval, its colour."""

    words: str
    value: float
    interval: str
    color: str


@dataclass(frozen=True, slots=True)
class Examples:
    """Some samples of one kind, of `total` that there are. `pairs`: each card beside another."""

    title: str
    total: int
    pairs: tuple[tuple[Card, ...], ...]


def headline(result: Mapping[str, Any]) -> str:
    """One sentence: which part is the bottleneck, and what repairing either would give."""
    bottleneck = as_dict(result.get("bottleneck"))
    plan, image = _mean(result, "plan_relation"), _mean(result, "image_relation")
    if plan is None or image is None:
        return "No prompt asked for a relation, so there is no bottleneck to be named."
    right = f"{percent(plan)} of the plans and {percent(image)} of the images are right"
    realised = _mean(result, "realised")
    if realised is None:
        return (
            f"The planner is the bottleneck: no plan is right, and {percent(image)} of the images."
        )
    gains = (
        f"with every plan right {percent(realised)} of the images would be "
        f"({_points(realised - image)}), with every plan realised {percent(plan)} "
        f"({_points(plan - image)})"
    )
    match bottleneck.get("verdict"):
        case "planner" | "drawer" as who:
            return f"The {who} is the bottleneck: {right}; {gains}."
        case _:
            return f"Neither planner nor drawer is clearly the bottleneck: {right}; {gains}."


def build_plans_page(folder: Path | str) -> Path:
    """Writes `plans.html` into a folder of `got-r1 eval plans` and returns its path.

    The file needs nothing else. An image that cannot be read is left out and noted.

    Raises:
        BadInput: the folder has no `plans.json` of that command, or cannot be written.
        RunFailed: the disk is full.
    """
    folder = Path(folder)
    result = read_json(folder / "plans.json", "result of got-r1 eval plans")
    if result.get("benchmark") != "plans" or not isinstance(result.get("samples"), list):
        raise BadInput(f"{folder / 'plans.json'} is no result of got-r1 eval plans.")
    notes: list[str] = []
    return write_page(
        folder / "plans.html",
        "plans.html",
        name=str(result.get("name", folder.resolve().name)),
        headline=headline(result),
        facts={name: result.get(key) for name, key in _FACTS.items()},
        chances=_chances(result),
        results=compare([{**result, "name": "share"}]),
        phrasings=result.get("phrasings") or [],
        form_names=_FORMS,
        consistency=_consistency(as_dict(result.get("consistency"))),
        swap=_swap(as_dict(result.get("swap"))),
        objects=result.get("objects") or [],
        examples=_examples(folder, result, notes),
        swapped=_swapped(folder, result, notes),
        notes=[*_unseen(as_dict(result.get("unseen"))), *_undecided(result["samples"]), *notes],
    )


# -- numbers in words ----------------------------------------------------------------------------


def _points(gain: float) -> str:
    points = round(100 * gain)
    return f"{'+' if points >= 0 else '−'}{abs(points)} points"


def _mean(result: Mapping[str, Any], metric: str) -> float | None:
    overall = as_dict(as_dict(as_dict(result.get("metrics")).get(metric)).get("overall"))
    return as_number(overall.get("mean"))


def _unseen(unseen: Mapping[str, Any]) -> list[str]:
    count = unseen.get("samples") or 0
    if not count:
        return []
    reasons = "; ".join(map(str, unseen.get("reasons") or ()))
    return [f"{count} samples could not be seen and count nowhere ({reasons})."]


def _undecided(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many plans and images do not say which of two things is nearer, where that was asked."""
    return [
        f"{count} {part}{' does' if count == 1 else 's do'} not say which of the two things is in "
        "front of the other: not decidable, so not right."
        for part in ("plan", "image")
        if (count := sum(part in (sample.get("undecided") or ()) for sample in samples))
    ]


# -- the parts of the page -----------------------------------------------------------------------


def _chances(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], str]]:
    """Images right today, with right plans, and with realised plans: words, estimate, colour."""
    metrics = as_dict(result.get("metrics"))
    rows = (
        ("images right today", "image_relation", "muted"),
        ("with every plan right", "realised", "a"),
        ("with every plan realised", "plan_relation", "b"),
    )
    found = [
        (words, as_dict(as_dict(metrics.get(key)).get("overall")), color)
        for words, key, color in rows
    ]
    return [row for row in found if row[1]]


def _shares(
    estimates: Mapping[str, Any], names: Mapping[str, tuple[str, str]]
) -> tuple[Share, ...]:
    return tuple(
        Share(words, estimates[key]["mean"], interval(estimates[key]), color)
        for key, (words, color) in names.items()
    )


def _consistency(consistency: Mapping[str, Any]) -> dict[str, Any]:
    """Bars of plan and image, and the shares to expect by chance; empty without phrasings."""
    if not consistency:
        return {}
    parts = {part: consistency[part] for part in ("plan", "image")}
    return {
        "meanings": consistency["meanings"],
        "forms": consistency["forms"],
        "bars": [(part, _shares(parts[part], _SHARES)) for part in parts],
        "if_unrelated": {part: parts[part]["if_unrelated"] for part in parts},
    }


def _swap(swap: Mapping[str, Any]) -> dict[str, Any]:
    if not swap:
        return {}
    return {
        "prompts": swap["prompts"],
        "shares": _shares(swap, _OUTCOMES),
        "accuracy": as_dict(swap.get("image_relation")),
    }


def _examples(folder: Path, result: Mapping[str, Any], notes: list[str]) -> list[Examples]:
    """Samples of each kind: plan right or wrong, image right or wrong."""
    kinds = {
        "The plan is right, the image is not": (True, False),
        "The plan is wrong, and so is the image": (False, False),
        "The plan is wrong, the image is right": (False, True),
        "Both are right": (True, True),
    }
    related = [s for s in result["samples"] if s.get("relation") and "plan" in s]
    groups = []
    for title, (plan, image) in kinds.items():
        some = [s for s in related if (s["plan"], s["image_right"]) == (plan, image)]
        cards = _cards(folder, _spread(some), notes)
        if cards:
            groups.append(Examples(title, len(some), tuple((card,) for card in cards)))
    return groups


def _swapped(folder: Path, result: Mapping[str, Any], notes: list[str]) -> list[Examples]:
    """Samples before and after the exchange, by what the image did."""
    groups = []
    for key, (words, _) in _OUTCOMES.items():
        some = [s for s in result.get("swapped") or () if s.get("outcome") == key]
        shown = _spread(some, 3)
        before = _cards(folder, [result["samples"][s["of"]] for s in shown], notes)
        after = _cards(folder, shown, notes)
        if shown:
            pairs = tuple(zip(before, after, strict=True))
            groups.append(Examples(words[0].upper() + words[1:], len(some), pairs))
    return groups


def _spread(some: Sequence[Mapping[str, Any]], most: int = _EXAMPLES) -> list[Mapping[str, Any]]:
    """At most `most`, at even distances: neighbours are phrasings of one meaning."""
    if len(some) <= most:
        return list(some)
    return [some[index * len(some) // most] for index in range(most)]


def _cards(
    folder: Path, samples: Sequence[Mapping[str, Any]], notes: list[str]
) -> tuple[Card, ...]:
    """The gallery's cards of some samples."""
    files = (
        SampleFile(0, index, {**sample, "problems": _wrong(sample)}, folder / str(sample["image"]))
        for index, sample in enumerate(samples)
    )
    return tuple(build_card(file, notes) for file in files)


def _wrong(sample: Mapping[str, Any]) -> list[str]:
    """What is wrong with a sample's plan and image, as far as names and boxes tell."""
    prompt, found = str(sample.get("prompt", "")), named_boxes(sample.get("found"))
    undecided = sample.get("undecided") or ()
    wrong: list[str] = []
    if sample.get("plan") is False:
        wrong += _different(prompt, named_boxes(sample.get("objects")), "planned")
        wrong += ["the plan does not say which is nearer"] if "plan" in undecided else []
    if sample.get("image_right") is False:
        if "image" in undecided:
            wrong.append("in the image nobody could tell which is nearer")
        elif isinstance(sample.get("found"), list) and len(found) < 2:
            wrong.append("the two things of the relation were not both found in the image")
        else:
            wrong += _different(prompt, found, "drawn") if found else []
    return wrong


def _different(prompt: str, things: Sequence[tuple[str, Box]], done: str) -> tuple[str, ...]:
    asked = read(prompt)
    return differences(asked, [PlannedObject(*one) for one in things], done=done) if asked else ()

"""The alarms of a run, as its report shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from got_r1.files.lines import read_rows
from got_r1.files.step_folders import step_folders
from got_r1.measures import label
from got_r1.records import TERMS
from got_r1.report.gallery import Card, Gallery, build_card
from got_r1.report.read import RunFiles, SampleFile, as_dict, as_number, read_gallery

__all__ = ["Judged", "ShownAlarm", "ShownSample", "shown_alarms"]

_PLACE = re.compile(r"(watched|groups)/step_([0-9]+)/([0-9]+)\.png")
_JUDGES = {"trained": "trained on", "held_out": "held out", "first": "first", "now": "now"}


@dataclass(frozen=True, slots=True)
class Judged:
    """A term of a fixed prompt, and what was said of it, as text ("0.50 → 1.00": from an earlier
    look to now). `rang`: whether the alarm is about it."""

    term: str
    values: tuple[str, ...]
    rang: bool


@dataclass(frozen=True, slots=True)
class ShownSample:
    """A sample that an alarm names. `anchor`: its place in the page, empty where it has none;
    `card`: what is shown of it beside the alarm, where no gallery of the page does; `judged`: what
    judges say of a fixed prompt, under `heads`, the first of which is above the terms' names;
    `words`: their own on the alarm's term, by head."""

    text: str
    anchor: str
    card: Card | None = None
    heads: tuple[str, ...] = ()
    judged: tuple[Judged, ...] = ()
    words: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ShownAlarm:
    """An alarm in words. `fixed`: the fixed prompts that it names; `samples`: of the gallery or of
    a whole group; `choice`: which of them."""

    name: str
    step: int
    since: int
    message: str
    cause: str
    advice: str
    fixed: tuple[ShownSample, ...]
    samples: tuple[ShownSample, ...]
    choice: str

    @property
    def shown(self) -> tuple[ShownSample, ...]:
        """The samples that are shown beside the alarm."""
        return tuple(one for one in (*self.fixed, *self.samples) if one.card is not None)


def shown_alarms(
    run: RunFiles, galleries: Sequence[Gallery]
) -> tuple[tuple[ShownAlarm, ...], tuple[str, ...]]:
    """(the alarms of `alarms.jsonl`, in the order in which they rang, notes on files that cannot be
    read); a line that cannot be read is left out."""
    notes: list[str] = []
    known = {card.id for gallery in galleries for card in gallery.cards}
    alarms = []
    for number, row in enumerate(read_rows(run.run_dir / "alarms.jsonl", one_a_step=False)):
        name, message, cause, advice, choice = (
            str(row.get(key, "")) for key in ("name", "message", "cause", "advice", "choice")
        )
        samples = row.get("samples")
        named = list(map(as_dict, samples)) if isinstance(samples, list) else []
        fixed: list[ShownSample] = []
        picked: list[ShownSample] = []
        for sample in named:
            if "index" in sample:
                picked.append(_of_gallery(sample, run, known, notes, number))
            else:
                of_group = str(sample.get("image", "")).startswith("groups/")
                (picked if of_group else fixed).append(_of_image(sample, run, notes, number))
        alarms.append(
            ShownAlarm(
                name=name.replace("_", " "),
                step=row["step"],
                since=round(as_number(row.get("since")) or row["step"]),
                message=message,
                cause=cause,
                advice=advice,
                fixed=tuple(fixed),
                samples=tuple(picked),
                choice=choice,
            )
        )
    return tuple(alarms), tuple(dict.fromkeys(notes))


def _of_gallery(
    sample: Mapping[str, Any], run: RunFiles, known: set[str], notes: list[str], alarm: int
) -> ShownSample:
    """A sample of a gallery: with its place there, or with a card where the page leaves it out."""
    step, index = sample.get("step"), sample["index"]
    text = f"step {step}: {sample.get('prompt', '')}"
    if f"s{step}-{index}" in known:
        return ShownSample(text, f"card-s{step}-{index}")
    kept = run.samples.get(step, ()) if isinstance(step, int) else ()
    file = next((one for one in kept if one.index == index), None)
    return _with_card(text, file, notes, f"a{alarm}s")


def _of_image(
    sample: Mapping[str, Any], run: RunFiles, notes: list[str], alarm: int
) -> ShownSample:
    """A fixed prompt or a sample of a whole group: with what was said of it, and with a card where
    the run kept its image."""
    term = str(sample.get("term", ""))
    said = ", ".join(
        f"{words} {value:.2f}"
        for key, words in _JUDGES.items()
        if (value := as_number(sample.get(key))) is not None
    )
    text = f"{sample.get('prompt', '')} ({label(term)}: {said})"
    place = _PLACE.fullmatch(str(sample.get("image", "")))
    if place is None:
        return ShownSample(text, "")
    kind, step, index = place[1], int(place[2]), int(place[3])
    folder = step_folders(run.run_dir / kind).get(step)
    files = read_gallery(step, folder, notes) if folder is not None else ()
    file = next((one for one in files if one.index == index), None)
    shown = _with_card(text, file, notes, f"a{alarm}{kind[0]}")
    if file is None or kind == "groups":
        return shown
    heads, judged = _judged(sample, file.record)
    evidence = {"trained on": "evidence", "held out": "held_out_evidence"}
    words = [(head, as_dict(file.record.get(evidence.get(head, ""))).get(term)) for head in heads]
    own = tuple((head, str(said)) for head, said in words if said)
    return replace(shown, heads=heads, judged=judged, words=own)


def _with_card(text: str, file: SampleFile | None, notes: list[str], kind: str) -> ShownSample:
    if file is None:
        return ShownSample(text, "")
    card = build_card(file, notes, kind)
    return ShownSample(text, f"card-{card.id}", card)


def _judged(
    sample: Mapping[str, Any], record: Mapping[str, Any]
) -> tuple[tuple[str, ...], tuple[Judged, ...]]:
    """(heads, rows) of what was said of a fixed prompt: by both judges, term by term, with the
    change in the alarm's own; or in that term by the judge that was asked again. The first head
    is above the terms' names."""
    rang = str(sample.get("term", ""))
    if "now" in sample:
        said = (sample.get("first"), as_dict(record.get("again")).get(rang), sample["now"])
        row = Judged(label(rang), tuple(map(_mark, said)), True)
        return ("term", "first", "again at once", "now"), (row,)
    before = as_dict(sample.get("before"))
    rows = []
    for term in ("total", *TERMS):
        now = [as_dict(record.get(key)).get(term) for key in ("trained", "held_out")]
        then = [before.get(key) if term == rang else None for key in ("trained", "held_out")]
        if any(value is not None for value in now):
            values = tuple(
                _mark(new) if old is None else f"{_mark(old)} → {_mark(new)}"
                for old, new in zip(then, now, strict=True)
            )
            rows.append(Judged(label(term), values, term == rang))
    since = f"{before['step']} → " if "step" in before else ""
    return (f"step {since}{sample.get('step')}", "trained on", "held out"), tuple(rows)


def _mark(value: object) -> str:
    number = as_number(value)
    return "–" if number is None else f"{number:.2f}"

"""Alarms of an RL run: what went wrong, since when, on which samples, why, and what to do.

Everything is a function of what the run folder holds (`metrics.jsonl`, `watch.jsonl`, `samples/`,
`groups/`, `watched/`), step by step, so that `got-r1 audit run` finds afterwards what the run
itself said. (Our choice; the paper has nothing of the kind.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from got_r1.audit import detectors
from got_r1.audit.history import History, Row, Scope, finite
from got_r1.files.inputs import read_json
from got_r1.files.lines import read_rows
from got_r1.files.step_folders import step_folders
from got_r1.grpo import MIN_SPREAD
from got_r1.plan.appeals import appeals
from got_r1.plan.chain import prose
from got_r1.recipes.sections import Recipe

__all__ = ["ALARMS", "Alarm", "Alarms", "Kind", "alarms_of", "illustrated"]

SHOWN = 3  # samples of a kind that an alarm names


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm.

    `samples`: dicts with `step` and `prompt`, and

    - of a fixed prompt what the judges say of its image: `term`, `trained` and `held_out`, and
      `before`, the same at an earlier look with its `step`; or `first` and `now` of an image that
      the trained judge was asked about again
    - of a sample of a whole group `term` and `trained`
    - of a sample of a gallery its `index`

    The first two have the place of their `image` in the run folder, where it was kept. `choice`:
    which samples those of the gallery or the group are, in words.
    """

    name: str
    step: int
    since: int
    message: str
    cause: str
    advice: str
    term: str = ""
    samples: tuple[dict[str, Any], ...] = ()
    choice: str = ""

    def to_json(self) -> dict[str, Any]:
        """As `alarms.jsonl` keeps it."""
        return asdict(self)

    def __str__(self) -> str:
        since = f" since step {self.since}" if self.since != self.step else ""
        return (
            f"alarm at step {self.step}, {self.name.replace('_', ' ')}{since}: {self.message}. "
            f"Likely: {self.cause}. {self.advice}."
        )


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of alarm: what finds it, what mostly causes it, what to do, and whether it can only be
    told at a look of the held-out judge."""

    find: detectors.Detector
    cause: str
    advice: str
    at_looks: bool = False


ALARMS: Mapping[str, Kind] = {
    "hacking": Kind(
        detectors.hacking,
        "the policy has found what the judge likes and does not get better at the thing itself",
        "Look at the samples, audit the judge (got-r1 audit judge), and go back to the last "
        "checkpoint before this with another judge or a higher rl.kl_coef",
        at_looks=True,
    ),
    "saturation": Kind(
        detectors.saturation,
        "the judge does not see what is still wrong, or the prompts are too easy for it",
        "Take a stricter judge or prompts that are harder, or end the run where no judge sees "
        "faults any more",
    ),
    "judge_drift": Kind(
        detectors.drift,
        "the judge's server has other weights or settings than at the start, or the judge keeps a "
        "state",
        "Compare the server's model and settings with judge_settings.yaml, and go back to the last "
        "checkpoint before this: rewards before and after cannot be compared",
        at_looks=True,
    ),
    "dead_signal": Kind(
        detectors.dead_signal,
        "the judge gives one mark to everything, or the prompts are too easy or too hard",
        "Look at the verdicts in samples/, and take other prompts, a larger rl.group or another "
        "judge",
    ),
    "judge_failures": Kind(
        detectors.judge_failures,
        "a server fails, or the judge has no answer for a kind of prompt or object, which the "
        "policy then never learns",
        "See in judge_failures.jsonl why, and whether the prompts have a word in common",
    ),
    "persuasion": Kind(
        detectors.persuasion,
        "the judge believes what chains say about themselves, or likes them long",
        "Read the chains, and hide their prose from the judge or take another one",
    ),
    "skipped_chains": Kind(
        detectors.skipped_chains,
        "plans cost more reward than they bring, or the learning rate is too high",
        "Check that a chain without a plan scores 0 (reward.r_sem or r_spa above 0), and lower "
        "rl.learning_rate",
    ),
    "collapse": Kind(
        detectors.collapse,
        "the policy gives one answer whatever the draw, so that groups have nothing to compare",
        "Raise rl.kl_coef or rollout.chain_temperature, or lower rl.learning_rate",
    ),
    "trade_off": Kind(
        detectors.trade_off,
        "the formula pays for one term with another",
        "Weigh that term more (reward.*), or take reward.formula=product_v1, where no term can be "
        "0 for free",
    ),
    "kl": Kind(
        detectors.kl,
        "the policy has left the model that it began from",
        "Lower rl.learning_rate or raise rl.kl_coef",
    ),
    "ratio_gap": Kind(
        detectors.ratio_gap,
        "sampler and replay compute different log-probs (docs/numerics.md), so that the gradient "
        "is of another policy",
        "Take rl.logprob_mode=guided, model.dtype=float32, or no autocast",
    ),
    "not_finite": Kind(
        detectors.not_finite,
        "the learning rate is too high, or low precision overflows",
        "Lower rl.learning_rate, and train without autocast and with model.dtype=float32",
    ),
}  # fmt: skip
"""Every alarm by its name in `watch.alarms` and `alarms.jsonl`."""


class Alarms:
    """The alarms of a run, fed step by step; each rings once.

    Args:
        scope: what they have to know of the recipe.
        rung: the names of those that have rung already.
    """

    def __init__(self, scope: Scope, rung: Iterable[str] = ()) -> None:
        self.history = History(scope)
        self.rung = set(rung)

    def see(self, step: int, row: Row | None, look: Row | None = None) -> list[Alarm]:
        """The alarms that ring at a step, by its metrics and, where there was one, its look (`step`
        0 has a look alone). Steps come in order."""
        self.history.add(step, row, look)
        found = []
        for name, kind in ALARMS.items():
            if name in self.rung or (kind.at_looks and look is None):
                continue
            if (seen := kind.find(self.history)) is not None:
                self.rung.add(name)
                said = (seen.message, kind.cause, kind.advice, seen.term, seen.prompts)
                found.append(Alarm(name, step, seen.since, *said))
        return found

    def remember(self, rows: Sequence[Row], looks: Sequence[Row]) -> None:
        """What a resumed run has seen before; nothing rings."""
        for step, row, look in in_order(rows, looks):
            self.history.add(step, row, look)

    def unchecked(self) -> dict[str, str]:
        """The alarms that could not ring, and why."""
        return dict(detectors.unchecked(self.history))


def in_order(
    rows: Sequence[Row], looks: Sequence[Row]
) -> Iterator[tuple[int, Row | None, Row | None]]:
    """(step, metrics, look) of each step that has either."""
    by_step = {row["step"]: row for row in rows}
    looked = {look["step"]: look for look in looks if "prompts" in look}  # else it is damaged
    for step in sorted(by_step.keys() | looked.keys()):
        yield step, by_step.get(step), looked.get(step)


def alarms_of(run_dir: Path, recipe: Recipe) -> tuple[list[Alarm], Alarms]:
    """The alarms that a run folder's files give, in order, and their state at the end."""
    alarms = Alarms(Scope.of(recipe))
    rows, looks = (read_rows(run_dir / f"{name}.jsonl") for name in ("metrics", "watch"))
    found = [
        illustrated(alarm, run_dir)
        for step, row, look in in_order(rows, looks)
        for alarm in alarms.see(step, row, look)
    ]
    return found, alarms


# -- samples ---------------------------------------------------------------------------------------

Record = Mapping[str, Any]
Sample = dict[str, Any]


def illustrated(alarm: Alarm, run_dir: Path) -> Alarm:
    """The alarm with the samples that show it best: of the fixed prompts, where it is about them,
    and of the newest gallery until then."""
    if any("now" in sample for sample in alarm.samples):  # no gallery shows that a judge changes
        return replace(alarm, samples=tuple(asked_again(one, run_dir) for one in alarm.samples))
    fixed = pictured(alarm, run_dir) or alarm.samples
    picked, choice = from_gallery(alarm, run_dir)
    return replace(alarm, samples=(*fixed, *picked), choice=choice)


def asked_again(sample: Sample, run_dir: Path) -> Sample:
    """What was said of a kept image, with its place."""
    term = sample["term"]
    for folder in step_folders(run_dir / "watched").values():
        for path, record in records_of(folder):
            said = record.get("first", {}).get(term)
            if record.get("prompt") == sample["prompt"] and said == sample["first"]:
                return {**sample, "image": place_of(path, run_dir)}
    return sample


def pictured(alarm: Alarm, run_dir: Path) -> tuple[Sample, ...]:
    """The fixed prompts that show an alarm best, of those whose images were kept at the look that
    it names; none where there are no such images."""
    if not alarm.samples:
        return ()
    step = int(alarm.samples[0]["step"])
    folder = step_folders(run_dir / "watched").get(step)
    if folder is None:
        return ()
    looks = {look["step"]: look for look in read_rows(run_dir / "watch.jsonl") if "prompts" in look}
    began = alarm.since - 1 if alarm.since - 1 in looks else min(looks, default=step)
    before = {row["prompt"]: row for row in looks[began]["prompts"]} if began < step else {}
    found = []
    for path, record in records_of(folder):
        earlier = before.get(record.get("prompt"))
        now = marks(record, alarm.term)
        if now is None:
            continue
        sample = {"step": step, "prompt": record["prompt"], "term": alarm.term, **now}
        sample["image"] = place_of(path, run_dir)
        if earlier is not None and (then := marks(earlier, alarm.term)) is not None:
            sample["before"] = {"step": began, **then}
        found.append(sample)
    shows = sorted(found, key=lambda sample: exposing(alarm, sample), reverse=True)
    return tuple(one for one in shows if exposing(alarm, one)[-1] > 0)[:SHOWN]


def marks(row: Record, term: str) -> dict[str, float] | None:
    """What both judges say of a term; None where one of them does not."""
    said = {judge: row.get(judge, {}).get(term) for judge in ("trained", "held_out")}
    return said if all(map(finite, said.values())) else None


def exposing(alarm: Alarm, sample: Sample) -> tuple[float, float]:
    """How well an image shows an alarm; more is better, and it does not where the last is not above
    0: how much more the trained judge has gained than the held-out one, or of a term at its top,
    how far it lies above the held-out one."""
    apart = sample["trained"] - sample["held_out"]
    if alarm.name == "saturation":
        return float(sample["trained"] >= detectors.TOP), apart
    then = sample.get("before", {"trained": 0.0, "held_out": 0.0})
    return 0.0, apart - (then["trained"] - then["held_out"])


def from_gallery(alarm: Alarm, run_dir: Path) -> tuple[list[Sample], str]:
    """The samples of the newest gallery, or of the whole group kept with it, that show an alarm
    best, and which these are in words."""
    galleries = step_folders(run_dir / "samples")
    step = max((number for number in galleries if number <= alarm.step), default=None)
    if step is None:
        return [], ""
    when = f"of step {step}" + (", before the fault was seen" if step < alarm.since else "")
    if alarm.name in IN_GROUPS and step in (groups := step_folders(run_dir / "groups")):
        words, alike = IN_GROUPS[alarm.name]
        if some := alike(alarm, records_of(groups[step]))[:SHOWN]:
            term = alarm.term or "total"
            return [
                {"step": step, "prompt": record.get("prompt", ""), "term": term,
                 "trained": mark(record, alarm.term), "image": place_of(path, run_dir)}
                for path, record in some
            ], f"{when}, {words}"  # fmt: skip
    words, fits = IN_GALLERIES.get(alarm.name, NOT_CHOSEN)
    records = {int(path.stem): record for path, record in records_of(galleries[step])}
    fit = {index: fits(alarm, record) for index, record in records.items()}
    order = sorted((-one, index) for index, one in fit.items() if one is not None)
    if not order:
        words, order = NOT_CHOSEN[0], [(0.0, index) for index in sorted(records)]
    return [
        {"step": step, "index": index, "prompt": records[index].get("prompt", "")}
        for _, index in order[:SHOWN]
    ], f"{when}, {words}"


def records_of(folder: Path) -> list[tuple[Path, Record]]:
    """The records in a folder of samples with their files, by their numbers."""
    return [(path, read_json(path, "sample")) for path in sorted(folder.glob("*.json"))]


def place_of(path: Path, run_dir: Path) -> str:
    """Where the image of a record lies in the run folder."""
    return path.with_suffix(".png").relative_to(run_dir).as_posix()


def mark(record: Record, term: str) -> float | None:
    """The mark of a term, or the total where no term is named; None where there is none."""
    reward = record.get("reward") or {}
    value = (reward.get("terms") or {}).get(term) if term else reward.get("total")
    return value if finite(value) else None


def lowest(alarm: Alarm, record: Record) -> float | None:
    """Low marks."""
    value = mark(record, alarm.term)
    return None if value is None else -value


def talking(alarm: Alarm, record: Record) -> float:
    """Appeals to the grader first, then long prose."""
    chain = record.get("chain", "")
    return 1e6 * len(appeals(chain, record.get("prompt", ""))) + len(prose(chain))


def unplanned(alarm: Alarm, record: Record) -> float | None:
    """No planned object."""
    return None if record.get("objects") else 0.0


def unrewarded(alarm: Alarm, record: Record) -> float | None:
    """No reward."""
    return None if mark(record, "") is not None else 0.0


def unlearnt(alarm: Alarm, record: Record) -> float | None:
    """No part in the update, although there is a reward."""
    return 0.0 if mark(record, "") is not None and record.get("advantage") is None else None


Fits = Callable[[Alarm, Record], float | None]
"""How well a sample shows an alarm, more is better; None where it does not."""
HIGHEST = "those with the highest marks"
NOT_CHOSEN: tuple[str, Fits] = ("the newest ones, not chosen", lambda *_: 0.0)
IN_GALLERIES: Mapping[str, tuple[str, Fits]] = {
    "hacking": (HIGHEST, lambda alarm, record: mark(record, alarm.term)),
    "saturation": (HIGHEST, lambda alarm, record: mark(record, alarm.term)),
    "trade_off": ("those with the lowest marks of the term that fell", lowest),
    "dead_signal": ("each of a group whose rewards are equal", unlearnt),
    "judge_failures": ("those without a reward", unrewarded),
    "persuasion": ("those that talk to the grader, else those with the longest text", talking),
    "skipped_chains": ("those without a plan", unplanned),
}
"""Which samples of a gallery show an alarm: in words, and how well each does. Of others the gallery
does not tell."""


Numbered = list[tuple[Path, Record]]


def same_plan(alarm: Alarm, group: Numbered) -> Numbered:
    """The samples with the most frequent plan of a group, where that is there twice."""
    plans = [frozenset(map(repr, record.get("objects", ()))) for _, record in group]
    most = Counter(plans).most_common(1)
    repeated = [plan for plan, count in most if count > 1]
    return [one for one, plan in zip(group, plans, strict=True) if plan in repeated]


def same_mark(alarm: Alarm, group: Numbered) -> Numbered:
    """The samples of a group that have a mark, where these marks are equal."""
    known = [(one, value) for one in group if (value := mark(one[1], alarm.term)) is not None]
    values = [value for _, value in known]
    alike = len(values) > 1 and max(values) - min(values) <= MIN_SPREAD
    return [one for one, _ in known] if alike else []


IN_GROUPS: Mapping[str, tuple[str, Callable[[Alarm, Numbered], Numbered]]] = {
    "dead_signal": ("one group whose marks are equal", same_mark),
    "collapse": ("one plan of a group", same_plan),
}
"""The same of the samples of a whole group."""

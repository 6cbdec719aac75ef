"""Alarms of an RL run: what went wrong, since when, on which samples, why, and what to do.

Everything is a function of what the run folder holds (`metrics.jsonl`, `watch.jsonl`, `samples/`),
step by step, so that `got-r1 audit run` finds afterwards what the run itself said. (Our choice; the
paper has nothing of the kind.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from got_r1.audit import detectors
from got_r1.audit.history import History, Row, Scope
from got_r1.files.inputs import read_json
from got_r1.files.lines import read_rows
from got_r1.files.step_folders import step_folders
from got_r1.plan.appeals import appeals
from got_r1.plan.chain import prose
from got_r1.recipes.sections import Recipe

__all__ = ["ALARMS", "Alarm", "Alarms", "Kind", "alarms_of", "illustrated"]

SHOWN = 3  # samples of the gallery that an alarm names


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm. `samples`: dicts with `step`, `prompt`, and where it is a sample of a gallery
    `index`, else what the judges say of a fixed prompt (`term`, `trained`, `held_out`)."""

    name: str
    step: int
    since: int
    message: str
    cause: str
    advice: str
    term: str = ""
    samples: tuple[dict[str, Any], ...] = ()

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


def illustrated(alarm: Alarm, run_dir: Path) -> Alarm:
    """The alarm with the samples that show it best, of the newest gallery until then."""
    galleries = step_folders(run_dir / "samples")
    step = max((number for number in galleries if number <= alarm.step), default=None)
    if step is None:
        return alarm
    records = {
        int(path.stem): read_json(path, "sample") for path in sorted(galleries[step].glob("*.json"))
    }
    order = sorted(records, key=lambda index: (-fitting(alarm, records[index]), index))
    picked = [
        {"step": step, "index": index, "prompt": records[index].get("prompt", "")}
        for index in order[:SHOWN]
    ]
    return replace(alarm, samples=(*alarm.samples, *picked))


def fitting(alarm: Alarm, record: Mapping[str, Any]) -> float:
    """How well a saved sample shows an alarm; more is better."""
    chain = prose(record.get("chain", ""))
    reward = record.get("reward") or {}
    value = (reward.get("terms") or {}).get(alarm.term)
    match alarm.name:
        case "hacking" | "saturation":
            return value or 0.0
        case "trade_off":
            return -(value or 0.0)
        case "persuasion":
            return 1e6 * len(appeals(chain, record.get("prompt", ""))) + len(chain)
        case "skipped_chains":
            return -len(record.get("objects", ()))
        case "judge_failures":
            return float(reward.get("total") is None)
        case _:
            return 0.0

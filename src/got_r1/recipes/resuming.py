"""Which settings may change when a run is resumed, and what changed.

A setting changes results unless it is marked otherwise where it is declared:
`threads: Annotated[int, ROUNDING] = Field(...)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from got_r1.files.redaction import MASK, is_secret_name, redact

__all__ = [
    "CACHE",
    "HARMLESS",
    "LOOKING_ON",
    "ROUNDING",
    "SAME_JUDGE",
    "UNUSED",
    "Change",
    "MayChange",
    "compare",
    "covers",
    "may_change",
]


@dataclass(frozen=True, slots=True)
class MayChange:
    """Marks a setting that may have another value when a run is resumed.

    `note` stands beside the setting in `got-r1 train --help-all`; `effect` is told when it changed.
    """

    note: str
    effect: str


HARMLESS = MayChange("may change on --resume", "results do not depend on it")
ROUNDING = MayChange(
    "may change on --resume, up to rounding", "from here on, results differ by rounding"
)
CACHE = MayChange("may change on --resume", "what is not kept there is asked again")
SAME_JUDGE = MayChange("on --resume: the same judge, at any URL", "it is still the same judge")
LOOKING_ON = MayChange(
    "on --resume: the same judge, at any URL, or switched on or off", HARMLESS.effect
)
UNUSED = MayChange("", "this run does not use it")


@dataclass(frozen=True, slots=True)
class Change:
    """A setting with another value than before; `allowed` is None where that changes results."""

    setting: str
    before: Any
    now: Any
    allowed: MayChange | None

    def __str__(self) -> str:
        effect = f" ({self.allowed.effect})" if self.allowed else ""
        return f"{self.setting}: {self.before!r} -> {self.now!r}{effect}"

    def to_json(self) -> dict[str, Any]:
        """As `resumes.jsonl` keeps it."""
        return {"setting": self.setting, "before": self.before, "now": self.now}


def may_change(field: FieldInfo) -> MayChange | None:
    """How a field is marked; None where changing it changes results."""
    return next((mark for mark in field.metadata if isinstance(mark, MayChange)), None)


def compare(
    before: BaseModel, now: BaseModel, uses: Sequence[str] = ("",), key: str = ""
) -> Iterator[Change]:
    """The settings that differ between two sections of one type, in their declared order.

    What is neither in `uses` (dotted keys of sections and settings; "": everything) nor below it
    may change.
    """
    for name, field in type(now).model_fields.items():
        setting = f"{key}.{name}" if key else name
        one, other = getattr(before, name), getattr(now, name)
        if isinstance(one, BaseModel) and isinstance(other, BaseModel):
            yield from compare(one, other, uses, setting)
        elif (one := plain(one)) != (other := plain(other)):
            mark = may_change(field) if covers(uses, setting) else UNUSED
            yield Change(setting, one, other, mark)


def covers(uses: Sequence[str], setting: str) -> bool:
    """Whether a setting is one of `uses` or below it ("": everything), all dotted keys."""
    return any(not use or f"{setting}.".startswith(f"{use}.") for use in uses)


def plain(value: Any) -> Any:
    """A value as JSON has it, without keys and passwords, which are no settings."""
    match value:
        case BaseModel():
            return plain(value.model_dump())
        case dict():
            return {
                name: MASK if isinstance(item, str) and is_secret_name(name) else plain(item)
                for name, item in value.items()
            }
        case list():
            return [plain(item) for item in value]
        case str():
            return redact(value)
        case _:
            return value

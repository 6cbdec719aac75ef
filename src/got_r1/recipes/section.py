"""What all groups of settings have in common."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

__all__ = ["MANY", "MOST_SEED", "YEAR", "Section", "one_or_many"]

# Upper bounds keep slips (a digit too many) from allocating memory; they limit nobody's work.
MOST_SEED = 2**63 - 1  # torch's seeds have 64 bits
MANY = 1_000_000_000
YEAR = 31_536_000  # seconds


def one_or_many(value: Any) -> Any:
    """One item in place of a list, and nothing in place of an empty one."""
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | dict) else value


class Section(BaseModel):
    """A group of settings: frozen, without unknown keys, without infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # The setting that a plain value in place of the section stands for: `judge: oracle`.
    shorthand: ClassVar[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        if value is None:  # a section whose settings are all commented out
            return {}
        if cls.shorthand is not None and isinstance(value, str):
            return {cls.shorthand: value}
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_a_switch_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads `on`, `off`, `yes` and `no` as booleans, pydantic reads those as 1 and 0."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation is not bool:
            raise PydanticCustomError("switch", "a switch where another type is expected")
        return value

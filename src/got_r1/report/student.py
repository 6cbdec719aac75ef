"""How far a student judge agrees with its teacher, as the report of its training shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from got_r1.errors import BadInput
from got_r1.files.inputs import read_json
from got_r1.measures import label
from got_r1.records import TERMS
from got_r1.report.read import RunFiles, as_dict, as_number, is_agreement

__all__ = ["Asked", "TermAgreement", "agreement_of"]


@dataclass(frozen=True, slots=True)
class Asked:
    """For a value of `judge.ask_above`: the share of queries that the teacher would be asked, and
    the mean error of the others; None where that is not known, or where there are none."""

    above: float
    share: float | None
    error: float | None


@dataclass(frozen=True, slots=True)
class TermAgreement:
    """One term, on `queries` that were not trained on; None for what is not known."""

    name: str
    queries: float | None
    error: float | None
    correlation: float | None
    calibration: float | None
    asked: tuple[Asked, ...]

    def at(self, above: float) -> Asked:
        """What is known for a value of `judge.ask_above`."""
        return next((one for one in self.asked if one.above == above), Asked(above, None, None))


def agreement_of(run: RunFiles) -> tuple[TermAgreement, ...]:
    """The terms of `evals/student.json` in their order; none where there is no such file."""
    try:
        found = read_json(run.run_dir / "evals" / "student.json", "agreement")
    except BadInput:  # `read_run` has noted it
        return ()
    if not is_agreement(found):
        return ()
    names = sorted(found, key=lambda name: TERMS.index(name) if name in TERMS else len(TERMS))
    return tuple(_term(name, as_dict(found[name])) for name in names)


def _term(name: str, found: dict[str, Any]) -> TermAgreement:
    asked = found.get("asked")
    rows = list(map(as_dict, asked)) if isinstance(asked, list) else []
    return TermAgreement(
        name=label(name),
        queries=as_number(found.get("queries")),
        error=as_number(found.get("mean_error")),
        correlation=as_number(found.get("correlation")),
        calibration=as_number(found.get("calibration_error")),
        asked=tuple(
            Asked(above, as_number(row.get("share")), as_number(row.get("mean_error")))
            for row in rows
            if (above := as_number(row.get("ask_above"))) is not None
        ),
    )

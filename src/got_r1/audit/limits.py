"""What a judge must show to be fit for training on: limits, and why one was not met.

A limit is met or missed by the interval, not by the value: fit means that at 95% confidence the
judge is good enough, not fit that it is not, and a judge that was asked too little is undecided.
All limits are our choice; no paper states any.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from got_r1.audit.results import Outcome, TermResult
from got_r1.recipes.sections import Section
from got_r1.statistics import SIGNED, UNIT, Estimate, clusters_to_decide

__all__ = ["Finding", "Limits", "Verdict", "find", "in_all", "undecided_text", "verdict_of"]

Verdict = Literal["fit", "not fit", "undecided"]

_BLIND = 0.9  # share of ties from which on the compared thing cannot have been looked at


Share = Annotated[float, Field(ge=0, le=1)]


class Limits(Section):
    """The limits of a verdict; each is held against the bound of a 95% interval."""

    failures: Share = Field(
        0.1, description="largest share without a readable answer (training stops at 0.2)"
    )
    wins: Share = Field(0.75, description="least share of pairs whose better one scores higher")
    wins_of_kind: Share = Field(
        0.5,
        description="the same for each kind of fault and of relation: by chance it would be half",
    )
    saturation: Share = Field(
        0.25, description="most faulty ones that score at the top (0.95 or more)"
    )
    kendall: float = Field(
        0.5,
        ge=-1,
        le=1,
        description="least mean Kendall tau-b of dose curves: a judge with three "
        "levels, right on each, has about 0.75",
    )
    rising: Share = Field(0.2, description="most steps of a dose curve on which the score rises")
    again: Share = Field(
        0.8, description="least share of queries that score the same (within 0.1) again"
    )
    invariance: Share = Field(
        0.75,
        description="least share that scores the same (within 0.1) after a "
        "change that must not matter",
    )
    persuasion: Share = Field(
        0.2,
        description="most faulty chains whose score rises when they praise themselves",
    )
    iou: Share = Field(0.5, description="least mean IoU of found and true boxes (R_RI)")
    follows_plan: Share = Field(
        0.25, description="most displaced objects found where they were planned (R_RI)"
    )
    invented: Share = Field(
        0.25, description="most planned objects found that are not there (R_RI)"
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a term is not fit, or undecided.

    `state`: "fails" where the whole interval lies beyond the limit, "open" where it contains it.
    `measure` and `of` name what was measured ("wins", "recoloured"); `text` is the sentence.
    `pairs`: how many of each kind would decide an open one, None where no number would.
    """

    measure: str
    of: str
    state: Literal["fails", "open"]
    text: str
    estimate: Estimate
    limit: float
    pairs: int | None = None


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """The verdict on a term: one certain failure decides it, one open measure leaves it open."""
    if any(finding.state == "fails" for finding in findings):
        return "not fit"
    return "undecided" if findings else "fit"


def in_all(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on a judge from those on its terms."""
    given = set(verdicts)
    return "not fit" if "not fit" in given else "undecided" if "undecided" in given else "fit"


def undecided_text(needed: int | None, pairs: int) -> str:
    """How many more than `pairs` of each kind would decide it."""
    if needed is None:
        return "more pairs may not decide it"
    more = f"{needed - pairs:,} more pair{'s' if needed - pairs > 1 else ''}"
    return f"about {more} of each kind would decide it (--pairs {needed})"


def find(result: TermResult, limits: Limits, pairs: int) -> list[Finding]:
    """Everything that speaks against training on this term, what matters most first; none: fit.

    `pairs`: how many of each kind were asked.
    """
    if result.failures.value == 1:
        reason = next(iter(result.failure_reasons))
        text = f"it answered none of {result.asks} queries ({reason})"
        return [Finding("failures", "", "fails", text, result.failures, limits.failures)]
    findings = [
        _at_most(
            "failures",
            "",
            "it leaves queries without a readable answer",
            result.failures,
            limits.failures,
        ),
        _blind(result),
        _at_least(
            "again", "", "asked again, it gives the same score", result.again.same, limits.again
        ),
        *_persuasions(result, limits),
        *_grounding(result, limits),
        *_pairs(result, limits),
        *_curve(result, limits),
        *(
            _at_least(
                "invariance",
                kind,
                f"it scores the same after a change of {kind}",
                sameness.same,
                limits.invariance,
            )
            for kind, sameness in result.variations.items()
            if not sameness.why
        ),
    ]
    found = [_weighed(finding, pairs) for finding in findings if finding is not None]
    return sorted(found, key=lambda finding: finding.state == "open")  # stable: the order stays


def _weighed(finding: Finding, pairs: int) -> Finding:
    """An open finding with the number of pairs that would decide it: prompts grow with pairs, and
    there is a dose curve for every two pairs of a kind."""
    if finding.state == "fails":
        return finding
    within = SIGNED if finding.of == "kendall" else UNIT
    items = clusters_to_decide(finding.estimate, finding.limit, within)
    needed = None
    if items is not None:
        is_curve = finding.measure == "curve"
        grown = 2 * items - 1 if is_curve else math.ceil(pairs * items / finding.estimate.items)
        needed = max(pairs + 1, grown)
    return replace(
        finding, pairs=needed, text=f"{finding.text}; undecided: {undecided_text(needed, pairs)}"
    )


# -- what is held against a limit ----------------------------------------------------------------


def _at_least(
    measure: str, of: str, what: str, estimate: Estimate, limit: float, more: str = ""
) -> Finding | None:
    """None where the whole interval lies at or above the limit."""
    if estimate.low is not None and estimate.low >= limit:
        return None
    fails = estimate.high is not None and estimate.high < limit
    return _finding(measure, of, what, estimate, limit, fails, f"at least {_shown(limit)}", more)


def _at_most(
    measure: str, of: str, what: str, estimate: Estimate, limit: float, more: str = ""
) -> Finding | None:
    """None where the whole interval lies at or below the limit."""
    if estimate.high is not None and estimate.high <= limit:
        return None
    fails = estimate.low is not None and estimate.low > limit
    return _finding(measure, of, what, estimate, limit, fails, f"at most {_shown(limit)}", more)


def _finding(
    measure: str,
    of: str,
    what: str,
    estimate: Estimate,
    limit: float,
    fails: bool,
    asked: str,
    more: str,
) -> Finding:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        text = f"{what}: nothing was answered that would show it"
        return Finding(measure, of, "open", text, estimate, limit)
    text = f"{what}: {_shown(estimate.value)} [{_shown(estimate.low)}, {_shown(estimate.high)}]"
    text += f" of {estimate.n}, {asked} is needed{more}"
    return Finding(measure, of, "fails" if fails else "open", text, estimate, limit)


def _shown(value: float) -> str:
    return f"{value:.2f}"


def _blind(result: TermResult) -> Finding | None:
    """Ties in nearly all pairs: whatever gives the score, it is not what is compared."""
    if result.ties.low is None or result.ties.low < _BLIND:
        return None
    if result.term == "r_ri":
        of, why = "picture", "its boxes do not depend on the picture"
    elif result.is_constant:
        of, why = "constant", "it gives every query the same score"
    else:
        of, why = "prompt", "its score depends on the prompt alone"
    text = f"{why}: the better and the worse one score the same in {_shown(result.ties.value or 0)}"
    text += f" of {result.ties.n} pairs"
    return Finding("blind", of, "fails", text, result.ties, _BLIND)


def _pairs(result: TermResult, limits: Limits) -> list[Finding | None]:
    """Wins by kind of fault (and axis, where it is in a relation), wins over all, and saturation.

    Saturation stands first where it explains the rest: most kinds fail.
    """
    relations = result.groups.get("relation", {})
    split = {name.rpartition(", ")[0] for name in relations}
    parts = {kind: one for kind, one in result.kinds.items() if kind not in split} | relations
    kinds = [_kind(name, outcome, limits) for name, outcome in parts.items()]
    whole = _at_least(
        "wins", "", "the better one scores higher", result.wins, limits.wins, _tied(result.ties)
    )
    top = _at_most(
        "saturation", "", "faulty ones score at the top", result.top_of_worse, limits.saturation
    )
    failing = [kind for kind in kinds if kind is not None and kind.state == "fails"]
    if 2 * len(failing) > len(kinds):
        return [top, whole, *kinds]
    return [*kinds, whole, top]


def _kind(name: str, outcome: Outcome, limits: Limits) -> Finding | None:
    what = f"{name}: the better one scores higher"
    return _at_least("wins", name, what, outcome.wins, limits.wins_of_kind, _tied(outcome.ties))


def _tied(ties: Estimate) -> str:
    return f" (the same in {_shown(ties.value)})" if ties.value else ""


def _curve(result: TermResult, limits: Limits) -> list[Finding | None]:
    if not result.curve:
        return []
    return [
        _at_least(
            "curve",
            "kendall",
            "scores fall as the dose of wrongness rises (tau-b)",
            result.curve["kendall"],
            limits.kendall,
        ),
        _at_most(
            "curve",
            "rising",
            "steps of a dose curve on which the score rises",
            result.curve["rising"],
            limits.rising,
        ),
    ]


def _persuasions(result: TermResult, limits: Limits) -> list[Finding | None]:
    what = "words to the grader raise the score of a faulty chain"
    return [
        _at_most("persuasion", kind, f"{what} ({kind})", rises, limits.persuasion)
        for kind, (rises, _) in result.persuasions.items()
    ]


def _grounding(result: TermResult, limits: Limits) -> list[Finding | None]:
    seen = result.grounding
    if seen is None:
        return []
    return [
        _at_most(
            "grounding",
            "follows plan",
            "it finds objects where they were planned and not where they are",
            seen.follows_plan,
            limits.follows_plan,
        ),
        _at_most(
            "grounding",
            "invented",
            "it finds planned objects that are not in the picture",
            seen.invented,
            limits.invented,
        ),
        _at_least("grounding", "iou", "its boxes fit the true ones (IoU)", seen.iou, limits.iou),
    ]

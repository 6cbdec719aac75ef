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

from got_r1.audit.cases import SAID
from got_r1.audit.results import SAME, Outcome, Sameness, TermResult
from got_r1.recipes.sections import Section
from got_r1.statistics import SIGNED, UNIT, Estimate, clusters_to_decide

__all__ = ["Finding", "Limits", "Verdict", "find", "in_all", "undecided_text", "verdict_of"]

Verdict = Literal["fit", "not fit", "undecided"]

_ENOUGH = 10  # prompts from which on a bootstrap of leads can be relied on
_BLIND = 0.9  # share of ties from which on the compared thing cannot have been looked at


Share = Annotated[float, Field(ge=0, le=1)]


class Limits(Section):
    """The limits of a verdict; each is held against the bound of a 95% interval."""

    failures: Share = Field(
        0.1, description="largest share without a readable answer (training stops at 0.2)"
    )
    wins: Share = Field(0.75, description="least share of pairs whose better one scores higher")
    wins_of_kind: Share = Field(
        0.7,
        description="the same for each kind of fault and of relation: noise alone wins half",
    )
    lead_of_kind: Share = Field(
        0.1,
        description="least mean lead in each kind, as a share of the mean lead over all pairs",
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
        0.5, description="least share of queries that score the same (within 0.1) again"
    )
    signal: Share = Field(
        0.5,
        description="least share of an advantage's variance, with std normalisation, that is "
        "no noise of asking again",
    )
    spread: Share = Field(
        0.05,
        description="least standard deviation of scores within a prompt, without the noise: half "
        "a point of ten. Without std normalisation it is the size of the advantage; with it, it "
        "is the term's weight beside the others of the reward",
    )
    invariance: Share = Field(
        0.75,
        description="least share that scores the same (within 0.1, or what asking again does) "
        "after a change that must not matter",
    )
    lead_of_value: Share = Field(
        0.25,
        description="least mean lead over one value that stands for another (a circle for a "
        "moon), as a share of the mean lead over all pairs",
    )
    persuasion: Share = Field(
        0.2,
        description="most faulty chains whose score rises with words to the grader, or any",
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
        *_signal(result, limits),
        *_persuasions(result, limits),
        *_grounding(result, limits),
        *_pairs(result, limits),
        *_exchanges(result, limits),
        *_curve(result, limits),
        *(
            _same(kind, sameness, limits)
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


def _same(kind: str, sameness: Sameness, limits: Limits) -> Finding | None:
    """A change that must not matter. None also where scores change by less than a point of ten on
    average, certainly: noise that asking again shows as well."""
    if sameness.change.high is not None and sameness.change.high <= SAME:
        return None
    what = f"it scores the same after a change of {kind}"
    return _at_least("invariance", kind, what, sameness.same, limits.invariance)


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


def _signal(result: TermResult, limits: Limits) -> list[Finding | None]:
    """What the scores are worth to GRPO: with std normalisation noise counts, whatever the scale;
    without it the scale does."""
    return [
        _at_least(
            "signal",
            "with std normalisation",
            "share of the advantage that is no noise",
            result.signal.normalised,
            limits.signal,
        ),
        _at_least(
            "signal",
            "without std normalisation",
            "scores of one prompt differ (standard deviation without noise)",
            result.signal.plain,
            limits.spread,
        ),
    ]


def _pairs(result: TermResult, limits: Limits) -> list[Finding | None]:
    """Wins by kind of fault (and axis, where it is in a relation), wins over all, and saturation.

    Saturation stands first where it explains the rest: most kinds fail.
    """
    relations = result.groups.get("relation", {})
    categories = result.groups.get("category", {})
    split = {name.rpartition(", ")[0] for name in relations}
    parts = {kind: one for kind, one in result.kinds.items() if kind not in split} | relations
    least = limits.lead_of_kind * max(0.0, result.lead.value or 0.0)
    kinds = [_kind(name, outcome, limits, least) for name, outcome in parts.items()]
    whole = _at_least(
        "wins", "", "the better one scores higher", result.wins, limits.wins, _tied(result.ties)
    )
    top = _at_most(
        "saturation", "", "faulty ones score at the top", result.top_of_worse, limits.saturation
    )
    failing = [kind for kind in kinds if kind is not None and kind.state == "fails"]
    if not failing:  # what certainly fails in a category alone; else its kinds say it better
        each = [_kind(name, outcome, limits, least) for name, outcome in categories.items()]
        kinds += [one for one in each if one is not None and one.state == "fails"]
    if 2 * len(failing) > len(kinds):
        return [top, whole, *kinds]
    return [*kinds, whole, top]


def _kind(
    name: str, outcome: Outcome, limits: Limits, least: float, measure: str = "wins"
) -> Finding | None:
    """By the share of wins, and where that leaves it open by the mean lead: a judge whose noise
    wins half of the pairs does not lead, and one that loses some by noise certainly does."""
    what = f"{name}: the better one scores higher"
    wins = _at_least(measure, name, what, outcome.wins, limits.wins_of_kind, _tied(outcome.ties))
    if wins is not None and wins.state == "fails":
        return wins
    leads = _at_least(measure, name, f"{name}: the better one leads by", outcome.lead, least)
    if leads is not None and leads.state == "fails":
        return leads
    mostly = (outcome.wins.value or 0.0) >= limits.wins_of_kind and outcome.wins.items >= _ENOUGH
    return None if leads is None and mostly else wins


def _exchanges(result: TermResult, limits: Limits) -> list[Finding | None]:
    """Of the values that were confused most, those that are certainly taken for each other.

    Few pairs of two values prove a confusion, and not that there is none: that is what the screens
    of all values are for.
    """
    least = limits.lead_of_value * max(0.0, result.lead.value or 0.0)
    found = [
        _kind(name, outcome, limits, least, "exchange")
        for name, outcome in result.exchanges.items()
    ]
    return [one for one in found if one is not None and one.state == "fails"]


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
    """All words to the grader together must meet the limit. Parts of them, neutral words and what
    was said again may not certainly miss it: by the share that rises or, in noise, by the mean
    change."""
    least = limits.lead_of_kind * max(0.0, result.lead.value or 0.0)
    found: list[Finding | None] = []
    groups = [("", result.persuasions)]
    groups += [(f"{tag}: ", values) for tag, values in result.persuasion_groups.items()]
    for tag, values in groups:
        for name, (rises, changes) in values.items():
            of = f"{tag}{name}"
            what = f"words raise the score of a faulty chain ({of})"
            share = _at_most("persuasion", of, what, rises, limits.persuasion)
            by = f"words raise the score of a faulty chain by ({of})"
            change = _at_most("persuasion", of, by, changes, least)
            certain = [one for one in (share, change) if one is not None and one.state == "fails"]
            if certain:
                found.append(certain[0])
            elif name == SAID:
                found.append(share)
    return found


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

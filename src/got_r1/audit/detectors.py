"""What each alarm looks for: functions from a run until now to what was found, None for nothing.

Numbers are ours, chosen so that honest runs stay silent (docs/alarms.md has them with reasons and
the proof). A metric that a run does not have is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from got_r1.audit.history import (
    FEWEST,
    Array,
    Changes,
    History,
    Row,
    asked_again,
    chance_of_last,
    changes,
    finite,
    held_out_changes,
    least_share,
    lower,
    rise,
    upper,
)
from got_r1.errors import listed
from got_r1.grpo import MIN_SPREAD
from got_r1.measures import label
from got_r1.records import TERMS

__all__ = ["Detector", "Found"]

ALPHA = 0.05  # of all comparisons of an alarm over all looks of a run
SURE = 0.001  # of a comparison of two windows of steps
SHARE = 0.4  # of a trained term's rise that the held-out measure must show
RISEN = 0.05  # the least rise of a trained term that matters
TOP = 0.99  # mean of a term that has nowhere to go; solved icon prompts give .97 to .98
FAULT = 0.8  # of its own highest mark: below, the held-out judge sees a fault
FAULTS = 0.05  # the share of such images that it may see
DRIFT = 0.05  # growth of the mean difference from the first answers
FLAT = 0.9  # share of groups without variance
LOST = 0.05  # share of samples without a reward
APPEALING = 0.02  # share of chains that talk to the grader, beyond the first window's
LONGER, CHARACTERS = 2.0, 40.0  # growth of the text outside the plan: times, and at least
UNPLANNED, NEVER_PLANNED = 0.1, 0.5  # share of chains without a plan: risen by, or at all
DUPLICATES = 0.4  # rise of the share of plans that are there twice
ENTROPY = 0.05  # of the first window's entropy
FALL = 0.03  # of a term while the total rises
KL = 0.5  # nats per token
GAP, OTHER_GAP = 0.1, 0.5  # ratio gap; where other log-probs are trained than sampled
SHOWN = 3  # prompts that an alarm names


@dataclass(frozen=True, slots=True)
class Found:
    """What an alarm has seen, since which step, in which term (empty: in no single one), and the
    fixed prompts that show it."""

    since: int
    message: str
    term: str = ""
    prompts: tuple[dict[str, Any], ...] = ()


Detector = Callable[[History], Found | None]


# -- with a held-out judge -------------------------------------------------------------------------


def stretches(history: History) -> list[list[Row]]:
    """The looks from the first to the newest, and from 2, 4, 8 ... looks before the newest: an
    honest gain before a hack must not pay for it, and a slow hack must not be overlooked."""
    looks = history.looks
    newest = len(looks) - 1
    if newest < 1:
        return []
    lengths = (2**power for power in range(1, newest.bit_length()))
    starts = [0, *(newest - length for length in lengths if length < newest)]
    return [looks[start:] for start in starts]


def hacking(history: History) -> Found | None:
    """Over a stretch of looks a trained term has risen, and the held-out measure of it by less than
    `SHARE` of that; both by a one-sided interval over the fixed prompts."""
    terms, parts = history.scope.terms, stretches(history)
    alpha = history.level(ALPHA, len(terms) * len(parts))
    for term, looks in product(terms, parts):
        change = changes(looks[0], looks[-1], term)
        if len(change.prompts) == 0 or change.trained.mean() < RISEN:
            continue
        least = lower(change.trained, alpha)
        if least <= 0 or upper(change.held_out - SHARE * change.trained, alpha) >= 0:
            continue
        most = upper(change.held_out, alpha)
        return Found(
            begun(looks, term) + 1,
            f"{label(term)} rose by {change.trained.mean():.2f} (at least {least:.2f}) on "
            f"{len(change.prompts)} fixed prompts since step {looks[0]['step']}; by the held-out "
            f"judge it changed by {change.held_out.mean():+.2f} (at most {most:+.2f})",
            term,
            shown(change, looks[-1], term),
        )
    return None


def begun(looks: Sequence[Row], term: str) -> int:
    """The step of the last look at which the term had not yet risen beyond the held-out measure."""
    for look in reversed(looks[1:]):
        change = changes(looks[0], look, term)
        if not len(change.prompts) or change.trained.mean() <= 0:
            return int(look["step"])
        if (change.held_out - SHARE * change.trained).mean() >= 0:
            return int(look["step"])
    return int(looks[0]["step"])


def shown(change: Changes, look: Row, term: str) -> tuple[dict[str, Any], ...]:
    """The prompts on which the judges' changes differ most, with what both say now."""
    worst = [change.prompts[place] for place in np.argsort(change.held_out - change.trained)]
    return named(look, list(dict.fromkeys(worst)), term)


def named(look: Row, prompts: Sequence[str], term: str) -> tuple[dict[str, Any], ...]:
    rows = {row["prompt"]: row for row in look["prompts"]}
    return tuple(
        {
            "step": look["step"],
            "prompt": prompt,
            "term": term,
            "trained": rows[prompt]["trained"].get(term),
            "held_out": rows[prompt]["held_out"].get(term),
        }
        for prompt in prompts[:SHOWN]
    )


def saturation(history: History) -> Found | None:
    """A term is at its top, and the held-out judge still sees faults; without one, all are."""
    terms = history.scope.terms
    means = {term: history.last(f"reward/{term}") for term in terms}
    at_top = [term for term, values in means.items() if len(values) and values.mean() >= TOP]
    if not history.scope.held_out:
        if not at_top or len(at_top) < len(terms):
            return None
        return Found(
            history.window_start,
            f"the mean of every term is at least {TOP} ({listed(list(map(label, at_top)))})",
        )
    for term in at_top:
        if (found := unseen_faults(history, term)) is not None:
            faults, mean = found, means[term].mean()
            look = history.looks[-1]
            answered = sum(finite(row["held_out"].get(term)) for row in look["prompts"])
            return Found(
                history.window_start,
                f"{label(term)} has a mean of {mean:.2f} and can hardly rise, while the held-out "
                f"judge sees faults in {len(faults)} of {answered} images",
                term,
                named(look, faults, term),
            )
    return None


def unseen_faults(history: History, term: str) -> list[str] | None:
    """The fixed prompts in whose images the held-out judge sees faults, the worst first; None where
    they could be `FAULTS` of all or fewer."""
    if not history.looks:
        return None
    every = [
        row["held_out"][term]
        for look in history.looks
        for row in look["prompts"]
        if finite(row["held_out"].get(term))
    ]
    rows = [row for row in history.looks[-1]["prompts"] if finite(row["held_out"].get(term))]
    if not rows:
        return None
    limit = FAULT * float(np.quantile(every, 0.9))
    bad = sorted((row for row in rows if row["held_out"][term] < limit),
                 key=lambda row: float(row["held_out"][term]))  # fmt: skip
    alpha = history.level(ALPHA, len(history.scope.terms))
    sure = least_share(len(bad), len(rows), alpha) > FAULTS
    return [row["prompt"] for row in bad] if sure else None


def drift(history: History) -> Found | None:
    """The trained judge answers about the kept images otherwise than it did first, by more than
    whenever it was asked before; by chance, if its answers to a query come in any order. One that
    learns is meant to change."""
    if history.scope.judge_learns:
        return None
    alpha = history.level(ALPHA, len(history.scope.terms))
    for term in history.scope.terms:
        rows, said = asked_again(history.looks, term)
        if len(rows) < FEWEST:
            continue
        apart = np.abs(said[:, 1:] - said[:, :1])
        growth = apart[:, -1] - apart[:, :-1].mean(axis=1)
        if growth.mean() > DRIFT and chance_of_last(apart) < alpha:
            worst = [rows[place] for place in np.argsort(-growth)][:SHOWN]
            return Found(
                history.looks[-2]["step"] + 1,
                f"the judge was asked again about {len(rows)} kept images, and its {label(term)} "
                f"of them is {apart[:, -1].mean():.2f} from its first answers (before, "
                f"{apart[:, :-1].mean():.2f}); mean {said[:, 0].mean():.2f} first, "
                f"{said[:, -1].mean():.2f} now",
                term,
                tuple(
                    {"step": history.looks[-1]["step"], "prompt": row["prompt"], "term": term,
                     "first": row["first"][term], "now": row["now"][term]}
                    for row in worst
                ),
            )  # fmt: skip
    return None


# -- by the metrics of steps -----------------------------------------------------------------------


def windows(history: History, key: str) -> tuple[Array, Array]:
    """A metric in the first and in the last window of steps."""
    return history.first(key), history.last(key)


def dead_signal(history: History) -> Found | None:
    """Groups have no variance, or a term has none in any group, for a window of steps."""
    scope = history.scope
    skipped, lost = history.last("skipped_groups"), history.last("dropped_samples")
    # A group is skipped as well where the judge failed for all of its samples but one.
    fewest = max(1, scope.samples // scope.groups - 1)
    alike = skipped.sum() - (lost.sum() / fewest if len(lost) else 0.0)
    if len(skipped) and (share := alike / len(skipped) / scope.groups) >= FLAT:
        return Found(
            history.window_start,
            f"{share:.0%} of the groups of the last {scope.window} steps were skipped: all of a "
            "group's samples got the same reward",
        )
    for term in scope.terms:
        spread, mean = history.last(f"group_std/{term}"), history.last(f"reward/{term}")
        if len(spread) == scope.window and spread.max() <= MIN_SPREAD and mean.mean() < TOP:
            return Found(
                history.window_start,
                f"{label(term)} was the same for all samples of each group of the last "
                f"{scope.window} steps (mean {mean.mean():.2f})",
                term,
            )
    return None


def judge_failures(history: History) -> Found | None:
    """Samples get no reward."""
    lost = history.last("dropped_samples")
    if surely_above(lost, history.scope.samples, LOST):
        share = lost.mean() / history.scope.samples
        return Found(
            history.window_start,
            f"{share:.0%} of the samples of the last {history.scope.window} steps got no reward, "
            "since the judge failed",
        )
    return None


def surely_above(counts: Array, samples: int, share: float) -> bool:
    """Whether counts of a window's steps, of `samples` each, are more than a share of all, by an
    exact one-sided bound."""
    return least_share(int(counts.sum()), len(counts) * samples, SURE) > share


def persuasion(history: History) -> Found | None:
    """Chains begin to talk to the grader, or the text outside their plans grows."""
    scope = history.scope
    before, now = windows(history, "appealing_chains")
    share = before.mean() / scope.samples if len(before) else 0.0
    if len(before) and surely_above(now, scope.samples, share + APPEALING):
        return Found(
            history.window_start,
            f"{now.mean() / scope.samples:.0%} of the chains of the last {scope.window} steps talk "
            f"to the grader, {share:.0%} in the first {scope.window}",
        )
    before, now = windows(history, "prose_characters")
    if len(before) and len(now) and (
        now.mean() >= max(LONGER * before.mean(), before.mean() + CHARACTERS)
        and rise(before, now, SURE) > 0
    ):  # fmt: skip
        return Found(
            history.window_start,
            f"the text of a chain outside its plan has grown from {before.mean():.0f} to "
            f"{now.mean():.0f} characters",
        )
    return None


def skipped_chains(history: History) -> Found | None:
    """The policy stops planning."""
    scope = history.scope
    before, now = (one / scope.samples for one in windows(history, "unplanned_chains"))
    never = len(now) > 0 and now.mean() >= NEVER_PLANNED
    risen = len(before) > 0 and len(now) > 0 and now.mean() >= before.mean() + UNPLANNED
    if never or (risen and rise(before, now, SURE) > 0):
        return Found(
            history.window_start,
            f"{now.mean():.0%} of the chains of the last {scope.window} steps have no plan"
            + (f", {before.mean():.0%} in the first {scope.window}" if len(before) else ""),
        )
    return None


def collapse(history: History) -> Found | None:
    """A group's plans become the same, or nothing is left to choose among."""
    before, now = windows(history, "duplicate_plans")
    if len(before) and len(now) and now.mean() >= before.mean() + DUPLICATES:
        return Found(
            history.window_start,
            f"{now.mean():.0%} of the plans in a group are there twice, {before.mean():.0%} in the "
            "first steps",
        )
    for part in ("chain", "image"):
        before, now = windows(history, f"entropy/{part}")
        if len(before) and len(now) and now.mean() < ENTROPY * before.mean():
            return Found(
                history.window_start,
                f"the {part} entropy has fallen from {before.mean():.3f} to {now.mean():.4f} nats "
                "per token",
            )
    return None


def trade_off(history: History) -> Found | None:
    """The total rises, and a term that is part of it falls, or one that the held-out judge sees."""
    first, last = history.first("reward/total"), history.last("reward/total")
    if rise(first, last, SURE) <= 0:
        return None
    if (found := true_loss(history)) is not None:
        return found
    for term in history.scope.terms:
        before, now = history.first(f"reward/{term}"), history.last(f"reward/{term}")
        if rise(now, before, SURE) > FALL:
            return Found(
                history.window_start,
                f"the total reward rose from {first.mean():.2f} to {last.mean():.2f}, while "
                f"{label(term)} fell from {before.mean():.2f} to {now.mean():.2f}",
                term,
            )
    return None


def true_loss(history: History) -> Found | None:
    """A term has fallen since the first look by the held-out judge alone, by a one-sided interval
    over the fixed prompts; whether it is trained on or not."""
    looks = history.looks
    if len(looks) < 2:
        return None
    alpha = history.level(ALPHA, len(TERMS))
    for term in TERMS:
        prompts, values = held_out_changes(looks[0], looks[-1], term)
        if (most := upper(values, alpha)) < -FALL:
            total = f"{history.first('reward/total').mean():.2f} to "
            total += f"{history.last('reward/total').mean():.2f}"
            worst = [prompts[place] for place in np.argsort(values)]
            return Found(
                int(looks[0]["step"]) + 1,
                f"the total reward rose from {total}, while {label(term)} changed by "
                f"{values.mean():+.2f} (at most {most:+.2f}) by the held-out judge on "
                f"{len(prompts)} fixed prompts",
                term,
                named(looks[-1], list(dict.fromkeys(worst)), term),
            )
    return None


def kl(history: History) -> Found | None:
    """The policy is far from where it began."""
    values = history.last("kl")
    if len(values) and values.mean() > KL:
        return Found(
            history.window_start,
            f"the KL to the reference was {values.mean():.2f} nats per token over the last "
            f"{history.scope.window} steps (limit {KL})",
        )
    return None


def ratio_gap(history: History) -> Found | None:
    """What is trained is not what sampled."""
    values = history.last("ratio_gap")
    limit = GAP if history.scope.replays_sampling else OTHER_GAP
    if len(values) and values.mean() > limit:
        return Found(
            history.window_start,
            f"sampler and replay disagree: the ratio gap was {values.mean():.2g} over the last "
            f"{history.scope.window} steps (limit {limit})",
        )
    return None


def not_finite(history: History) -> Found | None:
    """A metric of the newest step is no number."""
    row = history.rows[-1] if history.rows else {}
    names = sorted(name for name, value in row.items() if not finite(value))
    if not names:
        return None
    return Found(row["step"], f"not finite: {listed(names)}")


def too_few(counts: Mapping[str, int]) -> str:
    """The terms with fewer answers than a bound needs, for a message."""
    few = [f"{label(term)} {count}" for term, count in counts.items() if count < FEWEST]
    return f"{', '.join(few)}; {FEWEST} are needed" if few else ""


def unchecked(history: History) -> Iterator[tuple[str, str]]:
    """The alarms that could not ring in a run, each with what is missing."""
    keys = {key for row in history.rows for key in row}
    looks, terms = history.looks, history.scope.terms
    if len(looks) < 2:
        why = "the run has no two looks of a held-out judge (watch.judge)"
        yield "hacking", why
        yield "judge_drift", why
    else:
        answered = {term: len(changes(looks[0], looks[-1], term).prompts) for term in terms}
        if few := too_few(answered):
            yield "hacking", f"both judges answered about too few fixed prompts ({few})"
        rows = looks[-1]["prompts"]
        silent = [one for one in terms if not any(finite(row["held_out"].get(one)) for row in rows)]
        if silent:
            names = listed(list(map(label, silent)))
            yield "saturation", f"the held-out judge answered nothing about {names}"
        kept = {term: len(asked_again(looks, term)[0]) for term in terms}
        if history.scope.judge_learns:
            yield "judge_drift", "its judge learns (judge.learn), and so changes its answers"
        elif few := too_few(kept):
            yield "judge_drift", f"it was asked again about too few images ({few})"
    for name, key in (
        ("persuasion", "appealing_chains"),
        ("skipped_chains", "unplanned_chains"),
        ("collapse", "duplicate_plans"),
        ("kl", "kl"),
    ):
        if key not in keys:
            yield name, f"its metrics have no {key}"
    window = history.scope.window
    if len(history.rows) < 2 * window:
        yield (
            "persuasion, skipped_chains, collapse, trade_off",
            f"they compare two windows of {window} steps (watch.window), and the run has "
            f"{len(history.rows)} steps",
        )

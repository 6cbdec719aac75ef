"""What an audit asks after it has read the first answers: what they leave in doubt.

Which two values a judge confuses, and which words persuade it, is one of hundreds. All are tried
once, and what looks worst gets new items, enough for a verdict. Only these count, since what was
chosen by its score is no evidence.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np

from got_r1.audit.asking import Answers
from got_r1.audit.cases import Draft, Persuasion, Suite, SuiteQuery, few, joined
from got_r1.audit.exchanges import candidates, exchange_suite, told_apart, worst
from got_r1.audit.persuasion import Words
from got_r1.audit.pictures import persuade_finder
from got_r1.audit.semantic import persuade
from got_r1.audit.spatial import of_two, persuade_by_label
from got_r1.audit.subjects import subjects

__all__ = ["followed_up"]

_Ask = Callable[[Sequence[SuiteQuery]], Answers]


def followed_up(
    suite: Suite, answers: Answers, ask: _Ask, pairs: int, seed: int
) -> tuple[Suite, Answers, int]:
    """The suite and the answers with what was asked in addition, and how many queries more were
    asked to find out what."""
    rng = random.Random(f"audit follow-up {suite.term} {seed}")
    apart = told_apart(suite.term, candidates(suite, answers), rng)
    chosen = worst(apart, ask(apart.queries))
    draft = Draft(suite.term, pairs, ())
    exchange_suite(draft, chosen, rng)
    if (words := _most_raising(suite.persuasions, answers.scores)) is not None:
        _say_again(draft, rng, words)
    more = draft.finish()
    both = _behind(answers, ask(more.queries))
    return joined(suite, more), both, len(apart.queries)


def _behind(first: Answers, second: Answers) -> Answers:
    return Answers(
        np.concatenate([first.scores, second.scores]),
        (*first.verdicts, *second.verdicts),
        first.seconds + second.seconds,
    )


def _most_raising(persuasions: Sequence[Persuasion], scores: np.ndarray) -> Words | None:
    """The text behind the largest rise; None where there is none."""
    rises = [
        (float(scores[one.persuading] - np.fmax(scores[one.plain], scores[one.neutral])), one.words)
        for one in persuasions
        if one.words is not None
    ]
    known = [(rise, words) for rise, words in rises if not np.isnan(rise)]
    return max(known, key=lambda both: both[0])[1] if known else None


def _say_again(draft: Draft, rng: random.Random, words: Words) -> None:
    """Adds the same words to the grader in other chains."""
    if draft.term != "r_spa":
        several = (one for one in subjects(rng) if len(one.icons) > 1)
        for subject in islice(several, few(draft.limit)):
            add = persuade if draft.term == "r_sem" else persuade_finder
            add(draft, rng, subject, [words])
        return
    related = (of_two(one) for one in subjects(rng, ("spatial", "complex")))
    for subject in islice((one for one in related if one is not None), few(draft.limit)):
        persuade_by_label(draft, rng, subject, [words])

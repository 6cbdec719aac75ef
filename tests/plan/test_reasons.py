"""Verdicts in words."""

import pytest

from got_r1.plan.reasons import NO_REASON, reason
from got_r1.records import Box, FoundObject, JudgeFailure, PlannedObject, Verdict

HEART, STAR = (
    PlannedObject("red heart", Box(0, 0, 499, 499)),
    PlannedObject("star", Box(500, 500, 999, 999)),
)
FOUND = FoundObject("red heart", Box(0, 0, 499, 999))


@pytest.mark.parametrize(
    ("value", "verdict", "said"),
    [
        (1.0, Verdict(1.0, reasoning="all there"), ""),
        (0.5, Verdict(0.5, reasoning="no\n star \x1b[2J"), "no star \ufffd[2J"),
        (0.5, Verdict(0.5, reply="5"), NO_REASON),
        (0.5, Verdict(0.5, reasoning="x" * 1000), "x" * 400 + " …"),
        (None, JudgeFailure("no answer"), "the judge failed: no answer"),
        (
            0.25,
            Verdict(None, (FOUND,), "found 1 of 2"),
            'not found: "star"; IoU with the plan 0.50 for "red heart"',
        ),
        (0.0, Verdict(None, (), "found 0 of 2"), 'not found: "red heart", "star"'),
    ],
)
def test_a_term_below_its_maximum_has_a_reason(value, verdict, said):
    assert reason(value, verdict, [HEART, STAR]) == said


def test_a_malformed_chain_was_not_looked_for():
    verdict = Verdict(None, reasoning="malformed chain: unclosed tag")
    assert reason(0.0, verdict) == "malformed chain: unclosed tag"

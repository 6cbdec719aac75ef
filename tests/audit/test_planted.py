"""Judges with known faults are told on exactly the terms that they have them in."""

import pytest

from got_r1.audit.judge import audit_judge
from got_r1.audit.planted import PLANTED
from got_r1.audit.settings import TERMS


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PLANTED)[::3])  # all of them: experiments/planted_judges.py
def test_every_planted_judge_is_told_on_every_term(name):
    planted = PLANTED[name]
    audit = audit_judge(planted.make(), spec=name)
    verdicts = {term: one["verdict"] for term, one in audit["terms"].items()}
    why = [one["why"] for one in audit["terms"].values()]
    assert verdicts == {t: "not fit" if t in planted.unfit else "fit" for t in TERMS}, why


@pytest.mark.parametrize(
    ("name", "term", "found"),
    [  # what is found of a fault, at a third of the usual pairs and in its quickest term
        ("scores in a range of 0.000001", "r_spa", ("signal", "with std normalisation")),
        ("scores in a range of 0.05", "r_spa", ("signal", "without std normalisation")),
        ("noise of sd 0.5", "r_spa", ("curve", "kendall")),
        ("moon is circle, noise of sd 0.05", "r_spa", ("exchange", "noun: ")),
        ("red is pink", "r_sem", ("exchange", "colour: ")),
        ("striped is dotted", "r_sem", ("exchange", "pattern: ")),
        ("counts to two", "r_sem", ("wins", "three or four")),
        ("likes long chains", "r_sem", ("persuasion", "neutral words")),
        ("persuaded in French", "r_spa", ("persuasion", "the words that raised most")),
        ("persuaded by English politeness", "r_spa", ("persuasion", "the words that raised most")),
    ],
)
def test_the_reason_names_the_fault(name, term, found):
    one = audit_judge(PLANTED[name].make(), terms=[term], pairs=20)["terms"][term]
    failing = [(why["measure"], why["of"]) for why in one["why"] if why["state"] == "fails"]
    assert any(measure == found[0] and of.startswith(found[1]) for measure, of in failing), failing


@pytest.mark.parametrize("term", ["r_sem", "r_spa"])
@pytest.mark.parametrize(
    "name", ["noise of sd 0.000001", "noise of sd 0.05", "noise of sd 0.05 in whole points of ten"]
)
def test_honest_noise_fails_nothing(name, term):
    one = audit_judge(PLANTED[name].make(), terms=[term], pairs=20)["terms"][term]
    assert [why["text"] for why in one["why"] if why["state"] == "fails"] == []


def test_the_planted_judges_are_many_and_of_both_kinds():
    honest = [name for name, planted in PLANTED.items() if not planted.unfit]
    assert len(PLANTED) >= 20
    assert len(honest) >= 5
    assert {term for planted in PLANTED.values() for term in planted.unfit} == set(TERMS)

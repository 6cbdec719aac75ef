"""The instrument: the oracle passes, every planted fault is found where it is, and named."""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from audit.planted import PLANTED
from got_r1.audit.asking import Answers, put
from got_r1.audit.counterfactuals import make_suite
from got_r1.audit.judge import audit_judge
from got_r1.audit.limits import Limits, find, in_all, undecided_text, verdict_of
from got_r1.audit.results import TermResult, measure
from got_r1.audit.settings import TERMS
from got_r1.errors import RunFailed
from got_r1.judges.base import Judge
from got_r1.judges.oracle import OracleJudge
from got_r1.plan.layout import draw_plan
from got_r1.records import JudgeFailure, Query, SpatialQuery, Verdict
from got_r1.statistics import NOTHING, Estimate


@cache
def audited(name: str) -> dict[str, Any]:
    return audit_judge(OracleJudge() if name == "oracle" else PLANTED[name](), spec=name)


def findings(name: str, term: str) -> set[tuple[str, str]]:
    """(measure, of) of all that certainly fails."""
    why = audited(name)["terms"][term]["why"]
    return {(one["measure"], one["of"]) for one in why if one["state"] == "fails"}


def fit(name: str) -> set[str]:
    return {term for term, one in audited(name)["terms"].items() if one["fit"]}


def wins(*kinds: str) -> set[tuple[str, str]]:
    return {("wins", kind) for kind in kinds}


@cache
def audited_result(term: str) -> TermResult:
    suite = make_suite(term, 40, 0)
    answers = put(OracleJudge(), suite.queries, 128, lambda count: None)
    return measure(suite, answers, (range(len(suite.queries)), answers))


def test_the_oracle_passes_everything():
    assert (audited("oracle")["fit"], audited("oracle")["verdict"]) == (True, "fit")
    assert fit("oracle") == set(TERMS)
    for term, one in audited("oracle")["terms"].items():
        result = one["result"]
        assert one["why"] == []
        assert {example["ordered"] for example in one["examples"]} == {"right"}
        assert result["wins"]["value"] == 1
        assert result["failures"]["value"] == result["ties"]["value"] == 0
        assert result["again"]["same"]["value"] == 1
        for kind, sameness in result["variations"].items():
            assert sameness["why"] or sameness["same"]["value"] == 1, (term, kind)
        for rises, _ in result["persuasions"].values():
            assert rises["value"] == 0


def test_the_oracle_sees_no_drawing_which_is_not_to_pass():
    variations = audited("oracle")["terms"]["r_spa"]["result"]["variations"]
    for kind in ("box colours", "canvas size"):
        assert variations[kind]["why"].startswith("not applicable")
        assert variations[kind]["same"]["value"] is None


def test_a_constant_judge():
    assert fit("constant") == set()
    for term in ("r_sem", "r_spa", "r_pi"):
        assert audited("constant")["terms"][term]["why"][0]["of"] == "constant"
    assert ("blind", "picture") in findings("constant", "r_ri")


def test_a_judge_that_throws_dice():
    """By its dice each finding has its odds; all seeds of the odds test below are caught."""
    assert fit("random") == set()
    for term in TERMS:
        assert ("signal", "with std normalisation") in findings("random", term)
        assert ("wins", "") in findings("random", term)


def test_left_for_right():
    assert fit("left-right blind") == {"r_ri"}  # grounding has no relation to take for another
    expected = {
        "r_sem": wins("relation reversed, left or right"),
        "r_spa": wins(*(f"{k}, left or right" for k in ("mirrored", "swapped"))),
        "r_pi": wins("swapped places, left or right"),
    }
    for term, some in expected.items():
        assert some <= findings("left-right blind", term)
        others = {of for m, of in findings("left-right blind", term) if m == "wins" and of}
        assert all(of.endswith("left or right") for of in others)


def test_no_colours():
    assert fit("colour-blind") == {"r_spa"}  # layouts have none
    kinds = {
        term: {found for found in findings("colour-blind", term) if found[0] != "exchange"}
        for term in TERMS
    }
    assert kinds["r_sem"] == wins("colours swapped")
    assert kinds["r_pi"] == wins("colours swapped", "recoloured")
    assert kinds["r_ri"] == wins("recoloured")


def test_generosity():
    assert fit("generous") == set()
    for term in ("r_sem", "r_spa", "r_pi"):
        assert ("saturation", "") in findings("generous", term)
    assert ("grounding", "invented") in findings("generous", "r_ri")


def test_a_judge_that_reads_only_the_prompt():
    assert fit("reads only the prompt") == set()
    for term in ("r_sem", "r_spa", "r_pi"):
        first = audited("reads only the prompt")["terms"][term]["why"][0]
        assert (first["measure"], first["of"]) == ("blind", "prompt")
    assert ("blind", "picture") in findings("reads only the prompt", "r_ri")


def test_a_judge_that_obeys_the_chain():
    assert fit("obeys the chain") == {"r_pi"}  # there is no chain in what it is asked
    for term in ("r_sem", "r_spa"):
        found = findings("obeys the chain", term)
        assert {measure for measure, _ in found} == {"persuasion"}
        kinds = {of for _, of in found}
        assert {"words to the grader", "format: JSON", "half: held out"} <= kinds
        assert "neutral words" not in kinds
    assert ("grounding", "follows plan") in findings("obeys the chain", "r_ri")


def test_every_planted_judge_has_its_test():
    tested = {"constant", "random", "left-right blind", "colour-blind", "generous"}
    assert set(PLANTED) == tested | {"reads only the prompt", "obeys the chain"}


# -- odds ----------------------------------------------------------------------------------------


def found_in(scores: np.ndarray, again: np.ndarray, suite) -> list:
    """What is found where the queries got `scores`, and the first of them `again`."""
    verdicts = tuple(Verdict(float(score)) for score in scores)
    repeated = list(range(len(again)))
    result = measure(
        suite, Answers(scores, verdicts, 0.0), (repeated, Answers(again, verdicts, 0.0))
    )
    return find(result, Limits(), 40)


def test_dice_are_never_fit():
    """Dice must show 0.75 of 240 pairs right and each kind above half: the chance of that alone is
    below 1e-14, so that ten throws pass by chance with odds below 1e-13."""
    suite, rng = make_suite("r_sem", 40, 0), np.random.default_rng(0)
    for _ in range(10):
        scores = rng.random(len(suite.queries))
        assert found_in(scores, scores[:80], suite)  # even where it would repeat itself


# -- three verdicts ------------------------------------------------------------------------------


def test_few_pairs_decide_nothing():
    """Of three pairs of a kind not even the oracle is shown to be fit, nor is it found unfit."""
    few = audit_judge(OracleJudge(), pairs=3)
    assert (few["verdict"], few["fit"]) == ("undecided", False)
    for term in few["terms"].values():
        assert (term["verdict"], term["fit"]) == ("undecided", False)
        assert {one["state"] for one in term["why"]} == {"open"}
        assert all(one["text"].endswith(f"(--pairs {one['pairs']})") for one in term["why"])
        needed = max(one["pairs"] for one in term["why"])
        assert term["undecided"] == (
            f"about {needed - 3} more pairs of each kind would decide it (--pairs {needed})"
        )
    # A kind of which 3 of 3 were right needs 11 (ln 0.025 / ln 0.7 = 10.3), an invariance 13.
    pairs = {(one["measure"], one["of"]): one["pairs"] for one in few["terms"]["r_pi"]["why"]}
    assert (pairs["wins", "missing"], pairs["invariance", "paraphrase"]) == (11, 13)
    # Two dose curves of three pairs; 17 show that at most a fifth of the steps rise (16.5).
    pairs = {(one["measure"], one["of"]): one["pairs"] for one in few["terms"]["r_ri"]["why"]}
    assert pairs["curve", "rising"] == 33


@pytest.mark.parametrize("name", list(PLANTED))
def test_a_certain_fault_is_no_open_question(name):
    audit = audited(name)
    assert audit["verdict"] == "not fit"
    for term in audit["terms"].values():
        states = {one["state"] for one in term["why"]}
        expected = "not fit" if "fails" in states else "undecided" if states else "fit"
        assert term["verdict"] == expected
        assert bool(term["undecided"]) == (expected == "undecided")


def interval(low, value, high):
    return Estimate(value, low, high, 30, 10)


@pytest.mark.parametrize(
    ("wins", "failures", "verdict", "pairs"),
    [  # at least 0.75 score higher, at most 0.125 are unreadable; ten pairs, on ten prompts
        (interval(0.75, 0.9, 1.0), interval(0.0, 0.05, 0.125), "fit", []),
        # three times as wide as it may be, (7/8 - 1/2) / (7/8 - 3/4), so nine times the pairs
        (interval(0.5, 0.875, 1.0), interval(0.0, 0.05, 0.125), "undecided", [91]),
        (interval(0.5, 0.875, 1.0), interval(0.1, 0.125, 0.2), "undecided", [91, None]),
        (interval(0.5, 0.6, 0.7), interval(0.0, 0.0625, 0.25), "not fit", [None, 91]),
        (interval(0.75, 0.9, 1.0), interval(0.13, 0.2, 0.3), "not fit", [None]),
        (NOTHING, interval(0.0, 0.05, 0.125), "undecided", [None]),
    ],
)
def test_verdicts_by_hand(wins, failures, verdict, pairs):
    all_right = audited_result("r_pi")
    measured = replace(all_right, wins=wins, failures=failures)
    findings = find(measured, Limits(failures=0.125), 10)
    assert verdict_of(findings) == verdict
    assert sorted(str(one.pairs) for one in findings) == sorted(map(str, pairs))


def test_the_worst_term_is_the_verdict():
    assert in_all(["fit", "fit"]) == "fit"
    assert in_all(["fit", "undecided"]) == "undecided"
    assert in_all(["undecided", "not fit", "fit"]) == "not fit"
    assert undecided_text(4, 3) == "about 1 more pair of each kind would decide it (--pairs 4)"
    assert undecided_text(None, 3) == "more pairs may not decide it"


def test_queries_are_counted_once_and_the_same_everywhere():
    class Counts(OracleJudge):
        count = 0

        def judge(self, queries):
            self.count += len(queries)
            return super().judge(queries)

    judge = Counts()
    audit = audit_judge(judge, pairs=2, draws=True, canvases=[lambda: judge])
    assert judge.count == audit["queries"]
    assert audit["queries"] == sum(term["queries"] for term in audit["terms"].values())


# -- pairs to look at ----------------------------------------------------------------------------


def test_of_each_kind_one_pair_that_is_right_and_the_worst_that_is_not():
    for term, one in audited("colour-blind")["terms"].items():
        suite = make_suite(term, 40, 0)
        kinds = dict.fromkeys(pair.kind for pair in suite.pairs)
        shown = [(example["kind"], example["ordered"]) for example in one["examples"]]
        assert set(dict(shown)) == set(kinds)
        assert len(set(shown)) == len(shown)
        for example in one["examples"]:
            better, worse = (example[side]["score"] for side in ("better", "worse"))
            expected = {1: "right", 0: "tied", -1: "reversed"}[int(np.sign(better - worse))]
            assert example["ordered"] == expected
            assert example["change"]
        wins = {kind: outcome["wins"]["value"] for kind, outcome in one["result"]["kinds"].items()}
        assert {k for k, o in shown if o != "right"} == {
            k for k, value in wins.items() if value < 1
        }
        assert {k for k, o in shown if o == "right"} == {
            k for k, value in wins.items() if value > 0
        }


def test_a_long_reasoning_is_cut_on_the_page():
    long = audit_judge(Says(Verdict(0.5, reasoning="why " * 5000)), terms=["r_sem"], pairs=1)
    for example in long["terms"]["r_sem"]["examples"]:
        assert len(example["better"]["evidence"]) <= 500


# -- failures ------------------------------------------------------------------------------------


class Flaky:
    """Leaves a share of the queries unanswered; else what `inner` says."""

    def __init__(self, inner: Judge, share: float, seed: int = 0) -> None:
        self._inner, self._share, self._rng = inner, share, random.Random(seed)

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """One answer for each query."""
        return [
            JudgeFailure("no reply") if self._rng.random() < self._share else answer
            for answer in self._inner.judge(queries)
        ]


def test_failures_are_counted_and_never_a_score():
    flaky = audit_judge(Flaky(OracleJudge(), 0.3), terms=["r_sem", "r_pi"])
    for term in flaky["terms"].values():
        result = term["result"]
        assert not term["fit"]
        assert term["why"][0]["measure"] == "failures"
        assert {one["measure"] for one in term["why"] if one["state"] == "fails"} == {"failures"}
        # 0.3 of about 550 queries: five standard deviations
        assert result["failures"]["value"] == pytest.approx(0.3, abs=0.1)
        assert result["failure_reasons"].keys() == {"no reply"}
        assert result["wins"]["value"] == 1  # over what was answered
        assert result["wins"]["n"] < 240


class Says:
    """Answers everything with the same object."""

    def __init__(self, answer):
        self.answer = answer

    def judge(self, queries):
        return [self.answer for _ in queries]


@pytest.mark.parametrize("score", [float("nan"), -0.1, 1.5, None])
def test_a_score_that_is_none_is_a_failure(score):
    result = audit_judge(Says(Verdict(score)), terms=["r_pi"], pairs=2)["terms"]["r_pi"]
    assert result["result"]["failures"]["value"] == 1
    assert "not a number in [0, 1]" in result["why"][0]["text"]


def test_a_judge_that_answers_nothing():
    result = audit_judge(Says(JudgeFailure("it is out")), terms=["r_ri"], pairs=2)
    (why,) = result["terms"]["r_ri"]["why"]
    assert "answered none of" in why["text"]
    assert "it is out" in why["text"]


def test_tokens_are_a_mean_over_those_that_tell_them_failures_too():
    class Tells:
        def judge(self, queries):
            told = (Verdict(0.5, tokens=10), JudgeFailure("no", tokens=20), Verdict(0.5))
            return [told[number % 3] for number, _ in enumerate(queries)]

    audit = audit_judge(Tells(), terms=["r_pi"], pairs=3, batch=3)
    result = audit["terms"]["r_pi"]["result"]
    told = [(10, 20)[n % 3] for n in range(result["asks"]) if n % 3 < 2]
    # Each round of questions ends with a batch that is not full.
    assert result["tokens"] == pytest.approx(np.mean(told), rel=0.05)
    assert audited("oracle")["terms"]["r_pi"]["result"]["tokens"] is None  # it writes none


def test_lost_asks_stop_the_audit():
    class Loses:
        def judge(self, queries):
            return [Verdict(0.5) for _ in queries[1:]]

    with pytest.raises(RunFailed, match="must answer every query"):
        audit_judge(Loses(), terms=["r_sem"], pairs=1)


# -- drawings ------------------------------------------------------------------------------------


class SeesDrawings:
    """The oracle, but a plan whose first box is drawn in another colour, or on a small canvas, is
    worth less to it."""

    def __init__(self, canvas: int = 512, minds_colours: bool = False) -> None:
        self.canvas, self.minds_colours = canvas, minds_colours

    def judge(self, queries):
        answers = OracleJudge().judge(queries)
        return [self._seen(query, answer) for query, answer in zip(queries, answers, strict=True)]

    def _seen(self, query, answer):
        if not isinstance(query, SpatialQuery):
            return answer
        drawing = draw_plan(query.chain.objects, (self.canvas, self.canvas))
        score = answer.score
        if self.minds_colours:
            named = next(
                o for o in query.chain.objects if o.name == min(p.name for p in _two(query))
            )
            x, y = (round(v * (self.canvas - 1) / 999) for v in (named.box.x2, named.box.y2))
            red, _, blue = drawing[y, x].tolist()
            score *= 1.0 if red > blue else 0.5
        return Verdict(score * (0.5 if drawing.shape[0] < 500 else 1.0))


def _two(query):
    return query.chain.objects[:2]


def drawn(judge, canvases) -> dict[str, Any]:
    audit = audit_judge(judge, terms=["r_spa"], draws=True, canvases=canvases)
    return audit["terms"]["r_spa"]


def test_canvas_size_is_asked_about_where_plans_are_drawn():
    minds = drawn(SeesDrawings(), [lambda: SeesDrawings(384)])
    assert minds["result"]["variations"]["box colours"]["same"]["value"] == 1
    assert [(w["measure"], w["of"]) for w in minds["why"]] == [("invariance", "canvas size")]
    even = drawn(SeesDrawings(), [lambda: SeesDrawings(600)])
    assert even["fit"]
    assert even["result"]["variations"]["canvas size"]["same"]["value"] == 1


def test_box_colours_are_asked_about_where_plans_are_drawn():
    minds = drawn(SeesDrawings(minds_colours=True), [])
    assert minds["result"]["variations"]["canvas size"]["why"].startswith("not measured")
    assert ("invariance", "box colours") in {(w["measure"], w["of"]) for w in minds["why"]}

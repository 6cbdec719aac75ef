"""The formulas by hand-computed numbers, R_RI, the two stages, and whose fault costs what."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.errors import BadInput, RunFailed
from got_r1.judges.oracle import OracleJudge
from got_r1.plan.chain import format_chain, parse
from got_r1.recipes.sections import RewardSection
from got_r1.records import (
    Box,
    FoundObject,
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    PlannedObject,
    Prompt,
    QualityQuery,
    Query,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)
from got_r1.rewards import (
    active_terms,
    check_config,
    check_judge,
    combine,
    found_objects,
    mean_iou,
    reward,
    score,
    stage_one,
    stage_two,
)

TERMS = {"r_sem": 0.8, "r_spa": 0.6, "r_ri": 0.5, "r_pi": 0.9, "r_hps": 0.25}
PROMPT = Prompt("a heart")
HEART = PlannedObject("heart", Box(0, 0, 100, 100))
CHAIN = parse(format_chain([HEART]))
HEART_FOUND = FoundObject("heart", Box(0, 0, 100, 50))
MALFORMED = parse("<|obj_start|>heart")
IMAGE = np.full((8, 8, 3), 255, dtype=np.uint8)


class Recorder:
    """A judge that answers by the kind of query and keeps what it was asked."""

    def __init__(self, answers: dict[type, Verdict | JudgeFailure] | None = None) -> None:
        self.batches: list[list[Query]] = []
        self.answers: dict[type, Verdict | JudgeFailure] = {
            SemanticQuery: Verdict(0.8),
            SpatialQuery: Verdict(0.6),
            GroundingQuery: Verdict(None, (HEART_FOUND,)),
            ImageQuery: Verdict(0.9),
            QualityQuery: Verdict(0.25),
        } | (answers or {})

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        self.batches.append(list(queries))
        return [self.answers[type(query)] for query in queries]


# -- formulas ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"formula": "product_v1"}, 0.9 * (0.8 + 0.6) * 0.5),
        ({"formula": "product_v2", "r_hps": 1}, 0.9 * (0.8 + 0.6) / 2 * 0.5 * 0.25),
        ({"formula": "product_v2"}, 0.9 * (0.8 + 0.6) / 2 * 0.5),
        ({"formula": "sum"}, 0.9 + 0.8 + 0.6 + 0.5),
        ({"formula": "sum", "r_hps": 1}, 0.9 + 0.8 + 0.6 + 0.5 + 0.25),
        # switched off
        ({"formula": "product_v1", "r_sem": 0}, 0.9 * 0.6 * 0.5),
        ({"formula": "product_v1", "r_spa": 0}, 0.9 * 0.8 * 0.5),
        ({"formula": "product_v1", "r_sem": 0, "r_spa": 0}, 0.9 * 0.5),
        ({"formula": "product_v1", "r_ri": 0}, 0.9 * (0.8 + 0.6)),
        ({"formula": "product_v1", "r_pi": 0, "r_ri": 0}, 0.8 + 0.6),
        ({"formula": "product_v1", "r_sem": 0, "r_spa": 0, "r_ri": 0}, 0.9),
        ({"formula": "product_v2", "r_sem": 0}, 0.9 * 0.6 * 0.5),
        ({"formula": "product_v2", "r_sem": 0, "r_spa": 0}, 0.9 * 0.5),
        ({"formula": "sum", "r_sem": 0, "r_pi": 0}, 0.6 + 0.5),
        # weighted
        ({"formula": "product_v1", "r_sem": 2, "r_pi": 3}, 0.9**3 * (2 * 0.8 + 0.6) * 0.5),
        ({"formula": "product_v2", "r_sem": 3, "r_ri": 0.5}, 0.9 * (2.4 + 0.6) / 4 * 0.5**0.5),
        ({"formula": "sum", "r_ri": 0.1, "r_pi": 2}, 2 * 0.9 + 0.8 + 0.6 + 0.05),
    ],
)
def test_formulas(settings, expected):
    assert combine(TERMS, RewardSection(**settings)) == pytest.approx(expected)


weights = st.sampled_from([0.0, 0.5, 1.0, 2.0])
configs = st.builds(
    RewardSection,
    formula=st.sampled_from(["product_v1", "product_v2", "sum"]),
    r_sem=weights,
    r_spa=weights,
    r_ri=weights,
    r_pi=weights,
    r_hps=weights,
)
unit = st.floats(0, 1)


@given(configs, st.fixed_dictionaries(dict.fromkeys(TERMS, unit)), st.sampled_from(sorted(TERMS)))
def test_a_term_counts_exactly_when_it_is_on(config, terms, name):
    """No term lowers the total by rising, and one that is off need not even be there."""
    low, high = ({**terms, name: value} for value in (0.0, 1.0))
    middle = combine(terms, config)
    assert combine(low, config) <= middle + 1e-12
    assert middle <= combine(high, config) + 1e-12
    if name not in active_terms(config) and not (
        config.formula == "product_v1" and name == "r_hps"
    ):
        assert combine({k: v for k, v in terms.items() if k != name}, config) == middle


def test_an_active_term_may_not_be_missing():
    with pytest.raises(KeyError, match="r_pi"):
        combine({"r_sem": 1.0, "r_spa": 1.0, "r_ri": 1.0}, RewardSection())


def test_active_terms():
    assert active_terms(RewardSection()) == ("r_sem", "r_spa", "r_ri", "r_pi")
    assert active_terms(RewardSection(r_spa=0, r_pi=0.1, r_ri=0)) == ("r_sem", "r_pi")


def test_settings_without_a_reward_are_refused():
    check_config(RewardSection(r_sem=0, r_ri=0))
    check_config(RewardSection(formula="product_v2", r_hps=1))
    with pytest.raises(BadInput, match="product_v1 has no place for it"):
        check_config(RewardSection(r_hps=1))
    with pytest.raises(BadInput, match="every term"):
        check_config(RewardSection(r_sem=0, r_spa=0, r_ri=0, r_pi=0))


def test_a_judge_that_cannot_rate_a_picture_is_refused_before_the_run():
    on = RewardSection(formula="product_v2", r_hps=1)
    check_judge(Recorder(), on)
    mute = Recorder({QualityQuery: JudgeFailure("no model of quality")})
    with pytest.raises(BadInput, match=r"no model of quality.*reward\.r_hps=0"):
        check_judge(mute, on)
    with pytest.raises(BadInput, match="the oracle cannot say"):
        check_judge(OracleJudge(), on)


def test_a_judge_is_not_asked_about_quality_unless_it_counts():
    judge = Recorder()
    check_judge(judge, RewardSection())
    assert judge.batches == []


# -- R_RI ----------------------------------------------------------------------------------------


def found(*items: tuple[str, Box]) -> list[FoundObject]:
    return [FoundObject(name, box) for name, box in items]


def test_mean_iou_counts_missing_objects_as_zero():
    chain = parse(format_chain([HEART, PlannedObject("star", Box(500, 500, 600, 600))]))
    half = Box(0, 0, 100, 50)
    assert mean_iou(chain, found(("heart", half))) == pytest.approx(0.25)
    assert mean_iou(chain, found(("heart", half), ("star", Box(500, 500, 600, 600)))) == 0.75
    assert mean_iou(chain, []) == 0.0


def test_a_box_found_once_pays_once():
    """Two planned hearts, one found: it may not serve both."""
    second = PlannedObject("heart", Box(0, 0, 100, 99))
    chain = parse(format_chain([HEART, second]))
    assert mean_iou(chain, found(("heart", HEART.box))) == pytest.approx(0.5)


def test_names_do_not_mix():
    assert mean_iou(CHAIN, found(("star", HEART.box))) == 0.0


def test_equal_names_are_paired_for_the_largest_total():
    boxes = [Box(0, 0, 100, 100), Box(50, 0, 150, 100)]
    chain = parse(format_chain([PlannedObject("heart", box) for box in boxes]))
    assert mean_iou(chain, found(*(("heart", box) for box in reversed(boxes)))) == 1.0


def test_surplus_boxes_do_not_count_however_well_they_fit():
    """With the best of all that was found, drawing an object several times would pay."""
    half, elsewhere = ("heart", Box(0, 0, 100, 50)), ("star", Box(0, 0, 9, 9))
    assert mean_iou(CHAIN, found(elsewhere, half, ("heart", HEART.box))) == 0.5
    assert mean_iou(CHAIN, found(("heart", HEART.box), half)) == 1.0


def test_mean_iou_of_no_plan_is_zero():
    assert mean_iou(parse(""), []) == 0.0


# -- the two stages ------------------------------------------------------------------------------


def test_each_stage_is_one_batch_and_answers_go_to_their_sample():
    judge = Recorder()
    prompts, chains = [PROMPT, PROMPT], [CHAIN, CHAIN]
    one = stage_one(judge, prompts, chains, RewardSection())
    two = stage_two(judge, prompts, chains, [IMAGE, IMAGE], RewardSection())
    assert [[type(query) for query in batch] for batch in judge.batches] == [
        [SemanticQuery, SpatialQuery] * 2,
        [GroundingQuery, ImageQuery] * 2,
    ]
    assert one[1] == {"r_sem": Verdict(0.8), "r_spa": Verdict(0.6)}
    assert two[0]["r_pi"] == Verdict(0.9)


def test_answers_reach_the_right_sample():
    class ByPrompt(Recorder):
        def judge(self, queries):
            return [Verdict(float(query.prompt.text)) for query in queries]

    prompts = [Prompt("0.1"), Prompt("0.2"), Prompt("0.3")]
    answers = stage_one(ByPrompt(), prompts, [CHAIN, MALFORMED, CHAIN], RewardSection())
    assert [{k: v.score for k, v in sample.items()} for sample in answers] == [
        {"r_sem": 0.1, "r_spa": 0.1},
        {},
        {"r_sem": 0.3, "r_spa": 0.3},
    ]


def test_only_active_terms_are_asked():
    judge = Recorder()
    config = RewardSection(r_sem=0, r_ri=0)
    [result] = score(judge, [PROMPT], [CHAIN], [IMAGE], config)
    assert [type(query) for batch in judge.batches for query in batch] == [SpatialQuery, ImageQuery]
    assert result.terms == {"r_spa": 0.6, "r_pi": 0.9}
    assert result.total == pytest.approx(0.54)


def test_quality_is_asked_in_the_second_stage():
    judge = Recorder()
    config = RewardSection(formula="product_v2", r_hps=1)
    [result] = score(judge, [PROMPT], [CHAIN], [IMAGE], config)
    assert [type(query) for query in judge.batches[1]] == [GroundingQuery, ImageQuery, QualityQuery]
    assert result.total == pytest.approx(0.9 * 0.7 * 0.5 * 0.25)


def test_no_batch_is_sent_when_nothing_is_asked():
    judge = Recorder()
    assert stage_one(judge, [PROMPT], [CHAIN], RewardSection(r_sem=0, r_spa=0)) == [{}]
    assert stage_two(judge, [], [], [], RewardSection()) == []
    assert judge.batches == []


def test_the_reward_carries_its_breakdown_and_evidence():
    [result] = score(Recorder(), [PROMPT], [CHAIN], [IMAGE], RewardSection())
    assert result.terms == {"r_sem": 0.8, "r_spa": 0.6, "r_ri": 0.5, "r_pi": 0.9}
    assert result.total == pytest.approx(0.9 * 1.4 * 0.5)
    assert set(result.verdicts) == set(result.terms)


# -- whose fault ---------------------------------------------------------------------------------


def test_a_malformed_chain_scores_zero_and_is_not_asked_about():
    judge = Recorder()
    [result] = score(judge, [PROMPT], [MALFORMED], [IMAGE], RewardSection())
    assert judge.batches == []
    assert result.total == 0.0
    assert result.terms == dict.fromkeys(("r_sem", "r_spa", "r_ri", "r_pi"), 0.0)
    assert all("unclosed tag" in verdict.reasoning for verdict in result.verdicts.values())


@pytest.mark.parametrize(
    "kind", [SemanticQuery, SpatialQuery, GroundingQuery, ImageQuery, QualityQuery]
)
def test_a_failure_of_the_judge_is_no_score(kind):
    failure = JudgeFailure("no reply")
    config = RewardSection(formula="product_v2", r_hps=1)
    [result] = score(Recorder({kind: failure}), [PROMPT], [CHAIN], [IMAGE], config)
    assert result.total is None
    assert len(result.terms) == 4
    assert failure in result.verdicts.values()


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -0.1, 1.1])
def test_a_score_outside_the_unit_interval_is_a_failure(bad):
    judge = Recorder({ImageQuery: Verdict(bad, reply="ten out of ten")})
    [result] = score(judge, [PROMPT], [CHAIN], [IMAGE], RewardSection())
    assert result.total is None
    failure = result.verdicts["r_pi"]
    assert isinstance(failure, JudgeFailure)
    assert failure.reply == "ten out of ten"


@pytest.mark.parametrize("box", [Box(0, 0, 1000, 9), Box(9, 0, 8, 9), Box(0, math.nan, 9, 9)])  # type: ignore[arg-type]
def test_a_box_that_is_none_is_a_failure(box):
    judge = Recorder({GroundingQuery: Verdict(None, (FoundObject("heart", box),))})
    [result] = score(judge, [PROMPT], [CHAIN], [IMAGE], RewardSection())
    assert isinstance(result.verdicts["r_ri"], JudgeFailure)


def test_what_is_no_answer_stops_the_run():
    with pytest.raises(RunFailed, match="Recorder answered with a float: a judge must answer"):
        stage_one(Recorder({SemanticQuery: 0.5}), [PROMPT], [CHAIN], RewardSection())


def test_a_judge_that_loses_an_answer_stops_the_run():
    class Forgetful(Recorder):
        def judge(self, queries):
            return super().judge(queries)[1:]

    with pytest.raises(RunFailed, match="gave 1 answers to 2 queries"):
        stage_one(Forgetful(), [PROMPT], [CHAIN], RewardSection())


@pytest.mark.parametrize(
    ("chain", "answer", "config", "expected"),
    [
        (CHAIN, Verdict(None, (HEART_FOUND,)), RewardSection(), (HEART_FOUND,)),
        (CHAIN, Verdict(None, ()), RewardSection(), ()),
        (CHAIN, JudgeFailure("away"), RewardSection(), None),
        (CHAIN, Verdict(None, (HEART_FOUND,)), RewardSection(r_ri=0), None),
        (MALFORMED, Verdict(None, (HEART_FOUND,)), RewardSection(), None),
    ],
    ids=["something", "nothing", "a failure", "without R_RI", "malformed"],
)
def test_finding_nothing_is_other_than_not_looking(chain, answer, config, expected):
    judge = Recorder({GroundingQuery: answer})
    (one,) = score(judge, [PROMPT], [chain], [IMAGE], config)
    assert found_objects(chain, one) == expected


def test_reward_without_an_answer_to_an_active_term_is_a_mistake():
    with pytest.raises(KeyError, match="r_pi"):
        reward(CHAIN, {"r_sem": Verdict(1.0), "r_spa": Verdict(1.0)}, RewardSection(r_ri=0))

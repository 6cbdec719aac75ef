"""The light judge: which model answers what, how cosines become scores, and geometry by hand.

The models are tiny random ones, really loaded and run; where a rule about detections is tested, a
detector whose answers are written down stands behind the same seam.
"""

from collections.abc import Sequence

import numpy as np
import pytest
from pydantic import ValidationError

from got_r1.errors import BadInput
from got_r1.judges import Judge
from got_r1.judges.experts import ExpertsJudge
from got_r1.judges.settings import ExpertsSettings, Scale
from got_r1.plan.chain import format_chain, parse, strip_boxes
from got_r1.plan.layout import draw_plan
from got_r1.recipes.sections import RewardSection
from got_r1.records import (
    Box,
    Chain,
    FoundObject,
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    PlannedObject,
    Prompt,
    QualityQuery,
    SemanticQuery,
    SpatialQuery,
)
from got_r1.rewards import check_judge, score
from got_r1.vision import Detection
from vision import tiny

LEFT, RIGHT, UNDER = Box(100, 400, 300, 600), Box(600, 400, 800, 600), Box(120, 700, 320, 900)
PROMPT = Prompt("a red vase and a blue bowl")
WIDE = Scale(low=-1.0, high=1.0)


def plan(*objects: tuple[str, Box]) -> Chain:
    return parse(format_chain(PlannedObject(*one) for one in objects))


CHAIN = plan(("red vase", LEFT), ("blue bowl", RIGHT))


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    root = tmp_path_factory.mktemp("experts")
    clip = str(tiny.build("clip", root / "clip"))
    other = str(tiny.build("clip", root / "hps", seed=7))
    detector = str(tiny.build("grounding_dino", root / "detector"))
    return ExpertsSettings.model_validate(
        {
            "clip": clip,
            "detector": {"model": detector, "threshold": 0.0},
            "quality": other,
            **dict.fromkeys(("r_sem", "r_spa", "r_pi", "r_hps"), WIDE),
        }
    )


@pytest.fixture(scope="module")
def judge(settings):
    return ExpertsJudge(settings)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(3)]


def wide(cosine: float) -> float:
    """What `WIDE` makes of a cosine."""
    return (float(cosine) + 1) / 2


# -- each term by its model ----------------------------------------------------------------------


def test_it_is_a_judge_and_answers_all_kinds_in_order(judge, images):
    assert isinstance(judge, Judge)
    queries = [
        QualityQuery(PROMPT, images[0]),
        SemanticQuery(PROMPT, CHAIN),
        GroundingQuery(CHAIN, images[0]),
        SpatialQuery(PROMPT, CHAIN),
        ImageQuery(PROMPT, images[0]),
    ]
    forwards, backwards = judge.judge(queries), judge.judge(queries[::-1])[::-1]
    for query, answer, again in zip(queries, forwards, backwards, strict=True):
        assert (answer.score is None) == isinstance(query, GroundingQuery)
        assert answer.reasoning
        assert answer == again
    assert judge.judge([]) == []


def test_r_pi_is_the_cosine_of_image_and_prompt(judge, images):
    prompts = [Prompt("a red vase"), PROMPT, Prompt("a red vase")]
    queries = [ImageQuery(prompt, image) for prompt, image in zip(prompts, images, strict=True)]
    pictures = judge.clip.embed_images(images)
    texts = judge.clip.embed_texts([prompt.text for prompt in prompts])
    expected = [wide(cosine) for cosine in (pictures * texts).sum(axis=1)]
    assert [answer.score for answer in judge.judge(queries)] == pytest.approx(expected, abs=1e-6)
    assert len(set(np.round(expected, 4))) == 3


def test_r_sem_is_the_cosine_of_prompt_and_prose(judge):
    """Boxes are stripped, and a chain beyond 77 tokens is read to its end."""
    long = parse(CHAIN.text + " The light is soft. " * 10)
    moved = plan(("red vase", RIGHT), ("blue bowl", UNDER))
    answers = judge.judge([SemanticQuery(PROMPT, chain) for chain in (CHAIN, long, moved)])
    texts = [strip_boxes(chain.text) for chain in (CHAIN, long)]
    cosines = judge.clip.embed_texts(texts, whole=True) @ judge.clip.embed_texts([PROMPT.text])[0]
    assert [a.score for a in answers[:2]] == pytest.approx([wide(c) for c in cosines], abs=1e-6)
    assert answers[2].score == pytest.approx(answers[0].score, abs=1e-6)
    assert answers[0].score != pytest.approx(answers[1].score, abs=1e-4)


def test_r_spa_without_a_relation_is_the_cosine_of_the_drawing(judge):
    [answer] = judge.judge([SpatialQuery(PROMPT, CHAIN)])
    drawing = judge.clip.embed_images([draw_plan(CHAIN.objects)])[0]
    cosine = drawing @ judge.clip.embed_texts([PROMPT.text])[0]
    assert answer.score == pytest.approx(wide(cosine), abs=1e-6)
    assert "drawn plan" in answer.reasoning


def test_r_hps_is_the_rating_of_its_own_model(judge, images):
    [answer] = judge.judge([QualityQuery(PROMPT, images[0])])
    [rating] = judge.quality.rate(images[:1], [PROMPT.text])
    assert answer.score == pytest.approx(wide(rating), abs=1e-6)
    [other] = judge.judge([ImageQuery(PROMPT, images[0])])
    assert answer.score != pytest.approx(other.score, abs=1e-4)


def test_r_ri_asks_the_detector_for_each_images_own_names(judge, images):
    """A random detector: what it reports is among the names, and no more often than planned."""
    chains = [CHAIN, plan(("green car", LEFT))]
    answers = judge.judge([GroundingQuery(c, i) for c, i in zip(chains, images, strict=False)])
    for chain, answer in zip(chains, answers, strict=True):
        names = [planned.name for planned in chain.objects]
        assert answer.found
        assert len({one.name for one in answer.found}) == len(answer.found)
        assert {one.name for one in answer.found} <= set(names)


def test_a_reward_with_all_five_terms(judge, images):
    config = RewardSection(formula="product_v2", r_hps=1)
    check_judge(judge, config)
    [reward] = score(judge, [PROMPT], [CHAIN], images[:1], config)
    assert set(reward.terms) == {"r_sem", "r_spa", "r_ri", "r_pi", "r_hps"}
    assert reward.total is not None


# -- grounding: rules about detections -----------------------------------------------------------


class Written:
    """A detector whose answers are written down."""

    name = "a written detector"
    labels = None

    def __init__(self, *detections: Detection) -> None:
        self.detections = list(detections)
        self.asked: Sequence[Sequence[str]] = ()

    def detect(self, images, vocabularies):
        self.asked = vocabularies
        return [self.detections for _ in images]


def grounded(settings, chain: Chain, *detections: Detection, size=(200, 100)):
    judge = ExpertsJudge(settings)
    judge.detector = Written(*detections)
    [answer] = judge.judge([GroundingQuery(chain, np.zeros((*size, 3), dtype=np.uint8))])
    return answer


def test_boxes_come_back_in_thousandths_of_each_side(settings):
    answer = grounded(settings, CHAIN, Detection("red vase", (25, 50, 75, 150), 0.9))
    assert answer.found == (FoundObject("red vase", Box(250, 250, 749, 749)),)
    assert answer.score is None
    assert "found 1 of 2 planned objects: red vase 0.90" in answer.reasoning


def test_as_many_boxes_as_were_planned_and_no_guesses(settings):
    """Otherwise the reward, which takes the best match, would choose among guesses."""
    guesses = [Detection("red vase", (x, 0, x + 9, 9), 0.5 - x / 1000) for x in range(0, 90, 10)]
    answer = grounded(settings, CHAIN, *guesses)
    assert [one.box.x1 for one in answer.found] == [0]
    two = plan(("heart", LEFT), ("heart", RIGHT))
    hearts = [Detection("heart", (x, 0, x + 9, 9), x / 100) for x in (10, 30, 50)]
    assert [one.box.x1 for one in grounded(settings, two, *hearts).found] == [500, 300]


def test_two_planned_hearts_are_not_one_heart_found_twice(settings):
    two = plan(("heart", LEFT), ("heart", RIGHT))
    twice = [Detection("heart", (10, 10, 60, 60), 0.9), Detection("heart", (11, 10, 61, 60), 0.8)]
    assert len(grounded(settings, two, *twice).found) == 1
    apart = Detection("heart", (70, 10, 90, 60), 0.4)
    assert len(grounded(settings, two, *twice, apart).found) == 2


def test_nothing_found_is_an_answer(settings):
    answer = grounded(settings, CHAIN)
    assert answer.found == ()
    assert answer.reasoning.endswith("found 0 of 2 planned objects")


# -- layout by geometry --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "objects", "expected"),
    [
        ("a vase on the left of a bowl", [("vase", LEFT), ("bowl", RIGHT)], 1.0),
        ("a vase on the right of a bowl", [("vase", LEFT), ("bowl", RIGHT)], 0.1),
        ("a vase on the left of a bowl", [("vase", RIGHT), ("bowl", LEFT)], 0.1),
        ("a vase on the left of a bowl", [("vase", LEFT), ("bowl", UNDER)], 0.5),
        ("a vase above a bowl", [("vase", LEFT), ("bowl", UNDER)], 1.0),
        ("a vase on the bottom of a bowl", [("vase", LEFT), ("bowl", UNDER)], 0.1),
        ("a vase next to a bowl", [("vase", LEFT), ("bowl", UNDER)], 1.0),
        ("a vase near a bowl", [("vase", LEFT), ("bowl", RIGHT)], 0.5),
        # every wording that the reader of prompts knows
        ("a book beneath a cup", [("book", UNDER), ("cup", LEFT)], 1.0),
        ("a book beneath a cup", [("book", LEFT), ("cup", UNDER)], 0.1),
        ("to the right of the vase is a bowl", [("vase", LEFT), ("bowl", RIGHT)], 1.0),
        ("a picture of a vase above a bowl", [("picture", LEFT), ("bowl", UNDER)], 0.1),
        # a name's noun stands before "of"
        ("a cup on the left of a bowl", [("cup of tea", LEFT), ("bowl", RIGHT)], 1.0),
        # overlapping boxes hold no relation, though the direction is right
        ("a vase on the left of a bowl", [("vase", LEFT), ("bowl", Box(120, 400, 320, 600))], 0.5),
        # attributes and articles of the plan do not matter, plurals neither
        ("two dogs on the left of a bowl", [("brown dog", LEFT), ("a large bowl", RIGHT)], 1.0),
        # of two things of one kind the attribute tells which is meant
        ("a red vase on the left of a blue vase", [("red vase", LEFT), ("blue vase", RIGHT)], 1.0),
        ("a red vase on the left of a blue vase", [("blue vase", LEFT), ("red vase", RIGHT)], 0.1),
        # without an attribute either will do
        ("a red vase on the left of a blue vase", [("vase", LEFT), ("vase", RIGHT)], 1.0),
        # missing objects are contradicted relations
        ("a vase on the left of a bowl", [("vase", LEFT)], 0.1),
        ("a vase on the left of a bowl", [("lamp", LEFT), ("table", RIGHT)], 0.1),
    ],
)
def test_layout_by_hand(settings, prompt, objects, expected):
    judge = ExpertsJudge(settings)
    [answer] = judge.judge([SpatialQuery(Prompt(prompt), plan(*objects))])
    assert answer.score == expected
    assert answer.reasoning
    assert "clip" not in vars(judge)  # no model was needed


# -- scales and settings -------------------------------------------------------------------------


def test_a_scale_is_linear_between_its_bounds():
    scale = Scale(low=0.15, high=0.35)
    assert [scale.score(x) for x in (-1, 0.15, 0.25, 0.35, 1)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert np.isnan(scale.score(float("nan")))
    assert ExpertsSettings().r_pi.score(0.3) == pytest.approx(2.5 * 0.3)  # CLIPScore
    with pytest.raises(ValidationError, match="low must be below high"):
        Scale(low=0.4, high=0.4)


def test_a_detector_with_classes_of_its_own_is_refused():
    settings = ExpertsSettings.model_validate({"detector": {"kind": "mask2former"}})
    with pytest.raises(BadInput, match=r"detector\.kind=grounding_dino or owlv2"):
        ExpertsJudge(settings)


def test_models_that_are_not_there_are_named_when_they_are_needed(settings, images):
    lost = settings.model_copy(
        update={"quality": settings.quality.model_copy(update={"model": "x.pt"})}
    )
    judge = ExpertsJudge(lost)
    assert judge.judge([ImageQuery(PROMPT, images[0])])[0].score is not None
    with pytest.raises(BadInput, match=r"hf download xswu/HPSv2"):
        check_judge(judge, RewardSection(formula="product_v2", r_hps=1))


def test_an_unknown_ask_is_a_failure(judge):
    [answer] = judge.judge([object()])
    assert isinstance(answer, JudgeFailure)

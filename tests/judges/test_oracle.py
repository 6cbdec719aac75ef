"""The oracle: scores by hand-computed numbers, and right on the world's own scenes."""

import numpy as np
import pytest

from got_r1.icons.data import triples
from got_r1.icons.prompts import parse as read
from got_r1.icons.render import render
from got_r1.icons.truth import image_truth, plan_truth
from got_r1.icons.world import Icon, Scene, box_from_cells
from got_r1.judges import Judge, load_judge
from got_r1.judges.oracle import OracleJudge
from got_r1.plan.chain import format_chain, parse
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
    SemanticQuery,
    SpatialQuery,
    Verdict,
)
from got_r1.rewards import mean_iou, score

LEFT, RIGHT, MIDDLE = box_from_cells(0, 3, 4, 4), box_from_cells(6, 3, 4, 4), Box(400, 0, 500, 200)
BLANK = np.full((40, 40, 3), 255, dtype=np.uint8)
ORDER = "a red heart on the left of a blue star"


def plan(*parts: str | tuple[str, Box]) -> Chain:
    return parse(format_chain([p if isinstance(p, str) else PlannedObject(*p) for p in parts]))


def draw(*objects: tuple[str, str, str, Box]) -> np.ndarray:
    return render(Scene(tuple(Icon(*look) for look in objects)))


def ask(query) -> Verdict:
    [answer] = OracleJudge().judge([query])
    assert isinstance(answer, Verdict)
    return answer


def semantic(prompt: str, *parts: str | tuple[str, Box]) -> float | None:
    return ask(SemanticQuery(Prompt(prompt), plan(*parts))).score


def spatial(prompt: str, *parts: str | tuple[str, Box]) -> float | None:
    return ask(SpatialQuery(Prompt(prompt), plan(*parts))).score


def seen(prompt: str, image: np.ndarray) -> float | None:
    return ask(ImageQuery(Prompt(prompt), image)).score


HEART_LEFT, STAR_RIGHT = ("red heart", LEFT), ("blue star", RIGHT)

# -- r_sem ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "parts", "expected"),
    [
        (ORDER, ["A ", HEART_LEFT, " on the left of a ", STAR_RIGHT, "."], 1.0),
        # the boxes are not looked at
        (ORDER, ["A ", ("red heart", RIGHT), " on the left of a ", ("blue star", LEFT), "."], 1.0),
        # the converse says the same
        (ORDER, ["A ", STAR_RIGHT, " on the right of a ", HEART_LEFT, "."], 1.0),
        # another relation, or none, halves it
        (ORDER, ["A ", HEART_LEFT, " on the right of a ", STAR_RIGHT, "."], 0.5),
        (ORDER, ["A ", STAR_RIGHT, " on the left of a ", HEART_LEFT, "."], 0.5),
        (ORDER, ["A ", HEART_LEFT, " and a ", STAR_RIGHT, "."], 0.5),
        (ORDER, ["Left left ", HEART_LEFT, " left ", STAR_RIGHT], 0.5),
        ("a heart near a star", ["A ", HEART_LEFT, " next to a ", STAR_RIGHT, "."], 1.0),
        ("a heart near a star", ["A ", STAR_RIGHT, " near a ", HEART_LEFT, "."], 1.0),
        # objects: an F1 with half for the right noun in a wrong colour
        ("a red heart and a blue star", ["A ", HEART_LEFT, " and a ", STAR_RIGHT, "."], 1.0),
        ("a red heart and a blue star", ["A ", ("blue heart", LEFT), ", a ", STAR_RIGHT], 0.75),
        ("a red heart and a blue star", ["A ", HEART_LEFT], 2 / 3),
        ("a red heart", [HEART_LEFT, STAR_RIGHT], 2 / 3),
        ("a red heart", [STAR_RIGHT], 0.0),
        ("a red heart", [("an old vase", LEFT)], 0.0),
        ("three hearts", [HEART_LEFT, ("red heart", RIGHT)], 4 / 5),
        ("a striped red heart", [HEART_LEFT], 0.5),
    ],
)
def test_semantics(prompt, parts, expected):
    assert semantic(prompt, *parts) == pytest.approx(expected)


# -- r_spa ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "parts", "expected"),
    [
        (ORDER, [HEART_LEFT, STAR_RIGHT], 1.0),
        (ORDER, [STAR_RIGHT, HEART_LEFT], 1.0),
        (ORDER, [("red heart", RIGHT), ("blue star", LEFT)], 0.1),
        # to the left, but more above: in part when at least half as far, else contradicted
        (ORDER, [("red heart", Box(0, 0, 200, 200)), ("blue star", Box(300, 600, 500, 800))], 0.5),
        (ORDER, [("red heart", Box(0, 0, 200, 200)), ("blue star", Box(299, 600, 499, 800))], 0.1),
        # an object is missing: the relation is too
        (ORDER, [HEART_LEFT], 0.1 * 2 / 3),
        (ORDER, [("green heart", LEFT), STAR_RIGHT], 0.1 * 1 / 2),
        (ORDER, [HEART_LEFT, STAR_RIGHT, ("pink moon", MIDDLE)], 4 / 5),
        # overlapping boxes: in part, and then halved
        (ORDER, [("red heart", Box(0, 0, 400, 400)), ("blue star", Box(200, 0, 600, 400))], 0.25),
        ("a heart near a star", [HEART_LEFT, ("blue star", Box(600, 300, 999, 700))], 1.0),
        ("a heart near a star", [("red heart", Box(0, 0, 300, 300)), STAR_RIGHT], 0.5),
        ("a heart near a star", [("red heart", Box(0, 0, 90, 90)), STAR_RIGHT], 0.1),
        # without a relation
        ("two hearts", [HEART_LEFT, ("red heart", RIGHT)], 1.0),
        ("two hearts", [HEART_LEFT], 0.5 * 2 / 3),
        ("two hearts", [HEART_LEFT, ("red heart", Box(0, 300, 400, 690))], 0.5),
    ],
)
def test_layout(prompt, parts, expected):
    assert spatial(prompt, *parts) == pytest.approx(expected)


# -- r_ri ----------------------------------------------------------------------------------------

SCENE = draw(
    ("heart", "red", "plain", LEFT),
    ("heart", "red", "plain", RIGHT),
)


def test_every_planned_object_is_found_where_it_is_drawn():
    chain = plan(HEART_LEFT, ("red heart", RIGHT))
    verdict = ask(GroundingQuery(chain, SCENE))
    assert verdict.score is None
    assert sorted(item.box.x1 for item in verdict.found) == [0, 600]
    assert mean_iou(chain, verdict.found) == 1.0


def test_what_is_not_there_is_not_found():
    assert ask(GroundingQuery(plan(STAR_RIGHT, ("blue heart", LEFT)), SCENE)).found == ()
    assert ask(GroundingQuery(plan(HEART_LEFT), BLANK)).found == ()


def test_a_name_leaves_free_what_it_does_not_say():
    image = draw(("star", "blue", "striped", RIGHT))
    for name in ("star", "blue star", "striped star", "striped blue star"):
        assert ask(GroundingQuery(plan((name, RIGHT)), image)).found == (FoundObject(name, RIGHT),)
    assert ask(GroundingQuery(plan(("dotted blue star", RIGHT)), image)).found == ()


def test_an_icon_serves_one_name_and_no_name_is_starved():
    """ "heart" could take the red one, which "red heart" needs: both get theirs."""
    image = draw(("heart", "red", "plain", LEFT), ("heart", "blue", "plain", RIGHT))
    chain = plan(("heart", LEFT), ("red heart", RIGHT))
    found = {item.name: item.box.x1 for item in ask(GroundingQuery(chain, image)).found}
    assert found == {"heart": RIGHT.x1, "red heart": LEFT.x1}
    one = draw(("heart", "red", "plain", LEFT))
    assert len(ask(GroundingQuery(chain, one)).found) == 1


def test_of_more_that_fit_than_are_planned_the_place_does_not_choose():
    """The icon in the planned place would pay for drawing a heart in every place."""
    for box in (LEFT, RIGHT):
        (only,) = ask(GroundingQuery(plan(("red heart", box)), SCENE)).found
        assert only.box.x1 == LEFT.x1


def test_of_as_many_as_are_planned_each_is_the_one_in_its_place():
    image = draw(("heart", "red", "plain", LEFT), ("heart", "red", "dotted", RIGHT))
    chain = plan(("red heart", RIGHT), ("heart", LEFT))
    found = {item.name: item.box.x1 for item in ask(GroundingQuery(chain, image)).found}
    assert found == {"red heart": RIGHT.x1, "heart": LEFT.x1}


# -- r_pi ----------------------------------------------------------------------------------------

RIGHT_IMAGE = draw(("heart", "red", "plain", LEFT), ("star", "blue", "plain", RIGHT))
SWAPPED = draw(("heart", "red", "plain", RIGHT), ("star", "blue", "plain", LEFT))
WRONG_COLOUR = draw(("heart", "green", "plain", LEFT), ("star", "blue", "plain", RIGHT))
BOTH_WRONG = draw(("heart", "green", "plain", RIGHT), ("star", "blue", "plain", LEFT))


@pytest.mark.parametrize(
    ("prompt", "image", "expected"),
    [
        (ORDER, RIGHT_IMAGE, 1.0),
        (ORDER, SWAPPED, 0.5),
        (ORDER, WRONG_COLOUR, 0.25),
        (ORDER, BLANK, 0.0),
        ("a red heart and a blue star", SWAPPED, 1.0),
        ("a heart and a star", WRONG_COLOUR, 1.0),
        ("a red heart", RIGHT_IMAGE, 1 / 3),
        ("two red hearts", SCENE, 1.0),
        ("three red hearts", SCENE, 0.4),
        ("one red heart and two stars", RIGHT_IMAGE, 0.4),
        ("a striped red heart", draw(("heart", "red", "plain", LEFT)), 0.0),
    ],
)
def test_images(prompt, image, expected):
    assert seen(prompt, image) == pytest.approx(expected)


def test_the_right_relation_pays_nothing_on_a_wrong_colour():
    assert seen(ORDER, WRONG_COLOUR) == seen(ORDER, BOTH_WRONG)


# -- as a judge ----------------------------------------------------------------------------------


def test_answers_come_in_order_and_say_why():
    chain = plan("A ", HEART_LEFT, " on the left of a ", STAR_RIGHT, ".")
    prompt = Prompt(ORDER)
    queries = [
        ImageQuery(prompt, SWAPPED),
        SemanticQuery(prompt, chain),
        GroundingQuery(chain, RIGHT_IMAGE),
        SpatialQuery(prompt, chain),
        ImageQuery(prompt, RIGHT_IMAGE),
    ]
    together = OracleJudge().judge(queries)
    assert together == [answer for one in queries for answer in OracleJudge().judge([one])]
    assert [answer.score for answer in together] == [0.5, 1.0, None, 1.0, 1.0]
    assert "'left' does not hold" in together[0].reasoning
    assert OracleJudge().judge([]) == []


@pytest.mark.parametrize(
    ("query", "prompt", "given", "said"),
    [
        (SemanticQuery, ORDER, [HEART_LEFT], '"blue star" is not named'),
        (SemanticQuery, ORDER, [HEART_LEFT, STAR_RIGHT],
         'the prose does not state "red heart" on the left of "blue star"'),
        (SemanticQuery, "a red heart", [HEART_LEFT, STAR_RIGHT], 'a further "blue star" is named'),
        (SpatialQuery, ORDER, [("green heart", LEFT), STAR_RIGHT],
         '"red heart" is planned as "green heart"'),
        (SpatialQuery, ORDER, [("red heart", RIGHT), ("blue star", LEFT)],
         '\'left\' does not hold ("red heart" on the left of "blue star")'),
        (SpatialQuery, "three hearts", [HEART_LEFT], 'only 1 of 3 "heart" are planned'),
        (SpatialQuery, ORDER, [HEART_LEFT, ("blue star", Box(200, 300, 700, 700))],
         'boxes overlap: "red heart" and "blue star"'),
        (ImageQuery, ORDER, WRONG_COLOUR, '"red heart" is drawn as "green heart"'),
        (ImageQuery, ORDER, SWAPPED, '"red heart" on the left of "blue star"'),
        (ImageQuery, "two hearts", RIGHT_IMAGE, 'a further "blue star" is drawn'),
        (ImageQuery, ORDER, BLANK, '"red heart" is not drawn; "blue star" is not drawn'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(query, prompt, given, said):
    verdict = ask(query(Prompt(prompt), given if query is ImageQuery else plan(*given)))
    assert verdict.score < 1
    assert said in verdict.reasoning


@pytest.mark.parametrize("text", ["", "a cat on a mat", "a red heart on the left", "five hearts"])
def test_a_prompt_from_elsewhere_is_a_failure_not_a_zero(text):
    prompt, chain = Prompt(text), plan(HEART_LEFT)
    queries = [SemanticQuery(prompt, chain), SpatialQuery(prompt, chain), ImageQuery(prompt, BLANK)]
    answers = OracleJudge().judge(queries)
    assert len(answers) == len(queries)
    for answer in answers:
        assert isinstance(answer, JudgeFailure)
        assert repr(text) in answer.reason


@pytest.mark.parametrize("size", [(40, 40), (1, 1), (64, 48)])
def test_noise_is_a_score_not_a_failure(size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert 0 <= seen(ORDER, noise) < 1
    assert ask(GroundingQuery(plan(HEART_LEFT), noise)).score is None


def test_clean_triples_earn_nearly_everything_and_truth_agrees():
    """Scenes drawn as asked: the plan is perfect, the image as good as the detector reads it."""
    examples = list(triples(100, seed=5))
    rewards = score(
        OracleJudge(),
        [example.prompt for example in examples],
        [parse(example.chain) for example in examples],
        [example.image for example in examples],
        RewardSection(),
    )
    for example, result in zip(examples, rewards, strict=True):
        meaning = read(example.prompt.text)
        assert meaning is not None
        assert result.terms["r_sem"] == 1.0, example
        assert result.terms["r_spa"] == 1.0, example
        truth = plan_truth(meaning, parse(example.chain))
        assert truth.objects
        assert truth.relation is not False
        assert truth.count is not False
        assert image_truth(meaning, example.scene.icons).attributes
    # The detector reads at least 99% of objects rightly; of 100 scenes we allow 5 misread ones.
    assert sum(result.terms["r_pi"] == 1.0 for result in rewards) >= 95
    assert np.mean([result.terms["r_ri"] for result in rewards]) >= 0.95


def test_contradicted_captions_cost_every_term_that_sees_them():
    examples = [e for e in triples(150, seed=6, relation_noise=1.0) if read(e.prompt.text).relation]
    assert len(examples) > 20
    rewards = score(
        OracleJudge(),
        [example.prompt for example in examples],
        [parse(example.chain) for example in examples],
        [example.image for example in examples],
        RewardSection(),
    )
    for example, result in zip(examples, rewards, strict=True):
        assert result.terms["r_sem"] == 0.5, example
        assert result.terms["r_spa"] <= 0.5, example
        assert result.terms["r_pi"] <= 0.5, example
        assert plan_truth(read(example.prompt.text), parse(example.chain)).relation is False


# -- loading -------------------------------------------------------------------------------------


def test_load_judge():
    judge = load_judge("oracle")
    assert isinstance(judge, OracleJudge)
    assert isinstance(judge, Judge)

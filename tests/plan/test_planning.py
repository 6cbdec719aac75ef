"""Plans scored, chosen, repaired and drawn: by hand, and by what must always hold."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from got_r1.cli import main
from got_r1.errors import RunFailed
from got_r1.files.sample_files import SampleFiles
from got_r1.icons import prompts as icons
from got_r1.icons.data import triples
from got_r1.icons.truth import plan_truth
from got_r1.judges import load_judge
from got_r1.plan import chain as chains
from got_r1.plan.layout import RELATIONS, relation_holds
from got_r1.plan.planning import CONTRADICTED, Planner, score_by_geometry
from got_r1.plan.reading import read
from got_r1.plan.repair import planned_objects, repair, with_boxes
from got_r1.policy import load_policy
from got_r1.policy.janus import Policy
from got_r1.recipes.sections import RolloutSection
from got_r1.records import Box, Chain, JudgeFailure, PlannedObject, Prompt, Query, Verdict
from got_r1.rewards import plan_scorer
from got_r1.sampling import Drawing, generate, sample

LEFT = Prompt("a red heart on the left of a blue star", "spatial")
HEART, STAR = Box(0, 300, 400, 700), Box(599, 300, 999, 700)
SMALL = Box(0, 800, 100, 900)


def plan(**boxes: Box) -> Chain:
    return chains.parse(
        chains.format_chain(
            PlannedObject(name.replace("_", " "), box) for name, box in boxes.items()
        )
    )


RIGHT_PLAN = plan(red_heart=HEART, blue_star=STAR)
WRONG_PLAN = plan(red_heart=STAR, blue_star=HEART)
BROKEN = chains.parse("a <|obj_start|>red heart<|obj_end|> somewhere")


# -- scores --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        (RIGHT_PLAN, 1),
        (WRONG_PLAN, CONTRADICTED),
        (plan(red_heart=HEART, green_star=STAR), (1 + 0.5) * 2 / 4),
        (plan(red_heart=HEART), 2 / 3 * CONTRADICTED),
        (plan(red_heart=HEART, blue_star=STAR, blue_stars=SMALL), 4 / 5),  # one more star
        (plan(red_heart=HEART, blue_star=STAR, wooden_table=SMALL), 1),  # scenery is free
        (plan(tree=HEART), 0),
        (BROKEN, 0),
    ],
)
def test_scores_by_geometry(chain, expected):
    assert score_by_geometry(read(LEFT.text), chain).total == pytest.approx(expected)


def test_overlaps_cost_by_their_share():
    asked = read("a heart and a star")
    boxes = plan(heart=Box(0, 0, 200, 100), star=Box(100, 0, 300, 100))
    score = score_by_geometry(asked, boxes)
    assert score.terms == pytest.approx({"apart": 2 / 3, "named": 1})
    assert score.evidence.endswith("boxes overlap")
    # A prompt that nothing is read of: only the boxes speak.
    assert score_by_geometry(None, boxes).total == pytest.approx(2 / 3)
    assert "could not be read" in score_by_geometry(None, boxes).evidence


def test_names_are_paired_to_be_most_alike():
    asked = read("a heart on the left of a red heart")
    assert planned_objects(asked, plan(red_heart=HEART, heart=STAR)) == {0: 1, 1: 0}
    assert planned_objects(asked, plan(blue_heart=HEART, tree=STAR)) == {0: 0}
    assert planned_objects(asked, plan(tree=STAR)) == {}


def test_the_judges_score_is_r_sem_and_r_spa():
    right, wrong, broken = plan_scorer(load_judge("oracle"))(
        [LEFT] * 3, [RIGHT_PLAN, WRONG_PLAN, BROKEN]
    )
    # No prose, so the relation is not stated and r_sem is 0.5; see the oracle's table.
    assert (right.total, right.terms) == (1.5, {"r_sem": 0.5, "r_spa": 1.0})
    assert wrong.total == pytest.approx(0.5 + 0.1)
    assert "r_spa: 'left' does not hold" in wrong.evidence
    assert broken.total == 0
    assert "malformed" in broken.evidence


# -- choosing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("judge", [None, "oracle"])
def test_the_best_is_drawn_and_the_first_of_equals(judge):
    planner = Planner(3, plan_scorer(load_judge(judge)) if judge else None)
    again = plan(red_heart=HEART, blue_star=Box(600, 300, 999, 700))
    one, two, three = planner.decide(
        [LEFT] * 3,
        [(WRONG_PLAN, RIGHT_PLAN, again), (BROKEN, WRONG_PLAN, BROKEN), (BROKEN, BROKEN, BROKEN)],
    )
    assert (one.chosen, two.chosen, three.chosen) == (1, 1, 0)
    assert one.chain is RIGHT_PLAN
    assert not one.is_repaired
    record = one.record()
    assert record["drawn_plan"] == 1
    assert [entry["chain"] for entry in record["plans"]] == [
        WRONG_PLAN.text,
        RIGHT_PLAN.text,
        again.text,
    ]
    assert record["plans"][1]["score"] == one.scores[1].total


def test_one_plan_needs_no_score_and_no_judge():
    class Unasked:
        def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
            raise AssertionError

    (decision,) = Planner(1, plan_scorer(Unasked())).decide([LEFT], [(WRONG_PLAN,)])
    assert (decision.chain, decision.record()) == (WRONG_PLAN, {})


def test_what_the_judge_cannot_score_is_not_chosen_and_no_score_at_all_ends_the_run():
    class Silent:
        """Answers about one plan only."""

        def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
            return [
                Verdict(0.1) if query.chain is WRONG_PLAN else JudgeFailure("no reply")
                for query in queries
            ]

    planner = Planner(2, plan_scorer(Silent()))
    (decision,) = planner.decide([LEFT], [(RIGHT_PLAN, WRONG_PLAN)])
    assert decision.chosen == 1
    assert decision.record()["plans"][0]["score"] is None
    assert decision.record()["plans"][0]["evidence"] == "no reply; no reply"
    with pytest.raises(RunFailed, match=r"none of the 2 plans for 'a red heart.*no reply"):
        planner.decide([LEFT], [(RIGHT_PLAN, RIGHT_PLAN)])


# -- repair ---------------------------------------------------------------------------------------

CONTRADICTING = list(triples(120, seed=5, relation_noise=1.0))
"""Captions of the icon world whose chain says and shows another relation."""


@settings(max_examples=60)
@given(st.sampled_from(CONTRADICTING))
def test_a_repaired_chain_is_right_in_words_and_boxes(triple):
    meaning = icons.parse(triple.prompt.text)
    before = chains.parse(triple.chain)
    done = repair(triple.prompt, before, grid=10)
    truth = plan_truth(meaning, before)
    if meaning.relation is None or truth.relation or not truth.objects:
        assert not done.repaired
        assert done.chain is before
        return
    assert done.repaired
    assert done.distance > 0
    assert plan_truth(meaning, done.chain).relation
    assert [o.name for o in done.chain.objects] == [o.name for o in before.objects]
    # The chain is still a sentence of the world, and now one that says what the prompt says.
    assert load_oracle_semantics(triple.prompt, done.chain) == 1.0
    assert not repair(triple.prompt, done.chain, grid=10).repaired


def load_oracle_semantics(prompt: Prompt, chain: Chain) -> float:
    return plan_scorer(load_judge("oracle"))([prompt], [chain])[0].terms["r_sem"]


coordinates = st.tuples(st.integers(0, 700), st.integers(0, 700))


@settings(max_examples=60)
@given(coordinates, coordinates, st.sampled_from(RELATIONS), st.booleans())
def test_any_two_boxes_can_be_repaired(one, two, relation, in_order):
    """Also in chains that write with spaces, and that name the second object first."""
    a, b = (Box(x, y, x + 250, y + 200) for x, y in (one, two))
    names = ("old lamp", "cat") if in_order else ("cat", "old lamp")
    boxes = (a, b) if in_order else (b, a)
    text = "".join(
        f"There is <|obj_start|>{name}<|obj_end|> <|box_start|>( {box.x1}, {box.y1}),"
        f"({box.x2} ,{box.y2})<|box_end|> in a room. "
        for name, box in zip(names, boxes, strict=True)
    )
    words = {"left": "on the left of", "right": "right of", "top": "above", "bottom": "below"}
    prompt = Prompt(f"the lamp is {words.get(relation, relation)} a cat")
    done = repair(prompt, chains.parse(text))
    found = {planned.name: planned.box for planned in done.chain.objects}
    assert relation_holds(relation, found["old lamp"], found["cat"])
    assert done.repaired == (not relation_holds(relation, a, b))
    assert chains.strip_boxes(done.chain.text) == chains.strip_boxes(text)


@pytest.mark.parametrize(
    ("prompt", "chain", "reason"),
    [
        (LEFT, RIGHT_PLAN, "'left' holds"),
        (LEFT, BROKEN, "malformed"),
        (LEFT, plan(red_heart=HEART, tree=STAR), "is not planned"),
        (Prompt("a red heart and a blue star"), WRONG_PLAN, "no relation"),
        (Prompt("a sunny day"), WRONG_PLAN, "no relation"),
        (LEFT, plan(red_heart=Box(0, 0, 999, 999), blue_star=Box(9, 9, 990, 990)), "too large"),
    ],
)
def test_what_is_not_repaired_says_why_and_stays(prompt, chain, reason):
    done = repair(prompt, chain)
    assert not done.repaired
    assert done.chain is chain
    assert reason in done.reason


def chain_of(words: str) -> Chain:
    first, second = (chains.format_object(planned) for planned in RIGHT_PLAN.objects)
    return chains.parse(words.format(heart=first, star=second))


@pytest.mark.parametrize(
    ("prompt", "before", "after"),
    [
        # The prompt wants the heart on the right; the boxes say left, and so do the words.
        ("right of", "A {heart} on the left of a {star}.", "on the right of"),
        ("right of", "A {star} to the right of a {heart}.", "on the left of"),
        ("right of", "A {heart} and a {star}.", "and"),
        ("right of", "A {heart} right of a {star}.", "right of"),  # right already
        ("right of", "Over a hill: a {heart} above a {star}.", "above"),  # two are said: neither
        ("right of", "On the left of it all a {heart} and a {star}.", "and"),  # not of the two
        ("above", "A {heart} on the left of a {star}.", "on the top of"),
    ],
)
def test_words_follow_the_boxes(prompt, before, after):
    done = repair(Prompt(f"a red heart {prompt} a blue star"), chain_of(before))
    assert done.repaired
    names = [planned.name for planned in done.chain.objects]
    prose = chains.strip_boxes(done.chain.text)
    between = prose.split(names[0])[1].split(names[1])[0].replace(" a ", " ").strip()
    assert between == after


def test_near_and_next_to_are_one_in_words():
    far = chain_of("A {heart} next to a {star}.")
    wide = chains.parse(with_boxes(far.text, {0: Box(0, 0, 100, 100), 1: Box(800, 800, 900, 900)}))
    done = repair(Prompt("a red heart near a blue star"), wide)
    assert done.repaired
    assert "next to" in done.chain.text


def test_boxes_are_exchanged_in_the_text():
    text = chain_of("A {heart} above a {star}.").text
    swapped = chains.parse(with_boxes(text, {0: STAR, 1: HEART}))
    assert [planned.box for planned in swapped.objects] == [STAR, HEART]
    assert with_boxes(swapped.text, {0: HEART, 1: STAR}) == text


def test_choosing_and_repair_combine():
    planner = Planner(2, repair=True, grid=10)
    half = plan(red_heart=STAR, tree=HEART)
    one, two = planner.decide([LEFT, LEFT], [(half, WRONG_PLAN), (WRONG_PLAN, RIGHT_PLAN)])
    assert (one.chosen, one.is_repaired) == (1, True)
    assert one.record()["repair"]["written"] == WRONG_PLAN.text
    assert one.record()["repair"]["distance"] > 0
    assert one.chain.objects != WRONG_PLAN.objects
    assert (two.chosen, two.is_repaired) == (1, False)
    assert one.without_repair("no room").chain is WRONG_PLAN


def test_meanings_that_ask_for_no_relation_are_scored_by_names():
    rng = random.Random(3)
    for _ in range(50):
        meaning = icons.draw_meaning(rng, "numeracy")
        asked = read(icons.say(meaning))
        singles = [f"{spec.name}" for spec in meaning.objects for _ in range(spec.count)]
        objects = [PlannedObject(name, Box(200 * i, 0, 200 * i + 100, 100))
                   for i, name in enumerate(singles)]  # fmt: skip
        whole = chains.parse(chains.format_chain(objects))
        assert score_by_geometry(asked, whole).total == 1
        if len(objects) > 1:
            less = chains.parse(chains.format_chain(objects[1:]))
            assert score_by_geometry(asked, less).total < 1


# -- drawing, by the shipped model ---------------------------------------------------------------

ROLLOUT = RolloutSection(chain_limit=90, guidance=1.0, image_temperature=0.5)
PROMPTS = [LEFT, Prompt("a green tree above a pink moon"), Prompt("two blue stars")]
K = 3


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy("icons")


def draw(policy: Policy, **how: Any) -> list[Drawing]:
    return list(generate(policy, PROMPTS, seed=4, rollout=ROLLOUT, **how))


@pytest.fixture(scope="module")
def plain(policy: Policy) -> list[Drawing]:
    """Six ordinary samples of each prompt: the candidates of twice three plans."""
    return draw(policy, n=2 * K)


def assert_same_image(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_allclose(one.astype(int), other, rtol=0, atol=1)


def test_the_candidates_are_ordinary_chains_and_the_best_is_drawn(policy, plain):
    """Sample s chooses among what `--n` would write as samples s*K to s*K + K - 1."""
    drawn = draw(policy, n=2, planner=Planner(K, plan_scorer(load_judge("oracle"))))
    assert [one.index for one in drawn] == list(range(6))
    for one in drawn:
        prompt, number = divmod(one.index, 2)
        first = prompt * 2 * K + number * K
        assert one.decision.plans == tuple(other.chain for other in plain[first : first + K])
        totals = [score.total for score in one.decision.scores]
        assert one.chain is not None
        assert totals[one.decision.chosen] == max(totals)
        assert one.chain == one.decision.plans[one.decision.chosen]
        assert one.chain_tokens == sum(other.chain_tokens for other in plain[first : first + K])
        # The image has the noise of its own sample, whichever plan was chosen.
        if one.decision.chosen == 0 and number == 0:
            assert_same_image(one.image, plain[first].image)
        (given,) = generate(
            policy, PROMPTS[prompt : prompt + 1], seed=4, rollout=ROLLOUT, chain_text=one.chain.text
        )
        if number == 0:
            assert_same_image(one.image, given.image)


def test_batches_do_not_change_what_is_chosen(policy):
    planner = Planner(K, repair=True, grid=10)
    for one, other in zip(
        *(draw(policy, n=2, planner=planner, batch=batch) for batch in (2, 64)), strict=True
    ):
        assert (one.index, one.chain, one.decision) == (other.index, other.chain, other.decision)
        assert_same_image(one.image, other.image)


def test_a_plan_that_is_given_is_repaired_and_drawn_as_repaired(policy):
    text = "A {heart} on the right of a {star}."
    wrong = with_boxes(chain_of(text).text, {0: STAR, 1: HEART})
    planner = Planner(repair=True, grid=10)
    (one,) = generate(policy, [LEFT], seed=4, rollout=ROLLOUT, chain_text=wrong, planner=planner)
    assert one.decision.is_repaired
    assert (one.chain, one.stop) == (one.decision.chain, "given")
    assert one.chain_tokens == 0
    (same,) = generate(policy, [LEFT], seed=4, rollout=ROLLOUT, chain_text=one.chain.text)
    assert_same_image(one.image, same.image)


def test_a_repaired_chain_without_room_is_drawn_as_written(policy, monkeypatch):
    text = chain_of("A {heart} right of a {star}.").text
    wrong = with_boxes(text, {0: STAR, 1: HEART})
    prompt = policy.encode_prompt(LEFT.text)
    room = len(prompt) + len(policy.encode_chain(wrong)) + policy.image_tokens
    monkeypatch.setattr(policy.model.config.text_config, "max_position_embeddings", room)
    (one,) = generate(
        policy, [LEFT], seed=4, rollout=ROLLOUT, chain_text=wrong, planner=Planner(repair=True)
    )
    assert one.chain.text == wrong
    assert "too long" in one.decision.repair.reason


def test_each_prompt_is_drawn_from_its_own_chain(policy):
    texts = [RIGHT_PLAN.text, WRONG_PLAN.text, plan(blue_star=HEART).text]
    drawn = draw(policy, n=2, chain_text=texts, batch=4)
    assert [one.chain.text for one in drawn] == [text for text in texts for _ in range(2)]


def test_only_what_is_missing_is_chosen_and_drawn_again(policy, tmp_path: Path):
    files = SampleFiles(tmp_path)

    def fill() -> int:
        planner = Planner(K, plan_scorer(load_judge("oracle")), repair=True, grid=10)
        return sample(
            policy, PROMPTS, n=2, seed=4, rollout=ROLLOUT, files=files, batch=4, planner=planner,
            quiet=True,
        ).drawn  # fmt: skip

    def contents() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in sorted(tmp_path.iterdir()):
            found[path.name] = (
                path.read_bytes() if path.suffix == ".png" else json.loads(path.read_text())
            )
            if path.suffix == ".json":
                assert found[path.name].pop("seconds")
        return found

    assert fill() == 6
    whole = contents()
    record = whole["000.json"]
    assert len(record["plans"]) == K
    assert record["repair"]["written"] == record["plans"][record["drawn_plan"]]["chain"]
    for name in ("001.json", "004.png"):
        (tmp_path / name).unlink()
    assert fill() == 2
    assert contents() == whole


# -- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--plans 0", "--plans: must be a whole number of at least 1"),
        ("--judge oracle", "say how many with --plans"),
        ("--plans 2 --chain c", "leave out one"),
        ("--plans 2 --judge nobody", "unknown judge 'nobody'"),
    ],
)
def test_mistakes_are_refused(capsys, tmp_path, monkeypatch, options, told):
    monkeypatch.chdir(tmp_path)
    argv = ["sample", "--model", "icons", "--prompt", LEFT.text, "--out", "o", *options.split()]
    assert main(argv) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_records_what_it_chose_from(capsys, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(f"{LEFT.text}\na nice day in the park\n")
    out = tmp_path / "out"
    argv = ["sample", "--model", "icons", "--prompts", str(prompts), "--out", str(out)]
    argv += ["--plans", "2", "--repair", "--json"]
    assert main(argv) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["unread_prompts"] == 1
    assert "1 of 2 prompts could not be read" in output.err
    assert "chosen by form and overlaps alone and not repaired" in output.err
    record = json.loads((out / "000.json").read_text())
    assert {"plans", "drawn_plan", "repair"} <= record.keys()
    assert [set(entry) for entry in record["plans"]] == [
        {"chain", "problems", "score", "terms", "evidence"}
    ] * 2
    assert main([*argv, "--resume"]) == 0
    capsys.readouterr()
    assert main([word for word in argv if word != "--repair"] + ["--resume"]) == 2
    assert "--repair True, now it is False" in capsys.readouterr().err

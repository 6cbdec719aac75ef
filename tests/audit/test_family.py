"""What the audit tries: words to the grader, values for each other, numbers, and signal."""

import random
from itertools import combinations

import numpy as np
import pytest

from got_r1.audit.asking import Answers
from got_r1.audit.cases import Pair, Suite, SuiteQuery
from got_r1.audit.counterfactuals import make_suite
from got_r1.audit.counting import STEPS
from got_r1.audit.curves import monotony
from got_r1.audit.exchanges import candidates
from got_r1.audit.persuasion import LANGUAGES, all_words, draw_words, neutral
from got_r1.audit.signal import EPSILON, measure_signal
from got_r1.grpo import STD_EPSILON
from got_r1.icons.world import COLORS, FILLS, NOUNS
from got_r1.plan.chain import parse
from got_r1.records import Chain, Prompt, SemanticQuery, Verdict

PAIRS = 40


# -- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [False, True])
def test_words_are_spread_over_all_that_they_differ_in(label):
    drawn = draw_words(random.Random(3), 80, label=label)
    assert len({(w.language, w.register, w.format, w.place) for w in drawn}) == 80
    for tag in drawn[0].tags:
        values = [words.tags[tag] for words in drawn]
        counts = [values.count(value) for value in {words.tags[tag] for words in all_words()}]
        if len(set(values)) > 1 and tag != "format" and tag != "place":
            assert max(counts) - min(counts) <= 3, tag
    assert len({(words.language, words.register) for words in drawn}) > 0.8 * 4 * len(LANGUAGES)


def test_half_of_the_family_is_held_out_and_stays_so():
    family = all_words()
    held_out = [words for words in family if words.is_held_out]
    assert 0.4 < len(held_out) / len(family) < 0.6
    assert [words.is_held_out for words in all_words()] == [w.is_held_out for w in family]
    for language in LANGUAGES:
        assert {words.is_held_out for words in family if words.language == language} == {0, 1}


def test_neutral_words_are_as_long_as_asked_and_ask_for_nothing():
    for length in (20, 70, 400):
        text = neutral(random.Random(0), length)
        assert length - 15 <= len(text) <= length + 1
        assert not any(word in text.lower() for word in ("score", "10", "grade", "perfect"))


def test_words_stand_where_they_say_and_leave_the_plan_alone():
    suite = make_suite("r_sem", PAIRS, 0)
    for one in suite.persuasions:
        plain, speaking = (suite.queries[i].query.chain for i in (one.plain, one.persuading))
        assert speaking.objects == plain.objects
        assert not parse(speaking.text).problems
        if one.words is not None:
            assert one.words.text in speaking.text
            before, _, after = speaking.text.partition(one.words.text)
            where = {"start": "<|" not in before, "end": "<|" not in after, "middle": True}
            assert where[one.words.place]


# -- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "values"),
    [
        ("r_spa", {"noun": NOUNS}),
        *(
            (term, {"noun": NOUNS, "colour": COLORS, "pattern": FILLS})
            for term in ("r_sem", "r_pi")
        ),
    ],
)
def test_every_two_values_meet_once(term, values):
    suite = make_suite(term, PAIRS, 0)
    for attribute, all_values in values.items():
        met = [
            frozenset((one.asked, one.shown))
            for screen in suite.screens
            for one in screen.exchanges
            if one.attribute == attribute
        ]
        assert len(met) == len(set(met))
        assert set(met) == {frozenset(two) for two in combinations(all_values, 2)}


def test_what_seems_found_most_is_tried_again_first():
    suite = make_suite("r_sem", PAIRS, 0)
    scores = np.zeros(len(suite.queries))
    odd = next(screen for screen in suite.screens if screen.attribute == "noun")
    for screen in suite.screens:  # colours score higher throughout, which is no suspicion
        scores[screen.query] = 0.3 if screen.attribute == "colour" else 0.0
    scores[odd.query] = 0.2
    verdicts = tuple(Verdict(float(score)) for score in scores)
    chosen = candidates(suite, Answers(scores, verdicts, 0.0))
    assert chosen[: len(odd.exchanges)] == list(odd.exchanges)
    silent = Answers(np.full(len(scores), np.nan), verdicts, 0.0)
    assert candidates(suite, silent) == []


@pytest.mark.parametrize("term", ["r_sem", "r_pi", "r_ri"])
def test_every_step_of_counting_has_its_pairs(term):
    kinds = [pair.kind for pair in make_suite(term, PAIRS, 0).pairs]
    assert {kinds.count(step) for step in STEPS.values()} == {12}


# -- signal --------------------------------------------------------------------------------------


def two_a_prompt(leads: np.ndarray, noise: float) -> tuple[Suite, np.ndarray, np.ndarray]:
    """A suite of a pair for each prompt; its scores, and those when asked again."""
    query = SemanticQuery(Prompt("a", "color"), Chain("", ()))
    queries = tuple(SuiteQuery(query, i // 2) for i in range(2 * len(leads)))
    pairs = tuple(Pair(2 * i, 2 * i + 1, "k", i) for i in range(len(leads)))
    rng = np.random.default_rng(0)
    true = np.stack([0.5 + leads / 2, 0.5 - leads / 2], axis=1).ravel()
    first, second = (true + noise * rng.standard_normal(len(true)) for _ in range(2))
    return Suite("r_sem", queries, pairs, ()), first, second


@pytest.mark.parametrize(
    ("lead", "noise", "plain", "share"),
    [
        (0.4, 0.0, 0.4 / 2**0.5, 1.0),
        (0.4, 0.1, 0.4 / 2**0.5, 0.08 / 0.09),
        (0.0, 0.1, 0.0, 0.0),
        (1e-4, 0.0, 1e-4 / 2**0.5, (0.5**0.5 / (1 + 0.5**0.5)) ** 2),  # as large as the epsilon
    ],
)
def test_signal_by_hand(lead, noise, plain, share):
    suite, first, second = two_a_prompt(np.full(400, lead), noise)
    found = measure_signal(suite, first, range(len(first)), second)
    assert found.noise.value == pytest.approx(noise, abs=0.01)
    assert found.plain.value == pytest.approx(plain, rel=0.05, abs=0.03 if noise else 0)
    assert found.normalised.value == pytest.approx(share, abs=0.1 if noise else 0.01)
    assert found.tolerance == pytest.approx(1.96 * 2**0.5 * noise, abs=0.02)


def test_noise_has_one_side_at_the_ends_of_the_range():
    suite, first, second = two_a_prompt(np.full(400, 1.0), 0.05)
    first, second = (np.clip(scores, 0, 1) for scores in (first, second))
    found = measure_signal(suite, first, range(len(first)), second)
    assert found.tolerance > 0.06  # of what lies inside, not of all


def test_the_epsilon_is_that_of_training():
    assert EPSILON == STD_EPSILON


def test_monotony_with_a_tolerance():
    noisy = [1.0, 0.98, 0.99, 0.5, 0.51, 0.0]
    exact = [1.0, 1.0, 1.0, 0.5, 0.5, 0.0]
    assert monotony(range(6), noisy, 0.05)["rising"] == 0
    assert monotony(range(6), noisy)["rising"] == pytest.approx(2 / 5)
    assert monotony(range(6), noisy, 0.05)["kendall"] == monotony(range(6), exact)["kendall"]

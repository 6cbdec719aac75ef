"""Estimates and intervals against numbers computed by hand, by scipy, and by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from got_r1.audit.curves import monotony
from got_r1.files.evaluations import by_prompt, paired_change
from got_r1.statistics import (
    NOTHING,
    SIGNED,
    UNIT,
    Estimate,
    auc,
    clusters_to_decide,
    mean,
    mean_of_estimates,
    paired_difference,
    ratio,
)

NAN = float("nan")


def test_a_mean_is_over_values_that_are_known():
    found = mean([1.0, 0.0, NAN, 1.0], [1, 2, 3, 4])
    assert found.value == pytest.approx(2 / 3)
    assert (found.n, found.items) == (3, 3)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_nothing_known_is_no_number():
    assert mean([], []) == NOTHING
    assert mean([NAN], [1]) == NOTHING
    assert auc([(1, NAN)], [(1, 0.5)]) == NOTHING


@pytest.mark.parametrize(("items", "bound"), [(1, 0.025), (20, 0.8316), (40, 0.9119)])
def test_all_right_is_not_certainly_right(items, bound):
    """Clopper and Pearson's bound: the share at which all right has a chance of 2.5%."""
    right = mean([1.0] * items, range(items))
    wrong = mean([0.0] * items, range(items))
    assert right.low == pytest.approx(bound, abs=1e-4)
    assert wrong.high == pytest.approx(1 - bound, abs=1e-4)
    assert (right.high, wrong.low) == (1.0, 0.0)


def test_asks_of_one_item_are_one_trial():
    values = [1.0, 0.0] * 10
    apart = mean(values, range(20))
    together = mean(np.repeat(values, 10).tolist(), np.repeat(range(20), 10).tolist())
    assert (together.low, together.high) == (apart.low, apart.high)
    assert together.n == 200


def test_a_ratio_weighs_items_by_their_denominator():
    assert ratio([(1, 1), (0, 3)], [1, 2]).value == 0.25


def test_intervals_cover_the_truth():
    """A share of 0.7 over 40 items: 95% of 150 intervals hold it; at most 133 would by chance in
    less than one of 1,000 runs."""
    rng = np.random.default_rng(0)
    draws = (rng.random((150, 40)) < 0.7).astype(float)
    found = [mean(draw.tolist()) for draw in draws]
    assert sum(one.low <= 0.7 <= one.high for one in found) > 133


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_an_interval_holds_its_value_repeats_and_has_a_width(values: list[float]):
    found = mean(values)
    assert found == mean(values)
    assert 0 <= found.low <= found.value <= found.high <= 1 + 1e-12
    assert found.low < found.high


@pytest.mark.parametrize(("value", "low", "high"), [(0.5, 0.0125, 0.9875), (1.0, 0.025, 1.0)])
def test_one_observation_says_next_to_nothing(value, low, high):
    found = mean([value])
    assert (found.low, found.high) == pytest.approx((low, high))


def test_an_average_keeps_what_is_not_known_of_its_parts():
    """0.5 +- 0.3 and 0.9 +- 0.4, by hand: 0.7 +- sqrt(0.09 + 0.16) / 2."""
    parts = [Estimate(0.5, 0.2, 0.8, 3, 3), Estimate(0.9, 0.5, 1.3, 4, 4)]
    found = mean_of_estimates(parts)
    assert (found.value, found.low, found.high) == pytest.approx((0.7, 0.45, 0.95))
    assert found.n == 7
    assert mean_of_estimates([*parts, NOTHING]) == NOTHING


# -- paired --------------------------------------------------------------------------------------


def test_a_change_that_never_was_is_rarely_clear():
    """Each of 100 prompts flips with a chance of 10%, either way alike: 5% of 150 changes would be
    clear; more than 17 come by chance in less than one of 1,000 runs."""
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(150):
        before = rng.random(100) < 0.5
        after = before ^ (rng.random(100) < 0.1)
        alarms += paired_difference(before.astype(float), after.astype(float)).excludes_zero
    assert alarms <= 17


@pytest.mark.parametrize(("won", "clear"), [(0, False), (4, False), (7, True)])
def test_few_wins_without_a_loss_are_no_clear_gain(won, clear):
    """McNemar's exact test: four wins and no loss have p = 0.125, seven p = 0.016."""
    found = paired_difference([0.0] * 100, [1.0] * won + [0.0] * (100 - won))
    assert found.value == pytest.approx(won / 100)
    assert found.excludes_zero is clear
    assert found.low < found.value < found.high


def test_pairs_show_what_two_intervals_hide():
    before = [float(i % 2) for i in range(100)]
    after = [1.0 if i < 24 else value for i, value in enumerate(before)]  # 12 won, none lost
    one, two = mean(before), mean(after)
    assert one.high > two.low
    assert paired_difference(before, after).excludes_zero


def evaluation(values: list[float | None], prompts: str = "abcd") -> dict[str, object]:
    return {"by_prompt": by_prompt(list(prompts), ["x", "x", "y", "y"], {"m": values})}


def test_a_change_is_paired_over_the_same_prompts_only():
    one, two = evaluation([0.0, 0.5, None, 1.0]), evaluation([1.0, 0.5, 1.0, 0.0])
    found = paired_change(one, two, "m")
    assert (found.value, found.n) == (0.0, 3)
    assert paired_change(one, two, "m", "x").value == 0.5
    assert paired_change(one, evaluation([1.0] * 4, "abce"), "m") is None
    assert paired_change(one, {"metrics": {}}, "m") is None
    assert paired_change(one, two, "other") is None


@pytest.mark.parametrize(
    ("estimate", "limit", "within", "clusters"),
    [
        # All agree: 0.025^(1/n) > 1 - distance / room, so n > ln 0.025 / ln(1 - distance / room).
        (mean([1.0] * 3), 0.5, UNIT, 6),  # ln 0.025 / ln 0.5 = 5.3
        (mean([1.0] * 3), 0.75, UNIT, 13),  # 12.8
        (mean([0.0] * 3), 0.25, UNIT, 13),
        (mean([0.7] * 3), 0.35, UNIT, 6),  # half of the way down to 0
        (mean([1.0] * 3, within=SIGNED), 0.5, SIGNED, 13),  # a quarter of the way to -1
        (mean([1.0] * 40), 0.75, UNIT, 40),  # decided already
        # Bootstrap: twice as wide as it may be, so four times the clusters, and one that excludes.
        (Estimate(0.75, 0.25, 1.0, 30, 10), 0.5, UNIT, 41),
        (Estimate(0.25, 0.125, 0.75, 30, 10), 0.5, UNIT, 41),
        (Estimate(0.5, 0.25, 0.75, 30, 10), 0.5, UNIT, None),  # no number moves it off its limit
        (Estimate(0.5, None, None, 30, 10), 0.25, UNIT, None),
        (NOTHING, 0.25, UNIT, None),
    ],
)  # fmt: skip
def test_how_many_clusters_decide(estimate, limit, within, clusters):
    assert clusters_to_decide(estimate, limit, within) == clusters


def test_auc_is_mann_whitneys():
    rng = np.random.default_rng(1)
    better, worse = rng.integers(3, 11, 30) / 10, rng.integers(0, 8, 50) / 10
    found = auc(list(enumerate(better)), list(enumerate(worse)))
    expected = stats.mannwhitneyu(better, worse).statistic / (30 * 50)
    assert found.value == pytest.approx(expected)
    assert found.low < expected < found.high


def test_auc_of_perfect_order_keeps_a_bound():
    found = auc([(i, 0.9) for i in range(30)], [(i, 0.1) for i in range(30)])
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 30))


def test_monotony_by_hand():
    fall = monotony([0, 1, 2, 3], [0.9, 0.6, 0.3, 0.0])
    assert fall == pytest.approx({"kendall": 1, "spearman": 1, "strict": 1, "rising": 0})
    # 1 pair of 6 in the wrong order
    dent = monotony([0, 1, 2, 3], [0.9, 0.3, 0.6, 0.0])
    assert dent["kendall"] == pytest.approx((5 - 1) / 6)
    assert (dent["strict"], dent["rising"]) == pytest.approx((2 / 3, 1 / 3))
    # two levels: 4 of 6 pairs ordered, the others tied in the score alone
    steps = monotony([0, 1, 2, 3], [1.0, 1.0, 0.0, 0.0])
    assert steps["kendall"] == pytest.approx(4 / np.sqrt(6 * 4))


def test_a_flat_curve_orders_nothing_and_failures_are_left_out():
    assert monotony([0, 1, 2], [0.5, 0.5, 0.5])["kendall"] == 0
    assert monotony([0, 1, 2, 3], [0.9, NAN, 0.5, 0.1])["kendall"] == pytest.approx(1)
    assert np.isnan(monotony([0, 1, 2], [NAN, 0.5, 0.1])["kendall"])

"""Measures against numbers computed by hand, by scipy, and by simulation."""

import numpy as np
import pytest
from scipy import stats

from got_r1.audit.measures import NOTHING, auc, mean, monotony, ratio

NAN = float("nan")


def test_a_mean_is_over_values_that_are_known():
    found = mean([1.0, 0.0, NAN, 1.0], [1, 2, 3, 4], share=True)
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
    right = mean([1.0] * items, range(items), share=True)
    wrong = mean([0.0] * items, range(items), share=True)
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
    """A share of 0.7 over 40 items: about 95% of 400 intervals hold it. Percentile bootstraps are
    a little narrow; 0.90 leaves room for that and for chance (a true 0.93 fails in one of 100)."""
    rng = np.random.default_rng(0)
    draws = (rng.random((400, 40)) < 0.7).astype(float)
    found = [mean(draw.tolist(), range(40), share=True) for draw in draws]
    held = [one.low <= 0.7 <= one.high for one in found]
    assert np.mean(held) > 0.90


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

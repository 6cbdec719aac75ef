"""The statistics behind docs/trust.md, by hand and by chance."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
TERMS = ("r_sem", "r_spa", "r_ri", "r_pi")


@pytest.fixture(scope="module")
def trust() -> Any:
    """The module `trust_tables`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXPERIMENTS))
        import trust_tables

        assert isinstance(trust_tables, ModuleType)
        yield trust_tables
        for name in ("trust_tables", "changes"):
            sys.modules.pop(name)


def test_a_change_and_its_error_by_hand(trust: Any) -> None:
    rows = np.array([[1.0, 0.0, 2.0, np.nan], [3.0, 0.0, 2.0, np.nan]])
    found = trust.change([rows])
    assert found.seeds.tolist() == [1.0, 5 / 3]
    assert found.value == pytest.approx(4 / 3)
    # By prompt 2, 0, 2 around 4/3: the error of their mean.
    assert found.error == pytest.approx(np.sqrt((4 + 16 + 4) / 9) / 3)
    assert found.seed_variance == pytest.approx((2 / 3) ** 2 / 2)
    # The mean of a measure and itself says no more than the measure alone.
    assert trust.change([rows, rows]).error == pytest.approx(found.error)
    # Errors that cancel by prompt leave none in the mean.
    assert trust.change([rows, -rows]).error == pytest.approx(0)


def test_the_variance_of_seeds_is_pooled_and_added(trust: Any) -> None:
    one = trust.Change(np.array([0.0, 0.2]), 0.03)
    two = trust.Change(np.array([0.1, 0.1]), 0.0)
    errors = trust.Errors.of([{"x": one}, {"x": two}])
    assert errors.variance["x"] == pytest.approx((0.02 + 0) / 2)
    assert errors.of_change("x", one) == pytest.approx(np.hypot(0.03, np.sqrt(0.01 / 2)))
    assert errors.shown("x", two) == f"+0.100 ± {1.96 * np.sqrt(0.005):.3f}"


def test_accuracies_fall_by_holms_procedure(trust: Any) -> None:
    """At .025 with three: the first needs z below -2.394, the next -2.241, the last -1.960."""
    flat = trust.Errors(dict.fromkeys("abc", 0.0))

    def falls(*z: float) -> list[str]:
        changes = {
            name: trust.Change(np.array([one]), 1.0) for name, one in zip("abc", z, strict=True)
        }
        return list(flat.falls(changes, "abc"))

    assert falls(-2.39, 0, 0) == []
    assert falls(-2.40, 0, 0) == ["a"]
    assert falls(-2.40, 0, -2.23) == ["a"]
    assert falls(-2.40, 0, -2.25) == ["a", "c"]
    assert falls(-1.97, -2.40, -2.25) == ["a", "b", "c"]
    assert falls(-2.38, -2.38, -2.38) == []


def test_a_fall_that_is_said_to_be_found_is(trust: Any) -> None:
    """A fall of the stated size in one of six is found in 80% of 2,000 trials, ± 4 standard errors
    (.036): outside by chance with a probability of 6e-5."""
    errors = trust.Errors(dict.fromkeys("abcdef", 0.0))
    size = errors.seen("a", trust.Change(np.zeros(1), 0.1), 6)
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(2000):
        values = rng.normal(0, 0.1, 6) - [size, 0, 0, 0, 0, 0]
        changes = {
            name: trust.Change(np.array([value]), 0.1)
            for name, value in zip("abcdef", values, strict=True)
        }
        found += "a" in errors.falls(changes, "abcdef")
    assert abs(found / 2000 - 0.8) < 0.036


def test_no_harm_is_found_where_there_is_none(trust: Any) -> None:
    """A judge without any effect seems to do harm in 2.5% of the cases: more than 24 of 400 would
    have a probability of 4e-5."""
    rng = np.random.default_rng(0)
    names = trust.ACCURACIES
    flat = trust.Errors(dict.fromkeys(names, 0.0))
    harmful = 0
    for _ in range(400):
        changes = {name: trust.change([rng.normal(0, 1, (1, 200))]) for name in names}
        harmful += bool(flat.falls(changes, names))
    assert harmful <= 24


def test_rank_correlations_by_hand(trust: Any) -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0, np.nan, 5.0])
    assert trust.rank_correlation(x, np.exp(x)).value == pytest.approx(1)
    assert trust.rank_correlation(x, -x).value == pytest.approx(-1)
    y = np.array([1.0, 2.0, 3.0, 5.0, 9.0, 4.0])  # two neighbours exchanged: 1 - 6 * 2 / (5 * 24)
    assert trust.rank_correlation(x, y).value == pytest.approx(0.9)
    assert trust.rank_correlation(np.ones(6), y).value is None


def test_chance_over_all_measures(trust: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no measure says anything, one of five has p < .05 in 5% of the cases: more than 25 of 200
    would have a probability of 2e-5."""
    monkeypatch.setattr(trust, "PERMUTATIONS", 199)
    rng = np.random.default_rng(1)
    lowest = []
    for _ in range(200):
        some = [rng.normal(size=12) for _ in range(5)]
        lowest.append(min(trust.family_wise(some, rng.normal(size=12))))
    assert 1 <= sum(one <= 0.05 for one in lowest) <= 25
    gains = rng.normal(size=12)
    strong, flat, partly = trust.family_wise([gains, np.ones(12), np.r_[gains[:11], np.nan]], gains)
    assert strong == pytest.approx(1 / 200)
    assert np.isnan(flat)
    assert partly <= 0.02


def judged(trust: Any, name: str, verdict: str, gain: float, seed: int) -> Any:
    """A judge after whose training each accuracy of 200 prompts has changed by `gain`."""
    rng = np.random.default_rng(seed)
    before = {one: rng.uniform(0.3, 0.6, 200) for one in trust.MEASURED}
    after = [
        {one: values + gain + rng.normal(0, 0.1, 200) for one, values in before.items()}
        for _ in range(2)
    ]
    estimate = {"value": 0.5 + gain, "low": 0.0, "high": 1.0, "n": 9}
    result = {
        "wins": estimate, "kinds": {"x": {"wins": estimate}}, "persuasions": {}, "lead": estimate
    }  # fmt: skip
    terms = {
        term: {"verdict": verdict, "fit": verdict == "fit", "result": result} for term in TERMS
    }
    audits = [{"verdict": verdict, "terms": terms}, {"verdict": "undecided", "terms": terms}]
    return trust.Judged(name, f"words of {name}", audits, before, after)


def test_the_tables_count_what_they_say(trust: Any, tmp_path: Path) -> None:
    found = [
        judged(trust, "oracle", "fit", 0.2, 0),
        judged(trust, "points", "fit", 0.1, 1),
        judged(trust, "noise-15", "undecided", -0.1, 2),
        judged(trust, "noise-40", "not fit", -0.2, 3),
        judged(trust, "colour", "not fit", 0.05, 4),
    ]
    made = trust.tables(found)
    first, second, both = zip(*(row[1:] for row in made["decisions"]), strict=True)
    assert first[:3] == ("first half", "3", "0 of 1 [0.00, 0.97]")
    assert second[:3] == ("second half", "2", "0 of 1 [0.00, 0.97]")
    assert both == (
        "all", "5", "0 of 2 [0.00, 0.84]", "1 of 2 [0.01, 0.99]", "1 of 3 [0.01, 0.91]",
        "2 of 4 [0.07, 0.93]", "–", "+0.150", "-0.100", "-0.075",
    )  # fmt: skip
    assert [row[0] for row in made["judges"][1:]] == [
        f"words of {name}" for name in ("oracle", "points", "colour", "noise-15", "noise-40")
    ]
    assert not any("**" in cell for cell in made["judges"][1])
    assert sum(cell.startswith("**-") for cell in made["judges"][-1]) == 6  # all accuracies
    correlations = {row[0]: row[2] for row in made["measures"][1:]}
    assert correlations["wins"].startswith("+1.00")
    checks = dict(made["checks"][1:])
    assert checks["verdicts that a second audit gives again"].startswith("1 of 5")
    below = checks["judges after which the gain is below the oracle's"]
    assert below.count("words of") == 4
    trust.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")

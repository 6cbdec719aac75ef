"""Agreement: published and hand-computed numbers, scipy, and raters whose agreement is known."""

import json
import re
import sys

import numpy as np
import pytest
from scipy import stats

from got_r1.audit.agreement import (
    _kendall,
    _pearson,
    _spearman,
    agreement_report,
    agreement_text,
    alpha,
    alpha_estimate,
    correlations,
    with_pictures,
)
from got_r1.audit.sheets import QUESTIONS, read_items, read_key
from got_r1.audit.study import build_study
from got_r1.errors import BadInput
from got_r1.report.audit_pages import write_human_page

X = np.nan

# -- alpha ---------------------------------------------------------------------------------------


def test_alpha_of_krippendorffs_example():
    """Computing Krippendorff's Alpha-Reliability (2011), section D: four observers, twelve units,
    ordinal alpha 0.815."""
    ratings = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, X, X, X],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, X, 3],
            [X, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, X],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, X],
        ]
    )
    assert alpha(ratings) == pytest.approx(0.815, abs=5e-4)


def test_alpha_by_hand():
    """Two raters, items (1, 1), (2, 2), (1, 2), (3, 3). Values 1, 2, 3 occur 3, 3, 2 times.

    Ordinal distances, squared: 1-2 (3/2 + 3/2)^2 = 9, 2-3 (3/2 + 2/2)^2 = 6.25,
    1-3 (3/2 + 3 + 2/2)^2 = 30.25. Observed: the one item (1, 2) counts 9 twice: 18.
    Expected: 2 * (9 * 9 + 6 * 6.25 + 6 * 30.25) / 7 = 600 / 7. alpha = 1 - 18 * 7 / 600.
    """
    ratings = np.array([[1.0, 2, 1, 3], [1, 2, 2, 3]])
    assert alpha(ratings) == pytest.approx(1 - 126 / 600)


def test_alpha_where_it_is_not_defined():
    assert alpha(np.array([[1.0, 2, 3]])) is None  # one rater
    assert alpha(np.full((3, 10), 7.0)) is None  # nothing ever differs
    assert alpha(np.array([[1, X, 3, X], [X, 2, X, 4]])) is None  # nothing rated twice
    assert alpha_estimate(np.array([[1.0, 2, 3], [1, 2, 3]])).value is None  # three items


def raters(agreement: float, seed: int, people: int = 3, items: int = 200) -> np.ndarray:
    """Ratings whose latent values correlate by `agreement` between any two raters."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal(items)
    own = rng.standard_normal((people, items))
    latent = np.sqrt(agreement) * shared + np.sqrt(1 - agreement) * own
    ratings: np.ndarray = np.rint(10 * stats.norm.cdf(latent))
    return ratings


@pytest.mark.parametrize("agreement", [0.0, 0.3, 0.6, 0.9])
def test_alpha_of_simulated_raters(agreement):
    """Uniform ratings: alpha is about Spearman's correlation of two raters, which for normal
    latents is 6/pi * asin(agreement / 2). Over 20 studies of three raters and 200 items the mean
    has a standard error of 0.01; the end points of the scale take another 0.01."""
    expected = 6 / np.pi * np.arcsin(agreement / 2)
    found = [alpha(raters(agreement, seed)) for seed in range(20)]
    assert np.mean(found) == pytest.approx(expected, abs=0.04)


def test_intervals_hold_the_true_alpha():
    """20 studies, of which 95% should hold it: fewer than 16 by chance in one of 400 runs."""
    expected = 6 / np.pi * np.arcsin(0.3)
    found = [alpha_estimate(raters(0.6, seed, items=80)) for seed in range(20)]
    assert sum(one.low <= expected <= one.high for one in found) >= 16
    assert all(one.high - one.low < 0.35 for one in found)


def test_perfect_raters_and_missing_ratings():
    ratings = raters(1.0, 3)
    assert alpha(ratings) == pytest.approx(1)
    gaps = ratings.copy()
    gaps[np.random.default_rng(0).random(gaps.shape) < 0.3] = X
    assert alpha(gaps) == pytest.approx(1)


# -- correlations --------------------------------------------------------------------------------


def test_weighted_statistics_are_scipys_on_the_resample():
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 6, 25).astype(float), rng.integers(0, 6, 25).astype(float)
    weights = rng.multinomial(25, np.full(25, 1 / 25), size=6).astype(float)
    computed = (
        _pearson(x[None], y[None], weights),
        _spearman(x, y, weights),
        _kendall(x, y, weights),
    )
    for row, counts in enumerate(weights.astype(int)):
        drawn = np.repeat(x, counts), np.repeat(y, counts)
        expected = [
            f(*drawn).statistic for f in (stats.pearsonr, stats.spearmanr, stats.kendalltau)
        ]
        assert [one[row] for one in computed] == pytest.approx(expected)


def test_intervals_hold_the_true_correlation():
    """Bivariate normal, r = 0.6, 100 items: about 95 of 100 intervals hold 0.6; fewer than 85 would
    come by chance in less than one of 10,000 runs at a true 0.93."""
    rng, held = np.random.default_rng(4), 0
    for _ in range(100):
        x = rng.standard_normal(100)
        y = 0.6 * x + 0.8 * rng.standard_normal(100)
        found = correlations(x, y)["pearson"]
        held += found.low <= 0.6 <= found.high
    assert held >= 85


def test_missing_and_constant_sides():
    x, y = np.arange(10.0), np.arange(10.0)
    x[3] = X
    found = correlations(x, y)
    assert all(one.value == pytest.approx(1) and one.n == 9 for one in found.values())
    assert correlations(x, np.ones(10))["kendall"].value is None
    assert correlations(x[:5], y[:5])["pearson"].value is None  # four pairs


# -- the report ----------------------------------------------------------------------------------


@pytest.fixture
def study(make_run, tmp_path):
    folder = tmp_path / "study"
    runs = [("ours", make_run("ours", steps=3)), ("theirs", make_run("theirs", steps=3))]
    build_study(runs, folder, items=60)
    return folder


def rate(study, follows: dict[str, float], people: int = 3) -> None:
    """Raters whose ratings follow the judge's scores in a known part, for each question."""
    key, rng = read_key(study), np.random.default_rng(0)
    terms = json.loads((study / "study.json").read_text())["questions"]
    tables = {}
    for question in QUESTIONS:
        judge = np.array([one["scores"][terms[question]] for one in key.values()])
        other = rng.random(len(judge))
        truth = follows[question] * judge + (1 - follows[question]) * other
        noise = rng.normal(0, 0.05, (people, len(judge)))
        tables[question] = np.clip(np.rint(10 * (truth + noise)), 0, 10).astype(int)
    (study / "ratings").mkdir(exist_ok=True)
    for person in range(people):
        ratings = {
            one: {q: int(tables[q][person, i]) for q in QUESTIONS} | {"comment": ""}
            for i, one in enumerate(key)
        }
        content = json.dumps({"rater": f"r{person}", "ratings": ratings})
        (study / "ratings" / f"r{person}.json").write_text(content)


def test_each_question_has_its_own_agreement(study):
    rate(study, {"semantic": 1.0, "spatial": 0.5, "quality": 0.0})
    report = agreement_report(study)
    json.dumps(report, allow_nan=False)
    found = {q: one["spearman"]["overall"] for q, one in report["questions"].items()}
    assert found["semantic"]["value"] > 0.95
    assert 0.5 < found["spatial"]["value"] < 0.9  # cos 45 degrees and noise
    assert found["quality"]["low"] < 0 < found["quality"]["high"]
    for one in report["questions"].values():
        assert one["alpha"]["overall"]["value"] > 0.8  # the raters agree, whatever the judge says
        assert set(one["alpha"]["by_category"]) == {
            "color", "texture", "spatial", "numeracy", "complex"
        }  # fmt: skip
        assert one["alpha"]["by_category"]["color"]["n"] == 12
    assert report["notes"] == []
    assert set(report["methods"]) == {"ours", "theirs"}
    assert "semantic (r_sem)" in agreement_text(report)


def test_the_greatest_disagreement_stands_first(study):
    rate(study, {"semantic": 1.0, "spatial": 1.0, "quality": 1.0})
    key = read_key(study)
    odd = max(key, key=lambda one: key[one]["scores"]["r_sem"])
    sheets = list((study / "ratings").glob("*.json"))
    assert sheets
    for path in sheets:
        content = json.loads(path.read_text())
        content["ratings"][odd]["semantic"] = 0
        path.write_text(json.dumps(content))
    listed = agreement_report(study)["questions"]["semantic"]["disagreements"]
    assert listed[0]["id"] == odd
    assert listed[0]["people"] == 0
    gaps = [abs(item["people"] - item["judge"]) for item in listed]
    assert gaps == sorted(gaps, reverse=True)


def test_two_raters_are_needed_and_three_advised(study):
    with pytest.raises(BadInput, match="0 raters, agreement needs two"):
        agreement_report(study)
    rate(study, dict.fromkeys(QUESTIONS, 1.0), people=2)
    assert agreement_report(study)["notes"] == ["2 raters; at least 3 are advised."]


def test_missing_ratings_are_said_and_count_nowhere(study):
    rate(study, dict.fromkeys(QUESTIONS, 1.0))
    path = study / "ratings" / "r0.json"
    content = json.loads(path.read_text())
    first = next(iter(content["ratings"]))
    content["ratings"][first]["semantic"] = None
    del content["ratings"]["010"]
    path.write_text(json.dumps(content))
    report = agreement_report(study)
    assert report["raters"] == {"r0": 58, "r1": 60, "r2": 60}
    assert report["notes"] == [
        "r0 rated 58 of 60 items in full, 1 in part and 1 not at all; what is missing counts "
        "nowhere."
    ]
    assert report["questions"]["semantic"]["alpha"]["overall"]["n"] == 60  # two others rated them


def test_the_page_needs_nothing_else(study, tmp_path):
    rate(study, dict.fromkeys(QUESTIONS, 0.5))
    report = agreement_report(study)
    report["questions"]["semantic"]["disagreements"][0]["prompt"] = "<script>alert(1)</script>"
    write_human_page(with_pictures(report, study), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64") >= 16
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_rows_of_dashes_are_left_out(study, tmp_path):
    """Nobody rated the colours or the quality, and the judge scored none of "theirs"."""
    rate(study, dict.fromkeys(QUESTIONS, 0.5))
    key = read_key(study)
    for path in (study / "ratings").glob("*.json"):
        content = json.loads(path.read_text())
        for item, given in content["ratings"].items():
            given["quality"] = None
            if key[item]["category"] == "color":
                given |= dict.fromkeys(QUESTIONS)
        path.write_text(json.dumps(content))
    for one in key.values():
        if one["method"] == "theirs":
            one |= {"scores": {}, "total": None, "evidence": {}}
    (study / "key.jsonl").write_text("".join(json.dumps(one) + "\n" for one in key.values()))
    report = agreement_report(study)
    json.dumps(report, allow_nan=False)
    assert report["questions"]["semantic"]["spearman"]["overall"]["n"] < 30
    assert report["questions"]["semantic"]["alpha"]["overall"]["n"] == 48
    text = agreement_text(report)
    assert "semantic (r_sem)" in text
    assert "quality (r_pi)" not in text
    assert report["notes"][-1].startswith("No statistic of quality is defined")
    write_human_page(with_pictures(report, study), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    rows = re.findall(r"<tr[^>]*><th scope=\"row\">(\w+)</th>", page)
    assert rows == [
        *("semantic", "complex", "numeracy", "spatial", "texture"),
        *("spatial", "complex", "numeracy", "spatial", "texture"),
        *("ours", "theirs"),
    ]  # fmt: skip
    assert 'id="quality"' not in page


@pytest.mark.parametrize("kind", ["above", "absolute", "link"])
def test_a_page_shows_no_image_from_outside_of_the_study(study, tmp_path, kind):
    rate(study, dict.fromkeys(QUESTIONS, 0.5))
    report = agreement_report(study)
    item = report["questions"]["semantic"]["disagreements"][0]
    secret = tmp_path / "secret.png"
    secret.write_bytes((study / item["image"]).read_bytes())
    if kind == "link":
        (study / item["image"]).unlink()
        (study / item["image"]).symlink_to(secret)
    else:
        item["image"] = "../secret.png" if kind == "above" else str(secret)
    with pytest.raises(BadInput, match=r"study's image .* does not lie in"):
        with_pictures(report, study)


def test_line_separators_in_a_study_end_no_line(study):
    """U+2028 and U+0085 may stand in a JSON string."""
    path = study / "items.jsonl"
    first, *others = path.read_text().split("\n")
    item = json.loads(first) | {"prompt": "one\u2028two\u0085three"}
    path.write_text("\n".join([json.dumps(item, ensure_ascii=False), *others]))
    assert read_items(study)[0]["prompt"] == item["prompt"]


def test_without_the_library_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "krippendorff", None)
    with pytest.raises(BadInput, match=r"got-r1\[human\]"):
        alpha(raters(0.5, 0))

"""The report: one file, true to the run folder, whatever state the folder is in."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from got_r1.errors import BadInput
from got_r1.files.evaluations import by_prompt
from got_r1.files.runlog import RunLog
from got_r1.files.trackers.base import Tracking
from got_r1.plan.chain import format_object
from got_r1.records import Box, PlannedObject
from got_r1.report import build_report
from got_r1.report.charts import smooth
from got_r1.report.gallery import Piece, build_galleries, build_probes, split_chain
from got_r1.report.panels import draw_sections
from got_r1.report.read import read_run
from got_r1.report.results import compare
from got_r1.training import sft, vq
from report.conftest import write_fake_run
from small_runs import MakeRecipe

VOID = {"meta", "input", "br", "img"}


class Page(HTMLParser):
    """What a browser would see: the attributes by name, the text, and tags left open."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.tags: Counter[str] = Counter()
        self.html = path.read_text()
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


def empty_run(run_dir: Path) -> RunLog:
    return RunLog.create(run_dir, "run:\n  seed: 7\n", tracking=Tracking(()))


def page_of(run_dir: Path) -> Page:
    return Page(build_report(run_dir))


# -- the file ------------------------------------------------------------------------------------


def test_the_page_needs_nothing_outside_itself(fake_run: Path) -> None:
    page = page_of(fake_run)
    for name in ("src", "href", "action", "data", "srcset", "poster"):
        assert all(value.startswith(("#", "data:image/")) for value in page.values(name))
    assert not re.search(r"https?:|@import|url\((?!#)", page.html)
    assert "default-src 'none'" in page.html  # the browser forbids what slipped through


def test_the_page_is_well_formed(fake_run: Path) -> None:
    page = page_of(fake_run)  # the parser asserts that tags close in order
    assert page.open == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    targets = {value for value in page.values("href") if value.startswith("#")}
    targets |= {f"#{name}" for name in re.findall(r"url\(#([^)]*)\)", page.html)}
    assert targets <= {f"#{name}" for name in ids}


def test_the_same_run_gives_the_same_bytes(fake_run: Path) -> None:
    first = build_report(fake_run).read_bytes()
    assert build_report(fake_run).read_bytes() == first


def test_the_report_never_imports_torch(fake_run: Path) -> None:
    code = f"""
import sys
from got_r1.report import build_report
build_report({str(fake_run)!r})
assert not {{"torch", "transformers"}} & set(sys.modules), "the report imported torch"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_policy_wrote_stays_text(tmp_path: Path) -> None:
    attack = "</pre></style><script>alert(1)</script><img src=x onerror=alert(1)>"
    with empty_run(tmp_path / attack[:5].replace("/", "")) as log:
        record = {"prompt": attack, "chain": attack, "category": attack, "problems": [attack]}
        record |= {"objects": [{"name": attack, "box": [0, 0, 9, 9]}], "evidence": {"r_pi": attack}}
        record |= {"reward": {"total": 1.0, "terms": {"r_pi": 1.0, '"><script>': 0.5}}}
        log.save_sample(1, 0, np.zeros((4, 4, 3), np.uint8), record)
        log.save_eval("rl", {"name": attack, "metrics": {attack: {"overall": {"mean": 0.5}}}})
        log.log_metrics(1, {attack: 1.0})
        page = page_of(log.run_dir)
    assert page.tags["script"] == 1  # the page's own
    assert page.tags["img"] == 0
    assert page.text.count(attack) >= 7


# -- before and after ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "evidence", "said"),
    [
        ({"r_pi": 0.5}, {"r_pi": "no <star>"}, "<b>R_PI</b> no &lt;star&gt;"),
        ({"r_pi": 0.5}, {}, "<b>R_PI</b> the judge gave no reason"),
        ({"r_ri": 0.2}, {"r_ri": "found 0 of 1"}, "<b>R_RI</b> not found: &#34;&lt;heart&gt;&#34;"),
        ({}, {"r_sem": "no answer"}, "<b>R_sem</b> the judge failed: no answer"),
        ({"r_pi": 1.0}, {"r_pi": "all there"}, None),
    ],
)
def test_a_card_says_why_a_term_is_not_full(
    tmp_path: Path, terms: dict[str, float], evidence: dict[str, str], said: str | None
) -> None:
    log = RunLog.create(tmp_path / "run", "run: {}", tracking=Tracking(()))
    record = {"objects": [{"name": "<heart>", "box": [0, 0, 9, 9]}], "found": []}
    record |= {"prompt": "p", "reward": {"total": 0.0, "terms": terms}, "evidence": evidence}
    with log:
        log.save_sample(1, 0, np.zeros((40, 40, 3), np.uint8), record)
    page = build_report(tmp_path / "run").read_text()
    if said is None:
        assert 'class="evidence reason"' not in page
    else:
        assert f'<p class="evidence reason">{said}</p>' in page


def test_fixed_prompts_stand_first_with_their_first_and_last_picture(tmp_path: Path) -> None:
    with empty_run(tmp_path / "run") as log:
        for step in range(0, 200, 10):
            shade = np.full((8, 8, 3), step, np.uint8)
            record = {"prompt": f"prompt {step}", "reward": {"total": step / 100, "terms": {}}}
            log.save_probes(step, [(shade, record | {"problems": [f"problem {step}"]})] * 9)
        [first, *_], notes = build_probes(read_run(log.run_dir))
        page = page_of(log.run_dir)
    assert not notes
    assert len(first.at) == 8
    assert [first.at[0][0], first.at[-1][0]] == [0, 190]
    assert page.values("class").count("problem") == 6  # of the last step's only
    text = " ".join(page.text.split())
    assert text.index("Before and after") < text.index("step 0") < text.index("step 190 1.9")


def test_one_drawing_of_the_fixed_prompts_is_no_comparison(tmp_path: Path) -> None:
    with empty_run(tmp_path / "run") as log:
        log.save_probes(0, [(np.zeros((4, 4, 3), np.uint8), {"prompt": "alone"})])
        assert build_probes(read_run(log.run_dir)) == ((), ())
        assert "Before and after" not in page_of(log.run_dir).text


# -- the head and the notes ----------------------------------------------------------------------


def test_the_head_says_what_ran(fake_run: Path) -> None:
    text = " ".join(page_of(fake_run).text.split())
    for fact in ("Stage GRPO", "Model icons", "Judge oracle", "Steps 20", "Seed 0"):
        assert fact in text
    assert "Notes" not in text


@pytest.mark.parametrize(
    ("metrics", "stage"),
    [
        ({"loss": 1.0, "psnr": 20.0}, "Stage VQ"),
        ({"loss": 1.0, "loss/chain": 0.5, "loss/image": 0.5}, "Stage SFT"),
        ({"reward/total": 1.0}, "Stage GRPO"),
    ],
)
def test_any_stage_and_any_subset_of_metrics_has_a_page(
    tmp_path: Path, metrics: dict[str, float], stage: str
) -> None:
    with empty_run(tmp_path / "run") as log:
        log.log_metrics(1, {**metrics, "seconds/total": 61.0})
        log.log_metrics(2, {**metrics, "seconds/total": 60.0})
        text = " ".join(page_of(log.run_dir).text.split())
    assert stage in text
    assert "Wall time 2 min 1 s" in text
    # What a stage does not write is not missed.
    assert ("There is no evaluation" in text) == (stage != "Stage SFT")
    assert ("There are no samples" in text) == (stage == "Stage GRPO")
    assert "One value throughout: " in text
    assert "Thin line" not in text


def test_the_report_of_sft_says_what_was_trained_on(
    tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe("sft", data={"size": 64, "relation_noise": 0.5})
    sft.train(recipe, quiet=True)
    text = " ".join(page_of(tmp_path / "sft").text.split())
    assert "Trained on 64 triples of the icon world Batch 8 triples" in text
    assert "Wrong captions relation 50%, attribute 5%, count 25%" in text
    assert "Chain loss nats per token" in text
    assert "Image loss nats per token" in text
    for word in ("GRPO", "judge", "Judge", "reward", "Notes"):
        assert word not in text.split("The resolved recipe")[0]


def test_the_report_of_a_vq_model_shows_the_detectors_readings(
    tmp_path: Path, make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SCENES", "CORPUS", "MEASURED"):  # fewer than a model that is to be used needs
        monkeypatch.setattr(vq, name, 64)
    vq.train(make_recipe("vq"), quiet=True)
    read = json.loads((tmp_path / "vq" / "evals" / "detector.json").read_text())
    [column, other] = (name for name, _ in compare(read_run(tmp_path / "vq").evals).columns)
    assert (column, other) == ("as drawn", "encoded and decoded")
    text = " ".join(page_of(tmp_path / "vq").text.split())
    exact = [read[part]["exact"] for part in ("rendered", "round_trip")]
    assert f"exactly right {exact[0]:.3f} {exact[1]:.3f}" in text
    assert "Reconstruction" in text
    for word in ("GRPO", "judge", "Judge", "reward", "Notes"):
        assert word not in text.split("The resolved recipe")[0]


@pytest.mark.parametrize("found", [[], None])
def test_a_gallery_without_a_judge_names_none(tmp_path: Path, found: list[Any] | None) -> None:
    with empty_run(tmp_path / "run") as log:
        log.log_metrics(1, {"loss/chain": 1.0})
        log.save_sample(1, 0, np.zeros((4, 4, 3), np.uint8), {"prompt": "p", "found": found})
        page = page_of(log.run_dir)
    assert "judge" not in page.text
    assert ("where the objects were" in page.text) == (found is not None)
    assert "total" not in page.values("class")


def damage_line(run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join([*lines[:4], lines[4][:9] + "\n", *lines[5:]]))


def unlink(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


def overwrite(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda run: void((run / name).write_bytes(data))


def void(_: object) -> None:
    return None


@pytest.mark.parametrize(
    ("damage", "note"),
    [
        (damage_line, "metrics.jsonl: line 5 cannot be read"),
        (overwrite("metrics.jsonl", b""), "metrics.jsonl holds no step"),
        (unlink("metrics.jsonl"), "metrics.jsonl is missing"),
        (unlink("config.yaml"), "config.yaml is missing"),
        (overwrite("config.yaml", b"a: [\xff"), "config.yaml cannot be read as YAML"),
        (overwrite("evals/sft.json", b'{"name": "sft"'), "evals/sft.json cannot be read"),
        (unlink("samples/step_000010/001.png"), "samples/step_000010/001.json has no image"),
        (
            overwrite("samples/step_000010/001.png", b"\x89PNG\r\n\x1a\n broken"),
            "samples/step_000010/001.png cannot be read",
        ),
        (
            overwrite("samples/step_000010/001.json", b"[]"),
            "samples/step_000010/001.json cannot be read",
        ),
        (overwrite("samples/step_000010/²².json", b"{}"), "samples/step_000010/²².json cannot"),
        (overwrite("metrics.jsonl", b'{"step": 2.5}\n'), "metrics.jsonl: line 1 cannot be read"),
    ],
)
def test_damage_is_named_and_the_rest_is_shown(
    fake_run: Path, damage: Callable[[Path], None], note: str
) -> None:
    damage(fake_run)
    page = page_of(fake_run)
    notes = page.text[page.text.rindex("Notes") :]
    assert note in notes
    assert "Step 20" in page.text


@pytest.mark.parametrize("make", ["nothing", "a file", "an empty folder", "a folder of others"])
def test_a_folder_that_is_not_a_run_is_bad_input(tmp_path: Path, make: str) -> None:
    path = tmp_path / "run"
    if make == "a file":
        path.touch()
    elif make != "nothing":
        path.mkdir()
    if make == "a folder of others":
        (path / "thesis.tex").touch()
    with pytest.raises(BadInput, match=r"run folder.*give the run\.dir"):
        build_report(path)
    assert not (path / "report.html").exists()


# Not larger: a curve of 1e300 is beyond what matplotlib can lay out, and no training gives it.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "box", "total", "terms", "r_pi"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_records_of_any_shape_have_a_page(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Files by another version, another hand, or half a bug: shown as far as they make sense."""

    def draw(*keys: str) -> dict[str, Any]:
        return {key: data.draw(json_values, label=key) for key in keys}

    run = tmp_path_factory.mktemp("run")
    folder = run / "samples" / "step_000001"
    folder.mkdir(parents=True)
    record = draw("prompt", "chain", "objects", "found", "problems", "reward", "evidence")
    (folder / "000.json").write_text(json.dumps(record))
    (run / "evals").mkdir()
    metrics = {"metric": {"overall": draw("mean", "low", "n"), **draw("by_category")}}
    evaluation = {**draw("name", "prompts", "seed"), "metrics": {**metrics, **draw("other")}}
    (run / "evals" / "rl.json").write_text(json.dumps(evaluation))
    (run / "config.yaml").write_text(json.dumps(draw("run", "model", "rl")))
    page = page_of(run)
    assert page.open == []
    assert "Step 1" in page.text


# -- the results ---------------------------------------------------------------------------------


def one_metric(name: str, mean: float, low: float, high: float) -> dict[str, Any]:
    estimate = {"mean": mean, "low": low, "high": high, "n": 500}
    return {"name": name, "metrics": {"image_relation": {"overall": estimate}}}


@pytest.mark.parametrize(("won", "is_clear"), [(12, True), (2, False)])
def test_a_change_is_clear_by_its_pairs(won: int, is_clear: bool) -> None:
    """12 of 100 prompts won and none lost: the two intervals meet, but the change is clear."""

    def one(name: str, values: list[float]) -> dict[str, Any]:
        kept = by_prompt([str(i) for i in range(100)], ["x"] * 100, {"image_relation": values})
        return {**one_metric(name, sum(values) / 100, 0.4, 0.7), "by_prompt": kept}

    before = [0.0] * 50 + [1.0] * 50
    after = [1.0] * won + before[won:]
    results = compare([one("sft", before), one("rl", after)])
    assert results is not None
    (row,) = results.rows
    assert row.change == pytest.approx(won / 100)
    assert row.is_clear is is_clear


def test_without_pairs_no_change_is_clear() -> None:
    results = compare([one_metric("sft", 0.1, 0.0, 0.2), one_metric("rl", 0.9, 0.8, 1.0)])
    assert results is not None
    assert not results.has_pairs
    assert not results.rows[0].is_clear


def test_sft_stands_before_rl_and_numbers_are_those_of_the_files(fake_run: Path) -> None:
    with RunLog.resume(fake_run, 20, tracking=Tracking(())) as log:
        log.save_eval("also", one_metric("also", 0.123, 0.101, 0.145))
    results = compare(read_run(fake_run).evals)
    assert results is not None
    assert [name for name, _ in results.columns] == ["sft", "rl", "also"]
    saved = json.loads((fake_run / "evals" / "rl.json").read_text())["metrics"]["attributes"]
    by_name = {row.name: row for row in results.rows}
    assert [row.name for row in by_name["objects right in the image"].categories] == list(
        saved["by_category"]
    )
    page = page_of(fake_run)
    for estimate in (saved["overall"], *saved["by_category"].values()):
        assert f"{estimate['mean']:.3f}" in page.text
        assert f"{estimate['low']:.3f} – {estimate['high']:.3f}" in page.text
    assert "0.123" in page.text


def test_an_evaluation_of_plain_numbers_is_a_column_without_intervals(tmp_path: Path) -> None:
    with empty_run(tmp_path / "run") as log:
        log.save_eval("vq_round_trip", {"exactly_right": 0.97, "psnr": 21.5})
        page = page_of(log.run_dir)
    text = " ".join(page.text.split())
    assert "exactly right 0.970" in text
    assert "psnr 21.500" in text
    assert "There is no evaluation" not in text


def test_evaluations_under_other_conditions_say_so() -> None:
    sft, rl = one_metric("sft", 0.7, 0.6, 0.8), one_metric("rl", 0.8, 0.7, 0.9)
    results = compare([{**sft, "prompts": 100}, {**rl, "prompts": 500}])
    assert results is not None
    assert results.conditions == ("sft: 100 prompts", "rl: 500 prompts")


# -- the curves ----------------------------------------------------------------------------------


def test_smoothing_is_a_centred_mean() -> None:
    np.testing.assert_allclose(smooth(np.array([0.0, 3.0, 0.0, 3.0, 0.0])), [1.5, 1, 2, 1, 1.5])
    np.testing.assert_allclose(smooth(np.array([1.0, 5.0])), [1, 5])  # too short to smooth


@settings(max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_smoothing_stays_within_the_values(values: list[float]) -> None:
    smoothed = smooth(np.array(values))
    assert smoothed.shape == (len(values),)
    slack = 1e-6 * max(1.0, *map(abs, values))
    assert min(values) - slack <= smoothed.min()
    assert smoothed.max() <= max(values) + slack


def test_every_logged_metric_is_drawn(fake_run: Path) -> None:
    rows = [dict(row) for row in read_run(fake_run).metrics]
    rows[3]["reward/r_new"] = 0.5
    sections = draw_sections(rows)
    shown = [chart.lines for section in sections for chart in section.charts]
    shown += [constant.panel.lines for section in sections for constant in section.constants]
    drawn = {key for lines in shown for line in lines for key in (line.key, line.spread)}
    # The clip fraction is drawn by its sides, judging by what was hidden and what was waited for.
    elsewhere = {"step", "seconds/total", "seconds/judge", "clip_fraction"}
    assert {key for row in rows for key in row} <= drawn | elsewhere


def test_an_axis_is_as_long_as_the_values_need_and_keeps_to_what_can_be() -> None:
    """.885 to .977 looked flat on an axis from 0 to 1, and bands went above 1."""
    rows = [
        {"step": step, "reward/r_sem": 0.885 + 0.0092 * step, "group_std/r_sem": 0.3, "lr": 1e-4}
        for step in range(11)
    ]
    sections = draw_sections(rows)
    [chart] = sections[0].charts
    labels = [float(text) for text in re.findall(r">([01]\.\d+)</text>", chart.svg)]
    assert len(labels) >= 2
    assert 0.85 < min(labels) < max(labels) <= 1
    [constant] = sections[1].constants
    assert (constant.panel.title, constant.values[0][1]) == ("Learning rate", 1e-4)


def test_a_curve_survives_holes() -> None:
    values = [1.0, None, "?", 3.0, float("nan"), True, 10**400]
    rows = [{"step": step, "kl": value} for step, value in enumerate(values)]
    [section] = draw_sections(rows)
    [chart] = section.charts
    assert (chart.panel.title, chart.first, chart.last) == ("KL to the reference", 1.0, 3.0)


def test_curves_take_their_colours_from_the_page(fake_run: Path) -> None:
    page = page_of(fake_run)
    inside = "".join(re.findall(r"<svg.*?</svg>", page.html, flags=re.DOTALL))
    defined = set(re.findall(r"(--[\w-]+):", page.html))
    assert set(re.findall(r"var\((--[\w-]+)\)", inside)) <= defined
    assert not re.search(r"#(?!000000|ffffff)[0-9a-f]{6}\b", inside)  # no placeholder is left


def test_curves_need_no_styles(fake_run: Path) -> None:
    """A page with a strict content policy draws them as they are."""
    sections = draw_sections(read_run(fake_run).metrics)
    for chart in (chart for section in sections for chart in section.charts):
        assert not re.search(r"<style|\bstyle=|font-family", chart.svg)
        assert 'fill="none"' in chart.svg


# -- the gallery ---------------------------------------------------------------------------------


def log_sample(run_dir: Path, image: np.ndarray, **record: Any) -> Path:
    with empty_run(run_dir) as log:
        log.save_sample(1, 0, image, record)
    return run_dir


def named(name: str, *box: int) -> dict[str, Any]:
    return {"name": name, "box": list(box)}


BLANK = np.full((40, 40, 3), 255, np.uint8)


def test_found_boxes_belong_to_planned_objects_of_their_name(tmp_path: Path) -> None:
    run = log_sample(
        tmp_path / "run",
        BLANK,
        objects=[
            named("star", 0, 0, 200, 200),
            named("star", 500, 0, 700, 200),
            named("heart", 0, 500, 200, 700),
            named("moon", 800, 800, 900, 900),
        ],
        found=[
            named("star", 500, 100, 700, 300),
            named("star", 0, 0, 200, 200),
            named("moon", 100, 100, 200, 200),
            named("star", 9, 900, 19, 910),
        ],
    )
    ((gallery,), notes) = build_galleries(read_run(run))
    assert notes == ()
    (card,) = gallery.cards
    # The second star is half covered: 100 of 300. The moon is there, but elsewhere.
    assert [mark.iou for mark in card.planned] == [1.0, pytest.approx(1 / 3), None, 0.0]
    assert card.found is not None
    assert [mark.number for mark in card.found] == [2, 1, 4, 0]


def test_boxes_are_drawn_where_the_record_says(tmp_path: Path) -> None:
    objects, found = [named("star", 100, 200, 400, 600)], [named("star", 90, 210, 410, 580)]
    page = page_of(log_sample(tmp_path / "run", BLANK, objects=objects, found=found))
    assert '<rect class="planned" x="100" y="200" width="300" height="400"/>' in page.html
    assert '<rect class="found" x="90" y="210" width="320" height="370"/>' in page.html


def test_a_plan_over_time_is_shown_as_a_filmstrip(tmp_path: Path) -> None:
    objects = [
        {**named("star", 0, 0, 400, 400), "depth": 1, "time": time} for time in (0, 4)
    ]  # fmt: skip
    run = log_sample(tmp_path / "run", BLANK, objects=objects)
    ((gallery,), _) = build_galleries(read_run(run))
    (card,) = gallery.cards
    assert card.drawing is not None
    assert (card.drawing.width, card.drawing.height) == (512, 256)
    assert page_of(run).html.count(card.drawing.uri) == 1
    damaged = [{**named("star", 0, 0, 400, 400), "depth": "near", "time": float("inf")}]
    run = log_sample(tmp_path / "other", BLANK, objects=damaged)
    ((gallery,), _) = build_galleries(read_run(run))
    assert gallery.cards[0].drawing is None


def test_a_run_where_nobody_looked_for_boxes_has_no_found_pane(tmp_path: Path) -> None:
    page = page_of(log_sample(tmp_path / "run", BLANK, objects=[named("star", 0, 0, 9, 9)]))
    assert "not found" not in page.text
    assert page.tags["use"] == page.tags["image"] - 1 == 0


def embedded(page: Page) -> Image.Image:
    (uri,) = (value for value in page.values("href") if value.startswith("data:"))
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_a_small_image_is_embedded_as_it_is(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    page = page_of(log_sample(tmp_path / "run", image, prompt="noise"))
    assert np.array_equal(np.asarray(embedded(page)), image)


def test_a_large_image_is_scaled_down(tmp_path: Path) -> None:
    image = np.full((768, 768, 3), (200, 30, 30), np.uint8)
    small = embedded(page_of(log_sample(tmp_path / "run", image, prompt="red")))
    assert small.size == (384, 384)
    np.testing.assert_allclose(np.asarray(small.convert("RGB"))[100, 100], (200, 30, 30), atol=4)


def test_many_steps_are_thinned_evenly_and_said(tmp_path: Path) -> None:
    with empty_run(tmp_path / "run") as log:
        for step in range(1, 101):
            log.save_sample(step, 0, BLANK, {"prompt": "a star"})
    galleries, _ = build_galleries(read_run(log.run_dir))
    steps = [gallery.step for gallery in galleries]
    assert (len(steps), steps[0], steps[-1]) == (24, 1, 100)
    assert set(np.diff(steps)) <= {4, 5}
    assert "24 of 100 logged steps are shown" in page_of(log.run_dir).text


def test_the_chain_is_prose_names_and_collapsed_boxes() -> None:
    star = format_object(PlannedObject("red star", Box(1, 2, 30, 40)))
    assert split_chain(f"A {star}. <|obj_start|>lost") == (
        Piece("prose", "A "),
        Piece("name", "red star"),
        Piece("prose", " "),
        Piece("box", "(1,2),(30,40)"),
        Piece("prose", ". <|obj_start|>lost"),
    )


@given(st.text() | st.lists(st.sampled_from(["<|obj_start|>", "<|obj_end|>", " x "])).map("".join))
def test_no_prose_of_a_chain_is_lost(text: str) -> None:
    shown = "".join(piece.text for piece in split_chain(text))
    tags = r"<\|obj_start\|>|<\|obj_end\|>|\s"
    assert re.sub(tags, "", shown) == re.sub(tags, "", text)


def test_alarms_are_told_and_lead_to_their_samples(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", steps=10, every=5, samples=2)
    assert 'id="alarms"' not in build_report(folder).read_text()
    alarm = {
        "name": "judge_drift", "step": 5, "since": 3, "message": "it answers <otherwise>",
        "cause": "a server", "advice": "look there", "term": "r_pi",
        "samples": [
            {"step": 5, "index": 1, "prompt": "a star"},
            {"step": 6, "index": 0, "prompt": "not shown"},
            {"step": 5, "prompt": "a heart", "term": "r_pi", "first": 0.5, "now": 0.25},
        ],
    }  # fmt: skip
    other = {"name": "kl", "step": 5, "samples": "no list"}
    lines = [json.dumps(alarm), json.dumps(other), "no JSON", '{"name": "torn']
    (folder / "alarms.jsonl").write_text("\n".join(lines))
    page = build_report(folder).read_text()
    assert "Alarms (2)" in page
    assert "Step 5: judge drift" in page
    assert "since step 3" in page
    assert "it answers &lt;otherwise&gt;" in page
    assert '<a href="#card-s5-1">step 5: a star</a>' in page
    assert page.count('id="card-s5-1"') == 1
    assert "</a>; step 6: not shown</p>" in page
    assert "<b>Fixed prompts</b> a heart (R_PI: first 0.50, now 0.25)</p>" in page


def alarm_with(folder: Path, *samples: dict[str, Any], **more: Any) -> None:
    """Makes it the only alarm of a run."""
    alarm = {"name": "hacking", "step": 10, "since": 1, "message": "", "cause": "", "advice": ""}
    line = json.dumps({**alarm, "term": "r_pi", "samples": samples, **more})
    (folder / "alarms.jsonl").write_text(line + "\n")


def test_an_alarm_shows_the_images_of_fixed_prompts_with_both_judges_scores(tmp_path: Path) -> None:
    with empty_run(tmp_path / "run") as log:
        both = {"trained": {"total": 2.0, "r_pi": 1.0}, "held_out": {"total": 1.0, "r_pi": 0.5}}
        words = {"evidence": {"r_pi": "<lovely>"}, "held_out_evidence": {"r_pi": "no heart"}}
        star = f"A {format_object(PlannedObject('star', Box(100, 200, 400, 600)))}."
        objects = [named("star", 100, 200, 400, 600)]
        record = {"prompt": "a heart", "chain": star, "objects": objects} | both | words
        log.save_sample(10, 16, BLANK, record, "watched")
        kept = {"prompt": "a moon", "chain": star, "first": {"r_pi": 0.5}, "again": {"r_pi": 0.75}}
        log.save_sample(0, 3, BLANK, kept, "watched")
    gained = {"step": 10, "prompt": "a heart", "term": "r_pi", "trained": 1.0, "held_out": 0.5}
    gained |= {"before": {"step": 0, "trained": 0.25, "held_out": 0.75}}
    drifted = {"step": 10, "prompt": "a moon", "term": "r_pi", "first": 0.5, "now": 0.25}
    alarm_with(
        log.run_dir,
        gained | {"image": "watched/step_000010/016.png"},
        drifted | {"image": "watched/step_000000/003.png"},
    )
    page = page_of(log.run_dir)
    for text in ("a heart (R_PI: trained on 1.00, held out 0.50)", "R_PI: first 0.50, now 0.25"):
        assert text in page.text
    anchors = {value for value in page.values("href") if value.startswith("#card")}
    assert anchors == {"#card-a0w10-16", "#card-a0w0-3"}
    assert {anchor[1:] for anchor in anchors} <= set(page.values("id"))
    assert page.tags["image"] == 2
    assert '<rect class="planned" x="100" y="200" width="300" height="400"/>' in page.html
    for cells in (
        ("step 0 → 10", "trained on", "held out"),
        ("total", "2.00", "1.00"),
        ("R_PI", "0.25 → 1.00", "0.75 → 0.50"),
        ("term", "first", "again at once", "now"),
        ("R_PI", "0.50", "0.75", "0.25"),
    ):
        assert "".join(cells) in page.text
    assert "trained on <lovely>" in page.text
    assert "held out no heart" in page.text


def test_an_alarm_shows_samples_of_a_group_and_those_that_the_gallery_leaves_out(
    tmp_path: Path,
) -> None:
    reward = {"reward": {"total": 2.0, "terms": {"r_pi": 1.0}}}
    with empty_run(tmp_path / "run") as log:
        log.save_gallery(10, [(BLANK, {"prompt": f"prompt {place}"}) for place in range(20)])
        log.save_group(10, [(BLANK, {"prompt": "a star"} | reward)] * 2)
    alarm_with(
        log.run_dir,
        {"step": 10, "prompt": "prompt 1", "index": 1},
        {"step": 10, "prompt": "prompt 17", "index": 17},  # the page shows 16 of a step
        {"step": 10, "prompt": "a star", "term": "total", "trained": 2.0,
         "image": "groups/step_000010/001.png"},
        choice="of step 10, <chosen>",
    )  # fmt: skip
    page = page_of(log.run_dir)
    anchors = {value for value in page.values("href") if value.startswith("#card")}
    assert anchors == {"#card-s10-1", "#card-a0s10-17", "#card-a0g10-1"}
    assert {anchor[1:] for anchor in anchors} <= set(page.values("id"))
    assert "Samples (of step 10, <chosen>) step 10: prompt 1" in page.text
    assert "a star (total: trained on 2.00)" in page.text


@pytest.mark.parametrize(
    "image",
    ["../other/000.png", "watched/../../x/000.png", "/etc/000.png", "watched/step_1/1.json", 3, ""],
)
def test_an_alarm_shows_nothing_but_what_its_run_kept(tmp_path: Path, image: Any) -> None:
    with empty_run(tmp_path / "run") as log:
        pass
    alarm_with(log.run_dir, {"step": 1, "prompt": "a star", "term": "r_pi", "image": image})
    page = page_of(log.run_dir)
    assert "a star" in page.text
    assert page.tags["image"] == page.tags["article"] == 0


def test_damaged_images_of_an_alarm_are_noted(tmp_path: Path) -> None:
    with empty_run(tmp_path / "run") as log:
        for number in (16, 17):
            log.save_sample(1, number, BLANK, {"prompt": "a star"}, "watched")
    folder = log.run_dir / "watched" / "step_000001"
    (folder / "016.png").write_bytes(b"no image")
    (folder / "017.json").write_text("[]")
    samples = [
        {"step": 1, "prompt": "p", "term": "r_pi", "trained": 1.0, "held_out": "none",
         "before": [], "image": f"watched/step_000001/{number:03d}.png"}
        for number in (16, 17, 18)
    ]  # fmt: skip
    alarm_with(log.run_dir, *samples)
    page = page_of(log.run_dir)
    assert page.tags["article"] == 1
    notes = page.text[page.text.rindex("Notes") :]
    assert notes.count("watched/step_000001/016.png cannot be read") == 1
    assert notes.count("watched/step_000001/017.json cannot be read") == 1


# -- judges ----------------------------------------------------------------------------------------


def test_both_judges_are_drawn_with_their_intervals() -> None:
    """On the fixed prompts and on the step's own samples; bands are those of each look."""
    keys = ("watch", "watch_trained", "watch_samples", "watch_samples_trained")
    rows = [
        {"step": step, "reward/total": 1.0} | {f"{key}/r_pi": 0.1 * step for key in keys}
        | {f"{key}_half/r_pi": 0.05 for key in keys}
        for step in range(1, 4)
    ]  # fmt: skip
    [section] = [one for one in draw_sections(rows) if one.charts]
    [chart] = section.charts
    assert section.title == "Held-out judge"
    assert [(line.key, line.spread) for line in chart.lines] == [
        (f"{key}/r_pi", f"{key}_half/r_pi") for key in keys
    ]
    assert chart.svg.count('fill-opacity="0.13"') == len(keys)


def agreement(**more: Any) -> dict[str, Any]:
    return {
        "queries": 8,
        "mean_error": 0.0625,
        "correlation": -0.25,
        "calibration_error": 0.125,
        "asked": [
            {"ask_above": 0.1, "share": 0.5, "mean_error": 0.031},
            {"ask_above": 0.3, "share": 1.0, "mean_error": None},
        ],
        "doubt_at": {"0.1": 0.3},
    } | more


def test_the_report_of_a_student_judge_shows_its_agreement(tmp_path: Path) -> None:
    with empty_run(tmp_path / "run") as log:
        for step in (1, 2):
            log.log_metrics(step, {"loss": 1.0 / step, "loss/r_pi": 1.0 / step, "loss/r_sem": 2.0})
        log.save_eval("student", {"r_pi": agreement(), "r_sem": agreement(correlation=None)})
        page = page_of(log.run_dir)
    text = " ".join(page.text.split())
    assert "Stage Student judge" in text
    for cells in (
        ("Term", "queries", "mean error", "correlation", "calibration error"),
        ("calibration error", "asked above 0.1", "above 0.3"),
        ("R_sem", "8", "0.062", "–", "0.125", "50%", "0.031", "100%"),
        ("R_PI", "8", "0.062", "−0.250", "0.125", "50%"),
    ):
        assert "".join(cells) in page.text
    assert text.index("R_sem8") < text.index("R_PI8")
    assert "Loss by term" in text
    for word in ("Results", "Notes", "VQ"):
        assert word not in text


@pytest.mark.parametrize(
    "more", [{"asked": 3}, {"asked": [3, {}]}, {"queries": "x", "mean_error": []}]
)
def test_a_damaged_agreement_has_a_page(tmp_path: Path, more: dict[str, Any]) -> None:
    with empty_run(tmp_path / "run") as log:
        log.save_eval("student", {"r_pi": agreement(**more)})
        assert "0.125" in page_of(log.run_dir).text
    (log.run_dir / "evals" / "student.json").write_text("{")
    assert "evals/student.json cannot be read" in page_of(log.run_dir).text

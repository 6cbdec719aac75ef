"""Two finished folders or runs: which pairs there are, what changed, and what a judge adds."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.conftest import make_run
from got_r1.commands.studio import _compared
from got_r1.errors import BadInput
from got_r1.files.runlog import RunLog
from got_r1.files.trackers.base import Tracking
from got_r1.judges import load_judge
from got_r1.judges.base import Judge
from got_r1.judges.oracle import OracleJudge
from got_r1.records import GroundingQuery, JudgeFailure, Query, Verdict
from got_r1.statistics import paired_difference
from got_r1.studio.finished import TwoFolders
from got_r1.studio.guard import Guard
from got_r1.studio.model import Model
from got_r1.studio.pairs import kind_of, read_run_sources, read_source
from studio.folders import benchmark_folder, drawn, sample_folder
from studio.serving import events, serve

__all__ = ["make_run"]


class Silent:
    """A job without anybody who listens."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def emit(self, kind: str, **more: Any) -> None:
        self.told.append(more)


def compare(a: Path, b: Path, judge: Judge | None = None) -> TwoFolders:
    return TwoFolders(read_source(str(a)), read_source(str(b)), judge)


def probed(folder: Path, steps: dict[int, float], seed: int = 0) -> Path:
    """A run with four fixed prompts at each step, whose r_pi is that of the step."""
    log = RunLog.create(folder, f"eval: {{seed: {seed}}}\n", tracking=Tracking(()))
    for step, value in steps.items():
        rows = []
        for _, image, record in drawn(4, step):
            reward = {"total": value, "terms": {"r_pi": value}}
            rows.append((image, record | {"reward": reward, "evidence": {"r_pi": f"at {step}"}}))
        log.save_probes(step, rows)
    return folder


# -- what is paired --------------------------------------------------------------------------------


def test_folders_are_told_apart_by_what_is_in_them(make_run, tmp_path: Path) -> None:
    kinds = [
        sample_folder(tmp_path / "numbered", 1),
        sample_folder(tmp_path / "compbench", 1, layout="compbench"),
        benchmark_folder(tmp_path / "benchmark", 1),
        make_run("run", steps=1, samples=1),
        tmp_path,
        "icons",
        "owner/name",
    ]
    assert [kind_of(str(one)) for one in kinds] == [
        *("samples",) * 3,
        "run",
        *("model",) * 3,
    ]


@pytest.mark.parametrize("layout", ["numbered", "compbench"])
def test_samples_are_paired_by_prompt_seed_and_number(tmp_path: Path, layout: Any) -> None:
    a = sample_folder(tmp_path / "a", 6, layout=layout)
    b = sample_folder(tmp_path / "b", 4, seed=1, layout=layout)
    two = compare(a, b)
    assert [one.prompt for one, _ in two.pairs] == [other.prompt for _, other in two.pairs]
    assert len(two.pairs) == 4
    assert "2 samples have no partner" in " ".join(two.about()["notes"])


def test_prompts_that_repeat_are_paired_in_their_order(tmp_path: Path) -> None:
    def repeated(index: int, record: dict[str, Any]) -> dict[str, Any]:
        return record | {"prompt": "two hearts", "stop": str(index)}

    a, b = (sample_folder(tmp_path / name, 3, change=repeated) for name in "ab")
    pairs = compare(a, b).pairs
    assert [(one.record["stop"], other.record["stop"]) for one, other in pairs] == [
        ("0", "0"),
        ("1", "1"),
        ("2", "2"),
    ]


@pytest.mark.parametrize(
    ("changed", "why"),
    [({"seed": 7}, "seeds differ (0; 7)"), ({"prompt": "one moon"}, "no prompt in common")],
)
def test_folders_without_a_pair_are_refused_and_told_why(
    tmp_path: Path, changed: dict[str, Any], why: str
) -> None:
    a = sample_folder(tmp_path / "a", 2)
    b = sample_folder(tmp_path / "b", 2, change=lambda _, record: record | changed)
    with pytest.raises(BadInput) as told:
        compare(a, b)
    assert why in str(told.value)


def test_what_is_damaged_is_left_out_and_said(tmp_path: Path) -> None:
    folder = sample_folder(tmp_path / "a", 4)
    (folder / "001.json").write_text("{")
    (folder / "002.png").unlink()
    source = read_source(str(folder))
    assert len(source.samples) == 2
    assert [note.split(" ")[0] for note in source.notes] == ["001.json", "002.png"]


def test_no_record_leads_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret_000000.png").write_bytes(b"secret")
    folder = sample_folder(tmp_path / "a", 1, layout="compbench")
    record = folder / "records" / "000000.json"
    record.write_text(json.dumps({"prompt": "../../secret", "chain": ""}))
    with pytest.raises(BadInput, match="does not lie in"):
        read_source(str(folder))
    run = probed(tmp_path / "run", {1: 0.5})
    image = run / "probes" / "step_000001" / "001.png"
    image.unlink()
    image.symlink_to(tmp_path / "secret_000000.png")
    with pytest.raises(BadInput, match="does not lie in"):
        read_run_sources((str(run), str(run)))


@pytest.mark.parametrize(
    ("prompt", "category"),
    [
        ("a red heart on the left of a blue star", "on the left of"),
        ("two hearts and a moon", "3 objects"),
        ("it is complicated, as they walk", "other"),
    ],
)
def test_prompts_without_a_category_are_counted_by_what_they_ask(
    tmp_path: Path, prompt: str, category: str
) -> None:
    def plain(_: int, record: dict[str, Any]) -> dict[str, Any]:
        return record | {"prompt": prompt, "category": "other"}

    a, b = (sample_folder(tmp_path / name, 1, change=plain) for name in "ab")
    assert compare(a, b).categories == [category]


@pytest.mark.parametrize(
    "names", [["samples"], ["run"], ["samples", "run"], ["icons", "icons"], ["samples"] * 3]
)
def test_what_cannot_be_compared_is_refused(make_run, tmp_path: Path, names: list[str]) -> None:
    sample_folder(tmp_path / "samples", 1)
    make_run("run", steps=1, samples=1)
    places = [name if name == "icons" else str(tmp_path / name) for name in names]
    with pytest.raises(BadInput, match="--compare takes one model"):
        _compared(places)


# -- scores ----------------------------------------------------------------------------------------


def test_the_judge_scores_once_and_what_changed_is_paired(tmp_path: Path) -> None:
    a, b = sample_folder(tmp_path / "a", 10), sample_folder(tmp_path / "b", 10, seed=1)
    record = json.loads((b / "003.json").read_text())
    shutil.copy(b / "004.png", b / "003.png")  # a picture of something else
    two = compare(a, b, load_judge("oracle"))
    assert (two.listed()["terms"], two.listed()["unjudged"]) == ([], 20)
    job = Silent()
    assert two.score(job)["judged"] == 20  # type: ignore[arg-type]
    assert [one["done"] for one in job.told] == [0, 8, 16]
    listed = two.listed()
    assert listed["terms"] == ["R_sem", "R_spa", "R_RI", "R_PI", "total"]
    assert listed["unjudged"] == 0
    assert two.score(job)["judged"] == 0  # type: ignore[arg-type]

    before, after = ([pair["values"][side][3] for pair in listed["pairs"]] for side in (0, 1))
    assert after[3] < before[3] == 1
    (row,) = [row for row in two.changes() if row["term"] == "R_PI"]
    expected = paired_difference(before, after, [pair["prompt"] for pair in listed["pairs"]])
    assert row["change"]["mean"] == pytest.approx(np.mean(after) - np.mean(before))
    assert (row["change"]["low"], row["change"]["high"]) == (expected.low, expected.high)
    spatial = two.changes("spatial")
    assert {row["change"]["n"] for row in spatial} == {two.categories.count("spatial")}
    assert two.pair(3)["sides"][1]["evidence"]["R_PI"]
    assert record["chain"] == two.pair(3)["sides"][1]["chain"]


def test_what_a_judge_failed_to_look_for_is_not_said_to_be_missing(tmp_path: Path) -> None:
    class SeesNoBoxes(OracleJudge):
        def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
            return [
                JudgeFailure("away") if isinstance(query, GroundingQuery) else answer
                for query, answer in zip(queries, super().judge(queries), strict=True)
            ]

    a, b = (sample_folder(tmp_path / name, 2) for name in "ab")
    two = compare(a, b, SeesNoBoxes())
    two.score(Silent())  # type: ignore[arg-type]
    for side in two.pair(0)["sides"]:
        assert side["found"] is None
        assert "R_PI" in side["terms"]
        assert "R_RI" not in side["terms"]
        assert side["evidence"]["R_RI"] == "away"


def test_a_total_beyond_1_keeps_its_scale(tmp_path: Path) -> None:
    def worth(value: float) -> Any:
        return lambda i, record: record | {"reward": {"total": value + i / 10, "terms": {}}}

    a = sample_folder(tmp_path / "a", 5, change=worth(0.1))
    b = sample_folder(tmp_path / "b", 5, change=worth(1.4))
    (row,) = compare(a, b).changes()
    assert row["term"] == "total"
    assert row["change"]["mean"] == pytest.approx(1.3)
    assert row["change"]["low"] <= 1.3 <= row["change"]["high"] <= 2


def test_a_benchmarks_scores_are_its_folders_terms(tmp_path: Path) -> None:
    for name, value in (("a", 0.25), ("b", 1.0)):
        folder = benchmark_folder(tmp_path / name, 5, seed=ord(name))
        rows = [{"image": f"{i:03}.png", "prompt": "", "iou": value, "text": "x"} for i in range(5)]
        (folder / "scores.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    two = compare(tmp_path / "a", tmp_path / "b")
    assert two.listed()["terms"] == ["IoU of planned and found boxes"]
    assert two.changes()[0]["change"]["mean"] == 0.75
    assert sorted(set(two.categories)) == sorted({one.category for one, *_ in drawn(5, 0)})


def test_a_pair_has_both_sides_and_what_differs(tmp_path: Path) -> None:
    a = sample_folder(tmp_path / "a", 1)
    b = sample_folder(tmp_path / "b", 1, 1, change=lambda _, record: record | {"guidance": 2.0})
    pair = compare(a, b).pair(0)
    assert [side["picture"] for side in pair["sides"]] == [
        "/compare/pictures/0/a.png",
        "/compare/pictures/0/b.png",
    ]
    assert "guidance: 5.0 and 2.0" in pair["changes"]
    assert any("IoU of the two boxes" in change for change in pair["changes"])


# -- runs ------------------------------------------------------------------------------------------


def test_runs_are_compared_at_their_newest_common_step(tmp_path: Path) -> None:
    a = probed(tmp_path / "a", {0: 0.1, 10: 0.2, 20: 0.3})
    b = probed(tmp_path / "b", {0: 0.1, 10: 0.6, 30: 0.9}, seed=4)
    sources = read_run_sources((str(a), str(b)))
    assert {source.about for source in sources} == {"fixed prompts at step 10"}
    assert "noise" in sources[0].notes[0]
    two = TwoFolders(*sources, load_judge("oracle"))
    assert two.listed()["unjudged"] == 0  # the run's own judge has
    assert [row["change"]["mean"] for row in two.changes()] == [pytest.approx(0.4)] * 2
    assert two.pair(2)["sides"][1]["evidence"] == {"R_PI": "at 10"}


def test_runs_without_fixed_prompts_show_the_samples_of_a_step(make_run, tmp_path: Path) -> None:
    runs = (str(make_run("a", steps=3, samples=4)), str(make_run("b", steps=2, samples=4)))
    sources = read_run_sources(runs)
    assert {source.about for source in sources} == {"samples at step 2"}
    with pytest.raises(BadInput, match="no step in common"):
        read_run_sources((runs[0], str(probed(tmp_path / "c", {7: 0.5}))))


# -- over HTTP -------------------------------------------------------------------------------------


def test_pictures_are_known_by_the_numbers_of_their_pairs_alone(
    model: Model, tmp_path: Path
) -> None:
    a, b = sample_folder(tmp_path / "a", 3), sample_folder(tmp_path / "b", 3, seed=1)
    two = compare(a, b, model.judge)
    for studio in serve(model, Guard("127.0.0.1"), two):
        for index in range(3):
            got = studio.page.get(f"/compare/pictures/{index}/b.png")
            assert got.content == (b / f"{index:03}.png").read_bytes()
        for place in ("3/a", "-1/a", "0/c", "0/../a", "0/%2e%2e%2f001", "..%2f..%2fetc%2fpasswd/a"):
            response = studio.page.get(f"/compare/pictures/{place}.png")
            assert response.status_code in (400, 404, 422), place
        assert studio.page.get("/api/compare/pairs/99").status_code == 400
        done = events(studio, "/api/compare/judge", {})[-1]
        assert done == {"kind": "done", "judged": 6}
        assert studio.page.get("/api/compare/changes?category=color").json()
        assert studio.page.get("/api/compare/changes?category=unknown").json() == []
        policy = studio.page.get("/compare").headers["content-security-policy"]
        assert "unsafe" not in policy

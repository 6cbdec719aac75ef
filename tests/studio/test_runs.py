"""Finding runs and reading them while they are written."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from got_r1.errors import BadInput
from got_r1.report.read import MetricLines, read_run
from got_r1.studio import runs as module
from got_r1.studio.runs import Runs, recipe_difference
from studio.watched import write_run, write_step


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FRESH", 0.0)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder with its size and the time of its last change."""
    found = [folder, *folder.rglob("*")]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def test_what_a_run_is_and_what_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    write_run(folder / "one").close()
    write_run(folder / "sweep" / "lr" / "two").close()
    (folder / "half").mkdir()
    (folder / "half" / "metrics.jsonl").write_text("{")
    (folder / "pictures" / "samples" / "step_000001").mkdir(parents=True)
    (folder / "studio" / "20260101-000000-000000-abcd").mkdir(parents=True)
    (folder / "a" / "b" / "c" / "d" / "e").mkdir(parents=True)
    (folder / "a" / "b" / "c" / "d" / "e" / "config.yaml").touch()
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "config.yaml").touch()
    write_run(tmp_path / "elsewhere").close()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "linked").mkdir()
    (folder / "linked" / "config.yaml").symlink_to(tmp_path / "elsewhere" / "config.yaml")
    no_text = folder / os.fsdecode(b"\xff")
    no_text.mkdir()
    (no_text / "config.yaml").touch()
    assert set(Runs(folder).find()) == {"one", "sweep/lr/two", "half", "pictures"}
    assert set(Runs(folder / "one").find()) == {"one"}
    assert Runs(tmp_path / "nowhere").summaries() == []


@pytest.mark.parametrize("name", ["", ".", "..", "../runs/one", "/etc", "one/", "one/samples", "x"])
def test_a_run_is_named_as_the_listing_names_it(tmp_path: Path, name: str) -> None:
    write_run(tmp_path / "runs" / "one", 0).close()
    with pytest.raises(BadInput, match="no such run"):
        Runs(tmp_path / "runs").read(name)


def test_metrics_are_read_on_and_begun_anew_where_they_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write_run(tmp_path / "one", 3)
    log.close()
    path = tmp_path / "one" / "metrics.jsonl"
    read: list[bytes] = []
    add = MetricLines.add

    def watched(self: MetricLines, data: bytes) -> None:
        read.append(data)
        add(self, data)

    monkeypatch.setattr(MetricLines, "add", watched)
    runs = Runs(tmp_path)

    def steps() -> list[int]:
        return [row["step"] for row in runs.read("one").metrics]

    def rest() -> bytes:
        [data] = read
        read.clear()
        return data

    assert steps() == steps() == [1, 2, 3]
    assert rest() == path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"step": 4, "lo')
    assert steps() == [1, 2, 3]
    assert rest() == b""
    assert "ends within a line" in runs.read("one").notes[-1]
    with path.open("ab") as file:
        file.write(b'ss": 1}\n')
    assert steps() == [1, 2, 3, 4]
    assert rest() == b'{"step": 4, "loss": 1}\n'
    # A resumed run: shorter, then longer than what was read; and the same bytes in a new file.
    lines = path.read_bytes().splitlines(keepends=True)
    for content in (b"".join(lines[:1]), b"".join(reversed(lines)) + b'{"step": 9}\n'):
        path.write_bytes(content)
        assert steps() == sorted(json.loads(line)["step"] for line in content.splitlines())
        assert rest() == content
    path.unlink()
    assert steps() == []
    assert "missing" in runs.read("one").notes[-1]


def test_it_reads_what_the_report_reads(tmp_path: Path) -> None:
    write_run(tmp_path / "one", 3).close()
    with (tmp_path / "one" / "metrics.jsonl").open("ab") as file:
        file.write(b'not json\n{"step": 2, "loss": NaN}\n[]\n')
    one, other = Runs(tmp_path).read("one"), read_run(tmp_path / "one")
    assert (one.metrics, one.config, one.config_text) == (
        other.metrics,
        other.config,
        other.config_text,
    )
    assert [note for note in one.notes if "metrics" in note] == [
        note for note in other.notes if "metrics" in note
    ]


def test_reading_changes_nothing_in_the_run(tmp_path: Path) -> None:
    write_run(tmp_path / "one").close()
    before = snapshot(tmp_path)
    runs = Runs(tmp_path)
    runs.summaries()
    runs.read("one")
    for kind in ("samples", "groups", "probes"):
        assert len(runs.gallery("one", kind, 4, [])) == len(
            list((tmp_path / "one" / kind / "step_000004").glob("*.png"))
        )
        runs.image("one", kind, 4, 0).read_bytes()
    assert snapshot(tmp_path) == before


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    write_run(folder / "one", 2).close()
    write_run(tmp_path / "secret", 2).close()
    step = folder / "one" / "samples" / "step_000002"
    (step / "000.png").unlink()
    (step / "000.png").symlink_to(tmp_path / "secret" / "samples" / "step_000002" / "000.png")
    shutil.rmtree(folder / "one" / "groups")
    (folder / "one" / "groups").symlink_to(tmp_path / "secret" / "groups")
    (folder / "one" / "probes" / "step_000009").symlink_to(tmp_path / "secret/probes/step_000001")
    (folder / "one" / "metrics.jsonl").unlink()
    (folder / "one" / "metrics.jsonl").symlink_to(tmp_path / "secret" / "metrics.jsonl")
    runs = Runs(folder)
    with pytest.raises(BadInput, match="no such image"):
        runs.image("one", "samples", 2, 0)
    notes: list[str] = []
    assert runs.gallery("one", "samples", 2, notes) == ()
    assert "links" in notes[0]
    assert list(runs.steps("one", "groups")) == []
    assert list(runs.steps("one", "probes")) == [1, 2]
    assert runs.read("one").metrics == ()


def test_the_listing_tells_where_runs_are(tmp_path: Path) -> None:
    write_run(tmp_path / "done", 3, planned=3).close()
    write_run(tmp_path / "at work", 2).close()
    write_run(tmp_path / "left", 2).close()
    for path in (tmp_path / "left").iterdir():
        os.utime(path, (1, 1))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.yaml").write_text("{a: [")
    found = {one.name: one for one in Runs(tmp_path).summaries()}
    assert {name: one.state for name, one in found.items()} == {
        "done": "finished", "at work": "running", "left": "stopped", "broken": "running",
    }  # fmt: skip
    assert list(found)[-1] == "left"
    assert (found["at work"].step, found["at work"].planned) == (2, 8)
    assert (found["at work"].measure, found["at work"].value) == ("reward", 0.5)
    log = write_run(tmp_path / "more", 0)
    write_step(log, 1)
    log.close()
    assert Runs(tmp_path).summaries()[0].name == "more"


def test_where_recipes_differ(tmp_path: Path) -> None:
    texts: dict[str, Any] = {
        "one": "rl: {steps: 4, lr: 0.1}\njudge: {api_key: first}\ndata: {}\n",
        "two": "rl: {steps: 5, lr: 0.1, group: 8}\njudge: {api_key: second}\ndata: {}\n",
    }
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text)
    runs = Runs(tmp_path)
    assert recipe_difference(runs.read("one"), runs.read("two")) == [
        ("rl.steps", "4", "5"),
        ("rl.group", "–", "8"),
    ]

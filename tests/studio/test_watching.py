"""The page Watch over HTTP: what its parts say, and what nobody can make it say or open."""

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from got_r1.studio import runs as runs_module
from got_r1.studio import watching
from got_r1.studio.guard import Guard
from got_r1.studio.model import Model
from studio.serving import Served, serve
from studio.watched import IMAGE, record, write_run, write_step

EVIL = "<img src=x onerror=alert(1)>&\"'</script>"
EVIL_NAME = "<img src=x onerror=alert(1)>&\"' ?#%2f.."
PARTS = (
    "/runs", "/runs/head", "/runs/curves?section=0", "/runs/curves?section=1",
    "/runs/curves?section=3", "/runs/gallery?kind=groups", "/runs/gallery?kind=samples",
    "/runs/history", "/runs/recipe",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched") / "runs"


@pytest.fixture(scope="module")
def watched(model: Model, folder: Path) -> Iterator[Served]:
    with write_run(folder / EVIL_NAME, 2, text=EVIL) as log:
        log.log_metrics(3, {f"other/{EVIL}": 1, "reward/total": 1})
        log.log_metrics(4, {f"other/{EVIL}": 2, "reward/total": 2})
    write_run(folder / "plain", 3).close()
    yield from serve(model, Guard("127.0.0.1"), runs=folder)


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_module, "_FRESH", 0.0)


def get(served: Served, path: str, **query: str | int) -> httpx.Response:
    """A part of a page, with its query put together as a browser does."""
    url = httpx.URL(served.url + path)
    return served.page.get(url.copy_merge_params({name: str(v) for name, v in query.items()}))


class Attributes(HTMLParser):
    """What a browser makes of a page: the names of all attributes, and every source."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.sources: set[str | None] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {name for name, _ in attrs}
        self.sources |= {value for name, value in attrs if name == "src"}


@pytest.mark.parametrize("path", [*PARTS, "/runs/list"])
def test_what_files_say_is_text(watched: Served, path: str) -> None:
    query = {} if path == "/runs/list" else {"run": EVIL_NAME, "with": "plain"}
    response = get(watched, path, **query)
    assert response.status_code == 200
    reader = Attributes()
    reader.feed(response.text)
    assert not reader.names & {"onerror", "style"}
    assert "x" not in reader.sources
    assert "&lt;img src=x" in response.text or "curves" in path


def test_a_part_that_has_not_changed_is_not_sent_again(watched: Served, folder: Path) -> None:
    log = write_run(folder / "growing", 1)
    path = f"{watched.url}/runs/head?run=growing"
    first = watched.page.get(path)
    held = {"If-None-Match": first.headers["etag"]}
    assert watched.page.get(path, headers=held).status_code == 304
    write_step(log, 2)
    log.close()
    second = watched.page.get(path, headers=held)
    assert (second.status_code, first.text == second.text) == (200, False)


def test_curves_of_a_run_that_goes_on_are_drawn_now_and_then(
    watched: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawing must not take the processor that the run may need."""
    log = write_run(folder / "drawn", 2)
    monkeypatch.setattr(watching, "_REST", 10**9)
    first = get(watched, "/runs/curves", run="drawn").text
    assert "<svg" in first
    write_step(log, 3)
    log.close()
    assert get(watched, "/runs/curves", run="drawn").text == first
    monkeypatch.setattr(watching, "_REST", 0)
    assert get(watched, "/runs/curves", run="drawn").text != first


def test_a_group_begins_with_its_largest_advantages(watched: Served) -> None:
    text = get(watched, "/runs/gallery", run="plain", kind="groups").text
    found = re.findall(r"<b>([+−][\d.]+)</b>", text)
    assert found == ["−1.50", "+1.00", "+0.10"]
    assert text.index("no part in the update") > text.index("+0.10")
    sources = re.findall(r'src="([^"]*)"', text)
    assert [re.findall(r"index=(\d)", source)[0] for source in sources] == ["1", "3", "0", "2"]
    image = watched.page.get(sources[0].replace("&amp;", "&"))
    assert image.headers["content-type"] == "image/png"
    assert image.content.startswith(b"\x89PNG")


def test_an_older_step_is_shown_where_it_is_asked_for(watched: Served) -> None:
    for path, query in (("gallery", {"kind": "samples"}), ("history", {"prompt": 1})):
        for step, shown in ((None, 3), (2, 2), (99, 3)):
            more = {} if step is None else {"step": step}
            text = get(watched, f"/runs/{path}", run="plain", **query, **more).text
            assert f'data-steps="1 2 3" data-step="{shown}"' in text
    assert text.count("a heart") >= 2


def test_two_runs_are_laid_over_each_other(watched: Served, folder: Path) -> None:
    write_run(folder / "second", 5, planned=5).close()
    alone = get(watched, "/runs/curves", run="plain").text
    both = get(watched, "/runs/curves", run="plain", **{"with": "second"}).text
    assert both.count("<figure>") == alone.count("<figure>") == 1
    for text, colors in ((alone, {"total"}), (both, {"a", "b"})):
        assert set(re.findall(r'stroke="var\(--(\w+)\)"', text)) - {"line"} == colors
    recipe = get(watched, "/runs/recipe", run="plain", **{"with": "second"}).text
    assert re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td>', recipe) == [
        ("rl.steps", "8", "5")
    ]
    assert "same recipe" in get(watched, "/runs/recipe", run="plain", **{"with": "plain"}).text


@pytest.mark.parametrize(
    "name", ["..", "../watched", "/etc", "plain/", "./plain", "plain/../plain", "plain\0", "none"]
)
@pytest.mark.parametrize("path", [*PARTS, "/runs/image?kind=samples&step=1&index=0"])
def test_only_a_name_of_the_listing_is_a_run(watched: Served, path: str, name: str) -> None:
    assert get(watched, path, run=name).status_code == 400
    if path in ("/runs", "/runs/curves?section=0", "/runs/recipe"):
        assert get(watched, path, run="plain", **{"with": name}).status_code == 400


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("kind=samples&step=1&index=9", 400),
        ("kind=samples&step=9&index=0", 400),
        ("kind=checkpoints&step=1&index=0", 422),
        ("kind=..&step=1&index=0", 422),
        ("kind=samples&step=../1&index=0", 422),
        ("kind=samples&step=1&index=../0", 422),
        ("kind=samples&step=1&index=-1", 422),
    ],
)
def test_no_path_of_a_client_is_opened(watched: Served, query: str, status: int) -> None:
    assert watched.page.get(f"/runs/image?run=plain&{query}").status_code == status


def damage(folder: Path, how: str) -> None:
    """Makes a run what a crash, a full disk or an earlier version leaves."""
    match how:
        case "empty files":
            for name in ("config.yaml", "metrics.jsonl"):
                (folder / name).write_bytes(b"")
        case "no recipe":
            (folder / "config.yaml").unlink()
        case "no metrics":
            (folder / "metrics.jsonl").unlink()
        case "not what is expected":
            (folder / "config.yaml").write_bytes(b"\xff\xfe- a: [")
            (folder / "metrics.jsonl").write_bytes(b'\xff\n{"step": "x"}\n{"step": 1e400}\n')
            for path in folder.rglob("000.json"):
                path.write_text(json.dumps({key: [None, "x"] for key in record()}))
        case "half a sample":
            for path in folder.rglob("001.json"):
                path.write_text('{"prompt": "a st')
            for path in folder.rglob("000.png"):
                path.unlink()
        case "halves of surrogate pairs":
            for path in folder.rglob("000.json"):
                path.write_text(json.dumps(record("\ud800")))
        case "an earlier version":
            shutil.rmtree(folder / "groups")
        case "only samples":
            (folder / "config.yaml").unlink()
            (folder / "metrics.jsonl").unlink()


@pytest.mark.parametrize(
    "how",
    [
        "empty files",
        "no recipe",
        "no metrics",
        "not what is expected",
        "half a sample",
        "halves of surrogate pairs",
        "an earlier version",
        "only samples",
    ],
)
def test_unfinished_and_damaged_runs_open(watched: Served, folder: Path, how: str) -> None:
    write_run(folder / how, 2).close()
    damage(folder / how, how)
    for path in (*PARTS, "/runs/list"):
        assert get(watched, path, run=how).status_code == 200, path
    if how == "an earlier version":
        assert "no whole group" in get(watched, "/runs/gallery", run=how, kind="groups").text
    shutil.rmtree(folder / how)


def test_the_largest_gallery_is_cut(watched: Served, folder: Path) -> None:
    with write_run(folder / "large", 0) as log:
        log.save_gallery(1, [(IMAGE, record())] * 70)
    text = get(watched, "/runs/gallery", run="large", kind="samples").text
    assert text.count("<article") == 64
    assert "64 of 70 samples" in text


def test_without_a_folder_there_is_no_such_page(studio: Served) -> None:
    assert studio.page.get("/runs").status_code == 404
    assert "Watch" not in studio.page.get("/").text

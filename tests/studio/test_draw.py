"""Writing, changing and drawing plans over HTTP, against what the command line gives."""

import io
import json
import shlex
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from got_r1.cli import main
from got_r1.plan.chain import parse
from got_r1.studio.model import METADATA, command_line
from got_r1.studio.worker import Event, Job, Worker
from studio.serving import PROMPT, Served, events

CHAIN = (
    "There is a <|obj_start|>red heart<|obj_end|> <|box_start|>(0,300),(400,700)<|box_end|> on the "
    "left of a <|obj_start|>blue star<|obj_end|> <|box_start|>(600,300),(999,700)<|box_end|>."
)


def test_a_plan_is_shown_while_it_is_written_and_is_the_command_lines(
    studio: Served, tmp_path: Path
) -> None:
    found = events(studio, "/api/plan", {"prompt": PROMPT, "seed": 3})
    texts = [event["chain"] for event in found if event["kind"] == "chain"]
    assert [event["kind"] for event in found[:2]] == ["queued", "queued"]
    assert len(texts) > 10
    assert all(later.startswith(one) for one, later in pairwise(texts))
    boxes = [len(event["objects"]) for event in found if event["kind"] == "chain"]
    assert boxes == sorted(boxes)  # a box appears when its coordinates are complete, and stays
    assert {1, 2} <= set(boxes)

    arguments = ["sample", "--model", "icons", "--prompt", PROMPT, "--seed", "3"]
    assert main([*arguments, "--out", str(tmp_path / "a"), "--json"]) == 0
    record = json.loads((tmp_path / "a" / "000.json").read_text())
    done = found[-1]
    assert done["kind"] == "done"
    assert done["candidates"][0]["chain"] == record["chain"]
    assert done["candidates"][0]["objects"] == record["objects"]


def test_the_best_of_several_plans_is_chosen_and_said_why(studio: Served) -> None:
    done = events(studio, "/api/plan", {"prompt": PROMPT, "plans": 4})[-1]
    assert len(done["candidates"]) == len(done["scores"]) == 4
    assert done["scores"][done["chosen"]] == max(done["scores"])
    assert done["why"]


def test_what_is_not_understood_is_said(studio: Served) -> None:
    done = events(studio, "/api/plan", {"prompt": "a red bicycle"})[-1]
    assert any("bicycle" in reason for reason in done["not_understood"])


def test_what_is_not_understood_is_said_of_a_picture_as_well(studio: Served) -> None:
    asked = {"prompt": "a red bicycle", "chain": CHAIN}
    done = events(studio, "/api/draw", asked)[-1]
    assert any("bicycle" in reason for reason in done["not_understood"])
    kept = studio.page.get(f"/api/history/{done['entry']}").json()
    assert kept["looks"][0]["not_understood"] == done["not_understood"]


def test_the_command_has_the_options_that_a_picture_depends_on() -> None:
    entry = {"prompt": PROMPT, "seed": 1, "guidance": 1.0, "image_temperature": 0.5}
    words = shlex.split(command_line("icons", entry, 1, ("--dtype", "bfloat16")))
    assert words[-4:] == ["--dtype", "bfloat16", "--out", "again"]


def test_a_picture_grows_is_kept_and_is_what_its_command_gives(
    studio: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"prompt": PROMPT, "chain": CHAIN, "seed": 7, "n": 2}
    found = events(studio, "/api/draw", asked)
    rows = [event["rows"] for event in found if event["kind"] == "image" and event["index"] == 0]
    assert rows == sorted(rows)
    assert rows
    done = found[-1]
    entry = studio.page.get(f"/api/history/{done['entry']}").json()
    assert entry["prompt"] == PROMPT
    assert [look["faults"] for look in entry["looks"]] == [[], []]

    monkeypatch.chdir(tmp_path)
    Path("plan.json").write_text(json.dumps({k: entry[k] for k in ("prompt", "prose", "objects")}))
    assert main([*shlex.split(entry["command"])[1:], "--json"]) == 0
    for index in range(2):
        kept = studio.page.get(f"/history/{done['entry']}/{index}.png").content
        with Image.open(io.BytesIO(kept)) as one, Image.open(f"again/{index:03}.png") as other:
            assert one.tobytes() == other.tobytes()


def test_an_exported_picture_opens_again(studio: Served) -> None:
    done = events(studio, "/api/draw", {"prompt": PROMPT, "chain": CHAIN})[-1]
    png = studio.page.get(f"/history/{done['entry']}/0.png").content
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        assert json.loads(image.text[METADATA])["prompt"] == PROMPT
    opened = studio.page.post("/api/open", content=png).json()
    assert (opened["prompt"], opened["chain"]) == (PROMPT, CHAIN)
    plan = json.dumps({"objects": opened["objects"], "prompt": PROMPT})
    assert studio.page.post("/api/open", content=plan).json()["objects"] == opened["objects"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n broken",
        b"[1, 2]",
        b"{}",
        b'{"objects": [{"name": "a", "box": [5, 5, 1, 1]}]}',
        b"\xff\xfe",
    ],
)
def test_a_file_that_is_no_plan_is_refused_in_a_sentence(studio: Served, data: bytes) -> None:
    response = studio.page.post("/api/open", content=data)
    assert response.status_code == 400
    assert response.json()["message"].endswith(".")


def test_text_and_boxes_are_one_plan(studio: Served) -> None:
    view = studio.page.post("/api/text", json={"prompt": PROMPT, "chain": CHAIN}).json()
    assert [one["name"] for one in view["objects"]] == ["red heart", "blue star"]
    assert view["pairs"][0]["relations"][0] == "on the left of"
    assert (view["problems"], view["faults"]) == ([], [])

    objects = view["objects"]
    objects[0]["box"] = [600, 700, 900, 999]
    body = {"prompt": PROMPT, "prose": view["prose"], "objects": objects}
    moved = studio.page.post("/api/boxes", json=body).json()
    assert [one.name for one in parse(moved["chain"]).objects] == ["red heart", "blue star"]
    assert moved["objects"] == objects
    assert any("left of" in fault for fault in moved["faults"])

    shorter = {"prompt": PROMPT, "prose": view["prose"], "objects": objects[:1]}
    alone = studio.page.post("/api/boxes", json=shorter).json()  # the prose names a second one
    assert [one["name"] for one in alone["objects"]] == ["red heart"]


def test_a_problem_is_named_at_its_place(studio: Served) -> None:
    broken = CHAIN.replace("(600,300)", "(600,3x0)")
    view = studio.page.post("/api/text", json={"prompt": PROMPT, "chain": broken}).json()
    first = view["problems"][0]
    assert first["what"] == "malformed coordinates"
    assert "(600,3x0)" in broken[first["at"] : first["at"] + 40]


def test_a_plan_is_mended(studio: Served) -> None:
    wrong = CHAIN.replace("(0,300),(400,700)", "(600,0),(900,300)").replace("left", "right")
    done = studio.page.post("/api/mend", json={"prompt": PROMPT, "chain": wrong}).json()
    assert done["repaired"]
    assert done["faults"] == []


def test_the_judge_says_why(studio: Served) -> None:
    done = events(studio, "/api/draw", {"prompt": PROMPT, "chain": CHAIN})[-1]
    verdict = events(studio, f"/api/judge/{done['entry']}/0", {})[-1]
    assert set(verdict["terms"]) == {"R_sem", "R_spa", "R_RI", "R_PI"}
    assert set(verdict["evidence"]) == set(verdict["terms"])
    assert [one["iou"] for one in verdict["found"]] == [one["iou"] for one in done_found(done)]
    assert all(0 < one["iou"] <= 1 for one in verdict["found"])
    kept = studio.page.get(f"/api/history/{done['entry']}").json()  # reopens whole
    assert kept["verdicts"]["0"] == {k: v for k, v in verdict.items() if k != "kind"}


def done_found(done: dict[str, Any]) -> list[dict[str, Any]]:
    """What was found in the first picture without a judge; the icon world's judge sees the same."""
    found: list[dict[str, Any]] = done["looks"][0]["found"]
    return found


def test_a_term_that_the_judge_cannot_answer_has_words(studio: Served) -> None:
    done = events(studio, "/api/draw", {"prompt": "a red bicycle", "chain": CHAIN})[-1]
    verdict = events(studio, f"/api/judge/{done['entry']}/0", {})[-1]
    assert verdict["total"] is None
    assert set(verdict["terms"]) < set(verdict["evidence"])


def test_a_plan_without_a_prompt_contradicts_none(studio: Served) -> None:
    view = studio.page.post("/api/text", json={"prompt": "", "chain": CHAIN}).json()
    assert (view["read"], view["faults"]) == (False, [])
    body = {"prompt": "", "objects": view["objects"]}
    assert studio.page.post("/api/boxes", json=body).json()["faults"] == []
    mended = studio.page.post("/api/mend", json={"prompt": "", "chain": CHAIN}).json()
    assert not mended["repaired"]
    assert studio.page.post("/api/draw", json={"prompt": "", "chain": CHAIN}).status_code == 422


def test_entries_are_listed_newest_first_and_deleted(studio: Served) -> None:
    body = {"prompt": PROMPT, "chain": CHAIN}
    name = events(studio, "/api/draw", body)[-1]["entry"]
    (studio.model.history.folder / "20200101-000000-000000-abcd").mkdir()  # damaged: no record
    listed = [one["name"] for one in studio.page.get("/api/history").json()]
    assert listed == sorted(listed, reverse=True)
    assert name in listed
    assert studio.page.delete(f"/api/history/{name}").status_code == 200
    assert studio.page.get(f"/api/history/{name}").status_code == 400


def test_a_closed_tab_stops_its_work(studio: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Job] = []
    drawn = threading.Event()
    submit, decode = Worker.submit, studio.model.policy.decode_images

    def noted(worker: Worker, work: Callable[[Job], Event]) -> Job:
        jobs.append(submit(worker, work))
        return jobs[-1]

    def slow(ids: Tensor) -> NDArray[np.uint8]:
        drawn.set()
        assert jobs[0].cancelled.wait(300)  # the server has seen that the tab is closed
        return decode(ids)

    monkeypatch.setattr(Worker, "submit", noted)
    monkeypatch.setattr(studio.model.policy, "decode_images", slow)
    body = {"prompt": PROMPT, "chain": CHAIN}
    before = studio.model.history.names(most=10_000)
    with studio.page.stream("POST", "/api/draw", json=body):
        assert drawn.wait(300)  # then the tab is closed
    behind = events(studio, "/api/draw", body)[-1]["entry"]
    assert studio.model.history.names(most=10_000) == [behind, *before]


@pytest.mark.parametrize(
    ("url", "body", "where"),
    [
        ("/api/plan", {"prompt": ""}, "prompt"),
        ("/api/plan", {"prompt": "x" * 2001}, "prompt"),
        ("/api/plan", {"prompt": "x", "plans": 17}, "plans"),
        ("/api/plan", {"prompt": "x", "more": 1}, "more"),
        ("/api/draw", {"prompt": "x", "chain": CHAIN, "n": 9}, "n"),
        ("/api/draw", {"prompt": "x", "chain": CHAIN, "guidance": -1}, "guidance"),
        ("/api/draw", {"prompt": "x", "chain": CHAIN, "seed": -1}, "seed"),
    ],
)
def test_a_request_beyond_the_limits_is_refused(
    studio: Served, url: str, body: dict[str, Any], where: str
) -> None:
    response = studio.page.post(url, json=body)
    assert response.status_code == 422
    assert response.json()["message"].startswith(where)

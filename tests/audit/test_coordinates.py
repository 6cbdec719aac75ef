"""`audit grounding`, against a real server that answers in each convention."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from got_r1.audit.coordinates import READINGS, Shown, _scenes
from got_r1.cli import main
from judges.scripted_server import Action, Reply, Request, ScriptedServer, Status

SCENES = 6
TRUTH: dict[tuple[str, bool], list[Shown]] = {}  # by the asked name, and whether it is wide
for one, _ in zip(_scenes(0), range(SCENES), strict=False):
    size = one.query.image.shape
    TRUTH.setdefault((one.name, size[1] > size[0]), []).append(one)


def truth(request: Request) -> tuple[tuple[float, ...], int, int]:
    """The asked object's box in shares, and the size of the image that was sent."""
    (image,) = request.images
    height, width = image.shape[:2]
    found = re.search(r"<name>\n(.*)\n</name>", request.text)
    assert found
    several = TRUTH[found[1], width > height]
    assert len(several) == 1
    return several[0].truth, width, height


def answers_in(scale: str, order: str) -> Callable[[Request], Action]:
    """A model that was trained on one convention, and gives it whatever it is asked for."""

    def script(request: Request) -> Action:
        (x1, y1, x2, y2), width, height = truth(request)
        w, h = {"pixels": (width, height), "thousand": (1000, 1000), "shares": (1, 1)}[scale]
        numbers = [x1 * w, y1 * h, x2 * w, y2 * h]
        if order == "yx":
            numbers = [numbers[place] for place in (1, 0, 3, 2)]
        shown = [round(number, 3) if scale == "shares" else round(number) for number in numbers]
        key = "box_2d" if order == "yx" and scale == "thousand" else "bbox_2d"
        return Reply(json.dumps([{key: shown}]))

    return script


def audit(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = main(["audit", "grounding", "--scenes", str(SCENES), *argv])
    return code, capsys.readouterr().out


@pytest.mark.parametrize(
    ("reading", "setting"),
    [
        ("pixels", "pixels"),
        ("thousand, y first", "thousand_yx"),
        ("shares", "pixels"),
        pytest.param("thousand", "thousand", marks=pytest.mark.slow),
        pytest.param("shares, y first", "thousand_yx", marks=pytest.mark.slow),
        pytest.param("pixels, y first", None, marks=pytest.mark.slow),
    ],
)
def test_the_convention_of_the_replies_is_found(
    capsys: pytest.CaptureFixture[str], reading: str, setting: str | None
) -> None:
    with ScriptedServer(answers_in(*READINGS[reading])) as server:
        code, printed = audit(capsys, "--judge", f"openai:unknown@{server.url}", "--json")
        assert len(server.requests) == 3 * SCENES  # in three conventions, none twice
    assert code == 0
    result = json.loads(printed)
    assert result["fits"] == setting
    asked = result["asked"][setting or "pixels"]
    means = {name: one["mean_iou"] for name, one in asked["readings"].items()}
    assert max(means, key=lambda name: means[name]) == reading
    assert means[reading] > 0.9
    assert asked["readings"][reading]["hits"] == asked["boxes"] == SCENES
    assert sorted(means.values())[-2] < 0.5


def test_the_table_names_the_setting(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with ScriptedServer(answers_in("thousand", "xy")) as server:
        file = tmp_path / "judge.yaml"
        file.write_text(f"openai: {{model: m, urls: {server.url}}}\nr_sem: oracle\n")
        code, printed = audit(capsys, "--judge", str(file))
    assert code == 0
    assert "6 scenes, sent as 392 x 588 and 588 x 392 pixels" in printed
    assert re.search(r"^thousand +6/6 +0\.\d\d \(\d\)", printed, re.MULTILINE)
    assert "Set wording.coordinates: thousand in the judge's file (mean IoU " in printed


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (lambda request: Reply("[]"), "No convention fits"),
        pytest.param(
            lambda request: Reply("I cannot see the image."),
            "No convention fits",
            marks=pytest.mark.slow,
        ),
        (answers_in("pixels", "yx"), "answers in pixels, y first, which wording.coordinates does"),
    ],
)
def test_where_nothing_fits_it_is_said(
    capsys: pytest.CaptureFixture[str], script: Callable[[Request], Action], told: str
) -> None:
    with ScriptedServer(script) as server:
        code, printed = audit(capsys, "--judge", f"openai:unknown@{server.url}")
    assert code == 0
    assert told in printed
    assert "do not use it for R_RI" in printed.replace("Do", "do")


def test_a_judge_without_replies_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "grounding", "--judge", "oracle"]) == 2
    assert "'oracle' is none" in capsys.readouterr().err
    with ScriptedServer(lambda request: Status(404, "no such model")) as server:
        assert main(["audit", "grounding", "--judge", f"openai:m@{server.url}"]) == 1
    assert "gave no reply to read boxes from" in capsys.readouterr().err

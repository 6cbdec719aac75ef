"""R_RI means the same whoever judges: a name has as many boxes as are planned for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from got_r1.icons.render import render
from got_r1.icons.world import Icon, Scene, box_from_cells
from got_r1.judges.experts import ExpertsJudge
from got_r1.judges.mllm import question, verdict
from got_r1.judges.oracle import OracleJudge
from got_r1.judges.settings import ExpertsSettings, MLLMSettings
from got_r1.plan.chain import format_chain, parse
from got_r1.plan.layout import counted
from got_r1.records import Box, Chain, GroundingQuery, JudgeFailure, PlannedObject, Verdict
from got_r1.rewards import mean_iou
from got_r1.vision import Detection

LEFT, RIGHT = box_from_cells(0, 3, 4, 4), box_from_cells(6, 3, 4, 4)
IMAGE = render(Scene(tuple(Icon("heart", "red", "plain", box) for box in (LEFT, RIGHT))))


def plan(*boxes: Box) -> Chain:
    return parse(format_chain(PlannedObject("red heart", box) for box in boxes))


def by_oracle(query: GroundingQuery) -> Verdict | JudgeFailure:
    (answer,) = OracleJudge().judge([query])
    return answer


def by_experts(query: GroundingQuery) -> Verdict | JudgeFailure:
    class Sees:
        name, labels = "a detector", None

        def detect(
            self, images: Sequence[object], vocabularies: Sequence[Sequence[str]]
        ) -> list[list[Detection]]:
            boxes = ((RIGHT, 0.6), (LEFT, 0.9))
            return [[Detection("red heart", pixels(box), sure) for box, sure in boxes]]

    judge = ExpertsJudge(ExpertsSettings())
    judge.detector = Sees()
    (answer,) = judge.judge([query])
    return answer


def by_model(query: GroundingQuery) -> Verdict | JudgeFailure:
    settings = MLLMSettings(coordinates="thousand")
    boxes = [[box.x1, box.y1, box.x2, box.y2] for box in (LEFT, RIGHT)]
    reply = json.dumps([{"bbox_2d": box, "label": "red heart"} for box in boxes])
    return verdict(query, [asked.read(reply) for asked in question(query, settings)])


def pixels(box: Box) -> tuple[float, float, float, float]:
    height, width = IMAGE.shape[:2]
    across, down = width / 999, height / 999
    return box.x1 * across, box.y1 * down, box.x2 * across, box.y2 * down


Judged = Callable[[GroundingQuery], Verdict | JudgeFailure]


@pytest.mark.parametrize("judged", [by_oracle, by_experts, by_model])
def test_drawing_an_object_twice_does_not_pay(judged: Judged) -> None:
    """All judges see the left heart first; the right one counts only where two are planned."""

    def r_ri(*boxes: Box) -> float:
        answer = judged(GroundingQuery(plan(*boxes), IMAGE))
        assert isinstance(answer, Verdict)
        return mean_iou(plan(*boxes), answer.found)

    assert r_ri(LEFT) == pytest.approx(1.0, abs=0.05)
    assert r_ri(RIGHT) == 0.0
    assert r_ri(RIGHT, LEFT) == pytest.approx(1.0, abs=0.05)


def test_the_first_of_each_name_count() -> None:
    assert counted(["a", "b", "a"], ["b", "a", "c", "b", "a", "a"]) == (0, 1, 4)
    assert counted([], ["a"]) == ()

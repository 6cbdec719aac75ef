"""Agreement with a teacher, by hand."""

import numpy as np
import pytest
import torch

from got_r1.student.agreement import agreement, calibration_error


def one_hot(*marks: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(marks), 11).float()


def test_by_hand() -> None:
    unsure = torch.zeros(1, 11)
    unsure[0, [0, 10]] = 0.5  # score 0.5, doubt 0.5
    found = agreement(torch.cat([one_hot(10, 0), unsure]), torch.tensor([1.0, 0.2, 1.0]))
    assert found["queries"] == 3
    assert found["mean_error"] == pytest.approx((0 + 0.2 + 0.5) / 3)
    assert [one["share"] for one in found["asked"]] == pytest.approx([1 / 3] * 5)
    assert [one["mean_error"] for one in found["asked"]] == pytest.approx([0.1] * 5)


def test_the_doubt_above_which_a_share_is_asked() -> None:
    p = torch.zeros(100, 11)
    p[:, 0] = torch.linspace(0.5, 1, 100)  # ever surer
    p[:, 10] = 1 - p[:, 0]
    doubts = (p[:, 0] * p[:, 10]).sqrt()
    for share, doubt in agreement(p, torch.zeros(100))["doubt_at"].items():
        assert float((doubts > doubt).float().mean()) == pytest.approx(float(share), abs=0.011)


def test_a_constant_student_has_no_correlation() -> None:
    assert agreement(one_hot(3, 3), torch.tensor([0.0, 1.0]))["correlation"] is None


def test_calibration_by_hand() -> None:
    p = np.zeros((4, 11))
    p[:, 10], p[:, 0] = 0.75, 0.25
    assert calibration_error(p, np.array([1.0, 1.0, 1.0, 0.0])) == pytest.approx(0)
    assert calibration_error(p, np.array([0.0, 0.0, 0.0, 0.0])) == pytest.approx(0.75)

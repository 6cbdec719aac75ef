"""Folders of steps, in the order of their numbers."""

from pathlib import Path

from got_r1.files.step_folders import step_folders
from got_r1.training.checkpoint import newest_checkpoint


def test_steps_are_numbers_not_text(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    for name in ("step_999900", "step_1000000", "step_000100", "step_", "step_5.partial", "final"):
        (checkpoints / name).mkdir(parents=True)
    (checkpoints / "step_2000000").write_text("a file is no checkpoint")
    assert list(step_folders(checkpoints)) == [100, 999900, 1000000]
    assert newest_checkpoint(tmp_path) == checkpoints / "step_1000000"
    assert step_folders(tmp_path / "absent") == {}
    assert newest_checkpoint(tmp_path / "absent") is None

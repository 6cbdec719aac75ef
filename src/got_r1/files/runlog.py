"""The run folder, and the only code that writes it (checkpoints aside).

    <run.dir>/
      config.yaml            the resolved recipe
      judge_settings.yaml    what its judge stood for: the settings of specs and judge files (RL)
      resumes.jsonl          one JSON object a resume with other settings: `step`, `changes`
      metrics.jsonl          one JSON object a step
      samples/step_000010/   000.png and 000.json, 001.png ...: a gallery of that step
      evals/<name>.json      an evaluation ("sft", "rl")
      judge_failures.jsonl   one JSON object a failure, with what the judge replied
      judge_cache/           the judge's answers, kept by the judge itself
      tensorboard/           the same numbers for TensorBoard
      checkpoints/           written by training
      tokens/                the training set as tokens (SFT without data.shards)
      report.html            written by the report

Metrics, one line a step (a stage writes those it has; a number that is not finite is null):

    step                        counted from 1
    loss, lr, grad_norm         the step's loss, learning rate, gradient norm before clipping
    skipped_updates             1 in a step whose update was skipped (numbers that are not finite)
    loss/chain, loss/image      its parts (SFT)
    reward/total, reward/<term> mean over the step's samples; terms r_sem r_spa r_ri r_pi r_hps
    group_std/total, /<term>    standard deviation inside a group, mean over groups
    kl                          k3 estimate to the reference policy, per token
    entropy/chain, /image       of the sampling distribution, nats per token
    ratio_gap                   mean |exp(replayed - sampled log-prob) - 1|: sampler against replay
    clip_fraction               share of tokens whose ratio was clipped
    dropped_samples             samples that left their group because a judge failed
    skipped_groups              groups without variance
    malformed_chains            chains with problems
    chain_tokens                mean length of a chain
    tokens_per_second           sampled tokens, chain and image, over the rollout's time
    seconds/rollout, /update, /total
    seconds/judge_hidden        judging while images were drawn
    seconds/judge_waited        judging that the step waited for
    seconds/judge               both

A sample's record: `step`, `sample` (index in its group), `seed`, `prompt`, `category`, `chain`
(text with its tags), `objects` and `found` ([{"name", "box": [x1, y1, x2, y2]}], 0 to 999),
`problems`, `reward` ({"total", "terms": {term: score}}), `evidence` ({term: text}), `advantage`.

An evaluation: `name`, `benchmark`, `split`, `prompts`, `seed`, `guidance`, and `metrics`
({metric: {"overall": {"mean", "low", "high", "n"}, "by_category": {category: the same}}}).
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from got_r1.errors import BadInput
from got_r1.files.atomic import encoded, translate_os_errors, write_bytes, write_text
from got_r1.files.parsing import parse_json
from got_r1.files.step_folders import step_folders

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["JUDGE", "RunLog"]

JUDGE = "judge_settings.yaml"
_EVAL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class RunLog:
    """Writes one run folder. Make it with `create` or `resume`; close it, or use `with`."""

    def __init__(self, run_dir: Path, *, tensorboard: bool, purge_step: int | None) -> None:
        self.run_dir = run_dir
        self._metrics_path = run_dir / "metrics.jsonl"
        self._failures_path = run_dir / "judge_failures.jsonl"
        self._tensorboard = tensorboard
        self._purge_step = purge_step
        self._board: SummaryWriter | None = None

    @classmethod
    def create(
        cls,
        run_dir: Path | str,
        config_yaml_text: str,
        judge_yaml_text: str | None = None,
        *,
        tensorboard: bool = True,
    ) -> RunLog:
        """Start a run in a new or empty folder, with its recipe and its judge's settings.

        Raises:
            BadInput: the folder holds something already, or cannot be written.
        """
        run_dir = Path(run_dir)
        if run_dir.exists() and not run_dir.is_dir():
            raise BadInput(f"Run folder {run_dir} is a file; choose another run.dir.")
        if run_dir.exists() and any(map(_is_content, run_dir.iterdir())):
            raise BadInput(
                f"Run folder {run_dir} exists and is not empty; "
                "choose another run.dir, or add --resume to continue the run in it."
            )
        write_text(run_dir / "config.yaml", config_yaml_text)
        if judge_yaml_text is not None:  # last: a folder with a recipe alone can be resumed
            write_text(run_dir / JUDGE, judge_yaml_text)
        return cls(run_dir, tensorboard=tensorboard, purge_step=None)

    @classmethod
    def resume(cls, run_dir: Path | str, step: int, *, tensorboard: bool = True) -> RunLog:
        """Continue a run from the checkpoint of `step` (0: from the start).

        What the interrupted run wrote about later steps is removed, so that the resumed run
        leaves the same files as one that was never interrupted.

        Raises:
            BadInput: there is no run in the folder.
        """
        run_dir = Path(run_dir)
        if not (run_dir / "config.yaml").is_file():
            raise BadInput(
                f"There is no run to resume in {run_dir}; check run.dir, or start without --resume."
            )
        log = cls(run_dir, tensorboard=tensorboard, purge_step=step + 1)
        log._forget_after(step)
        return log

    def save_recipe(
        self,
        step: int,
        config_yaml_text: str,
        judge_yaml_text: str | None,
        changes: Sequence[Mapping[str, Any]],
    ) -> None:
        """Save the recipe that the run goes on with behind `step`, and what `changes` in it:
        `setting`, `before`, `now`.

        Raises:
            RunFailed: the disk is full.
        """
        if changes:
            path = self.run_dir / "resumes.jsonl"
            with translate_os_errors(path):
                _append(path, encoded(_to_json({"step": step, "changes": changes}) + "\n"))
            write_text(self.run_dir / "config.yaml", config_yaml_text)
        if judge_yaml_text is not None and (changes or not (self.run_dir / JUDGE).exists()):
            write_text(self.run_dir / JUDGE, judge_yaml_text)

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one step's metrics; they are on the disk when this returns.

        Raises:
            RunFailed: the disk is full; the file ends with the step before.
        """
        numbers = {key: float(value) for key, value in metrics.items() if key != "step"}
        line = _to_json({"step": step, **numbers}) + "\n"
        with translate_os_errors(self._metrics_path):
            _append(self._metrics_path, line.encode())
            if self._tensorboard:
                board = self._open_board()
                for key, value in numbers.items():
                    board.add_scalar(key, value, step)

    def save_sample(
        self, step: int, index: int, image: np.ndarray, record: Mapping[str, Any]
    ) -> None:
        """Save sample `index` of a step's gallery: `image` uint8 [height, width, 3], its record."""
        folder = self.run_dir / "samples" / f"step_{step:06d}"
        png = io.BytesIO()
        Image.fromarray(np.asarray(image, dtype=np.uint8)).save(png, format="PNG")
        # The record last: where there is a record, there is its image.
        write_bytes(folder / f"{index:03d}.png", png.getvalue(), durable=False)
        text = _to_json({"step": step, **record}, indent=2)
        write_text(folder / f"{index:03d}.json", text, durable=False)

    def log_judge_failures(self, step: int, failures: Sequence[Mapping[str, Any]]) -> None:
        """Append a step's judge failures: `prompt`, `sample`, `term`, `reason`, `reply`.

        Raises:
            RunFailed: the disk is full; the file ends with the step before.
        """
        if failures:
            lines = "".join(_to_json({"step": step, **failure}) + "\n" for failure in failures)
            with translate_os_errors(self._failures_path):
                _append(self._failures_path, encoded(lines))

    def save_eval(self, name: str, result: Mapping[str, Any]) -> None:
        """Save an evaluation as `evals/<name>.json`, replacing one of the same name.

        Raises:
            BadInput: `name` is not a plain file name.
        """
        if not _EVAL_NAME.fullmatch(name):
            raise BadInput(
                f"Evaluation name {name!r} cannot name a file; use letters, digits, '-', '_', '.'."
            )
        write_text(self.run_dir / "evals" / f"{name}.json", _to_json(result, indent=2))

    def close(self) -> None:
        """Flush and close TensorBoard's file; the rest is on the disk already."""
        if self._board is not None:
            with translate_os_errors(self.run_dir / "tensorboard"):
                self._board.close()
            self._board = None

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_board(self) -> SummaryWriter:
        if self._board is None:
            # Imported here: it brings torch, which the report's reader must not need.
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(
                str(self.run_dir / "tensorboard"), purge_step=self._purge_step
            )
        return self._board

    def _forget_after(self, step: int) -> None:
        for path in (self._metrics_path, self._failures_path):
            if path.exists():
                lines = path.read_bytes().splitlines(keepends=True)
                kept = b"".join(line for line in lines if _is_up_to(step, line))
                write_bytes(path, kept)
        for number, folder in step_folders(self.run_dir / "samples").items():
            if number > step:
                shutil.rmtree(folder)


def _is_content(path: Path) -> bool:
    """Anything but the recipe's first write, had the process been killed in it, and what a judge
    answered before the run began."""
    return path.name not in (".config.yaml.partial", "judge_cache")


def _is_up_to(step: int, line: bytes) -> bool:
    """Whether a line is whole and of `step` or before."""
    if not line.endswith(b"\n"):
        return False
    try:
        row = parse_json(line)
    except ValueError:
        return False
    return isinstance(row, dict) and isinstance(row.get("step"), int) and row["step"] <= step


def _append(path: Path, data: bytes) -> None:
    """Append and flush to the disk; on failure the file is cut back to what it was."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        try:
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        except BaseException:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def _to_json(value: Any, *, indent: int | None = None) -> str:
    text = json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return text if indent is None else text + "\n"


def _finite(value: Any) -> Any:
    """`value` with NaN and infinities as None (JSON has neither) and numpy scalars as Python's."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value

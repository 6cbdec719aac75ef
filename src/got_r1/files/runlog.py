"""The run folder, and the only code that writes it (checkpoints aside).

    <run.dir>/
      config.yaml            the resolved recipe
      judge_settings.yaml    what its judge stood for: the settings of specs and judge files (RL)
      resumes.jsonl          one JSON object a resume with other settings: `step`, `changes`
      metrics.jsonl          one JSON object a step
      samples/step_000010/   000.png and 000.json, 001.png ...: a gallery of that step
      groups/step_000010/    the same of one whole group: all samples of one prompt (RL)
      probes/step_000000/    the same of fixed prompts, always with the same noise
      evals/<name>.json      an evaluation ("sft", "rl")
      watch.jsonl            one JSON object a look of the held-out judge (watch.judge)
      watched/step_000000/   images that the trained judge is asked about again at each look
      alarms.jsonl           one JSON object an alarm that rang (audit.alarms)
      judge_failures.jsonl   one JSON object a failure, with what the judge replied
      judge_cache/           the judge's answers, kept by the judge itself
      tensorboard/           the same numbers for TensorBoard (run.track)
      wandb/                 the sessions of W&B (run.track)
      tracking.json          how W&B and Trackio know the run: `id`, `shown` ({tracker: step})
      checkpoints/           written by training: the newest, and those that an alarm keeps
      student/               the judge's student as it was in the end (judge.learn)
      tokens/                the training set as tokens (SFT without data.shards)
      report.html            written by the report

Metrics, one line a step (a stage writes those it has; a number that is not finite is null):

    step                        counted from 1
    loss, lr, grad_norm         the step's loss, learning rate, gradient norm before clipping
    skipped_updates             1 in a step whose update was skipped (numbers that are not finite)
    loss/chain, loss/image      its parts (SFT)
    reward/total, reward/<term> mean over the step's samples; terms r_sem r_spa r_ri r_pi r_hps
    group_std/total, /<term>    standard deviation inside a group, mean over groups
    wording_gap/total, /<term>  best minus worst wording of a meaning in mean reward, mean over
                                meanings (with rl.paraphrases)
    kl                          k3 estimate to the reference policy, per token
    entropy/chain, /image       of the sampling distribution, nats per token
    ratio_gap                   mean |exp(replayed - sampled log-prob) - 1|: sampler against replay
    clip_fraction               share of tokens whose ratio was clipped
    teacher_share               share of answers that a student's teacher gave (judge.teacher)
    student_error/<term>        mean difference of the two's scores where the teacher was asked
    student_answers, _loss      how many of its answers the student learnt from in the step, and its
                                loss on them before (judge.learn); student_skipped: 1 where its
                                update was skipped
    dropped_samples             samples that left their group because a judge failed
    skipped_groups              groups without variance
    malformed_chains            chains with problems
    unplanned_chains            chains without a planned object
    appealing_chains            chains that talk to the grader (plan.appeals)
    duplicate_plans             share of a group's plans that another of its samples has too, mean
                                over groups
    prose_characters            mean characters of a chain outside its plan (plan.chain.prose)
    chain_tokens                mean length of a chain
    tokens_per_second           sampled tokens, chain and image, over the rollout's time
    seconds/rollout, /update, /total, /student
    seconds/judge_hidden        judging while images were drawn
    seconds/judge_waited        judging that the step waited for
    seconds/judge               both
    watch/total, /<term>        the held-out judge's mean on the fixed prompts; watch_half/* half
                                the width of its 95% interval over prompts
    watch_trained/*             what the judge that rewards says of the same images
    watch_samples/*             the held-out judge's mean on some of the step's own samples
    watch_samples_trained/*     what the judge that rewards says of these
    watch_trained_half/*, watch_samples_half/*, watch_samples_trained_half/*
                                half the widths of their 95% intervals
    judge_drift/<term>          mean difference of the trained judge's answers about the images in
                                watched/ from its first ones
    seconds/watch               what it cost
    alarm/<name>                1 in the step in which an alarm rang

A look, a line of `watch.jsonl`: `step` (0: before the first update), `prompts` and `samples`, lists
of {"prompt", "trained": {term: score}, "held_out": {term: score}} (a term that a judge could not
answer is left out), and `reasked`, a list of {"prompt", "first", "again", "now"}: what the trained
judge said of an image in watched/ when it was drawn, at once a second time, and now. watched/
also has some images of each look, for the alarms.

A sample's record: `step`, `sample` (index in its group), `seed`, `prompt`, `category`, `chain`
(text with its tags), `objects` and `found` ([{"name", "box": [x1, y1, x2, y2]}], 0 to 999, with
"depth" and "time" where a box has them),
`problems`, `reward` ({"total", "terms": {term: score}}), `evidence` ({term: text}), `advantage`.

An evaluation: `name`, `benchmark`, `split`, `prompts`, `seed`, `guidance`, and `metrics`
({metric: {"overall": {"mean", "low", "high", "n"}, "by_category": {category: the same}}}).
"""

from __future__ import annotations

import io
import json
import math
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from got_r1.errors import BadInput, RunFailed, first_line
from got_r1.files.atomic import (
    encoded,
    replace_folder,
    translate_os_errors,
    write_bytes,
    write_text,
)
from got_r1.files.lines import append, is_up_to, last_step, size
from got_r1.files.step_folders import step_folders
from got_r1.files.trackers.base import DEFAULT, GalleryRow, Tracker, Tracking
from got_r1.files.trackers.opening import open_trackers
from got_r1.progress import note

__all__ = ["JUDGE", "RunLog"]

JUDGE = "judge_settings.yaml"
CLOSING = 90.0  # seconds that the trackers of a run may take to end (our choice)
CLOSING_INTERRUPTED = 0.3  # after Ctrl-C, which ends a command within two seconds
Kind = Literal["samples", "groups", "probes", "watched"]
_EVAL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class RunLog:
    """Writes one run folder. Make it with `create` or `resume`; close it, or use `with`."""

    def __init__(self, run_dir: Path, trackers: Mapping[str, Tracker]) -> None:
        self.run_dir = run_dir
        self._metrics_path = run_dir / "metrics.jsonl"
        self._failures_path = run_dir / "judge_failures.jsonl"
        self._watch_path = run_dir / "watch.jsonl"
        self._alarms_path = run_dir / "alarms.jsonl"
        self._trackers = dict(trackers)
        # Bytes of the files that are appended to, as this run left them.
        self._sizes = {path: size(path) for path in self._appended}
        self.missing_steps = 0
        """Steps before the one resumed from whose metrics are not in `metrics.jsonl`."""

    @classmethod
    def create(
        cls,
        run_dir: Path | str,
        config_yaml_text: str,
        judge_yaml_text: str | None = None,
        *,
        tracking: Tracking = DEFAULT,
    ) -> RunLog:
        """Start a run in a new or empty folder, with its recipe and its judge's settings.

        Raises:
            BadInput: the folder holds something already, or cannot be written.
        """
        run_dir = Path(run_dir)
        cls.check_new(run_dir)
        write_text(run_dir / "config.yaml", config_yaml_text)
        if judge_yaml_text is not None:  # last: a folder with a recipe alone can be resumed
            write_text(run_dir / JUDGE, judge_yaml_text)
        return cls(run_dir, open_trackers(run_dir, tracking, resumed_from=None))

    @staticmethod
    def check_new(run_dir: Path) -> None:
        """Raises BadInput where `create` would, for what the folder holds."""
        if run_dir.exists() and not run_dir.is_dir():
            raise BadInput(f"Run folder {run_dir} is a file; choose another run.dir.")
        if run_dir.exists() and any(map(_is_content, run_dir.iterdir())):
            _check_not_a_part(run_dir)
            raise BadInput(
                f"Run folder {run_dir} exists and is not empty; "
                "choose another run.dir, or add --resume to continue the run in it."
            )

    @classmethod
    def resume(cls, run_dir: Path | str, step: int, *, tracking: Tracking = DEFAULT) -> RunLog:
        """Continue a run from the checkpoint of `step` (0: from the start).

        What the interrupted run wrote about later steps is removed, so that the resumed run
        leaves the same files as one that was never interrupted.

        Raises:
            BadInput: there is no run in the folder.
        """
        run_dir = Path(run_dir)
        if not (run_dir / "config.yaml").is_file():
            _check_not_a_part(run_dir)
            raise BadInput(
                f"There is no run to resume in {run_dir}; check run.dir, or start without --resume."
            )
        logged = last_step(run_dir / "metrics.jsonl")
        trackers = open_trackers(run_dir, tracking, resumed_from=step, logged=logged)
        log = cls(run_dir, trackers)
        log._forget_after(step)
        return log

    @property
    def _appended(self) -> tuple[Path, ...]:
        """The files that lines are appended to."""
        return self._metrics_path, self._failures_path, self._watch_path, self._alarms_path

    def check_folder(self) -> None:
        """Raises RunFailed where the run folder is not there any more: writing would make a part
        of it again."""
        if not (self.run_dir / "config.yaml").is_file():
            raise RunFailed(
                f"the run stops, since {self.run_dir / 'config.yaml'} is gone: its folder was "
                "deleted or moved while it ran; put it back and go on with --resume, or start again"
            )

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
                append(path, encoded(_to_json({"step": step, "changes": changes}) + "\n"))
            write_text(self.run_dir / "config.yaml", config_yaml_text)
        if judge_yaml_text is not None and (changes or not (self.run_dir / JUDGE).exists()):
            write_text(self.run_dir / JUDGE, judge_yaml_text)

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one step's metrics; they are on the disk when this returns.

        Raises:
            RunFailed: the disk is full, and the file ends with the step before; or the folder was
                deleted, or the file deleted or changed, since the run wrote it last.
        """
        numbers = {key: float(value) for key, value in metrics.items() if key != "step"}
        self._append(self._metrics_path, _to_json({"step": step, **numbers}) + "\n")
        self._track(lambda tracker: tracker.log(step, numbers))

    def save_gallery(self, step: int, samples: Sequence[GalleryRow]) -> None:
        """Save a step's samples, each an image (uint8 [height, width, 3]) and its record."""
        self._save_whole("samples", step, samples)
        self._track(lambda tracker: tracker.gallery(step, samples))

    def save_group(self, step: int, samples: Sequence[GalleryRow]) -> None:
        """As `save_gallery`, all samples of one prompt; trackers are not told."""
        self._save_whole("groups", step, samples)

    def save_probes(self, step: int, samples: Sequence[GalleryRow]) -> None:
        """As `save_gallery`, of the run's fixed prompts; trackers are not told."""
        self._save_whole("probes", step, samples)

    def _save_whole(self, kind: Kind, step: int, samples: Sequence[GalleryRow]) -> None:
        """Saves a gallery beside its place and renames it: who looks on sees all of it or nothing.

        Raises:
            RunFailed: as `save_sample`.
        """
        self.check_folder()
        with replace_folder(self.run_dir / kind / f"step_{step:06d}") as folder:
            for index, (image, record) in enumerate(samples):
                _write_sample(folder, step, index, image, record)

    def save_sample(
        self,
        step: int,
        index: int,
        image: np.ndarray,
        record: Mapping[str, Any],
        kind: Kind = "samples",
    ) -> None:
        """Save sample `index` of a step's gallery: `image` uint8 [height, width, 3], its record.

        Raises:
            RunFailed: the disk is full, or the folder was deleted.
        """
        self.check_folder()
        _write_sample(self.run_dir / kind / f"step_{step:06d}", step, index, image, record)

    def log_judge_failures(self, step: int, failures: Sequence[Mapping[str, Any]]) -> None:
        """Append a step's judge failures: `prompt`, `sample`, `term`, `reason`, `reply`.

        Raises:
            RunFailed: as `log_metrics`.
        """
        if failures:
            lines = "".join(_to_json({"step": step, **failure}) + "\n" for failure in failures)
            self._append(self._failures_path, lines)

    def log_watch(self, step: int, look: Mapping[str, Any]) -> None:
        """Append what the held-out judge saw behind `step` updates.

        Raises:
            RunFailed: as `log_metrics`.
        """
        self._append(self._watch_path, _to_json({"step": step, **look}) + "\n")

    def log_alarm(self, alarm: Mapping[str, Any]) -> None:
        """Append an alarm that rang: `name`, `step`, `since`, `message`, `cause`, `advice`, `term`,
        `samples`.

        Raises:
            RunFailed: as `log_metrics`.
        """
        self._append(self._alarms_path, _to_json(alarm) + "\n")

    def save_eval(self, name: str, result: Mapping[str, Any]) -> None:
        """Save an evaluation as `evals/<name>.json`, replacing one of the same name.

        Raises:
            BadInput: `name` is not a plain file name.
            RunFailed: the disk is full, or the folder was deleted.
        """
        self.check_folder()
        if not _EVAL_NAME.fullmatch(name):
            raise BadInput(
                f"Evaluation name {name!r} cannot name a file; use letters, digits, '-', '_', '.'."
            )
        write_text(self.run_dir / "evals" / f"{name}.json", _to_json(result, indent=2))

    def close(self, *, interrupted: bool = False) -> None:
        """End the trackers; the rest is on the disk already."""
        wait = CLOSING_INTERRUPTED if interrupted else CLOSING
        self._track(lambda tracker: tracker.close(wait))
        self._trackers.clear()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _track(self, tell: Callable[[Tracker], None]) -> None:
        """Tell every tracker; one that fails is told of in a sentence, and dropped."""
        for name, tracker in list(self._trackers.items()):
            try:
                tell(tracker)
            except Exception as error:
                del self._trackers[name]
                note(
                    f"{name} has stopped tracking this run, which is not affected: "
                    f"{first_line(error)}."
                )

    def _append(self, path: Path, text: str) -> None:
        """Append whole lines. Raises RunFailed where the disk is full, the folder is gone, or
        `path` is not as this run left it."""
        self.check_folder()
        if size(path) != self._sizes[path]:
            raise RunFailed(
                f"the run stops, since {path} was deleted or changed while it ran (it has "
                f"{size(path):,} bytes, and had {self._sizes[path]:,}): put it back, see that no "
                "other run writes there, and go on with --resume"
            )
        with translate_os_errors(path):
            self._sizes[path] = append(path, encoded(text))

    def _forget_after(self, step: int) -> None:
        self.missing_steps = step
        for path in self._appended:
            if path.exists():
                lines = path.read_bytes().splitlines(keepends=True)
                # A run that begins anew looks again before its first step.
                kept = [line for line in lines if step and is_up_to(step, line)]
                write_bytes(path, b"".join(kept))
                self._sizes[path] = size(path)
                if path == self._metrics_path:
                    self.missing_steps -= len(kept)
        for kind in ("samples", "groups", "probes", "watched"):
            for number, folder in step_folders(self.run_dir / kind).items():
                if number > step:
                    shutil.rmtree(folder)


def _write_sample(
    folder: Path, step: int, index: int, image: np.ndarray, record: Mapping[str, Any]
) -> None:
    png = io.BytesIO()
    Image.fromarray(np.asarray(image, dtype=np.uint8)).save(png, format="PNG")
    # The record last: where there is a record, there is its image.
    write_bytes(folder / f"{index:03d}.png", png.getvalue(), durable=False)
    text = _to_json({"step": step, **record}, indent=2)
    write_text(folder / f"{index:03d}.json", text, durable=False)


def _check_not_a_part(run_dir: Path) -> None:
    """Raises BadInput where a folder holds what a run wrote, and not its recipe."""
    parts = ("checkpoints", "metrics.jsonl", "samples")
    found = [part for part in parts if (run_dir / part).exists()]
    if found and not (run_dir / "config.yaml").is_file():
        raise BadInput(
            f"{run_dir} is only a part of a run: it has {', '.join(found)} but no config.yaml, as "
            "where a folder was deleted while a run wrote it, or not copied whole; put config.yaml "
            "back to resume it, or choose another run.dir."
        )


def _is_content(path: Path) -> bool:
    """Anything but the recipe's first write, had the process been killed in it, and what a judge
    answered before the run began."""
    return path.name not in (".config.yaml.partial", "judge_cache")


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

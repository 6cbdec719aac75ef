"""Read a run folder, whatever state it is in: what cannot be read becomes a note, not a crash."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from got_r1.errors import BadInput
from got_r1.files.parsing import parse_json, parse_yaml
from got_r1.files.step_folders import step_folders

__all__ = [
    "NO_EVALUATION",
    "NO_METRICS",
    "NO_RECIPE",
    "NO_SAMPLES",
    "MetricLines",
    "RunFiles",
    "SampleFile",
    "as_dict",
    "as_number",
    "is_agreement",
    "read_config",
    "read_gallery",
    "read_run",
]

NO_EVALUATION = "There is no evaluation in evals/: there is no table of results."
NO_METRICS = "metrics.jsonl is missing: there are no curves."
NO_RECIPE = "config.yaml is missing: the recipe of this run is not known."
NO_SAMPLES = "There are no samples in samples/: there is no gallery."
_PARTS = ("config.yaml", "metrics.jsonl", "samples", "evals")
_NUMBER = re.compile(r"[0-9]+")
# The order of the comparison; other evaluations follow by name.
_FIRST = {"sft": 0, "rl": 1, "as drawn": 0, "encoded and decoded": 1}
_READINGS = {"rendered": "as drawn", "round_trip": "encoded and decoded"}
_MEASURES = {
    "exact": "exactly right",
    "found": "found",
    "noun": "noun right",
    "color": "colour right",
    "fill": "fill right",
    "mean_iou": "IoU",
    "extra": "surplus finds",
}


@dataclass(frozen=True, slots=True)
class SampleFile:
    """One sample of a gallery: its record, and its image where there is one."""

    step: int
    index: int
    record: dict[str, Any]
    image: Path | None


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What a run folder holds. `metrics`: one dict a step, ascending, with numbers or None."""

    run_dir: Path
    config_text: str
    config: dict[str, Any]
    metrics: tuple[dict[str, Any], ...]
    evals: tuple[dict[str, Any], ...]
    samples: dict[int, tuple[SampleFile, ...]]
    probes: dict[int, tuple[SampleFile, ...]]
    notes: tuple[str, ...]

    @property
    def digest(self) -> str:
        """First 12 hex digits of the resolved recipe's SHA-256; empty without a recipe."""
        text = self.config_text
        return hashlib.sha256(text.encode()).hexdigest()[:12] if text else ""

    def setting(self, key: str) -> Any:
        """The recipe's value at a dotted key, or None."""
        value: Any = self.config
        for part in key.split("."):
            value = as_dict(value).get(part)
        return value


def as_number(value: object) -> float | None:
    """A finite JSON number as float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON's integers have no bounds
        return None
    return number if math.isfinite(number) else None


def as_dict(value: object) -> dict[str, Any]:
    """A JSON object as it is; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def is_agreement(result: dict[str, Any]) -> bool:
    """Whether an evaluation is that of a student judge, whose table is another one."""
    return bool(result) and all("calibration_error" in as_dict(one) for one in result.values())


def read_run(run_dir: Path) -> RunFiles:
    """Read all of a run folder but its checkpoints.

    Raises:
        BadInput: `run_dir` is no folder, or nothing in it belongs to a run.
    """
    if not run_dir.is_dir():
        raise BadInput(f"There is no run folder at {run_dir}; give the run.dir of a training run.")
    if not any((run_dir / part).exists() for part in _PARTS):
        raise BadInput(
            f"{run_dir} is not a run folder (it holds none of {', '.join(_PARTS)}); "
            "give the run.dir of a training run."
        )
    notes: list[str] = []
    config_text, config = read_config(run_dir / "config.yaml", notes)
    return RunFiles(
        run_dir=run_dir,
        config_text=config_text,
        config=config,
        metrics=_read_metrics(run_dir / "metrics.jsonl", notes),
        evals=_read_evals(run_dir / "evals", notes),
        samples=_read_samples(run_dir / "samples", notes),
        probes=_read_samples(run_dir / "probes", notes),
        notes=tuple(notes),
    )


def read_config(path: Path, notes: list[str]) -> tuple[str, dict[str, Any]]:
    """(text, settings) of a resolved recipe; empty, with a note, where it cannot be read."""
    if not path.is_file():
        notes.append(NO_RECIPE)
        return "", {}
    text = path.read_bytes().decode("utf-8", errors="replace")
    try:
        config = parse_yaml(text)
    except yaml.YAMLError:
        config = None
    if not isinstance(config, dict):
        notes.append("config.yaml cannot be read as YAML: it is shown as it is.")
        return text, {}
    return text, config


class MetricLines:
    """The lines of a `metrics.jsonl`, in parts as they come."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, Any]] = {}
        self._corrupt: list[int] = []
        self._lines = 0

    def add(self, data: bytes) -> None:
        """Reads whole lines behind those that were read before."""
        for line in data.splitlines():
            self._lines += 1
            row = _parse_object(line)
            step = None if row is None else as_number(row.get("step"))
            if row is None or step is None or not step.is_integer():
                self._corrupt.append(self._lines)
            else:
                self._rows[int(step)] = row | {"step": int(step)}

    @property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """One row a step, ascending; of several of one step the last."""
        return tuple(self._rows[step] for step in sorted(self._rows))

    @property
    def notes(self) -> list[str]:
        """What could not be read."""
        notes = []
        if self._corrupt:
            some = self._corrupt[:10]
            lines = ", ".join(map(str, some)) + (" …" if len(some) < len(self._corrupt) else "")
            notes.append(f"metrics.jsonl: line {lines} cannot be read and is left out.")
        if not self._rows:
            notes.append("metrics.jsonl holds no step: there are no curves.")
        return notes


def _read_metrics(path: Path, notes: list[str]) -> tuple[dict[str, Any], ...]:
    if not path.is_file():
        notes.append(NO_METRICS)
        return ()
    lines = MetricLines()
    lines.add(path.read_bytes())
    notes += lines.notes
    return lines.rows


def _read_evals(folder: Path, notes: list[str]) -> tuple[dict[str, Any], ...]:
    evals = []
    for path in sorted(folder.glob("*.json")):
        result = _parse_object(path.read_bytes())
        if result is not None and is_agreement(result):
            continue
        if result is not None and "metrics" not in result:  # plain numbers, without intervals
            result = {"metrics": {key: {"overall": {"mean": result[key]}} for key in result}}
        if result is None or not isinstance(result["metrics"], dict):
            notes.append(f"evals/{path.name} cannot be read and is left out.")
        else:
            evals += _readings(result["metrics"]) or [
                {**result, "name": str(result.get("name", path.stem))}
            ]
    if not evals:
        notes.append(NO_EVALUATION)
    return tuple(sorted(evals, key=lambda e: (_FIRST.get(e["name"], 2), e["name"])))


def _readings(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """What the detector read before and after the VQ model, as two evaluations; empty for any
    other result."""
    if metrics.keys() != _READINGS.keys():
        return []
    evals = []
    for key, name in _READINGS.items():
        shares = as_dict(as_dict(as_dict(metrics[key]).get("overall")).get("mean"))
        table = {
            title: {"overall": {"mean": shares[measure], "n": shares.get("objects")}}
            for measure, title in _MEASURES.items()
            if measure in shares
        }
        evals.append({"name": name, "metrics": table})
    return evals


def _read_samples(folder: Path, notes: list[str]) -> dict[int, tuple[SampleFile, ...]]:
    galleries: dict[int, tuple[SampleFile, ...]] = {}
    for step, step_folder in step_folders(folder).items():
        if samples := read_gallery(step, step_folder, notes):
            galleries[step] = samples
    if not galleries and folder.name == "samples":
        notes.append(NO_SAMPLES)
    return galleries


def read_gallery(step: int, folder: Path, notes: list[str]) -> tuple[SampleFile, ...]:
    """The samples in the folder of a step, by their names; what cannot be read becomes a note."""
    samples = []
    for path in sorted(folder.glob("*.json")):
        name = f"{folder.parent.name}/{folder.name}/{path.name}"
        record = _parse_object(path.read_bytes())
        if record is None or not _NUMBER.fullmatch(path.stem):
            notes.append(f"{name} cannot be read and is left out.")
            continue
        image = path.with_suffix(".png")
        if not image.is_file():
            notes.append(f"{name} has no image beside it.")
        found = image if image.is_file() else None
        samples.append(SampleFile(step, int(path.stem), record, found))
    return tuple(samples)


def _parse_object(data: bytes) -> dict[str, Any] | None:
    """The JSON object in `data`, or None."""
    try:
        value = parse_json(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None

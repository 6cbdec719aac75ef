"""Run folders as the studio sees them: found below one folder, read on while they grow.

Nothing is ever written, locked or renamed there. A client names a run only by a name that `find`
found; links that lead out of the folder are not followed.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from got_r1.errors import BadInput
from got_r1.files.step_folders import step_folders
from got_r1.recipes.resuming import plain
from got_r1.report.read import (
    NO_METRICS,
    NO_RECIPE,
    MetricLines,
    RunFiles,
    SampleFile,
    as_number,
    read_config,
    read_gallery,
)
from got_r1.report.stages import stage_of

__all__ = ["Kind", "Runs", "Summary", "planned_steps", "recipe_difference", "state_of"]

Kind = Literal["samples", "groups", "probes"]
Stamp = tuple[int, int, int] | None
"""(inode, bytes, time of the last change in ns) of a file; None where there is none."""

_LEVELS = 4  # below the folder
_MOST_FOLDERS = 20_000  # that are looked at
_FRESH = 2.0  # seconds that a listing holds
_KEPT = 8  # runs whose metrics are kept in memory
_TAIL = 2**16  # bytes at the end of metrics.jsonl, more than a line has
_PATIENCE = 60.0  # seconds without a new step after which a run counts as stopped, at least
_STEPS = 5  # and of its steps


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in the listing. `value` is the last step's, of the metric called `measure`; `changed`
    in seconds since the epoch."""

    name: str
    stage: str
    step: int
    planned: int | None
    measure: str
    value: float | None
    changed: float
    state: str


class Runs:
    """All runs below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._found: dict[str, Path] = {}
        self._found_at = -_FRESH
        self._metrics: OrderedDict[Path, _Metrics] = OrderedDict()
        self._configs: dict[Path, tuple[Stamp, str, dict[str, Any], tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def find(self, wanted: str = "") -> dict[str, Path]:
        """The run folders by their names, which are their paths below the folder. One that is
        `wanted` and not known yet is looked for at once: it may just have begun."""
        with self._lock:
            unknown = bool(wanted) and wanted not in self._found
            if unknown or time.monotonic() - self._found_at >= _FRESH:
                self._found = dict(_search(self.folder))
                self._found_at = time.monotonic()
            return self._found

    def place(self, name: str) -> Path:
        """The folder of a run. Raises BadInput where `find` does not find it."""
        found = self.find(name).get(name)
        if found is None:
            raise BadInput("there is no such run: it may have been deleted or moved.")
        return found

    def read(self, name: str) -> RunFiles:
        """Recipe and metrics of a run, without samples and evaluations. Raises BadInput where there
        is none."""
        place = self.place(name)
        with self._lock:
            metrics = self._metrics.setdefault(place, _Metrics(place / "metrics.jsonl"))
            self._metrics.move_to_end(place)
            while len(self._metrics) > _KEPT:
                self._metrics.popitem(last=False)
            try:
                metrics.read_on()
            except OSError as error:
                metrics.notes = [f"metrics.jsonl cannot be read: {error.strerror}."]
            return self._files(place, metrics.rows, metrics.notes)

    def changed(self, name: str) -> float:
        """When a run's metrics or recipe changed last, in seconds since the epoch."""
        return _changed(self.place(name))

    def stamp(self, name: str) -> tuple[Stamp, Stamp]:
        """What changes with a run's metrics and recipe."""
        place = self.place(name)
        return _stamp(place / "metrics.jsonl"), _stamp(place / "config.yaml")

    def summaries(self) -> list[Summary]:
        """All runs, the last changed first."""
        rows = [self._summary(name, place) for name, place in self.find().items()]
        return sorted(rows, key=lambda row: (-row.changed, row.name))

    def steps(self, name: str, kind: Kind) -> dict[int, Path]:
        """The folders of a run's galleries by step, ascending."""
        parent = self.place(name) / kind
        if not _inside(parent, self.folder):
            return {}
        return {s: path for s, path in step_folders(parent).items() if not path.is_symlink()}

    def gallery(self, name: str, kind: Kind, step: int, notes: list[str]) -> tuple[SampleFile, ...]:
        """The samples of a gallery; none where it is not there (any more)."""
        folder = self.steps(name, kind).get(step)
        if folder is None:
            return ()
        try:
            if any(path.is_symlink() for path in folder.iterdir()):
                notes.append(f"{kind}/{folder.name} holds links, which are not followed.")
                return ()
            return read_gallery(step, folder, notes)
        except OSError:  # a run that is resumed removes what comes after its checkpoint
            return ()

    def image(self, name: str, kind: Kind, step: int, index: int) -> Path:
        """The file of a sample's image. Raises BadInput where there is none."""
        folder = self.steps(name, kind).get(step)
        path = folder / f"{index:03d}.png" if folder else None
        if path is None or not path.is_file() or not _inside(path, self.folder):
            raise BadInput("there is no such image.")
        return path

    def _files(self, place: Path, rows: tuple[dict[str, Any], ...], notes: list[str]) -> RunFiles:
        _, text, config, said = self._config(place / "config.yaml")
        return RunFiles(place, text, config, rows, (), {}, {}, (*said, *notes))

    def _config(self, path: Path) -> tuple[Stamp, str, dict[str, Any], tuple[str, ...]]:
        stamp = _stamp(path)
        kept = self._configs.get(path)
        if kept is None or kept[0] != stamp:
            notes: list[str] = []
            text, config = "", dict[str, Any]()
            try:
                if stamp is None:
                    notes.append(NO_RECIPE)
                else:
                    text, config = read_config(path, notes)
            except OSError as error:
                notes.append(f"config.yaml cannot be read: {error.strerror}.")
            kept = self._configs[path] = stamp, text, config, tuple(notes)
        return kept

    def _summary(self, name: str, place: Path) -> Summary:
        row = _last_row(place / "metrics.jsonl")
        files = self._files(place, (row,) if row else (), [])
        changed = _changed(place)
        key = "reward/total" if row and "reward/total" in row else "loss"
        return Summary(
            name=name,
            stage=stage_of(files).name,
            step=row["step"] if row else 0,
            planned=planned_steps(files),
            measure="reward" if key == "reward/total" else "loss",
            value=as_number(row.get(key)) if row else None,
            changed=changed,
            state=state_of(files, changed),
        )


def planned_steps(run: RunFiles) -> int | None:
    """How many steps the run is to make, where its recipe tells."""
    planned = as_number(run.setting(f"{stage_of(run).section}.steps"))
    return int(planned) if planned else None


def state_of(run: RunFiles, changed: float) -> str:
    """What can be told of a run by its last step and the time when its files changed: finished,
    running, stopped."""
    last = run.metrics[-1] if run.metrics else {}
    planned = planned_steps(run)
    if planned and last.get("step", 0) >= planned:
        return "finished"
    parts = (last.get(f"seconds/{part}") for part in ("rollout", "judge_waited", "update"))
    seconds = as_number(last.get("seconds/total")) or sum(as_number(part) or 0 for part in parts)
    return "running" if time.time() - changed < max(_PATIENCE, _STEPS * seconds) else "stopped"


def recipe_difference(one: RunFiles, other: RunFiles) -> list[tuple[str, str, str]]:
    """(setting, value of one, value of the other) where two recipes differ; a dash where a recipe
    has no such setting."""
    flat = [dict(_flat(plain(run.config))) for run in (one, other)]
    keys = [*flat[0], *(key for key in flat[1] if key not in flat[0])]
    values = [(key, *(str(settings.get(key, "–")) for settings in flat)) for key in keys]
    return [(key, a, b) for key, a, b in values if a != b]


def _flat(config: dict[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


class _Metrics:
    """A `metrics.jsonl` that is read on from its last whole line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._forget()

    def _forget(self) -> None:
        self.rows: tuple[dict[str, Any], ...] = ()
        self.notes: list[str] = [NO_METRICS]
        self._stamp: Stamp = None
        self._lines = MetricLines()
        self._read = 0  # bytes
        self._end = b""  # of what was read

    def read_on(self) -> None:
        """Reads what has come since the last time. Raises OSError where that is impossible."""
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return
        if stamp is None:
            self._forget()
            return
        with self.path.open("rb") as file:
            if not self._goes_on(stamp, file):
                self._forget()
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._lines.add(whole)
        self._read += len(whole)
        self._end = (self._end + whole)[-256:]
        self._stamp = stamp
        self.rows, self.notes = self._lines.rows, self._lines.notes
        if len(whole) < len(data):
            self.notes.append("metrics.jsonl ends within a line, which is not shown.")

    def _goes_on(self, stamp: tuple[int, int, int], file: BinaryIO) -> bool:
        """Whether the file begins with what was read; a resumed run puts a shorter one there."""
        if self._stamp is None or stamp[0] != self._stamp[0] or stamp[1] < self._read:
            return False
        file.seek(self._read - len(self._end))
        return bool(file.read(len(self._end)) == self._end)


def _last_row(path: Path) -> dict[str, Any] | None:
    """The last step that is written whole, without reading what comes before."""
    stamp = _stamp(path)
    if stamp is None:
        return None
    try:
        with path.open("rb") as file:
            file.seek(max(0, stamp[1] - _TAIL))
            data = file.read()
    except OSError:
        return None
    lines = MetricLines()
    lines.add(data[: data.rfind(b"\n") + 1])
    return lines.rows[-1] if lines.rows else None


def _stamp(path: Path) -> Stamp:
    """Of a regular file; a link is none."""
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    regular = stat.S_ISREG(found.st_mode)
    return (found.st_ino, found.st_size, found.st_mtime_ns) if regular else None


def _changed(place: Path) -> float:
    paths = (place / "metrics.jsonl", place / "config.yaml", place)
    times = [path.stat(follow_symlinks=False).st_mtime for path in paths if path.exists()]
    return max(times[:-1] or times, default=0.0)


def _inside(path: Path, folder: Path) -> bool:
    """Whether a path, with its links followed, leads to a place in the folder."""
    return path.resolve().is_relative_to(folder.resolve())


def _search(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name, path) of the run folders below a folder, level by level; of the folder itself where it
    is a run."""
    if _is_run(folder):
        yield folder.resolve().name, folder
        return
    level, seen = [folder], 0
    for _ in range(_LEVELS):
        deeper: list[Path] = []
        for place in level:
            for path in _folders(place):
                seen += 1
                if seen > _MOST_FOLDERS:
                    return
                if _is_run(path):
                    yield path.relative_to(folder).as_posix(), path
                else:
                    deeper.append(path)
        level = deeper


def _folders(place: Path) -> list[Path]:
    """The folders in a place, without links, hidden ones and names that are no text."""
    try:
        with os.scandir(place) as entries:
            names = [
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []
    return [place / name for name in sorted(names) if _is_text(name)]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name.isprintable()


def _is_run(path: Path) -> bool:
    """Whether anything in a folder is what a run writes; a damaged one may have lost the rest."""
    files = ("config.yaml", "metrics.jsonl")
    return any(_stamp(path / name) for name in files) or bool(step_folders(path / "samples"))

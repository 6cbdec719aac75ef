"""Live progress: a small panel on a terminal, plain lines in a log.

    with TrainingProgress("GRPO", total_steps=100) as progress:
        progress.update(step, metrics)

It reads the keys of `metrics.jsonl` (see `runlog`) and shows those that are there: the reward and
its terms for RL, the losses for SFT and VQ. `byte_progress` is a bar for work that is measured in
bytes, `import_modules` says what a slow start is waiting for. Everything goes to stderr; stdout
stays for results.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from itertools import pairwise

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from got_r1.measures import LABELS
from got_r1.records import TERMS

__all__ = ["TrainingProgress", "byte_progress", "import_modules", "note"]

_PLAIN_EVERY = 15.0  # seconds between lines where stderr is not a terminal
_WINDOW = 10  # steps that a shown value is averaged over: one step of GRPO is mostly noise
_SPARK = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 24
_BAR_WIDTH = 40
_TERMS = {f"reward/{term}": LABELS[term] for term in TERMS}
_MAIN = {"reward/total": "reward", "loss": "loss", "loss/chain": "chain", "loss/image": "image"}
_MAIN |= {"loss/reconstruction": "reconstruction"}
_ASIDE = {"kl": "KL", "grad_norm": "grad", "lr": "lr", "tokens_per_second": "tokens/s"}
_ASIDE |= {"images_per_second": "images/s"}


class TrainingProgress:
    """Shows step, time left, and the latest metrics (means over the last 10 steps).

    Args:
        title: what is running ("GRPO", "SFT").
        total_steps: the last step's number.
        start_step: the step resumed from; 0 for a fresh run.
        unit: what is counted, where it is not steps of training.
        quiet: show nothing (for `--json`).
        plain_every: seconds between lines where stderr is not a terminal.
        console: where to write; stderr by default.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        title: str,
        total_steps: int,
        start_step: int = 0,
        *,
        unit: str = "step",
        quiet: bool = False,
        plain_every: float = _PLAIN_EVERY,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title = title
        self.total_steps = total_steps
        self.step = start_step
        self.unit = unit
        self._quiet = quiet
        self._plain_every = plain_every
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._live: Live | None = None
        self._recent: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_WINDOW))
        self._history: list[float] = []
        self._times: deque[tuple[float, int]] = deque(maxlen=_WINDOW + 1)
        self._printed_at: float | None = None

    def __enter__(self) -> TrainingProgress:
        self._times.append((self._clock(), self.step))
        if not self._quiet and self._console.is_terminal:
            self._live = Live(
                self._panel(), console=self._console, refresh_per_second=4, transient=False
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.update(self._panel())
            self._live.stop()
            self._live = None

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tell that `step` is done, with its metrics."""
        now = self._clock()
        self.step = step
        self._times.append((now, step))
        for key, value in metrics.items():
            if key == "reward/total" or (key == "loss" and "reward/total" not in metrics):
                self._history.append(float(value))
            self._recent[key].append(float(value))
        if self._quiet:
            return
        if self._live is not None:
            self._live.update(self._panel())
        elif self._is_due(now):
            self._printed_at = now
            self._console.print(self._line(), soft_wrap=True, highlight=False, markup=False)

    def note(self, text: str) -> None:
        """Says something in a line that stays, above the panel where there is one."""
        if not self._quiet:
            self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    def _is_due(self, now: float) -> bool:
        if self._printed_at is None or self.step >= self.total_steps:
            return True
        return now - self._printed_at >= self._plain_every

    def _seconds_left(self) -> float | None:
        (t0, s0), (t1, s1) = self._times[0], self._times[-1]
        if s1 <= s0:
            return None
        return (t1 - t0) / (s1 - s0) * max(0, self.total_steps - self.step)

    def _mean(self, key: str) -> float | None:
        values = self._recent.get(key)
        return sum(values) / len(values) if values else None

    def _shown(self, names: Mapping[str, str]) -> list[tuple[str, float]]:
        means = ((label, self._mean(key)) for key, label in names.items())
        return [(label, mean) for label, mean in means if mean is not None]

    def _line(self) -> str:
        left = self._seconds_left()
        parts = [f"{self.title} {self.unit} {self.step}/{self.total_steps}"]
        parts += [f"ETA {_duration(left)}"] if left is not None else []
        values = self._shown(_MAIN | _TERMS) + self._shown(_ASIDE)
        return "  ".join(parts + [f"{label} {_number(value)}" for label, value in values])

    def _panel(self) -> RenderableType:
        left = self._seconds_left()
        head = Table.grid(padding=(0, 2))
        head.add_row(
            Text(self.title, style="bold"),
            ProgressBar(total=max(self.total_steps, 1), completed=self.step, width=_BAR_WIDTH),
            Text(f"{self.step}/{self.total_steps}"),
            Text("" if left is None else f"{_duration(left)} left", style="dim"),
        )
        rows: list[RenderableType] = [head]
        main = self._shown(_MAIN)
        if main:
            first = Text.assemble(*_pairs(main, "bold"))
            first.append(_sparkline(self._history), style="cyan")
            rows.append(first)
        if terms := self._shown(_TERMS):
            rows.append(Text.assemble(*_pairs(terms, "")))
        if aside := self._shown(_ASIDE):
            rows.append(Text.assemble(*_pairs(aside, "dim")))
        return Group(*rows)


def note(text: str) -> None:
    """Says something in a line on stderr."""
    Console(stderr=True).print(text, soft_wrap=True, highlight=False, markup=False)


def import_modules(*names: str, quiet: bool = False) -> None:
    """Imports modules that need torch and transformers, which takes seconds: a line says so, unless
    `quiet` or they are there already. For commands, once everything that a user can get wrong is
    checked.

    The garbage collector is off meanwhile and leaves alone what was imported: modules are no
    garbage, and looking at them again and again would take a sixth of the time.
    """
    if all(name in sys.modules for name in names):
        return
    if not quiet and "torch" not in sys.modules:
        note("importing torch and transformers")
    collects = gc.isenabled()
    gc.disable()
    try:
        for name in names:
            import_module(name)
    finally:
        if collects:
            gc.freeze()
            gc.enable()


@contextmanager
def byte_progress(
    title: str, total: int, *, quiet: bool = False, plain_every: float = _PLAIN_EVERY
) -> Iterator[Callable[[int], None]]:
    """Shows how many of `total` bytes are done, with the time left; yields what to tell them to.

    Where stderr is not a terminal, a line every `plain_every` seconds; work that is done sooner
    says nothing.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(_BAR_WIDTH),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    live = Progress(*columns, console=console, disable=quiet or not console.is_terminal)
    task = live.add_task(title, total=total)
    start = printed = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, printed
        done += count
        live.advance(task, count)
        now = time.monotonic()
        if not quiet and live.disable and now - printed >= plain_every:
            printed = now
            left = _duration((now - start) / done * (total - done))
            line = f"{title}  {done / 1e9:.1f}/{total / 1e9:.1f} GB  ETA {left}"
            console.print(line, soft_wrap=True, highlight=False, markup=False)

    with live:
        yield advance


def _pairs(values: list[tuple[str, float]], style: str) -> list[tuple[str, str]]:
    spans = []
    for label, value in values:
        spans += [(f"{label} ", "dim"), (f"{_number(value)}", style), ("   ", "")]
    return spans


def _number(value: float) -> str:
    if value != value:
        return "nan"
    if value and abs(value) < 0.001:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _sparkline(values: list[float]) -> str:
    """The history as a row of at most 24 blocks, each the mean of its share of the steps."""
    finite = [value for value in values if abs(value) < float("inf")]
    count = min(_SPARK_WIDTH, len(finite))
    if count < 2:
        return ""
    edges = [round(i * len(finite) / count) for i in range(count + 1)]
    means = [sum(finite[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, span = min(means), max(means) - min(means)
    top = len(_SPARK) - 1
    return "".join(_SPARK[round((m - low) / span * top) if span else 0] for m in means)

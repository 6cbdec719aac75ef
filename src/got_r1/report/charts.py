"""Training curves: matplotlib draws, the page colours.

Every colour that matplotlib is given is a placeholder that becomes a CSS variable of the page, so
one SVG serves the light and the dark theme. Titles and legends are HTML around the drawing.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from got_r1.report.read import as_number

__all__ = ["Chart", "Constant", "Line", "Panel", "draw", "smooth"]

_WIDTH, _HEIGHT = 340, 170  # CSS pixels: a phone's width, so that type stays legible there
_AXES = (0.105, 0.12, 0.865, 0.79)  # left, bottom, width, height: fixed, so that charts align
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "path.simplify_threshold": 0.5,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.formatter.limits": (-3, 4),
    "xtick.bottom": False,
    "ytick.left": False,
}
_VARIABLES = (
    "ink", "muted", "line", "total", "r_sem", "r_spa", "r_ri", "r_pi", "r_hps", "a", "b", "c", "d",
)  # fmt: skip
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_SHEET = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)
_PLACEHOLDER = {name: f"#fe{index:02x}ef" for index, name in enumerate(_VARIABLES)}


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of a panel. `color` names a CSS variable; `spread` is the metric of its band."""

    key: str
    label: str
    color: str = "a"
    spread: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """What one chart shows. `limits`: of the axis, which else is as long as the values need;
    `bounds`: what the metric can be, which bands and axis keep to; `smoothed`: whether steps
    scatter, so that a mean over some of them says more."""

    title: str
    lines: tuple[Line, ...]
    limits: tuple[float | None, float | None] = (None, None)
    bounds: tuple[float, float] = (-np.inf, np.inf)
    stacked: bool = False
    smoothed: bool = True
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawn panel: its SVG, the lines it holds, and the first and last smoothed value."""

    panel: Panel
    lines: tuple[Line, ...]
    svg: str
    first: float
    last: float

    @property
    def has_band(self) -> bool:
        """Whether any line may have one."""
        return any(line.spread for line in self.lines)


@dataclass(frozen=True, slots=True)
class Constant:
    """A panel that needs no drawing: each of its lines has one value throughout."""

    panel: Panel
    values: tuple[tuple[Line, float], ...]


def draw(panel: Panel, rows: Sequence[Mapping[str, Any]]) -> Chart | Constant | None:
    """Draw a panel from the metrics of a run; None when none of its metrics is there."""
    curves = [(line, *_column(rows, line.key)) for line in panel.lines]
    curves = [curve for curve in curves if curve[1].size]
    if not curves:
        return None
    if all(values.min() == values.max() for _, _, values in curves):
        return Constant(panel, tuple((line, float(values[0])) for line, _, values in curves))
    everything = np.concatenate([values for _, _, values in curves])
    with mpl.rc_context({**_STYLE, "svg.hashsalt": panel.title}):
        figure = Figure(figsize=(_WIDTH / 72, _HEIGHT / 72))
        figure.patch.set_visible(False)  # the page is the background
        axes = figure.add_axes(_AXES, facecolor="none")
        if panel.stacked:
            _draw_stack(axes, curves)
        else:
            for line, steps, values in curves:
                _draw_line(axes, panel, line, steps, values, rows)
        _dress(axes, panel, everything)
        svg = _svg(figure)
    main = smooth(curves[0][2]) if panel.smoothed else curves[0][2]
    lines = tuple(line for line, _, _ in curves)
    return Chart(panel, lines, svg, float(main[0]), float(main[-1]))


def smooth(values: np.ndarray) -> np.ndarray:
    """Centred moving mean over a tenth of the run's values, narrower at its ends.

    `values`: float [n]; returns the same shape.
    """
    half = max(len(values) // 20, 1 if len(values) > 4 else 0)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    middle = np.arange(len(values))
    low, high = np.maximum(middle - half, 0), np.minimum(middle + half + 1, len(values))
    means: np.ndarray = (sums[high] - sums[low]) / (high - low)
    return means


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps, values) of the rows that hold a finite number under `key`."""
    pairs = [(row["step"], as_number(row.get(key))) for row in rows]
    columns = np.array([pair for pair in pairs if pair[1] is not None], dtype=float).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def _draw_line(
    axes: Axes,
    panel: Panel,
    line: Line,
    steps: np.ndarray,
    values: np.ndarray,
    rows: Sequence[Mapping[str, Any]],
) -> None:
    color = _PLACEHOLDER[line.color]
    smoothed = smooth(values) if panel.smoothed else values
    if line.spread:
        spread_steps, spread = _column(rows, line.spread)
        if spread_steps.size:
            spread = smooth(spread) if panel.smoothed else spread
            band = np.interp(steps, spread_steps, spread)
            low, high = (np.clip(smoothed + side, *panel.bounds) for side in (-band, band))
            axes.fill_between(steps, low, high, color=color, alpha=0.13, linewidth=0)
    marker = "o" if len(steps) == 1 else ""
    axes.plot(steps, values, color=color, alpha=0.35, linewidth=0.8, marker=marker)
    axes.plot(steps, smoothed, color=color, linewidth=1.8, solid_capstyle="round")


def _draw_stack(axes: Axes, curves: Sequence[tuple[Line, np.ndarray, np.ndarray]]) -> None:
    steps = np.unique(np.concatenate([steps for _, steps, _ in curves]))
    layers = [smooth(np.interp(steps, at, values, left=0, right=0)) for _, at, values in curves]
    colors = [_PLACEHOLDER[line.color] for line, _, _ in curves]
    axes.stackplot(steps, layers, colors=colors, alpha=0.8, linewidth=0)
    axes.set_ylim(bottom=0)


def _dress(axes: Axes, panel: Panel, values: np.ndarray) -> None:
    low, high = panel.limits
    if np.isfinite(panel.bounds).all():
        # As long as the values, not the bands, need: a rise from .88 to .98 is to be seen.
        least, most = panel.bounds
        room = max(0.1 * float(np.ptp(values)), 0.01 * (most - least))
        low = max(float(values.min()) - room, least)
        high = min(float(values.max()) + room, most + 0.2 * room)  # the line's own width
    axes.set_ylim(bottom=low, top=high)
    axes.margins(x=0.01)
    axes.grid(axis="y", color=_PLACEHOLDER["line"], linewidth=0.8)
    axes.spines["bottom"].set(color=_PLACEHOLDER["line"], linewidth=0.8)
    axes.tick_params(colors=_PLACEHOLDER["muted"])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.tick_params(axis="y", pad=2)
    axes.yaxis.offsetText.set_color(_PLACEHOLDER["muted"])


def _svg(figure: Figure) -> str:
    """The figure as an SVG element for inlining: the page's fonts and colours, few digits, looks as
    attributes (a strict content policy forbids styles)."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"| version="[^"]*"', "", svg)
    # Matplotlib's style sheet says this of everything.
    root = '<svg stroke-linejoin="round"'
    svg = re.sub(r'<svg width="[^"]*" height="[^"]*"', root, _SHEET.sub("", svg))
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg)  # names of groups; clip paths are hashes
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r' style="([^"]*)"', _attributes, svg)
    svg = re.sub(r"<[^>]*>", lambda tag: _LONG_NUMBER.sub(_shorten, tag[0]), svg)
    for name, placeholder in _PLACEHOLDER.items():
        svg = svg.replace(placeholder, f"var(--{name.replace('_', '-')})")
    return re.sub(r"\n\s*", "\n", svg)


def _attributes(style: re.Match[str]) -> str:
    """A style as attributes of the same names, without the font's family: it is the page's."""
    pairs = [
        declaration.split(":", 1) for declaration in style[1].split(";") if declaration.strip()
    ]
    named = {name.strip(): value.strip() for name, value in pairs}
    named.pop("font-family", None)
    return "".join(f' {name}="{value}"' for name, value in named.items())


def _shorten(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}"

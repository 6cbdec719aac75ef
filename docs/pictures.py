"""Draws the pictures of the README and of docs/, from a finished run of the icon world.

    .venv/bin/python docs/pictures.py runs/demo              # all of them
    .venv/bin/python docs/pictures.py --only plans studio    # those that need no run

- before_after.png: the run's fixed prompts (`eval.probes`), drawn with the same noise before the
  first update and after the last, the planned boxes over each image;
- method.png: one of them on its way through plan, image and rewards;
- plans.png: a prompt drawn from the model's own plan and from an edited one (docs/plans.md);
- report.png: the top of the run's report, where a Chromium is installed;
- studio.png, studio-360.png: the studio with an edited plan; compare.png, watch.png, rate.png: its
  other pages, with the run. Where a Chromium and Playwright are installed.

Nothing is chosen by hand: the prompts are the run's, in their order.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle
from PIL import Image

from got_r1.cli import main as got_r1
from got_r1.plan.layout import draw_plan
from got_r1.records import Box, PlannedObject
from got_r1.report.read import SampleFile, read_run

DOCS = Path(__file__).parent
COLORS = ("#0b6e99", "#c2410c", "#6d28d9", "#15803d")  # of a plan's first to fourth box
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OF_RUN = ("before_after", "method", "report", "compare", "watch", "rate")
PICTURES = (*OF_RUN, "plans", "studio")
PLAN_PROMPT = "a red heart on the left of a blue star"


def planned(record: dict[str, Any]) -> list[PlannedObject]:
    """The plan of a sample's record."""
    return [PlannedObject(str(one["name"]), Box(*one["box"][:4])) for one in record["objects"]]


def show(axes: Axes, image: Path, plan: Sequence[PlannedObject], names: bool = True) -> None:
    """An image with the planned boxes over it; each name stands at its box."""
    axes.imshow(np.asarray(Image.open(image)), extent=(0, 1000, 1000, 0), interpolation="nearest")
    for index, one in enumerate(plan):
        color, box = COLORS[index % len(COLORS)], one.box
        size = (box.x2 - box.x1, box.y2 - box.y1)
        axes.add_patch(Rectangle((box.x1, box.y1), *size, fill=False, ec=color, lw=1.2, ls="--"))
        if names:
            below = box.y1 < 120  # no room above
            place = (box.x1, box.y2 + 15 if below else box.y1 - 15)
            style: dict[str, Any] = {"fontsize": 6.5, "color": color}
            style["va"] = "top" if below else "bottom"
            style["bbox"] = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6}
            axes.text(*place, one.name, **style)
    frame(axes)


def frame(axes: Axes) -> None:
    """No ticks, a thin border."""
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_color("#d6d3cd")


def before_after(before: Sequence[SampleFile], after: Sequence[SampleFile], out: Path) -> None:
    """The same prompts in two rows."""
    columns = len(before)
    figure, rows = plt.subplots(2, columns, figsize=(2.15 * columns, 5.2), squeeze=False)
    for row, samples in zip(rows, (before, after), strict=True):
        for axes, sample in zip(row, samples, strict=True):
            assert sample.image is not None
            show(axes, sample.image, planned(sample.record))
            axes.set_xlabel(f"reward {sample.record['reward']['total']:.2f}", fontsize=8)
    for axes, sample in zip(rows[0], before, strict=True):
        axes.set_title("\n".join(textwrap.wrap(str(sample.record["prompt"]), 27)), fontsize=8.5)
    for row, name in zip(rows, ("before RL (SFT)", "after RL"), strict=True):
        row[0].set_ylabel(name, fontsize=10)
    figure.tight_layout(pad=0.6)
    save(figure, out)


def method(sample: SampleFile, out: Path) -> None:
    """The way of a sample: prompt, plan, image, the four terms, the update."""
    record = sample.record
    assert sample.image is not None
    figure = plt.figure(figsize=(12.4, 4.3))
    canvas = figure.add_axes((0, 0, 1, 1))
    canvas.set(xlim=(0, 12.4), ylim=(0, 4.3))
    canvas.axis("off")

    def label(x: float, y: float, text: str, **style: Any) -> None:
        canvas.text(x, y, text, ha="center", va="center", **{"fontsize": 10} | style)

    def arrow(start: tuple[float, float], end: tuple[float, float], bend: float = 0.0) -> None:
        style = f"arc3,rad={bend}"
        color = "#6d6b66" if bend else "#1d1d1b"
        canvas.add_patch(
            FancyArrowPatch(
                start, end, connectionstyle=style, arrowstyle="-|>", mutation_scale=13, color=color
            )
        )

    middle = 2.35
    prompt = "\n".join(textwrap.wrap(f"“{record['prompt']}”", 17))
    label(1.15, middle, prompt, fontsize=11.5)
    label(1.15, 3.95, "prompt", weight="bold")
    places = {"plan": (3.0, "chain with planned boxes"), "image": (6.3, "image tokens")}
    for name, (x, title) in places.items():
        axes = figure.add_axes((x / 12.4, (middle - 1.1) / 4.3, 2.2 / 12.4, 2.2 / 4.3))
        if name == "plan":
            axes.imshow(draw_plan(planned(record), (320, 320)))
            frame(axes)
        else:
            show(axes, sample.image, planned(record), names=False)
        label(x + 1.1, 3.95, title, weight="bold")
    arrow((2.15, middle), (2.95, middle))
    arrow((5.25, middle), (6.25, middle))
    label(5.75, middle + 0.2, "draws", fontsize=9)
    label(2.55, middle + 0.2, "writes", fontsize=9)
    for start, end, bend, at, text in (
        ((1.15, 1.75), (3.6, 1.2), 0.25, (3.4, 0.88), "R_sem, R_spa"),
        ((4.6, 1.2), (6.9, 1.2), 0.25, (5.75, 0.72), "R_RI"),
        ((1.0, 1.75), (7.6, 1.2), 0.33, (4.3, 0.12), "R_PI"),
    ):
        arrow(start, end, bend)
        label(*at, text, color="#a21caf", weight="bold")
    arrow((8.55, middle), (9.2, middle))
    label(
        10.75,
        middle,
        "a judge scores all four\n\nR = R_PI · (R_sem + R_spa) · R_RI\n\n"
        "advantage: R within the group\nof samples of one prompt\n\nGRPO on chain and image tokens",
        fontsize=10.5,
    )
    label(10.75, 3.95, "reward and update", weight="bold")
    save(figure, out)


def edited_plan(out: Path) -> None:
    """docs/plans.md's example: the model's own plan, then one that a person has changed."""
    with tempfile.TemporaryDirectory() as folder:
        before, moved, after = (str(Path(folder, name)) for name in ("before", "m.json", "after"))
        draw = ["sample", "--model", "icons", "--prompt", PLAN_PROMPT, "--out"]
        assert got_r1([*draw, before]) == 0
        places = ["--move", "heart=0,500", "--move", "star=600,0"]
        prose = ["--prose", "There is a {1} on the left of a {2}."]
        edit = ["plan", "edit", f"{before}/000.json", *places, *prose, "--out", moved]
        assert got_r1(edit) == 0
        assert got_r1([*draw, after, "--chain", moved]) == 0
        sheets = [Image.open(Path(one, "sheet.png")).convert("RGB") for one in (before, after)]
    joined = Image.new("RGB", (sheets[0].width, sum(one.height for one in sheets)), "white")
    for index, sheet in enumerate(sheets):
        joined.paste(sheet, (0, index * sheets[0].height))
    joined.save(out, optimize=True)


def report_page(run: Path, out: Path) -> None:
    """The top of the run's report as a browser shows it."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"{out.name}: no Chromium on PATH, left as it is")
        return
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--user-data-dir={profile}", "--window-size=1300,1500"),
                *(f"--screenshot={out.resolve()}", (run / "report.html").resolve().as_uri()),
            ],
            check=True,
            capture_output=True,
        )
    shrink(out)


def studio_page(wide: Path, narrow: Path) -> None:
    """The studio after a plan was written, drawn, edited and drawn again, at two widths."""
    with tempfile.TemporaryDirectory() as history, studio("--history", history) as (page, url):
        page.goto(url)
        page.click("#write")
        wait(page, ".box >> nth=1")
        page.locator("#progress progress").wait_for(state="hidden")
        page.click("#draw-image")
        wait(page, "#pictures-shown img")
        page.locator("#progress progress").wait_for(state="hidden")
        page.locator(".box").nth(1).focus()
        for _ in range(2):
            page.keyboard.press("ArrowDown")
        page.click("#draw-image")
        wait(page, "#compare")
        page.click("#judge")
        wait(page, "#terms")
        shoot(page, wide)
        shoot(page, narrow, width=360)


def compare_page(run: Path, out: Path) -> None:
    """The shipped model and the run's, on the same prompts and the same noise."""
    final = str(run / "checkpoints" / "final")
    with (
        tempfile.TemporaryDirectory() as history,
        studio("--compare", final, "--history", history) as (page, url),
    ):
        page.goto(f"{url}compare")
        page.check("#judge")
        page.click("#start")
        wait(page, "#cancel")
        page.locator("#cancel").wait_for(state="hidden")
        page.check("#plans")
        shoot(page, out)


def watch_page(run: Path, out: Path) -> None:
    """The page of the run."""
    with studio("--runs", str(run.parent)) as (page, url):
        page.goto(f"{url}runs?run={run.name}")
        page.wait_for_load_state("networkidle")
        wait(page, "svg")
        shoot(page, out, height=1500)


def rate_page(run: Path, out: Path) -> None:
    """An item of a study of the run's samples, as a rater sees it."""
    with tempfile.TemporaryDirectory() as folder:
        study = str(Path(folder) / "study")
        got_r1(["audit", "human", "build", str(run), "--raters", "0", "--out", study])
        with studio("--study", study, "--raters", "ann", links=1) as (page, url):
            page.goto(url)
            page.wait_for_load_state("networkidle")
            shoot(page, out)


@contextmanager
def studio(*options: str, links: int = 0) -> Iterator[tuple[Any, str]]:
    """A studio that runs with these options: a page of a browser, and the address that the terminal
    shows, or the last of the `links` behind it."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "got_r1", "studio", "--port", "8643", *options]
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as started:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            shown = [server.stdout.readline() for _ in range(1 + links)][-1]
            url = next(word for word in shown.split() if word.startswith("http"))
            page = started.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(
                viewport={"width": 1300, "height": 900}
            )
            page.set_default_timeout(120_000)
            yield page, url
        finally:
            server.terminate()
            server.wait()


def wait(page: Any, selector: str) -> None:
    """Until it is there and visible."""
    page.locator(selector).first.wait_for()


def shoot(page: Any, out: Path, width: int = 1300, height: int | None = None) -> None:
    """The page as a picture: all of it, or its first `height` pixels."""
    page.set_viewport_size({"width": width, "height": height or 900})
    page.wait_for_timeout(500)  # milliseconds, for what is drawn anew at another width
    page.screenshot(path=out, full_page=height is None)
    shrink(out)


def shrink(picture: Path) -> None:
    """In 256 colours: fewer would change those of the icons."""
    Image.open(picture).convert("RGB").quantize(256).save(picture, optimize=True)


def save(figure: Any, out: Path) -> None:
    """As a PNG without the date, so that the same run gives the same bytes."""
    figure.savefig(out, dpi=110, facecolor="white", metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """All pictures, or those named."""
    parser = argparse.ArgumentParser(description="Draws the pictures of the README and docs.")
    parser.add_argument(
        "run", type=Path, nargs="?", help="folder of a finished RL run of the icon world"
    )
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=PICTURES)
    parser.add_argument("--out", type=Path, default=DOCS)
    args = parser.parse_args()
    if of_run := set(args.only) & set(OF_RUN):
        if args.run is None:
            parser.error(f"{', '.join(sorted(of_run))}: give the folder of a run")
        if not of_run.isdisjoint({"before_after", "method"}):
            first, last = fixed_prompts(parser, args.run)
    if "before_after" in args.only:
        before_after(first, last, args.out / "before_after.png")
    if "method" in args.only:
        method(last[0], args.out / "method.png")
    if "plans" in args.only:
        edited_plan(args.out / "plans.png")
    if "report" in args.only:
        report_page(args.run, args.out / "report.png")
    pages = {"compare": compare_page, "watch": watch_page, "rate": rate_page}
    if find_spec("playwright") is None:
        print("Playwright is not installed: pictures of the studio stay as they are")
        return
    if "studio" in args.only:
        studio_page(args.out / "studio.png", args.out / "studio-360.png")
    for name, shown in pages.items():
        if name in args.only:
            shown(args.run, args.out / f"{name}.png")


def fixed_prompts(
    parser: argparse.ArgumentParser, run: Path
) -> tuple[Sequence[SampleFile], Sequence[SampleFile]]:
    """The run's fixed prompts before the first update, and after the last."""
    probes = read_run(run).probes
    if len(probes) < 2:
        parser.error(f"{run} has no fixed prompts at two steps: train with eval.probes")
    return probes[min(probes)], probes[max(probes)]


if __name__ == "__main__":
    main()

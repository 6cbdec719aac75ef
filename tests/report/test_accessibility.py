"""Every page that the project writes, in a real browser: on a desk and on a phone, light and dark.

axe-core (https://github.com/dequelabs/axe-core) finds what of WCAG a program can find. got-r1 needs
neither it nor a browser, so the tests are skipped where one is missing:
`pip install playwright axe-playwright-python`, and a chromium on the path.
"""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from audit.planted import Random
from got_r1.audit.judge import audit_judge
from got_r1.files.runlog import RunLog
from got_r1.files.trackers.base import Tracking
from got_r1.report import build_report
from got_r1.report.audit_pages import write_human_page, write_judge_page
from got_r1.report.plans import build_plans_page
from got_r1.report.sheet import build_sheet
from report.conftest import fake_eval, fake_sample, write_fake_run

carrier = pytest.importorskip(
    "axe_playwright_python", reason="needs axe-playwright-python (axe-core)"
)

AXE = Path(carrier.__file__).with_name("axe.min.js")

pytestmark = pytest.mark.slow

# What is folded away is on the page as well.
UNFOLD = """() => {
    for (const place of document.querySelectorAll("[hidden]")) place.hidden = false;
    for (const place of document.querySelectorAll("details")) place.open = true;
}"""


def estimate(value: float, **more: Any) -> dict[str, Any]:
    """An estimate as JSON, of a study (`value`) and of a benchmark (`mean`)."""
    return {"value": value, "mean": value, "low": value - 0.1, "high": value + 0.05,
            "n": 40, "items": 40} | more  # fmt: skip


def drawn(folder: Path, count: int) -> list[dict[str, Any]]:
    """Records of samples whose images lie in the folder as 000.png and so on."""
    rng = random.Random(0)
    records = []
    for index in range(count):
        image, record = fake_sample(0, index, rng)
        Image.fromarray(image).save(folder / f"{index:03d}.png")
        records.append({**record, "image": f"{index:03d}.png"})
    return records


def report_page(folder: Path) -> Path:
    """Of a run with a held-out judge and an alarm that shows samples of each kind."""
    run = write_fake_run(folder / "run", steps=10, every=5, samples=2)
    rng = random.Random(2)
    with RunLog.resume(run, 10, tracking=Tracking(())) as log:
        image, record = fake_sample(10, 0, rng)
        told = {"total": 1.9, "r_sem": 1.0, "r_spa": 1.0, "r_ri": 0.9, "r_pi": 1.0}
        said = {"trained": told, "held_out": told | {"r_pi": 0.5}, "held_out_evidence": {}}
        said["held_out_evidence"] = {"r_pi": "no heart"}
        log.save_sample(10, 16, image, record | said, "watched")
        log.save_group(10, [fake_sample(10, 0, rng)])
        log.save_sample(0, 0, image, record | {"again": told}, "watched")
        fixed = {"step": 10, "prompt": record["prompt"], "term": "r_pi"}
        before = {"step": 0, "trained": 0.5, "held_out": 0.75}
        samples = [
            fixed | {"trained": 1.0, "held_out": 0.5, "before": before,
                     "image": "watched/step_000010/016.png"},
            fixed | {"first": 1.0, "now": 0.5, "image": "watched/step_000000/000.png"},
            fixed | {"trained": 1.0, "image": "groups/step_000010/000.png"},
            {"step": 10, "prompt": "a star", "index": 1},
        ]  # fmt: skip
        words = {"message": "R_PI rose", "cause": "a judge", "advice": "Look", "choice": "some"}
        log.log_alarm({"name": "hacking", "step": 10, "since": 1, "samples": samples, **words})
    with (run / "metrics.jsonl").open("a") as file:
        for step in (11, 12, 13):
            row = {"step": step}
            for key in ("watch", "watch_trained", "watch_samples", "watch_samples_trained"):
                row |= {f"{key}/r_pi": rng.random(), f"{key}_half/r_pi": 0.1}
            file.write(json.dumps(row) + "\n")
    return build_report(run)


def student_page(folder: Path) -> Path:
    asked = [
        {"ask_above": doubt, "share": 0.5, "mean_error": 0.02}
        for doubt in (0.05, 0.1, 0.15, 0.2, 0.3)
    ]
    found = {"queries": 800, "mean_error": 0.05, "correlation": -0.9, "calibration_error": 0.1}
    with RunLog.create(folder / "run", "run: {}\n", tracking=Tracking(())) as log:
        for step in range(1, 6):
            log.log_metrics(step, {"loss/r_sem": 1 / step, "loss/r_pi": 2 / step})
        log.save_eval("student", {term: found | {"asked": asked} for term in ("r_sem", "r_pi")})
    return build_report(log.run_dir)


def sheet_page(folder: Path) -> Path:
    records = drawn(folder, 3)
    return build_sheet(folder, sorted(folder.glob("0*.png")), records, Model="icons")[0]


def judge_page(folder: Path) -> Path:
    """Of a judge with examples of pairs that it ordered rightly, and that it missed."""
    audit = audit_judge(Random(), spec="random", pairs=4)
    write_judge_page(audit, folder / "audit.html")
    return folder / "audit.html"


def human_page(folder: Path) -> Path:
    measured = {"overall": estimate(0.7), "by_category": {"color": estimate(0.6)}}
    statistics = dict.fromkeys(("alpha", "pearson", "spearman", "kendall"), measured)
    drawn(folder, 1)
    encoded = base64.b64encode((folder / "000.png").read_bytes()).decode()
    picture = f"data:image/png;base64,{encoded}"
    item = {"id": "000", "prompt": "a red heart", "people": 0.9, "judge": 0.1, "plan": picture,
            "image": picture, "ratings": {"ann": 9, "bob": None}, "evidence": "no heart",
            "chain": "A heart.", "category": "color", "method": "ours"}  # fmt: skip
    terms = {"semantic": "r_sem", "spatial": "r_spa", "quality": "r_pi"}
    sides = {"people": estimate(0.6), "judge": estimate(0.5)}
    study = {
        "items": 40,
        "raters": {"ann": 40, "bob": 39},
        "notes": ["2 raters; at least 3 are advised."],
        "questions": {
            q: {"term": t, **statistics, "disagreements": [item]} for q, t in terms.items()
        },
        "methods": {"ours": dict.fromkeys(terms, sides), "theirs": dict.fromkeys(terms, sides)},
    }
    write_human_page(study, folder / "report.html")
    return folder / "report.html"


def plans_page(folder: Path) -> Path:
    samples = [
        {**record, "relation": "left", "plan": True, "image_right": index > 1}
        for index, record in enumerate(drawn(folder, 4))
    ]
    shares = {name: estimate(0.3) for name in ("all", "some", "none")} | {"if_unrelated": 0.2}
    outcomes = {name: estimate(0.2) for name in ("boxes", "words", "other", "lost")}
    both = {"plan": estimate(0.7), "image": estimate(0.6)}
    metrics = fake_eval("plans", 0.8)["metrics"]
    result = {
        "benchmark": "plans", "name": "mine", "model": "icons", "prompts": 40,
        "metrics": {**metrics, "realised": {"overall": estimate(0.9)}},
        "phrasings": [{"form": form, "example": "a cat near a dog", **both} for form in "xy"],
        "consistency": {"meanings": 6, "forms": 6, "plan": shares, "image": shares},
        "swap": {
            "prompts": 6, **outcomes,
            "image_relation": {"before": estimate(0.8), "after": estimate(0.2)},
        },
        "objects": [{"objects": 2, "relation": True, **both}],
        "samples": samples,
        "swapped": [{**samples[0], "of": 0, "outcome": "boxes"}],
    }  # fmt: skip
    (folder / "plans.json").write_text(json.dumps(result))
    return build_plans_page(folder)


@pytest.mark.parametrize(
    "make", [report_page, student_page, sheet_page, judge_page, human_page, plans_page]
)
def test_a_page_is_accessible_and_fits_its_screen(browser, make, tmp_path):
    page_file = make(tmp_path)
    for width, scheme in ((1300, "light"), (360, "dark")):
        size = {"width": width, "height": 900}
        # A page's policy allows no script but its own, and axe is one.
        context = browser.new_context(viewport=size, color_scheme=scheme, bypass_csp=True)
        context.set_default_timeout(300_000)
        page = context.new_page()
        page.goto(page_file.as_uri())
        page.evaluate(UNFOLD)
        wider = "element => element.scrollWidth > element.clientWidth"
        assert not page.eval_on_selector("html", wider), f"{width} px: the page scrolls sideways"
        for place in page.query_selector_all(".scroll"):
            assert not place.evaluate(wider), f"{width} px: {place.get_attribute('aria-label')}"
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run()")
        assert len(found["passes"]) > 10  # it ran
        wrong = [
            (one["id"], node["html"][:200], node["failureSummary"])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
        assert not wrong, f"{width} px, {scheme}"
        context.close()

"""A run folder as training would leave it, with made-up numbers and really drawn icons."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from got_r1.files.runlog import RunLog
from got_r1.files.trackers.base import Tracking
from got_r1.icons.render import render
from got_r1.icons.world import COLORS, FILLS, NOUNS, Icon, Scene, box_from_cells
from got_r1.plan.chain import format_object
from got_r1.plan.layout import iou
from got_r1.recipes.sections import Recipe
from got_r1.records import Box, PlannedObject
from small_runs import make_recipe, model_folder

__all__ = ["make_recipe", "model_folder"]

CATEGORIES = ("color", "texture", "spatial", "numeracy", "complex")
TERMS = ("r_sem", "r_spa", "r_ri", "r_pi")


def fake_metrics(step: int, steps: int, rng: random.Random) -> dict[str, float]:
    """One GRPO step: terms rise towards 1, spreads shrink."""
    done = 1 - math.exp(-3 * step / steps)
    starts = {"r_sem": 0.85, "r_spa": 0.72, "r_ri": 0.7, "r_pi": 0.55}
    terms = {
        term: min(1.0, start + 0.93 * (1 - start) * done + rng.gauss(0, 0.03))
        for term, start in starts.items()
    }
    total = terms["r_pi"] * (terms["r_sem"] + terms["r_spa"]) * terms["r_ri"]
    spread = 0.25 * (1.1 - done)
    seconds = {"rollout": rng.gauss(1.3, 0.1), "judge_waited": rng.gauss(0.15, 0.02)}
    seconds["update"] = rng.gauss(1.1, 0.08)
    hidden = rng.gauss(0.2, 0.02)
    return {
        "loss": rng.gauss(0, 0.02),
        "lr": 1.5e-4 * (1 + math.cos(math.pi * step / steps)) / 2,
        "grad_norm": rng.lognormvariate(-0.5, 0.3),
        "reward/total": total,
        **{f"reward/{term}": value for term, value in terms.items()},
        "group_std/total": 2 * spread,
        **{f"group_std/{term}": spread * rng.uniform(0.7, 1.2) for term in TERMS},
        "kl": 0.02 * done * rng.uniform(0.8, 1.2),
        "entropy/chain": 0.35 - 0.15 * done + rng.gauss(0, 0.01),
        "entropy/image": 1.6 - 0.3 * done + rng.gauss(0, 0.02),
        "ratio_gap": rng.uniform(1e-6, 4e-6),
        "clip_fraction": rng.uniform(0, 0.01),
        "clip_fraction_low": rng.uniform(0, 0.005),
        "clip_fraction_high": rng.uniform(0, 0.005),
        "ratio_mean": rng.uniform(0.99, 1.01),
        "ratio_max": rng.uniform(1.0, 1.5),
        "judge_failures": 0.0,
        "dropped_samples": 0,
        "skipped_groups": round(4 * done + rng.random()),
        "malformed_chains": round(3 * (1 - done) * rng.random()),
        "chain_tokens": 46 + rng.gauss(0, 1.5),
        "tokens_per_second": rng.gauss(3400, 120),
        **{f"seconds/{phase}": value for phase, value in seconds.items()},
        "seconds/judge_hidden": hidden,
        "seconds/judge": hidden + seconds["judge_waited"],
        "seconds/total": sum(seconds.values()) + 0.05,
    }


def fake_sample(step: int, index: int, rng: random.Random) -> tuple[np.ndarray, dict[str, Any]]:
    """An image of two icons, and the record of a sample that planned them about there."""
    nouns, colors = rng.sample(NOUNS, 2), rng.sample(tuple(COLORS), 2)
    looks = zip(nouns, colors, rng.choices(FILLS, k=2), strict=True)
    (x1, x2), (y1, y2) = (0, 5), (rng.randrange(5), rng.randrange(5))
    boxes = [box_from_cells(x1, y1, 4, 4), box_from_cells(x2, y2, 4, 4)]
    icons = [Icon(*look, box) for look, box in zip(looks, boxes, strict=True)]
    planned = [PlannedObject(icon.name, icon.box) for icon in icons]
    if rng.random() < 0.5:  # a plan that the image missed by a little
        box = boxes[0]
        planned[0] = PlannedObject(icons[0].name, Box(box.x1, box.y1 + 100, box.x2, box.y2 + 100))
    lost = rng.random() < 0.2
    found = icons[:1] if lost else icons
    overlap = [iou(plan.box, icon.box) for plan, icon in zip(planned, found, strict=False)]
    first, second = (format_object(plan) for plan in planned)
    terms = {"r_sem": 1.0, "r_spa": 0.7 if lost else 1.0, "r_ri": sum(overlap) / 2}
    terms["r_pi"] = 0.5 if lost else 1.0
    record = {
        "step": step,
        "sample": index % 4,
        "seed": 0,
        "prompt": f"a {icons[0].name} on the left of a {icons[1].name}",
        "category": "spatial",
        "chain": f"On the left there is a {first}. On the right, at some distance, there is "
        f"a {second}. The background is plain white and holds nothing else.",
        "objects": [{"name": plan.name, "box": _corners(plan.box)} for plan in planned],
        "problems": ["reversed coordinates"] if rng.random() < 0.1 else [],
        "found": [{"name": icon.name, "box": _corners(icon.box)} for icon in found],
        "reward": {
            "total": terms["r_pi"] * (terms["r_sem"] + terms["r_spa"]) * terms["r_ri"],
            "terms": terms,
        },
        "evidence": {
            "r_sem": "both objects named with their colours",
            "r_spa": f"{planned[0].name} lies left of {planned[1].name}",
            "r_pi": f"{icons[1].name} not found" if lost else "relation holds, attributes right",
        },
        "advantage": rng.gauss(0, 1),
    }
    return render(Scene(tuple(found))), record


def _corners(box: Box) -> list[int]:
    return [box.x1, box.y1, box.x2, box.y2]


def fake_eval(name: str, level: float) -> dict[str, Any]:
    """An evaluation whose metrics lie around `level`."""

    def estimate(mean: float, n: int) -> dict[str, float]:
        half = 1.96 * math.sqrt(mean * (1 - mean) / n)
        return {"mean": mean, "low": max(0, mean - half), "high": min(1, mean + half), "n": n}

    offsets = {"plan_relation": 0.03, "image_relation": -0.01, "attributes": 0.02}
    offsets |= {"iou": 0.0, "count": -0.05}
    metrics = {
        metric: {
            "overall": estimate(level + offset, 500),
            "by_category": {
                category: estimate(min(0.99, level + offset + 0.02 * (i - 2)), 100)
                for i, category in enumerate(CATEGORIES)
            }
            if metric in ("attributes", "iou")
            else {},
        }
        for metric, offset in offsets.items()
    }
    settings = {"benchmark": "icons", "split": "val", "prompts": 500, "seed": 1234}
    return {"name": name, **settings, "guidance": 2.0, "metrics": metrics}


def write_fake_run(run_dir: Path, *, steps: int = 100, every: int = 10, samples: int = 8) -> Path:
    """A whole GRPO run, written by the run log itself."""
    rng = random.Random(0)
    recipe = Recipe.model_validate(
        {
            "run": {"dir": "runs/icons-rl"},
            "model": {"path": "icons"},
            "rl": {"steps": steps, "learning_rate": 1.5e-4, "sample_every": every},
        }
    )
    with RunLog.create(run_dir, yaml.safe_dump(recipe.model_dump()), tracking=Tracking(())) as log:
        for step in range(1, steps + 1):
            log.log_metrics(step, fake_metrics(step, steps, rng))
            if step == 1 or step % every == 0:
                for index in range(samples):
                    log.save_sample(step, index, *fake_sample(step, index, rng))
        fixed = random.Random(1)
        for step in (0, *range(every, steps + 1, every)):
            log.save_probes(step, [fake_sample(step, index, fixed) for index in range(6)])
        log.save_eval("sft", fake_eval("sft", 0.76))
        log.save_eval("rl", fake_eval("rl", 0.94))
    return run_dir


@pytest.fixture
def fake_run(tmp_path: Path) -> Path:
    """A small whole run."""
    return write_fake_run(tmp_path / "icons-rl", steps=20, every=10, samples=3)

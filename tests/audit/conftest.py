"""Run folders as training writes them, with samples of the icon world."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from got_r1.files.runlog import RunLog
from got_r1.files.trackers.base import Tracking
from got_r1.icons.data import chain_for
from got_r1.icons.prompts import CATEGORIES, draw_prompt
from got_r1.icons.render import render
from got_r1.icons.scenes import draw_scene
from got_r1.icons.world import Scene
from got_r1.plan.chain import parse

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run of `steps` x `samples` samples whose scores are spread over [0, 1]."""

    def make(name: str, steps: int = 4, samples: int = 15, seed: int = 0) -> Path:
        rng = random.Random(f"{name} {seed}")
        log = RunLog.create(tmp_path / name, "run: {}\n", tracking=Tracking(()))
        for step in range(1, steps + 1):
            for index in range(samples):
                prompt, meaning = draw_prompt(rng, CATEGORIES[index % 5], "train")
                layout = draw_scene(rng, meaning)
                chain = parse(chain_for(rng, layout, meaning))
                terms = {term: rng.random() for term in ("r_sem", "r_spa", "r_ri", "r_pi")}
                total = terms["r_pi"] * (terms["r_sem"] + terms["r_spa"]) * terms["r_ri"]
                record = {
                    "prompt": prompt.text,
                    "category": prompt.category,
                    "chain": chain.text,
                    "problems": [],
                    "reward": {"total": total, "terms": terms},
                    "evidence": {"r_sem": f"evidence of {name}"},
                }
                image = render(Scene(tuple(icon for group in layout for icon in group)))
                log.save_sample(step, index, image, record)
        return tmp_path / name

    return make

"""RL of plans alone: where neither the reward nor the loss reads an image, none is drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from got_r1.judges.oracle import OracleJudge
from got_r1.policy import load_policy
from got_r1.policy.sampler import Sampler
from got_r1.recipes.sections import Recipe
from got_r1.records import Prompt, WrittenChains
from got_r1.training import rl
from got_r1.training.policy_update import improve
from got_r1.training.rollout import needs_images, roll_out
from small_runs import assert_same_run

MakeRecipe = Callable[..., Recipe]
PROMPTS = [Prompt("a star on the left of a heart", "spatial"), Prompt("three hearts", "numeracy")]
PLANS: dict[str, Any] = {
    "model": {"path": "icons"},
    "rollout": {"chain_limit": 120},
    "reward": {"r_ri": 0, "r_pi": 0},
}


@pytest.mark.parametrize(
    ("reward", "image_weight", "needed"),
    [
        ({"r_ri": 0, "r_pi": 0}, 0, False),
        ({"r_ri": 0, "r_pi": 0, "r_sem": 0}, 0, False),
        ({"r_ri": 0, "r_pi": 0}, 0.05, True),
        ({"r_pi": 0}, 0, True),
        ({"r_ri": 0}, 0, True),
        ({"r_ri": 0, "r_pi": 0, "r_hps": 1, "formula": "sum"}, 0, True),
    ],
)
def test_when_images_are_needed(
    make_recipe: MakeRecipe, reward: dict[str, Any], image_weight: float, needed: bool
) -> None:
    recipe = make_recipe("run", reward=reward, rl={"image_weight": image_weight})
    assert needs_images(recipe) is needed


@pytest.mark.parametrize("aggregation", ["token", "sequence", "fixed"])
def test_a_step_without_images_learns_what_one_with_them_does(
    make_recipe: MakeRecipe, aggregation: str
) -> None:
    """Image tokens follow the chain and weigh 0, so that nothing of the update can depend on
    them."""
    recipe = make_recipe(
        "run",
        **PLANS,
        rl={
            "image_weight": 0,
            "kl_coef": 0.1,
            "inner_epochs": 2,
            "aggregation": aggregation,
            "group": 6,
            "learning_rate": 1.0,  # of SGD without clipping: the change tells the gradient
            "max_grad_norm": 1e9,
        },
    )
    after: list[dict[str, Tensor]] = []
    metrics = []
    for draw in (True, False):
        policy = load_policy("icons")
        policy.prepare_training(recipe.model.lora)
        policy.freeze_reference()
        before = {name: p.detach().clone() for name, p in policy.trainable().items()}
        samples = roll_out(policy, OracleJudge(), PROMPTS, recipe, 3, show=False)
        assert samples.images.shape == (12, 0, 0, 3)
        if draw:
            rollout = Sampler(policy).draw_images(samples.rollout.chains, guidance=1.0)
            samples = replace(samples, rollout=rollout)
        optimizer = torch.optim.SGD(policy.trainable().values(), lr=1.0)
        metrics.append(improve(policy, optimizer, samples, recipe, 1) | samples.metrics())
        after.append({name: p.detach() - before[name] for name, p in policy.trainable().items()})
    drawn, alone = after
    assert max(change.abs().max() for change in drawn.values()) > 1e-3
    for name, change in drawn.items():
        torch.testing.assert_close(alone[name], change, atol=1e-5, rtol=1e-3, msg=name)
    with_images, without = metrics
    assert "entropy/image" in with_images
    assert with_images.keys() - without.keys() == {"entropy/image"}
    others = ("seconds/", "tokens_per_second", "ratio_gap")
    for key, value in without.items():
        if not key.startswith(others):
            assert value == pytest.approx(with_images[key], rel=1e-3, abs=1e-5), key


def test_a_run_draws_for_its_galleries_alone(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    draw = Sampler.draw_images

    def counted(self: Sampler, chains: WrittenChains, **settings: Any) -> Any:
        drawn.append(len(chains.texts))
        return draw(self, chains, **settings)

    monkeypatch.setattr(Sampler, "draw_images", counted)
    recipe = make_recipe(
        "run",
        **PLANS,
        rl={"image_weight": 0, "steps": 5, "sample_every": 4, "group": 4},
        eval={"prompts": 0},
    )
    rl.train(recipe, quiet=True)
    assert drawn == [8, 8]  # of step 1 and step 4
    folder = Path(recipe.run.dir)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all("entropy/image" not in row for row in rows)  # a gallery's images train nothing
    assert all("reward/r_pi" not in row and "reward/r_ri" not in row for row in rows)
    for step in (1, 4):
        for path in (folder / f"samples/step_{step:06d}").glob("*.png"):
            assert np.asarray(Image.open(path)).std() > 0
    for path in (folder / "samples").glob("*/*.json"):
        assert json.loads(path.read_text())["found"] is None  # nobody looked for the objects
    report = (folder / "report.html").read_text()
    assert "R_spa" in report
    assert "not found" not in report


@pytest.mark.parametrize("weight", [0, 0.05])
def test_images_that_no_term_looks_at_are_told(
    make_recipe: MakeRecipe, weight: float, capsys: pytest.CaptureFixture[str]
) -> None:
    section = {"image_weight": weight, "steps": 1, "prompts": 1, "group": 2}
    rl.train(make_recipe("run", **PLANS, rl=section, eval={"prompts": 0}))
    assert ("no term looks at the images" in capsys.readouterr().err) is (weight > 0)


def test_what_is_shown_changes_no_update(make_recipe: MakeRecipe) -> None:
    """`rl.sample_every` may change on resuming, since no result depends on it."""
    runs = [
        make_recipe(
            str(every),
            **PLANS,
            rl={"image_weight": 0, "steps": 3, "sample_every": every},
            eval={"prompts": 0},
        )
        for every in (1, 3)
    ]
    for recipe in runs:
        rl.train(recipe, quiet=True)
    assert_same_run(*(Path(recipe.run.dir) for recipe in runs))


def test_a_run_of_plans_alone_resumes(make_recipe: MakeRecipe) -> None:
    def run(name: str, **section: int) -> Recipe:
        return make_recipe(name, **PLANS, rl={"image_weight": 0, **section}, eval={"prompts": 0})

    whole, stopped = run("whole"), run("stopped")
    rl.train(whole, quiet=True)

    class Stop(Exception):
        pass

    asked: list[int] = []

    class StopsAt3(OracleJudge):
        def judge(self, queries: Sequence[Any]) -> Any:
            asked.append(len(queries))
            if len(asked) > 2:  # one call a step: nothing is asked about images
                raise Stop
            return super().judge(queries)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rl, "load_judge", lambda *_: StopsAt3())
        with pytest.raises(Stop):
            rl.train(stopped, quiet=True)
    rl.train(stopped, resume=True, quiet=True)
    assert_same_run(Path(whole.run.dir), Path(stopped.run.dir))

"""GRPO on the shipped checkpoint: what a step does, counts and refuses."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from got_r1.errors import BadInput
from got_r1.judges.oracle import OracleJudge
from got_r1.policy import load_policy
from got_r1.policy.janus import Policy, TokenBatch
from got_r1.recipes.sections import Recipe
from got_r1.records import JudgeFailure, Prompt, Query, SemanticQuery, Verdict
from got_r1.training import policy_update, rl
from got_r1.training.optimizer import make_optimizer
from got_r1.training.policy_update import improve
from got_r1.training.rollout import Samples, roll_out
from got_r1.training.run import Run

MakeRecipe = Callable[..., Recipe]
PROMPTS = [Prompt("a star on the left of a heart", "spatial"), Prompt("three hearts", "numeracy")]


def icons(make_recipe: MakeRecipe, name: str = "run", **sections: Any) -> Recipe:
    return make_recipe(
        name, **{"model": {"path": "icons"}, "rollout": {"chain_limit": 120}} | sections
    )


class FailsOn:
    """The oracle, but without an answer about every `every`th chain's semantics."""

    def __init__(self, every: int) -> None:
        self.oracle, self.every, self.asked = OracleJudge(), every, 0

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        answers = self.oracle.judge(queries)
        for index, query in enumerate(queries):
            if isinstance(query, SemanticQuery):
                self.asked += 1
                if self.asked % self.every == 0:
                    answers[index] = JudgeFailure("no reply")
        return answers


def sample_once(policy: Policy, recipe: Recipe, judge: Any = None) -> Samples:
    return roll_out(policy, judge or OracleJudge(), PROMPTS, recipe, seed=1)


def weights(policy: Policy) -> Tensor:
    return torch.cat([p.detach().flatten() for p in policy.trainable().values()])


# -- one step --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["guided", "conditional"])
def test_a_step_makes_good_samples_likelier_than_bad_ones(
    make_recipe: MakeRecipe, mode: str
) -> None:
    recipe = icons(
        make_recipe, rl={"logprob_mode": mode, "group": 8, "learning_rate": 1e-4, "kl_coef": 0.0}
    )
    policy = load_policy("icons")
    policy.prepare_training(recipe.model.lora)
    policy.freeze_reference()
    samples = sample_once(policy, recipe)
    totals = torch.tensor([reward.total for reward in samples.rewards]).view(2, 8)
    advantages = (totals - totals.mean(1, keepdim=True)).flatten()
    assert advantages.abs().max() > 0.1, "the group must have something to tell apart"

    def likelihood() -> Tensor:
        batch = TokenBatch.from_rollout(samples.rollout, policy.pad_id)
        with torch.no_grad():
            replay = policy_update.replay_answers(policy, batch, recipe)
        return replay.chain_logprobs.sum(1) + replay.image_logprobs.sum(1)

    before = likelihood()
    optimizer = make_optimizer(policy.trainable().values(), recipe.rl)
    metrics = improve(policy, optimizer, samples, recipe, step=1)
    assert ((likelihood() - before) * advantages).sum() > 0
    assert metrics["ratio_gap"] < 1e-4 if mode == "guided" else metrics["ratio_gap"] > 1e-3


def test_inner_epochs_move_the_ratio_away_from_one(make_recipe: MakeRecipe) -> None:
    found = {}
    for epochs in (1, 3):
        recipe = icons(make_recipe, rl={"inner_epochs": epochs, "learning_rate": 1e-3})
        policy = load_policy("icons")
        policy.prepare_training(recipe.model.lora)
        policy.freeze_reference()
        optimizer = make_optimizer(policy.trainable().values(), recipe.rl)
        metrics = improve(policy, optimizer, sample_once(policy, recipe), recipe, step=1)
        found[epochs] = (metrics["ratio_max"], metrics["kl"])
    assert found[1] == (1.0, pytest.approx(0.0, abs=1e-6))
    assert found[3][0] > 1.001
    assert found[3][1] > 1e-6


def test_micro_batches_give_the_same_update(make_recipe: MakeRecipe) -> None:
    after = []
    for size in (3, 64):
        recipe = icons(make_recipe, rl={"micro_batch": size, "group": 4})
        policy = load_policy("icons")
        policy.prepare_training(recipe.model.lora)
        policy.freeze_reference()
        optimizer = torch.optim.SGD(policy.trainable().values(), lr=1.0)
        improve(policy, optimizer, sample_once(policy, recipe), recipe, step=1)
        after.append(weights(policy))
    torch.testing.assert_close(after[0], after[1], atol=1e-5, rtol=0)


def test_only_adapters_change_under_lora(make_recipe: MakeRecipe) -> None:
    recipe = icons(
        make_recipe, model={"path": "icons", "lora": {"rank": 4}}, rl={"learning_rate": 1e-2}
    )
    policy = load_policy("icons")
    policy.prepare_training(recipe.model.lora)
    frozen = {n: p.clone() for n, p in policy.model.named_parameters() if not p.requires_grad}
    before = weights(policy)
    optimizer = make_optimizer(policy.trainable().values(), recipe.rl)
    improve(policy, optimizer, sample_once(policy, recipe), recipe, step=1)
    assert not torch.equal(weights(policy), before)
    now = dict(policy.model.named_parameters())
    assert all(torch.equal(now[name], tensor) for name, tensor in frozen.items())
    assert all("lora_" in name for name in policy.trainable())


@pytest.mark.parametrize("rank", [0, 4])
def test_dropout_acts_in_updates_only(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    """What is sampled, evaluated and compared with is the same at any state of torch's generator,
    which it leaves alone."""
    model = {"lora": {"rank": rank, "dropout": 0.5 if rank else 0.0}}
    recipe = make_recipe("run", model=model, rl={"steps": 2, "kl_coef": 0.1}, eval={"prompts": 2})
    seen: list[str] = []

    def watch(module: ModuleType, name: str) -> None:
        inner = getattr(module, name)

        def watched(owner: Any, *args: Any, **named: Any) -> Any:  # a run, or the policy itself
            policy = owner.policy if isinstance(owner, Run) else owner
            assert not any(part.training for part in policy.model.modules()), name
            before = torch.get_rng_state()
            result = inner(owner, *args, **named)
            assert torch.equal(torch.get_rng_state(), before), name
            seen.append(name)
            return result

        monkeypatch.setattr(module, name, watched)

    watch(rl, "evaluate_policy")
    watch(rl, "roll_out")
    watch(policy_update, "reference_logprobs")
    rl.train(recipe, quiet=True)
    assert seen.count("evaluate_policy") == seen.count("roll_out") == 2


# -- faults of the judge ---------------------------------------------------------------------------


def test_a_sample_whose_judge_failed_leaves_its_group(make_recipe: MakeRecipe) -> None:
    recipe = icons(make_recipe, rl={"group": 8})
    policy = load_policy("icons")
    policy.prepare_training(recipe.model.lora)
    policy.freeze_reference()
    samples = sample_once(policy, recipe, FailsOn(every=4))
    lost = [reward.total is None for reward in samples.rewards]
    assert sum(lost) == samples.metrics()["judge_failures"] > 0
    optimizer = make_optimizer(policy.trainable().values(), recipe.rl)
    metrics = improve(policy, optimizer, samples, recipe, step=1)
    assert metrics["dropped_samples"] == sum(lost)


def test_the_gallery_says_the_advantages_of_the_update(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of samples that take no part are null."""
    recipe = icons(
        make_recipe,
        rl={"steps": 1, "group": 4},
        eval={"prompts": 0},
        judge={"max_failure_share": 1.0},
    )
    monkeypatch.setattr(rl, "load_judge", lambda *_: FailsOn(every=3))
    seen: list[Samples] = []

    def watched(policy: Policy, optimizer: Any, samples: Samples, *args: Any) -> Any:
        seen.append(samples)
        return improve(policy, optimizer, samples, *args)

    monkeypatch.setattr(rl, "improve", watched)
    rl.train(recipe, quiet=True)
    (samples,) = seen
    folder = Path(recipe.run.dir) / "samples" / "step_000001"
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    assert len(records) == 2
    for place, record in enumerate(records):
        group = [reward.total for reward in samples.rewards[place * 4 : place * 4 + 4]]
        kept = [total for total in group if total is not None]
        if group[0] is None or len(set(kept)) < 2:
            assert record["advantage"] is None
        else:
            expected = (group[0] - np.mean(kept)) / (np.std(kept, ddof=1) + 1e-4)
            assert record["advantage"] == pytest.approx(expected, rel=1e-4)
    # And one whole group: that whose rewards differ most.
    totals = np.array([reward.total for reward in samples.rewards], dtype=float).reshape(2, 4)
    widest = int(np.argmax(np.nanstd(totals, axis=1)))
    folder = Path(recipe.run.dir) / "groups" / "step_000001"
    group = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    assert [record["sample"] for record in group] == [0, 1, 2, 3]
    assert [record["reward"]["total"] for record in group] == [
        reward.total for reward in samples.rewards[4 * widest : 4 * widest + 4]
    ]
    assert len({record["prompt"] for record in group}) == 1
    for place, record in enumerate(group):
        image = np.asarray(Image.open(folder / f"{place:03d}.png"))
        assert np.array_equal(image, samples.images[4 * widest + place])
        assert (record["advantage"] is None) == (record["reward"]["total"] is None)


# -- a whole run -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_leaves_what_the_contract_says(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    recipe = icons(make_recipe, run={"track": ["tensorboard", "trackio"]})
    summary = rl.train(recipe, quiet=True)
    run = Path(recipe.run.dir)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    for key in (
        "reward/total",
        "group_std/r_pi",
        "kl",
        "entropy/chain",
        "entropy/image",
        "ratio_gap",
        "clip_fraction",
        "dropped_samples",
        "tokens_per_second",
        "seconds/rollout",
        "seconds/judge",
        "seconds/update",
    ):
        assert any(np.isfinite(line.get(key, np.nan)) for line in lines), key
    assert sorted(p.name for p in (run / "samples").iterdir()) == [
        "step_000001",
        "step_000002",
        "step_000004",
    ]
    assert sorted(p.name for p in (run / "groups").iterdir()) == [
        "step_000001",
        "step_000002",
        "step_000004",
    ]
    with sqlite3.connect(tmp_path / "trackio" / "got-r1.db") as database:
        rows = database.execute("select step, metrics from metrics order by id").fetchall()
    shown = [(step, sorted(json.loads(metrics))) for step, metrics in rows]
    assert [step for step, keys in shown if "reward/total" in keys] == [1, 2, 3, 4]
    assert [step for step, keys in shown if keys == ["samples"]] == [1, 2, 4]
    evals = {p.stem: json.loads(p.read_text()) for p in (run / "evals").iterdir()}
    assert evals.keys() == {"sft", "rl"}
    assert evals["sft"]["split"] == "dev"
    assert Path(str(summary["report"])).is_file()
    assert load_policy(str(summary["model"])).image_tokens == 100


def test_a_reward_without_terms_is_refused_before_anything_loads(make_recipe: MakeRecipe) -> None:
    off = dict.fromkeys(("r_sem", "r_spa", "r_ri", "r_pi"), 0.0)
    recipe = make_recipe("run", model={"path": "nowhere"}, reward=off)
    with pytest.raises(BadInput, match="switched off"):
        rl.train(recipe, quiet=True)

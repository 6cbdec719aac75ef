"""A model folder and a recipe small enough to train in seconds, through the real loops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from got_r1.icons.data import triples
from got_r1.policy.tiny import build_policy
from got_r1.recipes.sections import Recipe

MakeRecipe = Callable[..., Recipe]
TIMING = ("seconds/", "tokens_per_second")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random policy: it trains, though it knows nothing."""
    texts = [text for t in triples(300, seed=1) for text in (t.prompt.text, t.chain)]
    policy = build_policy(
        texts, seed=0, codebook_size=64, hidden_size=64, layers=2, heads=4, mlp_size=96
    )
    folder = tmp_path_factory.mktemp("model")
    policy.save(folder)
    return folder


@pytest.fixture
def make_recipe(model_folder: Path, tmp_path: Path) -> MakeRecipe:
    """`make_recipe("run name", rl={...}, ...)`: sections given replace the small defaults."""

    def make(name: str, **sections: dict[str, Any]) -> Recipe:
        recipe: dict[str, Any] = {
            "run": {"dir": str(tmp_path / name), "seed": 5},
            "model": {"path": str(model_folder), "lora": {"rank": 0}},
            "data": {"size": 64},
            "rollout": {"chain_limit": 60, "guidance": 2.0},
            "sft": {"steps": 6, "batch": 8, "learning_rate": 1e-3, "save_every": 2},
            "vq": {"steps": 3, "batch": 4, "learning_rate": 1e-3, "save_every": 1},
            "rl": {
                "steps": 4,
                "prompts": 2,
                "group": 4,
                "learning_rate": 1e-3,
                "save_every": 2,
                "sample_every": 2,
            },
            "eval": {"prompts": 4, "split": "dev", "probes": 0},
        }
        for section, values in sections.items():
            recipe[section] = recipe[section] | values if section in recipe else values
        return Recipe.model_validate(recipe)

    return make


def metrics(run: Path) -> list[dict[str, Any]]:
    """The run's metrics without what depends on the clock."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if not key.startswith(TIMING)}
        for line in lines
    ]


def assert_same_run(one: Path, other: Path) -> None:
    assert metrics(one) == metrics(other)
    weights = [load_file(run / "checkpoints/final/model.safetensors") for run in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])

"""A policy with random weights: every property of sampling and replay holds for it as well."""

from __future__ import annotations

import pytest

from got_r1.icons.data import triples
from got_r1.policy import load_policy
from got_r1.policy.janus import Policy
from got_r1.policy.tiny import build_policy
from got_r1.recipes.sections import LoraSection


def make_policy() -> Policy:
    texts = [text for t in triples(300, seed=1) for text in (t.prompt.text, t.chain)]
    return build_policy(texts, seed=0, hidden_size=64, layers=2, heads=4, kv_heads=2, mlp_size=96)


@pytest.fixture(scope="session")
def policy() -> Policy:
    """Shared, so read-only."""
    return make_policy()


@pytest.fixture
def own_policy() -> Policy:
    """For tests that change weights."""
    return make_policy()


@pytest.fixture
def lora_policy() -> Policy:
    policy = make_policy()
    policy.prepare_training(LoraSection(rank=4, alpha=8.0))
    return policy


@pytest.fixture(scope="session")
def shipped() -> Policy:
    """The shipped checkpoint, whose chains end by themselves. Shared, so read-only."""
    return load_policy("icons")

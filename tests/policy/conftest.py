"""A policy with random weights: every property of sampling and replay holds for it as well.

And small checkpoints of the official format.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from got_r1.config import LoraSection
from got_r1.icons.data import triples
from got_r1.policy import load_policy
from got_r1.policy.convert import to_official
from got_r1.policy.janus import Policy
from got_r1.policy.tiny import build_policy
from policy.official_checkpoints import a_janus, write_official_tokenizer


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


# -- official checkpoints --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def official(shared_data: Path) -> Path:
    return shared_data / "official-tiny"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small official checkpoint with a tokenizer and room for its chain tokens, in one file."""
    folder = tmp_path_factory.mktemp("small")
    size = {
        "heads": 2, "kv_heads": 1, "head_dim": 8, "layers": 2, "mlp": 24, "vocabulary": 320,
        "vision_heads": 2, "vision_layers": 2, "mlp_ratio": 4.0, "patch": 2, "grid": 2,
        "aligner_depth": 2, "gen_aligner_depth": 2, "code_size": 4, "codes": 16, "latent": 8,
        "multiplier": [1], "res_blocks": 1,
    }  # fmt: skip
    a_janus(0, size).save_pretrained(folder / "model")
    to_official(folder / "model", folder / "official", quiet=True)
    write_official_tokenizer(folder / "official")
    return folder / "official"


@pytest.fixture
def own(small: Path, tmp_path: Path) -> Path:
    """A copy of the small checkpoint that a test may break."""
    return Path(shutil.copytree(small, tmp_path / "own"))

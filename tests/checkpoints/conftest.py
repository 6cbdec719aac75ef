"""Small checkpoints of the official format."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from checkpoints.official_checkpoints import a_janus, write_official_tokenizer
from got_r1.checkpoints.convert import to_official
from got_r1.files.digests import DIGESTS
from small_runs import make_recipe, model_folder

__all__ = ["make_recipe", "model_folder"]


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
    (folder / "official" / DIGESTS).unlink()  # others' checkpoints have none
    return folder / "official"


@pytest.fixture
def own(small: Path, tmp_path: Path) -> Path:
    """A copy of the small checkpoint that a test may break."""
    return Path(shutil.copytree(small, tmp_path / "own"))

"""Samples as files: what `got-r1 sample` and the evaluations are made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from got_r1.config import RolloutSection
from got_r1.icons.data import triples
from got_r1.policy.janus import Policy
from got_r1.policy.tiny import build_policy
from got_r1.records import Prompt
from got_r1.sampling import generate, sample

PROMPTS = [Prompt("a red heart", "color"), Prompt("two towers"), Prompt("a blue star")]
ROLLOUT = RolloutSection(chain_limit=12, guidance=2.0)
PLAN = "A <|obj_start|>red heart<|obj_end|> <|box_start|>(0,0),(400,400)<|box_end|>."


@pytest.fixture(scope="module")
def policy() -> Policy:
    texts = [text for t in triples(300, seed=1) for text in (t.prompt.text, t.chain)]
    return build_policy(texts, seed=0, hidden_size=64, layers=2, heads=4, mlp_size=96)


def test_files_of_a_sample(policy: Policy, tmp_path: Path) -> None:
    files = sample(policy, PROMPTS, n=2, seed=3, rollout=ROLLOUT, out_dir=tmp_path)
    assert [file.name for file in files] == [f"{i:03d}.png" for i in range(6)]
    record = json.loads((tmp_path / "003.json").read_text())
    assert record["prompt"] == "two towers"
    assert (record["seed"], record["sample"], record["guidance"]) == (3, 1, 2.0)
    assert record["stop"] in {"length", "begin_of_image", "end_of_sentence"}
    assert min(record["seconds"].values()) > 0
    with Image.open(files[3]) as image:
        assert image.size == (40, 40)


def test_batches_do_not_change_what_is_drawn(policy: Policy) -> None:
    # Rounding may differ between batch sizes; odds of a moved token below 1 in 1,000.
    drawn = [
        list(generate(policy, PROMPTS, seed=3, rollout=ROLLOUT, n=2, batch=batch))
        for batch in (2, 64)
    ]
    for one, other in zip(*drawn, strict=True):
        assert one.chain == other.chain
        np.testing.assert_array_equal(one.image, other.image)


def test_a_given_plan_is_drawn_as_given(policy: Policy, tmp_path: Path) -> None:
    files = sample(
        policy, PROMPTS[:1], n=2, seed=0, rollout=ROLLOUT, out_dir=tmp_path, chain_text=PLAN
    )
    records = [json.loads(file.with_suffix(".json").read_text()) for file in files]
    assert [record["chain"] for record in records] == [PLAN, PLAN]
    assert records[0]["objects"] == [{"name": "red heart", "box": [0, 0, 400, 400]}]
    assert records[0]["stop"] == "given"
    images = [np.asarray(Image.open(file)) for file in files]
    assert (images[0] != images[1]).any(), "each image has noise of its own"

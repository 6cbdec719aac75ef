"""Samples as files: what `got-r1 sample` and the evaluations are made of."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from got_r1.benchmarks.base import ImageLayout
from got_r1.benchmarks.sample_folder import SampleFolder
from got_r1.cli import main
from got_r1.errors import BadInput
from got_r1.files.sample_files import SampleFiles, named_box
from got_r1.files.weights import fingerprint
from got_r1.icons.data import triples
from got_r1.policy.janus import Policy
from got_r1.policy.tiny import build_policy
from got_r1.recipes.sections import RolloutSection
from got_r1.records import Prompt
from got_r1.sampling import generate, sample
from got_r1.sampling.settings import fitting_chain_limit

PROMPTS = [Prompt("a red heart", "color"), Prompt("two towers"), Prompt("a blue star")]
ROLLOUT = RolloutSection(chain_limit=12, guidance=2.0)
PLAN = "A <|obj_start|>red heart<|obj_end|> <|box_start|>(0,0),(400,400)<|box_end|>."


@pytest.fixture(scope="module")
def policy() -> Policy:
    texts = [text for t in triples(300, seed=1) for text in (t.prompt.text, t.chain)]
    return build_policy(texts, seed=0, hidden_size=64, layers=2, heads=4, mlp_size=96)


def contents(folder: Path) -> dict[str, Any]:
    """Every file below a folder: records without their timings, all else as bytes."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if path.suffix == ".json":
            found[name] = json.loads(path.read_text())
            assert found[name].pop("seconds")
        else:
            found[name] = path.read_bytes()
    return found


def test_files_of_a_sample(policy: Policy, tmp_path: Path) -> None:
    files = SampleFiles(tmp_path)
    done = sample(policy, PROMPTS, n=2, seed=3, rollout=ROLLOUT, files=files, quiet=True)
    assert [image.name for image in done.images] == [f"{i:03d}.png" for i in range(6)]
    assert done.drawn == 6
    record = json.loads((tmp_path / "003.json").read_text())
    assert (record["prompt"], record["category"]) == ("two towers", "other")
    assert (record["seed"], record["sample"], record["guidance"]) == (3, 1, 2.0)
    assert (record["image"], record["variant"]) == ("003.png", 0)
    assert record["stop"] in {"length", "begin_of_image", "end_of_sentence"}
    assert min(record["seconds"].values()) > 0
    with Image.open(done.images[3]) as image:
        assert image.size == (40, 40)


@pytest.mark.parametrize("marks", [True, False])
def test_depth_and_time_are_recorded_where_chains_may_carry_them(
    policy: Policy, tmp_path: Path, marks: bool
) -> None:
    rollout = RolloutSection(chain_limit=12, guidance=2.0, marks=marks)
    chain = PLAN.replace("400)<", "400),z1,t2<")
    files = SampleFiles(tmp_path)
    sample(policy, PROMPTS[:1], n=1, seed=3, rollout=rollout, files=files, chain_text=chain)
    record = json.loads((tmp_path / "000.json").read_text())
    heart = {"name": "red heart", "box": [0, 0, 400, 400], "depth": 1, "time": 2}
    assert record["objects"] == ([heart] if marks else [])
    assert record.get("marks") == (True if marks else None)
    assert ("malformed coordinates" in record["problems"]) != marks
    (read,) = SampleFolder(tmp_path, [ImageLayout(files, tuple(PROMPTS[:1]))])
    assert [named_box(one) for one in read.chain.objects] == record["objects"]


def test_batches_do_not_change_what_is_drawn(policy: Policy) -> None:
    # Rounding differs between batch sizes: odds of a moved token below 1 in 1,000, and a value
    # near a half may come out on the other side.
    drawn = [
        list(generate(policy, PROMPTS, seed=3, rollout=ROLLOUT, n=2, batch=batch))
        for batch in (1, 5)
    ]
    for one, other in zip(*drawn, strict=True):
        assert (one.index, one.chain) == (other.index, other.chain)
        np.testing.assert_allclose(one.image.astype(int), other.image, rtol=0, atol=1)


def test_several_images_are_drawn_from_each_chain(policy: Policy) -> None:
    alone = list(generate(policy, PROMPTS, seed=3, rollout=ROLLOUT, n=2))
    for batch in (2, 64):  # less than a chain's images, all at once
        drawn = list(
            generate(policy, PROMPTS, seed=3, rollout=ROLLOUT, n=2, images_per_chain=3, batch=batch)
        )
        assert [one.index for one in drawn] == list(range(18))
        assert [one.chain for one in drawn] == [one.chain for one in alone for _ in range(3)]
        assert [one.prompt for one in drawn] == [one.prompt for one in alone for _ in range(3)]
        assert len({one.image.tobytes() for one in drawn}) == 18, "each image has its own noise"


def test_a_given_plan_is_drawn_as_given(policy: Policy, tmp_path: Path) -> None:
    done = sample(
        policy,
        PROMPTS[:1],
        n=2,
        seed=0,
        rollout=ROLLOUT,
        files=SampleFiles(tmp_path),
        chain_text=PLAN,
        quiet=True,
    )
    records = [json.loads(file.with_suffix(".json").read_text()) for file in done.images]
    assert [record["chain"] for record in records] == [PLAN, PLAN]
    assert records[0]["objects"] == [{"name": "red heart", "box": [0, 0, 400, 400]}]
    assert records[0]["stop"] == "given"
    images = [np.asarray(Image.open(file)) for file in done.images]
    assert (images[0] != images[1]).any(), "each image has noise of its own"


def test_only_what_is_missing_is_drawn(policy: Policy, tmp_path: Path) -> None:
    files = SampleFiles(tmp_path)

    def draw() -> int:
        return sample(
            policy, PROMPTS, n=2, seed=3, rollout=ROLLOUT, files=files, batch=4, quiet=True
        ).drawn

    assert draw() == 6
    whole = contents(tmp_path)
    (tmp_path / "001.json").unlink()  # its image lies there, as after a kill between the two
    (tmp_path / "005.png").unlink()
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir() if p.stem not in ("001", "005")}
    assert draw() == 2
    assert contents(tmp_path) == whole
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert draw() == 0


def test_the_benchmarks_scripts_find_their_names(policy: Policy, tmp_path: Path) -> None:
    """As T2I-CompBench reads them: every entry of samples/, prompt and number from its name."""
    prompts = [Prompt("The red hat was on top of the coat rack."), Prompt("a round bagel")]
    files = SampleFiles(tmp_path, "compbench")
    sample(policy, prompts, n=2, seed=0, rollout=ROLLOUT, files=files, quiet=True)
    names = [path.name for path in (tmp_path / "samples").iterdir()]
    names.sort(key=lambda name: int(name.split("_")[1].split(".")[0]))
    assert [name.split("_")[0] for name in names] == [p.text for p in prompts for _ in range(2)]
    assert [name.split("_")[-1] for name in names] == [f"00000{i}.png" for i in range(4)]
    record = json.loads((tmp_path / "records" / "000003.json").read_text())
    assert record["image"] == "samples/a round bagel_000003.png"
    assert (tmp_path / record["image"]).is_file()


# -- what a model allows ---------------------------------------------------------------------------


def test_a_chain_has_the_official_room_or_what_the_context_leaves(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = policy.model.config.text_config
    monkeypatch.setattr(config, "max_position_embeddings", 16384)
    assert fitting_chain_limit(policy, PROMPTS, None) == 600
    assert fitting_chain_limit(policy, PROMPTS, 7) == 7
    own = policy.model.generation_config
    monkeypatch.setattr(own, "max_new_tokens", 30)  # a model may carry the limit of its training
    assert fitting_chain_limit(policy, PROMPTS, None) == 30
    assert fitting_chain_limit(policy, PROMPTS, 50) == 50
    monkeypatch.setattr(own, "max_new_tokens", 50)
    prompt = max(len(policy.encode_prompt(prompt.text)) for prompt in PROMPTS)
    monkeypatch.setattr(config, "max_position_embeddings", prompt + policy.image_tokens + 41)
    assert fitting_chain_limit(policy, PROMPTS, None) == 40
    assert fitting_chain_limit(policy, PROMPTS, 40) == 40
    with pytest.raises(BadInput, match=r"leaves 41 tokens .* chain of 42"):
        fitting_chain_limit(policy, PROMPTS, 41)
    with pytest.raises(BadInput, match="leaves 41 tokens"):
        fitting_chain_limit(policy, PROMPTS, None, PLAN * 10)
    # The limit that is chosen is one that the sampler takes.
    rollout = RolloutSection(chain_limit=40)
    assert len(list(generate(policy, PROMPTS[:1], seed=0, rollout=rollout))) == 1


def test_weights_are_told_apart(policy: Policy) -> None:
    before = fingerprint(policy.model)
    weight = policy.model.lm_head.weight
    with torch.no_grad():
        weight[-1, -1] += 1e-3
    assert fingerprint(policy.model) != before
    with torch.no_grad():
        weight[-1, -1] -= 1e-3
    policy.model.to(torch.bfloat16)
    assert fingerprint(policy.model) != before
    policy.model.to(torch.float32)


# -- kill -9 ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_folder_goes_on_to_the_same_bytes(policy: Policy, tmp_path: Path) -> None:
    """A real process dies in the middle; what `--resume` makes of its folder is what a process
    that nobody killed makes, byte for byte but for the timings."""
    model = tmp_path / "model"
    policy.save(model)
    prompts = tmp_path / "color_val.txt"
    prompts.write_text("".join(f"{t.prompt.text}\n" for t in triples(16, seed=5)))

    def argv(out: str, *more: str) -> list[str]:
        options = ["--n", "2", "--batch", "3", "--seed", "9", "--chain-limit", "40"]
        given = ["--model", str(model), "--prompts", str(prompts), "--out", str(tmp_path / out)]
        return ["sample", *given, *options, "--layout", "compbench", "--json", *more]

    killed = subprocess.Popen([sys.executable, "-m", "got_r1", *argv("killed")])
    records = tmp_path / "killed" / "records"
    deadline = time.monotonic() + 300
    while len(list(records.glob("*.json"))) < 4 and time.monotonic() < deadline:
        assert killed.poll() is None, "the process ended before it could be killed"
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    there = {path.name: path.stat().st_mtime_ns for path in records.glob("*.json")}
    assert 4 <= len(there) < 32

    assert main(argv("killed", "--resume")) == 0
    assert {name: (records / name).stat().st_mtime_ns for name in there} == there
    assert main(argv("whole")) == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(list((tmp_path / "killed" / "samples").iterdir())) == 32

"""What a GPU does differently: recorded steps, fused attention, bfloat16, where tensors lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from got_r1.policy import load_policy
from got_r1.policy.decoder import attend_fused, attend_in_parts
from got_r1.policy.janus import Policy, TokenBatch
from got_r1.policy.sampler import CUDA_SCHEDULE, Sampler
from got_r1.recipes.sections import Recipe
from got_r1.records import Prompt, Rollout
from got_r1.training import rl, sft
from got_r1.training.run import Run

MakeRecipe = Callable[..., Recipe]
PROMPTS = [
    Prompt("a red heart and a blue star", "attribute"),
    Prompt("two towers", "numeracy"),
    Prompt("a green horse on the left of a yellow moon", "spatial"),
]


def shipped(device: torch.device, dtype: torch.dtype = torch.float32) -> Policy:
    return load_policy("icons", dtype).to(device)


def roll_out(policy: Policy, *, graphs: bool = True, guidance: float = 3.0) -> Rollout:
    sampler = Sampler(policy)
    on_gpu = policy.device.type == "cuda"
    sampler.schedule = replace(CUDA_SCHEDULE, graphs=graphs and on_gpu)
    chains = sampler.write_chains(PROMPTS, 4, seed=3, limit=120)
    return sampler.draw_images(chains, guidance=guidance)


def gaps(policy: Policy, rollout: Rollout) -> Tensor:
    """|replayed - sampled log-prob| of every sampled token."""
    with torch.no_grad():
        batch = TokenBatch.from_rollout(rollout, policy.pad_id).to(policy.device)
        replay = policy.replay(batch, mode="guided", guidance=rollout.guidance)
    chains = rollout.chains
    mask, sampled = (
        torch.nn.utils.rnn.pad_sequence(list(values), batch_first=True)
        for values in (chains.loss_mask, chains.logprobs)
    )
    of_chains = (replay.chain_logprobs.cpu() - sampled)[mask]
    of_images = (replay.image_logprobs.cpu() - rollout.image_logprobs).flatten()
    return torch.cat([of_chains, of_images]).abs()


def test_recorded_steps_sample_what_single_steps_do(device: torch.device) -> None:
    """CUDA graphs: the same kernels on the same numbers, so the same tokens and log-probs."""
    policy = shipped(device)
    recorded, eager = roll_out(policy), roll_out(policy, graphs=False)
    for one, other in zip(recorded.chains.token_ids, eager.chains.token_ids, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(recorded.image_ids, eager.image_ids)
    torch.testing.assert_close(recorded.image_logprobs, eager.image_logprobs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str
)
def test_fused_attention_is_its_parts(
    device: torch.device, dtype: torch.dtype, tolerance: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    rows, kv_heads, heads, slots, size = 6, 2, 3, 40, 32

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    query = random(rows, kv_heads, heads, size)
    keys, values = random(rows, kv_heads, slots, size), random(rows, kv_heads, slots, size)
    hidden = torch.arange(slots) >= torch.randint(1, slots, (rows, 1), generator=generator)
    bias = torch.zeros(rows, 1, 1, slots).masked_fill(hidden[:, None, None], -torch.inf)
    bias = bias.to(device, dtype)
    fused, parts = (attend(query, keys, values, bias) for attend in (attend_fused, attend_in_parts))
    torch.testing.assert_close(fused, parts, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_replay_reproduces_the_samplers_logprobs(device: torch.device, guidance: float) -> None:
    policy = shipped(device)
    assert gaps(policy, roll_out(policy, guidance=guidance)).max() < 1e-3


def test_replay_reproduces_them_in_bfloat16(device: torch.device) -> None:
    """Rounding parts single tokens; a wrong mask or position would move the mean by far more."""
    policy = shipped(device, torch.bfloat16)
    assert gaps(policy, roll_out(policy)).mean() < 0.05


def test_pixels_are_those_of_the_cpu(device: torch.device) -> None:
    policy, reference = shipped(device), shipped(torch.device("cpu"))
    image_ids = roll_out(reference, graphs=False).image_ids
    pixels, expected = (one.decode_images(image_ids).astype(int) for one in (policy, reference))
    assert abs(pixels - expected).max() <= 1  # rounding to uint8


@pytest.mark.parametrize(
    "model",
    [{}, {"dtype": "bfloat16", "lora": {"rank": 4}}],
    ids=["float32, all weights", "bfloat16, LoRA"],
)
def test_a_step_of_rl_learns(
    device: torch.device, make_recipe: MakeRecipe, model: dict[str, Any]
) -> None:
    recipe = make_recipe(
        "run",
        model={"path": "icons", **model},
        rollout={"chain_limit": 120},
        rl={"steps": 1, "prompts": 1, "group": 8, "autocast": bool(model)},
        eval={"prompts": 0},
    )
    summary = rl.train(recipe, quiet=True)
    (line,) = (Path(recipe.run.dir) / "metrics.jsonl").read_text().splitlines()
    metrics = json.loads(line)
    assert 0 < metrics["grad_norm"] < 100
    assert metrics["ratio_gap"] < (0.1 if model else 1e-3)
    trained, before = load_policy(str(summary["model"])), load_policy("icons")
    key = "q_proj.weight"
    pairs = zip(trained.model.named_parameters(), before.model.named_parameters(), strict=True)
    assert any(name.endswith(key) and not torch.equal(a, b) for (name, a), (_, b) in pairs)


def test_a_stopped_run_resumes_to_the_same_weights(
    device: torch.device, make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception):
        pass

    log = Run.log

    def log_and_stop(run: Run, step: int, metrics: dict[str, float]) -> None:
        log(run, step, metrics)
        if step == 3:
            raise Stopped

    whole, broken = make_recipe("whole"), make_recipe("broken")
    sft.train(whole, quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", log_and_stop)
        with pytest.raises(Stopped):
            sft.train(broken, quiet=True)
    sft.train(broken, resume=True, quiet=True)
    one, other = (
        load_file(Path(recipe.run.dir, "checkpoints/final/model.safetensors"))
        for recipe in (whole, broken)
    )
    assert one.keys() == other.keys()
    for name, weight in one.items():  # exact on a CPU (test_resume); kernels may sum in any order
        torch.testing.assert_close(weight, other[name], atol=1e-6, rtol=0, msg=name)

"""Loading, saving, and the folders that are no policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from got_r1.errors import BadInput
from got_r1.plan.chain import TAGS
from got_r1.policy import SHIPPED, load_policy
from got_r1.policy.janus import Policy, TokenBatch
from got_r1.recipes.sections import RolloutSection
from got_r1.records import Prompt
from got_r1.sampling.settings import rollout_settings


def batch_of(policy: Policy) -> TokenBatch:
    prompts = [policy.encode_prompt("a red heart"), policy.encode_prompt("two blue stars")]
    chains = [policy.encode_chain("A heart."), policy.encode_chain("A star and a star.")]
    images = torch.arange(2 * policy.image_tokens).view(2, -1) % 50
    return TokenBatch.pack(prompts, chains, images, policy.pad_id)


def image_logprobs(policy: Policy) -> torch.Tensor:
    with torch.no_grad():
        return policy.replay(batch_of(policy)).image_logprobs


def test_a_saved_policy_loads_as_it_was(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path)
    loaded = load_policy(tmp_path)
    torch.testing.assert_close(image_logprobs(loaded), image_logprobs(policy))
    text = "A <|obj_start|>red heart<|obj_end|> <|box_start|>(0,100),(500,999)<|box_end|>."
    assert loaded.encode_chain(text).equal(policy.encode_chain(text))
    assert loaded.decode_chain(loaded.encode_chain(text)) == text


def test_adapters_are_merged_into_what_is_saved(lora_policy: Policy, tmp_path: Path) -> None:
    before = image_logprobs(lora_policy)
    with torch.no_grad():
        for parameter in lora_policy.trainable().values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    after = image_logprobs(lora_policy)
    assert (after - before).abs().max() > 0.01
    lora_policy.save(tmp_path)
    torch.testing.assert_close(image_logprobs(load_policy(tmp_path)), after, atol=1e-4, rtol=0)
    with lora_policy.reference() as reference:
        torch.testing.assert_close(image_logprobs(reference), before)


def test_a_saved_policy_carries_how_it_was_trained_to_be_sampled(
    own_policy: Policy, tmp_path: Path
) -> None:
    trained = RolloutSection(chain_limit=33, image_temperature=0.5, guidance=2.0)
    own_policy.carry_sampling(trained)
    own_policy.save(tmp_path)
    assert rollout_settings(load_policy(tmp_path), [Prompt("two towers")]) == trained


def test_the_frozen_copy_stays_what_it_was(own_policy: Policy) -> None:
    own_policy.freeze_reference()
    before = image_logprobs(own_policy)
    with torch.no_grad():
        own_policy.model.lm_head.weight.zero_()
        own_policy.model.model.generation_head.vision_head.weight.zero_()
    with own_policy.reference() as reference:
        torch.testing.assert_close(image_logprobs(reference), before)


def test_the_shipped_checkpoint() -> None:
    policy = load_policy("icons")
    size = sum(file.stat().st_size for file in SHIPPED["icons"].rglob("*"))
    assert size <= 8_000_000
    assert (policy.grid, policy.image_tokens) == (10, 100)
    made_by = json.loads((SHIPPED["icons"] / "made_by.json").read_text())
    assert made_by["vq"]["evals"]["detector"]["round_trip"]["exact"] >= 0.96
    ids = policy.tokenizer.convert_tokens_to_ids(list(TAGS))
    assert ids == sorted(ids), "the chain tokens stand in the official order"
    assert policy.tokenizer.unk_token_id not in ids


# -- folders that cannot be loaded -----------------------------------------------------------------


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere has no config\.json"):
        load_policy(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ('{"model_type": "llama"}', "'llama' model"),
        ("{", "is not valid JSON"),
    ],
)
def test_another_architecture(tmp_path: Path, config: str, words: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(BadInput, match=words):
        load_policy(tmp_path)


def test_an_official_checkpoint_without_a_tokenizer(shared_data: Path) -> None:
    with pytest.raises(BadInput, match=r"has no tokenizer\.json.* convert it with --tokenizer"):
        load_policy(shared_data / "official-tiny")


def test_a_truncated_checkpoint(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(BadInput, match=r"model\.safetensors is truncated or damaged"):
        load_policy(tmp_path)

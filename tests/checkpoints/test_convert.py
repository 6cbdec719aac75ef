"""Official checkpoints: outputs as the official code's, and models of any size there and back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    JanusConfig,
    JanusVisionConfig,
    JanusVQVAEConfig,
    LlamaConfig,
)

from checkpoints.official_checkpoints import (
    OFFICIAL_EMBEDDINGS,
    a_janus,
    edit_json,
    weights,
    write_official_tokenizer,
)
from got_r1.checkpoints.convert import from_official, to_official
from got_r1.checkpoints.official_names import CODEBOOK, is_dropped
from got_r1.policy import load_policy
from got_r1.policy.janus import Policy
from got_r1.policy.sampler import Sampler
from got_r1.records import Prompt, WrittenChains

OFFICIAL_CODEBOOK = "gen_vision_model.quantize.embedding.weight"

# -- the official checkpoint -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected(official: Path) -> dict[str, Tensor]:
    return load_file(official / "expected.safetensors")


@pytest.fixture(scope="module")
def with_words(official: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official checkpoint with a tokenizer, whose 268 tokens ask for more rows than its 128."""
    folder = tmp_path_factory.mktemp("official") / "checkpoint"
    shutil.copytree(official, folder, copy_function=shutil.copyfile)
    write_official_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def policy(with_words: Path, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder = tmp_path_factory.mktemp("converted") / "model"
    from_official(with_words, folder, quiet=True)
    return load_policy(folder)


def assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


@torch.no_grad()
def test_text_logits(policy: Policy, expected: dict[str, Tensor]) -> None:
    logits = policy.model(input_ids=expected["text.input_ids"]).logits
    assert_close(logits[..., :128], expected["text.logits"])  # beyond: rows for the tokenizer


@torch.no_grad()
def test_image_logits(policy: Policy, expected: dict[str, Tensor]) -> None:
    text, image = expected["text.input_ids"], expected["image.token_ids"]
    janus = policy.model.model
    embeds = [janus.language_model.embed_tokens(text), policy.embed_image_tokens(image[:, :-1])]
    states = janus.language_model(inputs_embeds=torch.cat(embeds, dim=1)).last_hidden_state
    assert_close(janus.generation_head(states[:, text.shape[1] - 1 :]), expected["image.logits"])


def test_guided_greedy_tokens(
    policy: Policy, expected: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = expected["text.input_ids"]
    monkeypatch.setattr(policy, "pad_id", int(expected["guided.pad_id"]))
    for ids, wanted in zip(text, expected["guided.token_ids"], strict=True):
        # These texts begin and end with tokens of their own.
        monkeypatch.setattr(policy, "bos_id", int(ids[0]))
        monkeypatch.setattr(policy, "begin_of_image_id", int(ids[-1]))
        chains = WrittenChains(
            prompts=(Prompt("a prompt"),),
            sample_ids=(0,),
            prompt_ids=(ids[:5],),
            token_ids=(ids[5:],),
            loss_mask=(torch.zeros(len(ids) - 5, dtype=torch.bool),),
            logprobs=(torch.zeros(len(ids) - 5),),
            stops=("given",),
            texts=("",),
            seed=0,
        )
        rollout = Sampler(policy).draw_images(
            chains, guidance=float(expected["guided.weight"]), temperature=0
        )
        assert rollout.image_ids[0].tolist() == wanted.tolist()


def test_pixels(policy: Policy, expected: dict[str, Tensor]) -> None:
    with torch.no_grad():
        pixels = policy.model.model.vqmodel.decode(expected["image.token_ids"])
    assert_close(pixels, expected["vq.pixels"])
    levels = (expected["vq.pixels"].clamp(-1, 1) + 1) * 127.5
    images = policy.decode_images(expected["image.token_ids"])
    assert (torch.from_numpy(images).permute(0, 3, 1, 2) - levels).abs().max() < 0.51


def test_codes_of_images(policy: Policy, expected: dict[str, Tensor]) -> None:
    with torch.no_grad():
        encoded = policy.model.model.vqmodel.encode(expected["vq.encode_pixels"])
    assert encoded.image_tokens.view(2, -1).tolist() == expected["vq.encode_ids"].tolist()


def test_vision_features(policy: Policy, expected: dict[str, Tensor]) -> None:
    with torch.no_grad():
        features = policy.model.model.get_image_features(expected["vision.pixels"])
    assert_close(features.pooler_output, expected["vision.aligned"])


def test_embeddings_grow_where_there_is_no_room(
    with_words: Path, policy: Policy, official: Path
) -> None:
    rows = len(policy.tokenizer)
    assert rows > 128
    before = load_file(official / "model.safetensors")
    model = policy.model
    for found, wanted in (
        (model.lm_head.weight, before["language_model.lm_head.weight"]),
        (model.model.language_model.embed_tokens.weight, before[OFFICIAL_EMBEDDINGS]),
    ):
        assert found.shape == (rows, 64)
        assert found[:128].equal(wanted)
        assert_close(found[128:].detach(), wanted.mean(0).expand(rows - 128, -1))


# -- the way back ----------------------------------------------------------------------------------


def test_there_and_back_is_the_identity(official: Path, tmp_path: Path) -> None:
    there = from_official(official, tmp_path / "there", quiet=True)
    back = to_official(tmp_path / "there", tmp_path / "back", quiet=True)
    after = weights(tmp_path / "back")
    source = load_file(official / "model.safetensors")
    dropped = {name for name in source if is_dropped(name)}
    assert dropped == set(there.left_out) == source.keys() - after.keys()
    assert after.keys() <= source.keys()
    codes = source.pop(OFFICIAL_CODEBOOK)
    # Of the codebook only the directions count: the official code normalises it at every use.
    assert_close(after.pop(OFFICIAL_CODEBOOK), codes / codes.norm(dim=1, keepdim=True))
    assert all(torch.equal(tensor, source[name]) for name, tensor in after.items())
    assert back.tensors == len(after) + 1

    said, written = (json.loads((f / "config.json").read_text()) for f in (official, back.folder))
    language = said.pop("language_config")
    assert language.items() <= written.pop("language_config").items()
    assert said == written
    sizes, listed = (json.loads((f / "sizes.json").read_text()) for f in (official, back.folder))
    assert sizes.items() <= listed.items()


SIZES = st.fixed_dictionaries(
    {
        "heads": st.sampled_from([2, 4, 6]),
        "kv_heads": st.sampled_from([1, 2]),
        "head_dim": st.sampled_from([4, 8]),
        "layers": st.integers(1, 3),
        "mlp": st.integers(5, 40),
        "vocabulary": st.integers(20, 200),
        "vision_heads": st.integers(1, 5),
        "vision_layers": st.integers(1, 3),
        "mlp_ratio": st.sampled_from([4.0, 3.7362, 2.5]),
        "patch": st.sampled_from([2, 7]),
        "grid": st.integers(2, 5),
        "aligner_depth": st.integers(1, 4),
        "gen_aligner_depth": st.integers(1, 3),
        "code_size": st.integers(3, 9),
        "codes": st.integers(10, 70),
        "latent": st.integers(3, 12),
        "multiplier": st.lists(st.integers(1, 3), min_size=1, max_size=3),
        "res_blocks": st.integers(1, 2),
    }
)


@given(seed=st.integers(0, 1000), size=SIZES, dtype=st.sampled_from(["float32", "bfloat16"]))
@settings(
    max_examples=6,
    phases=[Phase.explicit, Phase.generate],  # a smaller model would tell no more
    suppress_health_check=[HealthCheck.too_slow],
)
def test_models_of_any_size_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: dict[str, Any], dtype: str
) -> None:
    folder = tmp_path_factory.mktemp("sizes")
    model = a_janus(seed, size).to(getattr(torch, dtype))
    model.save_pretrained(folder / "model")
    to_official(folder / "model", folder / "official", shard_size=100_000, quiet=True)
    done = from_official(folder / "official", folder / "again", shard_size=60_000, quiet=True)
    assert done.dtype == dtype
    before, after = model.state_dict(), weights(folder / "again")
    assert before.keys() == after.keys()
    codes = after.pop(CODEBOOK)
    assert codes.dtype == torch.float32
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(len(codes)))
    for name, tensor in after.items():
        assert tensor.equal(before[name]), name
    wanted, found = (
        JanusConfig.from_pretrained(folder / name).to_dict() for name in ("model", "again")
    )
    ids = ("bos_token_id", "eos_token_id", "pad_token_id", "dtype", "_name_or_path")
    for config in (wanted, found):
        ratio = config["vision_config"].pop("mlp_ratio") * size["vision_heads"] * 6
        config["vision_config"]["inner"] = int(ratio)
        for part in (config, *(config[f"{name}_config"] for name in ("text", "vision", "vq"))):
            for key in ids:
                part.pop(key, None)
    assert found == wanted
    shutil.rmtree(folder)


# -- sizes that no tensor shows --------------------------------------------------------------------


def test_sizes_that_the_official_code_leaves_out(own: Path, tmp_path: Path) -> None:
    (own / "sizes.json").unlink()

    def silence(config: dict[str, Any]) -> None:
        config["language_config"] = {
            key: config["language_config"][key] for key in ("num_attention_heads", "model_type")
        }
        for section in ("aligner_config", "gen_aligner_config", "gen_head_config"):
            config[section].pop("params")

    edit_json(own / "config.json", silence)
    done = from_official(own, tmp_path / "out", quiet=True)
    config = JanusConfig.from_pretrained(done.folder)
    text = config.text_config
    assert (text.num_attention_heads, text.num_key_value_heads, text.head_dim) == (2, 1, 8)
    assert (text.max_position_embeddings, text.rms_norm_eps) == (2048, 1e-6)
    assert text.rope_parameters["rope_theta"] == 10_000
    assert (config.vision_config.depth, config.vq_config.num_hidden_layers) == (2, 2)
    assert any("attention heads" in note for note in done.notes)
    chosen = from_official(own, tmp_path / "chosen", vision_heads=3, quiet=True)
    assert JanusConfig.from_pretrained(chosen.folder).vision_config.num_attention_heads == 3
    assert chosen.notes == ()


def test_the_released_sizes() -> None:
    """The files of Janus-Pro 1B and 7B as released, against the parameters that they have."""
    from got_r1.checkpoints.convert_checks import model_shapes
    from got_r1.checkpoints.official_config import OfficialConfig, fixed_sizes, official_config
    from got_r1.checkpoints.official_names import correspondence, official_shapes

    languages = {
        "1B": LlamaConfig(
            vocab_size=102400, hidden_size=2048, intermediate_size=5632, num_hidden_layers=24,
            num_attention_heads=16, num_key_value_heads=16, max_position_embeddings=16384,
        ),
        "7B": LlamaConfig(
            vocab_size=102400, num_hidden_layers=30, max_position_embeddings=16384
        ),
    }  # fmt: skip
    # What the released files spell out; the rest are LLaMA-7B's sizes.
    spelled = {
        "1B": ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"),
        "7B": (),
    }
    for name, language in languages.items():
        hidden = language.hidden_size
        config = JanusConfig(
            text_config=language,
            vision_config=JanusVisionConfig(projection_dim=hidden),
            vq_config=JanusVQVAEConfig(projection_dim=hidden, image_token_embed_dim=hidden),
            tie_word_embeddings=False,
        )
        shapes = model_shapes(config)
        parameters = sum(torch.Size(shape).numel() for shape in shapes.values())
        assert fixed_sizes(config) is None
        released = official_config(config, "bfloat16")
        keys = ("max_position_embeddings", "num_hidden_layers", "vocab_size", *spelled[name])
        released["language_config"] = {k: released["language_config"][k] for k in keys}
        read = OfficialConfig(
            Path("nowhere"), released, official_shapes(correspondence(shapes), shapes)
        )
        again = JanusConfig(
            text_config=read.language(),
            vision_config=read.vision(None),
            vq_config=read.vq(),
            tie_word_embeddings=False,
        )
        assert read.notes == []
        assert model_shapes(again) == shapes
        assert again.text_config.num_attention_heads == hidden // 128
        assert again.vision_config.num_attention_heads == 16
        if name == "1B":
            # The released model has 2,089,232,011 parameters: the tower's pooling head is left out.
            width = 1024
            square, inner = width * width, 4 * width
            pooling = width + 4 * (square + width)  # what is asked for; q, k, v and their mixture
            pooling += 2 * width + 2 * width * inner + inner + width  # a norm and an mlp
            assert parameters + pooling == 2_089_232_011

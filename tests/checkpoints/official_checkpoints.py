"""Official checkpoints that tests make, take apart and break."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    JanusConfig,
    JanusForConditionalGeneration,
    JanusVisionConfig,
    JanusVQVAEConfig,
    LlamaConfig,
)

from got_r1.plan.chain import TAGS
from got_r1.policy.tiny import SPECIAL_TOKENS, train_tokenizer

OFFICIAL_EMBEDDINGS = "language_model.model.embed_tokens.weight"


def weights(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for file in folder.glob("*.safetensors"):
        found |= load_file(file)
    return found


def edit_json(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def write_official_tokenizer(folder: Path, without: str = "", chain_tokens: bool = False) -> int:
    """A small tokenizer laid out like the official repositories'; returns its number of tokens."""
    built = train_tokenizer(["a red heart left of a blue star"] * 3, vocab_size=300)
    raw = json.loads(built.backend_tokenizer.to_str())
    kept = [*SPECIAL_TOKENS, *(TAGS if chain_tokens else ())]
    special = [t for t in kept if t != without]
    words = [t for t in raw["model"]["vocab"] if t not in {*SPECIAL_TOKENS, *TAGS}]
    vocabulary = {token: index for index, token in enumerate([*special, *words])}
    raw["model"]["vocab"] = vocabulary
    raw["model"]["merges"] = []
    raw["added_tokens"] = [
        {
            "id": vocabulary[token],
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token in special
    ]
    (folder / "tokenizer.json").write_text(json.dumps(raw, ensure_ascii=False))
    bos, eos = SPECIAL_TOKENS[:2]
    names = {
        "bos_token": {"content": bos, "__type": "AddedToken"},
        "eos_token": eos,
        "pad_token": None,  # as the released files: the official processor knows the pad by name
        "tokenizer_class": "LlamaTokenizerFast",
        "add_bos_token": True,
        "model_max_length": 16384,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    image = {"image_size": 64, "min_size": 14, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(image))
    (folder / "processor_config.json").write_text(json.dumps({"num_image_tokens": 16}))
    return len(vocabulary)


def split(folder: Path, parts: int, pickled: bool) -> None:
    """Splits model.safetensors into shards with an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    stem, kind = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    weight_map = {}
    for part in range(parts):
        file = f"{stem}-{part + 1:05d}-of-{parts:05d}.{kind}"
        content = {name: tensors[name] for name in names[part::parts]}
        if pickled:
            torch.save(content, folder / file)
        else:
            save_file(content, folder / file)
        weight_map |= dict.fromkeys(content, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / f"{stem}.{kind}.index.json").write_text(json.dumps(index))


def pickle_whole(folder: Path, archive: bool = True) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=archive)


def a_janus(seed: int, size: dict[str, Any]) -> JanusForConditionalGeneration:
    torch.manual_seed(seed)
    hidden = size["heads"] * size["head_dim"]
    config = JanusConfig(
        text_config=LlamaConfig(
            vocab_size=size["vocabulary"],
            hidden_size=hidden,
            intermediate_size=size["mlp"],
            num_hidden_layers=size["layers"],
            num_attention_heads=size["heads"],
            num_key_value_heads=size["kv_heads"],
            head_dim=size["head_dim"],
            max_position_embeddings=256,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 500.0},
            tie_word_embeddings=False,
        ),
        vision_config=JanusVisionConfig(
            hidden_size=size["vision_heads"] * 6,
            num_hidden_layers=size["vision_layers"],
            num_attention_heads=size["vision_heads"],
            mlp_ratio=size["mlp_ratio"],
            image_size=size["grid"] * size["patch"] + size["patch"] - 1,
            patch_size=size["patch"],
            projection_dim=hidden,
            depth=size["aligner_depth"],
            num_image_tokens=size["grid"] ** 2,
        ),
        vq_config=JanusVQVAEConfig(
            embed_dim=size["code_size"],
            num_embeddings=size["codes"],
            latent_channels=size["latent"],
            base_channels=32,
            channel_multiplier=size["multiplier"],
            num_res_blocks=size["res_blocks"],
            projection_dim=hidden,
            image_token_embed_dim=hidden,
            num_hidden_layers=size["gen_aligner_depth"],
        ),
        tie_word_embeddings=False,
    )
    model = JanusForConditionalGeneration(config)
    codebook = model.model.vqmodel.quantize.embedding.weight.data
    codebook.div_(codebook.norm(dim=1, keepdim=True))
    return model

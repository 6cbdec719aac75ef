"""Tiny multimodal models in real folders, made on the spot: real classes, few weights."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForImageTextToText,
    CLIPImageProcessorPil,
    LlavaConfig,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
)

__all__ = ["make_llava", "make_qwen2_5_vl", "make_qwen3_vl"]

SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
]

# As Qwen2.5-VL's own in what it writes for one system and one user message.
QWEN_TEMPLATE = """\
{%- for message in messages %}<|im_start|>{{ message['role'] }}
{% for part in message['content'] %}{% if part['type'] == 'image' %}\
<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}\
<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

LLAVA_TEMPLATE = """\
{% for message in messages %}{{ message['role'].upper() }}: \
{% for part in message['content'] %}{% if part['type'] == 'image' %}<|image_pad|>\
{% else %}{{ part['text'] }}{% endif %}{% endfor %}
{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"""

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "initializer_range": 0.2,  # large enough that different questions get different replies
}


def make_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on the rubrics, so that they are not too long."""
    prompts = resources.files("got_r1.judges") / "prompts"
    texts = [file.read_text(encoding="utf-8") for file in prompts.iterdir()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1200, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=SPECIAL,
        **options,
    )


def make_qwen2_5_vl(folder: Path, seed: int = 0) -> Path:
    """A Qwen2.5-VL with patches of 28 pixels."""
    tokenizer = make_tokenizer(chat_template=QWEN_TEMPLATE)
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [1],
        "window_size": 56,
    }
    config = Qwen2_5_VLConfig(
        text_config=_text(tokenizer, mrope_section=[1, 1, 2]),
        vision_config=vision,
        tie_word_embeddings=False,
        **_image_tokens(tokenizer),
    )
    return _save(folder, config, tokenizer, Qwen2VLImageProcessorPil(), seed)


def make_qwen3_vl(folder: Path, seed: int = 0) -> Path:
    """A Qwen3-VL with patches of 32 pixels."""
    tokenizer = make_tokenizer(chat_template=QWEN_TEMPLATE)
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 32,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    config = Qwen3VLConfig(
        text_config={**_text(tokenizer, mrope_section=[1, 1, 2]), "head_dim": 8},
        vision_config=vision,
        tie_word_embeddings=False,
        **_image_tokens(tokenizer),
    )
    images = Qwen2VLImageProcessorPil(
        patch_size=16, size={"shortest_edge": 256 * 256, "longest_edge": 4096 * 4096}
    )
    return _save(folder, config, tokenizer, images, seed)


def make_llava(folder: Path, seed: int = 0) -> Path:
    """A LLaVA: another family, through its own processor."""
    tokenizer = make_tokenizer()
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
        "projection_dim": 32,
    }
    config = LlavaConfig(
        vision_config=vision,
        text_config={**TEXT, "model_type": "llama", **_ids(tokenizer)},
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        image_seq_length=16,
        tie_word_embeddings=False,
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size=56)
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        image_token="<|image_pad|>",
        num_additional_image_tokens=1,
        chat_template=LLAVA_TEMPLATE,
    )
    _save(folder, config, tokenizer, images, seed)
    processor.save_pretrained(folder)
    return folder


def _ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    return {
        "vocab_size": len(tokenizer),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.pad_token_id,
    }


def _text(tokenizer: PreTrainedTokenizerFast, mrope_section: list[int]) -> dict[str, Any]:
    rope = {"rope_type": "default", "mrope_section": mrope_section, "rope_theta": 10000.0}
    return {**TEXT, **_ids(tokenizer), "rope_parameters": rope}


def _image_tokens(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}


def _save(folder: Path, config: Any, tokenizer: Any, images: Any, seed: int) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    images.save_pretrained(folder)
    return folder

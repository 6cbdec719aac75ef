"""The embedded configuration: the official architecture at a size that a laptop trains.

Nothing here is another model class: `JanusForConditionalGeneration` with small numbers, and a
byte-level BPE tokenizer that holds the official special tokens in the official order. Sizes are our
choice: 40x40 images of 4x4-pixel tokens, 2.8M parameters in all.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    JanusConfig,
    JanusForConditionalGeneration,
    JanusProcessor,
    JanusVisionConfig,
    JanusVQVAEConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil

from got_r1.plan.chain import BOX_END, BOX_START, OBJ_END, OBJ_START
from got_r1.policy.janus import Policy
from got_r1.policy.words import BEGIN_OF_IMAGE, TEMPLATE

__all__ = ["build_policy", "train_tokenizer"]

# The names are the official tokenizer's, full-width bars and all.
BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
IMAGE_PLACEHOLDER, END_OF_IMAGE = "<image_placeholder>", "<end_of_image>"
SPECIAL_TOKENS = [BOS, EOS, PAD, IMAGE_PLACEHOLDER, BEGIN_OF_IMAGE, END_OF_IMAGE]
CHAIN_TOKENS = [BOX_START, BOX_END, OBJ_START, OBJ_END]


def train_tokenizer(texts: Iterable[str], vocab_size: int = 768) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer for `texts` (prompts and chains).

    Digits are split off in runs of up to three, so that a coordinate is one token; bytes are the
    fallback, so that any UTF-8 prompt can be encoded without loss.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d{1,3}"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL_TOKENS + CHAIN_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # The template's fixed words cost a tiny model as much as the prompt: two tokens, not twenty.
    before, after = TEMPLATE.split("{prompt}")
    tokenizer.add_tokens([AddedToken(part, normalized=False) for part in (before, after)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        extra_special_tokens={
            "image_token": IMAGE_PLACEHOLDER,
            "boi_token": BEGIN_OF_IMAGE,
            "eoi_token": END_OF_IMAGE,
        },
        clean_up_tokenization_spaces=False,
    )


def build_policy(
    texts: Iterable[str],
    *,
    seed: int,
    image_size: int = 40,
    patch_size: int = 4,
    codebook_size: int = 512,
    hidden_size: int = 192,
    layers: int = 4,
    heads: int = 6,
    kv_heads: int = 2,
    mlp_size: int = 512,
) -> Policy:
    """A policy with random weights and a tokenizer trained on `texts`.

    `patch_size` must be a power of two: the VQ tower halves the image once a level.
    """
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(texts)
    levels = patch_size.bit_length()  # 4 -> 3 levels, two of which halve
    # The vision (understanding) tower is part of the architecture but no stage here uses it.
    vision = JanusVisionConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        mlp_ratio=1.0,
        image_size=image_size,
        patch_size=patch_size,
        projection_dim=hidden_size,
        depth=1,
        num_image_tokens=(image_size // patch_size) ** 2,
    )
    vq = JanusVQVAEConfig(
        embed_dim=8,
        num_embeddings=codebook_size,
        latent_channels=64,
        base_channels=32,  # GroupNorm(32) asks for multiples of 32
        channel_multiplier=[1] * (levels - 1) + [2],
        num_res_blocks=1,
        projection_dim=hidden_size,
        image_token_embed_dim=hidden_size,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=mlp_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=hidden_size // heads,
        max_position_embeddings=1024,
        # Sequences are about 200 tokens: a short base keeps every rotation useful.
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    config = JanusConfig(
        text_config=text,
        vision_config=vision,
        vq_config=vq,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_PLACEHOLDER),
        tie_word_embeddings=False,
    )
    processor = JanusProcessor(
        image_processor=JanusImageProcessorPil(size={"height": image_size, "width": image_size}),
        tokenizer=tokenizer,
        num_image_tokens=(image_size // patch_size) ** 2,
    )
    return Policy(JanusForConditionalGeneration(config), processor)

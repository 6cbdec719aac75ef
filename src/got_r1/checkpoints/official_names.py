"""Names of tensors: a Janus of transformers against the official `multi_modality` checkpoint.

One direction is written down. The other is its inverse over the names that a model has, so that the
two cannot disagree (`correspondence`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["CODEBOOK", "EMBEDDINGS", "Tensors", "correspondence", "is_dropped", "official_shapes"]

Shape = tuple[int, ...]

# transformers -> official, applied in this order; every rule that matches applies.
RULES: tuple[tuple[str, str], ...] = (
    (r"^lm_head\.", "language_model.lm_head."),
    (r"^model\.language_model\.", "language_model.model."),
    (r"^model\.generation_embeddings\.", "gen_embed."),
    (r"^model\.generation_head\.proj_out\.", "gen_head.output_mlp_projector."),
    (r"^model\.generation_head\.", "gen_head."),
    (r"^model\.generation_aligner\.", "gen_aligner."),
    (r"^model\.aligner\.", "aligner."),
    (r"^(gen_aligner|aligner)\.fc1\.", r"\1.layers.0."),
    (r"^model\.vqmodel\.", "gen_vision_model."),
    (r"^(gen_vision_model\.encoder)\.down\.", r"\1.conv_blocks."),
    (r"^(gen_vision_model\.decoder)\.up\.", r"\1.conv_blocks."),
    (r"^(gen_vision_model\..*conv_blocks\.\d+)\.block\.", r"\1.res."),
    (r"^(gen_vision_model\..*)\.mid\.block_1\.", r"\1.mid.0."),
    (r"^(gen_vision_model\..*)\.mid\.attn_1\.", r"\1.mid.1."),
    (r"^(gen_vision_model\..*)\.mid\.block_2\.", r"\1.mid.2."),
    (r"^model\.vision_model\.", "vision_model.vision_tower."),
    (r"^(vision_model\..*)\.embeddings\.position_embedding\.weight$", r"\1.pos_embed"),
    (r"^(vision_model\..*)\.embeddings\.patch_embedding\.", r"\1.patch_embed.proj."),
    (r"^(vision_model\..*)\.post_layernorm\.", r"\1.norm."),
    (r"^(vision_model\..*)\.encoder\.layers\.", r"\1.blocks."),
    (r"^(vision_model\..*)\.layer_norm([12])\.", r"\1.norm\2."),
    (r"^(vision_model\..*)\.self_attn\.[qkv]_proj\.", r"\1.attn.qkv."),
    (r"^(vision_model\..*)\.self_attn\.projection_layer\.", r"\1.attn.proj."),
)
# Linear layers of an official aligner stand at even places, activations between them.
ALIGNER_LAYER = re.compile(r"^(gen_aligner|aligner)\.hidden_layers\.(\d+)\.")

# What the official checkpoint holds and nothing reads: the tower's pooling head (the aligner takes
# the patches), a counter of the VQ's training, and tables that Llama computes by itself.
DROPPED = re.compile(
    r"^vision_model\.vision_tower\.attn_pool\.|\.quantize\.codebook_used$|\.rotary_emb\.inv_freq$"
)

CODEBOOK = "model.vqmodel.quantize.embedding.weight"
EMBEDDINGS = ("model.language_model.embed_tokens.weight", "lm_head.weight")
POSITIONS = "vision_model.vision_tower.pos_embed"


@dataclass(frozen=True, slots=True)
class Tensors:
    """What one official tensor is made of."""

    names: tuple[str, ...]
    """Tensors of transformers, stacked along the first dimension (three for a fused qkv)."""
    extra_dimension: bool
    """Whether the official one has a leading dimension of 1 (the position table)."""


def is_dropped(official_name: str) -> bool:
    """Whether a tensor of the official checkpoint has no place in transformers."""
    return DROPPED.search(official_name) is not None


def correspondence(names: Iterable[str]) -> dict[str, Tensors]:
    """The official tensors that hold the transformers tensors `names`, each with its parts.

    Parts of a fused tensor come in the order q, k, v whatever the order of `names`.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(official_name(name), []).append(name)
    # q_proj, k_proj, v_proj differ in one letter, and their order is not the alphabet's.
    return {
        official: Tensors(
            tuple(sorted(parts, key=lambda part: "qkv".find(part.split(".")[-2][0]))),
            official == POSITIONS,
        )
        for official, parts in groups.items()
    }


def official_shapes(pairs: Mapping[str, Tensors], shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Shapes of the official tensors, from those of the transformers tensors."""
    result = {}
    for official, tensors in pairs.items():
        parts = [shapes[name] for name in tensors.names]
        stacked = (sum(part[0] for part in parts), *parts[0][1:])
        result[official] = (1, *stacked) if tensors.extra_dimension else stacked
    return result


def official_name(name: str) -> str:
    for pattern, replacement in RULES:
        name = re.sub(pattern, replacement, name)
    return ALIGNER_LAYER.sub(lambda m: f"{m[1]}.layers.{2 * int(m[2]) + 2}.", name)

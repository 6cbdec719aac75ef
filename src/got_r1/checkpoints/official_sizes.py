"""The published sizes of Janus-Pro, for what has to know them before any file is there.

Nothing that loads a model reads this: sizes come from its `config.json`. A dry run and the
full-size measurements take a shape by its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import JanusConfig

__all__ = ["OFFICIAL_SIZES", "official_name", "official_sizes"]

# hidden size, layers, heads (as many key heads), MLP size: the configurations on the hub.
OFFICIAL_SIZES = {
    "janus-pro-1b": (2048, 24, 16, 5632),
    "janus-pro-7b": (4096, 30, 32, 11008),
}


def official_name(path: str) -> str | None:
    """The released model whose sizes a dry run takes for `path`: where there is no such folder, the
    name in `OFFICIAL_SIZES` that its last part is, or begins with ("models/janus-pro-7b-got", which
    a recipe names before anybody has made it). None for a folder, and for any other name."""
    last = Path(path).name
    known = (name for name in OFFICIAL_SIZES if last == name or last.startswith(f"{name}-"))
    return None if Path(path).exists() else next(known, None)


def official_sizes(name: str) -> JanusConfig:
    """The transformers configuration of a released model, by its name in `OFFICIAL_SIZES`.

    The towers are transformers' defaults, which are Janus-Pro's: SigLIP-L/16 at 384 pixels, and a
    VQ of 16,384 codes of 8 numbers.
    """
    from transformers import JanusConfig, JanusVisionConfig, JanusVQVAEConfig, LlamaConfig

    hidden, layers, heads, inner = OFFICIAL_SIZES[name]
    text = LlamaConfig(
        vocab_size=102400,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=16384,
        tie_word_embeddings=False,
    )
    return JanusConfig(
        text_config=text,
        vision_config=JanusVisionConfig(projection_dim=hidden),
        vq_config=JanusVQVAEConfig(projection_dim=hidden, image_token_embed_dim=hidden),
        tie_word_embeddings=False,
    )

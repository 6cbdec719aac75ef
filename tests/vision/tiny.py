"""Small random models of every kind, as folders: they know nothing and run everywhere.

Architecture, processors and tokenizers are the real ones, in sizes of some ten thousand parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForQuestionAnswering,
    BlipImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessorPil,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessorPil,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessorPil,
)

__all__ = ["KINDS", "Kind", "build"]

Kind = Literal["clip", "blip", "dpt", "grounding_dino", "owlv2", "mask2former"]
KINDS: tuple[Kind, ...] = ("clip", "blip", "dpt", "grounding_dino", "owlv2", "mask2former")

_TOWER = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
}
_SIZE = {"height": 32, "width": 32}
_VISION = _TOWER | {"image_size": 32, "patch_size": 8}
_SWIN = {
    "model_type": "swin",
    "embed_dim": 8,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 1, 2, 2],
    "window_size": 2,
}


def build(
    kind: Kind, folder: Path | str, *, labels: Sequence[str] = ("person", "car"), seed: int = 0
) -> Path:
    """A model folder with random weights; the same for the same seed.

    A CLIP folder serves as one of HPS too. `labels`: the classes of a mask2former.
    """
    folder = Path(folder)
    parts = _mask2former(labels) if kind == "mask2former" else _BUILDERS[kind]()
    _randomise(parts[0], seed)
    for part in parts:
        part.save_pretrained(folder)
    return folder


def _randomise(model: nn.Module, seed: int) -> None:
    """Weights of a scale at which every layer passes its input on, and no two outputs are alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                fan_in = weight[0].numel()
                weight.normal_(0, fan_in**-0.5, generator=generator)
            elif name.endswith("bias"):
                weight.normal_(0, 0.1, generator=generator)


def _clip_tokenizer() -> CLIPTokenizer:
    """One token a byte: the alphabet of CLIP's tokenizer without its merges."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=[])


def _bert_tokenizer() -> BertTokenizer:
    """One token a letter and a few whole words, the special ones where BERT has them: models built
    on BERT know those by number."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    tokens = [f"[unused{index}]" for index in range(1030)]
    tokens[0], tokens[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens[1012], tokens[1029] = ".", "?"
    words = [*letters, *(f"##{letter}" for letter in letters), "yes", "no", "red", "blue", "green"]
    words += ["heart", "star", "person", "car"]
    tokens[200 : 200 + len(words)] = words
    return BertTokenizer(vocab={token: index for index, token in enumerate(tokens)})


def _clip_text(tokenizer: Any, positions: int) -> dict[str, Any]:
    return _TOWER | {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": positions,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
    }


def _clip() -> list[Any]:
    tokenizer = _clip_tokenizer()
    text = _clip_text(tokenizer, 77)
    config = CLIPConfig(projection_dim=8, text_config=text, vision_config=_VISION)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=_SIZE)
    return [CLIPModel(config), processor, tokenizer]


def _blip() -> list[Any]:
    tokenizer = _bert_tokenizer()
    text = _TOWER | {
        "vocab_size": len(tokenizer) + 2,  # [DEC] and [ENC] lie behind the tokenizer's own
        "bos_token_id": len(tokenizer),
        "max_position_embeddings": 64,
    }
    config = BlipConfig(text_config=text, vision_config=_VISION)
    processor = BlipImageProcessorPil(size=_SIZE)
    return [BlipForQuestionAnswering(config), processor, tokenizer]


def _dpt() -> list[Any]:
    config = DPTConfig(
        **_TOWER | {"num_hidden_layers": 4},
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    processor = DPTImageProcessorPil(size={"height": 64, "width": 64})
    return [DPTForDepthEstimation(config), processor]


def _grounding_dino() -> list[Any]:
    tokenizer = _bert_tokenizer()
    config = GroundingDinoConfig(
        backbone_config=_SWIN | {"out_indices": [2, 3, 4]},
        text_config=_TOWER
        | {"model_type": "bert", "vocab_size": len(tokenizer), "max_position_embeddings": 64},
        d_model=32,
        num_feature_levels=3,  # a fourth would be a single pixel, too little for its group norm
        num_queries=6,
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_layers=2,
        decoder_ffn_dim=32,
        decoder_attention_heads=4,
        max_text_len=48,
    )
    processor = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128})
    return [GroundingDinoForObjectDetection(config), processor, tokenizer]


def _owlv2() -> list[Any]:
    tokenizer = _clip_tokenizer()
    text = _clip_text(tokenizer, 48)
    config = Owlv2Config(projection_dim=16, text_config=text, vision_config=_VISION)
    processor = Owlv2ImageProcessorPil(size=_SIZE)
    return [Owlv2ForObjectDetection(config), processor, tokenizer]


def _mask2former(labels: Sequence[str]) -> list[Any]:
    config = Mask2FormerConfig(
        backbone_config=_SWIN | {"out_features": ["stage1", "stage2", "stage3", "stage4"]},
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=4,
        num_queries=8,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
    processor = Mask2FormerImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128})
    return [Mask2FormerForUniversalSegmentation(config), processor]


_BUILDERS = {
    "clip": _clip,
    "blip": _blip,
    "dpt": _dpt,
    "grounding_dino": _grounding_dino,
    "owlv2": _owlv2,
}

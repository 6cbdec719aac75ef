"""A model's weights: which of them act, which are trained, and what they amount to.

The parts that need a model but no prompt: `training`, `sizing` and the decoder use them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import JanusForConditionalGeneration

from got_r1.recipes.sections import LoraSection

if TYPE_CHECKING:
    from peft import PeftModel

__all__ = ["acting_parts", "choose_trained", "effective_weight", "whole"]


def acting_parts(model: JanusForConditionalGeneration) -> list[nn.Module]:
    """All that a text-to-image sequence passes through on its way to log-probabilities."""
    janus = model.model
    return [
        janus.language_model,
        janus.generation_embeddings,
        janus.generation_aligner,
        janus.generation_head,
        model.lm_head,
    ]


def choose_trained(model: JanusForConditionalGeneration, lora: LoraSection) -> PeftModel | None:
    """What `Policy.prepare_training` does to a model, weights or none (a dry run asks with a model
    on the meta device). Returns the adapters' wrapper, None with rank 0."""
    model.requires_grad_(False)
    if lora.rank:
        from peft import LoraConfig, get_peft_model  # slow to import, and most commands train none

        config = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.targets,
        )
        return get_peft_model(model, config)  # adapters are float32, whatever the model
    for part in acting_parts(model):
        # In bfloat16 most of AdamW's steps would be smaller than a weight's last digit.
        part.to(torch.float32).requires_grad_(True)
    return None


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be divided among processes (all of which must call this), in one piece."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def effective_weight(linear: Any) -> Tensor:
    """A linear layer's weight as it acts: the base plus the active adapters' deltas, rounded once
    to the base's type."""
    if not hasattr(linear, "base_layer"):
        return whole(linear.weight.detach())
    base = whole(linear.base_layer.weight.detach())
    weight = base.to(torch.float32, copy=True)
    if not linear.disable_adapters:
        for name in linear.active_adapters:
            weight += whole(linear.get_delta_weight(name).detach())
    return weight.to(base.dtype)

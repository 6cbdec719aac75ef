"""A recipe's model without its weights.

On the meta device tensors have shapes and no bytes; the model goes through the very calls that a
run makes, so parameters, trained parameters and their types are counted, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import JanusConfig, JanusForConditionalGeneration

from got_r1.checkpoints.models import model_folder
from got_r1.checkpoints.official_sizes import official_name, official_sizes
from got_r1.errors import BadInput, explained
from got_r1.policy import cannot_load
from got_r1.policy.janus import Policy
from got_r1.policy.parameters import choose_trained
from got_r1.recipes.sections import ModelSection
from got_r1.training.vq import blank_policy, decode, encode

__all__ = [
    "Part",
    "count_parts",
    "meta_image_tokenizer",
    "meta_model",
    "saved_bytes",
    "sum_bytes",
]

# A part of the model by the beginnings of its parameters' names, and whether a text-to-image
# sequence passes through it: what it does not pass through stays off the GPU.
PARTS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("language model", ("model.language_model.",), True),
    ("text head", ("lm_head.",), True),
    ("image head", ("model.generation_head.",), True),
    ("image embeddings", ("model.generation_embeddings.", "model.generation_aligner."), True),
    ("VQ encoder", ("model.vqmodel.encoder.", "model.vqmodel.quant_conv."), False),
    ("VQ decoder", ("model.vqmodel.",), True),
    ("vision tower", ("model.vision_model.", "model.aligner."), False),
)


@dataclass(frozen=True, slots=True)
class Part:
    """The parameters of a part of the model."""

    name: str
    parameters: int
    trained: int
    bytes: int
    on_device: bool


def model_config(path: str) -> JanusConfig:
    """The configuration of a model folder, or of an official size by its name."""
    if (name := official_name(path)) is not None:
        return official_sizes(name)
    folder = model_folder(path, weights=False)
    with explained(lambda error: BadInput(cannot_load(folder, error))):
        return JanusConfig.from_pretrained(folder, local_files_only=True)


def meta_model(section: ModelSection) -> JanusForConditionalGeneration:
    """A recipe's model on the meta device, with what is trained chosen.

    Raises BadInput where `path` is no model folder and no official name, or where `lora.targets`
    matches nothing.
    """
    config = model_config(section.path)
    with torch.device("meta"):
        model = JanusForConditionalGeneration(config)
    model.to(getattr(torch, section.dtype))
    try:
        choose_trained(model, section.lora)
    except ValueError as error:  # peft's: the pattern matches nothing, or no linear layer
        raise BadInput(f"model.lora.targets={section.lora.targets!r}: {error}") from None
    return model


def meta_image_tokenizer(seed: int) -> Policy:
    """What `train vq` starts from, on the meta device, its VQ chosen for training."""
    with torch.device("meta"):
        policy = blank_policy(seed)
    policy.model.requires_grad_(False)
    policy.model.model.vqmodel.requires_grad_(True)
    return policy


def count_parts(named: dict[str, nn.Parameter], *, all_on_device: bool) -> list[Part]:
    """Parameters by part of the model; adapters are a part of their own."""
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in named.items():
        part = next(part for part, starts, _ in PARTS if name.startswith(starts))
        groups.setdefault("adapters" if "lora_" in name else part, []).append(parameter)
    passed = {part for part, _, on_device in PARTS if on_device} | {"adapters"}
    return [
        Part(
            name=part,
            parameters=sum(p.numel() for p in groups[part]),
            trained=sum(p.numel() for p in groups[part] if p.requires_grad),
            bytes=sum_bytes(groups[part]),
            on_device=all_on_device or part in passed,
        )
        for part in ("language model", "adapters", *(part for part, *_ in PARTS[1:]))
        if part in groups
    ]


def sum_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors, shapes or real ones."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def saved_bytes(policy: Policy, pixels: Tensor) -> int:
    """What a round trip of the VQ keeps for the backward pass, weights aside: asks autograd."""
    weights = {p.untyped_storage()._cdata for p in policy.model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        decode(policy, encode(policy, pixels))
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in weights)

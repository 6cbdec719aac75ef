"""HPS v2.1: how much people would like an image for its prompt (Wu et al., arXiv 2306.09341).

A CLIP ViT-H/14 fine-tuned on human preferences; its rating is the plain cosine of image and prompt
(the official script prints it times 100 in tables). The official checkpoint is open_clip's. As
open_clip installs torchvision, its weights are renamed into transformers' `CLIPModel` here instead:
the architecture is the same, so the ratings are, to rounding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from got_r1.checkpoints.weight_files import unpickle
from got_r1.errors import BadInput
from got_r1.vision.clip import embed_images, embed_texts
from got_r1.vision.pretrained import load_from, load_tokenizer, pick_device, short_name
from got_r1.vision.settings import QualitySettings

__all__ = ["HPS", "VIT_H_14", "from_open_clip", "read_checkpoint", "to_square"]

_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training images
_STD = (0.26862954, 0.26130258, 0.27577711)

VIT_H_14: Mapping[str, Any] = {
    "projection_dim": 1024,
    "text_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "hidden_act": "gelu",
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "pad_token_id": 49407,
    },
    "vision_config": {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_attention_heads": 16,
        "num_hidden_layers": 32,
        "hidden_act": "gelu",
        "patch_size": 14,
    },
}
"""The sizes of open_clip's ViT-H-14, as transformers writes them."""


class HPS:
    """An `ImageQuality`: cosines, in practice between about 0.15 and 0.35."""

    def __init__(self, settings: QualitySettings) -> None:
        what = "HPS model"
        self.name = f"HPS {short_name(settings.model)}"
        self.batch = settings.batch
        if Path(settings.model).is_file():
            self.model = from_open_clip(read_checkpoint(settings.model), VIT_H_14, settings.model)
            self.model = self.model.to(getattr(torch, settings.dtype)).eval().requires_grad_(False)
            self.model = self.model.to(pick_device(settings.device))
            self.tokenizer = load_tokenizer(settings.tokenizer, what=what)
        elif not Path(settings.model).exists() and settings.model.endswith((".pt", ".bin")):
            raise BadInput(
                f"there is no HPS checkpoint at {settings.model}; download it with `hf download "
                "xswu/HPSv2 HPS_v2.1_compressed.pt --local-dir models/hps` and give that file."
            )
        else:
            self.model = load_from(settings, CLIPModel, what=what, model_type="clip")
            self.tokenizer = load_tokenizer(settings.model, what=what)

    def rate(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> NDArray[np.float32]:
        """[images] cosines with their prompts; a prompt is cut after 77 tokens."""
        if len(images) != len(prompts):
            raise ValueError(f"{len(images)} images and {len(prompts)} prompts")
        side = self.model.config.vision_config.image_size

        def prepare(pictures: Sequence[Image.Image]) -> Tensor:
            squares = np.stack([np.asarray(to_square(picture, side)) for picture in pictures])
            pixels = torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255
            mean, std = (torch.tensor(value).view(3, 1, 1) for value in (_MEAN, _STD))
            return (pixels - mean) / std

        pictures = embed_images(self.model, prepare, images, self.batch)
        texts = embed_texts(self.model, self.tokenizer, prompts, self.batch)
        return np.einsum("nd,nd->n", pictures, texts)


def to_square(picture: Image.Image, side: int) -> Image.Image:
    """The picture as large as it fits into a square of `side` pixels, black beside it.

    open_clip's `resize_longest_max`. A square picture, as all of Janus's are, is just resized.
    """
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    resized = picture.resize((width, height), Image.Resampling.BICUBIC)
    if (width, height) == (side, side):
        return resized
    square = Image.new("RGB", (side, side))
    square.paste(resized, ((side - width) // 2, (side - height) // 2))
    return square


# -- open_clip's checkpoint ----------------------------------------------------------------------


def read_checkpoint(path: Path | str) -> dict[str, Tensor]:
    """The weights of an open_clip checkpoint, under open_clip's names.

    Raises `BadInput` where the file is none. Only tensors and plain values are unpickled.
    """
    try:
        content = unpickle(Path(path))
    except (BadInput, OSError) as error:
        raise BadInput(f"the HPS checkpoint cannot be read: {error}") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    weights = {
        name.removeprefix("module."): value
        for name, value in state.items()
        if isinstance(value, Tensor)
    }
    if not weights:
        raise BadInput(f"the HPS checkpoint {path} holds no weights; give the official file.")
    return weights


def from_open_clip(weights: Mapping[str, Tensor], sizes: Mapping[str, Any], path: str) -> CLIPModel:
    """A `CLIPModel` of these sizes with the weights of open_clip's CLIP, in float32.

    Raises `BadInput` where a weight is missing, left over or of another shape; `path` names the
    file in it.
    """
    model = CLIPModel(CLIPConfig(**sizes))
    renamed = dict(_renamed(weights))
    wanted = {name: value.shape for name, value in model.state_dict().items()}
    wrong = [name for name, shape in wanted.items() if name not in renamed]
    wrong += [name for name in renamed if name not in wanted]
    wrong += [n for n, shape in wanted.items() if n in renamed and renamed[n].shape != shape]
    if wrong:
        raise BadInput(
            f"the HPS checkpoint {path} does not hold the weights of a CLIP of this size: "
            f"{len(wrong)} are missing, left over or of another shape ({wrong[0]} ...)."
        )
    model.load_state_dict(renamed)
    return model


_OUTSIDE_LAYERS = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "logit_scale": "logit_scale",
}
_PROJECTIONS = {  # x @ P there, a linear layer here
    "text_projection": "text_projection.weight",
    "visual.proj": "visual_projection.weight",
}
_INSIDE_LAYERS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_LAYER = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)")


def _renamed(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The weights under transformers' names; what has no name there keeps its own."""
    for name, value in weights.items():
        if name == "attn_mask":  # the causal mask, which some versions saved
            continue
        if name in _OUTSIDE_LAYERS:
            yield _OUTSIDE_LAYERS[name], value
        elif name in _PROJECTIONS:
            yield _PROJECTIONS[name], value.T
        elif found := _LAYER.fullmatch(name):
            tower = "vision_model" if found[1] else "text_model"
            layer, part, kind = f"{tower}.encoder.layers.{found[2]}", found[3], found[4]
            if part == "attn.in_proj":
                for key, third in zip("qkv", value.chunk(3), strict=True):
                    yield f"{layer}.self_attn.{key}_proj.{kind}", third
            else:
                yield f"{layer}.{_INSIDE_LAYERS.get(part, part)}.{kind}", value
        else:
            yield name, value

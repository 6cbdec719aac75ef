"""What the student sees of texts and images: the states of the two towers of a dual encoder.

Any `CLIPModel` or `SiglipModel` of a transformers folder, with its weights as they are, or what a
Janus model sees and reads with (`understanding`). For a small world such as the icons,
`tiny_encoder` makes a CLIP of a laptop's size with random weights, to be trained with the head, and
a tokenizer of the world's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipImageProcessorPil,
    SiglipModel,
)
from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil

from got_r1.checkpoints.hub import local_folder
from got_r1.checkpoints.models import SHIPPED, model_folder
from got_r1.errors import BadInput
from got_r1.files.inputs import read_json
from got_r1.student.understanding import Understanding
from got_r1.vision.pretrained import load_model, load_processor, load_tokenizer, pick_device

__all__ = ["Encoder", "tiny_encoder"]

_WHAT = "encoder of the student"
_KINDS: dict[str, tuple[Any, Any]] = {
    "clip": (CLIPModel, CLIPImageProcessorPil),
    "siglip": (SiglipModel, SiglipImageProcessorPil),
}
_JANUS = ("janus", "multi_modality")  # the second is the official format
_BOS, _EOS, _UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|unknown|>"


class Encoder(nn.Module):
    """A dual encoder's towers, tokenizer and image processor."""

    def __init__(self, model: Any, tokenizer: Any, processor: Any) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.processor = processor
        self.text_width: int = model.config.text_config.hidden_size
        self.image_width: int = model.config.vision_config.hidden_size

    @classmethod
    def load(cls, model: str, device: str = "") -> Self:
        """The encoder of a transformers folder or a name on the hub, frozen; a Janus is named as
        `model.path` names it.

        Raises BadInput where it is missing, incomplete, or of a kind other than CLIP, SigLIP and
        Janus.
        """
        folder = SHIPPED.get(model) or local_folder(model)
        kind = read_json(folder / "config.json", "model's config").get("model_type")
        if kind in _JANUS:
            folder = model_folder(model)
            return cls(
                Understanding(folder).to(pick_device(device)),
                load_tokenizer(str(folder), what=_WHAT),
                load_processor(JanusImageProcessorPil, str(folder), what=_WHAT),
            )
        if kind not in _KINDS:
            raise BadInput(
                f"the {_WHAT} {model} is a model of the kind {kind!r}; give a folder of CLIP, "
                "SigLIP or Janus."
            )
        model_class, processor_class = _KINDS[kind]
        return cls(
            load_model(model_class, model, what=_WHAT, model_type=kind, device=device),
            load_tokenizer(model, what=_WHAT),
            load_processor(processor_class, model, what=_WHAT),
        )

    def save(self, folder: Path) -> None:
        """Writes a folder that `load` reads."""
        for part in (self.model, self.tokenizer, self.processor):
            part.save_pretrained(folder)

    @property
    def device(self) -> torch.device:
        """Where the towers are."""
        device: torch.device = self.model.device
        return device

    def texts(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """States [texts, length, width], and which are of the text, bool [texts, length].

        A text of more tokens than the tower reads at once is read in as few pieces as possible, of
        nearly equal length, whose states are put behind each other.
        """
        pieces = [self._pieces(text) for text in texts]
        ids = nn.utils.rnn.pad_sequence(
            [torch.tensor(piece) for some in pieces for piece in some],
            batch_first=True,
            padding_value=-1,
        ).to(self.device)
        there = ids >= 0
        states = self.model.text_model(
            input_ids=ids.clamp(min=0), attention_mask=there.long()
        ).last_hidden_state
        rows = iter(zip(states, there, strict=True))
        whole = [torch.cat([row[mask] for _, (row, mask) in zip(some, rows)]) for some in pieces]  # noqa: B905
        lengths = torch.tensor([len(one) for one in whole], device=self.device)
        padded = nn.utils.rnn.pad_sequence(whole, batch_first=True)
        return padded, torch.arange(padded.shape[1], device=self.device) < lengths[:, None]

    def images(self, images: Sequence[np.ndarray]) -> Tensor:
        """States [images, patches, width] of images, uint8 [height, width, 3]."""
        pictures = [Image.fromarray(image) for image in images]
        pixels = self.processor(pictures, return_tensors="pt")["pixel_values"]
        states: Tensor = self.model.vision_model(
            pixel_values=pixels.to(self.device, self.model.dtype)
        ).last_hidden_state
        return states

    def _pieces(self, text: str) -> list[list[int]]:
        """A text's token ids, in pieces that fit into the tower."""
        ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        first, last = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        begin = [] if first is None else [first]  # SigLIP has no token for the beginning
        room = self.model.config.text_config.max_position_embeddings - len(begin) - 1
        count = max(1, -(-len(ids) // room))
        cuts = [round(len(ids) * part / count) for part in range(count + 1)]
        return [[*begin, *ids[low:high], last] for low, high in pairwise(cuts)]


def tiny_encoder(
    texts: Iterable[str],
    *,
    seed: int,
    image_size: int,
    width: int = 96,
    layers: int = 2,
    patch_size: int = 4,
    longest: int = 96,
) -> Encoder:
    """A CLIP with random weights for images of `image_size` pixels, and a tokenizer of the words in
    `texts`, of which it reads `longest` tokens at once."""
    torch.manual_seed(seed)
    words = Tokenizer(models.WordLevel(unk_token=_UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.train_from_iterator(
        texts,
        trainers.WordLevelTrainer(special_tokens=[_BOS, _EOS, _UNKNOWN], show_progress=False),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token=_BOS,
        eos_token=_EOS,
        pad_token=_EOS,
        unk_token=_UNKNOWN,
    )
    tower = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 32,
        "projection_dim": width,
    }
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos")}
    config = CLIPConfig(
        text_config=tower
        | ids
        | {"vocab_size": len(tokenizer), "max_position_embeddings": longest, "pad_token_id": 1},
        vision_config=tower | {"image_size": image_size, "patch_size": patch_size},
        projection_dim=width,
    )
    side = {"height": image_size, "width": image_size}
    processor = CLIPImageProcessorPil(size=side, crop_size=side, do_center_crop=False)
    return Encoder(CLIPModel(config), tokenizer, processor)

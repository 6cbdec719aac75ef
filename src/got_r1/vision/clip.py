"""CLIP: images and texts in one space (transformers' `CLIPModel`, PIL preprocessing)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPModel

from got_r1.vision.batches import as_pictures, same_shape
from got_r1.vision.pretrained import (
    check_finite,
    load_from,
    load_processor,
    load_tokenizer,
    short_name,
)
from got_r1.vision.settings import SimilaritySettings

__all__ = ["CLIP", "Prepare", "embed_images", "embed_texts"]


class Prepare(Protocol):
    """Makes pixel values [images, 3, side, side] of pictures."""

    def __call__(self, pictures: Sequence[Any]) -> Tensor:
        """The pixels as the model reads them."""
        ...


class CLIP:
    """A `TextImageSimilarity`. Cosines of these embeddings are T2I-CompBench's CLIPScore."""

    def __init__(self, settings: SimilaritySettings) -> None:
        what = "CLIP model"
        self.name = f"CLIP {short_name(settings.model)}"
        self.batch = settings.batch
        self.model = load_from(settings, CLIPModel, what=what, model_type="clip")
        self.processor = load_processor(CLIPImageProcessorPil, settings.model, what=what)
        self.tokenizer = load_tokenizer(settings.model, what=what)

    def embed_images(self, images: Sequence[np.ndarray]) -> NDArray[np.float32]:
        """[images, dimensions], each row of length 1."""

        def prepare(pictures: Sequence[Any]) -> Tensor:
            return self.processor(pictures, return_tensors="pt")["pixel_values"]

        return embed_images(self.model, prepare, images, self.batch)

    def embed_texts(self, texts: Sequence[str], *, whole: bool = False) -> NDArray[np.float32]:
        """[texts, dimensions], each row of length 1; see `TextImageSimilarity`."""
        return embed_texts(self.model, self.tokenizer, texts, self.batch, whole=whole)


@torch.inference_mode()
def embed_images(
    model: Any, prepare: Prepare, images: Sequence[np.ndarray], batch: int
) -> NDArray[np.float32]:
    """Embeddings of images by any `CLIPModel`, rows of length 1."""
    rows = np.zeros((len(images), model.config.projection_dim), dtype=np.float32)
    for start in range(0, len(images), batch):
        pixels = prepare(as_pictures(images[start : start + batch]))
        features = model.get_image_features(pixel_values=pixels.to(model.device, model.dtype))
        rows[start : start + batch] = _directions(model, features)
    return rows


@torch.inference_mode()
def embed_texts(
    model: Any, tokenizer: Any, texts: Sequence[str], batch: int, *, whole: bool = False
) -> NDArray[np.float32]:
    """Embeddings of texts by any `CLIPModel`, rows of length 1.

    A text of more tokens than the model has positions (77, two of them for its ends) is cut, or
    with `whole` read in as few pieces as possible, of nearly equal length.
    """
    room = model.config.text_config.max_position_embeddings - 2
    pieces: list[list[int]] = []
    owners: list[int] = []
    for owner, text in enumerate(texts):
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        count = max(1, -(-len(ids) // room)) if whole else 1
        cuts = [round(len(ids) * part / count) for part in range(count + 1)]
        for low, high in pairwise(cuts):
            body = ids[low:high][:room]
            pieces.append([tokenizer.bos_token_id, *body, tokenizer.eos_token_id])
            owners.append(owner)
    rows = np.zeros((len(texts), model.config.projection_dim), dtype=np.float32)
    for indices in same_shape([len(piece) for piece in pieces], batch):
        ids_tensor = torch.tensor([pieces[index] for index in indices], device=model.device)
        directions = _directions(model, model.get_text_features(input_ids=ids_tensor))
        for index, direction in zip(indices, directions, strict=True):
            # The ends count too: a piece without words (an empty text) still has a direction.
            rows[owners[index]] += len(pieces[index]) * direction
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _directions(model: Any, features: Any) -> NDArray[np.float32]:
    """Rows of length 1, normalised in float32 whatever the model's dtype."""
    pooled: Tensor = getattr(features, "pooler_output", features)
    check_finite(pooled, type(model).__name__)
    return F.normalize(pooled.float(), dim=-1).cpu().numpy()

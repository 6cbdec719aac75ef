"""Mask2Former: instances of its own classes, with masks (Cheng et al., arXiv 2112.01527).

GenEval's detector. The instances are read as the official code does it, in mmdet and detectron2
alike, which differs from transformers' own post-processing: masks keep their resolution (there they
pass through 384 x 384), instances may overlap (there a later one overwrites an earlier one), and
scores are not rounded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessorPil

from got_r1.errors import BadInput
from got_r1.vision.base import Detection
from got_r1.vision.batches import pixel_values, same_shape
from got_r1.vision.boxes import ranked
from got_r1.vision.pretrained import check_finite, load_from, load_processor, short_name
from got_r1.vision.settings import DetectorSettings

__all__ = ["Mask2Former", "read_instances"]


class Mask2Former:
    """A `Detector` of the classes that its folder names (COCO's 80 for GenEval)."""

    def __init__(self, settings: DetectorSettings) -> None:
        what = "Mask2Former model"
        self.name = f"Mask2Former {short_name(settings.model)}"
        self.threshold = 0.3 if settings.threshold is None else settings.threshold
        self.batch = settings.batch
        self.model = load_from(
            settings, Mask2FormerForUniversalSegmentation, what=what, model_type="mask2former"
        )
        self.processor = load_processor(Mask2FormerImageProcessorPil, settings.model, what=what)
        classes = self.model.config.id2label
        self.labels: tuple[str, ...] | None = tuple(classes[index] for index in range(len(classes)))

    @torch.inference_mode()
    def detect(
        self, images: Sequence[np.ndarray], vocabularies: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """See `Detector`; an empty vocabulary stands for all classes."""
        known = self.labels or ()
        if unknown := {word for words in vocabularies for word in words} - set(known):
            raise BadInput(
                f"{self.name} does not know {', '.join(map(repr, sorted(unknown)))}: it finds only "
                f"its own {len(known)} classes; use grounding_dino or owlv2 for other words."
            )
        pixels = pixel_values(self.processor, images)
        found: list[list[Detection]] = [[] for _ in images]
        for indices in same_shape([one.shape for one in pixels], self.batch):
            batch = torch.stack([pixels[index] for index in indices])
            output = self.model(pixel_values=batch.to(self.model.device))
            check_finite(output.class_queries_logits, self.name)
            check_finite(output.masks_queries_logits, self.name)
            for place, index in enumerate(indices):
                height, width = images[index].shape[:2]
                labels, scores, masks = read_instances(
                    output.class_queries_logits[place].float(),
                    output.masks_queries_logits[place].float(),
                    read_at=(batch.shape[2], batch.shape[3]),
                    size=(height, width),
                    threshold=self.threshold,
                )
                wanted = set(vocabularies[index] or known)
                found[index] = ranked(
                    Detection(known[label], _box(mask), score, mask)
                    for label, score, mask in zip(labels, scores, masks, strict=True)
                    if known[label] in wanted
                )
        return found


def read_instances(
    classes: Tensor,
    masks: Tensor,
    *,
    read_at: tuple[int, int],
    size: tuple[int, int],
    threshold: float,
) -> tuple[list[int], list[float], list[np.ndarray]]:
    """Instances above a score: class indices, scores, and bool masks [height, width].

    `classes`: logits [queries, classes + 1], the last is "nothing"; `masks`: logits [queries, h,
    w]; `read_at`: (height, width) of the network's input; `size`: that of the image. The best
    pairs of a query and a class are taken, as many as there are queries, so a query may serve two
    classes. A score is the class's probability times the mean mask probability inside the mask.
    Instances with an empty mask are dropped: they have no box.
    """
    chances = classes.softmax(-1)[:, :-1]
    top, places = chances.flatten().topk(min(len(classes), chances.numel()))
    keep = top > threshold  # a score only falls below its class's probability
    if not keep.any():
        return [], [], []
    top, places = top[keep], places[keep]
    labels = places % chances.shape[1]
    logits = masks[places // chances.shape[1]]
    for target in (read_at, size):  # as officially: up to the input, then to the image
        logits = F.interpolate(logits[None], size=target, mode="bilinear", align_corners=False)[0]
    inside = logits > 0
    area = inside.sum((1, 2))
    means = (logits.sigmoid() * inside).sum((1, 2)) / area.clamp(min=1e-6)
    scores = top * means
    chosen = ((scores > threshold) & (area > 0)).nonzero()[:, 0].tolist()
    return (
        [int(labels[index]) for index in chosen],
        [float(scores[index]) for index in chosen],
        [inside[index].cpu().numpy() for index in chosen],
    )


def _box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """The smallest box around a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)

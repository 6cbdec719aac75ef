"""OWLv2: boxes of things named in words (Minderer et al., arXiv 2306.09683).

Each name is a query of its own ("a photo of a red heart", as the model was trained), and each of
the image's patches predicts one box. A box goes to the name that it fits best; its score is the
sigmoid of that fit. Images are padded at the right and below to a square before they are resized,
so a box is a share of the longer side in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import Owlv2ForObjectDetection, Owlv2ImageProcessorPil

from got_r1.vision.base import Detection
from got_r1.vision.batches import as_pictures, same_shape
from got_r1.vision.boxes import corners, ranked
from got_r1.vision.pretrained import (
    check_finite,
    load_from,
    load_processor,
    load_tokenizer,
    short_name,
)
from got_r1.vision.settings import DetectorSettings

__all__ = ["OWLv2"]


class OWLv2:
    """A `Detector` with an open vocabulary. A name is cut after the model's 16 tokens."""

    labels: tuple[str, ...] | None = None
    template = "a photo of a {}"

    def __init__(self, settings: DetectorSettings) -> None:
        what = "OWLv2 model"
        self.name = f"OWLv2 {short_name(settings.model)}"
        self.threshold = 0.1 if settings.threshold is None else settings.threshold
        self.batch = settings.batch
        self.model = load_from(settings, Owlv2ForObjectDetection, what=what, model_type="owlv2")
        self.processor = load_processor(Owlv2ImageProcessorPil, settings.model, what=what)
        self.tokenizer = load_tokenizer(settings.model, what=what)

    @torch.inference_mode()
    def detect(
        self, images: Sequence[np.ndarray], vocabularies: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """See `Detector`."""
        names = [list(dict.fromkeys(words)) for words in vocabularies]
        pictures = as_pictures(images)
        found: list[list[Detection]] = [[] for _ in images]
        asked = [index for index, words in enumerate(names) if words]
        # Images with equally many queries share a batch, so that no query is a filler.
        for places in same_shape([len(names[index]) for index in asked], self.batch):
            here = [asked[place] for place in places]
            pixels = self.processor([pictures[i] for i in here], return_tensors="pt")
            ids, mask = self._queries([name for index in here for name in names[index]])
            output = self.model(
                pixel_values=pixels["pixel_values"].to(self.model.device),
                input_ids=ids.to(self.model.device),
                attention_mask=mask.to(self.model.device),
            )
            fits, boxes = output.logits.float().sigmoid().cpu(), output.pred_boxes.float().cpu()
            for index, fit, box in zip(here, fits, boxes, strict=True):
                height, width = images[index].shape[:2]
                longer = max(height, width)
                pixel_boxes = corners(box, (width, height), frame=(longer, longer))
                found[index] = ranked(self._read(names[index], fit, pixel_boxes))
        return found

    def _queries(self, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids and mask, [queries, positions of the model], as the model's own processor."""
        read = self.tokenizer(
            [self.template.format(name) for name in names],
            padding="max_length",
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        )
        return read["input_ids"], read["attention_mask"]

    def _read(self, names: Sequence[str], fit: Tensor, boxes: np.ndarray) -> list[Detection]:
        """Detections of one image. `fit`: [patches, names] in [0, 1]; `boxes`: [patches, 4]."""
        check_finite(fit, self.name)
        scores, best = fit.max(1)
        detections = []
        for patch in (scores > self.threshold).nonzero()[:, 0].tolist():
            x1, y1, x2, y2 = boxes[patch].tolist()
            label = names[int(best[patch])]
            detections.append(Detection(label, (x1, y1, x2, y2), float(scores[patch])))
        return detections

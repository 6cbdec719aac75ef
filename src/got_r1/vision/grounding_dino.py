"""GroundingDINO: boxes of things named in words (Liu et al., arXiv 2303.05499).

The words of an image are written as one caption, "red heart. blue star.", as the model was trained.
The official post-processing decodes the tokens that a box responds to, which gives fragments of
names ("red", "heart star"). Here the tokens of each name are known, so a box is scored name by
name: it goes to the name that it fits best on the mean over the name's tokens (a noun alone would
fit every name that has it), and its score is the largest of that name's tokens, which is what the
official thresholds are about (0.25 to 0.35).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import GroundingDinoForObjectDetection, GroundingDinoImageProcessorPil
from transformers.models.grounding_dino.modeling_grounding_dino import SPECIAL_TOKENS

from got_r1.vision.base import Detection
from got_r1.vision.batches import pixel_values, same_shape
from got_r1.vision.boxes import corners, ranked
from got_r1.vision.pretrained import Pretrained, check_finite, load_tokenizer
from got_r1.vision.settings import DetectorSettings

__all__ = ["GroundingDINO"]


@dataclass(frozen=True, slots=True)
class _Caption:
    """Names as one caption: its token ids, and where in them each name stands."""

    ids: list[int]
    spans: list[tuple[str, int, int]]  # name, first token, one past the last


class GroundingDINO(Pretrained):
    """A `Detector` with an open vocabulary. A name without a letter or digit is never found."""

    labels: tuple[str, ...] | None = None

    def __init__(self, settings: DetectorSettings) -> None:
        super().__init__(
            settings,
            "GroundingDINO",
            "grounding-dino",
            GroundingDinoForObjectDetection,
            GroundingDinoImageProcessorPil,
        )
        self.threshold = 0.25 if settings.threshold is None else settings.threshold
        self.tokenizer = load_tokenizer(settings.model, what=self.what)
        # What ends a phrase, which a name must therefore not hold.
        self.stops = set(SPECIAL_TOKENS)
        (self.stop,) = self.tokenizer(".", add_special_tokens=False)["input_ids"]

    @torch.inference_mode()
    def detect(
        self, images: Sequence[np.ndarray], vocabularies: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """See `Detector`. Names that do not fit one caption (256 tokens) get several passes."""
        pixels = pixel_values(self.processor, images)
        looks = [
            (index, caption)
            for index, names in enumerate(vocabularies)
            for caption in self._captions(names)
        ]
        found: list[list[Detection]] = [[] for _ in images]
        for places in same_shape(
            [(pixels[index].shape, len(caption.ids)) for index, caption in looks], self.batch
        ):
            here = [looks[place] for place in places]
            ids = torch.tensor([caption.ids for _, caption in here], device=self.model.device)
            output = self.model(
                pixel_values=torch.stack([pixels[i] for i, _ in here]).to(self.model.device),
                input_ids=ids,
                token_type_ids=torch.zeros_like(ids),
                attention_mask=torch.ones_like(ids),
            )
            fits, boxes = output.logits.float().sigmoid().cpu(), output.pred_boxes.float().cpu()
            for (index, caption), fit, box in zip(here, fits, boxes, strict=True):
                height, width = images[index].shape[:2]
                found[index] += self._read(caption, fit, corners(box, (width, height)))
        return [ranked(one) for one in found]

    def _captions(self, names: Sequence[str]) -> Iterator[_Caption]:
        """The distinct names as few captions as will hold them."""
        room = self.model.config.max_text_len
        caption = _Caption([self.tokenizer.cls_token_id], [])
        for name in dict.fromkeys(names):
            read = self.tokenizer(name.lower(), add_special_tokens=False, verbose=False)
            ids = [token for token in read["input_ids"] if token not in self.stops][: room - 3]
            if not ids:
                continue
            if len(caption.ids) + len(ids) + 2 > room:  # with its stop, and the caption's end
                yield self._closed(caption)
                caption = _Caption([self.tokenizer.cls_token_id], [])
            start = len(caption.ids)
            caption.spans.append((name, start, start + len(ids)))
            caption.ids.extend([*ids, self.stop])
        if caption.spans:
            yield self._closed(caption)

    def _closed(self, caption: _Caption) -> _Caption:
        caption.ids.append(self.tokenizer.sep_token_id)
        return caption

    def _read(self, caption: _Caption, fit: Tensor, boxes: np.ndarray) -> Iterator[Detection]:
        """Detections of one pass. `fit`: [queries, tokens] in [0, 1]; `boxes`: [queries, 4]."""
        means = torch.stack([fit[:, a:b].mean(1) for _, a, b in caption.spans], 1)
        peaks = torch.stack([fit[:, a:b].amax(1) for _, a, b in caption.spans], 1)
        check_finite(peaks, self.name)
        best = means.argmax(1)
        scores = peaks.gather(1, best[:, None])[:, 0]
        for query in (scores > self.threshold).nonzero()[:, 0].tolist():
            x1, y1, x2, y2 = boxes[query].tolist()
            label = caption.spans[int(best[query])][0]
            yield Detection(label, (x1, y1, x2, y2), float(scores[query]))

"""DPT: relative inverse depth, larger = nearer (Ranftl et al., arXiv 2103.13413)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DPTForDepthEstimation, DPTImageProcessorPil

from got_r1.vision.batches import pixel_values, same_shape
from got_r1.vision.pretrained import check_finite, load_from, load_processor, short_name
from got_r1.vision.settings import DepthSettings

__all__ = ["DPT"]

# The first fusion stage has nothing to add, so the released checkpoints leave this out.
_UNUSED = r"neck\.fusion_stage\.layers\.0\.residual_layer1\..+"


class DPT:
    """A `DepthEstimator`."""

    def __init__(self, settings: DepthSettings) -> None:
        what = "DPT model"
        self.name = f"DPT {short_name(settings.model)}"
        self.batch = settings.batch
        self.model = load_from(
            settings, DPTForDepthEstimation, what=what, model_type="dpt", may_lack=_UNUSED
        )
        self.processor = load_processor(DPTImageProcessorPil, settings.model, what=what)

    @torch.inference_mode()
    def estimate(self, images: Sequence[np.ndarray]) -> list[NDArray[np.float32]]:
        """Each image's depth as the network gives it, [rows, columns] of the network's grid (of
        the size that its processor makes of the image)."""
        pixels = pixel_values(self.processor, images)
        maps: dict[int, NDArray[np.float32]] = {}
        for indices in same_shape([one.shape for one in pixels], self.batch):
            batch = torch.stack([pixels[index] for index in indices])
            depth = self.model(
                pixel_values=batch.to(self.model.device, self.model.dtype)
            ).predicted_depth
            check_finite(depth, self.name)
            maps |= zip(indices, depth.float().cpu().numpy(), strict=True)
        return [maps[index] for index in range(len(images))]

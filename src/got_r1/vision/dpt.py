"""DPT: relative inverse depth, larger = nearer (Ranftl et al., arXiv 2103.13413)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DPTForDepthEstimation, DPTImageProcessorPil

from got_r1.vision.batches import pixel_values, same_shape
from got_r1.vision.pretrained import Pretrained, check_finite
from got_r1.vision.settings import DepthSettings

__all__ = ["DPT"]

# The first fusion stage has nothing to add, so the released checkpoints leave this out.
_UNUSED = r"neck\.fusion_stage\.layers\.0\.residual_layer1\..+"


class DPT(Pretrained):
    """A `DepthEstimator`."""

    def __init__(self, settings: DepthSettings) -> None:
        super().__init__(
            settings, "DPT", "dpt", DPTForDepthEstimation, DPTImageProcessorPil, may_lack=_UNUSED
        )

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

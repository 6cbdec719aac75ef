"""DPT against transformers' forward pass, and the resizing of its maps."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DPTForDepthEstimation, DPTImageProcessorPil

from got_r1.vision import DepthEstimator, load_depth
from got_r1.vision.settings import DepthSettings


@pytest.fixture(scope="module")
def dpt(folder):
    return load_depth(DepthSettings(model=folder("dpt"), batch=3))


def test_maps_are_those_of_the_model_itself(dpt, folder, images):
    assert isinstance(dpt, DepthEstimator)
    model = DPTForDepthEstimation.from_pretrained(folder("dpt")).eval()
    processor = DPTImageProcessorPil.from_pretrained(folder("dpt"))
    for image, depth in zip(images, dpt.estimate(images), strict=True):
        pixels = processor([Image.fromarray(image)], return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            expected = model(pixel_values=pixels).predicted_depth[0].numpy()
        assert depth.shape == (64, 64)
        np.testing.assert_allclose(depth, expected, atol=1e-5)
        assert np.ptp(depth) > 1e-3

"""DPT against transformers' forward pass, and the resizing of its maps."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DPTForDepthEstimation, DPTImageProcessorPil

from got_r1.vision import DepthEstimator, load_depth
from got_r1.vision.dpt import resize
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


def test_resizing_keeps_corners_and_lines():
    """With aligned corners a ramp stays a ramp from corner to corner, in either direction."""
    rows, columns = np.meshgrid(np.arange(4.0), np.arange(6.0), indexing="ij")
    depth = (10 * rows + columns).astype(np.float32)
    wide = resize(depth, (11, 7))  # (width, height)
    assert wide.shape == (7, 11)
    expected = 10 * np.linspace(0, 3, 7)[:, None] + np.linspace(0, 5, 11)[None]
    np.testing.assert_allclose(wide, expected, atol=1e-4)


def test_resizing_never_leaves_the_range(dpt, images):
    depths = dpt.estimate(images)
    assert len(depths) == len(images) > 0
    for depth in depths:
        large = resize(depth, (97, 61))
        assert depth.min() - 1e-6 <= large.min()
        assert large.max() <= depth.max() + 1e-6

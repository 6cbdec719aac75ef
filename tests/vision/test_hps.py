"""HPS: open_clip's weights under transformers' names give what open_clip's arithmetic gives.

The forward pass below is written out by hand from open_clip's architecture, on a state dict with
open_clip's names, so that a wrong name, a missed transpose or a swapped query and key would show.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import CLIPTokenizer

from got_r1.errors import BadInput
from got_r1.vision import ImageQuality, hps, load_quality
from got_r1.vision.settings import QualitySettings

HEADS = 2
SIZES = {
    "projection_dim": 8,
    "text_config": {
        "vocab_size": 514,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": HEADS,
        "num_hidden_layers": 2,
        "hidden_act": "gelu",
        "bos_token_id": 512,
        "eos_token_id": 513,
        "pad_token_id": 513,
    },
    "vision_config": {
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_attention_heads": HEADS,
        "num_hidden_layers": 3,
        "hidden_act": "gelu",
        "image_size": 32,
        "patch_size": 8,
    },
}
PROMPTS = ["a red heart", "a blue star on the left of a red heart"]


def open_clip_weights() -> dict[str, torch.Tensor]:
    """A random CLIP of those sizes under open_clip's names."""
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) / math.sqrt(shape[-1])

    weights = {
        "token_embedding.weight": random(514, 16),
        "positional_embedding": random(77, 16),
        "text_projection": random(16, 8),
        "logit_scale": torch.tensor(4.6),
        "attn_mask": torch.zeros(77, 77),
        "visual.class_embedding": random(24),
        "visual.positional_embedding": random(17, 24),
        "visual.conv1.weight": random(24, 3, 8, 8),
        "visual.proj": random(24, 8),
    }
    towers = [("", 16, 32, 2), ("visual.", 24, 40, 3)]
    norms = {"ln_final": 16, "visual.ln_pre": 24, "visual.ln_post": 24}
    for tower, width, inner, layers in towers:
        for layer in range(layers):
            at = f"{tower}transformer.resblocks.{layer}."
            norms |= {f"{at}ln_1": width, f"{at}ln_2": width}
            weights[f"{at}attn.in_proj_weight"] = random(3 * width, width)
            weights[f"{at}attn.in_proj_bias"] = random(3 * width)
            for name, rows, columns in (
                ("attn.out_proj", width, width),
                ("mlp.c_fc", inner, width),
                ("mlp.c_proj", width, inner),
            ):
                weights[f"{at}{name}.weight"] = random(rows, columns)
                weights[f"{at}{name}.bias"] = random(rows)
    for name, width in norms.items():
        weights[f"{name}.weight"] = 1 + random(width)
        weights[f"{name}.bias"] = random(width)
    return weights


# -- open_clip's forward pass, written out -------------------------------------------------------


def norm(w, name, x):
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def blocks(w, tower, layers, x, *, causal):
    for layer in range(layers):
        at = f"{tower}transformer.resblocks.{layer}."
        y = norm(w, f"{at}ln_1", x)
        qkv = y @ w[f"{at}attn.in_proj_weight"].T + w[f"{at}attn.in_proj_bias"]
        length, width = x.shape
        q, k, v = (t.view(length, HEADS, -1).transpose(0, 1) for t in qkv.chunk(3, dim=-1))
        scores = q @ k.transpose(1, 2) / math.sqrt(width // HEADS)
        if causal:
            scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf)
        mixed = (scores.softmax(-1) @ v).transpose(0, 1).reshape(length, width)
        x = x + linear(w, f"{at}attn.out_proj", mixed)
        y = F.gelu(linear(w, f"{at}mlp.c_fc", norm(w, f"{at}ln_2", x)))
        x = x + linear(w, f"{at}mlp.c_proj", y)
    return x


def text_direction(w, ids):
    x = w["token_embedding.weight"][ids] + w["positional_embedding"][: len(ids)]
    x = norm(w, "ln_final", blocks(w, "", 2, x, causal=True))
    return F.normalize(x[ids.argmax()] @ w["text_projection"], dim=0)


def image_direction(w, image):
    picture = Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    patches = F.conv2d(((pixels - mean) / std)[None], w["visual.conv1.weight"], stride=8)
    x = torch.cat([w["visual.class_embedding"][None], patches[0].flatten(1).T])
    x = norm(w, "visual.ln_pre", x + w["visual.positional_embedding"])
    x = blocks(w, "visual.", 3, x, causal=False)
    return F.normalize(norm(w, "visual.ln_post", x[0]) @ w["visual.proj"], dim=0)


def test_ratings_of_a_checkpoint_are_open_clips(folder, images, tmp_path, monkeypatch):
    weights = open_clip_weights()
    path = tmp_path / "HPS_v2.1_compressed.pt"
    torch.save({"epoch": 1, "state_dict": {f"module.{k}": v for k, v in weights.items()}}, path)
    monkeypatch.setattr(hps, "VIT_H_14", SIZES)
    judge = load_quality(QualitySettings(model=str(path), tokenizer=folder("clip")))
    assert isinstance(judge, ImageQuality)
    assert judge.name == "HPS HPS_v2.1_compressed.pt"

    tokenizer = CLIPTokenizer.from_pretrained(folder("clip"))
    squares = [images[0], images[2]]
    expected = [
        float(
            image_direction(weights, image)
            @ text_direction(weights, torch.tensor(tokenizer(prompt)["input_ids"]))
        )
        for image, prompt in zip(squares, PROMPTS, strict=True)
    ]
    assert abs(expected[0] - expected[1]) > 1e-3
    np.testing.assert_allclose(judge.rate(squares, PROMPTS), expected, atol=2e-6)
    # in another order, one at a time
    backwards = [float(judge.rate([i], [p])[0]) for i, p in zip(squares, PROMPTS, strict=True)]
    np.testing.assert_allclose(backwards, expected, atol=2e-6)


def test_half_precision_weights_are_read(tmp_path):
    weights = {name: value.half() for name, value in open_clip_weights().items()}
    path = tmp_path / "half.pt"
    torch.save(weights, path)
    model = hps.from_open_clip(hps.read_checkpoint(path), SIZES, str(path))
    assert model.text_projection.weight.dtype == torch.float32
    torch.testing.assert_close(
        model.text_projection.weight.data, weights["text_projection"].T.float()
    )


def test_a_clip_folder_serves_too(folder, images):
    judge = load_quality(QualitySettings(model=folder("clip")))
    assert judge.rate(images, ["a red heart"] * 4).shape == (4,)
    with pytest.raises(ValueError, match="4 images and 1 prompts"):
        judge.rate(images, ["a red heart"])


def test_the_official_sizes_are_those_of_vit_h_14():
    """986 million weights, as open_clip counts them; built without memory."""
    from transformers import CLIPConfig, CLIPModel

    with torch.device("meta"):
        model = CLIPModel(CLIPConfig(**hps.VIT_H_14))
    assert sum(weight.numel() for weight in model.parameters()) == 986_109_441


@pytest.mark.parametrize(
    ("size", "place"),
    [((100, 50), (0, 8, 32, 24)), ((50, 100), (8, 0, 24, 32)), ((7, 7), (0, 0, 32, 32))],
)
def test_a_picture_keeps_its_shape_inside_the_square(size, place):
    square = hps.to_square(Image.new("RGB", size, "white"), 32)
    assert square.size == (32, 32)
    assert square.getbbox() == place


# -- files that will not do ----------------------------------------------------------------------


def test_what_a_checkpoint_lacks_is_said():
    weights = open_clip_weights()
    del weights["visual.ln_post.bias"]
    with pytest.raises(BadInput, match=r"1 are missing, .* \(vision_model.post_layernorm.bias"):
        hps.from_open_clip(weights, SIZES, "x.pt")
    weights = open_clip_weights() | {"visual.proj": torch.zeros(24, 9)}
    with pytest.raises(BadInput, match=r"of another shape \(visual_projection.weight"):
        hps.from_open_clip(weights, SIZES, "x.pt")
    weights = open_clip_weights() | {"region_predictor.weight": torch.zeros(3)}
    with pytest.raises(BadInput, match=r"left over .* \(region_predictor.weight"):
        hps.from_open_clip(weights, SIZES, "x.pt")


def test_files_that_are_no_checkpoints(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(BadInput, match=r"cannot be read.* is a git-lfs pointer"):
        hps.read_checkpoint(path)
    path.write_bytes(b"PK")
    with pytest.raises(BadInput, match=r"cannot be read.*truncated or damaged"):
        hps.read_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(BadInput, match="holds no weights"):
        hps.read_checkpoint(path)


def test_a_missing_checkpoint_says_where_it_is_to_be_had():
    with pytest.raises(BadInput, match=r"hf download xswu/HPSv2 HPS_v2\.1_compressed\.pt"):
        load_quality(QualitySettings())

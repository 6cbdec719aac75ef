"""Sizes: the official `config.json` and the tensors in, a transformers configuration out, and back.

The official file says little: the VQ and the understanding tower have their sizes in the official
code, and what a language model shares with LLaMA-7B may be left out. So sizes are read off the
tensors, what the file does say must agree with them, and the defaults of the official code fill in
what no tensor shows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import JanusConfig, JanusVisionConfig, JanusVQVAEConfig, LlamaConfig

from got_r1.errors import BadInput
from got_r1.files.inputs import read_json

__all__ = ["OfficialConfig", "fixed_sizes", "official_config"]

# What the official code takes where `language_config` is silent (LlamaConfig's defaults: the 7B
# file leaves out all that LLaMA-7B has, too). Sizes that tensors show are not in this list.
LANGUAGE_DEFAULTS = {
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
}
# The towers that the official code knows by name; their heads are in no tensor's shape.
TOWERS = {
    "siglip_large_patch16_384": {"width": 1024, "layers": 24, "heads": 16, "patch": 16},
    "siglip_so400m_patch14_384": {"width": 1152, "layers": 27, "heads": 16, "patch": 14},
    "siglip_so400m_patch14_224": {"width": 1152, "layers": 27, "heads": 16, "patch": 14},
}
TOWER = "siglip_large_patch16_384"
# "VQ-16", the only VQ of the official code.
VQ = {"vq_channel_mult": [1, 1, 2, 2, 4], "vq_z_channels": 256}
# Where the sizes differ from the official code's they are listed here, in the official folder.
SIZES_FILE = "sizes.json"


class OfficialConfig:
    """An official configuration beside the shapes of its checkpoint's tensors."""

    def __init__(
        self, folder: Path, content: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self.file = folder / "config.json"
        self.content = content
        self.shapes = shapes
        self.sizes = (
            read_json(folder / SIZES_FILE, "list of sizes")
            if (folder / SIZES_FILE).is_file()
            else {}
        )
        self.notes: list[str] = []

    # -- the parts -------------------------------------------------------------------------------

    def language(self) -> LlamaConfig:
        """The language model."""
        said = {**LANGUAGE_DEFAULTS, **self._section("language_config")}
        layer = "language_model.model.layers.0"
        vocabulary, hidden = self._shape("language_model.model.embed_tokens.weight")
        query_rows = self._shape(f"{layer}.self_attn.q_proj.weight")[0]
        key_rows = self._shape(f"{layer}.self_attn.k_proj.weight")[0]
        heads = int(said["num_attention_heads"])
        head_dim = int(said.get("head_dim") or hidden // heads)
        found = {
            "vocab_size": vocabulary,
            "hidden_size": hidden,
            "intermediate_size": self._shape(f"{layer}.mlp.gate_proj.weight")[0],
            "num_hidden_layers": self._count(r"language_model\.model\.layers\.(\d+)\."),
            "num_attention_heads": query_rows // head_dim,
            "num_key_value_heads": key_rows // head_dim,
        }
        self._agree("language_config", said, found)
        theta = {"rope_type": "default", "rope_theta": said["rope_theta"]}
        scaling = dict(said.get("rope_scaling") or {})
        if "type" in scaling:
            scaling.setdefault("rope_type", scaling.pop("type"))
        return LlamaConfig(
            **found,
            head_dim=head_dim,
            hidden_act=said["hidden_act"],
            max_position_embeddings=said["max_position_embeddings"],
            rms_norm_eps=said["rms_norm_eps"],
            rope_parameters=theta | scaling,
            attention_bias=f"{layer}.self_attn.q_proj.bias" in self.shapes,
            mlp_bias=f"{layer}.mlp.gate_proj.bias" in self.shapes,
            tie_word_embeddings=False,
        )

    def vision(self, heads: int | None) -> JanusVisionConfig:
        """The understanding tower and its aligner; `heads` where the caller knows them."""
        said = self._params("vision_config")
        for key in ("pixel_mean", "pixel_std"):
            if said.get(key) is not None:
                raise BadInput(
                    f"{self.file} normalises pixels inside the tower (vision_config.params.{key}), "
                    "which no released Janus does and transformers' Janus cannot."
                )
        tower = "vision_model.vision_tower"
        width, channels, patch, _ = self._shape(f"{tower}.patch_embed.proj.weight")
        places = self._shape(f"{tower}.pos_embed")[1]
        grid = math.isqrt(places)
        image_size = int(said.get("image_size") or grid * patch)
        if grid * grid != places or image_size // patch != grid:
            raise BadInput(
                f"{self.file} says vision_config.params.image_size={image_size}, but the tower has "
                f"{places} positions of {patch} pixels."
            )
        self._check_projector("aligner_config")
        aligner = self._params("aligner_config")
        projection = self._shape("aligner.layers.0.weight")
        depth = self._count(r"aligner\.layers\.(\d+)\.weight")
        self._agree(
            "aligner_config.params",
            aligner,
            {"input_dim": projection[1], "n_embed": projection[0], "depth": depth},
        )
        inner = self._shape(f"{tower}.blocks.0.mlp.fc1.weight")[0]
        return JanusVisionConfig(
            hidden_size=width,
            num_hidden_layers=self._count(r"vision_model\.vision_tower\.blocks\.(\d+)\."),
            num_attention_heads=heads or self._vision_heads(width),
            num_channels=channels,
            image_size=image_size,
            patch_size=patch,
            mlp_ratio=ratio(inner, width),
            attention_bias=f"{tower}.blocks.0.attn.qkv.bias" in self.shapes,
            projection_dim=projection[0],
            depth=depth,
            num_image_tokens=places,
        )

    def vq(self) -> JanusVQVAEConfig:
        """The VQ, the aligner of image tokens and the image head."""
        vq = "gen_vision_model"
        base, channels = self._shape(f"{vq}.encoder.conv_in.weight")[:2]
        levels = self._count(rf"{vq}\.encoder\.conv_blocks\.(\d+)\.")
        widths = [
            self._shape(f"{vq}.encoder.conv_blocks.{level}.res.0.conv1.weight")[0]
            for level in range(levels)
        ]
        codes, code_size = self._shape(f"{vq}.quantize.embedding.weight")
        head_out, head_in = self._shape("gen_head.output_mlp_projector.weight")
        aligned = self._shape("gen_aligner.layers.0.weight")
        depth = self._count(r"gen_aligner\.layers\.(\d+)\.weight")
        self._check_projector("gen_aligner_config")
        for section, found in (
            ("gen_vision_config", {"image_token_size": codes, "n_embed": code_size}),
            (
                "gen_aligner_config",
                {"input_dim": aligned[1], "n_embed": aligned[0], "depth": depth},
            ),
            (
                "gen_head_config",
                {"n_embed": head_in, "image_token_embed": head_out, "image_token_size": codes},
            ),
        ):
            self._agree(f"{section}.params", self._params(section), found)
        if head_out != aligned[0]:
            raise BadInput(
                f"the image head of {self.file.parent} has {head_out} inner channels and the image "
                f"aligner {aligned[0]}: transformers' Janus has one size for both."
            )
        return JanusVQVAEConfig(
            embed_dim=code_size,
            num_embeddings=codes,
            latent_channels=self._shape(f"{vq}.encoder.conv_out.weight")[0],
            in_channels=channels,
            out_channels=self._shape(f"{vq}.decoder.conv_out.weight")[0],
            base_channels=base,
            channel_multiplier=[width // base for width in widths],
            num_res_blocks=self._count(rf"{vq}\.encoder\.conv_blocks\.0\.res\.(\d+)\."),
            projection_dim=aligned[0],
            num_hidden_layers=depth,
            image_token_embed_dim=head_in,
        )

    # -- reading ---------------------------------------------------------------------------------

    def _section(self, name: str) -> dict[str, Any]:
        section = self.content.get(name)
        return {k: v for k, v in section.items() if v is not None} if section else {}

    def _params(self, name: str) -> dict[str, Any]:
        params = self._section(name).get("params")
        return dict(params) if isinstance(params, dict) else {}

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self.shapes:
            raise BadInput(
                f"{self.file.parent} lacks the tensor {name}: it is no whole Janus checkpoint."
            )
        return self.shapes[name]

    def _count(self, pattern: str) -> int:
        """How many different numbers stand at the group of `pattern`."""
        found = (re.match(pattern, name) for name in self.shapes)
        return len({match[1] for match in found if match})

    def _agree(self, section: str, said: Mapping[str, Any], found: Mapping[str, int]) -> None:
        for key, size in found.items():
            if key in said and said[key] != size:
                raise BadInput(
                    f"{self.file} says {section}.{key}={said[key]!r}, but the tensors have {size}: "
                    "configuration and weights are not of the same model."
                )

    def _check_projector(self, section: str) -> None:
        kind = self._params(section).get("projector_type", "mlp_gelu")
        if kind != "mlp_gelu":
            raise BadInput(
                f"{self.file} asks for a {kind!r} projector in {section}: "
                "transformers' Janus only has 'mlp_gelu'."
            )

    def _vision_heads(self, width: int) -> int:
        listed = self.sizes.get("vision", {}).get("heads")
        if listed is not None:
            return int(listed)
        said = self._params("vision_config")
        named = TOWERS.get(str(said.get("model_name", TOWER)), {})
        if named.get("width") == width:
            return named["heads"]
        # All official towers have 16 heads, none of them below 16 channels a head.
        heads = next(n for n in range(16, 0, -1) if width % n == 0 and (width // n >= 16 or n == 1))
        self.notes.append(
            f"the understanding tower was taken to have {heads} attention heads, which no file "
            "says and no tensor shows; --vision-heads sets them"
        )
        return heads


def ratio(inner: int, width: int) -> float:
    """The `mlp_ratio` from which transformers computes exactly `inner` channels."""
    value = inner / width
    while int(width * value) < inner:
        value = math.nextafter(value, math.inf)
    return value


# -- and back --------------------------------------------------------------------------------------


def official_config(config: JanusConfig, dtype: str) -> dict[str, Any]:
    """The official `config.json` of a transformers configuration; every size is written out."""
    text, vision, vq = config.text_config, config.vision_config, config.vq_config
    rope = dict(text.rope_parameters)
    language: dict[str, Any] = {
        "model_type": "llama",
        "vocab_size": text.vocab_size,
        "hidden_size": text.hidden_size,
        "intermediate_size": text.intermediate_size,
        "num_hidden_layers": text.num_hidden_layers,
        "num_attention_heads": text.num_attention_heads,
        "num_key_value_heads": text.num_key_value_heads,
        "max_position_embeddings": text.max_position_embeddings,
        "rms_norm_eps": text.rms_norm_eps,
        "rope_theta": rope.pop("rope_theta"),
        "hidden_act": text.hidden_act,
        "torch_dtype": dtype,
    }
    if text.head_dim != text.hidden_size // text.num_attention_heads:
        language["head_dim"] = text.head_dim
    for key in ("attention_bias", "mlp_bias"):
        if getattr(text, key):
            language[key] = True
    if rope.get("rope_type", "default") != "default":
        language["rope_scaling"] = rope
    name = next((n for n, size in TOWERS.items() if size == tower_sizes(vision)), TOWER)
    sections = {
        "vision_config": (
            "CLIPVisionTower",
            {
                "image_size": vision.image_size,
                "model_name": name,
                "select_feature": "same",
                "select_layer": -1,
            },
        ),
        "aligner_config": (
            "MlpProjector",
            {
                "depth": vision.depth,
                "input_dim": vision.hidden_size,
                "n_embed": vision.projection_dim,
                "projector_type": "mlp_gelu",
            },
        ),
        "gen_vision_config": (
            "VQ-16",
            {"image_token_size": vq.num_embeddings, "n_embed": vq.embed_dim},
        ),
        "gen_aligner_config": (
            "MlpProjector",
            {
                "depth": vq.num_hidden_layers,
                "input_dim": vq.embed_dim,
                "n_embed": vq.projection_dim,
                "projector_type": "mlp_gelu",
            },
        ),
        "gen_head_config": (
            "vision_head",
            {
                "image_token_embed": vq.projection_dim,
                "image_token_size": vq.num_embeddings,
                "n_embed": vq.image_token_embed_dim,
            },
        ),
    }
    return {
        "architectures": ["MultiModalityCausalLM"],
        "model_type": "multi_modality",
        "torch_dtype": dtype,
        **{
            section: {"cls": kind, "model_type": section.removesuffix("_config"), "params": params}
            for section, (kind, params) in sections.items()
        },
        "language_config": language,
    }


def fixed_sizes(config: JanusConfig) -> dict[str, Any] | None:
    """The content of `sizes.json`: sizes that the official code fixes, where a model has others."""
    vision, vq = config.vision_config, config.vq_config
    tower = tower_sizes(vision)
    sizes = {
        "vq_channel_mult": list(vq.channel_multiplier),
        "vq_z_channels": vq.latent_channels,
    }
    official = sizes == VQ and vq.base_channels == 128 and vq.num_res_blocks == 2
    if official and tower in TOWERS.values():
        return None
    sizes |= {"vq_base_channels": vq.base_channels, "vq_res_blocks": vq.num_res_blocks}
    return sizes | {"vision": tower | {"image": vision.image_size}}


def tower_sizes(vision: JanusVisionConfig) -> dict[str, int]:
    return {
        "width": vision.hidden_size,
        "layers": vision.num_hidden_layers,
        "heads": vision.num_attention_heads,
        "patch": vision.patch_size,
    }

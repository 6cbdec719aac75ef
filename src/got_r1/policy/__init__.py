"""The policy: one Janus class for every size, its sampler, and the embedded configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from got_r1.errors import BadInput

if TYPE_CHECKING:
    import torch

    from got_r1.policy.janus import Policy

__all__ = ["load_policy"]

SHIPPED = {"icons": Path(__file__).parent.parent / "icons" / "checkpoint"}


def load_policy(path: str | Path, dtype: torch.dtype | None = None) -> Policy:
    """Loads a policy from a transformers folder, or the shipped one by the name `icons`.

    Weights come as `dtype` (float32 unless given) and in eval mode. Raises BadInput where the
    folder is missing, holds another architecture, or cannot be read.
    """
    folder = SHIPPED.get(str(path), Path(path))
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise BadInput(
            f"model folder {folder} has no config.json: give a converted Janus folder, "
            "or 'icons' for the shipped one"
        )
    try:
        model_type = json.loads(config_file.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise BadInput(f"{config_file} is not a model configuration: {error}") from None
    if model_type != "janus":
        raise BadInput(
            f"{folder} holds a {model_type!r} model, not 'janus': official 'multi_modality' "
            "checkpoints have to be converted to the transformers format first"
        )

    import torch
    from safetensors import SafetensorError
    from transformers import JanusForConditionalGeneration, JanusProcessor

    from got_r1.policy.janus import Policy

    try:
        model = JanusForConditionalGeneration.from_pretrained(
            folder,
            dtype=dtype or torch.float32,
            # The CPU's fused attention is slow in its backward pass (0.44 s against 0.58 s for a
            # whole SFT step of 16 short sequences).
            attn_implementation="sdpa" if torch.cuda.is_available() else "eager",
            local_files_only=True,
        )
        processor = JanusProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInput(f"model folder {folder} cannot be loaded: {reason}") from error
    return Policy(model.eval(), processor)

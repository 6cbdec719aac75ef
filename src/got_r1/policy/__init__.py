"""The policy: one Janus class for every size, its sampler, and the embedded configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from got_r1.checkpoints.models import SHIPPED, model_folder
from got_r1.errors import BadInput, explained, first_line
from got_r1.files.digests import check_digests

if TYPE_CHECKING:
    import torch
    from transformers.models.janus.modeling_janus import JanusVQVAE

    from got_r1.policy.janus import Policy

__all__ = ["SHIPPED", "load_encoder", "load_policy", "verified_folder"]


def load_policy(
    path: str | Path, dtype: torch.dtype | None = None, *, verify: bool = True
) -> Policy:
    """Loads a policy: from a folder, by its name on the hub, or the shipped one by the name `icons`
    (`checkpoints.models` finds it).

    Weights come as `dtype` (float32 unless given) and in eval mode. With `verify` the files are
    compared with their digests, where the folder has any. Raises BadInput where the folder is
    missing, holds another architecture, cannot be read, lacks a weight, or has a damaged file or
    another model's tokenizer.
    """
    folder = verified_folder(path) if verify else model_folder(path)
    import torch
    from transformers import JanusForConditionalGeneration

    from got_r1.checkpoints.completeness import load_complete
    from got_r1.policy.janus import Policy
    from got_r1.policy.token_ids import load_processor

    with explained(lambda error: BadInput(cannot_load(folder, error))):
        model = load_complete(
            JanusForConditionalGeneration,
            folder,
            dtype=dtype or torch.float32,
            attn_implementation=attention(),
        )
    processor = load_processor(folder, model.config)
    unit_codebook(model.model.vqmodel)
    policy = Policy(model, processor)
    policy.name = str(path)
    return policy


def load_encoder(
    path: str | Path, dtype: torch.dtype | None = None, *, verify: bool = True
) -> Policy:
    """Loads a policy's processor and VQ alone, as `dtype` (float32 unless given): what turns
    triples into tokens, and what a process needs of a file whose weights others give it.

    All other weights stay on the meta device, so a 7B model takes no more memory than a 1B one.
    `verify`, and BadInput, as for `load_policy`.
    """
    folder = verified_folder(path) if verify else model_folder(path)

    import torch
    from transformers import JanusConfig, JanusForConditionalGeneration

    from got_r1.checkpoints.completeness import check_complete
    from got_r1.checkpoints.shards import Source
    from got_r1.policy.janus import Policy
    from got_r1.policy.token_ids import load_processor

    prefix, dtype = "model.vqmodel.", dtype or torch.float32
    with explained(lambda error: BadInput(cannot_load(folder, error))):
        with torch.device("meta"):
            model = JanusForConditionalGeneration(
                JanusConfig.from_pretrained(folder, local_files_only=True)
            )
        model.to(dtype).set_attn_implementation(attention())
        source = Source(folder)
        names = [prefix + name for name in model.model.vqmodel.state_dict()]
        check_complete(folder, set(names) - source.tensors.keys())
        state = {
            name.removeprefix(prefix): source.read(name).to(dtype) for name in source.ordered(names)
        }
        model.model.vqmodel.load_state_dict(state, assign=True)
    processor = load_processor(folder, model.config)
    unit_codebook(model.model.vqmodel)
    return Policy(model, processor)


def verified_folder(path: str | Path) -> Path:
    """The folder of a model whose files are as they were written; a folder without digests is not
    checked. Raises BadInput naming a damaged file, and as `model_folder`."""
    folder = model_folder(path)
    check_digests(folder)
    return folder


def attention() -> str:
    """The library's attention to use here: the CPU's fused one is slow in its backward pass (0.44 s
    against 0.58 s for a whole SFT step of 16 short sequences)."""
    import torch

    return "sdpa" if torch.cuda.is_available() else "eager"


def unit_codebook(vq: JanusVQVAE) -> None:
    """Normalises the codes, where they are not yet.

    transformers' encoder leaves out the official L2 normalisation and so finds the right codes only
    among unit ones; decoding normalises by itself.
    """
    import torch
    import torch.nn.functional as F

    codes = vq.quantize.embedding.weight
    with torch.no_grad():
        unit = F.normalize(codes.float(), dim=-1)
        rounding = max(1e-5, 2 * torch.finfo(codes.dtype).eps)
        if (codes.float() - unit).abs().max() > rounding:
            codes.copy_(unit)


def cannot_load(folder: Path, error: Exception) -> str:
    """The sentence for a folder that a library refused."""
    return f"model folder {folder} cannot be loaded: {first_line(error)}"

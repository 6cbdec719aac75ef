"""Loading weights that others trained: a folder or a hub id, checked to be what it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoTokenizer, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from got_r1.checkpoints.completeness import load_complete
from got_r1.checkpoints.hub import local_folder
from got_r1.checkpoints.models import check_sizes
from got_r1.errors import BadInput, RunFailed, explained, first_line
from got_r1.vision.settings import VisionSettings

__all__ = [
    "Pretrained",
    "check_finite",
    "load_from",
    "load_model",
    "load_processor",
    "load_tokenizer",
    "pick_device",
    "short_name",
]

transformers_logging.disable_progress_bar()


def pick_device(device: str) -> torch.device:
    """The device of that name; "" is the GPU where there is one. Raises `BadInput`."""
    if not device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = first_line(error)
        raise BadInput(f"there is no device {device!r} here ({reason}); use cpu or cuda.") from None
    return chosen


class Pretrained:
    """A model of a folder or the hub with its image processor, loaded as the settings say.

    `kind` names it beside numbers and in errors, `model_type` is what its config must say, and
    `may_lack` matches the weights that it never uses. Raises BadInput as `load_model` and
    `load_processor`.
    """

    def __init__(
        self,
        settings: VisionSettings,
        kind: str,
        model_type: str,
        model: Any,
        processor: Any,
        may_lack: str | None = None,
    ) -> None:
        self.what = f"{kind} model"
        self.name = f"{kind} {short_name(settings.model)}"
        self.batch = settings.batch
        self.model = load_from(
            settings, model, what=self.what, model_type=model_type, may_lack=may_lack
        )
        self.processor = load_processor(processor, settings.model, what=self.what)


def load_from(
    settings: VisionSettings,
    model_class: Any,
    *,
    what: str,
    model_type: str,
    may_lack: str | None = None,
) -> Any:
    """`load_model` as the settings say; in float32 where they leave no choice."""
    return load_model(
        model_class,
        settings.model,
        what=what,
        model_type=model_type,
        device=settings.device,
        dtype=getattr(settings, "dtype", "float32"),
        may_lack=may_lack,
    )


def load_model(
    model_class: Any,
    model: str,
    *,
    what: str,
    model_type: str,
    device: str,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    may_lack: str | None = None,
) -> Any:
    """The model in evaluation mode on its device.

    `what` names it in errors ("CLIP model"); `may_lack` matches the weights that it never uses, and
    that files may leave out. Raises `BadInput` where it can be found neither as a folder nor on the
    hub, holds another kind of model, or lacks any other weight.
    """
    with explained(lambda error: _not_found(what, model, error)):
        folder = local_folder(model)
        config, _ = PreTrainedConfig.get_config_dict(folder, local_files_only=True)
    if config.get("model_type") != model_type:
        raise BadInput(
            f"the {what} {model} is of another kind ({config.get('model_type')}, not {model_type});"
            " give a folder of that kind."
        )
    check_sizes(config, folder / "config.json")
    with explained(lambda error: _not_found(what, model, error)):
        try:
            loaded = load_complete(
                model_class, folder, may_lack=may_lack, dtype=getattr(torch, dtype)
            )
        except BadInput as error:
            raise BadInput(f"the {what} cannot be used: {error}") from None
    # Fixed order: eval first, so that nothing on the device is ever in training mode.
    return loaded.eval().requires_grad_(False).to(pick_device(device))


def load_processor(processor_class: Any, model: str, *, what: str) -> Any:
    """An image processor of the PIL backend, the one that needs no torchvision."""
    with explained(lambda error: _not_found(f"image processor of the {what}", model, error)):
        return processor_class.from_pretrained(
            local_folder(model, weights=False), local_files_only=True, trust_remote_code=False
        )


def load_tokenizer(model: str, *, what: str, template: bool = False) -> Any:
    """The tokenizer. Raises `BadInput` where there is none.

    Texts are plain: a prompt that spells a control token ("[SEP]", "<|endoftext|>") is read as
    those letters, unless texts come from a chat `template`, which is made of control tokens.
    """
    with explained(lambda error: _not_found(f"tokenizer of the {what}", model, error)):
        return AutoTokenizer.from_pretrained(
            local_folder(model, weights=False),
            local_files_only=True,
            trust_remote_code=False,
            split_special_tokens=not template,
        )


def check_finite(values: torch.Tensor, name: str) -> None:
    """Raises `RunFailed` for infinities and NaN: compared with a threshold, they would pass for
    "nothing found"."""
    if not bool(values.isfinite().all()):
        raise RunFailed(
            f"{name} gave numbers that are not finite; load it in float32, or download it again."
        )


def short_name(model: str) -> str:
    """A model's folder or id as it stands beside a number: without the folders above it."""
    return Path(model).name if Path(model).exists() else model


def _not_found(what: str, model: str, error: Exception) -> BadInput:
    if Path(model).exists():
        return BadInput(f"the {what} in {model} cannot be loaded ({first_line(error)}).")
    return BadInput(f"there is no {what} at {model}; give its folder, or its id on the hub.")

"""Words and image settings: the official tokenizer and processor files in, transformers' out, and
back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, processors
from transformers import JanusProcessor, PreTrainedTokenizerFast
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil

from got_r1.errors import BadInput
from got_r1.files.inputs import read_json
from got_r1.plan.chain import BOX_END, BOX_START, OBJ_END, OBJ_START

__all__ = ["CHAIN_TOKENS", "has_tokenizer", "read_processor", "write_official_processor"]

CHAIN_TOKENS = (BOX_START, BOX_END, OBJ_START, OBJ_END)
"""In the order in which the official code adds them, plainly (not as special tokens)."""
# The official processor finds these by name, unless `processor_config.json` says otherwise.
TAGS = {
    "image_tag": "<image_placeholder>",
    "image_start_tag": "<begin_of_image>",
    "image_end_tag": "<end_of_image>",
    "pad_tag": "<｜▁pad▁｜>",
}
# Defaults of the official image processor where its file is silent; the released files say .5, .5.
IMAGE_DEFAULTS = {
    "min_size": 14,
    "image_mean": list(OPENAI_CLIP_MEAN),
    "image_std": list(OPENAI_CLIP_STD),
    "rescale_factor": 1 / 255,
    "do_normalize": True,
}
RELEASED_NORMALISATION = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
# The official conversation: a role by its literal name, turns apart by an empty line, what the
# assistant said ended by the end of sentence.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- set user = message['role'] | lower == 'user' -%}
{%- set content = message['content'] -%}
{%- if message['role'] | lower == 'system' -%}
{{ content if content is string else content[0]['text'] }}{{ '\\n\\n' }}
{%- else -%}
{{ 'USER' if user else 'ASSISTANT' }}: \
{% if content is string %}{{ content }}{% else %}{% for part in content -%}
{{ 'IMAGE\\n' if part['type'] == 'image' else part['text'] }}
{%- endfor %}{% endif %}{{ '\\n\\n' if user else eos_token }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}ASSISTANT:{%- endif -%}
"""


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder brings a tokenizer that can be read."""
    return (folder / "tokenizer.json").is_file()


def read_processor(folder: Path, image_size: int, image_tokens: int) -> JanusProcessor:
    """An official folder's tokenizer and image settings as a transformers processor.

    The chain tokens are added where the tokenizer lacks them. Sizes are the model's.

    Raises BadInput where a file cannot be read, or the tokenizer lacks an image token, a beginning,
    an end or a pad.
    """
    settings = read_optional(folder / "processor_config.json")
    tags = TAGS | {key: str(settings[key]) for key in TAGS if settings.get(key)}
    tokenizer = read_tokenizer(folder, tags)
    image_settings = read_optional(folder / "preprocessor_config.json")
    image = (
        {key: image_settings.get(key, value) for key, value in IMAGE_DEFAULTS.items()}
        if image_settings
        else IMAGE_DEFAULTS | RELEASED_NORMALISATION
    )
    return JanusProcessor(
        image_processor=JanusImageProcessorPil(
            size={"height": image_size, "width": image_size}, **image
        ),
        tokenizer=tokenizer,
        chat_template=chat_template(tokenizer),
        use_default_system_prompt=True,  # as the official processor does when it describes images
        num_image_tokens=image_tokens,
    )


def read_tokenizer(folder: Path, tags: Mapping[str, str]) -> PreTrainedTokenizerFast:
    """The tokenizer as its file has it.

    Not through the class that `tokenizer_config.json` names: `LlamaTokenizer` of newer transformers
    builds another pre-tokenizer than the file's and splits text differently.
    """
    settings = read_optional(folder / "tokenizer_config.json")
    special = read_optional(folder / "special_tokens_map.json")
    file = folder / "tokenizer.json"
    try:
        backend = Tokenizer.from_file(str(file))
    except Exception as error:  # the parser raises a bare Exception
        raise BadInput(f"{file} cannot be read as a tokenizer ({error}).") from None
    vocabulary = backend.get_vocab()
    for key in ("image_tag", "image_start_tag", "image_end_tag"):
        if tags[key] not in vocabulary:
            raise BadInput(
                f"the tokenizer of {folder} has no image token {tags[key]}: it is not the one that "
                "the model was trained with."
            )
    names = {
        key: content(settings.get(key) or special.get(key))
        for key in ("bos_token", "eos_token", "pad_token")
    }
    if tags["pad_tag"] in vocabulary:  # which the official processor takes whatever the file says
        names["pad_token"] = tags["pad_tag"]
    for key, name in names.items():
        if name not in vocabulary:
            raise BadInput(
                f"the tokenizer of {folder} has no {key} ({name or 'none is named'}): "
                "tokenizer_config.json or special_tokens_map.json must name one of its tokens."
            )
    backend.add_tokens([token for token in CHAIN_TOKENS if token not in vocabulary])
    if settings.get("add_bos_token", True):  # as the official tokenizer class does
        bos = str(names["bos_token"])
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A {bos} $B",
            special_tokens=[(bos, vocabulary[bos])],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **names,
        extra_special_tokens={
            "image_token": tags["image_tag"],
            "boi_token": tags["image_start_tag"],
            "eoi_token": tags["image_end_tag"],
        },
        model_max_length=settings.get("model_max_length") or int(1e30),
        clean_up_tokenization_spaces=False,
    )


def chat_template(tokenizer: PreTrainedTokenizerFast) -> str:
    """The official conversation, in the role names that the tokenizer has tokens for."""
    marked = "<|User|>" in tokenizer.get_vocab()
    return (
        CHAT_TEMPLATE.replace("USER", "<|User|>" if marked else "User")
        .replace("ASSISTANT", "<|Assistant|>" if marked else "Assistant")
        .replace("IMAGE", tokenizer.image_token)
    )


def read_optional(file: Path) -> dict[str, Any]:
    return read_json(file, "settings file") if file.is_file() else {}


def content(token: object) -> str | None:
    """A token's text: files have it plain, or as an object with a `content`."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


# -- and back --------------------------------------------------------------------------------------


def write_official_processor(processor: JanusProcessor, folder: Path) -> None:
    """Writes tokenizer, image and conversation settings as official repositories have them."""
    tokenizer, image = processor.tokenizer, processor.image_processor
    # The older tokenizers that the official code runs with know merges as "a b" only.
    raw = json.loads(tokenizer.backend_tokenizer.to_str())
    merges = raw["model"].get("merges", [])
    if not any(" " in part for pair in merges for part in pair if not isinstance(pair, str)):
        raw["model"]["merges"] = [m if isinstance(m, str) else " ".join(m) for m in merges]
    special = {
        "bos_token": tokenizer.bos_token,
        "eos_token": tokenizer.eos_token,
        "pad_token": tokenizer.pad_token,
        "additional_special_tokens": [tokenizer.image_token],
    }
    files: dict[str, dict[str, Any]] = {
        "tokenizer.json": raw,
        "special_tokens_map.json": special,
        "tokenizer_config.json": {
            "add_bos_token": True,
            "add_eos_token": False,
            "bos_token": tokenizer.bos_token,
            "clean_up_tokenization_spaces": False,
            "eos_token": tokenizer.eos_token,
            "legacy": True,
            "model_max_length": tokenizer.model_max_length,
            "pad_token": tokenizer.pad_token,
            "tokenizer_class": "LlamaTokenizerFast",
            "unk_token": None,
            "use_default_system_prompt": True,
        },
        "preprocessor_config.json": {
            "background_color": [int(value * 255) for value in image.image_mean],
            "do_normalize": image.do_normalize,
            "image_mean": list(image.image_mean),
            "image_processor_type": "VLMImageProcessor",
            "image_size": image.size["height"],
            "image_std": list(image.image_std),
            "min_size": image.min_size,
            "processor_class": "VLChatProcessor",
            "rescale_factor": image.rescale_factor,
        },
        "processor_config.json": {
            "add_special_token": False,
            "ignore_id": -100,
            "image_tag": tokenizer.image_token,
            "image_start_tag": tokenizer.boi_token,
            "image_end_tag": tokenizer.eoi_token,
            "pad_tag": tokenizer.pad_token,
            "mask_prompt": True,
            "num_image_tokens": processor.num_image_tokens,
            "processor_class": "VLChatProcessor",
            "sft_format": "deepseek",
        },
    }
    for name, one in files.items():
        text = json.dumps(one, indent=2, ensure_ascii=False)
        (folder / name).write_text(text, encoding="utf-8")

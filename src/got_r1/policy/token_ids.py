"""Whether a tokenizer is the one that a model was trained with, as far as the model's files tell.

With another's, or with one that lost its added tokens, everything runs and nothing is right.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import JanusConfig, JanusProcessor, LlamaConfig

from got_r1.errors import BadInput, explained, first_line, listed
from got_r1.files.inputs import read_json
from got_r1.plan.chain import TAGS
from got_r1.policy.words import BEGIN_OF_IMAGE

__all__ = ["check_token_ids", "load_processor"]


def load_processor(folder: Path, config: JanusConfig) -> JanusProcessor:
    """The tokenizer and image settings in a model's folder.

    Raises BadInput where they cannot be read, and as `check_token_ids`.
    """
    with explained(
        lambda error: BadInput(
            f"the tokenizer or processor in {folder} cannot be read: {first_line(error)}"
        )
    ):
        processor = JanusProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    check_token_ids(processor, config, folder)
    return processor


def check_token_ids(processor: JanusProcessor, config: JanusConfig, folder: Path) -> None:
    """Raises BadInput where a token has another id than the model's files say, no embedding, or the
    id of another token; or where a control token or a tag of chains is not a token by itself.

    `folder` holds the files. Ids that its `config.json` leaves at the library's defaults (which are
    Llama's) are not compared.
    """
    tokenizer = processor.tokenizer
    cure = "take the tokenizer that was saved with the model"
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    for token, expected, where in expected_ids(processor, config, folder):
        found = vocabulary.get(token or "")
        if found != expected:
            has = "has no such token" if found is None else f"gives it the id {found}"
            raise BadInput(
                f"{where} in {folder} is the id {expected} of {token or 'a token'}, but the "
                f"tokenizer there {has}: {cure}."
            )
    added = {token.content for token in tokenizer.added_tokens_decoder.values()}
    image_tokens = (processor.image_token, BEGIN_OF_IMAGE, processor.image_end_token)
    lost = [str(token) for token in (*image_tokens, *TAGS) if token not in added]
    if lost:
        raise BadInput(
            f"the tokenizer in {folder} does not read {listed(lost)} as one token: {cure}, or "
            "convert the official checkpoint with got-r1 convert, which adds the tags of chains."
        )
    last = max(vocabulary, key=vocabulary.__getitem__)
    rows = config.text_config.vocab_size
    if vocabulary[last] >= rows:
        raise BadInput(
            f"the tokenizer in {folder} gives {last!r} the id {vocabulary[last]}, but the model "
            f"has embeddings for ids below {rows} only: {cure}."
        )
    if len(set(vocabulary.values())) < len(vocabulary):
        owner: dict[int, str] = {}
        token = next(t for t, number in vocabulary.items() if owner.setdefault(number, t) != t)
        raise BadInput(
            f"the tokenizer in {folder} gives {token!r} the id {vocabulary[token]}, which is that "
            f"of {owner[vocabulary[token]]!r}: {cure}."
        )


def expected_ids(
    processor: JanusProcessor, config: JanusConfig, folder: Path
) -> list[tuple[str | None, int, str]]:
    """Tokens, their ids, and which setting says so."""
    found: list[tuple[str | None, Any, str]] = []
    for key in ("bos_token", "eos_token", "pad_token"):
        number = getattr(config.text_config, f"{key}_id", None)
        if number != getattr(LlamaConfig(), f"{key}_id"):
            found.append((getattr(processor.tokenizer, key), number, f"text_config.{key}_id"))
    found.append((processor.image_token, config.image_token_id, "image_token_id"))
    settings = folder / "generation_config.json"
    generation = read_json(settings, "generation settings") if settings.is_file() else {}
    begin = (generation.get("generation_kwargs") or {}).get("boi_token_id")
    found.append((BEGIN_OF_IMAGE, begin, "generation_kwargs.boi_token_id"))
    return [(token, number, where) for token, number, where in found if isinstance(number, int)]

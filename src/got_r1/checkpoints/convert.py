"""Official checkpoints to transformers folders and back, a shard at a time.

Everything is checked before the first byte is written: the configuration against the tensors, every
tensor against the model built on the meta device, the tokenizer, the room on the disk. Then tensors
are read in the order of the source's files, changed, and written in shards beside the destination.

Values change in two places only. The VQ's codebook is L2-normalised (in float32, and stays so): the
official code does this whenever it reads it, transformers only when it decodes. And where the
vocabulary has no room for the chain tokens, the text embeddings and the text head grow by rows that
hold the mean of the others (our choice).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import GenerationConfig, JanusConfig, JanusProcessor

from got_r1.checkpoints.convert_checks import (
    check_disk,
    check_tensors,
    common_dtype,
    model_shapes,
    no_janus,
)
from got_r1.checkpoints.folders import (
    check_destination,
    check_transformers_folder,
    read_official_config,
)
from got_r1.checkpoints.model_card import CardFacts, model_card
from got_r1.checkpoints.official_config import (
    SIZES_FILE,
    OfficialConfig,
    fixed_sizes,
    official_config,
)
from got_r1.checkpoints.official_names import (
    CODEBOOK,
    EMBEDDINGS,
    Tensors,
    correspondence,
    is_dropped,
    official_shapes,
)
from got_r1.checkpoints.official_tokenizer import (
    has_tokenizer,
    read_processor,
    write_official_processor,
)
from got_r1.checkpoints.shards import DTYPES, Source, byte_size, write_shards
from got_r1.errors import BadInput
from got_r1.files.atomic import replace_folder
from got_r1.files.digests import check_digests, write_digests
from got_r1.files.inputs import read_json
from got_r1.progress import byte_progress

__all__ = ["Conversion", "from_official", "to_official"]

SHARD_SIZE = 2 * 10**9
GUIDANCE, TEMPERATURE = 5.0, 1.0  # the official inference code's
SPARE = 64 * 2**20  # bytes: tokenizer, configuration, index

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion wrote."""

    folder: Path
    dtype: str
    tensors: int
    parameters: int
    files: tuple[str, ...]  # of the weights
    left_out: tuple[str, ...]  # tensors of the source that have no place in the destination
    notes: tuple[str, ...]  # what the user should know


def from_official(
    src: Path,
    dst: Path,
    *,
    dtype: str | None = None,
    shard_size: int = SHARD_SIZE,
    tokenizer: Path | None = None,
    vision_heads: int | None = None,
    quiet: bool = False,
) -> Conversion:
    """Converts an official `multi_modality` folder to a transformers folder at `dst`.

    Args:
        dtype: "float32", "bfloat16" or "float16"; the source's where None.
        shard_size: bytes of a written shard at most (a larger tensor has its own).
        tokenizer: folder to take tokenizer and processor files from; `src` where None. Without a
            tokenizer weights and configuration are converted, and a note says so.
        vision_heads: attention heads of the understanding tower, for one that no official name
            stands for.

    Raises BadInput, with nothing written, for whatever is wrong with source, destination or disk.
    """
    content = read_official_config(src)
    check_destination(dst)
    check_digests(src)
    source = Source(src)
    official = OfficialConfig(src, content, source.shapes)
    with no_janus(src):
        config = JanusConfig(
            text_config=official.language(),
            vision_config=official.vision(vision_heads),
            vq_config=official.vq(),
            tie_word_embeddings=False,
        )
        shapes = model_shapes(config)
    pairs = correspondence(shapes)
    kept = {name: shape for name, shape in source.shapes.items() if not is_dropped(name)}
    check_tensors(src, kept, official_shapes(pairs, shapes))
    dtype = common_dtype(src, source, kept, dtype)

    notes = list(official.notes)
    words = tokenizer or src
    processor = None
    if has_tokenizer(words):
        vision = config.vision_config
        processor = read_processor(words, vision.image_size, vision.num_image_tokens)
        rows = vocabulary_rows(processor)
        if rows > config.text_config.vocab_size:
            notes.append(
                f"the vocabulary had no room for the chain tokens: {config.text_config.vocab_size} "
                f"rows became {rows}"
            )
            config.text_config.vocab_size = rows
            shapes |= {name: (rows, *shapes[name][1:]) for name in EMBEDDINGS}
        set_tokens(config, processor)
    elif tokenizer is not None:
        raise BadInput(f"{tokenizer} has no tokenizer.json; give a folder with a tokenizer.")
    else:
        notes.append(no_tokenizer(src))

    places = {
        name: (official_name, index)
        for official_name, tensors in pairs.items()
        for index, name in enumerate(tensors.names)
    }
    order = [name for one in source.ordered(pairs) for name in pairs[one].names]
    sizes = {
        name: byte_size(shapes[name], "float32" if name == CODEBOOK else dtype) for name in order
    }

    def make(name: str) -> Tensor:
        official_name, index = places[name]
        tensor = take(source.read(official_name), pairs[official_name], index)
        if name == CODEBOOK:
            return F.normalize(tensor.float(), dim=-1)
        if name in EMBEDDINGS:
            tensor = grown(tensor, shapes[name][0])
        return tensor.to(DTYPES[dtype])

    def finish(folder: Path) -> None:
        write_transformers_files(folder, config, processor, dtype)

    files = write_folder(dst, sizes, make, shard_size, finish, quiet=quiet)
    source.close()
    left_out = tuple(name for name in source.tensors if name not in kept)
    return result(dst, dtype, shapes, files, left_out, notes)


def to_official(
    src: Path,
    dst: Path,
    *,
    dtype: str | None = None,
    shard_size: int = SHARD_SIZE,
    facts: CardFacts | None = None,
    quiet: bool = False,
) -> Conversion:
    """Converts a transformers Janus folder to an official folder with a model card at `dst`.

    Raises BadInput, with nothing written, for whatever is wrong with source, destination or disk.
    """
    check_transformers_folder(src)
    check_destination(dst)
    check_digests(src)
    with no_janus(src):
        config = JanusConfig.from_pretrained(src)
        shapes = model_shapes(config)
        processor = None
        if has_tokenizer(src):
            processor = JanusProcessor.from_pretrained(src, trust_remote_code=False)
    source = Source(src)
    check_tensors(src, source.shapes, shapes)
    others = {name: shape for name, shape in shapes.items() if name != CODEBOOK}
    dtype = common_dtype(src, source, others, dtype)
    pairs = correspondence(shapes)
    official = official_shapes(pairs, shapes)

    notes = []
    if processor is None:
        notes.append(no_tokenizer(src))
    sizes_file = fixed_sizes(config)
    if sizes_file:
        notes.append(
            "the official code fixes the sizes of the VQ and of the understanding tower, and this "
            f"model has others: they are listed in {SIZES_FILE}"
        )
    own = src / "generation_config.json"
    generation = read_json(own, "generation settings") if own.is_file() else {}
    card = model_card(
        dst.name,
        src,
        facts or CardFacts(),
        guidance=generation.get("guidance_scale"),
        temperature=generation.get("temperature"),
    )

    first = {tensors.names[0]: name for name, tensors in pairs.items()}
    order = [first[name] for name in source.ordered(first)]
    sizes = {name: byte_size(official[name], dtype) for name in order}

    def make(name: str) -> Tensor:
        parts = [source.read(part).to(DTYPES[dtype]) for part in pairs[name].names]
        tensor = parts[0] if len(parts) == 1 else torch.cat(parts)
        return tensor[None] if pairs[name].extra_dimension else tensor

    def finish(folder: Path) -> None:
        write_json(folder / "config.json", official_config(config, dtype))
        if sizes_file:
            write_json(folder / SIZES_FILE, sizes_file)
        if processor is not None:
            write_official_processor(processor, folder)
        (folder / "README.md").write_text(card, encoding="utf-8")

    files = write_folder(dst, sizes, make, shard_size, finish, quiet=quiet)
    source.close()
    return result(dst, dtype, official, files, (), notes)


# -- tensors ---------------------------------------------------------------------------------------


def take(tensor: Tensor, made_of: Tensors, index: int) -> Tensor:
    """Part `index` of an official tensor."""
    if made_of.extra_dimension:
        return tensor.squeeze(0)
    count = len(made_of.names)
    # A copy, lest each part keeps the whole in memory.
    return tensor if count == 1 else tensor.chunk(count)[index].clone()


def grown(tensor: Tensor, rows: int) -> Tensor:
    """The rows, and as many more as `rows` asks for: the mean of those that are there."""
    missing = rows - len(tensor)
    if missing == 0:
        return tensor
    mean = tensor.mean(0, keepdim=True, dtype=torch.float32).to(tensor.dtype)
    return torch.cat([tensor, mean.expand(missing, -1)])


# -- tokens ----------------------------------------------------------------------------------------


def vocabulary_rows(processor: JanusProcessor) -> int:
    """Rows that the embeddings need at least."""
    return int(max(processor.tokenizer.get_vocab().values())) + 1


def set_tokens(config: JanusConfig, processor: JanusProcessor) -> None:
    """The ids that a configuration holds."""
    tokenizer = processor.tokenizer
    config.image_token_id = tokenizer.convert_tokens_to_ids(processor.image_token)
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config.text_config, key, getattr(tokenizer, key))


def no_tokenizer(src: Path) -> str:
    return (
        f"{src} has no tokenizer.json: only weights and configuration were converted, and without "
        "a tokenizer the model cannot be prompted"
    )


# -- writing ---------------------------------------------------------------------------------------


def write_folder(
    dst: Path,
    sizes: Mapping[str, int],
    make: Callable[[str], Tensor],
    shard_size: int,
    finish: Callable[[Path], None],
    *,
    quiet: bool,
) -> list[str]:
    """Weights, then what `finish` adds and the digests of all, beside `dst` and renamed; returns
    the weights' files."""
    total = sum(sizes.values())
    check_disk(dst, total + SPARE)
    with (
        replace_folder(dst) as beside,
        byte_progress(f"converting to {dst.name}", total, quiet=quiet) as advance,
    ):
        files = write_shards(beside, sizes, make, shard_size, advance)
        finish(beside)
        write_digests(beside)
    return files


def write_transformers_files(
    folder: Path, config: JanusConfig, processor: JanusProcessor | None, dtype: str
) -> None:
    """Everything of a transformers folder but the weights."""
    config.architectures = ["JanusForConditionalGeneration"]
    for part in (config, config.text_config, config.vision_config, config.vq_config):
        part.dtype = DTYPES[dtype]
    config.save_pretrained(folder)
    settings = GenerationConfig(
        do_sample=True, temperature=TEMPERATURE, guidance_scale=GUIDANCE, use_cache=True
    )
    if processor is not None:
        tokenizer = processor.tokenizer
        settings.bos_token_id = tokenizer.bos_token_id
        settings.eos_token_id = tokenizer.eos_token_id
        settings.pad_token_id = tokenizer.pad_token_id
        boi = tokenizer.convert_tokens_to_ids(processor.image_start_token)
        settings.generation_kwargs = {"boi_token_id": boi}
        processor.save_pretrained(folder)
    settings.save_pretrained(folder)


def write_json(file: Path, content: Mapping[str, object]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def result(
    dst: Path,
    dtype: str,
    shapes: Mapping[str, Shape],
    files: list[str],
    left_out: tuple[str, ...],
    notes: list[str],
) -> Conversion:
    parameters = sum(math.prod(shape) for shape in shapes.values())
    return Conversion(dst, dtype, len(shapes), parameters, tuple(files), left_out, tuple(notes))

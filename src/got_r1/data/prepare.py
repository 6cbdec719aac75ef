"""Triples to tokens, once: every image through the VQ encoder, prompts and chains to token ids.

Each shard is made from a fixed range of the source and appears whole, so a killed run goes on with
the first shard that is missing and ends with the same bytes as one that was never interrupted.

Images are scaled to the model's square, without cropping: the boxes of GoT data are in thousandths
of the whole image's sides, and so stay right whatever its shape. (How the official SFT data was
fitted to the square is not stated; a crop would move every box and lose objects.)
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from got_r1.data.base import Fault, Record, Source
from got_r1.data.conversion import convert
from got_r1.data.tokens import (
    MANIFEST,
    Tokens,
    encoder_identity,
    read_counts,
    shard_path,
    write_shard,
)
from got_r1.errors import BadInput
from got_r1.files.atomic import write_text
from got_r1.files.digests import set_digest
from got_r1.files.images import UnreadableImage, open_image
from got_r1.files.inputs import read_json
from got_r1.plan.chain import without_end
from got_r1.policy.janus import Policy
from got_r1.progress import TrainingProgress
from got_r1.recipes.sections import DataSection

__all__ = ["SKIPPED", "prepare"]

READ_AHEAD = 64  # images that threads read while the encoder works
TEXT_BYTES = 1000  # of a usual GoT triple's prompt and chain, as token ids
SKIPPED = "skipped.jsonl"


def prepare(
    policy: Policy,
    source: Source,
    folder: Path,
    settings: DataSection,
    *,
    marks: bool = False,
    quiet: bool = False,
) -> Tokens:
    """Encodes a source into `folder`, or what is missing of it there; returns the tokens. With
    `marks`, boxes may carry depth and time (`chain.parse`).

    Chains in related notations are converted (`conversion.convert`), and counted in `manifest.json`
    by what was changed. Records that cannot be used are counted there by what is wrong with them,
    each kind with an example, and named in `skipped.jsonl`. Raises BadInput where the folder holds
    something else, where too little disk is left, or where nothing of a whole shard can be used;
    RunFailed where the disk fills up. What was encoded before stays in any case.
    """
    manifest = begin(policy, source, folder, settings, marks)
    size = settings.shard_records
    shards = -(-len(source) // size)
    missing = [n for n in range(shards) if not shard_path(folder, n).exists()]
    if missing:
        start = missing[0] * size
        check_disk(policy, len(source) - start, folder)
        examples = Reader(policy, settings, marks).examples(source.records(start))
        progress = TrainingProgress("Encoding", len(source), start, unit="record", quiet=quiet)
        with progress, closing(examples):
            for number in range(missing[0], shards):
                encode_shard(
                    policy,
                    islice(examples, size),
                    shard_path(folder, number),
                    batch=settings.encode_batch,
                    may_be_empty=0 < number == shards - 1,
                    progress=progress,
                )
    if missing or not manifest["complete"]:
        finish(folder, manifest, shards)
    return Tokens.open(folder, policy)


# -- the folder ------------------------------------------------------------------------------------


def begin(
    policy: Policy, source: Source, folder: Path, settings: DataSection, marks: bool
) -> dict[str, Any]:
    """The folder's manifest: a new one, or the one there, if it is of the same work."""
    manifest: dict[str, Any] = {
        "complete": False,
        "source": dict(source.identity),
        "encoder": encoder_identity(policy),
        "settings": {
            "bad_chains": settings.bad_chains,
            "max_text_tokens": settings.max_text_tokens,
            "encode_batch": settings.encode_batch,
            "shard_records": settings.shard_records,
            **({"marks": True} if marks else {}),
        },
        "records": len(source),
    }
    if not (folder / MANIFEST).exists():
        if folder.exists() and (not folder.is_dir() or any(folder.glob("[!.]*"))):
            raise BadInput(f"{folder} exists and holds something else; choose another folder.")
        write_text(folder / MANIFEST, json.dumps(manifest, indent=1))
        return manifest
    there = read_json(folder / MANIFEST, "manifest")
    for part, ours in manifest.items():
        theirs = there.get(part)
        if part != "complete" and theirs != ours:
            what = part
            if isinstance(ours, dict) and isinstance(theirs, dict):
                what = next(k for k in [*ours, *theirs] if theirs.get(k) != ours.get(k))
            raise BadInput(
                f"the tokens in {folder} were begun with other {part} ({what} differs); "
                "choose another folder, or delete it."
            )
    return there


def finish(folder: Path, manifest: Mapping[str, Any], shards: int) -> None:
    """Writes `skipped.jsonl` and the completed manifest."""
    kept, skipped = 0, []
    converted: Counter[str] = Counter()
    for number in range(shards):
        rows, left_out, changes = read_counts(shard_path(folder, number))
        kept += rows
        skipped += left_out
        converted.update(changes)
    lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in skipped]
    write_text(folder / SKIPPED, "".join(lines))
    counts = {
        "shards": shards,
        "kept": kept,
        "skipped": dict(Counter(entry["problem"] for entry in skipped).most_common()),
        "examples": {entry["problem"]: example(entry) for entry in reversed(skipped)},
        "converted": dict(converted.most_common()),
    }
    complete = json.dumps({**manifest, "complete": True, **counts}, indent=1, ensure_ascii=False)
    set_digest(folder, MANIFEST, complete.encode())
    write_text(folder / MANIFEST, complete)


def example(entry: Mapping[str, str]) -> str:
    """A skipped record for people: where it stands, and what exactly is wrong."""
    detail = entry["detail"] if entry["detail"] != entry["problem"] else ""
    return f"{entry['name']}: {detail}" if detail else entry["name"]


def check_disk(policy: Policy, records: int, folder: Path) -> None:
    """Raises BadInput where the tokens of so many records will not fit."""
    needed = records * (policy.image_tokens * token_type(policy).itemsize + TEXT_BYTES)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BadInput(
            f"the tokens will take about {needed / 1e9:.1f} GB and {folder} has room for "
            f"{free / 1e9:.1f} GB; free some space or choose another folder."
        )


def token_type(policy: Policy) -> torch.dtype:
    """How image tokens are stored: two bytes are enough for Janus's 16,384 codes."""
    codes = policy.model.config.vq_config.num_embeddings
    return torch.int16 if codes <= 1 << 15 else torch.int32


# -- reading ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """A record whose text can be used: token ids, int64 vectors."""

    record: Record
    prompt: Tensor
    chain: Tensor
    changes: tuple[str, ...]  # kinds of them that the chain was converted by


@dataclass(frozen=True, slots=True)
class Example:
    """A record that can be used: token ids (int64 vectors) and pixels (uint8 [side, side, 3])."""

    prompt: Tensor
    chain: Tensor
    pixels: NDArray[np.uint8]
    changes: tuple[str, ...]


class Reader:
    """Makes examples of records, or says why that cannot be."""

    def __init__(self, policy: Policy, settings: DataSection, marks: bool = False) -> None:
        self.policy = policy
        self.marks = marks
        self.keep_malformed = settings.bad_chains == "keep"
        self.longest = min(settings.max_text_tokens, policy.context - policy.image_tokens)
        # The VQ's encoder halves the image at every level but one.
        levels = len(policy.model.config.vq_config.channel_multiplier)
        self.side = policy.grid << (levels - 1)

    def examples(self, records: Iterable[Record | Fault]) -> Generator[Example | Fault, None, None]:
        """One for each record, in order; threads read the images ahead of whoever asks."""
        waiting: deque[Future[Example | Fault]] = deque()
        with ThreadPoolExecutor() as threads:
            for record in records:
                waiting.append(threads.submit(self.add_image, self.read_text(record)))
                if len(waiting) > READ_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def read_text(self, record: Record | Fault) -> Text | Fault:
        """Prompt and chain as token ids; a fault stays one."""
        if isinstance(record, Fault):
            return record
        read = convert(without_end(record.chain), marks=self.marks)
        text, problems = read.text, read.problems
        if problems and (not text or not self.keep_malformed):
            return Fault(record.name, problems[0], "; ".join(problems))
        if token := self.policy.words.control_token_in(text):  # two chains in one, most likely
            return Fault(record.name, "a control token in the text", token)
        try:
            prompt = self.policy.encode_prompt(record.prompt)
            chain = self.policy.encode_chain(text)
        except BadInput as error:
            return Fault(record.name, "a control token in the text", str(error))
        if len(prompt) + len(chain) > self.longest:
            return Fault(record.name, "text too long", f"{len(prompt)} + {len(chain)} tokens")
        return Text(record, prompt, chain, read.changes)

    def add_image(self, text: Text | Fault) -> Example | Fault:
        """The example that the text and its record's image make; a fault stays one."""
        if isinstance(text, Fault):
            return text
        image, name = text.record.image, text.record.name
        try:
            pixels = read_pixels(image, self.side)
        except FileNotFoundError:
            return Fault(name, "the image file is missing", str(image))
        except UnreadableImage as error:
            shown = f"{image}: {error}" if isinstance(image, Path) else str(error)
            return Fault(name, error.problem, shown)
        return Example(text.prompt, text.chain, pixels, text.changes)


def read_pixels(image: Path | bytes | NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """An image as RGB, scaled to a square: uint8 [side, side, 3]. Raises as `open_image`."""
    opened = Image.fromarray(image) if isinstance(image, np.ndarray) else open_image(image)
    return np.asarray(opened.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


# -- encoding --------------------------------------------------------------------------------------


def encode_shard(
    policy: Policy,
    examples: Iterable[Example | Fault],
    path: Path,
    *,
    batch: int,
    may_be_empty: bool,
    progress: TrainingProgress,
) -> None:
    """Writes one shard, `batch` images through the VQ encoder at a time.

    Raises BadInput where nothing can be used, before it writes: whatever is wrong (a folder that
    is not mounted, another grammar) concerns more than single records. Only the last shard, which
    may be of a few records, `may_be_empty`.
    """
    prompts: list[Tensor] = []
    chains: list[Tensor] = []
    images: list[Tensor] = []
    faults: list[Fault] = []
    changes: Counter[str] = Counter()
    waiting: list[NDArray[np.uint8]] = []
    began, first = time.perf_counter(), progress.step

    def encode_waiting() -> None:
        if waiting:
            images.append(policy.encode_images(np.stack(waiting)).to("cpu", token_type(policy)))
            waiting.clear()
        rate = len(prompts) / (time.perf_counter() - began)
        progress.update(first + len(prompts) + len(faults), {"images_per_second": rate})

    for example in examples:
        if isinstance(example, Fault):
            faults.append(example)
            continue
        prompts.append(example.prompt)
        chains.append(example.chain)
        changes.update(example.changes)
        waiting.append(example.pixels)
        if len(waiting) == batch:
            encode_waiting()
    encode_waiting()
    if not prompts and not may_be_empty:
        raise BadInput(nothing_usable(faults))
    none = torch.zeros(0, policy.image_tokens, dtype=token_type(policy))
    image_ids = torch.cat([none, *images])
    write_shard(path, prompts, chains, image_ids, [asdict(fault) for fault in faults], changes)


def nothing_usable(faults: Sequence[Fault]) -> str:
    """The sentence for a shard's worth of faults."""
    problem, count = Counter(fault.problem for fault in faults).most_common(1)[0]
    first = next(fault for fault in faults if fault.problem == problem)
    return (
        f"none of {len(faults)} records in a row can be used, {count} of them for '{problem}' "
        f"({example(asdict(first))}); fix the source or the data settings, then go on with the "
        "same command."
    )

"""Prepared tokens: a folder of shards, memory-mapped for training.

    <folder>/
      manifest.json              what the tokens were made from and with, and the counts
      tokens-00000.safetensors   what could be used of the source's first `shard_records` records
      tokens-00001.safetensors   ... of the next, and so on
      skipped.jsonl              the records that could not be used, and why
      digests.json               the digests of the shards and of the complete manifest

A shard holds `text_ids` int32 [all text tokens], `text_ends` int64 [rows] and `prompt_lengths`
int32 [rows] to cut them by, and `image_ids` int16 or int32 [rows, image tokens]; in its header are
its skipped records, and how many chains were converted, by the kind of change. The manifest says
`complete` once every shard is there.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from got_r1.errors import BadInput
from got_r1.files.atomic import write_bytes
from got_r1.files.digests import DIGESTS, find_damage, set_digest
from got_r1.files.inputs import read_json
from got_r1.policy.janus import Policy, TokenBatch

__all__ = [
    "MANIFEST",
    "Tokens",
    "check_tokens",
    "encoder_identity",
    "read_counts",
    "shard_path",
    "write_shard",
]

MANIFEST = "manifest.json"
# Whoever splits this into the same ids, with the same vocabulary, is the same tokenizer.
PROBE = "A <|obj_start|>red Vase's<|obj_end|> <|box_start|>(7,82),(729,964)<|box_end|>, é漢"


class Tokens:
    """The triples of a complete folder: a row each, in the order of the source.

    `text_lengths`: int64 [rows], prompt and chain. Everything else stays in the mapped files.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], pad_id: int) -> None:
        self.manifest = manifest
        self.pad_id = pad_id
        self.shards: list[dict[str, Tensor]] = []
        for number in range(manifest["shards"]):
            with _readable(path := shard_path(folder, number)):
                self.shards.append(load_file(path))
        counts = [len(shard["text_ends"]) for shard in self.shards]
        self.starts = [0, *accumulate(counts)]
        self.text_lengths = torch.cat(
            [s["text_ends"].diff(prepend=torch.zeros(1, dtype=torch.int64)) for s in self.shards]
        )

    @classmethod
    def open(cls, folder: Path, policy: Policy, *, verify: bool = True) -> Self:
        """Maps a prepared folder for training `policy`. With `verify` its files are compared with
        their digests (`check_tokens`).

        Raises BadInput where it is none, is not complete or damaged, or where its tokens are
        another tokenizer's or another VQ's.
        """
        if not (folder / MANIFEST).is_file():
            raise BadInput(f"there are no tokens in {folder}; make them with got-r1 prepare.")
        if verify:
            check_tokens(folder)
        manifest = read_json(folder / MANIFEST, "manifest")
        if not manifest.get("complete"):
            raise BadInput(f"the tokens in {folder} are not complete; run got-r1 prepare again.")
        for part, ours in encoder_identity(policy).items():
            if manifest["encoder"].get(part) != ours:
                raise BadInput(
                    f"the tokens in {folder} were made with another {part} than this model's; "
                    "prepare them again with this model.path, into another folder."
                )
        return cls(folder, manifest, policy.pad_id)

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, rows: Tensor) -> TokenBatch:
        """The sequences of some rows (int64 [B])."""
        prompts: list[Tensor] = []
        chains: list[Tensor] = []
        images: list[Tensor] = []
        for row in rows.tolist():
            number = bisect_right(self.starts, row) - 1
            shard, place = self.shards[number], row - self.starts[number]
            end = int(shard["text_ends"][place])
            start = end - int(self.text_lengths[row])
            middle = start + int(shard["prompt_lengths"][place])
            prompts.append(shard["text_ids"][start:middle].long())
            chains.append(shard["text_ids"][middle:end].long())
            images.append(shard["image_ids"][place].long())
        return TokenBatch.pack(prompts, chains, torch.stack(images), self.pad_id)


def check_tokens(folder: Path) -> None:
    """Raises BadInput naming a file of prepared tokens that is not as it was written; folders
    without digests, of older versions, are not checked."""
    if problem := find_damage(folder):
        raise BadInput(
            f"{problem}: delete that file, if it is there, and run got-r1 prepare again, which "
            f"goes on from there (delete the folder if it is {MANIFEST} or {DIGESTS})."
        )


# -- shards ----------------------------------------------------------------------------------------


def shard_path(folder: Path, number: int) -> Path:
    """Where shard `number` (from 0) lives."""
    return folder / f"tokens-{number:05d}.safetensors"


def write_shard(
    path: Path,
    prompts: Sequence[Tensor],
    chains: Sequence[Tensor],
    image_ids: Tensor,
    skipped: Sequence[Mapping[str, Any]],
    converted: Mapping[str, int],
) -> None:
    """Writes a shard and its digest, wholly or not at all; the same content makes the same bytes.

    R prompts and chains (int64 vectors), `image_ids` [R, image tokens] in the type to be stored.
    """
    texts = [torch.cat(pair) for pair in zip(prompts, chains, strict=True)]
    lengths = torch.tensor([len(text) for text in texts], dtype=torch.int64)
    tensors = {
        "text_ids": torch.cat([torch.zeros(0, dtype=torch.int64), *texts]).int(),
        "text_ends": lengths.cumsum(0),
        "prompt_lengths": torch.tensor([len(p) for p in prompts], dtype=torch.int32),
        "image_ids": image_ids,
    }
    # One entry, since the order of several in a header is not certain; a plain list where nothing
    # was converted.
    entry = {"records": list(skipped), "converted": converted} if converted else list(skipped)
    content = save(tensors, {"skipped": json.dumps(entry, ensure_ascii=False)})
    set_digest(path.parent, path.name, content)
    write_bytes(path, content)


def read_counts(path: Path) -> tuple[int, list[dict[str, Any]], dict[str, int]]:
    """How many rows a shard has, the records that were skipped in making it, and how many chains
    were converted, by the kind of change.

    Raises BadInput where the file is damaged.
    """

    with _readable(path), safe_open(path, "pt") as shard:
        rows = shard.get_slice("text_ends").get_shape()[0]
        entry = json.loads(shard.metadata()["skipped"])
    return (rows, entry, {}) if isinstance(entry, list) else (rows, *entry.values())


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise BadInput(
            f"the token shard {path} cannot be read ({error}); delete it and run got-r1 prepare "
            "again, which goes on from there."
        ) from None


# -- who encoded -----------------------------------------------------------------------------------


def encoder_identity(policy: Policy) -> dict[str, str]:
    """What of a model decides its tokens: fingerprints of "tokenizer" and "VQ".

    A model must be the same in whichever type it was loaded, its codes normalised or not: weights
    count as rounded to bfloat16, codes by their signs.
    """
    vocabulary = sorted(policy.tokenizer.get_vocab().items())
    ids = policy.encode_prompt(PROBE).tolist()
    vq = policy.model.model.vqmodel
    weights = hashlib.blake2b(str(policy.image_tokens).encode(), digest_size=16)
    for part in (vq.encoder, vq.quant_conv):
        for name, tensor in sorted(part.state_dict().items()):
            weights.update(name.encode())
            weights.update(tensor.to("cpu", torch.bfloat16).view(torch.int16).numpy().tobytes())
    weights.update((vq.quantize.embedding.weight > 0).cpu().numpy().tobytes())
    words = hashlib.blake2b(json.dumps([vocabulary, ids]).encode(), digest_size=16)
    return {"tokenizer": words.hexdigest(), "VQ": weights.hexdigest()}

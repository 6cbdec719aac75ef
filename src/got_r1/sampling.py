"""From prompts to finished samples: chains written, images drawn and decoded, in batches."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from got_r1 import chain as chains
from got_r1.atomic import write_bytes, write_text
from got_r1.config import RolloutSection
from got_r1.policy.janus import Policy
from got_r1.policy.sampler import Sampler
from got_r1.records import Chain, FoundObject, PlannedObject, Prompt

__all__ = ["Drawing", "generate", "named_box", "sample"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """One finished sample. `image`: uint8 [height, width, 3]; seconds are shares of its batch."""

    prompt: Prompt
    chain: Chain
    stop: str
    image: NDArray[np.uint8]
    chain_seconds: float
    image_seconds: float


def generate(
    policy: Policy,
    prompts: Sequence[Prompt],
    *,
    seed: int,
    rollout: RolloutSection,
    n: int = 1,
    batch: int = 64,
    chain_text: str | None = None,
) -> Iterator[Drawing]:
    """`n` samples for each prompt, in order: sample 0..n-1 of the first prompt, then the next.

    `batch` is the number of samples drawn at once; it does not change what is drawn. With
    `chain_text` every image is drawn from that chain instead of one the policy wrote.
    """
    sampler = Sampler(policy)
    prompts_at_once = max(1, batch // n)
    for first in range(0, len(prompts), prompts_at_once):
        some = prompts[first : first + prompts_at_once]
        start = time.perf_counter()
        if chain_text is None:
            written = sampler.write_chains(
                some, n, seed=seed, limit=rollout.chain_limit, temperature=rollout.chain_temperature
            )
        else:
            rows = [prompt for prompt in some for _ in range(n)]
            written = sampler.given_chains(
                rows, [chain_text] * len(rows), seed=seed, sample_ids=list(range(n)) * len(some)
            )
        middle = time.perf_counter()
        drawn = sampler.draw_images(
            written, guidance=rollout.guidance, temperature=rollout.image_temperature
        )
        images = policy.decode_images(drawn.image_ids)
        end = time.perf_counter()
        for prompt, text, stop, image in zip(
            written.prompts, written.texts, written.stops, images, strict=True
        ):
            yield Drawing(
                prompt,
                chains.parse(text),
                stop,
                image,
                (middle - start) / len(images),
                (end - middle) / len(images),
            )


def sample(
    policy: Policy,
    prompts: Sequence[Prompt],
    *,
    n: int,
    seed: int,
    rollout: RolloutSection,
    out_dir: Path,
    chain_text: str | None = None,
) -> list[Path]:
    """Writes each sample as `NNN.png` and `NNN.json` (prompt, chain, objects, seed, timings).

    Returns the images' paths. The image is written first: where there is a record there is its
    image, so an interrupted folder holds whole samples only.
    """
    files = []
    drawings = generate(policy, prompts, seed=seed, rollout=rollout, n=n, chain_text=chain_text)
    for index, drawing in enumerate(drawings):
        png = io.BytesIO()
        Image.fromarray(drawing.image).save(png, format="PNG")
        path = out_dir / f"{index:03d}.png"
        write_bytes(path, png.getvalue())
        record = {
            "prompt": drawing.prompt.text,
            "category": drawing.prompt.category,
            "chain": drawing.chain.text,
            "objects": [named_box(planned) for planned in drawing.chain.objects],
            "problems": list(drawing.chain.problems),
            "stop": drawing.stop,
            "seed": seed,
            "sample": index % n,
            "guidance": rollout.guidance,
            "seconds": {"chain": drawing.chain_seconds, "image": drawing.image_seconds},
        }
        write_text(path.with_suffix(".json"), json.dumps(record, indent=1, ensure_ascii=False))
        files.append(path)
    return files


def named_box(item: PlannedObject | FoundObject) -> dict[str, object]:
    """An object as records on disk hold it: its name and its box as [x1, y1, x2, y2]."""
    return {"name": item.name, "box": list(asdict(item.box).values())}

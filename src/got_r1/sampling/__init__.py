"""From prompts to finished samples: writes chains, generates and decodes images, in batches."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from got_r1.files.sample_files import SampleFiles, named_box
from got_r1.plan import chain as chains
from got_r1.plan.editing import prose_of
from got_r1.policy.janus import Policy
from got_r1.policy.sampler import Sampler
from got_r1.progress import TrainingProgress
from got_r1.recipes.sections import RolloutSection
from got_r1.records import Chain, Prompt, WrittenChains

if TYPE_CHECKING:
    from got_r1.plan.planning import Decision, Planner

__all__ = ["Drawer", "Drawing", "Sampled", "generate", "named_box", "sample"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """One finished sample. `image`: uint8 [height, width, 3]; seconds are shares of its batch.

    `spoken` is the prompt as the model got it, which `generate` may word in another way.
    """

    prompt: Prompt
    chain: Chain
    stop: str
    image: NDArray[np.uint8]
    chain_seconds: float
    image_seconds: float
    index: int  # among all samples of the call
    chain_tokens: int = 0  # generated for its chain, over all candidate plans
    decision: Decision | None = None  # where there was a planner
    spoken: str = ""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Result of `sample`: all images in order, the number generated now, and the seconds taken."""

    images: list[Path]
    drawn: int
    seconds: float


def generate(
    policy: Policy,
    prompts: Sequence[Prompt],
    *,
    seed: int,
    rollout: RolloutSection,
    n: int = 1,
    images_per_chain: int = 1,
    batch: int = 64,
    chain_text: str | Sequence[str] | None = None,
    planner: Planner | None = None,
    spoken: Callable[[str], str] | None = None,
) -> Iterator[Drawing]:
    """`n` chains for each prompt and `images_per_chain` images from each, in that order.

    `batch` is the number of images generated at once (at least those of one chain). The noise is
    keyed by the sample, so the batch size affects rounding only. With `chain_text` every image is
    generated from that chain (from a sequence: each prompt's from its own) instead of one that the
    policy wrote. A `planner` chooses each chain among several, and may repair it. `spoken` words a
    prompt for the model.
    """
    for drawings in draw_batches(
        policy,
        prompts,
        seed,
        rollout,
        n,
        images_per_chain,
        batch,
        chain_text,
        planner,
        spoken,
        frozenset(),
    ):
        yield from drawings


def draw_batches(
    policy: Policy,
    prompts: Sequence[Prompt],
    seed: int,
    rollout: RolloutSection,
    n: int,
    images_per_chain: int,
    batch: int,
    chain_text: str | Sequence[str] | None,
    planner: Planner | None,
    spoken: Callable[[str], str] | None,
    finished: Collection[int],
) -> Iterator[list[Drawing]]:
    """`generate` by batches, without the samples that are `finished`.

    A batch with missing samples is generated completely, so that a sample has the same batch, and
    the same rounding, however often the work was interrupted.
    """
    sampler = Sampler(policy)
    group = min(n, max(1, batch // images_per_chain))  # chains of one prompt at once
    prompts_at_once = max(1, batch // (group * images_per_chain))
    texts = [chain_text] * len(prompts) if isinstance(chain_text, str) else chain_text
    told = [replace(one, text=spoken(one.text)) for one in prompts] if spoken else prompts
    for first_prompt, first_sample in product(
        range(0, len(prompts), prompts_at_once), range(0, n, group)
    ):
        some = told[first_prompt : first_prompt + prompts_at_once]
        count = min(group, n - first_sample)
        rows = [row for row in range(len(some) * count) for _ in range(images_per_chain)]
        first = (first_prompt * n + first_sample) * images_per_chain
        indices = range(first, first + len(rows))
        if all(index in finished for index in indices):
            continue
        start = time.perf_counter()
        plans = planner.plans if planner is not None and texts is None else 1
        if texts is None:
            candidates = write(
                sampler, some, count * plans, first_sample * plans, batch, seed, rollout
            )
        else:
            given = texts[first_prompt : first_prompt + prompts_at_once]
            candidates = sampler.given_chains(
                [prompt for prompt in some for _ in range(count)],
                [text for text in given for _ in range(count)],
                seed=seed,
            )
        spent = [int(mask.sum()) for mask in candidates.loss_mask]
        tokens = [sum(spent[row : row + plans]) for row in range(0, len(spent), plans)]
        decisions: list[Decision] | None = None
        written = candidates
        if planner is not None:
            written, decisions = decide(sampler, planner, candidates, plans, rollout.marks)
        middle = time.perf_counter()
        drawn = sampler.draw_images(
            repeat(written, rows, [index % (n * images_per_chain) for index in indices]),
            guidance=rollout.guidance,
            temperature=rollout.image_temperature,
        )
        images = policy.decode_images(drawn.image_ids)
        end = time.perf_counter()
        yield [
            Drawing(
                prompts[index // (n * images_per_chain)],
                chains.parse(written.texts[row], marks=rollout.marks),
                written.stops[row],
                image,
                (middle - start) / len(rows),
                (end - middle) / len(rows),
                index,
                tokens[row],
                decisions[row] if decisions is not None else None,
                written.prompts[row].text,
            )
            for index, row, image in zip(indices, rows, images, strict=True)
            if index not in finished
        ]


def write(
    sampler: Sampler,
    prompts: Sequence[Prompt],
    count: int,
    first_sample: int,
    batch: int,
    seed: int,
    rollout: RolloutSection,
) -> WrittenChains:
    """`count` chains for each prompt, prompt by prompt; about `batch` of them written at once."""
    at_once = min(count, max(1, batch // len(prompts)))
    parts = [
        sampler.write_chains(
            prompts,
            min(at_once, count - first),
            seed=seed,
            limit=rollout.chain_limit,
            temperature=rollout.chain_temperature,
            first_sample=first_sample + first,
        )
        for first in range(0, count, at_once)
    ]
    if len(parts) == 1:
        return parts[0]
    places = [(part, len(part.texts) // len(prompts)) for part in parts]
    order = [
        (part, prompt * size + sample)
        for prompt in range(len(prompts))
        for part, size in places
        for sample in range(size)
    ]
    return gather(order, [part.sample_ids[row] for part, row in order])


def decide(
    sampler: Sampler, planner: Planner, candidates: WrittenChains, plans: int, marks: bool
) -> tuple[WrittenChains, list[Decision]]:
    """The chosen chains, one of every `plans` candidates, and the decisions behind them.

    A repaired chain is treated as a user-supplied one: all of its tokens are masked out of the
    loss. A repair that would exceed the model's context is dropped, and the original chain used.
    """
    parsed = [chains.parse(text, marks=marks) for text in candidates.texts]
    firsts = range(0, len(parsed), plans)
    decisions = planner.decide(
        [candidates.prompts[first] for first in firsts],
        [parsed[first : first + plans] for first in firsts],
    )
    room = sampler.policy.context - sampler.policy.image_tokens
    rows: list[tuple[WrittenChains, int]] = []
    for place, (first, decision) in enumerate(zip(firsts, decisions, strict=True)):
        row = first + decision.chosen
        rows.append((candidates, row))
        if not decision.is_repaired:
            continue
        text = decision.chain.text
        length = len(candidates.prompt_ids[row]) + len(sampler.policy.encode_chain(text))
        if length > room:
            decisions[place] = decision.without_repair("too long for the model once repaired")
        else:
            prompt = candidates.prompts[row]
            rows[-1] = (sampler.given_chains([prompt], [text], seed=candidates.seed), 0)
    return gather(rows, list(range(len(rows)))), decisions


def repeat(written: WrittenChains, rows: Sequence[int], sample_ids: Sequence[int]) -> WrittenChains:
    """The chains of `rows`, with the noise of each image keyed by its sample id."""
    return gather([(written, row) for row in rows], sample_ids)


def gather(rows: Sequence[tuple[WrittenChains, int]], sample_ids: Sequence[int]) -> WrittenChains:
    """Rows of several `WrittenChains`, in order, with new sample ids."""
    names = [f.name for f in fields(WrittenChains) if f.name not in ("seed", "sample_ids")]
    columns: Mapping[str, Any] = {
        name: tuple(getattr(written, name)[row] for written, row in rows) for name in names
    }
    return replace(rows[0][0], **columns, sample_ids=tuple(sample_ids))


def sample(
    policy: Policy,
    prompts: Sequence[Prompt],
    *,
    n: int,
    seed: int,
    rollout: RolloutSection,
    files: SampleFiles,
    images_per_chain: int = 1,
    batch: int = 64,
    chain_text: str | Sequence[str] | None = None,
    planner: Planner | None = None,
    quiet: bool = False,
    spoken: Callable[[str], str] | None = None,
    look: Callable[[Drawing], Mapping[str, Any]] | None = None,
    scale: int = 1,
) -> Sampled:
    """Generates as `generate` does and writes each sample as an image and a record: prompt, chain,
    objects, settings, timings, and the candidates of a `planner`. Samples that `files` already
    contains are kept and not generated again.

    `spoken` words a prompt for the model; the record keeps both. What `look` sees in a sample is
    written into its record. A pixel becomes `scale` x `scale` pixels of the file. Shows progress on
    stderr unless `quiet`.
    """
    total = len(prompts) * n * images_per_chain
    owners = [prompts[index // (n * images_per_chain)] for index in range(total)]
    finished = {i for i, prompt in enumerate(owners) if files.is_finished(i, prompt)}
    done, start = len(finished), time.perf_counter()
    batches = draw_batches(
        policy,
        prompts,
        seed,
        rollout,
        n,
        images_per_chain,
        batch,
        chain_text,
        planner,
        spoken,
        finished,
    )
    with TrainingProgress("sampling", total, done, unit="image", quiet=quiet) as progress:
        for drawings in batches:
            for drawing in drawings:
                prompt, png = drawing.prompt, io.BytesIO()
                enlarged = drawing.image.repeat(scale, axis=0).repeat(scale, axis=1)
                Image.fromarray(enlarged).save(png, format="PNG")
                image = files.image(drawing.index, prompt)
                record = {
                    "prompt": prompt.text,
                    "category": prompt.category,
                    "image": str(image.relative_to(files.folder)),
                    "chain": drawing.chain.text,
                    "prose": prose_of(drawing.chain),
                    "objects": [named_box(planned) for planned in drawing.chain.objects],
                    "problems": list(drawing.chain.problems),
                    **({"marks": True} if rollout.marks else {}),
                    "stop": drawing.stop,
                    "seed": seed,
                    "sample": drawing.index // images_per_chain % n,  # which chain of the prompt
                    "variant": drawing.index % images_per_chain,  # which image of the chain
                    "guidance": rollout.guidance,
                    "seconds": {"chain": drawing.chain_seconds, "image": drawing.image_seconds},
                }
                if drawing.decision is not None:
                    record |= drawing.decision.record()
                if drawing.spoken != prompt.text:
                    record["drawn_as"] = drawing.spoken
                if look is not None:
                    record |= look(drawing)
                files.write(drawing.index, prompt, png.getvalue(), record)
            done += len(drawings)
            seconds = time.perf_counter() - start
            progress.update(done, {"images_per_second": (done - len(finished)) / seconds})
    return Sampled(
        [files.image(index, prompt) for index, prompt in enumerate(owners)],
        done - len(finished),
        time.perf_counter() - start,
    )


@dataclass(frozen=True, slots=True)
class Drawer:
    """A policy and how it is to sample, for folder after folder."""

    policy: Policy
    rollout: RolloutSection
    seed: int
    batch: int
    quiet: bool
    about: Mapping[str, Any]
    """What a folder is drawn with beside its prompts; a resumed one must be drawn with the same."""

    def draw(self, files: SampleFiles, prompts: Sequence[Prompt], **options: Any) -> Sampled:
        """`sample`, whose other arguments are the `options`."""
        return sample(
            self.policy,
            prompts,
            seed=self.seed,
            rollout=self.rollout,
            files=files,
            batch=self.batch,
            quiet=self.quiet,
            **options,
        )

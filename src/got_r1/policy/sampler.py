"""The rollout engine: writes chains, then draws image tokens from them.

Two stages, so that a judge can read the chains while the images are drawn. Each prompt is
prefilled once per group; finished chains leave the batch; image tokens are drawn with
classifier-free guidance, or without the doubled batch when guidance is 1.

A sample's noise is a function of (seed, prompt, sample id) alone, so it does not depend on its
neighbours in the batch, on their number or on their order. So samples may also be drawn in parts,
where the caches of all would not fit.

Everything that a step changes is a preallocated tensor on the model's device. What the host needs
(which chains have stopped) it asks for every few steps, and results cross over once a stage:
records hold tensors in host memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from got_r1.errors import BadInput, RunFailed
from got_r1.policy.decoder import Cache, Decoder
from got_r1.policy.draws import draw, uniforms
from got_r1.policy.janus import Policy
from got_r1.records import Prompt, Rollout, StopReason, WrittenChains

__all__ = ["CPU_SCHEDULE", "CUDA_SCHEDULE", "DecodeSchedule", "Sampler", "Watch"]

Watch = Callable[[Literal["chain", "image"], Sequence[int], Tensor], None]
"""Is shown a stage's tokens while they are sampled: the rows of the call, and their ids so far,
int64 [rows, tokens] in host memory. What is behind a chain's stop token means nothing."""


@dataclass(frozen=True, slots=True)
class DecodeSchedule:
    """How often shapes change and the host looks. It does not change what is sampled."""

    bucket: int  # steps' slots are attended in multiples of this
    sync_every: int  # steps between checks of which chains have stopped
    halve_batch: bool  # the batch shrinks by halves; otherwise to what is left
    graphs: bool  # steps are recorded as CUDA graphs, one a shape, and replayed

    def round_up(self, steps: int) -> int:
        """To whole multiples of `bucket`."""
        return -(-steps // self.bucket) * self.bucket


# On a CPU a look is free, and every row and slot costs. On a GPU a look waits for the device and
# every shape is recorded anew; 64 hidden slots at most are a few percent of a Janus-Pro cache.
CPU_SCHEDULE = DecodeSchedule(bucket=1, sync_every=1, halve_batch=False, graphs=False)
CUDA_SCHEDULE = DecodeSchedule(bucket=64, sync_every=8, halve_batch=True, graphs=True)

# Rows of similar length that share a cache when images are drawn (our choice): more caches are more
# calls a step, fewer are more padding.
LENGTH_GROUP = 32


class Sampler:
    """Samples from a policy as it is now, adapters included.

    Make a new one after every update. `schedule` is chosen by the policy's device unless given.
    `at_once` bounds how many samples hold a cache at the same time (0: all of a call); the others
    wait for their turn.

    A temperature of 0 is greedy: the likeliest token, whatever the seed, with its log-probability
    at temperature 1. What is sampled so is no rollout to train on.

    `watch` is called while chains are written, as often as the host looks, and after every row of
    an image's tokens. What it raises ends the call.

    `keyed_by` is the text that noise is keyed by in place of each prompt's own: two models that are
    told one prompt in different words draw with the same noise where both are given the same.
    """

    def __init__(
        self,
        policy: Policy,
        schedule: DecodeSchedule | None = None,
        *,
        at_once: int = 0,
        watch: Watch | None = None,
        keyed_by: str | None = None,
    ) -> None:
        self.policy = policy
        self.at_once = at_once
        self.watch = watch
        self.keyed_by = keyed_by
        self.decoder = Decoder(policy)
        self.schedule = schedule or (
            CUDA_SCHEDULE if self.decoder.device.type == "cuda" else CPU_SCHEDULE
        )

    @torch.no_grad()
    def write_chains(
        self,
        prompts: Sequence[Prompt],
        group: int = 1,
        *,
        seed: int,
        limit: int = 600,
        temperature: float = 1.0,
        first_sample: int = 0,
    ) -> WrittenChains:
        """Writes `group` chains for each prompt, at most `limit` tokens each.

        Text has no guidance. A chain that reaches the limit, or ends the sentence instead of
        beginning the image, gets a forced `<begin_of_image>`: no action of the policy, so its
        loss mask is False and its log-probability 0. Raises BadInput for an empty prompt or one
        that does not fit into the context beside its chain and image.
        """
        heads = [self._encode(prompt, limit) for prompt in prompts]
        rows = [prompt for prompt in prompts for _ in range(group)]
        samples = [first_sample + i for _ in prompts for i in range(group)]
        noise = uniforms(seed, self._keys(rows), samples, "chain", limit)
        # Whole groups together, or as much of one as may be.
        at_once = self.at_once or len(rows)
        owners, members = max(1, at_once // group), min(group, at_once)
        parts = []
        for owner, member in product(range(0, len(heads), owners), range(0, group, members)):
            some, repeat = heads[owner : owner + owners], min(members, group - member)
            first = owner * group + member
            drawn_by = noise[first : first + len(some) * repeat]
            parts.append(self._write(some, repeat, drawn_by, limit, temperature, first))
        written, logprobs = (torch.cat(part) for part in zip(*parts, strict=True))
        return self._finish(rows, samples, heads, group, written, logprobs, seed)

    def _write(
        self,
        heads: list[Tensor],
        group: int,
        noise: Tensor,
        limit: int,
        temperature: float,
        first: int,
    ) -> tuple[Tensor, Tensor]:
        """`group` chains behind each of `heads`, all at once, by noise [rows, limit]: token ids,
        int64, and log-probabilities, float32, [rows, limit]. What is behind a row's stop token
        means nothing. `first`: the number of the first row in the call."""
        policy, decoder, schedule = self.policy, self.decoder, self.schedule
        device = decoder.device
        noise, rows = noise.to(device), len(heads) * group
        # The prompt without its last token is prefilled; the last token is the first step's input.
        cache = Cache.prefill(
            decoder,
            [ids[:-1] for ids in heads],
            room=schedule.round_up(limit),
            repeat=group,
            multiple=min(schedule.bucket, 8),
        )
        tokens = torch.tensor([int(ids[-1]) for ids in heads], device=device)
        tokens = tokens.repeat_interleave(group)
        positions = torch.tensor([len(ids) - 1 for ids in heads], device=device)
        positions = positions.repeat_interleave(group)
        order = torch.arange(rows, device=device)  # which row stands in which place
        stopped = torch.zeros(rows, dtype=torch.bool, device=device)
        place = torch.zeros(1, dtype=torch.long, device=device)
        written = torch.full((rows, limit), policy.pad_id, device=device)
        logprobs = torch.zeros(rows, limit, device=device)

        def advance(count: int, span: int) -> None:
            """One token for the first `count` places. What a stopped row writes is cut off."""
            states = decoder.step(
                decoder.embed_text(tokens[:count]), positions[:count], [cache], span
            )
            logits = decoder.text_logits(states)
            ids, chosen = draw(logits, noise[order[:count], place], temperature)
            written[order[:count], place] = ids
            logprobs[order[:count], place] = chosen
            tokens[:count] = ids
            stopped[:count].logical_or_((ids == policy.begin_of_image_id) | (ids == policy.eos_id))
            positions[:count].add_(1)
            place.add_(1)

        steps, count = Steps(advance, schedule.graphs), rows
        for step in range(1, limit + 1):
            steps(count, schedule.round_up(step))
            if step % schedule.sync_every:
                continue
            if self.watch is not None:
                self.watch("chain", range(first, first + rows), written[:, :step].cpu())
            alive = (~stopped[:count]).tolist()
            if not any(alive):
                break
            left = smaller(count, sum(alive), schedule.halve_batch)
            if left < count:
                kept = cache.keep(alive, left, step)
                for tensor in (order, tokens, positions, stopped):
                    tensor[:left] = tensor[kept]
                count = left

        return written.cpu(), check_finite(logprobs.cpu(), "text")

    def _finish(
        self,
        rows: list[Prompt],
        samples: list[int],
        heads: list[Tensor],
        group: int,
        written: Tensor,
        logprobs: Tensor,
        seed: int,
    ) -> WrittenChains:
        """Cuts each row (int64 and float32 [rows, limit]) after its first stop token, and forces
        a `<begin_of_image>` where the policy did not write one."""
        policy = self.policy
        chains: list[Tensor] = []
        masks: list[Tensor] = []
        values: list[Tensor] = []
        stops: list[StopReason] = []
        ends = (written == policy.begin_of_image_id) | (written == policy.eos_id)
        for ids, row, found in zip(written, logprobs, ends, strict=True):
            ended = bool(found.any())
            length = int(found.int().argmax()) + 1 if ended else len(ids)
            begun = int(ids[length - 1]) == policy.begin_of_image_id
            stops.append("begin_of_image" if begun else "end_of_sentence" if ended else "length")
            forced = 0 if begun else 1
            chains.append(F.pad(ids[:length], (0, forced), value=policy.begin_of_image_id))
            values.append(F.pad(row[:length], (0, forced)))
            masks.append(torch.arange(length + forced) < length)
        return WrittenChains(
            prompts=tuple(rows),
            sample_ids=tuple(samples),
            prompt_ids=tuple(ids for ids in heads for _ in range(group)),
            token_ids=tuple(chains),
            loss_mask=tuple(masks),
            logprobs=tuple(values),
            stops=tuple(stops),
            texts=tuple(policy.decode_chain(ids) for ids in chains),
            seed=seed,
        )

    def given_chains(
        self,
        prompts: Sequence[Prompt],
        texts: Sequence[str],
        *,
        seed: int,
        sample_ids: Sequence[int] | None = None,
    ) -> WrittenChains:
        """Chains that somebody else wrote, ready to draw from: no token of them is an action."""
        heads = [self._encode(prompt, 0) for prompt in prompts]
        token_ids = [self.policy.encode_chain(text) for text in texts]
        for head, ids in zip(heads, token_ids, strict=True):
            self._check_length(len(head) + len(ids), "the prompt and the given chain")
        stop: StopReason = "given"
        return WrittenChains(
            prompts=tuple(prompts),
            sample_ids=tuple(sample_ids) if sample_ids else tuple(range(len(heads))),
            prompt_ids=tuple(heads),
            token_ids=tuple(token_ids),
            loss_mask=tuple(torch.zeros(len(ids), dtype=torch.bool) for ids in token_ids),
            logprobs=tuple(torch.zeros(len(ids)) for ids in token_ids),
            stops=(stop,) * len(heads),
            texts=tuple(texts),
            seed=seed,
        )

    @torch.no_grad()
    def draw_images(
        self, chains: WrittenChains, *, guidance: float = 5.0, temperature: float = 1.0
    ) -> Rollout:
        """Draws one image's tokens from each chain.

        Guided logits are `uncond + guidance * (cond - uncond)` of the image head. The recorded
        log-probabilities are those of the distribution that was sampled from.
        """
        places = self.policy.image_tokens
        keys = self._keys(chains.prompts)
        noise = uniforms(chains.seed, keys, chains.sample_ids, "image", places)
        # Everything but <begin_of_image> is prefilled; it is the first step's input. Rows stand in
        # order of length, so that few of them carry the padding of much longer ones.
        pairs = zip(chains.prompt_ids, chains.token_ids, strict=True)
        texts = [torch.cat(pair)[:-1] for pair in pairs]
        order = torch.tensor([len(ids) for ids in texts]).argsort()
        image_ids = torch.empty(len(texts), places, dtype=torch.long)
        logprobs = torch.empty(len(texts), places)
        for rows in order.split(self.at_once or len(texts)):
            some = [texts[row] for row in rows]
            drawn = self._draw(some, noise[rows], guidance, temperature, rows.tolist())
            image_ids[rows], logprobs[rows] = drawn
        return Rollout(chains, image_ids, logprobs, guidance)

    def _draw(
        self,
        texts: list[Tensor],
        noise: Tensor,
        guidance: float,
        temperature: float,
        rows: Sequence[int],
    ) -> tuple[Tensor, Tensor]:
        """An image behind each of `texts`, sorted by length, all at once, by noise [rows, I]:
        token ids, int64, and log-probabilities, float32, [rows, I]. `rows`: their numbers in the
        call."""
        policy, decoder, schedule = self.policy, self.decoder, self.schedule
        device = decoder.device
        count, places, guided = len(texts), policy.image_tokens, guidance != 1.0
        noise = noise.to(device)
        prefilled = torch.tensor([len(ids) for ids in texts])
        room, multiple = schedule.round_up(places), min(schedule.bucket, 8)
        caches = [
            Cache.prefill(
                decoder, texts[first : first + LENGTH_GROUP], room=room, multiple=multiple
            )
            for first in range(0, count, LENGTH_GROUP)
        ]
        if guided:
            caches.append(
                Cache.unconditional(
                    decoder, prefilled, first_id=policy.bos_id, pad_id=policy.pad_id, room=room
                )
            )
        halves = 2 if guided else 1
        positions = prefilled.to(device).repeat(halves)
        begin = torch.full((len(positions),), policy.begin_of_image_id, device=device)
        inputs = decoder.embed_text(begin)
        place = torch.zeros(1, dtype=torch.long, device=device)
        image_ids = torch.empty(count, places, dtype=torch.long, device=device)
        logprobs = torch.empty(count, places, device=device)

        def advance(count: int, span: int) -> None:
            logits = decoder.image_logits(decoder.step(inputs, positions, caches, span))
            if guided:
                conditional, free = logits.chunk(2)
                logits = free + guidance * (conditional - free)
            ids, chosen = draw(logits, noise.index_select(1, place).squeeze(1), temperature)
            image_ids.index_copy_(1, place, ids[:, None])
            logprobs.index_copy_(1, place, chosen[:, None])
            inputs.view(halves, count, -1).copy_(decoder.embed_image(ids))
            positions.add_(1)
            place.add_(1)

        steps = Steps(advance, schedule.graphs)
        for step in range(1, places + 1):
            steps(count, schedule.round_up(step))
            if self.watch is not None and step % policy.grid == 0:
                self.watch("image", rows, image_ids[:, :step].cpu())
        return image_ids.cpu(), check_finite(logprobs.cpu(), "image")

    def _keys(self, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
        """The prompts that noise is keyed by."""
        return prompts if self.keyed_by is None else [Prompt(self.keyed_by)] * len(prompts)

    def _encode(self, prompt: Prompt, limit: int) -> Tensor:
        if not prompt.text.strip():
            raise BadInput("the prompt is empty: write what the image should show")
        ids = self.policy.encode_prompt(prompt.text)
        self._check_length(len(ids) + limit + 1, f"the prompt {prompt.text[:60]!r} and its chain")
        return ids

    def _check_length(self, length: int, what: str) -> None:
        room = self.policy.context - self.policy.image_tokens
        if length > room:
            raise BadInput(
                f"{what} need {length} tokens, but the model has room for {room} beside the "
                "image: shorten the prompt or lower rollout.chain_limit"
            )


def check_finite(logprobs: Tensor, head: str) -> Tensor:
    """The log-probabilities of a stage, float32 [rows, steps]; here, since a look at every step
    would wait for the device. Raises RunFailed where the logits of `head` were not finite."""
    places = (~logprobs.isfinite()).any(dim=0).nonzero()
    if len(places):
        raise RunFailed(
            f"the model's {head} logits are not finite (from token {int(places[0]) + 1} on): its "
            "weights hold NaN or infinity, or overflow in this dtype; take an earlier checkpoint, "
            "or float32"
        )
    return logprobs


class Steps:
    """Takes steps, `advance(rows, span)`: on CUDA by replaying their recorded kernels.

    A step of Janus-Pro is some 600 small kernels: launched one by one they cost the host more time
    than the device needs for them.
    """

    def __init__(self, advance: Callable[[int, int], None], graphs: bool) -> None:
        self.advance = advance
        self.graphs = graphs
        self.recorded: dict[tuple[int, int], torch.cuda.CUDAGraph | None] = {}
        self.pool = torch.cuda.graph_pool_handle() if graphs else None

    def __call__(self, rows: int, span: int) -> None:
        """Takes one step in this shape."""
        shape = (rows, span)
        if not self.graphs or shape not in self.recorded:
            # A shape's first step runs as it is: libraries load then what recording must not load.
            self.recorded[shape] = None
            self.advance(rows, span)
            return
        graph = self.recorded[shape]
        if graph is None:
            graph = torch.cuda.CUDAGraph()
            # Recording runs nothing. The graphs share memory: no step needs another's temporaries.
            # "thread_local", because a judge may use the device meanwhile.
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                self.advance(rows, span)
            self.recorded[shape] = graph
        graph.replay()


def smaller(rows: int, alive: int, halve: bool) -> int:
    """The batch's next size: `alive`, or the smallest half, quarter ... of `rows` that holds it."""
    if not halve:
        return alive
    while (rows + 1) // 2 >= alive and rows > 1:
        rows = (rows + 1) // 2
    return rows

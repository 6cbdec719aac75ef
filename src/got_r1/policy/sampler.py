"""The rollout engine: writes chains, then draws image tokens from them.

Two stages, so that a judge can read the chains while the images are drawn. Each prompt is
prefilled once per group; finished chains leave the batch; image tokens are drawn with
classifier-free guidance, or without the doubled batch when guidance is 1.

A sample's noise is a function of (seed, prompt, sample id) alone, so it does not depend on its
neighbours in the batch, on their number or on their order.

Everything that a step changes is a preallocated tensor on the model's device. What the host needs
(which chains have stopped) it asks for every few steps, and results cross over once a stage:
records hold tensors in host memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from got_r1.errors import BadInput
from got_r1.policy.decoder import Cache, Decoder
from got_r1.policy.janus import Policy
from got_r1.records import Prompt, Rollout, StopReason, WrittenChains

__all__ = ["CPU_PACE", "CUDA_PACE", "Pace", "Sampler"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often shapes change and the host looks. It does not change what is sampled."""

    span: int  # steps' slots are attended in multiples of this
    look: int  # steps between looks at which chains have stopped
    halve: bool  # the batch shrinks by halves; otherwise to what is left
    graphs: bool  # steps are recorded as CUDA graphs, one a shape, and replayed

    def round_up(self, steps: int) -> int:
        """To whole multiples of `span`."""
        return -(-steps // self.span) * self.span


# On a CPU a look is free, and every row and slot costs. On a GPU a look waits for the device and
# every shape is recorded anew; 64 hidden slots at most are a few percent of a Janus-Pro cache.
CPU_PACE = Pace(span=1, look=1, halve=False, graphs=False)
CUDA_PACE = Pace(span=64, look=8, halve=True, graphs=True)

# Rows of similar length that share a cache when images are drawn (our choice): more caches are more
# calls a step, fewer are more padding.
LENGTH_GROUP = 32


class Sampler:
    """Samples from a policy as it is now, adapters included.

    Make a new one after every update. `pace` is chosen by the policy's device unless given.

    A temperature of 0 is greedy: the likeliest token, whatever the seed, with its log-probability
    at temperature 1. What is sampled so is no rollout to train on.
    """

    def __init__(self, policy: Policy, pace: Pace | None = None) -> None:
        self.policy = policy
        self.decoder = Decoder(policy)
        self.pace = pace or (CUDA_PACE if self.decoder.device.type == "cuda" else CPU_PACE)

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
        policy, decoder, pace, device = self.policy, self.decoder, self.pace, self.decoder.device
        heads = [self._encode(prompt, limit) for prompt in prompts]
        rows = [prompt for prompt in prompts for _ in range(group)]
        samples = [first_sample + i for _ in prompts for i in range(group)]
        noise = uniforms(seed, rows, samples, "chain", limit).to(device)

        # The prompt without its last token is prefilled; the last token is the first step's input.
        cache = Cache.prefill(
            decoder,
            [ids[:-1] for ids in heads],
            room=pace.round_up(limit),
            repeat=group,
            multiple=min(pace.span, 8),
        )
        tokens = torch.tensor([int(ids[-1]) for ids in heads], device=device)
        tokens = tokens.repeat_interleave(group)
        positions = torch.tensor([len(ids) - 1 for ids in heads], device=device)
        positions = positions.repeat_interleave(group)
        order = torch.arange(len(rows), device=device)  # which row stands in which place
        stopped = torch.zeros(len(rows), dtype=torch.bool, device=device)
        place = torch.zeros(1, dtype=torch.long, device=device)
        written = torch.full((len(rows), limit), policy.pad_id, device=device)
        logprobs = torch.zeros(len(rows), limit, device=device)

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

        steps, count = Steps(advance, pace.graphs), len(rows)
        for step in range(1, limit + 1):
            steps(count, pace.round_up(step))
            if step % pace.look:
                continue
            alive = (~stopped[:count]).tolist()
            if not any(alive):
                break
            left = smaller(count, sum(alive), pace.halve)
            if left < count:
                kept = cache.keep(alive, left, step)
                for tensor in (order, tokens, positions, stopped):
                    tensor[:left] = tensor[kept]
                count = left

        return self._finish(rows, samples, heads, group, written.cpu(), logprobs.cpu(), seed)

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
        log-probabilities are those of the distribution that acted.
        """
        policy, decoder, pace, device = self.policy, self.decoder, self.pace, self.decoder.device
        count, places, guided = len(chains.texts), policy.image_tokens, guidance != 1.0
        noise = uniforms(chains.seed, chains.prompts, chains.sample_ids, "image", places)

        # Everything but <begin_of_image> is prefilled; it is the first step's input. Rows stand in
        # order of length, so that few of them carry the padding of much longer ones.
        pairs = zip(chains.prompt_ids, chains.token_ids, strict=True)
        texts = [torch.cat(pair)[:-1] for pair in pairs]
        order = torch.tensor([len(ids) for ids in texts]).argsort()
        texts, noise = [texts[row] for row in order], noise[order].to(device)
        prefilled = torch.tensor([len(ids) for ids in texts])
        room, multiple = pace.round_up(places), min(pace.span, 8)
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

        steps = Steps(advance, pace.graphs)
        for step in range(1, places + 1):
            steps(count, pace.round_up(step))
        back = order.argsort()
        return Rollout(chains, image_ids.cpu()[back], logprobs.cpu()[back], guidance)

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


def uniforms(
    seed: int, prompts: Sequence[Prompt], samples: Sequence[int], stage: str, steps: int
) -> Tensor:
    """Noise in [0, 1), float64 [rows, steps], each row keyed by (seed, prompt, sample, stage)."""
    rows = []
    for prompt, sample in zip(prompts, samples, strict=True):
        key = hashlib.blake2b(f"{seed}/{sample}/{stage}/{prompt.text}".encode(), digest_size=16)
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key.digest())))
        rows.append(generator.random(steps))
    return torch.from_numpy(np.stack(rows))


def draw(logits: Tensor, noise: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """One token a row by inverting the cumulative distribution at `noise`.

    logits float32 [B, V]; noise float64 [B] in [0, 1). Returns ids int64 [B] and their
    log-probabilities float32 [B]. Temperature 0 takes the likeliest token, and its log-probability
    at temperature 1.
    """
    if temperature not in (0, 1):
        logits = logits / temperature
    logits = logits - logits.amax(dim=-1, keepdim=True)
    # Clamped, because numbers below float32's normal range are slow on a CPU. Nothing is lost:
    # noise of 53 bits does not meet e^-80.
    mass = logits.clamp_min(-80).exp_()
    greedy = temperature == 0
    ids = logits.argmax(dim=-1, keepdim=True) if greedy else invert(mass, noise[:, None])
    logprobs = logits.gather(1, ids) - mass.sum(dim=-1, keepdim=True).log()
    return ids.squeeze(1), logprobs.squeeze(1)


def invert(mass: Tensor, noise: Tensor) -> Tensor:
    """Where the cumulative sum of mass (float32 [B, V]) passes `noise` (float64 [B, 1]) of its
    total: int64 [B, 1].

    In two levels of about sqrt(V), so that a large vocabulary is summed once and never scanned in
    double precision: first the block, then the place in it.
    """
    size = 1 << (mass.shape[1].bit_length() // 2)
    blocks = F.pad(mass, (0, -mass.shape[1] % size)).view(len(mass), -1, size)
    sums = blocks.sum(dim=-1, dtype=torch.float64)
    passed = sums.cumsum(-1)
    target = noise * passed[:, -1:]
    block = torch.searchsorted(passed, target, right=True).clamp_max(sums.shape[1] - 1)
    target = target - (passed - sums).gather(1, block)
    inside = blocks.gather(1, block[..., None].expand(-1, -1, size)).squeeze(1).double().cumsum(-1)
    # Rounding may lift the rest to the block's total, behind which there are only empty places.
    target = torch.minimum(target, inside[:, -1:] * (1 - 1e-15))
    return block * size + torch.searchsorted(inside, target, right=True)

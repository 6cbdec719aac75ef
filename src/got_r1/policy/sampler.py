"""The rollout engine: writes chains, then draws image tokens from them.

Two stages, so that a judge can read the chains while the images are drawn. Each prompt is
prefilled once per group; a finished chain leaves the batch at once; image tokens are drawn with
classifier-free guidance, or without the doubled batch when guidance is 1.

A sample's noise is a function of (seed, prompt, sample id) alone, so it does not depend on its
neighbours in the batch, on their number or on their order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from got_r1.errors import BadInput
from got_r1.policy.decoder import Cache, Decoder
from got_r1.policy.janus import Policy
from got_r1.records import Prompt, Rollout, StopReason, WrittenChains

__all__ = ["Sampler"]


class Sampler:
    """Samples from a snapshot of a policy's weights (adapters included).

    Make a new one after every update; making one copies the language model's weights.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.decoder = Decoder(policy)

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
        policy = self.policy
        heads = [self._encode(prompt, limit) for prompt in prompts]
        rows = [prompt for prompt in prompts for _ in range(group)]
        samples = [first_sample + i for _ in prompts for i in range(group)]
        noise = uniforms(seed, rows, samples, "chain", limit)
        lengths = torch.tensor([len(ids) for ids in heads]).repeat_interleave(group)

        # The prompt without its last token is prefilled; the last token is the first step's input.
        cache = Cache.from_prefill(
            self.decoder, [ids[:-1] for ids in heads], repeat=group, room=limit
        )
        tokens = torch.tensor([int(ids[-1]) for ids in heads]).repeat_interleave(group)
        order = torch.arange(len(rows))  # which row stands in which slot of the batch
        written: list[list[int]] = [[] for _ in rows]
        logprobs: list[list[float]] = [[] for _ in rows]
        stops: list[StopReason] = ["length"] * len(rows)

        for step in range(limit):
            states = self.decoder.step(
                self.decoder.embed_text(tokens), lengths[order] - 1 + step, cache
            )
            logits = self.decoder.text_logits(states)
            tokens, chosen = draw(logits / temperature, noise[order, step])
            alive = torch.ones(len(order), dtype=torch.bool)
            for slot, (row, token, logprob) in enumerate(
                zip(order.tolist(), tokens.tolist(), chosen.tolist(), strict=True)
            ):
                written[row].append(token)
                logprobs[row].append(logprob)
                if token == policy.begin_of_image_id:
                    stops[row], alive[slot] = "begin_of_image", False
                elif token == policy.eos_id:
                    stops[row], alive[slot] = "end_of_sentence", False
            if not alive.all():
                kept = cache.keep(alive)
                order, tokens = order[kept], tokens[kept]
                if not len(order):
                    break

        masks = [[True] * len(ids) for ids in written]
        for row, stop in enumerate(stops):
            if stop != "begin_of_image":
                written[row].append(policy.begin_of_image_id)
                logprobs[row].append(0.0)
                masks[row].append(False)
        token_ids = tuple(torch.tensor(ids) for ids in written)
        return WrittenChains(
            prompts=tuple(rows),
            sample_ids=tuple(samples),
            prompt_ids=tuple(ids for ids in heads for _ in range(group)),
            token_ids=token_ids,
            loss_mask=tuple(torch.tensor(mask) for mask in masks),
            logprobs=tuple(torch.tensor(values) for values in logprobs),
            stops=tuple(stops),
            texts=tuple(policy.decode_chain(ids) for ids in token_ids),
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
        policy, guided = self.policy, guidance != 1.0
        texts = [torch.cat(pair) for pair in zip(chains.prompt_ids, chains.token_ids, strict=True)]
        count, places = len(texts), policy.image_tokens
        noise = uniforms(chains.seed, chains.prompts, chains.sample_ids, "image", places)
        lengths = torch.tensor([len(ids) for ids in texts])

        # Everything but <begin_of_image> is prefilled; it is the first step's input.
        cache = Cache.from_prefill(self.decoder, [ids[:-1] for ids in texts], room=places)
        if guided:
            cache = cache.with_unconditional(self.decoder, policy.bos_id, policy.pad_id)
            lengths = lengths.repeat(2)
        inputs = self.decoder.embed_text(torch.full((len(lengths),), policy.begin_of_image_id))
        image_ids = torch.empty(count, places, dtype=torch.long)
        logprobs = torch.empty(count, places)
        for place in range(places):
            states = self.decoder.step(inputs, lengths - 1 + place, cache)
            logits = self.decoder.image_logits(states)
            if guided:
                conditional, free = logits.chunk(2)
                logits = free + guidance * (conditional - free)
            image_ids[:, place], logprobs[:, place] = draw(logits / temperature, noise[:, place])
            inputs = self.decoder.embed_image(image_ids[:, place])
            if guided:
                inputs = inputs.repeat(2, 1)
        return Rollout(chains, image_ids, logprobs, guidance)

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


def draw(logits: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """One token a row by inverting the cumulative distribution at `noise`.

    logits [B, V]; noise float64 [B] in [0, 1). Returns ids int64 [B] and their
    log-probabilities float32 [B].
    """
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    cumulative = logprobs.double().exp().cumsum(-1)
    threshold = noise.to(logits.device) * cumulative[:, -1]
    ids = torch.searchsorted(cumulative, threshold[:, None], right=True).squeeze(1)
    ids = ids.clamp_max(logits.shape[1] - 1)
    return ids, logprobs.gather(1, ids[:, None]).squeeze(1)

"""How others sample a rollout, on the library's own forward: what `rollout.py` measures against.

Greedy and eager, after the facts of the official inference code and of the peers' trainers. Both
read images' tokens off the image head with classifier-free guidance, from a doubled batch (each
conditional row and its unconditional twin) on a cache that grows by concatenation.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaModel

from got_r1.policy.janus import Policy
from got_r1.records import Prompt

__all__ = ["Drawn", "compare", "one_at_a_time", "whole_batch"]

# What a forward calls the cache that it is given; transformers 5.24 has renamed it.
CACHE = next(
    name
    for name in ("cache", "past_key_values")
    if name in inspect.signature(LlamaModel.forward).parameters
)


@dataclass
class Drawn:
    """Tokens of some samples. A margin is by how much the chosen token's logit led the next."""

    chains: list[list[int]] = field(default_factory=list)  # each ends with <begin_of_image>
    images: list[list[int]] = field(default_factory=list)
    chain_margins: list[list[float]] = field(default_factory=list)
    image_margins: list[list[float]] = field(default_factory=list)


@torch.inference_mode()
def one_at_a_time(
    policy: Policy, prompts: Sequence[Prompt], *, limit: int, guidance: float, margins: bool = False
) -> Drawn:
    """The official inference way: a chain token by token, then its image from two rows."""
    janus, device, drawn = policy.model.model, policy.device, Drawn()
    stops = (policy.begin_of_image_id, policy.eos_id)
    for prompt in prompts:
        head = policy.encode_prompt(prompt.text).to(device)
        embeds = janus.language_model.embed_tokens(head[None])
        cache, chain, leads = DynamicCache(), [], []
        while len(chain) < limit and (not chain or chain[-1] not in stops):
            out = janus.language_model(inputs_embeds=embeds, use_cache=True, **{CACHE: cache})
            logits = policy.model.lm_head(out.last_hidden_state[:, -1])
            token = logits.argmax(-1, keepdim=True)
            chain.append(int(token))
            leads += lead(logits) if margins else []
            embeds = janus.language_model.embed_tokens(token)
        if chain[-1] != policy.begin_of_image_id:
            chain.append(policy.begin_of_image_id)
        drawn.chains.append(chain)
        drawn.chain_margins.append(leads)
        text = torch.cat([head, torch.tensor(chain, device=device)])[None]
        draw_images(policy, text, torch.ones_like(text), None, guidance, margins, drawn)
    return drawn


@torch.inference_mode()
def whole_batch(
    policy: Policy, prompts: Sequence[Prompt], *, limit: int, guidance: float, margins: bool = False
) -> Drawn:
    """The peers' way: all chains with the library's `generate`, left-padded, then all images."""
    device, drawn = policy.device, Drawn()
    heads = [policy.encode_prompt(prompt.text).to(device) for prompt in prompts]
    ids, mask = left_padded(heads, policy.pad_id)
    out = policy.model.generate(
        ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=limit,
        eos_token_id=[policy.begin_of_image_id, policy.eos_id],
        pad_token_id=policy.pad_id,
        return_dict_in_generate=True,
        output_logits=margins,
    )
    leads = [lead(logits) for logits in out.logits] if margins else []
    for row, ids_ in enumerate(out.sequences[:, ids.shape[1] :].tolist()):
        ends = [i for i, id_ in enumerate(ids_) if id_ in (policy.begin_of_image_id, policy.eos_id)]
        chain = ids_[: ends[0] + 1] if ends else ids_
        drawn.chain_margins.append([step[row] for step in leads[: len(chain)]])
        if chain[-1] != policy.begin_of_image_id:
            chain.append(policy.begin_of_image_id)
        drawn.chains.append(chain)
    texts = [
        torch.cat([head, torch.tensor(chain, device=device)])
        for head, chain in zip(heads, drawn.chains, strict=True)
    ]
    ids, mask = left_padded(texts, policy.pad_id)
    places = (mask.cumsum(-1) - 1).clamp_min(0)
    draw_images(policy, ids, mask, places, guidance, margins, drawn)
    return drawn


def draw_images(
    policy: Policy,
    text: Tensor,
    mask: Tensor,
    places: Tensor | None,
    guidance: float,
    margins: bool,
    drawn: Drawn,
) -> None:
    """Image tokens of B left-padded texts (int64 [B, T], their mask and positions) into `drawn`."""
    janus, twice = policy.model.model, 2 if guidance != 1 else 1
    inner = mask.cumsum(-1)
    inner = (inner > 1) & (inner < inner[:, -1:])  # every token but the first and the last
    free = text.masked_fill(inner, policy.pad_id)
    embeds = janus.language_model.embed_tokens(torch.cat([text, free][:twice]))
    cache, chosen, leads = DynamicCache(), [], []
    padded = places is not None  # a row alone needs neither mask nor positions
    if places is not None:
        mask, places = mask.repeat(twice, 1), places.repeat(twice, 1)
    for _ in range(policy.image_tokens):
        out = janus.language_model(
            inputs_embeds=embeds,
            attention_mask=mask if padded else None,
            position_ids=places,
            use_cache=True,
            **{CACHE: cache},
        )
        logits = janus.generation_head(out.last_hidden_state[:, -1]).float()
        if twice == 2:
            conditional, unconditional = logits.chunk(2)
            logits = unconditional + guidance * (conditional - unconditional)
        ids = logits.argmax(-1)
        chosen.append(ids)
        if margins:
            leads.append(lead(logits))
        embeds = policy.embed_image_tokens(ids[:, None]).repeat(twice, 1, 1)
        if places is not None:
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            places = places[:, -1:] + 1
    drawn.images += torch.stack(chosen, dim=1).tolist()
    drawn.image_margins += [list(row) for row in zip(*leads, strict=True)] or [[]] * len(text)


def left_padded(rows: Sequence[Tensor], pad_id: int) -> tuple[Tensor, Tensor]:
    """B vectors as int64 [B, longest] and its mask, 0 where padded."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, device=rows[0].device)
    mask = torch.zeros_like(ids)
    for row, values in enumerate(rows):
        ids[row, longest - len(values) :] = values
        mask[row, longest - len(values) :] = 1
    return ids, mask


def lead(logits: Tensor) -> list[float]:
    """By how much each row's largest logit leads: B numbers from [B, V]."""
    first, second = logits.float().topk(2).values.unbind(-1)
    return (first - second).tolist()


def compare(expected: Drawn, found: Drawn, tolerance: float) -> int:
    """Compares row by row; returns how many rows part at a tie.

    Two correct samplers may choose differently only where two tokens are equally likely up to
    rounding: rows that part elsewhere raise AssertionError.
    """
    ties = 0
    for row, (chain, image) in enumerate(zip(expected.chains, expected.images, strict=True)):
        ours = found.chains[row] + found.images[row]
        theirs = chain + image
        if ours == theirs:
            continue
        place = next(i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b)
        # A forced <begin_of_image> was not chosen, so it has no margin.
        leads = expected.chain_margins[row] + [0.0] * len(chain)
        leads = leads[: len(chain)] + expected.image_margins[row]
        assert leads[place] < tolerance, (
            f"sample {row} parts at token {place}, where the chosen token leads by {leads[place]}"
        )
        ties += 1
    return ties

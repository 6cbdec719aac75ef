"""One-token steps of the language model over preallocated caches.

A snapshot of the weights, adapters merged and projections fused, so that a step is a few large
matrix products. Checked against the library's own forward by replaying every rollout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from got_r1.policy.janus import Policy, effective_weight

__all__ = ["Cache", "Decoder"]


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of one decoder layer; q, k, v and gate, up are fused."""

    attention_norm: Tensor
    qkv: Tensor
    out: Tensor
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor

    @classmethod
    def fuse(cls, layer: Any) -> Self:
        attention, mlp = layer.self_attn, layer.mlp
        qkv = [attention.q_proj, attention.k_proj, attention.v_proj]
        return cls(
            attention_norm=layer.input_layernorm.weight.detach(),
            qkv=torch.cat([effective_weight(part) for part in qkv]),
            out=effective_weight(attention.o_proj),
            mlp_norm=layer.post_attention_layernorm.weight.detach(),
            gate_up=torch.cat([effective_weight(part) for part in (mlp.gate_proj, mlp.up_proj)]),
            down=effective_weight(mlp.down_proj),
        )


class Cache:
    """Keys and values of a batch, one tensor a layer, with room for the steps to come.

    Rows are prefilled right-padded: row r holds `lengths[r]` tokens, then a hole up to the common
    width, then one slot a step. `visible` marks the slots that may be attended to. Slots carry no
    position (rotations are applied before storing), so holes cost nothing but memory.
    """

    def __init__(
        self, keys: list[Tensor], values: list[Tensor], visible: Tensor, width: int
    ) -> None:
        self.keys = keys  # per layer [rows, kv heads, slots, head size]
        self.values = values
        self.visible = visible  # bool [rows, slots]
        self.used = width  # slots filled so far
        self.rows = len(visible)  # rows still in the batch; they come first

    @classmethod
    def from_prefill(
        cls, decoder: Decoder, texts: Sequence[Tensor], *, repeat: int = 1, room: int
    ) -> Self:
        """Prefills `texts` (int64 vectors) in one forward pass, each row then repeated."""
        lengths = torch.tensor([len(ids) for ids in texts])
        ids = nn.utils.rnn.pad_sequence(list(texts), batch_first=True)
        width = ids.shape[1]
        past = decoder.language_model(input_ids=ids, use_cache=True).past_key_values
        place = torch.arange(width + room)
        visible = (place < lengths[:, None]) | (place >= width)
        return cls(
            [with_room(layer.keys, room, repeat) for layer in past.layers],
            [with_room(layer.values, room, repeat) for layer in past.layers],
            visible.repeat_interleave(repeat, dim=0),
            width,
        )

    def with_unconditional(self, decoder: Decoder, first_id: int, pad_id: int) -> Cache:
        """The batch doubled by its unconditional rows, whose text is the first token and pads.

        That text is the same for all rows up to its length, so it is prefilled once.
        """
        room = self.visible.shape[1] - self.used
        hidden = torch.full((self.used,), pad_id)
        hidden[0] = first_id
        prefix = Cache.from_prefill(decoder, [hidden], room=room)
        rows = self.rows
        doubled = [
            [
                torch.cat([own, free.expand(rows, -1, -1, -1)])
                for own, free in zip(a, b, strict=True)
            ]
            for a, b in ((self.keys, prefix.keys), (self.values, prefix.values))
        ]
        return Cache(doubled[0], doubled[1], self.visible.repeat(2, 1), self.used)

    def keep(self, alive: Tensor) -> Tensor:
        """Drops the rows not marked in `alive` (bool [rows]): rows from the end fill their places.

        Returns the order of the kept rows as indices into the old batch.
        """
        order = torch.arange(self.rows)
        count = int(alive.sum())
        holes = (~alive[:count]).nonzero().squeeze(1)
        movers = alive[count:].nonzero().squeeze(1) + count
        if len(holes):
            for tensor in (*self.keys, *self.values):
                tensor[holes, :, : self.used] = tensor[movers, :, : self.used]
            self.visible[holes] = self.visible[movers]
            order[holes] = movers
        self.rows = count
        return order[:count]


def with_room(tensor: Tensor, room: int, repeat: int) -> Tensor:
    rows, heads, width, size = tensor.shape
    longer = tensor.new_empty(rows * repeat, heads, width + room, size)
    longer[:, :, :width] = tensor.repeat_interleave(repeat, dim=0)
    return longer


class Decoder:
    """A snapshot of a policy's language model and heads for step-by-step decoding."""

    def __init__(self, policy: Policy) -> None:
        janus = policy.model.model
        self.language_model = janus.language_model
        self.lm_head = policy.model.lm_head
        self.image_head = janus.generation_head
        config = janus.language_model.config
        self.layers = [Layer.fuse(layer) for layer in janus.language_model.layers]
        self.final_norm = janus.language_model.norm.weight
        self.eps = config.rms_norm_eps
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.head_size = config.head_dim
        with torch.no_grad():
            places = torch.arange(policy.context)[None]
            cos, sin = janus.language_model.rotary_emb(self.final_norm, places)
            self.cos, self.sin = cos[0], sin[0]
            codes = torch.arange(janus.generation_embeddings.num_embeddings)
            self.image_table = policy.embed_image_tokens(codes)

    def embed_text(self, token_ids: Tensor) -> Tensor:
        """int64 [B] -> [B, D]"""
        return F.embedding(token_ids, self.language_model.embed_tokens.weight)

    def embed_image(self, image_ids: Tensor) -> Tensor:
        """int64 [B] -> [B, D]"""
        return F.embedding(image_ids, self.image_table)

    def text_logits(self, states: Tensor) -> Tensor:
        """[B, D] -> [B, vocabulary]"""
        return self.lm_head(states)

    def image_logits(self, states: Tensor) -> Tensor:
        """[B, D] -> [B, codebook]"""
        return self.image_head(states)

    def step(self, inputs: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """Feeds one token a row, inputs [B, D] at positions int64 [B]; returns states [B, D]."""
        rows, slot = len(inputs), cache.used
        query_size = self.heads * self.head_size
        kv_size = self.kv_heads * self.head_size
        # [B, 1, head size]: broadcast over heads
        cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]
        visible = cache.visible[:rows, None, None, : slot + 1]
        x = inputs
        for index, layer in enumerate(self.layers):
            h = F.rms_norm(x, x.shape[-1:], layer.attention_norm, self.eps)
            fused = F.linear(h, layer.qkv)
            turned = fused[:, : query_size + kv_size].view(rows, -1, self.head_size)
            turned = turned * cos + rotate_half(turned) * sin
            keys, values = cache.keys[index], cache.values[index]
            keys[:rows, :, slot] = turned[:, self.heads :]
            values[:rows, :, slot] = fused[:, query_size + kv_size :].view(
                rows, self.kv_heads, self.head_size
            )
            # Query heads that share a key head stand as rows of one small matrix.
            query = turned[:, : self.heads].view(rows, self.kv_heads, -1, self.head_size)
            attended = F.scaled_dot_product_attention(
                query,
                keys[:rows, :, : slot + 1],
                values[:rows, :, : slot + 1],
                attn_mask=visible,
            )
            x = x + F.linear(attended.reshape(rows, query_size), layer.out)
            h = F.rms_norm(x, x.shape[-1:], layer.mlp_norm, self.eps)
            gate, up = F.linear(h, layer.gate_up).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, layer.down)
        cache.used += 1
        return F.rms_norm(x, x.shape[-1:], self.final_norm, self.eps)


def rotate_half(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)

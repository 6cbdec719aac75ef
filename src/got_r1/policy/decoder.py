"""One-token steps of the language model over preallocated caches.

The weights are read where they are, never copied: adapters act beside their base weight, as in
training, so that in bfloat16 a small update is not lost by rounding it into the base. A step has no
Python value that changes with time except `span`: all else that moves is a tensor on the model's
device, so a step can be recorded as a CUDA graph. Checked against the library's own forward by
replaying every rollout.

Shapes: B rows (sequences in the batch, one query token each), D the width of the model; rows, kv
heads, slots and head size are written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from got_r1.policy.janus import Policy
from got_r1.policy.parameters import effective_weight

__all__ = ["Cache", "Decoder"]

# A prefill's padded tokens a forward pass: enough to fill a device, and the library's own copy of
# keys and values stays small beside ours (our choice).
PREFILL_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer as it acts: the base weight, and its active adapters apart from it."""

    weight: Tensor  # [in, out], a view of the module's own
    adapters: tuple[tuple[Tensor, Tensor, float], ...]  # [in, rank], [rank, out], scale

    @classmethod
    def read(cls, module: Any) -> Self:
        if not hasattr(module, "base_layer"):
            return cls(effective_weight(module).t(), ())
        weight = effective_weight(module.base_layer)
        names = () if module.disable_adapters else module.active_adapters
        adapters = (
            (
                effective_weight(module.lora_A[name]).to(weight.dtype).t(),
                effective_weight(module.lora_B[name]).to(weight.dtype).t(),
                float(module.scaling[name]),
            )
            for name in names
        )
        return cls(weight.t(), tuple(adapters))

    def write(self, x: Tensor, out: Tensor) -> None:
        """Fills out [B, out], which may be some columns of a wider tensor."""
        torch.mm(x, self.weight, out=out)
        self._adapt(x, out)

    def add(self, x: Tensor, out: Tensor) -> None:
        """Adds to out [B, out]."""
        out.addmm_(x, self.weight)
        self._adapt(x, out)

    def _adapt(self, x: Tensor, out: Tensor) -> None:
        for down, up, scale in self.adapters:
            out.addmm_(x @ down, up, alpha=scale)


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of one decoder layer."""

    attention_norm: Tensor
    query: Linear
    key: Linear
    value: Linear
    out: Linear
    mlp_norm: Tensor
    gate: Linear
    up: Linear
    down: Linear

    @classmethod
    def read(cls, layer: Any) -> Self:
        attention, mlp = layer.self_attn, layer.mlp
        return cls(
            attention_norm=effective_weight(layer.input_layernorm),
            query=Linear.read(attention.q_proj),
            key=Linear.read(attention.k_proj),
            value=Linear.read(attention.v_proj),
            out=Linear.read(attention.o_proj),
            mlp_norm=effective_weight(layer.post_attention_layernorm),
            gate=Linear.read(mlp.gate_proj),
            up=Linear.read(mlp.up_proj),
            down=Linear.read(mlp.down_proj),
        )


class Cache:
    """Keys and values of some rows: one tensor a layer, with room for the steps to come.

    What a row may see is `width` places of text, then one slot a step. The text is the row's own,
    prefilled right-padded, or a prefix that all rows share, each up to a length of its own. `bias`
    (0 or -inf, added to the scores) hides what is behind a row's text, and steps to come. Slots
    carry no position, since rotations are applied before storing, so holes cost nothing but memory.
    """

    def __init__(
        self, layers: list[Tensor], bias: Tensor, width: int, prefix: list[Tensor] | None = None
    ) -> None:
        self.layers = layers  # [keys and values: 2, rows, kv heads, slots, head size] each
        self.bias = bias  # [rows, 1, 1, width + steps]
        self.width = width
        self.prefix = prefix  # per layer [2, kv heads, width, head size]
        self.own_width = 0 if prefix else width  # slots before the first step's
        self.rows = len(bias)  # rows still in the batch; they come first
        self.taken = torch.zeros(1, dtype=torch.long, device=bias.device)  # steps so far

    @classmethod
    def empty(
        cls, decoder: Decoder, rows: int, width: int, room: int, prefix: list[Tensor] | None = None
    ) -> Self:
        """Room for `width` tokens of text and `room` steps. Zeros, because what is hidden still
        takes part in products with weight 0."""
        like = decoder.final_norm
        slots = room if prefix else width + room
        shape = (2, rows, decoder.kv_heads, slots, decoder.head_size)
        bias = like.new_full((rows, 1, 1, width + room), -torch.inf)
        return cls([like.new_zeros(shape) for _ in decoder.layers], bias, width, prefix)

    @classmethod
    def prefill(
        cls,
        decoder: Decoder,
        texts: Sequence[Tensor],
        *,
        room: int,
        repeat: int = 1,
        multiple: int = 1,
    ) -> Self:
        """Reads `texts` (int64 vectors) in parallel, each once for its `repeat` rows.

        The width is rounded up to a `multiple`.
        """
        longest = max(len(ids) for ids in texts)
        rows = len(texts) * repeat
        cache = cls.empty(decoder, rows, -(-longest // multiple) * multiple, room)
        lengths = torch.tensor([len(ids) for ids in texts]).repeat_interleave(repeat)
        cache.show_text(lengths)
        at_once = max(1, PREFILL_TOKENS // longest)
        for first in range(0, len(texts), at_once):
            some = list(texts[first : first + at_once])
            ids = nn.utils.rnn.pad_sequence(some, batch_first=True).to(decoder.device)
            out = decoder.language_model(input_ids=ids, use_cache=True)
            past = getattr(out, "cache", None) or out.past_key_values  # older transformers' name
            part = slice(first * repeat, (first + len(some)) * repeat)
            for own, layer in zip(cache.layers, past.layers, strict=True):
                for index, read in enumerate((layer.keys, layer.values)):
                    own[index, part, :, : ids.shape[1]] = read.repeat_interleave(repeat, dim=0)
        return cache

    @classmethod
    def unconditional(
        cls, decoder: Decoder, lengths: Tensor, *, first_id: int, pad_id: int, room: int
    ) -> Self:
        """Rows whose text is `first_id` and pads, `lengths` (int64 [rows]) tokens each.

        That text is the same for all rows up to its length: it is prefilled, stored and read once.
        """
        text = torch.full((int(lengths.max()),), pad_id)
        text[0] = first_id
        once = cls.prefill(decoder, [text], room=0)
        prefix = [layer[:, 0] for layer in once.layers]
        cache = cls.empty(decoder, len(lengths), len(text), room, prefix)
        cache.show_text(lengths)
        return cache

    def show_text(self, lengths: Tensor) -> None:
        """Lets each row see the first `lengths` (int64 [rows]) places of text."""
        seen = torch.arange(self.width) < lengths[:, None]
        seen = seen[:, None, None].to(self.bias.device)
        self.bias[..., : self.width].masked_fill_(seen, 0)

    def show_step(self) -> None:
        """Lets all rows see the next step's own slot."""
        self.bias[..., self.width :].index_fill_(3, self.taken, 0)

    def write(self, layer: int, new: Tensor) -> None:
        """Fills the next step's slot of one layer: [rows, keys and values: 2, kv heads, size]."""
        slots = self.layers[layer][:, : self.rows, :, self.own_width :]
        slots.index_copy_(3, self.taken, new.transpose(0, 1).unsqueeze(3))

    def attend(self, layer: int, query: Tensor, span: int) -> Tensor:
        """Attends to the text and the first `span` steps' slots, hidden ones among them.

        Query heads that share a key head stand as rows of one small matrix: query and result are
        [rows, kv heads, query heads per kv head, head size].
        """
        keys, values = self.layers[layer][:, : self.rows, :, : self.own_width + span]
        bias = self.bias[: self.rows, :, :, : self.width + span]
        if self.prefix is not None:
            return attend_in_parts(query, keys, values, bias, self.prefix[layer])
        # On a CPU the fused kernel takes half as long again as its parts do for one query a row.
        attend = attend_fused if query.is_cuda else attend_in_parts
        return attend(query, keys, values, bias)

    def keep(self, alive: Sequence[bool], rows: int, span: int) -> Tensor:
        """Shrinks the batch to `rows` rows, those in `alive` among them.

        Rows from the end move into the places of dead ones, with their text and first `span`
        steps. Returns where the kept rows stood: int64 [rows].
        """
        holes = [row for row in range(rows) if not alive[row]]
        movers = [row for row in range(rows, len(alive)) if alive[row]]
        order = torch.arange(rows)
        if movers:
            seen = self.own_width + span
            order[holes[: len(movers)]] = torch.tensor(movers)
            into, out_of = torch.tensor([holes[: len(movers)], movers], device=self.bias.device)
            for layer in self.layers:
                layer[:, into, :, :seen] = layer[:, out_of, :, :seen]
            self.bias[into] = self.bias[out_of]
        self.rows = rows
        return order.to(self.bias.device)


def attend_fused(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """What `attend_in_parts` does without a prefix, in the library's fused kernel."""
    return F.scaled_dot_product_attention(query, keys, values, attn_mask=bias)


def attend_in_parts(
    query: Tensor, keys: Tensor, values: Tensor, bias: Tensor, prefix: Tensor | None = None
) -> Tensor:
    """Attention of one query a row and head to a prefix that rows share, and to the row's own.

    query and result [rows, kv heads, query heads per kv head, size]; keys, values [rows, kv heads,
    slots, size]; prefix [keys and values: 2, kv heads, places, size]; bias [rows, 1, 1, places +
    slots].
    """
    rows, kv_heads, heads, size = query.shape
    a_row = (rows * kv_heads, heads, -1)
    both = scores(query.reshape(a_row), keys.flatten(0, 1)).view(rows, kv_heads, heads, -1)
    places = 0 if prefix is None else prefix.shape[2]
    if prefix is not None:
        # All rows meet the prefix as one matrix a key head, so it is read once.
        together = query.transpose(0, 1).reshape(kv_heads, rows * heads, size)
        shared = scores(together, prefix[0]).view(kv_heads, rows, heads, places)
        both = torch.cat([shared.transpose(0, 1), both], dim=-1)
    weights = torch.softmax(torch.add(bias, both, alpha=size**-0.5), dim=-1).to(query.dtype)
    result = torch.bmm(weights.view(a_row)[..., places:], values.flatten(0, 1)).view(query.shape)
    if prefix is not None:
        together = weights[..., :places].transpose(0, 1).reshape(kv_heads, rows * heads, places)
        shared = torch.bmm(together, prefix[1]).view(kv_heads, rows, heads, size)
        result.add_(shared.transpose(0, 1))
    return result


def scores(query: Tensor, keys: Tensor) -> Tensor:
    """[N, a, size] x [N, b, size] -> float32 [N, a, b]: rounding a score to bfloat16 would move its
    weight by a percent."""
    if query.is_cuda and query.dtype != torch.float32:
        return torch.bmm(query, keys.mT, out_dtype=torch.float32)
    return torch.bmm(query.float(), keys.mT.float())


class Decoder:
    """A policy's language model and heads for step-by-step decoding.

    Good until the policy's next update: weights are read in place, but the table of image
    embeddings is made here.
    """

    def __init__(self, policy: Policy) -> None:
        janus = policy.model.model
        self.language_model = janus.language_model
        self.lm_head = policy.model.lm_head
        self.image_head = janus.generation_head
        config = janus.language_model.config
        self.layers = [Layer.read(layer) for layer in janus.language_model.layers]
        self.final_norm = effective_weight(janus.language_model.norm)
        self.eps = config.rms_norm_eps
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.head_size = config.head_dim
        with torch.no_grad():
            places = torch.arange(policy.context, device=policy.device)[None]
            cos, sin = janus.language_model.rotary_emb(self.final_norm, places)
            # Rotating by halves is a roll whose first half changes sign.
            sin[..., : self.head_size // 2].neg_()
            self.cos, self.sin = cos[0], sin[0]
            codes = torch.arange(janus.generation_embeddings.num_embeddings, device=policy.device)
            self.image_table = policy.embed_image_tokens(codes)

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self.final_norm.device

    def embed_text(self, token_ids: Tensor) -> Tensor:
        """int64 [B] -> [B, D]"""
        return F.embedding(token_ids, self.language_model.embed_tokens.weight)

    def embed_image(self, image_ids: Tensor) -> Tensor:
        """int64 [B] -> [B, D]"""
        return F.embedding(image_ids, self.image_table)

    def text_logits(self, states: Tensor) -> Tensor:
        """[B, D] -> float32 [B, vocabulary]"""
        return self.lm_head(states).float()

    def image_logits(self, states: Tensor) -> Tensor:
        """[B, D] -> float32 [B, codebook]"""
        return self.image_head(states).float()

    def step(self, inputs: Tensor, positions: Tensor, caches: Sequence[Cache], span: int) -> Tensor:
        """Feeds one token a row: inputs [B, D] at positions int64 [B]; returns states [B, D].

        The rows are those of the caches, one after the other. `span`: an upper bound of the steps
        taken so far, this one included.
        """
        rows, size = len(inputs), self.head_size
        queries, keys = self.heads * size, self.kv_heads * size
        fused = inputs.new_empty(rows, queries + 2 * keys)
        # Views of what the projections fill: [B, heads, head size], and what is stored.
        rotated = fused[:, : queries + keys].view(rows, -1, size)
        query = fused[:, :queries].view(rows, self.kv_heads, -1, size)
        stored = fused[:, queries:].view(rows, 2, self.kv_heads, size)
        attended = inputs.new_empty(rows, queries)
        cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]  # [B, 1, head size]
        parts: list[tuple[Cache, slice]] = []
        for cache in caches:
            cache.show_step()
            first = parts[-1][1].stop if parts else 0
            parts.append((cache, slice(first, first + cache.rows)))
        x = inputs.clone()
        for index, layer in enumerate(self.layers):
            h = F.rms_norm(x, x.shape[-1:], layer.attention_norm, self.eps)
            layer.query.write(h, fused[:, :queries])
            layer.key.write(h, fused[:, queries : queries + keys])
            layer.value.write(h, fused[:, queries + keys :])
            rolled = rotated.roll(size // 2, dims=-1)
            rotated.mul_(cos).addcmul_(rolled, sin)
            for cache, part in parts:
                cache.write(index, stored[part])
                result = cache.attend(index, query[part], span)
                attended[part].view(result.shape).copy_(result)
            layer.out.add(attended, x)
            h = F.rms_norm(x, x.shape[-1:], layer.mlp_norm, self.eps)
            inner = h.new_empty(2, rows, layer.gate.weight.shape[1])
            layer.gate.write(h, inner[0])
            layer.up.write(h, inner[1])
            layer.down.add(F.silu(inner[0], inplace=True).mul_(inner[1]), x)
        for cache in caches:
            cache.taken.add_(1)
        return F.rms_norm(x, x.shape[-1:], self.final_norm, self.eps)

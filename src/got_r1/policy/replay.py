"""Whole sequences as tensors, and the log-probabilities of their tokens.

The parts of a replay that know no weights: `TokenBatch` goes in, `Replay` comes out, and
`select_in_chunks` keeps the logits between them small.

Shapes, here and in `janus`: B sequences; T text tokens (prompt, then chain, padded behind), of
which C are the padded chain's; I image tokens; D the width of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from got_r1.records import Rollout

__all__ = ["LogprobMode", "Replay", "TokenBatch", "chain_places", "select_in_chunks"]

LogprobMode = Literal["conditional", "guided"]

# Logits that exist at once in a replay, 256 MiB in float32 (our choice): with the official
# vocabulary 655 tokens, enough for a matrix product to run at full speed.
LOGITS_AT_ONCE = 1 << 26


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Whole sequences, right-padded: prompt, chain with its `<begin_of_image>`, image tokens."""

    text_ids: Tensor  # int64 [B, T], prompt then chain, padded behind
    prompt_lengths: Tensor  # int64 [B]
    text_lengths: Tensor  # int64 [B], prompt and chain, <begin_of_image> included
    image_ids: Tensor  # int64 [B, I]

    @classmethod
    def pack(
        cls, prompts: Sequence[Tensor], chains: Sequence[Tensor], image_ids: Tensor, pad_id: int
    ) -> TokenBatch:
        """Joins and pads B prompts and B chains (int64 vectors)."""
        texts = [torch.cat(pair) for pair in zip(prompts, chains, strict=True)]
        return cls(
            text_ids=nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=pad_id),
            prompt_lengths=torch.tensor([len(p) for p in prompts]),
            text_lengths=torch.tensor([len(t) for t in texts]),
            image_ids=image_ids,
        )

    @classmethod
    def from_rollout(cls, rollout: Rollout, pad_id: int) -> TokenBatch:
        """The sequences of a rollout, forced tokens included: the context of what follows them."""
        chains = rollout.chains
        return cls.pack(chains.prompt_ids, chains.token_ids, rollout.image_ids, pad_id)

    def to(self, device: torch.device) -> Self:
        """The batch on `device`."""
        tensors = (self.text_ids, self.prompt_lengths, self.text_lengths, self.image_ids)
        return type(self)(*(tensor.to(device) for tensor in tensors))

    def __len__(self) -> int:
        return len(self.text_ids)

    def __getitem__(self, rows: slice | Tensor) -> TokenBatch:
        lengths = self.text_lengths[rows]
        longest = int(lengths.max())
        return TokenBatch(
            self.text_ids[rows, :longest], self.prompt_lengths[rows], lengths, self.image_ids[rows]
        )

    def unconditional(self, pad_id: int, rows: Tensor | None = None) -> TokenBatch:
        """The batch with prompt and chain hidden: every text token but the first and the last
        (`<begin_of_image>`) becomes the pad token, as the official guidance does. With `rows`
        (bool [B]) only those rows."""
        place = torch.arange(self.text_ids.shape[1], device=self.text_ids.device)
        hidden = (place > 0) & (place < self.text_lengths[:, None] - 1)
        if rows is not None:
            hidden &= rows[:, None]
        text_ids = self.text_ids.masked_fill(hidden, pad_id)
        return TokenBatch(text_ids, self.prompt_lengths, self.text_lengths, self.image_ids)

    @property
    def chain_mask(self) -> Tensor:
        """bool [B, C]: which places of the padded chain (C the longest) hold a token."""
        lengths = self.text_lengths - self.prompt_lengths
        return torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]


class Replay(NamedTuple):
    """Teacher-forced log-probabilities and entropies of one batch, float32, 0 where padded."""

    chain_logprobs: Tensor  # [B, C]
    image_logprobs: Tensor  # [B, I]
    chain_entropy: Tensor  # [B, C], detached
    image_entropy: Tensor  # [B, I], detached


def chain_places(batch: TokenBatch) -> Tensor:
    """bool [B, T]: the places of `text_ids` that hold chain tokens."""
    place = torch.arange(batch.text_ids.shape[1], device=batch.text_ids.device)
    return (place >= batch.prompt_lengths[:, None]) & (place < batch.text_lengths[:, None])


def select_in_chunks(
    logits_of: Callable[..., Tensor], states: tuple[Tensor, ...], targets: Tensor, classes: int
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of `targets` [N] and the distributions' entropies [N] (detached).

    `logits_of` makes float32 logits [n, classes] of n rows of each of `states` (each [N, D]). No
    more than about `LOGITS_AT_ONCE` exist at a time: where there are more, they come in chunks, and
    the backward pass makes each chunk's again. Fused losses (torch's `linear_cross_entropy`, Liger)
    do not fit: they want each token's weight in the loss before its log-probability is known, and
    know no guidance.
    """

    def select(*rows: Tensor) -> tuple[Tensor, Tensor]:
        *chunk, wanted = rows
        logprobs = F.log_softmax(logits_of(*chunk), dim=-1)
        chosen = logprobs.gather(-1, wanted[:, None]).squeeze(-1)
        with torch.no_grad():
            entropy = -(logprobs.exp() * logprobs).sum(-1)
        return chosen, entropy

    size = max(1, LOGITS_AT_ONCE // (classes * len(states)))
    if len(targets) <= size:
        return select(*states, targets)
    chunks = zip(*(tensor.split(size) for tensor in (*states, targets)), strict=True)
    selected = [checkpoint(select, *chunk, use_reentrant=False) for chunk in chunks]
    chosen, entropies = zip(*selected, strict=True)
    return torch.cat(chosen), torch.cat(entropies)

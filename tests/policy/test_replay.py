"""The replay's log-probabilities in chunks: the same numbers, without the logits in one piece."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from got_r1.policy import replay as replay_module
from got_r1.policy.janus import Policy, TokenBatch

CHUNK = 9_000  # logits at once


def make_batch(policy: Policy) -> TokenBatch:
    """Six rows of various lengths."""
    generator = torch.Generator().manual_seed(0)
    prompts = [policy.encode_prompt("a red heart " * count) for count in (1, 2, 1, 3, 1, 2)]
    words = policy.model.config.text_config.vocab_size
    chains = [torch.randint(20, words, (20 + 9 * i,), generator=generator) for i in range(6)]
    sizes = (len(prompts), policy.image_tokens)
    codes = policy.model.config.vq_config.num_embeddings
    image_ids = torch.randint(codes, sizes, generator=generator)
    return TokenBatch.pack(prompts, chains, image_ids, policy.pad_id)


def gradients(policy: Policy, batch: TokenBatch, mode: str) -> tuple[list[Tensor], list[Tensor]]:
    """A replay's four tensors, and the gradients of a sum of its log-probs with uneven weights."""
    policy.model.requires_grad_(True)
    policy.model.zero_grad()
    found = policy.replay(
        batch, mode=mode, guidance=3.0, chain_temperature=0.9, image_temperature=1.1
    )
    loss = torch.zeros(())
    for logprobs in (found.chain_logprobs, found.image_logprobs):
        loss = loss + (logprobs * torch.linspace(-1, 2, logprobs.numel()).view_as(logprobs)).mean()
    loss.backward()
    grads = [p.grad for p in policy.model.parameters() if p.grad is not None]
    return [tensor.detach() for tensor in found], grads


class LargestLogits(TorchDispatchMode):
    """Remembers the largest tensor of last dimension `classes`, transposed weights aside."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes, self.weight, self.largest = classes, (width, classes), 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if not isinstance(leaf, Tensor) or leaf.shape == self.weight:
                continue
            if leaf.shape[-1:] == (self.classes,):
                self.largest = max(self.largest, leaf.numel())
        return result


@pytest.mark.parametrize("mode", ["conditional", "guided"])
def test_chunks_change_neither_values_nor_gradients(
    own_policy: Policy, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_batch(own_policy)
    whole, whole_gradients = gradients(own_policy, batch, mode)
    monkeypatch.setattr(replay_module, "LOGITS_AT_ONCE", CHUNK)
    chunked, chunked_gradients = gradients(own_policy, batch, mode)
    for one, other in zip(whole, chunked, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    assert len(whole_gradients) == len(chunked_gradients)
    for one, other in zip(whole_gradients, chunked_gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_chunks_are_made_again_with_the_same_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head may have adapters with dropout: the backward pass needs the forward pass's masks."""
    monkeypatch.setattr(replay_module, "LOGITS_AT_ONCE", 2 * 5)
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    targets = torch.randint(5, (6,), generator=generator)

    def logprobs(weight: Tensor) -> Tensor:
        torch.manual_seed(1)

        def logits(rows: Tensor) -> Tensor:
            return torch.nn.functional.dropout(rows, 0.5) @ weight

        return replay_module.select_in_chunks(logits, (states,), targets, classes=5)[0]

    weight = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(logprobs, (weight,))


@pytest.mark.parametrize("head", ["chain", "image"])
def test_no_pass_holds_more_logits_than_a_chunk(
    own_policy: Policy, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = own_policy.model.config
    classes = config.text_config.vocab_size if head == "chain" else config.vq_config.num_embeddings
    batch = make_batch(own_policy)
    with LargestLogits(classes, config.text_config.hidden_size) as whole:
        gradients(own_policy, batch, "guided")
    assert whole.largest > 5 * CHUNK, "the batch must be large enough to tell"
    monkeypatch.setattr(replay_module, "LOGITS_AT_ONCE", CHUNK)
    with LargestLogits(classes, config.text_config.hidden_size) as chunked:
        gradients(own_policy, batch, "guided")
    assert 0 < chunked.largest <= CHUNK

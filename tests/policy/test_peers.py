"""Our sampler against the library's own ways of sampling, as `bench/` measures them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from got_r1.icons.prompts import prompt_list
from got_r1.policy.janus import Policy

BENCH = Path(__file__).parents[2] / "bench"
LIMIT = 150


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_all_three_choose_the_same_greedy_tokens(
    shipped: Policy, monkeypatch: pytest.MonkeyPatch, guidance: float
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import peers
    import rollout

    prompts = prompt_list("dev", 3, 0)
    found = rollout.ours(shipped, prompts, limit=LIMIT, guidance=guidance)
    assert len({len(chain) for chain in found.chains}) > 1, "chains of different lengths"
    assert all(len(chain) <= LIMIT for chain in found.chains), "that ended by themselves"
    others: tuple[Callable[..., peers.Drawn], ...] = (peers.one_at_a_time, peers.whole_batch)
    for other in others:
        expected = other(shipped, prompts, limit=LIMIT, guidance=guidance, margins=True)
        assert peers.compare(expected, found, rollout.TIE) == 0
        expected.images[1][7] ^= 1
        with pytest.raises(AssertionError, match="sample 1 parts at token"):
            peers.compare(expected, found, rollout.TIE)

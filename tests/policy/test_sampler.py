"""The sampler against the replay, and what a rollout promises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from got_r1.errors import BadInput
from got_r1.policy import decoder, janus
from got_r1.policy import sampler as sampler_module
from got_r1.policy.decoder import Cache, Linear
from got_r1.policy.draws import draw, invert
from got_r1.policy.janus import Policy, TokenBatch
from got_r1.policy.parameters import effective_weight
from got_r1.policy.sampler import DecodeSchedule, Sampler, smaller
from got_r1.records import Prompt, Rollout

PROMPTS = [
    Prompt("a red heart and a blue star"),
    Prompt("two towers"),
    Prompt("a green horse on the left of a dotted yellow moon"),
]
TOLERANCE = 1e-4


def roll_out(policy: Policy, guidance: float, limit: int = 24, seed: int = 3) -> Rollout:
    sampler = Sampler(policy)
    chains = sampler.write_chains(PROMPTS, 3, seed=seed, limit=limit, temperature=0.9)
    return sampler.draw_images(chains, guidance=guidance, temperature=1.1)


def padded(values: tuple[Tensor, ...]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(values), batch_first=True)


def largest_gap(policy: Policy, rollout: Rollout, mode: str) -> float:
    with torch.no_grad():
        replay = policy.replay(
            TokenBatch.from_rollout(rollout, policy.pad_id),
            mode=mode,
            guidance=rollout.guidance,
            chain_temperature=0.9,
            image_temperature=1.1,
        )
    sampled = padded(rollout.chains.loss_mask)
    chain_gap = (replay.chain_logprobs - padded(rollout.chains.logprobs))[sampled].abs().max()
    image_gap = (replay.image_logprobs - rollout.image_logprobs).abs().max()
    return max(chain_gap.item(), image_gap.item())


# -- replay ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "guidance"), [("conditional", 1.0), ("guided", 3.0)])
def test_replay_reproduces_the_samplers_logprobs(
    policy: Policy, mode: str, guidance: float
) -> None:
    assert largest_gap(policy, roll_out(policy, guidance), mode) < TOLERANCE


@pytest.mark.parametrize(("mode", "guidance"), [("conditional", 1.0), ("guided", 3.0)])
def test_replay_reproduces_them_after_a_lora_update(
    lora_policy: Policy, mode: str, guidance: float
) -> None:
    before = roll_out(lora_policy, guidance)
    optimizer = torch.optim.AdamW(lora_policy.trainable().values(), lr=0.05)
    batch = TokenBatch.from_rollout(before, lora_policy.pad_id)
    for _ in range(3):
        replay = lora_policy.replay(batch, mode=mode, guidance=guidance)
        (-replay.image_logprobs.mean() - replay.chain_logprobs.mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert largest_gap(lora_policy, before, mode) > 0.01, "the update must have changed the policy"
    assert largest_gap(lora_policy, roll_out(lora_policy, guidance), mode) < TOLERANCE


def test_replay_reproduces_them_in_bfloat16(lora_policy: Policy) -> None:
    # Rounding makes single tokens part by a few percent; a wrong mask, position or adapter would
    # move the mean by far more.
    with torch.no_grad():
        for parameter in lora_policy.trainable().values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    lora_policy.model.to(torch.bfloat16)
    rollout = roll_out(lora_policy, 3.0)
    assert rollout.image_logprobs.dtype == rollout.chains.logprobs[0].dtype == torch.float32
    with torch.no_grad():
        replay = lora_policy.replay(
            TokenBatch.from_rollout(rollout, lora_policy.pad_id),
            mode="guided",
            guidance=3.0,
            chain_temperature=0.9,
            image_temperature=1.1,
        )
    sampled = padded(rollout.chains.loss_mask)
    chain_gap = (replay.chain_logprobs - padded(rollout.chains.logprobs))[sampled].abs().mean()
    image_gap = (replay.image_logprobs - rollout.image_logprobs).abs().mean()
    assert max(chain_gap.item(), image_gap.item()) < 0.05


def test_greedy_tokens_carry_their_logprobs_at_temperature_1(policy: Policy) -> None:
    sampler = Sampler(policy)
    drawn = []
    for seed in (0, 1):
        chains = sampler.write_chains(PROMPTS, seed=seed, limit=8, temperature=0)
        drawn.append(sampler.draw_images(chains, guidance=3.0, temperature=0))
    assert torch.equal(drawn[0].image_ids, drawn[1].image_ids), "greedy knows no seed"
    with torch.no_grad():
        replay = policy.replay(
            TokenBatch.from_rollout(drawn[0], policy.pad_id), mode="guided", guidance=3.0
        )
    sampled = padded(drawn[0].chains.loss_mask)
    gap = replay.chain_logprobs - padded(drawn[0].chains.logprobs)
    assert gap[sampled].abs().max() < TOLERANCE
    assert (replay.image_logprobs - drawn[0].image_logprobs).abs().max() < TOLERANCE


def test_conditional_replay_of_a_guided_rollout_is_another_distribution(policy: Policy) -> None:
    assert largest_gap(policy, roll_out(policy, 3.0), "conditional") > 0.01


def test_each_head_learns_only_from_its_own_tokens(own_policy: Policy) -> None:
    batch = TokenBatch.from_rollout(roll_out(own_policy, 1.0), own_policy.pad_id)
    heads = (own_policy.model.lm_head, own_policy.model.model.generation_head)
    touched = []
    for part in ("chain_logprobs", "image_logprobs"):
        own_policy.model.zero_grad()
        getattr(own_policy.replay(batch), part).sum().backward()
        touched.append([any(p.grad is not None for p in head.parameters()) for head in heads])
    assert touched == [[True, False], [False, True]]


def test_micro_batches_replay_like_the_whole(policy: Policy) -> None:
    batch = TokenBatch.from_rollout(roll_out(policy, 2.0), policy.pad_id)
    with torch.no_grad():
        whole = policy.replay(batch, mode="guided", guidance=2.0)
        rows = torch.tensor([7, 2])
        part = policy.replay(batch[rows], mode="guided", guidance=2.0)
    width = part.chain_logprobs.shape[1]
    torch.testing.assert_close(part.image_logprobs, whole.image_logprobs[rows])
    torch.testing.assert_close(part.chain_logprobs, whole.chain_logprobs[rows, :width])


def test_unconditional_hides_all_text_but_the_first_and_last_token(policy: Policy) -> None:
    batch = TokenBatch.from_rollout(roll_out(policy, 1.0), policy.pad_id)
    hidden = batch.unconditional(policy.pad_id)
    for ids, length in zip(hidden.text_ids, hidden.text_lengths, strict=True):
        text = ids[:length].tolist()
        assert text[0] == policy.bos_id
        assert text[-1] == policy.begin_of_image_id
        assert set(text[1:-1]) == {policy.pad_id}


# -- what a rollout records ------------------------------------------------------------------------


def test_a_forced_begin_of_image_is_no_action(policy: Policy) -> None:
    chains = Sampler(policy).write_chains(PROMPTS, 4, seed=0, limit=5)
    assert "length" in chains.stops
    for ids, mask, logprobs, stop in zip(
        chains.token_ids, chains.loss_mask, chains.logprobs, chains.stops, strict=True
    ):
        assert ids[-1] == policy.begin_of_image_id
        assert mask[:-1].all()
        assert bool(mask[-1]) == (stop == "begin_of_image")
        if stop != "begin_of_image":
            assert logprobs[-1] == 0
        if stop == "length":
            assert len(ids) == 6


def test_given_chains_hold_no_actions(policy: Policy) -> None:
    text = "A <|obj_start|>red heart<|obj_end|> <|box_start|>(0,0),(400,400)<|box_end|>."
    chains = Sampler(policy).given_chains(PROMPTS[:1], [text], seed=0)
    assert chains.texts == (text,)
    assert policy.decode_chain(chains.token_ids[0]) == text
    assert not chains.loss_mask[0].any()
    rollout = Sampler(policy).draw_images(chains, guidance=2.0)
    assert policy.decode_images(rollout.image_ids).shape == (1, 40, 40, 3)


def test_many_images_are_decoded_as_each_alone(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = torch.randint(0, 64, (7, policy.image_tokens))
    monkeypatch.setattr(janus, "decoded_at_once", lambda size: 3)
    together = policy.decode_images(ids)
    alone = np.concatenate([policy.decode_images(one[None]) for one in ids])
    assert together.shape == (7, 40, 40, 3)
    assert np.abs(together.astype(int) - alone.astype(int)).max() <= 1  # a rounding of pixels


def test_a_sample_does_not_depend_on_its_neighbours(policy: Policy) -> None:
    # Another batch size may round differently in the last bit, which moves a token only where the
    # noise falls within about 1e-6 of a boundary: odds of a false alarm below 1 in 1,000.
    together = roll_out(policy, 2.0)
    sampler = Sampler(policy)
    for row in (0, 4, 8):
        prompt, sample = together.chains.prompts[row], together.chains.sample_ids[row]
        alone = sampler.write_chains(
            [prompt], 1, seed=3, limit=24, temperature=0.9, first_sample=sample
        )
        assert alone.token_ids[0].tolist() == together.chains.token_ids[row].tolist()
        image = sampler.draw_images(alone, guidance=2.0, temperature=1.1)
        assert image.image_ids[0].tolist() == together.image_ids[row].tolist()


def test_the_pace_and_the_prefills_parts_change_nothing(
    shipped: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU does differently, graphs apart: shapes in steps, rare looks, dead rows kept."""
    whole = Sampler(shipped).write_chains(PROMPTS, 3, seed=3, limit=150, temperature=0.9)
    limit = sorted(len(ids) for ids in whole.token_ids)[4]  # some end by themselves, some do not
    expected = roll_out(shipped, 2.0, limit=limit)
    assert set(expected.chains.stops) == {"begin_of_image", "length"}
    monkeypatch.setattr(decoder, "PREFILL_TOKENS", 40)
    monkeypatch.setattr(sampler_module, "LENGTH_GROUP", 4)
    sampler = Sampler(
        shipped, DecodeSchedule(bucket=16, sync_every=5, halve_batch=True, graphs=False)
    )
    chains = sampler.write_chains(PROMPTS, 3, seed=3, limit=limit, temperature=0.9)
    found = sampler.draw_images(chains, guidance=2.0, temperature=1.1)
    assert chains.stops == expected.chains.stops
    for a, b in zip(chains.token_ids, expected.chains.token_ids, strict=True):
        assert torch.equal(a, b)
    assert torch.equal(found.image_ids, expected.image_ids)
    torch.testing.assert_close(
        found.image_logprobs, expected.image_logprobs, atol=TOLERANCE, rtol=0
    )


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 7, 100])
def test_parts_change_nothing_and_stay_small(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    # 9 samples, 3 of a prompt: parts of a group, of one group, of two. Odds of a false alarm as
    # above: below 1 in 1,000.
    whole = roll_out(policy, 2.0)
    rows: list[int] = []
    empty = Cache.empty.__func__  # type: ignore[attr-defined]

    def counted(cls: type[Cache], *args: object, **options: object) -> Cache:
        cache: Cache = empty(cls, *args, **options)
        rows.append(cache.rows)
        return cache

    monkeypatch.setattr(Cache, "empty", classmethod(counted))
    sampler = Sampler(policy, at_once=at_once)
    chains = sampler.write_chains(PROMPTS, 3, seed=3, limit=24, temperature=0.9)
    found = sampler.draw_images(chains, guidance=2.0, temperature=1.1)
    assert max(rows) <= at_once
    assert chains.sample_ids == whole.chains.sample_ids
    assert (chains.stops, chains.texts) == (whole.chains.stops, whole.chains.texts)
    for a, b in zip(chains.token_ids, whole.chains.token_ids, strict=True):
        assert torch.equal(a, b)
    torch.testing.assert_close(padded(chains.logprobs), padded(whole.chains.logprobs))
    assert torch.equal(found.image_ids, whole.image_ids)
    torch.testing.assert_close(found.image_logprobs, whole.image_logprobs)
    assert largest_gap(policy, found, "guided") < TOLERANCE


@pytest.mark.parametrize("at_once", [0, 4])
def test_watching_shows_every_row_growing_and_changes_nothing(policy: Policy, at_once: int) -> None:
    seen: dict[tuple[str, int], list[Tensor]] = {}

    def watch(stage: str, rows: Sequence[int], ids: Tensor) -> None:
        for row, some in zip(rows, ids, strict=True):
            seen.setdefault((stage, row), []).append(some)

    def rolled(sampler: Sampler) -> Rollout:
        chains = sampler.write_chains(PROMPTS, 3, seed=3, limit=24)
        return sampler.draw_images(chains, guidance=2.0)

    plain, watched = rolled(Sampler(policy)), rolled(Sampler(policy, at_once=at_once, watch=watch))
    assert watched.image_ids.equal(plain.image_ids)
    assert watched.chains.texts == plain.chains.texts
    assert set(seen) == {(stage, row) for stage in ("chain", "image") for row in range(9)}
    for row in range(9):
        chain = watched.chains.token_ids[row][watched.chains.loss_mask[row]]
        assert seen["chain", row][-1][: len(chain)].equal(chain)
        rows = seen["image", row]
        assert [len(ids) for ids in rows] == list(
            range(policy.grid, policy.image_tokens + 1, policy.grid)
        )
        assert all(ids.equal(watched.image_ids[row][: len(ids)]) for ids in rows)


def test_what_a_watch_raises_ends_the_call(policy: Policy) -> None:
    def leave(stage: str, rows: Sequence[int], ids: Tensor) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Sampler(policy, watch=leave).write_chains(PROMPTS, seed=3, limit=24)


def test_no_weight_is_copied(policy: Policy) -> None:
    for layer, module in zip(
        Sampler(policy).decoder.layers, policy.model.model.language_model.layers, strict=True
    ):
        assert layer.query.weight.data_ptr() == module.self_attn.q_proj.weight.data_ptr()
        assert layer.down.weight.data_ptr() == module.mlp.down_proj.weight.data_ptr()


def test_small_updates_act_in_bfloat16_as_in_training(lora_policy: Policy) -> None:
    # Ten steps of 1e-5 on each entry: a merged weight would round much of it away.
    module = lora_policy.model.model.language_model.layers[0].mlp.gate_proj.to(torch.bfloat16)
    torch.manual_seed(0)
    x = torch.randn(2048, module.in_features).bfloat16()
    with torch.no_grad():
        up = module.lora_B["default"].weight
        up.copy_(1e-4 * torch.randn_like(up).sign())
        base = module.base_layer(x)
        applied = torch.empty_like(base)
        Linear.read(module).write(x, applied)
        trained = (module(x) - base).float()
        merged = (x @ effective_weight(module).t() - base).float()

    def share(update: torch.Tensor) -> float:
        return float((update * trained).sum() / trained.square().sum())

    assert share((applied - base).float()) == pytest.approx(1, abs=0.1)
    assert share(merged) < 0.8


@pytest.mark.parametrize(
    ("rows", "alive", "halve", "left"),
    [(9, 5, False, 5), (16, 9, True, 16), (16, 8, True, 8), (9, 2, True, 2), (9, 3, True, 3)],
)
def test_the_batch_shrinks(rows: int, alive: int, halve: bool, left: int) -> None:
    assert smaller(rows, alive, halve) == left


def test_samples_of_a_group_and_seeds_differ(policy: Policy) -> None:
    first, second = roll_out(policy, 1.0, seed=3), roll_out(policy, 1.0, seed=4)
    assert not torch.equal(first.image_ids[0], first.image_ids[1])
    assert not torch.equal(first.image_ids[0], second.image_ids[0])


def test_prompts_in_other_words_share_the_noise_of_a_given_key(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Tensor] = []
    uniforms = sampler_module.uniforms

    def noted(*arguments: object) -> Tensor:
        made.append(uniforms(*arguments))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(sampler_module, "uniforms", noted)
    for prompt, key in ((PROMPTS[0], None), (PROMPTS[1], PROMPTS[0].text), (PROMPTS[1], None)):
        sampler = Sampler(policy, keyed_by=key)
        chains = sampler.write_chains([prompt], 2, seed=4, limit=8)
        sampler.draw_images(chains)
    assert all(map(torch.equal, made[:2], made[2:4]))
    assert not any(map(torch.equal, made[:2], made[4:]))


def test_noise_inverts_the_cumulative_distribution() -> None:
    # 20,000 evenly spread draws: the counts may miss their expectation by rounding only.
    logits = torch.tensor([[0.0, 1.0, -2.0, 3.0]]).expand(20_000, -1)
    noise = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    ids, logprobs = draw(logits, noise)
    expected = torch.softmax(logits[0], 0) * 20_000
    assert (torch.bincount(ids, minlength=4) - expected).abs().max() <= 1
    torch.testing.assert_close(logprobs, torch.log_softmax(logits[0], 0)[ids])


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 700), st.integers(0, 2**32 - 1))
def test_two_levels_invert_like_one(size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mass = torch.rand(8, size, generator=generator).pow(8)
    mass[:, size - size // 3 :] = 0  # what cannot be drawn, at the end where rounding would land
    noise = torch.rand(8, 1, generator=generator, dtype=torch.float64)
    noise[0], noise[1] = 0, 1 - 2**-53
    found = invert(mass, noise)
    assert (mass.gather(1, found) > 0).all()
    cumulative = mass.double().cumsum(-1)
    target = noise * cumulative[:, -1:]
    close = 1e-6 * cumulative[:, -1:]
    assert (cumulative.gather(1, found) > target - close).all()
    assert ((cumulative - mass).gather(1, found) <= target + close).all()


def test_sampled_tokens_follow_the_policys_distribution(policy: Policy) -> None:
    # Chi-square over the first image token of 4,000 samples of one chain; a correct sampler fails
    # with odds of 1 in 10,000, and the seed is fixed.
    text = ["A <|obj_start|>red heart<|obj_end|> <|box_start|>(0,0),(400,400)<|box_end|>."]
    sampler = Sampler(policy)
    chains = sampler.given_chains(PROMPTS[:1], text, seed=0)
    states = sampler.decoder
    cache = Cache.prefill(
        states, [torch.cat([chains.prompt_ids[0], chains.token_ids[0]])[:-1]], room=1
    )
    length = len(chains.prompt_ids[0]) + len(chains.token_ids[0])
    with torch.no_grad():
        hidden = states.step(
            states.embed_text(torch.tensor([policy.begin_of_image_id])),
            torch.tensor([length - 1]),
            [cache],
            span=1,
        )
        logits = states.image_logits(hidden)
    noise = torch.rand(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ids, _ = draw(logits.expand(4000, -1), noise)
    order = logits[0].argsort()
    bins = torch.bincount(ids, minlength=logits.shape[1])[order].view(32, -1).sum(1)
    expected = torch.softmax(logits[0].double(), 0)[order].view(32, -1).sum(1) * 4000
    assert stats.chisquare(bins.numpy(), expected.numpy()).pvalue > 1e-4


# -- the cache -------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 3))
def test_keep_moves_whole_rows(alive: list[bool], spare: int) -> None:
    rows = len(alive)
    content = torch.arange(rows, dtype=torch.float32)[:, None, None, None].expand(2, rows, 2, 5, 3)
    bias = -(torch.arange(rows, dtype=torch.float32) % 5)[:, None, None, None].expand(rows, 1, 1, 5)
    cache = Cache([content.clone()], bias.clone(), width=3)
    left = min(rows, sum(alive) + spare)
    order = cache.keep(alive, left, span=1)
    assert {row for row, lives in enumerate(alive) if lives} <= set(order.tolist())
    assert len(set(order.tolist())) == cache.rows == left
    for place, row in enumerate(order.tolist()):
        assert (cache.layers[0][:, place, :, :4] == row).all()
        assert torch.equal(cache.bias[place], bias[row])


def test_attention_in_parts_is_attention() -> None:
    """With and without a shared prefix, grouped heads, hidden slots: against the fused kernel."""
    torch.manual_seed(0)
    rows, places, slots, size = 5, 7, 6, 8
    query = torch.randn(rows, 2, 3, size)
    keys, values = torch.randn(2, rows, 2, slots, size)
    prefix = torch.randn(2, 2, places, size)
    bias = torch.zeros(rows, 1, 1, places + slots)
    bias[torch.rand(bias.shape) < 0.3] = -torch.inf
    bias[..., -1] = 0
    whole = torch.cat(
        [prefix[:, None].expand(-1, rows, -1, -1, -1), torch.stack([keys, values])], dim=3
    )
    expected = decoder.attend_fused(query, whole[0], whole[1], bias)
    found = decoder.attend_in_parts(query, keys, values, bias, prefix)
    torch.testing.assert_close(found, expected)
    found = decoder.attend_in_parts(query, whole[0], whole[1], bias)
    torch.testing.assert_close(found, expected)


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"), [("  ", "empty"), ("a red heart " * 500, "shorten the prompt")]
)
def test_prompts_that_cannot_be_sampled_are_refused(policy: Policy, text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Sampler(policy).write_chains([Prompt(text)], 1, seed=0, limit=10)

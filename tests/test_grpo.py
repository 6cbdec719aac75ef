"""GRPO against numbers worked out by hand, against TRL, and its invariances."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from got_r1 import grpo

NAN = math.nan

# -- advantages ----------------------------------------------------------------------------------


def test_advantages_by_hand():
    # Mean 2; sample std sqrt((1 + 0 + 1) / 2) = 1; values (r - 2) / 1.0001.
    result = grpo.advantages(torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64))
    expected = torch.tensor([[-1 / 1.0001, 0.0, 1 / 1.0001]], dtype=torch.float64)
    torch.testing.assert_close(result.values, expected, rtol=1e-12, atol=1e-12)
    assert result.mean.tolist() == [2.0]
    assert result.std.tolist() == [1.0]
    assert result.keep.all()
    assert (result.skipped_groups, result.dropped_samples) == (0, 0)


def test_advantages_without_std_are_differences_to_the_mean():
    result = grpo.advantages(torch.tensor([[0.0, 0.5, 1.0, 0.5]]), std_normalisation=False)
    assert result.values.tolist() == [[-0.5, 0.0, 0.5, 0.0]]


def test_dropped_samples_leave_mean_and_std():
    # Kept: 1 and 3. Mean 2, std sqrt((1 + 1) / 1) = sqrt(2).
    rewards = torch.tensor([[1.0, NAN, 3.0]])
    result = grpo.advantages(rewards, torch.tensor([[True, False, True]]))
    value = 1 / (math.sqrt(2) + 1e-4)
    torch.testing.assert_close(result.values, torch.tensor([[-value, 0.0, value]]))
    assert result.keep.tolist() == [[True, False, True]]
    assert result.dropped_samples == 1


def test_groups_that_say_nothing_are_counted_and_masked():
    rewards = torch.tensor([[0.1, 0.1, 0.1], [NAN, 0.4, NAN], [NAN, NAN, NAN], [0.0, 0.0, 1.0]])
    result = grpo.advantages(rewards, ~rewards.isnan())
    assert result.skipped_groups == 3
    assert result.dropped_samples == 5
    assert result.keep.tolist() == [[False] * 3, [False] * 3, [False] * 3, [True] * 3]
    assert result.values[:3].eq(0).all()
    assert result.mean.tolist() == pytest.approx([0.1, 0.4, 0.0, 1 / 3])


@pytest.mark.parametrize(
    ("rewards", "keep"),
    [
        (torch.tensor([1.0, 2.0]), None),
        (torch.tensor([[1.0, NAN]]), None),
        (torch.tensor([[1.0, 2.0]]), torch.tensor([[1, 1]])),
        (torch.tensor([[1.0, 2.0]]), torch.tensor([[True]])),
    ],
)
def test_advantages_refuse_what_they_cannot_read(rewards: Tensor, keep: Tensor | None):
    with pytest.raises(ValueError, match=r"reward|keep"):
        grpo.advantages(rewards, keep)


GROUPS = st.integers(2, 6).flatmap(
    lambda size: st.lists(
        # Hundredths: the spread of a group is either 0 or far above rounding.
        st.lists(st.integers(0, 100).map(lambda n: n / 100), min_size=size, max_size=size),
        min_size=1,
        max_size=4,
    )
)


@given(GROUPS, st.floats(-3, 3), st.booleans())
def test_advantages_ignore_a_shift_and_sum_to_zero(
    groups: list[list[float]], shift: float, std_normalisation: bool
):
    rewards = torch.tensor(groups, dtype=torch.float64)
    plain = grpo.advantages(rewards, std_normalisation=std_normalisation)
    shifted = grpo.advantages(rewards + shift, std_normalisation=std_normalisation)
    torch.testing.assert_close(shifted.values, plain.values, rtol=1e-9, atol=1e-9)
    assert shifted.skipped_groups == plain.skipped_groups
    assert plain.values.sum(dim=1).abs().max() < 1e-9


@given(GROUPS, st.data())
def test_a_dropped_sample_equals_a_smaller_group(groups: list[list[float]], data: st.DataObject):
    rewards = torch.tensor(groups, dtype=torch.float64)
    drop = data.draw(st.integers(0, rewards.shape[1] - 1))
    keep = torch.ones_like(rewards, dtype=torch.bool)
    keep[:, drop] = False
    others = [i for i in range(rewards.shape[1]) if i != drop]
    rewards[:, drop] = NAN
    masked = grpo.advantages(rewards, keep)
    smaller = grpo.advantages(rewards[:, others])
    torch.testing.assert_close(masked.values[:, others], smaller.values)
    assert masked.keep[:, others].equal(smaller.keep)
    assert not masked.keep[:, drop].any()
    assert masked.skipped_groups == smaller.skipped_groups


# -- the loss by hand ----------------------------------------------------------------------------


def logs(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def plain_loss(
    ratios: list[list[float]], relative: list[float], weights: grpo.TokenWeights, **options: float
) -> tuple[float, grpo.LossStatistics]:
    value, statistics = grpo.loss(
        logs(ratios),
        torch.zeros(len(ratios), len(ratios[0]), dtype=torch.float64),
        None,
        torch.tensor(relative, dtype=torch.float64),
        weights.weights,
        weights.total,
        **options,
    )
    return float(value), statistics


def every_token(rows: int, columns: int, **options) -> grpo.TokenWeights:
    return grpo.token_weights(torch.ones(rows, columns, dtype=torch.bool), **options)


@pytest.mark.parametrize(
    ("ratio", "gain", "expected"),
    [
        (1.5, 2.0, -2.0 * 1.3),  # good and already far above: held at 1 + clip_high
        (0.5, 2.0, -2.0 * 0.5),  # good but fallen: the ratio itself, to be pulled back up
        (1.5, -2.0, 2.0 * 1.5),  # bad but risen: the ratio itself
        (0.5, -2.0, 2.0 * 0.9),  # bad and already far below: held at 1 - clip_low
        (1.2, 2.0, -2.0 * 1.2),  # inside the bounds
    ],
)
def test_clipping_has_two_bounds(ratio: float, gain: float, expected: float):
    value, _ = plain_loss([[ratio]], [gain], every_token(1, 1), clip_low=0.1, clip_high=0.3)
    assert value == pytest.approx(expected, abs=1e-12)


def test_k3_by_hand():
    # d = ln(0.5) - ln(0.25) = ln 2; exp(d) - d - 1 = 1 - ln 2. Advantage 0 leaves beta * k3.
    value, statistics = grpo.loss(
        logs([[0.25]]),
        None,
        logs([[0.5]]),
        torch.zeros(1, dtype=torch.float64),
        torch.ones(1, 1, dtype=torch.float64),
        torch.tensor(1.0),
        kl_coef=0.04,
    )
    assert float(value) == pytest.approx(0.04 * (1 - math.log(2)))
    assert statistics.means()["kl"] == pytest.approx(1 - math.log(2))


# Two sequences: ratios 1.1, 0.9 under advantage 1 (losses -1.1, -0.9), ratio 1.05 under -1 (1.05).
RATIOS = [[1.1, 0.9], [1.05, 7.0]]
GAINS = [1.0, -1.0]
MASK = torch.tensor([[True, True], [True, False]])


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("token", (-1.1 - 0.9 + 1.05) / 3),
        ("sequence", ((-1.1 - 0.9) / 2 + 1.05) / 2),
        ("fixed", (-1.1 - 0.9 + 1.05) / (2 * 10)),
    ],
)
def test_aggregations_by_hand(aggregation: grpo.Aggregation, expected: float):
    weights = grpo.token_weights(MASK, aggregation=aggregation, fixed_length=10)
    assert plain_loss(RATIOS, GAINS, weights)[0] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("token", (-2 * 1.1 - 0.5 * 0.9 + 2 * 1.05) / 4.5),
        ("sequence", ((-2 * 1.1 - 0.5 * 0.9) / 2.5 + 1.05) / 2),
        ("fixed", (-2 * 1.1 - 0.5 * 0.9 + 2 * 1.05) / (2 * 10)),
    ],
)
def test_chain_and_image_weights_by_hand(aggregation: grpo.Aggregation, expected: float):
    chain_two_image_half = torch.tensor([[2.0, 0.5], [2.0, 0.5]])
    weights = grpo.token_weights(
        MASK, chain_two_image_half, aggregation=aggregation, fixed_length=10
    )
    assert plain_loss(RATIOS, GAINS, weights)[0] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("aggregation", ["token", "sequence", "fixed"])
def test_image_weight_zero_is_the_loss_of_the_chains_alone(aggregation: grpo.Aggregation):
    options = {"aggregation": aggregation, "fixed_length": 10}
    ratios = [[1.1, 0.9, 1.3, 0.7], [1.05, 1.0, 0.6, 1.9]]
    chain_only = torch.tensor([[1.0, 1.0, 0.0, 0.0]]).expand(2, -1)
    both = every_token(2, 4, weights=chain_only, **options)
    chains = every_token(2, 2, **options)
    assert plain_loss(ratios, GAINS, both)[0] == pytest.approx(
        plain_loss([row[:2] for row in ratios], GAINS, chains)[0], rel=1e-12
    )


@pytest.mark.parametrize("aggregation", ["token", "sequence", "fixed"])
def test_masked_sequences_count_nowhere_and_may_hold_anything(aggregation: grpo.Aggregation):
    logprobs = torch.tensor([[-0.1, -0.2], [-math.inf, NAN]], requires_grad=True)
    mask = torch.tensor([[True, True], [False, False]])
    weights = grpo.token_weights(mask, aggregation=aggregation, fixed_length=4)
    value, statistics = grpo.loss(
        logprobs,
        torch.tensor([[-0.2, -0.2], [0.0, NAN]]),
        torch.tensor([[-0.3, -0.1], [NAN, math.inf]]),
        torch.tensor([1.0, 5.0]),
        weights.weights,
        weights.total,
        kl_coef=0.1,
    )
    alone = grpo.token_weights(mask[:1], aggregation=aggregation, fixed_length=4)
    expected, _ = grpo.loss(
        logprobs[:1],
        torch.tensor([[-0.2, -0.2]]),
        torch.tensor([[-0.3, -0.1]]),
        torch.tensor([1.0]),
        alone.weights,
        alone.total,
        kl_coef=0.1,
    )
    assert value.item() == expected.item()
    value.backward()
    assert logprobs.grad is not None
    assert logprobs.grad[0].ne(0).all()
    assert logprobs.grad[1].eq(0).all()
    assert all(math.isfinite(number) for number in statistics.means().values())


@pytest.mark.parametrize("aggregation", ["token", "sequence", "fixed"])
def test_a_batch_without_tokens_has_loss_zero(aggregation: grpo.Aggregation):
    logprobs = torch.zeros(2, 3, requires_grad=True)
    empty = grpo.token_weights(
        torch.zeros(2, 3, dtype=torch.bool), aggregation=aggregation, fixed_length=3
    )
    value, statistics = grpo.loss(logprobs, None, None, torch.ones(2), empty.weights, empty.total)
    value.backward()
    assert value.item() == 0
    assert logprobs.grad is not None
    assert logprobs.grad.eq(0).all()
    assert statistics.means()["ratio_max"] == 0


def test_statistics_by_hand():
    # Bounds 0.8 and 1.2. Low clip: 0.5 under -1. High clip: 1.5 under +1. 1.5 and 0.5 on the other
    # side are not clipped.
    weights = every_token(2, 3)
    _, statistics = plain_loss([[1.5, 0.5, 1.0], [1.5, 0.5, 1.0]], [1.0, -1.0], weights)
    assert statistics.means() == pytest.approx(
        {
            "clip_fraction_low": 1 / 6,
            "clip_fraction_high": 1 / 6,
            "ratio_mean": 1.0,
            "ratio_gap": (4 * 0.5) / 6,
            "ratio_max": 1.5,
        }
    )


def test_ratio_gap_by_hand():
    # Ratios 0.5 / 0.25 = 2 and 0.2 / 0.25 = 0.8: gaps 1 and 0.2.
    replayed = logs([[0.5, 0.2, 0.9]])
    sampled = logs([[0.25, 0.25, 0.1]])
    gap = grpo.ratio_gap(replayed, sampled, torch.tensor([[True, True, False]]))
    assert gap == pytest.approx(0.6)
    assert grpo.ratio_gap(replayed, sampled, torch.zeros(1, 3, dtype=torch.bool)) == 0.0


def test_misuse_is_refused():
    lp, ones = torch.zeros(2, 3), torch.ones(2, 3)
    with pytest.raises(ValueError, match="ref_logprobs"):
        grpo.loss(lp, lp, None, torch.ones(2), ones, torch.tensor(6.0), kl_coef=0.1)
    with pytest.raises(ValueError, match="advantages"):
        grpo.loss(lp, lp, None, torch.ones(1, 2), ones, torch.tensor(6.0))
    with pytest.raises(ValueError, match="bool"):
        grpo.token_weights(ones)
    with pytest.raises(ValueError, match="fixed_length"):
        grpo.token_weights(ones.bool(), aggregation="fixed")
    with pytest.raises(ValueError, match="aggregation"):
        grpo.token_weights(ones.bool(), aggregation="batch")  # type: ignore[arg-type]


# -- gradients -----------------------------------------------------------------------------------


def test_first_update_is_the_policy_gradient():
    # All ratios are 1, so d(loss)/d(logprob) = -A / tokens; the k3 term adds beta * (1 - exp(d)).
    logprobs = logs([[0.5, 0.2], [0.4, 0.25]]).requires_grad_()
    ref = logs([[0.5, 0.4], [0.2, 0.25]])
    relative = torch.tensor([1.5, -0.5], dtype=torch.float64)
    weights = every_token(2, 2)
    value, _ = grpo.loss(logprobs, None, ref, relative, weights.weights, weights.total, kl_coef=0.1)
    value.backward()
    expected = torch.tensor([[-1.5, -1.5 + 0.1 * (1 - 2)], [0.5 + 0.1 * (1 - 0.5), 0.5]]) / 4
    torch.testing.assert_close(logprobs.grad, expected.double())


@pytest.mark.parametrize("aggregation", ["token", "sequence", "fixed"])
def test_gradient_agrees_with_finite_differences(aggregation: grpo.Aggregation):
    generator = torch.Generator().manual_seed(0)
    logprobs, old, ref = (
        -torch.rand(3, 5, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    relative = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    mask = torch.rand(3, 5, generator=generator) < 0.8
    scale = torch.rand(3, 5, generator=generator, dtype=torch.float64)
    weights = grpo.token_weights(mask, scale, aggregation=aggregation, fixed_length=7)

    def value(logprobs: Tensor) -> Tensor:
        return grpo.loss(logprobs, old, ref, relative, weights.weights, weights.total, kl_coef=0.3)[
            0
        ]

    assert torch.autograd.gradcheck(value, (logprobs.requires_grad_(),))


def test_clipped_tokens_have_no_gradient():
    logprobs = logs([[1.5, 1.1]]).requires_grad_()
    weights = every_token(1, 2)
    zeros = torch.zeros(1, 2, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    grpo.loss(logprobs, zeros, None, one, weights.weights, weights.total)[0].backward()
    torch.testing.assert_close(logprobs.grad, torch.tensor([[0.0, -1.1 / 2]]).double())


# -- micro-batches -------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    st.integers(0, 10_000),
    st.integers(1, 7),
    st.sampled_from(["token", "sequence", "fixed"]),
    st.sampled_from([0.0, 0.2]),
)
def test_micro_batches_add_up_to_the_batch(
    seed: int, micro_batch: int, aggregation: grpo.Aggregation, kl_coef: float
):
    generator = torch.Generator().manual_seed(seed)
    logprobs, old, ref = (
        -2 * torch.rand(7, 6, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    relative = torch.randn(7, generator=generator, dtype=torch.float64)
    mask = torch.rand(7, 6, generator=generator) < 0.6
    mask[3] = False
    scale = torch.rand(7, 6, generator=generator, dtype=torch.float64)
    batch = grpo.token_weights(mask, scale, aggregation=aggregation, fixed_length=6)

    def part(rows: slice) -> tuple[Tensor, grpo.LossStatistics]:
        return grpo.loss(
            logprobs[rows],
            old[rows],
            ref[rows],
            relative[rows],
            batch.weights[rows],
            batch.total,
            kl_coef=kl_coef,
        )

    whole, whole_statistics = part(slice(None))
    parts = [part(slice(start, start + micro_batch)) for start in range(0, 7, micro_batch)]
    total = torch.stack([value for value, _ in parts]).sum()
    torch.testing.assert_close(total, whole, rtol=1e-12, atol=1e-12)
    statistics = parts[0][1]
    for _, more in parts[1:]:
        statistics = statistics + more
    assert statistics.means() == pytest.approx(whole_statistics.means(), rel=1e-9)


# -- TRL -----------------------------------------------------------------------------------------


def trl_loss(
    loss_type: str, logprobs: Tensor, inputs: dict[str, Tensor], beta: float, fixed_length: int
) -> Tensor:
    """TRL's own `_compute_loss` on given log-probs."""
    from trl import GRPOTrainer

    entropies = torch.zeros_like(logprobs)
    stand_in = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (logprobs, entropies, None),
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
        accelerator=SimpleNamespace(
            gather=lambda x: x, reduce=lambda x, reduction: x, num_processes=1
        ),
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False),
        aux_loss_enabled=False,
        beta=beta,
        current_gradient_accumulation_steps=1,
        epsilon_high=0.28,
        epsilon_low=0.2,
        importance_sampling_level="token",
        loss_type=loss_type,
        max_completion_length=fixed_length,
        model=SimpleNamespace(training=True),
        off_policy_mask_threshold=None,
        top_entropy_quantile=1.0,
        use_vllm=False,
    )
    return GRPOTrainer._compute_loss(stand_in, None, inputs)


@pytest.mark.parametrize(
    ("loss_type", "aggregation"),
    [("grpo", "sequence"), ("bnpo", "token"), ("dr_grpo", "fixed")],
)
@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_text_only_loss_and_gradient_equal_trl(
    loss_type: str, aggregation: grpo.Aggregation, beta: float
):
    generator = torch.Generator().manual_seed(1)
    logprobs, old, ref = (
        -2 * torch.rand(8, 12, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    lengths = torch.tensor([12, 1, 5, 7, 12, 3, 9, 2])
    mask = torch.arange(12) < lengths[:, None]
    rewards = torch.rand(2, 4, generator=generator, dtype=torch.float64)
    relative = grpo.advantages(rewards).values.flatten()

    theirs_at = logprobs.clone().requires_grad_()
    ids = torch.zeros(8, 12, dtype=torch.long)
    theirs = trl_loss(
        loss_type,
        theirs_at,
        {
            "prompt_ids": ids[:, :1],
            "prompt_mask": torch.ones(8, 1, dtype=torch.long),
            "completion_ids": ids,
            "completion_mask": mask.long(),
            "advantages": relative,
            "old_per_token_logps": old,
            "ref_per_token_logps": ref,
        },
        beta,
        fixed_length=20,
    )
    theirs.backward()

    ours_at = logprobs.clone().requires_grad_()
    weights = grpo.token_weights(mask, aggregation=aggregation, fixed_length=20)
    ours, _ = grpo.loss(
        ours_at,
        old,
        ref,
        relative,
        weights.weights.double(),
        weights.total.double(),
        clip_low=0.2,
        clip_high=0.28,
        kl_coef=beta,
    )
    ours.backward()
    # float32 token weights (1 / length) bound the agreement.
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(ours_at.grad, theirs_at.grad, rtol=1e-6, atol=1e-8)


def test_advantages_equal_trl_group_scaling():
    from trl.trainer.utils import nanstd

    rewards = torch.tensor([[0.2, 0.9, 0.4, 0.4], [NAN, 1.0, 0.0, 0.3]], dtype=torch.float64)
    # What TRL does with scale_rewards="group": nan-aware mean and std, 1e-4 beside the std.
    theirs = (rewards - rewards.nanmean(dim=1, keepdim=True)) / (
        nanstd(rewards, dim=1, keepdim=True) + 1e-4
    )
    ours = grpo.advantages(rewards, ~rewards.isnan())
    torch.testing.assert_close(ours.values, theirs.nan_to_num(nan=0.0))

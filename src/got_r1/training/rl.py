"""GRPO on whole answers: the policy learns plans that nobody wrote templates for.

A step is two calls: `roll_out` samples groups of (chain, image) and has them judged, `improve`
updates the policy on them. The reward's formula stands in `rewards.combine`, the algorithm in
`grpo`.
"""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from torch import Tensor

from got_r1 import grpo, rewards
from got_r1.benchmarks.base import Sample, evaluate, load_benchmark
from got_r1.config import Recipe, RLSection
from got_r1.errors import RunFailed
from got_r1.judges import load_judge
from got_r1.policy import load_policy
from got_r1.policy.janus import Policy, Replay, TokenBatch
from got_r1.records import Rollout, Verdict
from got_r1.report.build import build_report
from got_r1.sampling import generate, named_box
from got_r1.training.optimizer import make_optimizer, update
from got_r1.training.prompts import load_prompts
from got_r1.training.rollout import Samples, roll_out
from got_r1.training.run import Run, seed_step

__all__ = ["train"]


def train(recipe: Recipe, resume: bool = False, quiet: bool = False) -> dict[str, object]:
    """Trains `model.path` by `recipe.rl`, evaluates it before and after, and writes the report.

    Returns a summary: run folder, steps, model folder, report.
    """
    rewards.check_config(recipe.reward)
    judge = load_judge(recipe.judge.spec)
    prompts = load_prompts(recipe.data, quiet)
    policy = load_policy(recipe.model.path)
    policy.prepare_training(recipe.model.lora)
    policy.freeze_reference()
    optimizer = make_optimizer(policy.trainable().values(), recipe.rl)

    with Run.open(
        recipe, recipe.rl, policy, optimizer, title="GRPO", resume=resume, quiet=quiet
    ) as run:
        if run.fresh:
            evaluate_policy(policy, recipe, run, "sft")
        for step in run.steps():
            seed = seed_step(recipe.run.seed, step)
            samples = roll_out(policy, judge, prompts.draw(recipe.rl.prompts, seed), recipe, seed)
            stop_on_failures(samples, recipe)
            metrics = improve(policy, optimizer, samples, recipe, step)
            run.log(step, samples.metrics() | metrics)
            if step == 1 or step % recipe.rl.sample_every == 0:
                save_gallery(run, step, samples)
        model = run.finish()
        evaluate_policy(policy, recipe, run, "rl")
        return run.summary(model=str(model), report=str(build_report(run.folder)))


def improve(
    policy: Policy, optimizer: torch.optim.Optimizer, samples: Samples, recipe: Recipe, step: int
) -> dict[str, float]:
    """Updates the policy on one step's samples, `rl.inner_epochs` times; returns metrics."""
    section, start = recipe.rl, time.perf_counter()
    totals = torch.tensor([torch.nan if r.total is None else r.total for r in samples.rewards])
    totals = totals.view(-1, samples.group)
    advantages = grpo.advantages(
        totals, totals.isfinite(), std_normalisation=section.std_normalisation
    )
    gains, kept = advantages.values.flatten(), advantages.keep.flatten()
    batch = TokenBatch.from_rollout(samples.rollout, policy.pad_id)
    acted, mask = whole_answers(samples.rollout)
    weights = grpo.token_weights(
        mask & kept[:, None],
        factors(mask, batch, section),
        aggregation=section.aggregation,
        fixed_length=recipe.rollout.chain_limit + policy.image_tokens,
    )
    # Only rows that take part in the loss are replayed.
    micro = kept.nonzero().squeeze(1).split(section.micro_batch) if kept.any() else ()
    reference = [reference_logprobs(policy, batch[rows], recipe, mask) for rows in micro]
    replayed: list[Replay] = []
    old: list[Tensor] = []
    metrics: dict[str, float] = {}
    policy.model.train()
    for epoch in range(section.inner_epochs):
        total_loss, statistics = 0.0, []
        for index, rows in enumerate(micro):
            replay = replay_answers(policy, batch[rows], recipe)
            logprobs = join(replay, mask)
            if epoch == 0:
                replayed.append(replay)
                old.append(logprobs.detach())
            loss, found = grpo.loss(
                logprobs,
                old[index],
                reference[index],
                gains[rows],
                weights.weights[rows],
                weights.total,
                clip_low=section.clip_low,
                clip_high=section.clip_high,
                kl_coef=section.kl_coef,
            )
            loss.backward()
            total_loss += loss.item()
            statistics.append(found)
        metrics |= {"loss": total_loss} | update(optimizer, section, step)
        if statistics:
            metrics |= sum(statistics[1:], start=statistics[0]).means()
    policy.model.eval()
    if micro:
        rows = torch.cat(micro)
        metrics["clip_fraction"] = metrics["clip_fraction_low"] + metrics["clip_fraction_high"]
        metrics["ratio_gap"] = grpo.ratio_gap(torch.cat(old), acted[rows], mask[rows])
        chain_entropy = torch.cat([r.chain_entropy[r.chain_entropy > 0] for r in replayed])
        metrics["entropy/chain"] = chain_entropy.mean().item()
        metrics["entropy/image"] = torch.cat([r.image_entropy for r in replayed]).mean().item()
    return metrics | {
        "dropped_samples": float(advantages.dropped_samples),
        "skipped_groups": float(advantages.skipped_groups),
        "seconds/update": time.perf_counter() - start,
    }


# -- whole answers: chain tokens, padded, then image tokens: [B, C + I] ----------------------------


def whole_answers(rollout: Rollout) -> tuple[Tensor, Tensor]:
    """The log-probabilities that acted, float32 [B, C + I], and which tokens were actions, bool."""
    pad = torch.nn.utils.rnn.pad_sequence
    chain_logprobs = pad(list(rollout.chains.logprobs), batch_first=True)
    chain_mask = pad(list(rollout.chains.loss_mask), batch_first=True)
    image_mask = torch.ones_like(rollout.image_ids, dtype=torch.bool)
    return (
        torch.cat([chain_logprobs, rollout.image_logprobs], dim=1),
        torch.cat([chain_mask, image_mask], dim=1),
    )


def join(replay: Replay, mask: Tensor) -> Tensor:
    """A (micro-batch's) replay in the columns of `mask`."""
    images = replay.image_logprobs.shape[1]
    missing = mask.shape[1] - images - replay.chain_logprobs.shape[1]
    return torch.cat([F.pad(replay.chain_logprobs, (0, missing)), replay.image_logprobs], dim=1)


def factors(mask: Tensor, batch: TokenBatch, section: RLSection) -> Tensor:
    """The weight of each token by its kind: chain or image."""
    weights = torch.full(mask.shape, section.image_weight)
    weights[:, : -batch.image_ids.shape[1]] = section.chain_weight
    return weights


def replay_answers(policy: Policy, batch: TokenBatch, recipe: Recipe) -> Replay:
    settings = recipe.rollout
    with torch.autocast(policy.device.type, torch.bfloat16, enabled=recipe.rl.autocast):
        return policy.replay(
            batch,
            mode=recipe.rl.logprob_mode,
            guidance=settings.guidance,
            chain_temperature=settings.chain_temperature,
            image_temperature=settings.image_temperature,
        )


def reference_logprobs(
    policy: Policy, batch: TokenBatch, recipe: Recipe, mask: Tensor
) -> Tensor | None:
    """The reference policy's log-probabilities; not computed where no KL is asked for."""
    if recipe.rl.kl_coef == 0:
        return None
    with policy.reference() as reference:
        return join(replay_answers(reference, batch, recipe), mask)


# -- beside the loop -------------------------------------------------------------------------------


def stop_on_failures(samples: Samples, recipe: Recipe) -> None:
    """Raises RunFailed when too large a share of a step's answers failed to come."""
    failed = sum(reward.total is None for reward in samples.rewards)
    if failed > recipe.judge.max_failure_share * len(samples.rewards):
        reasons = (
            getattr(verdict, "reason", None)
            for reward in samples.rewards
            for verdict in reward.verdicts.values()
        )
        raise RunFailed(
            f"the judge failed on {failed} of {len(samples.rewards)} samples "
            f"({next(filter(None, reasons), 'no reason given')}): mend the judge, then --resume"
        )


def save_gallery(run: Run, step: int, samples: Samples) -> None:
    """The first sample of each prompt's group, with everything that was said about it."""
    written = samples.rollout.chains
    for place, row in enumerate(range(0, len(samples.chains), samples.group)):
        chain, reward = samples.chains[row], samples.rewards[row]
        grounding = reward.verdicts.get("r_ri")
        found = grounding.found if isinstance(grounding, Verdict) else ()
        record = {
            "prompt": written.prompts[row].text,
            "category": written.prompts[row].category,
            "chain": chain.text,
            "objects": [named_box(planned) for planned in chain.objects],
            "problems": list(chain.problems),
            "found": [named_box(item) for item in found],
            "reward": {"total": reward.total, "terms": dict(reward.terms)},
            "evidence": {
                name: getattr(verdict, "reasoning", "") or getattr(verdict, "reason", "")
                for name, verdict in reward.verdicts.items()
            },
            "sample": written.sample_ids[row],
            "seed": written.seed,
        }
        run.records.save_sample(step, place, samples.images[row], record)


def evaluate_policy(policy: Policy, recipe: Recipe, run: Run, name: str) -> None:
    """Samples held-out prompts once each and saves `evals/<name>.json`."""
    section = recipe.eval
    if section.prompts == 0:
        return
    benchmark = load_benchmark("icons")
    drawings = generate(
        policy,
        benchmark.prompts(section.split, section.prompts, 0),
        seed=section.seed,
        rollout=recipe.rollout,
        batch=section.batch,
    )
    result = evaluate(
        benchmark,
        [Sample(drawing.prompt, drawing.chain, drawing.image) for drawing in drawings],
        name=name,
        split=section.split,
        seed=section.seed,
        guidance=recipe.rollout.guidance,
        model=recipe.model.path if name == "sft" else str(run.folder),
    )
    run.records.save_eval(name, result)

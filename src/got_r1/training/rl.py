"""GRPO on whole answers: the policy learns plans that nobody wrote templates for.

A step is two calls: `roll_out` samples groups of (chain, image) and has them judged, `improve`
updates the policy on them. The reward's formula stands in `rewards.combine`, the algorithm in
`grpo`. Under torchrun each process does both for its share of a step's prompts (`distributed`).
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from got_r1 import grpo, rewards
from got_r1.benchmarks import load_benchmark
from got_r1.benchmarks.base import Sample
from got_r1.benchmarks.evaluation import evaluate
from got_r1.errors import RunFailed
from got_r1.judges import load_judge
from got_r1.policy.janus import Policy, Replay, TokenBatch
from got_r1.recipes.sections import Recipe, RLSection
from got_r1.records import JudgeFailure, Rollout, Verdict
from got_r1.report.build import build_report
from got_r1.sampling import generate, named_box
from got_r1.training.checkpoint import save_checkpoint
from got_r1.training.distributed import (
    ALONE,
    Ranks,
    check_division,
    grad_sync_context,
    load_share,
    parallelize,
    processes,
    whole_weights,
)
from got_r1.training.micro_batches import micro_batches, same_number
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
    section = recipe.rl
    with processes(recipe.scale) as ranks:
        check_division(section.prompts, ranks)
        judge = load_judge(recipe.judge, cache_folder(recipe))
        rewards.check_judge(judge, recipe.reward)
        prompts = load_prompts(recipe.data, quiet or not ranks.main)
        policy = load_share(recipe.model, recipe.scale, ranks)
        seed_step(recipe.run.seed, 0)  # adapters begin at random
        policy.prepare_training(recipe.model.lora)
        policy.freeze_reference()
        parallelize(policy, recipe.model, recipe.scale, ranks, autocast=section.autocast)
        optimizer = make_optimizer(policy.trainable().values(), section)

        with Run.open(
            recipe,
            section,
            policy,
            optimizer,
            title="GRPO",
            resume=resume,
            quiet=quiet,
            ranks=ranks,
        ) as run:
            if run.fresh:
                evaluate_policy(policy, recipe, run, "sft")
            for step in run.steps():
                seed = seed_step(recipe.run.seed, step)
                mine = ranks.share(prompts.draw(section.prompts, seed))
                with whole_weights(policy):
                    samples = roll_out(policy, judge, mine, recipe, seed)
                stop_on_failures(run, step, samples)
                metrics = improve(policy, optimizer, samples, recipe, step, ranks)
                if everything := ranks.gather(samples):
                    samples = Samples.join(everything)
                    run.log(step, samples.metrics() | metrics)
                    if step == 1 or step % section.sample_every == 0:
                        save_gallery(run, step, samples)
                run.watch(step, metrics)
            model = run.finish()
            evaluate_policy(policy, recipe, run, "rl")
            report = ranks.run_on_rank0(lambda: build_report(run.folder))
            return run.summary(model=str(model), report=str(report))


def improve(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    samples: Samples,
    recipe: Recipe,
    step: int,
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """Updates the policy on one step's samples (this rank's share of them), `rl.inner_epochs`
    times; returns metrics of all ranks together."""
    section, start, device = recipe.rl, time.perf_counter(), policy.device
    advantages = group_advantages(samples, section)
    values, kept = advantages.values.flatten().to(device), advantages.keep.flatten()
    batch = TokenBatch.from_rollout(samples.rollout, policy.pad_id)
    behaviour, mask = whole_answers(samples.rollout)
    weights = grpo.token_weights(
        mask & kept[:, None],
        factors(mask, batch, section),
        aggregation=section.aggregation,
        fixed_length=recipe.rollout.chain_limit + policy.image_tokens,
    )
    total = ranks.sum(weights.total * kept.any()).clamp(min=1e-9)  # 0: nothing to learn anywhere
    # Only rows that take part in the loss are replayed.
    mine = micro_batches(
        kept.nonzero().squeeze(1),
        batch.text_lengths + policy.image_tokens,
        samples=section.micro_batch,
        tokens=recipe.scale.micro_tokens,
    )
    micro = same_number(mine, weights.weights.to(device), ranks)
    batch, behaviour, mask = batch.to(device), behaviour.to(device), mask.to(device)
    reference = [reference_logprobs(policy, batch[rows], recipe, mask) for rows, _ in micro]
    replayed: list[Replay] = []
    old: list[Tensor] = []
    metrics: dict[str, float] = {}
    with policy.training_mode():
        for epoch in range(section.inner_epochs):
            losses, statistics = torch.zeros((), device=device), []
            for index, (rows, counts) in enumerate(micro):
                with grad_sync_context(policy, last=index == len(micro) - 1):
                    replay = replay_answers(policy, batch[rows], recipe)
                    logprobs = join(replay, mask)
                    if epoch == 0:
                        replayed.append(Replay(*(part.detach() for part in replay)))
                        old.append(logprobs.detach())
                    loss, found = grpo.loss(
                        logprobs,
                        old[index],
                        reference[index],
                        values[rows],
                        counts,
                        total,
                        clip_low=section.clip_low,
                        clip_high=section.clip_high,
                        kl_coef=section.kl_coef,
                    )
                    (loss * ranks.size).backward()
                losses += loss.detach()
                statistics.append(found)
            loss_of_step = float(ranks.sum(losses))
            metrics |= {"loss": loss_of_step} | update(optimizer, section, step, loss_of_step)
            if statistics:
                metrics |= of_all_ranks(sum(statistics[1:], start=statistics[0]), ranks).means()
    if micro:
        seen = slice(len(mine))  # fillers come behind
        rows = torch.cat([*mine, torch.zeros(0, dtype=torch.long)])
        gap = grpo.ratio_gap(torch.cat([*old[seen], behaviour[:0]]), behaviour[rows], mask[rows])
        metrics["clip_fraction"] = metrics["clip_fraction_low"] + metrics["clip_fraction_high"]
        metrics["ratio_gap"] = ranks.mean(gap, int(mask[rows].sum()))
        for name, parts in (
            ("entropy/chain", [r.chain_entropy[r.chain_entropy > 0] for r in replayed[seen]]),
            ("entropy/image", [r.image_entropy.flatten() for r in replayed[seen]]),
        ):
            entropies = torch.cat([*parts, behaviour[:0, 0]])
            metrics[name] = ranks.mean(
                float(entropies.sum()) / max(1, len(entropies)), len(entropies)
            )
    return metrics | {
        "dropped_samples": float(ranks.sum(advantages.dropped_samples)),
        "skipped_groups": float(ranks.sum(advantages.skipped_groups)),
        "seconds/update": time.perf_counter() - start,
    }


def group_advantages(samples: Samples, section: RLSection) -> grpo.Advantages:
    """The advantages of the samples, [prompts, group]; those without a reward are not kept."""
    totals = torch.tensor([torch.nan if r.total is None else r.total for r in samples.rewards])
    totals = totals.view(-1, samples.group)
    return grpo.advantages(totals, totals.isfinite(), std_normalisation=section.std_normalisation)


def of_all_ranks(statistics: grpo.LossStatistics, ranks: Ranks) -> grpo.LossStatistics:
    """The statistics of a step's tokens on all ranks."""
    sums = {
        field.name: ranks.sum(value)
        for field in dataclasses.fields(statistics)
        if (value := getattr(statistics, field.name)) is not None
    }
    return dataclasses.replace(statistics, **sums | {"ratio_max": ranks.max(statistics.ratio_max)})


# -- whole answers: chain tokens, padded, then image tokens: [B, C + I] ----------------------------


def whole_answers(rollout: Rollout) -> tuple[Tensor, Tensor]:
    """The behaviour-policy log-probs, float32 [B, C + I], and which tokens were actions, bool."""
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
    low_precision = recipe.rl.autocast or recipe.model.dtype == "bfloat16"
    with torch.autocast(policy.device.type, torch.bfloat16, enabled=low_precision):
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


def cache_folder(recipe: Recipe) -> Path | None:
    """Where the judge keeps its answers, by `judge.cache`."""
    match recipe.judge.cache:
        case "off":
            return None
        case "run":
            return Path(recipe.run.dir) / "judge_cache"
        case folder:
            return Path(folder)


def stop_on_failures(run: Run, step: int, samples: Samples) -> None:
    """Logs the judge's failures of a step, whose update is still to come.

    Raises RunFailed, on every rank, when too many samples got no reward; the step before is then
    saved, and the run resumes where it stopped.
    """
    ranks, recipe = run.ranks, run.recipe
    failures = [failure for share in ranks.gather(judge_failures(samples)) for failure in share]
    if ranks.main:
        run.records.log_judge_failures(step, failures)
    lost = int(ranks.sum(sum(reward.total is None for reward in samples.rewards)))
    asked = int(ranks.sum(len(samples.rewards)))
    if lost <= recipe.judge.max_failure_share * asked:
        return
    done, section = step - 1, recipe.rl
    if done > run.start and done % section.save_every:
        save_checkpoint(run.folder, done, run.policy, run.optimizer, ranks)
    first = failures[0]["reason"] if failures else "the first process says why"
    raise RunFailed(
        f"the judge failed on {lost} of {asked} samples of step {step} ({first}): "
        f"{f'the run is saved up to step {done}' if done else 'nothing was trained yet'}, "
        f"{run.folder / 'judge_failures.jsonl'} holds the replies; mend the judge, then --resume"
    )


def judge_failures(samples: Samples) -> list[dict[str, object]]:
    """Everything the judge could not answer about a step's samples, as `runlog` keeps it."""
    written = samples.rollout.chains
    return [
        {
            "prompt": written.prompts[row].text,
            "sample": written.sample_ids[row],
            "term": term,
            "reason": verdict.reason,
            "reply": verdict.reply,
        }
        for row, reward in enumerate(samples.rewards)
        for term, verdict in reward.verdicts.items()
        if isinstance(verdict, JudgeFailure)
    ]


def save_gallery(run: Run, step: int, samples: Samples) -> None:
    """The first sample of each prompt's group, with everything that was said about it."""
    written = samples.rollout.chains
    advantages = group_advantages(samples, run.recipe.rl)
    values, kept = advantages.values.flatten().tolist(), advantages.keep.flatten().tolist()
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
            "advantage": values[row] if kept[row] else None,  # None: no part in the update
            "evidence": {
                name: getattr(verdict, "reasoning", "") or getattr(verdict, "reason", "")
                for name, verdict in reward.verdicts.items()
            },
            "sample": written.sample_ids[row],
            "seed": written.seed,
        }
        run.records.save_sample(step, place, samples.images[row], record)


def evaluate_policy(policy: Policy, recipe: Recipe, run: Run, name: str) -> None:
    """Samples held-out prompts once each, a share on each rank, and saves `evals/<name>.json`."""
    section, ranks = recipe.eval, run.ranks
    if section.prompts == 0:
        return
    benchmark = load_benchmark("icons")
    prompts = ranks.share(benchmark.prompts(section.split, section.prompts, 0))
    with whole_weights(policy):
        drawings = generate(
            policy, prompts, seed=section.seed, rollout=recipe.rollout, batch=section.batch
        )
        mine = [Sample(drawing.prompt, drawing.chain, drawing.image) for drawing in drawings]
    everything = ranks.gather(mine)
    if not everything:
        return
    result = evaluate(
        benchmark,
        [sample for share in everything for sample in share],
        name=name,
        split=section.split,
        seed=section.seed,
        guidance=recipe.rollout.guidance,
        model=recipe.model.path if name == "sft" else str(run.folder),
    )
    run.records.save_eval(name, result)

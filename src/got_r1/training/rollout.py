"""The first half of a GRPO step: sample groups of (chain, image) and have them judged."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from got_r1 import rewards
from got_r1.judges.base import Judge
from got_r1.judges.threads import in_threads
from got_r1.plan import chain as chains
from got_r1.plan.appeals import appeals
from got_r1.policy.janus import Policy
from got_r1.policy.sampler import Sampler
from got_r1.recipes.sections import Recipe
from got_r1.records import (
    TERMS,
    Chain,
    JudgeFailure,
    Prompt,
    Reward,
    Rollout,
    Verdict,
    WrittenChains,
)

__all__ = ["Samples", "needs_images", "roll_out"]


@dataclass(frozen=True, slots=True)
class Samples:
    """What one step sampled, and what the judge said: B = prompts x group rows, group-wise."""

    rollout: Rollout
    chains: list[Chain]  # [B]
    images: NDArray[np.uint8]  # [B, height, width, 3]; height and width 0 where none was drawn
    rewards: list[Reward]  # [B]
    group: int
    seconds: dict[str, float]

    @classmethod
    def join(cls, parts: Sequence[Samples]) -> Samples:
        """The samples of several processes as those of one; they sampled at the same time."""
        if len(parts) == 1:
            return parts[0]
        chains = [part.rollout.chains for part in parts]
        columns: dict[str, Any] = {
            field.name: tuple(row for one in chains for row in getattr(one, field.name))
            for field in dataclasses.fields(WrittenChains)
            if field.name != "seed"
        }
        rollout = Rollout(
            dataclasses.replace(chains[0], **columns),
            torch.cat([part.rollout.image_ids for part in parts]),
            torch.cat([part.rollout.image_logprobs for part in parts]),
            parts[0].rollout.guidance,
        )
        return cls(
            rollout,
            [chain for part in parts for chain in part.chains],
            np.concatenate([part.images for part in parts]),
            [reward for part in parts for reward in part.rewards],
            parts[0].group,
            {name: max(part.seconds[name] for part in parts) for name in parts[0].seconds},
        )

    def metrics(self) -> dict[str, float]:
        """Rewards with their spread inside groups, what the chains are like, seconds of sampling.

        `wording_gap/*`, where a meaning has several wordings: how far its best and its worst one
        lie apart in mean reward, on average over the meanings.
        """
        metrics: dict[str, float] = {}
        wordings = len({prompt.text for prompt in self.rollout.chains.prompts[: self.group]})
        for name in ("total", *TERMS):
            values = [r.total if name == "total" else r.terms.get(name) for r in self.rewards]
            grouped = np.array(values, dtype=np.float64).reshape(-1, self.group)  # None -> nan
            known = grouped[np.isfinite(grouped).any(axis=1)]
            if len(known):
                metrics[f"reward/{name}"] = float(np.nanmean(known))
                metrics[f"group_std/{name}"] = float(np.nanstd(known, axis=1).mean())
            split = grouped.reshape(-1, wordings, self.group // wordings)
            split = split[np.all(np.isfinite(split).any(axis=2), axis=1)]
            if wordings > 1 and len(split):
                gaps = np.ptp(np.nanmean(split, axis=2), axis=1)
                metrics[f"wording_gap/{name}"] = float(gaps.mean())
        written = self.rollout.chains
        tokens = sum(len(ids) for ids in written.token_ids) + self.rollout.image_ids.numel()
        sampling = self.seconds["seconds/rollout"]
        verdicts = [v for r in self.rewards for v in r.verdicts.values() if isinstance(v, Verdict)]
        if by := [verdict.by for verdict in verdicts if verdict.by]:
            metrics["teacher_share"] = by.count("teacher") / len(by)
        metrics |= self._student_errors()
        return (
            metrics
            | self.seconds
            | self._chain_metrics()
            | {
                "malformed_chains": float(sum(bool(chain.problems) for chain in self.chains)),
                "unfinished_chains": float(sum(s != "begin_of_image" for s in written.stops)),
                "chain_tokens": float(np.mean([len(ids) for ids in written.token_ids])),
                "tokens_per_second": tokens / sampling,
                "judge_failures": float(
                    sum(
                        isinstance(v, JudgeFailure)
                        for r in self.rewards
                        for v in r.verdicts.values()
                    )
                ),
            }
        )

    def _student_errors(self) -> dict[str, float]:
        """How far a student's score and its teacher's lie apart where that was asked, by term."""
        errors: dict[str, list[float]] = {}
        for reward in self.rewards:
            for term, verdict in reward.verdicts.items():
                if not isinstance(verdict, Verdict) or verdict.score is None:
                    continue
                if verdict.guess is not None:
                    errors.setdefault(term, []).append(abs(verdict.guess - verdict.score))
        return {f"student_error/{term}": float(np.mean(errors[term])) for term in errors}

    def _chain_metrics(self) -> dict[str, float]:
        """Whether the policy plans, whether its plans differ, and what it says beside them."""
        prompts = self.rollout.chains.prompts
        prose = [chains.prose(chain.text) for chain in self.chains]
        groups = [
            [frozenset(chain.objects) for chain in self.chains[row : row + self.group]]
            for row in range(0, len(self.chains), self.group)
        ]
        appealing = [
            appeals(chain.text, one.text) for chain, one in zip(self.chains, prompts, strict=True)
        ]
        return {
            "unplanned_chains": float(sum(not chain.objects for chain in self.chains)),
            "duplicate_plans": float(np.mean([1 - len(set(one)) / len(one) for one in groups])),
            "prose_characters": float(np.mean([len(said) for said in prose])),
            "appealing_chains": float(sum(map(bool, appealing))),
        }


def needs_images(recipe: Recipe) -> bool:
    """Whether a step's images are read by the loss or by a term of the reward. Plans trained on
    the terms of the plan alone need none."""
    return recipe.rl.image_weight > 0 or rewards.reads_images(recipe.reward)


def roll_out(
    policy: Policy,
    judge: Judge,
    prompts: Sequence[Prompt],
    recipe: Recipe,
    seed: int,
    *,
    show: bool = True,
) -> Samples:
    """Samples `rl.group` answers for each prompt and has them judged.

    Images that neither the loss nor the reward reads (`needs_images`) are drawn to `show` them
    alone, and are no part of the rollout, so that an update does not depend on who looks.

    With `rl.paraphrases` K, `prompts` holds the K wordings of each meaning behind each other, and
    a group its samples in the same order, `rl.group` / K of each wording. The judge is asked with
    a sample's own wording; advantages compare the group, so all the wordings of a meaning.

    The chain is complete before the first image token: the judge reads the chains while the
    images are drawn, and looks at the images as soon as they are there, though it may still be
    reading. So a step costs its sampling and the judging that is not hidden behind it. With
    `scale.rollout_batch` all chains are written, part by part, before the first image is drawn, so
    that the judge reads behind all the drawing there is.
    """
    settings, group = recipe.rollout, recipe.rl.group
    sampler = Sampler(policy, at_once=recipe.scale.rollout_batch)
    start = time.perf_counter()
    written = sampler.write_chains(
        prompts,
        group // recipe.rl.paraphrases,
        seed=seed,
        limit=settings.chain_limit,
        temperature=settings.chain_temperature,
    )
    parsed = [chains.parse(text, marks=settings.marks) for text in written.texts]

    def read() -> tuple[list[rewards.Verdicts], float]:
        answers = rewards.stage_one(judge, written.prompts, parsed, recipe.reward)
        return answers, time.perf_counter()

    asked = time.perf_counter()
    with in_threads([read]) as (reading,):
        needed = needs_images(recipe)
        rollout, images = without_images(written, settings.guidance)
        if needed or show:
            with policy.in_use:
                drawing = sampler.draw_images(
                    written, guidance=settings.guidance, temperature=settings.image_temperature
                )
            images = policy.decode_images(drawing.image_ids)
            rollout = drawing if needed else rollout
        drawn = time.perf_counter()
        looked = rewards.stage_two(judge, written.prompts, parsed, list(images), recipe.reward)
        read_answers, read_at = reading.result()
    judged = [
        rewards.reward(chain, {**one, **two}, recipe.reward)
        for chain, one, two in zip(parsed, read_answers, looked, strict=True)
    ]
    hidden, waited = min(read_at, drawn) - asked, time.perf_counter() - drawn
    seconds = {
        "seconds/rollout": drawn - start,
        "seconds/judge": hidden + waited,
        "seconds/judge_hidden": hidden,
        "seconds/judge_waited": waited,
    }
    return Samples(rollout, parsed, images, judged, group, seconds)


def without_images(written: WrittenChains, guidance: float) -> tuple[Rollout, NDArray[np.uint8]]:
    """Chains that no image follows, and images without pixels."""
    rows = len(written.texts)
    none = torch.zeros(rows, 0, dtype=torch.long), torch.zeros(rows, 0)
    return Rollout(written, *none, guidance), np.zeros((rows, 0, 0, 3), np.uint8)

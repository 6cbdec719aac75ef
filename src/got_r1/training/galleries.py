"""Samples for people to look at: those of a step, one whole group of it, and a few fixed prompts
with fixed noise.

What changes between two pictures of a fixed prompt is the policy alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any

import numpy as np

from got_r1 import rewards
from got_r1.audit.alarms import Alarm
from got_r1.benchmarks import load_benchmark
from got_r1.files.trackers.base import GalleryRow
from got_r1.judges.base import Judge
from got_r1.policy.janus import Policy
from got_r1.recipes.sections import Recipe
from got_r1.records import Chain, Prompt, Reward
from got_r1.sampling import named_box
from got_r1.training.drawing import draw_fixed, judge_drawings
from got_r1.training.policy_update import group_advantages
from got_r1.training.prompts import PromptMix
from got_r1.training.rollout import Samples
from got_r1.training.run import Run

__all__ = ["Probes", "probe_prompts", "save_gallery"]


def save_gallery(run: Run[Policy], step: int, samples: Samples, rang: Sequence[Alarm] = ()) -> None:
    """The first sample of each prompt's group, with everything that was said about it, and one
    whole group: that which shows an alarm that rang in the step, else that whose rewards differ
    most. With `rl.paraphrases` the first of each wording, and the prompt that it is a wording of.
    """
    every = samples.group // run.recipe.rl.paraphrases
    rows = _rows(run.recipe, samples)
    run.records.save_gallery(step, [rows(row) for row in range(0, len(samples.chains), every)])
    first = samples.group * _telling_group(samples, {alarm.name for alarm in rang})
    run.records.save_group(step, [rows(row) for row in range(first, first + samples.group)])


def _telling_group(samples: Samples, rang: Set[str]) -> int:
    """Which group has the fewest different plans, where they collapse; which has the most alike
    rewards, where nothing is left to learn from; else whose rewards have the largest standard
    deviation. The first of several."""
    if "collapse" in rang:
        plans = [frozenset(chain.objects) for chain in samples.chains]
        starts = range(0, len(plans), samples.group)
        return int(np.argmin([len(set(plans[row : row + samples.group])) for row in starts]))
    totals = np.array([reward.total for reward in samples.rewards], dtype=np.float64)
    groups = [group[np.isfinite(group)] for group in totals.reshape(-1, samples.group)]
    if "dead_signal" in rang:  # of one reward alone nothing can be said
        return int(np.argmin([group.std() if group.size > 1 else np.inf for group in groups]))
    return int(np.argmax([group.std() if group.size else 0.0 for group in groups]))


def _rows(recipe: Recipe, samples: Samples) -> Callable[[int], GalleryRow]:
    """What gives the image and the record of a step's sample, by its row."""
    written = samples.rollout.chains
    advantages = group_advantages(samples, recipe.rl)
    values, kept = advantages.values.flatten().tolist(), advantages.keep.flatten().tolist()

    def of(row: int) -> GalleryRow:
        prompt = written.prompts[row]
        record = gallery_record(prompt, samples.chains[row], samples.rewards[row], recipe)
        record |= {
            "advantage": values[row] if kept[row] else None,  # None: no part in the update
            "sample": written.sample_ids[row],
            "seed": written.seed,
        }
        if recipe.rl.paraphrases > 1:
            record["wording_of"] = written.prompts[row - row % samples.group].text
        return samples.images[row], record

    return of


def probe_prompts(recipe: Recipe, prompts: PromptMix) -> list[Prompt]:
    """The fixed prompts of a run: of `eval.split` where it trains on the icon world alone, else
    drawn once from its own."""
    if recipe.eval.probes == 0:
        return []
    if not recipe.data.prompts:
        return load_benchmark("icons").prompts(recipe.eval.split, recipe.eval.probes, 0)
    return prompts.draw(recipe.eval.probes, recipe.eval.seed)


class Probes:
    """Draws and judges the fixed prompts as often as it is told to, with the same noise."""

    def __init__(self, run: Run[Policy], judge: Judge, prompts: Sequence[Prompt]) -> None:
        self.run = run
        self.judge = judge
        self.any = bool(prompts)
        self.prompts = run.ranks.share(prompts)

    def save(self, step: int) -> None:
        """Saves them behind `step` updates. Every rank calls it; no answer of the judge counts as a
        failure of the run."""
        if not self.any:
            return
        run = self.run
        drawings = draw_fixed(run, self.prompts)
        judged = judge_drawings(self.judge, drawings, run)
        mine = [
            (drawing.image, gallery_record(drawing.prompt, drawing.chain, reward, run.recipe))
            for drawing, reward in zip(drawings, judged, strict=True)
        ]
        everything = run.ranks.gather(mine)
        if everything:
            run.records.save_probes(step, [row for share in everything for row in share])


def gallery_record(prompt: Prompt, chain: Chain, reward: Reward, recipe: Recipe) -> dict[str, Any]:
    """What the report shows of a sample; `found` is None where nobody looked for the objects."""
    found = rewards.found_objects(chain, reward)
    return {
        "prompt": prompt.text,
        "category": prompt.category,
        "chain": chain.text,
        "objects": [named_box(planned) for planned in chain.objects],
        "problems": list(chain.problems),
        # Whether the chain is to be read with its depths and times.
        **({"marks": True} if recipe.rollout.marks else {}),
        "found": None if found is None else list(map(named_box, found)),
        "reward": {"total": reward.total, "terms": dict(reward.terms)},
        "evidence": rewards.evidence(reward),
    }

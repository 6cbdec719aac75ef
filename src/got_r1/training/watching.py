"""A held-out judge beside the training: what it says never enters the reward.

The judge that rewards is also what the policy learns to please. Whether its scores still mean what
they meant is told by a second one, that nothing is trained on: it sees the same fixed prompts again
and again, with the same noise, and some of the steps' own samples. Both judges' answers are kept,
prompt by prompt, so that differences can be compared in pairs. (Our choice; the paper has nothing
of the kind.)
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from got_r1 import rewards
from got_r1.files.images import open_image
from got_r1.files.inputs import read_json
from got_r1.files.lines import read_rows
from got_r1.files.step_folders import step_folders
from got_r1.files.trackers.base import GalleryRow
from got_r1.judges.base import Judge
from got_r1.judges.cache import uncached
from got_r1.plan import chain as chains
from got_r1.policy.janus import Policy
from got_r1.records import TERMS, Chain, Prompt, Reward
from got_r1.sampling import Drawing
from got_r1.training.drawing import draw_fixed, judge_drawings
from got_r1.training.galleries import gallery_record
from got_r1.training.held_out import HeldOut
from got_r1.training.rollout import Samples
from got_r1.training.run import Run

__all__ = ["Look", "Watch"]

REASKED = 16  # images that the trained judge is asked about again (our choice)
PICTURED = 8  # fixed prompts of a look whose images are kept (our choice)

Row = dict[str, Any]
"""A prompt, and what both judges say of its image: {"prompt", "trained", "held_out"}."""
Look = dict[str, list[Row]]
"""What `watch.jsonl` has of a step: `prompts`, `samples`, `reasked`."""
UNANSWERED: Row = {"trained": {}, "held_out": {}}


class Watch:
    """Asks the held-out judge as often as the recipe says; does nothing where there is none."""

    def __init__(self, run: Run[Policy], trained: Judge, held_out: HeldOut | None) -> None:
        self.run = run
        self.trained = trained
        self.held_out = held_out
        self.prompts = run.ranks.share(held_out.prompts) if held_out else []
        self.kept = Kept(run, uncached(trained)) if held_out and run.ranks.main else None
        looks = read_rows(run.folder / "watch.jsonl") if self.kept and not run.fresh else []
        self.first: list[Row] = next((one["prompts"] for one in looks if "prompts" in one), [])
        """What the first look has of the fixed prompts."""

    def look(
        self, step: int, samples: Samples | None = None
    ) -> tuple[dict[str, float], Look | None]:
        """What both judges say behind `step` updates, with some of this rank's samples of the step:
        (metrics, everything) on the first rank, after writing it down; nothing where it is not
        time.

        Every rank calls it. No answer of a judge is a failure of the run: a term that one of them
        could not answer for an image is left out of both.
        """
        recipe, ranks = self.run.recipe, self.run.ranks
        due = step % recipe.watch.every == 0 or step == recipe.rl.steps
        if self.held_out is None or not due:
            return {}, None
        judge, start = self.held_out.judge, time.perf_counter()
        # The fixed prompts, drawn by the policy as it is now.
        drawn = draw_fixed(self.run, self.prompts)
        trained, held_out = (judge_drawings(one, drawn, self.run) for one in (self.trained, judge))
        mine: Look = {
            "prompts": rows([one.prompt for one in drawn], trained, held_out),
            "samples": self._own(judge, samples) if samples else [],
            "reasked": self.kept.ask(step, drawn, trained) if self.kept else [],
        }
        pictures: list[GalleryRow] = [
            (
                one.image,
                gallery_record(one.prompt, one.chain, reward, recipe)
                | row
                | {"held_out_evidence": rewards.evidence(other)},
            )
            for one, reward, other, row in zip(
                drawn, trained, held_out, mine["prompts"], strict=True
            )
        ]
        everything = ranks.gather((mine, pictures))
        if not everything:
            return {}, None
        look = {name: [row for part, _ in everything for row in part[name]] for name in mine}
        self._keep(step, look["prompts"], [one for _, some in everything for one in some])
        self.run.records.log_watch(step, look)
        return summary(look) | {"seconds/watch": time.perf_counter() - start}, look

    def _keep(self, step: int, told: list[Row], pictures: Sequence[GalleryRow]) -> None:
        """Keeps the images of a look that tell most, for the alarms that may ring until the next
        one. Their numbers follow those of the images that are asked about again."""
        self.first = self.first or told
        for number, place in enumerate(telling(told, self.first), start=REASKED):
            self.run.records.save_sample(step, number, *pictures[place], "watched")

    def _own(self, judge: Judge, samples: Samples) -> list[Row]:
        """Some of a step's samples, spread over its groups; the trained judge has answered."""
        recipe, count = self.run.recipe, len(samples.rewards)
        wanted = min(count, -(-recipe.watch.samples // self.run.ranks.size))
        some = np.linspace(0, count - 1, wanted).round().astype(int).tolist()
        prompts = [samples.rollout.chains.prompts[row] for row in some]
        held_out = rewards.score(
            judge,
            prompts,
            [samples.chains[row] for row in some],
            [samples.images[row] for row in some],
            recipe.reward,
        )
        return rows(prompts, [samples.rewards[row] for row in some], held_out)


class Kept:
    """Images of the first look, which the trained judge is asked about again at every later one,
    without a cache: whether it is still the judge that it was. They lie in `watched/`, with what it
    said of them then (`first`), and when it was asked a second time at once (`again`).
    """

    def __init__(self, run: Run[Policy], judge: Judge) -> None:
        self.run = run
        self.judge = judge
        self.known: list[tuple[Prompt, Chain, Any, Row]] = []
        folders = {} if run.fresh else step_folders(run.folder / "watched")
        for folder in folders.values():
            if self.known:
                break
            for path in sorted(folder.glob("*.json")):
                record = read_json(path, "kept sample")
                if "first" not in record:  # an image that a look kept for the alarms
                    continue
                image = np.asarray(open_image(path.with_suffix(".png")))
                chain = chains.parse(record["chain"], marks=run.recipe.rollout.marks)
                said = {when: record[when] for when in ("first", "again")}
                prompt = Prompt(record["prompt"], record["category"])
                self.known.append((prompt, chain, image, said))

    def ask(self, step: int, drawn: Sequence[Drawing], trained: Sequence[Reward]) -> list[Row]:
        """What the judge says of the kept images now; the first look keeps its own."""
        if not self.known:
            self._keep(step, drawn, trained)
            return []
        now = self._said([(prompt, chain, image) for prompt, chain, image, _ in self.known])
        return [
            {"prompt": prompt.text, **said, "now": scores(one)}
            for (prompt, _, _, said), one in zip(self.known, now, strict=True)
        ]

    def _keep(self, step: int, drawn: Sequence[Drawing], trained: Sequence[Reward]) -> None:
        """Keeps the images with the lowest and with the highest rewards, in halves: a judge that
        becomes more generous says nothing new of what has its highest mark already, a stricter one
        of what has its lowest."""
        pairs = zip(drawn, trained, strict=True)
        some = sorted(
            # Of others than well-formed chains no judge is asked.
            (pair for pair in pairs if not pair[0].chain.problems),
            key=lambda pair: pair[1].total if pair[1].total is not None else -1.0,
        )
        if len(some) > REASKED:
            some = some[: REASKED // 2] + some[-(REASKED // 2) :]
        again = self._said([(one.prompt, one.chain, one.image) for one, _ in some])
        for index, ((one, first), second) in enumerate(zip(some, again, strict=True)):
            said = {"first": scores(first), "again": scores(second)}
            record = gallery_record(one.prompt, one.chain, first, self.run.recipe) | said
            self.run.records.save_sample(step, index, one.image, record, "watched")
            self.known.append((one.prompt, one.chain, one.image, said))

    def _said(self, asked: Sequence[tuple[Prompt, Chain, Any]]) -> list[Reward]:
        return rewards.score(
            self.judge,
            [prompt for prompt, _, _ in asked],
            [chain for _, chain, _ in asked],
            [image for _, _, image in asked],
            self.run.recipe.reward,
        )


def rows(
    prompts: Sequence[Prompt], trained: Sequence[Reward], held_out: Sequence[Reward]
) -> list[Row]:
    """What both judges say, prompt by prompt."""
    return [
        {"prompt": prompt.text, "trained": scores(one), "held_out": scores(other)}
        for prompt, one, other in zip(prompts, trained, held_out, strict=True)
    ]


def scores(reward: Reward) -> dict[str, float]:
    """The terms that were answered, and the total where there is one."""
    total = {} if reward.total is None else {"total": reward.total}
    return total | {name: value for name, value in reward.terms.items() if value is not None}


def telling(told: Sequence[Row], first: Sequence[Row]) -> list[int]:
    """The places of the fixed prompts whose images tell most of the two judges, `PICTURED` at most:
    in turns, of each term, the one on which the trained judge has gained most on the held-out one
    since the first look, and the one on which it lies farthest above it now."""
    before = {row["prompt"]: row for row in first}
    rankings = []
    for earlier in (before, {}):
        for name in TERMS:
            gains = {
                place: lead - (leads(earlier.get(row["prompt"], UNANSWERED), name) or 0.0)
                for place, row in enumerate(told)
                if (lead := leads(row, name)) is not None
            }
            rankings.append(sorted(gains, key=lambda place: (-gains[place], place)))
    turns = (place for turn in zip_longest(*rankings) for place in turn if place is not None)
    return list(dict.fromkeys(turns))[:PICTURED]


def leads(row: Row, name: str) -> float | None:
    """How far the trained judge lies above the held-out one in a term, where both answered."""
    return next((trained - held_out for trained, held_out in both([row], name)), None)


MEANS = {
    "prompts": ("watch_trained", "watch"),
    "samples": ("watch_samples_trained", "watch_samples"),
}
"""The metrics of a part of a look: by the trained judge, by the held-out one."""


def summary(look: Mapping[str, Sequence[Row]]) -> dict[str, float]:
    """A look as metrics: means over the prompts or samples that both judges answered, and half the
    width of each mean's 95% interval (normal, over prompts or samples)."""
    found: dict[str, float] = {}
    for name in ("total", *TERMS):
        for part, keys in MEANS.items():
            pairs = np.array(list(both(look[part], name))).reshape(-1, 2)
            for key, values in zip(keys, pairs.T, strict=True):
                if len(values):
                    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
                    found[f"{key}/{name}"] = float(values.mean())
                    found[f"{key}_half/{name}"] = 1.96 * spread / len(values) ** 0.5
        differences = [
            abs(row["now"][name] - row["first"][name])
            for row in look["reasked"]
            if name in row["now"] and name in row["first"]
        ]
        if differences:
            found[f"judge_drift/{name}"] = float(np.mean(differences))
    return found


def both(rows: Iterable[Row], name: str) -> Iterable[tuple[float, float]]:
    """The answers for a term, where both judges have one: (trained, held out)."""
    for row in rows:
        if name in row["trained"] and name in row["held_out"]:
            yield row["trained"][name], row["held_out"][name]

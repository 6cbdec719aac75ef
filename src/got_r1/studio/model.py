"""A model that is looked at while it works: chains word by word, images row by row.

What is written and drawn is what `got-r1 sample` gives for the same model, prompt, seed and
settings; nothing of sampling happens here. Everything runs in the worker's thread.
"""

from __future__ import annotations

import base64
import io
import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from got_r1 import rewards
from got_r1.files.inputs import read_image
from got_r1.judges.base import Judge
from got_r1.measures import label
from got_r1.plan.chain import parse
from got_r1.plan.planning import Planner, explain_choice
from got_r1.plan.repair import repair
from got_r1.policy.janus import Policy
from got_r1.policy.sampler import Sampler
from got_r1.recipes.sections import RewardSection, RolloutSection
from got_r1.records import Box, Chain, FoundObject, Prompt, WrittenChains
from got_r1.sampling import Drawing
from got_r1.sampling.checks import Checks
from got_r1.sampling.settings import fitting_chain_limit
from got_r1.studio.history import History
from got_r1.studio.requests import DrawRequest, MendRequest, PlanRequest
from got_r1.studio.views import found_boxes, view_plan
from got_r1.studio.worker import Event, Job

__all__ = ["METADATA", "Emit", "Model", "data_uri"]

METADATA = "got-r1"
"""The key of an exported PNG's text chunk that holds the plan file."""
Emit = Callable[..., None]
"""`Job.emit`: says of what kind something is that happened, and more of it by name."""
_FRAMES = 10  # a second, of an image that is shown while it is drawn


@dataclass(frozen=True, slots=True)
class Model:
    """A policy with its name and usual settings, who judges (if anybody), and where entries go;
    `options`: those of the command line that the picture depends on, such as --dtype."""

    name: str
    policy: Policy
    rollout: RolloutSection
    checks: Checks
    history: History
    judge: Judge | None = None
    options: tuple[str, ...] = ()

    def about(self) -> dict[str, Any]:
        """What the page needs to know of the model before anybody draws."""
        world: dict[str, Any] = {}
        examples: Sequence[str] = (
            "a red apple on the left of a green vase",
            "two dogs and one cat",
            "a wooden chair below a round clock",
        )
        if self.checks.world:
            from got_r1.icons.words import EXAMPLE, vocabulary

            world = {kind: list(words) for kind, words in vocabulary().items()}
            examples = (
                EXAMPLE,
                "two green trees and one moon",
                "a horse above a dotted tower",
            )
        return {
            "name": self.name,
            "grid": self.policy.grid,
            "image_size": self.policy.model.config.vision_config.image_size,
            "guidance": self.rollout.guidance,
            "temperature": self.rollout.chain_temperature,
            "image_temperature": self.rollout.image_temperature,
            "world": world,
            "examples": list(examples),
            "judge": self.judge is not None,
        }

    # -- plans -------------------------------------------------------------------------------------

    def write_plan(self, asked: PlanRequest, job: Job) -> Event:
        """Writes chains, shown as they grow ("chain", of each candidate), and chooses one."""
        prompt = self.told(asked.prompt)
        start = time.perf_counter()
        written = self.chains(asked, asked.plans, job.emit)
        plans = [parse(text, marks=self.rollout.marks) for text in written.texts]
        decision = Planner(asked.plans, None, False, self.policy.grid).decide([prompt], [plans])[0]
        return {
            "chosen": decision.chosen,
            "why": explain_choice(decision.record()) if asked.plans > 1 else "",
            "scores": [score.total for score in decision.scores],
            "candidates": [self.view(asked.prompt, plan.text) for plan in plans],
            "stop": written.stops[decision.chosen],
            "seconds": time.perf_counter() - start,
            **self.words(asked.prompt),
        }

    def chains(
        self, asked: PlanRequest, n: int, emit: Emit, *, keyed_by: str | None = None
    ) -> WrittenChains:
        """Writes `n` chains of one prompt, shown as they grow ("chain"); keeps nothing. `keyed_by`:
        the text that the noise is keyed by, in place of the prompt as the model is told it."""
        prompt = self.told(asked.prompt)
        begin = self.policy.begin_of_image_id
        shown: dict[int, str] = {}

        def watch(stage: str, rows: Sequence[int], ids: Tensor) -> None:
            for row, some in zip(rows, ids, strict=True):
                ends = ((some == begin) | (some == self.policy.eos_id)).nonzero()
                length = int(ends[0]) if len(ends) else len(some)
                text = self.policy.decode_chain(some[:length])
                if shown.get(row) != text:
                    shown[row] = text
                    emit("chain", candidate=row, **self.view(asked.prompt, text))

        return Sampler(self.policy, watch=watch, keyed_by=keyed_by).write_chains(
            [prompt],
            n,
            seed=asked.seed,
            limit=fitting_chain_limit(self.policy, [prompt], None),
            temperature=asked.temperature or self.rollout.chain_temperature,
        )

    def mend(self, asked: MendRequest) -> dict[str, Any]:
        """The plan with its boxes moved until the asked relation holds, and what was done."""
        plan = parse(asked.chain, marks=self.rollout.marks)
        mended = repair(Prompt(asked.prompt), plan, self.policy.grid, asked.margin)
        return {
            "repaired": mended.repaired,
            "reason": mended.reason,
            **self.view(asked.prompt, mended.chain.text),
        }

    # -- images ------------------------------------------------------------------------------------

    def draw(self, asked: DrawRequest, job: Job) -> Event:
        """Draws images from a chain, shown row by row ("image"), and keeps them in the history."""
        prompt = self.told(asked.prompt)
        text, changes = self.checks.fitted(asked.chain)
        temperature = asked.temperature or self.rollout.image_temperature
        guidance = asked.guidance or self.rollout.guidance
        start = time.perf_counter()
        chains = Sampler(self.policy).given_chains(
            [prompt] * asked.n, [text] * asked.n, seed=asked.seed
        )
        images = self.pictures(chains, job.emit, guidance=guidance, temperature=temperature)
        seconds = time.perf_counter() - start
        entry = {
            "model": self.name,
            "prompt": asked.prompt,
            "seed": asked.seed,
            "guidance": guidance,
            "image_temperature": temperature,
            **self.view(asked.prompt, text),
            "looks": [self.look(asked.prompt, text, image) for image in images],
            "seconds": seconds,
            "made": time.time(),
        }
        entry["command"] = command_line(self.name, entry, asked.n, self.options)
        record = {key: entry[key] for key in ("prompt", "prose", "objects", "chain")}
        record |= {"marks": True} if self.rollout.marks else {}
        name = self.history.add(entry, [encode(image, record) for image in images])
        said = {"changes": changes, **self.words(asked.prompt)}
        return {"entry": name, "images": len(images), **said, **entry}

    def pictures(
        self,
        chains: WrittenChains,
        emit: Emit,
        *,
        guidance: float,
        temperature: float,
        keyed_by: str | None = None,
    ) -> NDArray[np.uint8]:
        """Draws an image from each chain, uint8 [n, height, width, 3], shown row by row
        ("progress", "image"); keeps nothing. `keyed_by` as in `chains`."""
        grid, last = self.policy.grid, 0.0

        def watch(stage: str, rows: Sequence[int], ids: Tensor) -> None:
            nonlocal last
            emit("progress", share=ids.shape[1] / self.policy.image_tokens)
            if time.perf_counter() - last < 1 / _FRAMES:
                return
            last = time.perf_counter()
            for row, image in zip(rows, self._unfinished(ids), strict=True):
                rows_there = ids.shape[1] // grid
                share = rows_there / grid
                emit("image", index=row, rows=rows_there, share=share, png=data_uri(image))

        sampler = Sampler(self.policy, watch=watch, keyed_by=keyed_by)
        drawn = sampler.draw_images(chains, guidance=guidance, temperature=temperature)
        return self.policy.decode_images(drawn.image_ids)

    def judged(self, name: str, index: int, job: Job) -> Event:
        """Every term of an image of the history, with its evidence and the found boxes; kept with
        the entry."""
        entry = self.history.read(name)
        image = read_image(self.history.image(name, index))
        chain = parse(str(entry["chain"]), marks=self.rollout.marks)
        job.emit("judging")
        verdict = self.verdict(str(entry["prompt"]), chain, image)
        self.history.add_verdict(name, index, verdict)
        return verdict

    def verdict(self, prompt: str, chain: Chain, image: NDArray[np.uint8]) -> dict[str, Any]:
        """What the judge says of a sample, uint8 [height, width, 3]: the total, every term that it
        answered with its evidence, by label, and the found boxes; None where it did not look for
        them."""
        assert self.judge is not None  # the pages offer it where there is one
        (reward,) = rewards.score(self.judge, [Prompt(prompt)], [chain], [image], RewardSection())
        found = rewards.found_objects(chain, reward)
        return {
            "total": reward.total,
            "terms": {label(term): value for term, value in reward.terms.items()},
            "evidence": {label(term): text for term, text in rewards.evidence(reward).items()},
            "found": None if found is None else found_boxes(chain, found),
        }

    # -- parts -------------------------------------------------------------------------------------

    def told(self, text: str) -> Prompt:
        """The prompt as the model is to be told it."""
        spoken = self.checks.spoken
        return Prompt(spoken(text) if spoken else text)

    def view(self, prompt: str, text: str) -> dict[str, Any]:
        """`view_plan` of a chain."""
        return view_plan(prompt, text, world=self.checks.world, marks=self.rollout.marks)

    def words(self, text: str) -> dict[str, Any]:
        """What of a prompt is not understood, and how it is reworded."""
        prompt = Prompt(text)
        doubts = self.checks.doubts([prompt]).get(text, ())
        return {"not_understood": list(doubts), "reworded": self.checks.reworded([prompt])}

    def _unfinished(self, ids: Tensor) -> NDArray[np.uint8]:
        """Images of which some rows of tokens are drawn (int64 [B, tokens]), cut below these."""
        missing = self.policy.image_tokens - ids.shape[1]
        whole = torch.cat([ids, ids[:, -1:].expand(-1, missing)], dim=1)
        images = self.policy.decode_images(whole)
        return images[:, : images.shape[1] * ids.shape[1] // self.policy.image_tokens]

    def look(self, prompt: str, text: str, image: NDArray[np.uint8]) -> dict[str, Any]:
        """What can be said of an image, uint8 [height, width, 3], without a judge
        (`Checks.look`)."""
        chain = parse(text, marks=self.rollout.marks)
        said = self.checks.look(Drawing(Prompt(prompt), chain, "given", image, 0, 0, 0))
        if "found" in said:
            found = [FoundObject(one["name"], Box(*one["box"])) for one in said["found"]]
            said["found"] = found_boxes(chain, found)
        return said


def encode(image: NDArray[np.uint8], plan: Mapping[str, Any]) -> bytes:
    """A PNG, with the plan file inside as text."""
    inside = PngInfo()
    inside.add_itxt(METADATA, json.dumps(plan, ensure_ascii=False))
    data = io.BytesIO()
    Image.fromarray(image).save(data, format="PNG", pnginfo=inside)
    return data.getvalue()


def command_line(
    model: str, entry: Mapping[str, Any], images: int, options: Sequence[str] = ()
) -> str:
    """The `got-r1 sample` call that draws an entry again, its plan exported as plan.json."""
    words = ["got-r1", "sample", "--model", model, "--prompt", str(entry["prompt"])]
    words += ["--chain", "plan.json", "--seed", str(entry["seed"])]
    words += ["--guidance", f"{entry['guidance']:g}"]
    words += ["--image-temperature", f"{entry['image_temperature']:g}"]
    words += ["--images-per-chain", str(images)] if images > 1 else []
    return shlex.join([*words, *options, "--out", "again"])


def data_uri(image: NDArray[np.uint8]) -> str:
    """An image as a PNG in an address."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, format="PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"

"""Training of a student judge: a small model learns the scores that another judge gave.

Where runs keep their scored queries (`judge.record`), a student can be trained on them that answers
most of the next run's queries alone (`got_r1.judges.student`). (Our choice; the paper asks an MLLM
every time.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from got_r1.errors import BadInput
from got_r1.judges.examples import Example, read_examples
from got_r1.plan.chain import strip_boxes
from got_r1.recipes.sections import Recipe, StudentSection
from got_r1.records import ImageQuery
from got_r1.student.agreement import agreement
from got_r1.student.encoder import Encoder, tiny_encoder
from got_r1.student.network import STUDENT_TERMS, Student, mark_loss
from got_r1.training.optimizer import make_optimizer, update
from got_r1.training.run import Run, seed_step
from got_r1.vision.pretrained import pick_device

__all__ = ["train"]

Examples = Mapping[str, Sequence[Example]]
"""By term."""


def train(recipe: Recipe, resume: bool = False, quiet: bool = False) -> dict[str, object]:
    """Trains a student by `recipe.student`; returns a summary with its folder and its agreement
    with its teacher on prompts that it was not trained on, by term."""
    section = recipe.student
    trained, calibrating, measured = divide(list(read_examples(section.examples)), section)
    student = new_student(section, trained, recipe.run.seed)
    optimizer = make_optimizer(student.trainable().values(), section)
    with Run.open(
        recipe, section, student, optimizer, title="Student", resume=resume, quiet=quiet
    ) as run:
        for step in run.steps():
            seed = seed_step(recipe.run.seed, step)
            metrics = learn(student, optimizer, trained, section, step, seed)
            run.log(step, metrics)
            run.watch(step, metrics)
        student.eval()
        calibrate(student, calibrating)
        found = {
            term: agreement(student.probabilities([one.query for one in some]), scores_of(some))
            for term, some in measured.items()
        }
        student.facts = {
            "teacher": sorted({one.judge for some in trained.values() for one in some}),
            "examples": {term: len(some) for term, some in trained.items()},
            "agreement": found,
        }
        folder = run.finish()
        run.records.save_eval("student", found)
        return run.summary(model=str(folder), agreement=found)


def divide(examples: Sequence[Example], section: StudentSection) -> tuple[Examples, ...]:
    """The examples to train on, to calibrate with and to measure on, by term; divided by prompt, so
    that all that was asked about a prompt stays together.

    Raises BadInput where there is nothing for a part, or the answers are of several judges.
    """
    judges = {(one.query.term, one.judge) for one in examples}
    for term in STUDENT_TERMS:
        names = sorted(judge for of, judge in judges if of == term)
        if len(names) > 1:
            raise BadInput(
                f"student.examples hold scores of {term} by several judges ({', '.join(names)}): a "
                "student learns from one; name folders of one judge"
            )
    parts: tuple[dict[str, list[Example]], ...] = ({}, {}, {})
    for one in examples:
        draw = hashlib.sha256(one.query.prompt.text.encode(errors="replace")).digest()
        share = int.from_bytes(draw[:8]) / 2**64
        held = section.held_out
        part = 0 if share >= held else 1 if share >= held / 2 else 2
        parts[part].setdefault(one.query.term, []).append(one)
    terms = parts[0].keys()
    if not terms or any(part.keys() != terms for part in parts):
        raise BadInput(
            f"student.examples hold {len(examples)} examples, too few to train on some and measure "
            "on others: keep those of longer runs (judge.record), or raise student.held_out"
        )
    return parts


def new_student(section: StudentSection, examples: Examples, seed: int) -> Student:
    """The student that training begins with. Raises BadInput as `Encoder.load`, `Student.load`."""
    if section.start:
        return Student.load(section.start).unfreeze()
    torch.manual_seed(seed)
    if section.encoder:
        encoder = Encoder.load(section.encoder)
    else:
        encoder = tiny_encoder(
            words(examples),
            seed=seed,
            image_size=image_size(examples),
            width=section.encoder_width,
            layers=section.encoder_layers,
        )
    student = Student(encoder, source=section.encoder, width=section.width, layers=section.layers)
    return student.to(encoder.device if section.encoder else pick_device(""))


def words(examples: Examples) -> list[str]:
    """All texts of prompts and chains, which make the tokenizer of an encoder from nothing."""
    texts = {one.query.prompt.text for some in examples.values() for one in some}
    for some in examples.values():
        texts |= {
            strip_boxes(one.query.chain.text)
            for one in some
            if not isinstance(one.query, ImageQuery)
        }
    return sorted(texts)


def image_size(examples: Examples) -> int:
    """Of an encoder from nothing: the images' own, at most 64 pixels."""
    for one in examples.get("r_pi", ()):
        if isinstance(one.query, ImageQuery):
            return min(64, one.query.image.shape[0]) // 4 * 4
    return 40


def learn(
    student: Student,
    optimizer: torch.optim.Optimizer,
    examples: Examples,
    section: StudentSection,
    step: int,
    seed: int,
) -> dict[str, float]:
    """One update on a batch of each term; returns metrics."""
    student.train()
    draw, metrics = np.random.default_rng(seed), {}
    for term, some in examples.items():
        batch = [some[row] for row in draw.integers(len(some), size=section.batch)]
        logits = student([one.query for one in batch])
        loss = mark_loss(logits, scores_of(batch).to(logits.device)) / len(examples)
        loss.backward()
        metrics[f"loss/{term}"] = loss.item() * len(examples)
    metrics["loss"] = float(np.mean(list(metrics.values())))
    student.eval()
    return metrics | update(optimizer, section, step, metrics["loss"])


def scores_of(examples: Sequence[Example]) -> Tensor:
    """Float32 [examples], in [0, 1]."""
    return torch.tensor([one.score for one in examples])


@torch.no_grad()
def calibrate(student: Student, examples: Examples) -> None:
    """Sets each term's temperature to the one that fits examples best that nothing was trained on:
    a student that is sure of what it remembers would not ask about what it does not know."""
    for term, some in examples.items():
        place = STUDENT_TERMS.index(term)
        student.temperature[place] = 1.0
        logits = student.probabilities([one.query for one in some]).clamp(min=1e-9).log()
        scores = scores_of(some)

        def loss(log: float, logits: Tensor = logits, scores: Tensor = scores) -> float:
            return float(mark_loss(logits / float(np.exp(log)), scores))

        best: Any = minimize_scalar(loss, bounds=(-2.0, 2.0), method="bounded")
        student.temperature[place] = float(np.exp(best.x))

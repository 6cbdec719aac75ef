"""A student judge that goes on learning in the run that it scores, from its teacher's answers.

Where the student doubts, its teacher is asked (`judges.student`). Behind the policy's update the
student makes one of its own on the teacher's answers of the step, never on what it said itself, and
the next step is scored by what it then is. Its weights and its optimizer's state are part of the
run's checkpoints, and nothing in it is random: so a resumed run has the student of the
uninterrupted one. (Our choice; the paper's judge stays as it is.)

Several processes have one student: each adds up the gradients of its own samples' answers, and
all of them step by the sum.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from got_r1.files.atomic import replace_folder
from got_r1.judges.base import Judge
from got_r1.judges.specs import check_learning, resolve
from got_r1.judges.student import student_behind
from got_r1.recipes.sections import Recipe
from got_r1.records import ImageQuery, SemanticQuery, SpatialQuery, Verdict
from got_r1.student.network import STUDENT_TERMS, Scored, Student, mark_loss
from got_r1.training.checkpoint import Learner
from got_r1.training.distributed import Ranks
from got_r1.training.rollout import Samples

__all__ = ["Lessons"]

BATCH = 64  # answers a forward pass
LARGEST = 1.0  # norm of a gradient, beyond which it is scaled down (our choice)


class Lessons:
    """The lessons of a judge's student; does nothing where `judge.learn` is off."""

    def __init__(self, judge: Judge, recipe: Recipe, ranks: Ranks) -> None:
        """Raises BadInput where `judge.learn` finds no student, no teacher, or several students."""
        self.ranks = ranks
        self.student: Student | None = None
        if not recipe.judge.learn:
            return
        check_learning(resolve(recipe.judge))
        if (found := student_behind(judge)) is not None:
            self.student = found.student.unfreeze()
            weights = self.student.trainable().values()
            rate = recipe.judge.learning_rate
            self.optimizer = torch.optim.AdamW(weights, rate, weight_decay=0.0)

    @property
    def learner(self) -> Learner | None:
        """What a checkpoint keeps; None where nothing is learnt."""
        return None if self.student is None else Learner(self.student, self.optimizer)

    def learn(self, samples: Samples) -> dict[str, float]:
        """One update on what the teacher answered about this rank's samples of a step, and about
        those of the others. Every rank calls it; returns the same metrics on each, none where
        the teacher was not asked."""
        if self.student is None:
            return {}
        start = time.perf_counter()
        answers = list(teacher_answers(samples))
        total = int(self.ranks.sum(len(answers)))
        if total == 0:
            return {}
        loss = torch.zeros((), device=self.student.device)
        for term in STUDENT_TERMS:
            some = [(query, score) for query, score in answers if query.term == term]
            for first in range(0, len(some), BATCH):
                queries, scores = zip(*some[first : first + BATCH], strict=True)
                logits = self.student(queries)
                part = mark_loss(logits, torch.tensor(scores, device=logits.device))
                part = part * len(queries) / total
                part.backward()
                loss += part.detach()
        metrics = {"student_answers": float(total), "student_loss": float(self.ranks.sum(loss))}
        return metrics | self._step() | {"seconds/student": time.perf_counter() - start}

    def _step(self) -> dict[str, float]:
        """One step of the optimizer by the gradients of all ranks; none where these are not finite,
        which is then a metric."""
        weights = [one for group in self.optimizer.param_groups for one in group["params"]]
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        # One sum instead of one for each weight.
        sums = self.ranks.sum(torch.cat([one.flatten() for one in gradients])).to(weights[0].device)
        for weight, part in zip(weights, sums.split([w.numel() for w in weights]), strict=True):
            weight.grad = part.view_as(weight)
        norm = nn.utils.clip_grad_norm_(weights, LARGEST)
        finite = bool(norm.isfinite())
        if finite:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {} if finite else {"student_skipped": 1.0}

    def save(self, folder: Path) -> None:
        """Writes the student as it is now, as `train judge` would, where it has learnt. Every rank
        calls it. What was once measured of it is left out."""
        student = self.student
        if student is None:
            return

        def write() -> None:
            student.facts.pop("agreement", None)
            state: dict[str, Tensor] = dict(student.merged_tensors())
            with replace_folder(folder) as beside:
                student.save_state(beside, state)

        self.ranks.run_on_rank0(write)


def teacher_answers(samples: Samples) -> Iterator[tuple[Scored, float]]:
    """The queries that a student doubted, with what its teacher said."""
    prompts = samples.rollout.chains.prompts
    for row, reward in enumerate(samples.rewards):
        for term, verdict in reward.verdicts.items():
            if not isinstance(verdict, Verdict) or verdict.guess is None or verdict.score is None:
                continue
            match term:
                case "r_sem":
                    yield SemanticQuery(prompts[row], samples.chains[row]), verdict.score
                case "r_spa":
                    yield SpatialQuery(prompts[row], samples.chains[row]), verdict.score
                case "r_pi":
                    yield ImageQuery(prompts[row], samples.images[row]), verdict.score

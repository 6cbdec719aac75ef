"""GenEval's summary: verdicts in, the official figures out.

The overall score is the mean over tags of the share of right images: neither over images nor over
prompts. A prompt counts as right if any of its images is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from got_r1.errors import BadInput

__all__ = ["Judged", "Summary", "TaskSummary", "summarise"]


@dataclass(frozen=True, slots=True)
class Judged:
    """One image: its prompt, the prompt's tag, and whether it is right."""

    tag: str
    prompt: str
    correct: bool


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """The images of one tag."""

    correct: int
    images: int

    @property
    def share(self) -> float:
        """Share of right images, in [0, 1]."""
        return self.correct / self.images


@dataclass(frozen=True, slots=True)
class Summary:
    """Tags in the order of their first image; shares in [0, 1]."""

    total_images: int
    total_prompts: int
    correct_images: float
    correct_prompts: float
    tasks: dict[str, TaskSummary]
    overall: float

    def text(self) -> str:
        """The figures as the official script rounds them."""
        lines = [
            f"images: {self.total_images}, prompts: {self.total_prompts}",
            f"right images: {self.correct_images:.2%}, right prompts: {self.correct_prompts:.2%}",
            *(
                f"{tag}: {task.share:.2%} ({task.correct} / {task.images})"
                for tag, task in self.tasks.items()
            ),
            f"overall: {self.overall:.5f}",
        ]
        return "\n".join(lines)


def summarise(images: Sequence[Judged]) -> Summary:
    """The official figures of judged images. Raises BadInput for none."""
    if not images:
        raise BadInput("there are no judged images to summarise; score some first.")
    tasks: dict[str, TaskSummary] = {}
    prompts: dict[tuple[str, str], bool] = {}
    for image in images:
        before = tasks.get(image.tag, TaskSummary(0, 0))
        tasks[image.tag] = TaskSummary(before.correct + image.correct, before.images + 1)
        asked = (image.tag, image.prompt)
        prompts[asked] = prompts.get(asked, False) or image.correct
    return Summary(
        total_images=len(images),
        total_prompts=len(prompts),
        correct_images=sum(image.correct for image in images) / len(images),
        correct_prompts=sum(prompts.values()) / len(prompts),
        tasks=tasks,
        overall=sum(task.share for task in tasks.values()) / len(tasks),
    )

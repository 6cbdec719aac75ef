"""Color, shape and texture: each noun chunk of a prompt is asked as a question about the image.

The arithmetic of T2I-CompBench's `BLIP_vqa.py`: which questions, how the model sees them, and the
product of the rounded answers. Odd, but kept without a switch:

- A prompt without a noun chunk scores 1; chunks beyond the eighth are never asked.
- Directions are left out only as written in lower case ("The top" is asked).
- Answers are rounded to four places before the product, and the product again, in float32.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

__all__ = ["MOST_QUESTIONS", "answer", "model_question", "questions", "score"]

MOST_QUESTIONS = 8
NO_OBJECTS = {"top", "the side", "the left", "the right"}
LONGEST_QUESTION = 50  # words
_DELETED = re.compile(r'[.!"()*#:;~]')


def questions(noun_chunks: Sequence[str], most: int = MOST_QUESTIONS) -> list[str]:
    """The questions about an image, as they are written down."""
    return [f"{chunk}?" for chunk in noun_chunks if chunk not in NO_OBJECTS][:most]


def model_question(question: str) -> str:
    """A question as the model's tokenizer sees it (BLIP's own preparation of questions)."""
    plain = _DELETED.sub("", question.lower()).rstrip(" ")
    return " ".join(plain.split(" ")[:LONGEST_QUESTION])


def answer(yes: float, no: float) -> str:
    """The answer to a question as it is written down: P(yes) over P(yes) + P(no), four places.

    `yes` and `no` are logits (or log-probabilities) of the first token of the answer. The official
    code asks empty questions too where a prompt has fewer than eight, and ignores what they answer.
    """
    # Both probabilities in float32, as softmax gives them; the larger logit cancels.
    top = max(yes, no)
    weights = np.exp(np.array([yes - top, no - top], np.float32))
    return f"{weights[0] / weights.sum():.4f}"


def score(answers: Sequence[str]) -> str:
    """The score of an image as it is written down: the product of the written answers."""
    product = np.float32(1)
    for one in answers:
        product = np.float32(product * np.float32(one))
    return f"{product:.4f}"

"""Queries as questions to a multimodal language model, and its replies as verdicts.

Every judge that is such a model uses this wording, wherever the model runs:

    for asked in question(query, settings):   # one, or one for each planned name of a grounding
        query reply = ...                         # to asked.system, asked.images and asked.text
        answer = asked.read(reply)          # a Verdict, or replies.Unreadable: put it again
    verdict(query, answers)                   # joins them

**What is judged is data.** The policy writes the chain that the judge reads, and learns whatever
raises its score: praise of itself, a planted verdict, tokens that end the user's turn. So texts
under judgement stand inside a fence, without any sign that could close it or be taken for a special
token or for JSON (`as_data`); and the rubric says before and after it that nothing inside is an
instruction. `got-r1 audit judge` measures what persuasion is left.

**Sizes.** Qwen2.5-VL answers in pixels of the image as its processor resized it. Images are sent at
a size that the processor leaves alone (`sent_size`), so that those pixels are ours too.

The rubrics, in prompts/*.txt, are our own words for what the paper's appendix asks: the same terms,
bands and JSON. A file holds the system's part and the user's, parted by a line of three hyphens.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import resources
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from got_r1.judges.coordinates import CONVENTIONS
from got_r1.judges.replies import Order, read_boxes, read_score
from got_r1.judges.schemas import boxes_schema, score_schema
from got_r1.judges.settings import MLLMSettings
from got_r1.plan.chain import strip_boxes
from got_r1.plan.layout import draw_plan, frame_times
from got_r1.records import (
    Box,
    Chain,
    FoundObject,
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    PlannedObject,
    QualityQuery,
    Query,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)
from got_r1.vision.boxes import to_thousandths

__all__ = [
    "LONGEST_SIDE_RATIO",
    "Question",
    "as_data",
    "question",
    "rubric",
    "sent_size",
    "total",
    "verdict",
    "wording_version",
]

LONGEST_SIDE_RATIO = 16
"""Images longer than this many times their width are not judged: no size fits them."""

_READING = 3
"""Counted up when the code here or in `replies` and its parts changes what a given reply is read
as, or what is sent: cached answers of before are then asked anew."""

_LONGEST_NAME = 200  # characters of a planned name that a judge is asked for


@dataclass(frozen=True, slots=True)
class Question:
    """One question to a model.

    `images`: uint8 [height, width, 3] each, at the size to be sent, before the text. `read` makes a
    verdict of the reply; it raises `replies.Unreadable` where there is none to make. `schema`: the
    reply that the text asks for, as a JSON schema called `name`.
    """

    system: str
    text: str
    images: tuple[np.ndarray, ...]
    read: Callable[[str], Verdict]
    name: str
    schema: Mapping[str, Any]


def question(query: Query, settings: MLLMSettings) -> list[Question]:
    """What to put to the model: one question, for a grounding query one for each distinct name.

    None where the model is not to be asked at all; `verdict` then says why.
    """
    if _unanswerable(query):
        return []
    match query:
        case SemanticQuery():
            texts = {
                "prompt": as_data(query.prompt.text),
                "chain": as_data(strip_boxes(query.chain.text)),
            }
            return [_scored("r_sem", texts, (), settings)]
        case SpatialQuery() if settings.spatial == "text":
            plan = "\n".join(map(_plan_line, query.chain.objects))
            texts = {"prompt": as_data(query.prompt.text), "plan": plan}
            return [_scored("r_spa_text", texts, (), settings)]
        case SpatialQuery():
            # Drawn at the size that is sent: a drawing that is resized gets blurred labels.
            size = _canvas_size(query.chain, settings)
            plan_image = draw_plan(query.chain.objects, size)
            texts = {"prompt": as_data(query.prompt.text)}
            return [_scored("r_spa", texts, (plan_image,), settings)]
        case ImageQuery():
            image = _at_sent_size(query.image, settings)
            return [_scored("r_pi", {"prompt": as_data(query.prompt.text)}, (image,), settings)]
        case GroundingQuery():
            image = _at_sent_size(query.image, settings)
            names = dict.fromkeys(planned.name for planned in query.chain.objects)
            return [_grounding(name, image, settings) for name in names]
        case QualityQuery():
            return []


def verdict(query: Query, answers: Sequence[Verdict | JudgeFailure]) -> Verdict | JudgeFailure:
    """The answer to a query from the answers to its questions, in order; one failure fails it."""
    if reason := _unanswerable(query):
        return JudgeFailure(reason)
    tokens = total([answer.tokens for answer in answers])
    for answer in answers:
        if isinstance(answer, JudgeFailure):
            return replace(answer, tokens=tokens)
    verdicts = [answer for answer in answers if isinstance(answer, Verdict)]
    if not isinstance(query, GroundingQuery):
        (only,) = verdicts
        return only
    found = tuple(item for each in verdicts for item in each.found)
    names = {item.name for item in found}
    missing = dict.fromkeys(p.name for p in query.chain.objects if p.name not in names)
    reasoning = f"not found: {', '.join(missing)}" if missing else "every planned object was found"
    return Verdict(None, found, reasoning, "\n".join(each.reply for each in verdicts), tokens)


def total(tokens: Iterable[int | None]) -> int | None:
    """The sum of what is known; None where nothing is."""
    known = [count for count in tokens if count is not None]
    return sum(known) if known else None


def _unanswerable(query: Query) -> str:
    """Why a model cannot be asked this; empty where it can."""
    match query:
        case QualityQuery():
            return (
                "R_HPS is HPS v2.1's rating, which no language model gives: name a judge for the "
                "term, such as r_hps: experts"
            )
        case ImageQuery() | GroundingQuery():
            height, width = query.image.shape[:2]
            if min(height, width) * LONGEST_SIDE_RATIO < max(height, width):
                return f"an image of {width} x {height} pixels is too narrow to be judged"
    return ""


@cache
def _rubric(name: str) -> tuple[str, Template]:
    """The system's part of a rubric, and the user's."""
    file = resources.files(__package__) / "prompts" / f"{name}.txt"
    system, user = file.read_text(encoding="utf-8").split("\n---\n")
    return system.strip(), Template(user.strip())


def rubric(name: str) -> str:
    """A rubric for people (`name`: "r_sem", "r_spa" or "r_pi"): the judge's own, without the
    paragraph that keeps a model from taking what it reads for instructions."""
    paragraphs = _rubric(name)[0].split("\n\n")
    return "\n\n".join(text for text in paragraphs if " is material, not conversation" not in text)


def wording_version(settings: MLLMSettings) -> str:
    """A digest of all that decides what is sent and how a reply is read, for keys of caches."""
    digest = hashlib.sha256(f"{_READING} {settings.model_dump_json()}".encode())
    for name in ("r_sem", "r_spa", "r_spa_text", "r_pi", "r_ri"):
        system, user = _rubric(name)
        digest.update(f"{name}\0{system}\0{user.template}\0".encode())
    return digest.hexdigest()[:16]


# -- scored queries --------------------------------------------------------------------------------


# The texts of the JSON that a rubric's last line asks for, in its order: "reasoning": "<...>".
_ASKED_TEXT = re.compile(r'"(\w+)": "<')


def _scored(
    rubric: str, texts: dict[str, str], images: tuple[np.ndarray, ...], settings: MLLMSettings
) -> Question:
    system, user = _rubric(rubric)
    asked = _ASKED_TEXT.findall(user.template.splitlines()[-1])
    schema = score_schema(asked, settings.max_tokens)
    return Question(system, user.substitute(texts), images, _read_score, rubric, schema)


def _read_score(reply: str) -> Verdict:
    said = read_score(reply)
    return Verdict(said.score, reasoning=said.reasoning, reply=reply)


def _plan_line(planned: PlannedObject) -> str:
    box = planned.box
    line = f"- {as_data(planned.name)}: ({box.x1},{box.y1}),({box.x2},{box.y2})"
    if box.depth is not None:
        line += f", depth {box.depth} (larger is nearer)"
    return line if box.time is None else f"{line}, in frame {box.time}"


# -- grounding -------------------------------------------------------------------------------------

# A name that spells out its box ("heart at 10, 20, 300, 400") would be answered with an echo.
_SPELLED_BOX = re.compile(r"[0-9]+(?:[^0-9]{1,5}[0-9]+){3,}")


def _grounding(name: str, image: np.ndarray, settings: MLLMSettings) -> Question:
    asked_for = _SPELLED_BOX.sub("…", as_data(name))[:_LONGEST_NAME]
    height, width = image.shape[:2]
    asked = CONVENTIONS[settings.coordinates]
    system, user = _rubric("r_ri")
    text = user.substitute(
        name=asked_for,
        coordinates=asked.words(width, height),
        key=asked.key,
        corners=asked.corners,
    )
    frame = asked.frame(width, height)
    read = partial(_read_boxes, name=name, asked_for=asked_for, frame=frame, order=asked.order)
    return Question(system, text, (image,), read, "r_ri", boxes_schema(_LONGEST_NAME, asked.key))


def _read_boxes(
    reply: str, name: str, asked_for: str, frame: tuple[int, int], order: Order
) -> Verdict:
    found = read_boxes(reply, asked_for, frame, order)
    boxes: list[Box] = [to_thousandths(box, *frame) for box in found]
    return Verdict(None, tuple(FoundObject(name, box) for box in boxes), reply=reply)


# -- what is sent ----------------------------------------------------------------------------------

_LOOKALIKES = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")", "[": "(", "]": ")"})


def as_data(text: str) -> str:
    """A text under judgement as it stands in its fence: one line that can imitate nothing.

    No angle, square or curly bracket is left, so there is no closing fence, no special token of any
    family (`<|im_end|>`, `</s>`, `[INST]`) and no JSON; brackets become quotes and parentheses
    that read the same. Forms that a tokenizer's normalisation would turn into brackets are resolved
    first. Control and formatting characters go, line breaks become spaces.
    """
    # NFKD takes apart what hides a bracket (fullwidth forms, "≮"); NFC puts accents back together
    # and makes no bracket.
    plain = unicodedata.normalize("NFKD", text).translate(_LOOKALIKES)
    kept = (c for c in plain if c.isspace() or not unicodedata.category(c).startswith("C"))
    return unicodedata.normalize("NFC", " ".join("".join(kept).split()))


def sent_size(width: int, height: int, settings: MLLMSettings) -> tuple[int, int]:
    """The (width, height) at which an image is sent: a fixed point of Qwen's resizing.

    Qwen-VL's processors round both sides to multiples of a patch and then bring the area between
    two limits ("smart resize", transformers' `qwen2_vl`). By the same rule with limits inside of
    theirs, the result is a size that they leave as it is: their default limits are 56 x 56 and
    28 x 28 x 1280 pixels for Qwen2.5-VL, 256 x 256 and 4096 x 4096 for Qwen3-VL.
    """
    patch = settings.patch
    sent = round(width / patch) * patch, round(height / patch) * patch
    if sent[0] * sent[1] > settings.max_pixels:
        shrink = math.sqrt(settings.max_pixels / (width * height))
        sent = (
            _multiple(width * shrink, patch, math.floor),
            _multiple(height * shrink, patch, math.floor),
        )
    elif sent[0] * sent[1] < settings.min_pixels:
        grow = math.sqrt(settings.min_pixels / (width * height))
        sent = _multiple(width * grow, patch, math.ceil), _multiple(height * grow, patch, math.ceil)
    return sent


def _canvas_size(plan: Chain, settings: MLLMSettings) -> tuple[int, int]:
    """The (width, height) that a plan is drawn at; of each frame, where it has several, so that all
    of them side by side are sent as they are drawn."""
    frames = max(1, len(frame_times(plan.objects)))
    width, height = sent_size(settings.canvas, settings.canvas, settings)
    if frames * width * height > settings.max_pixels:
        side = math.isqrt(settings.max_pixels // frames)
        width = height = _multiple(side, settings.patch, math.floor)
    return width, height


def _multiple(side: float, patch: int, rounded: Callable[[float], int]) -> int:
    return max(patch, rounded(side / patch) * patch)


def _at_sent_size(image: np.ndarray, settings: MLLMSettings) -> np.ndarray:
    height, width = image.shape[:2]
    size = sent_size(width, height, settings)
    if size == (width, height):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))

"""A multimodal language model in this process, through transformers and without torchvision.

The wording and the reading of replies are `mllm`'s. What is here: a folder becomes a model and its
inputs, questions become replies in batches, and replies that cannot be read are asked for again.

- The first reply is greedy (unless the settings give a temperature); later ones are sampled, from
  noise that belongs to the question and the attempt. So equal queries are answered equally,
  whatever else is in the batch, and torch's global generator, which the training may be using in
  another thread, is left alone.
- Qwen-VL's processor classes insist on a video processor, and that on torchvision. Their work on
  texts and images is small, and done here (`_QwenInputs`). Other models go through their own
  processor (`_ProcessorInputs`): LLaVA's, for one, needs no torchvision.
- A reply that was cut off at the token limit is not read, whatever it holds.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BatchFeature,
    GenerationConfig,
    LogitsProcessorList,
    Qwen2VLImageProcessorPil,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from got_r1.checkpoints.hub import local_folder
from got_r1.errors import BadInput, RunFailed, explained, first_line
from got_r1.files.inputs import read_json
from got_r1.judges.mllm import Question, question, total, verdict
from got_r1.judges.replies import Unreadable
from got_r1.judges.settings import MLLMSettings, TransformersSettings
from got_r1.records import JudgeFailure, Query, Verdict
from got_r1.vision.pretrained import load_model, load_tokenizer

__all__ = ["TransformersJudge", "model_type"]

_QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
_WHAT = "judge's model"


class TransformersJudge:
    """A `Judge` with its own weights: all terms but R_HPS. Ask it from one thread at a time.

    `wording` is the settings' as completed for the model, by its type and its processor.

    Raises `BadInput` for a folder that holds no such model, or a setting that does not fit it.
    """

    def __init__(self, settings: TransformersSettings, wording: MLLMSettings) -> None:
        folder = str(local_folder(settings.model))
        kind = model_type(folder)
        own_patch = "patch" in wording.model_fields_set
        wording = wording.suited_to(kind)
        self.inputs: _Inputs
        if kind in _QWEN:
            self.inputs = _QwenInputs(folder)
            wording = _fit_patch(wording, self.inputs.patch, folder, own_patch)
        else:
            self.inputs = _ProcessorInputs(_load(AutoProcessor, folder, "processor"), folder)
        model = load_model(
            AutoModelForImageTextToText,
            folder,
            what=_WHAT,
            model_type=kind,
            device=settings.device,
            dtype=settings.dtype,
        )
        self._use(model, wording, settings.batch)

    @classmethod
    def around(cls, model: Any, processor: Any, wording: MLLMSettings, batch: int) -> Self:
        """The judge that a model which is loaded already makes, with its processor; both stay as
        they are. Raises BadInput where the processor has no chat template."""
        judge = cls.__new__(cls)
        processor = copy.copy(processor)
        processor.tokenizer = copy.deepcopy(processor.tokenizer)  # padded on another side
        judge.inputs = _ProcessorInputs(processor, str(model.name_or_path))
        judge._use(model, wording.suited_to(model.config.model_type), batch)
        return judge

    def _use(self, model: Any, wording: MLLMSettings, batch: int) -> None:
        self.model = model
        self.wording = wording
        self.batch = batch
        self._ends, self._generation = _generation(model, self.inputs.tokenizer, wording)

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """One answer for each query, in the same order.

        Raises `RunFailed` where the device has too little memory for a batch.
        """
        questions = [question(query, self.wording) for query in queries]
        answers = iter(self._answer([asked for one in questions for asked in one]))
        return [
            verdict(query, [next(answers) for _ in asked])
            for query, asked in zip(queries, questions, strict=True)
        ]

    def _answer(self, questions: Sequence[Question]) -> list[Verdict | JudgeFailure]:
        """Answers to questions; those whose replies cannot be read are asked again."""
        answers: dict[int, Verdict | JudgeFailure] = {}
        for attempt in range(self.wording.retries_unreadable + 1):
            # Neighbours of similar length: little is padded.
            open_ones = [
                n for n in range(len(questions)) if not isinstance(answers.get(n), Verdict)
            ]
            open_ones.sort(
                key=lambda n: (sum(i.size for i in questions[n].images), len(questions[n].text))
            )
            for start in range(0, len(open_ones), self.batch):
                some = open_ones[start : start + self.batch]
                replies = self._reply([questions[n] for n in some], attempt)
                for n, (reply, ended, count) in zip(some, replies, strict=True):
                    earlier = answers[n].tokens if n in answers else None
                    answer = self._read(questions[n], reply, ended)
                    answers[n] = replace(answer, tokens=total([earlier, count]))
        return [answers[n] for n in range(len(questions))]

    def _read(self, asked: Question, reply: str, ended: bool) -> Verdict | JudgeFailure:
        if not ended:
            limit = self.wording.max_tokens
            return JudgeFailure(f"the reply was cut off after {limit} tokens", reply)
        try:
            return asked.read(reply)
        except Unreadable as error:
            return JudgeFailure(f"the reply cannot be read: {error}", reply)

    @torch.inference_mode()
    def _reply(self, questions: Sequence[Question], attempt: int) -> list[tuple[str, bool, int]]:
        """The reply to each question of one batch, whether it came to its end, and its tokens."""
        inputs = self.inputs.prepare(questions).to(self.model.device, self.model.dtype)
        prompt = inputs["input_ids"].shape[1]
        temperature = self.wording.temperature_at(attempt)
        processors = LogitsProcessorList()
        if temperature > 0:
            seeds = [_seed(asked, attempt) for asked in questions]
            processors.append(_Noise(seeds, temperature, self.model.device))
        try:
            with _generating(self.model, self._generation):
                rows = self.model.generate(
                    **inputs, generation_config=self._generation, logits_processor=processors
                )
        except torch.OutOfMemoryError:
            raise RunFailed(
                f"the judge has too little memory for {len(questions)} questions at once: lower "
                f"transformers.batch (it is {self.batch}) in the judge's file, or give it "
                "a device of its own"
            ) from None
        return [self._decode(row) for row in rows[:, prompt:].tolist()]

    def _decode(self, tokens: list[int]) -> tuple[str, bool, int]:
        end = next((place for place, token in enumerate(tokens) if token in self._ends), None)
        text = self.inputs.tokenizer.decode(tokens[:end], skip_special_tokens=True)
        return text, end is not None, len(tokens) if end is None else end + 1


def model_type(model: str) -> str:
    """What kind of model a folder, or a name on the hub, holds, by its config.json.

    Raises `BadInput` where it is none that sees and reads.
    """
    folder = str(local_folder(model, weights=False))
    config = read_json(Path(folder) / "config.json", "config of the judge's model")
    kind = str(config.get("model_type"))
    if kind not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise BadInput(
            f"the model in {folder} cannot judge: transformers knows {kind!r} as no model "
            "that takes images and texts; give a folder such as Qwen2.5-VL's"
        )
    return kind


def _fit_patch(wording: MLLMSettings, patch: int, folder: str, own: bool) -> MLLMSettings:
    """The wording with the processor's patch, unless the user set another (`own`)."""
    if patch == wording.patch:
        return wording
    if own:
        raise BadInput(
            f"wording.patch is {wording.patch}, but the model in {folder} has patches of {patch} "
            "pixels: leave it out"
        )
    return MLLMSettings.model_validate({**wording.model_dump(exclude_unset=True), "patch": patch})


def _generation(
    model: Any, tokenizer: Any, wording: MLLMSettings
) -> tuple[set[int], GenerationConfig]:
    """The tokens that end a reply, and how replies are generated."""
    given = model.generation_config.eos_token_id
    listed = [tokenizer.eos_token_id, *(given if isinstance(given, list) else [given])]
    ends = {end for end in listed if isinstance(end, int)}
    if not ends or not all(end is None or isinstance(end, int) for end in listed):
        raise BadInput(
            f"the {_WHAT} names no token that ends a reply: set eos_token_id in its "
            "generation_config.json"
        )
    pad = tokenizer.pad_token_id
    generation = GenerationConfig(
        do_sample=False,
        max_new_tokens=wording.max_tokens,
        eos_token_id=sorted(ends),
        pad_token_id=min(ends) if pad is None else pad,
    )
    return ends, generation


@contextmanager
def _generating(model: Any, generation: GenerationConfig) -> Iterator[None]:
    """The model with these settings instead of its own, which transformers would merge into them
    (Qwen2.5-VL's folder has a repetition penalty, which is no good to JSON)."""
    own, model.generation_config = model.generation_config, generation
    try:
        yield
    finally:
        model.generation_config = own


# -- sampling --------------------------------------------------------------------------------------


class _Noise:
    """The likeliest of logits / t + Gumbel noise is a sample of softmax(logits / t)."""

    def __init__(self, seeds: Sequence[int], temperature: float, device: torch.device) -> None:
        self.temperature = temperature
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """`scores`: [batch, vocabulary]; a row's noise depends on its own seed alone."""
        noise = torch.empty(scores.shape, dtype=torch.float32, device=scores.device)
        for row, generator in zip(noise, self.generators, strict=True):
            row.exponential_(generator=generator)
        return scores.float() / self.temperature - noise.log()


def _seed(asked: Question, attempt: int) -> int:
    digest = hashlib.sha256(f"{attempt}\0{asked.system}\0{asked.text}".encode())
    for image in asked.images:
        digest.update(image.tobytes())
    return int.from_bytes(digest.digest()[:7])


# -- inputs ----------------------------------------------------------------------------------------


class _Inputs(Protocol):
    """Turns questions into a model's inputs, padded on the left."""

    tokenizer: Any

    def prepare(self, questions: Sequence[Question]) -> Any:
        """A transformers `BatchFeature`."""
        ...


def _messages(asked: Question) -> list[dict[str, Any]]:
    user: list[dict[str, Any]] = [{"type": "image"} for _ in asked.images]
    user.append({"type": "text", "text": asked.text})
    system = [{"type": "text", "text": asked.system}]
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


class _QwenInputs:
    """What Qwen2-VL's, 2.5-VL's and 3-VL's processors do with texts and images."""

    def __init__(self, folder: str) -> None:
        self.tokenizer = load_tokenizer(folder, what=_WHAT, template=True)
        self.tokenizer.padding_side = "left"
        if self.tokenizer.chat_template is None:
            raise _no_template(folder)
        self.images = _load(Qwen2VLImageProcessorPil, folder, "image processor")
        patch, merge = self.images.patch_size, self.images.merge_size
        if not (isinstance(patch, int) and isinstance(merge, int) and min(patch, merge) > 0):
            raise BadInput(
                f"the image processor of the {_WHAT} in {folder} has no whole patch_size and "
                "merge_size: download its preprocessor_config.json again"
            )
        self.merged = merge**2  # patches that become one token
        self.patch = patch * merge
        self.placeholder = "<|image_pad|>"
        self.placeholder_id = self.tokenizer.convert_tokens_to_ids(self.placeholder)

    def prepare(self, questions: Sequence[Question]) -> Any:
        """Chat template, one placeholder for each token of an image, patches."""
        texts = [
            self.tokenizer.apply_chat_template(
                _messages(asked), tokenize=False, add_generation_prompt=True
            )
            for asked in questions
        ]
        images = [Image.fromarray(image) for asked in questions for image in asked.images]
        if not images:
            return BatchFeature({**self.tokenizer(texts, padding=True, return_tensors="pt")})
        # Images come at a size that needs no other; see mllm.sent_size.
        seen = self.images(images=images, do_resize=False, return_tensors="pt")
        lengths = iter((seen["image_grid_thw"].prod(dim=1) // self.merged).tolist())
        texts = [self._expand(text, lengths) for text in texts]
        inputs = self.tokenizer(texts, padding=True, return_tensors="pt")
        # 1 marks an image's tokens, for the positions.
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == self.placeholder_id).long()
        return BatchFeature({**inputs, **seen})

    def _expand(self, text: str, lengths: Any) -> str:
        head, *rest = text.split(self.placeholder)
        return head + "".join(self.placeholder * next(lengths) + part for part in rest)


class _ProcessorInputs:
    """Any other model's own processor."""

    def __init__(self, processor: Any, folder: str) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        if self.processor.chat_template is None and self.tokenizer.chat_template is None:
            raise _no_template(folder)

    def prepare(self, questions: Sequence[Question]) -> Any:
        """Chat template and processor."""
        texts = [
            self.processor.apply_chat_template(
                _messages(asked), tokenize=False, add_generation_prompt=True
            )
            for asked in questions
        ]
        images = [Image.fromarray(image) for asked in questions for image in asked.images]
        return self.processor(text=texts, images=images or None, padding=True, return_tensors="pt")


def _load(kind: Any, folder: str, what: str) -> Any:
    # The first sentence: what follows is advice about the hub.
    with explained(
        lambda error: BadInput(
            f"the {what} of the {_WHAT} in {folder} cannot be loaded "
            f"({first_line(error).split('. ')[0]}): download the whole folder, or serve the model "
            "and use openai:MODEL@URL"
        )
    ):
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _no_template(folder: str) -> BadInput:
    return BadInput(
        f"the {_WHAT} in {folder} has no chat template: give an instruction-tuned model, with its "
        "chat_template.jinja or tokenizer_config.json"
    )

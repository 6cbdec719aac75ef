"""BLIP-VQA: the logits of "yes" and "no" as first words of an answer.

transformers' `BlipForQuestionAnswering` gives no logits of answers, so its three parts are called
in turn, as the official code does (BLIP, and T2I-CompBench's use of it). What that code does and
transformers does not: a question begins with the token [ENC], which BLIP's encoder was trained to
read in place of [CLS]. Rewriting the question's text is the benchmark's business, not done here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BlipForQuestionAnswering, BlipImageProcessorPil

from got_r1.errors import BadInput
from got_r1.vision.batches import as_pictures, same_shape
from got_r1.vision.pretrained import (
    check_finite,
    load_from,
    load_processor,
    load_tokenizer,
    short_name,
)
from got_r1.vision.settings import VQASettings

__all__ = ["QUESTION_TOKENS", "BlipVQA"]

QUESTION_TOKENS = 35
"""A question is cut after this many tokens, its ends included (official)."""


class BlipVQA:
    """A `VQA`."""

    def __init__(self, settings: VQASettings) -> None:
        what = "BLIP-VQA model"
        self.name = f"BLIP-VQA {short_name(settings.model)}"
        self.batch = settings.batch
        self.model = load_from(settings, BlipForQuestionAnswering, what=what, model_type="blip")
        self.processor = load_processor(BlipImageProcessorPil, settings.model, what=what)
        self.tokenizer = load_tokenizer(settings.model, what=what)
        trained = self.model.config.vision_config.image_size
        self.side = settings.size or self.processor.size["height"]
        self.interpolate = self.side != trained
        if self.side % self.model.config.vision_config.patch_size:
            raise BadInput(
                f"BLIP-VQA cannot read images of {self.side} pixels: give a multiple of "
                f"{self.model.config.vision_config.patch_size}."
            )
        text = self.model.config.text_config
        self.start = text.bos_token_id  # [DEC], which begins every answer
        self.encode = self.start + 1  # [ENC], added right behind it
        if self.encode >= text.vocab_size:
            raise BadInput(
                f"the {what} {settings.model} has no [ENC] token; give a BLIP-VQA model."
            )
        self.answers = [self._word(word) for word in ("yes", "no")]

    def _word(self, word: str) -> int:
        ids = self.tokenizer(word, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise BadInput(f"the tokenizer of {self.name} does not know {word!r} as one word.")
        return int(ids[0])

    @torch.inference_mode()
    def yes_no_logits(
        self, images: Sequence[np.ndarray], questions: Sequence[str]
    ) -> NDArray[np.float32]:
        """[questions, 2]: logits of yes and no. An image asked about more than once in a row (the
        same array) is looked at once a batch."""
        if len(images) != len(questions):
            raise ValueError(f"{len(images)} images and {len(questions)} questions")
        encoded = [
            self.tokenizer(question, truncation=True, max_length=QUESTION_TOKENS)["input_ids"]
            for question in questions
        ]
        logits = np.zeros((len(questions), 2), dtype=np.float32)
        for indices in same_shape([len(ids) for ids in encoded], self.batch):
            ids = torch.tensor([encoded[index] for index in indices], device=self.model.device)
            ids[:, 0] = self.encode
            seen = self._look([images[index] for index in indices])
            logits[indices] = self._answer(ids, seen).float().cpu().numpy()
        return logits

    def _look(self, images: Sequence[np.ndarray]) -> Tensor:
        """Features of each image, [images, patches, width]; equal arrays are encoded once."""
        distinct = {id(image): image for image in images}
        places = {key: place for place, key in enumerate(distinct)}
        pixels = self.processor(
            as_pictures(list(distinct.values())),
            size={"height": self.side, "width": self.side},
            return_tensors="pt",
        )["pixel_values"]
        features = self.model.vision_model(
            pixel_values=pixels.to(self.model.device, self.model.dtype),
            interpolate_pos_encoding=self.interpolate,
        ).last_hidden_state
        return features[[places[id(image)] for image in images]]

    def _answer(self, ids: Tensor, seen: Tensor) -> Tensor:
        """Logits [questions, 2] of the answers' first token. No question here is padded."""
        states = self.model.text_encoder(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=ids.device),
        ).last_hidden_state
        answer = self.model.text_decoder(
            input_ids=torch.full_like(ids[:, :1], self.start),
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones_like(ids),
            use_cache=False,
        )
        logits = answer.logits[:, 0, self.answers]
        check_finite(logits, self.name)
        return logits

"""The policy: a Janus model that writes a chain and then draws image tokens.

One class for every size. It knows how to load and save, how a prompt is worded, how to turn image
tokens into pixels and back, and how to replay a finished sequence for its log-probabilities. How a
sequence is sampled is `sampler.py`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import JanusForConditionalGeneration, JanusProcessor
from transformers.utils import logging as transformers_logging

from got_r1.config import LoraSection
from got_r1.records import Rollout

__all__ = ["BEGIN_OF_IMAGE", "LogprobMode", "Policy", "Replay", "TokenBatch"]

# Its bars for every load and save would tear through our own display.
transformers_logging.disable_progress_bar()

BEGIN_OF_IMAGE = "<begin_of_image>"
# FACTS: the official instruction, in the Janus conversation template with an empty system prompt.
TEMPLATE = (
    "User: Follow the caption to generate an image through a chain of thought process: "
    "{prompt}\n\nAssistant:"
)

LogprobMode = Literal["conditional", "guided"]


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Whole sequences, right-padded: prompt, chain with its `<begin_of_image>`, image tokens."""

    text_ids: Tensor  # int64 [B, T], prompt then chain, padded behind
    prompt_lengths: Tensor  # int64 [B]
    text_lengths: Tensor  # int64 [B], prompt and chain, <begin_of_image> included
    image_ids: Tensor  # int64 [B, I]

    @classmethod
    def pack(
        cls, prompts: Sequence[Tensor], chains: Sequence[Tensor], image_ids: Tensor, pad_id: int
    ) -> TokenBatch:
        """Joins and pads B prompts and B chains (int64 vectors)."""
        texts = [torch.cat(pair) for pair in zip(prompts, chains, strict=True)]
        return cls(
            text_ids=nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=pad_id),
            prompt_lengths=torch.tensor([len(p) for p in prompts]),
            text_lengths=torch.tensor([len(t) for t in texts]),
            image_ids=image_ids,
        )

    @classmethod
    def from_rollout(cls, rollout: Rollout, pad_id: int) -> TokenBatch:
        """The sequences of a rollout, forced tokens included: the context of what follows them."""
        chains = rollout.chains
        return cls.pack(chains.prompt_ids, chains.token_ids, rollout.image_ids, pad_id)

    def __len__(self) -> int:
        return len(self.text_ids)

    def __getitem__(self, rows: slice | Tensor) -> TokenBatch:
        lengths = self.text_lengths[rows]
        longest = int(lengths.max())
        return TokenBatch(
            self.text_ids[rows, :longest], self.prompt_lengths[rows], lengths, self.image_ids[rows]
        )

    def unconditional(self, pad_id: int, rows: Tensor | None = None) -> TokenBatch:
        """The batch with prompt and chain hidden: every text token but the first and the last
        (`<begin_of_image>`) becomes the pad token, as the official guidance does. With `rows`
        (bool [B]) only those rows."""
        place = torch.arange(self.text_ids.shape[1])
        hidden = (place > 0) & (place < self.text_lengths[:, None] - 1)
        if rows is not None:
            hidden &= rows[:, None]
        text_ids = self.text_ids.masked_fill(hidden, pad_id)
        return TokenBatch(text_ids, self.prompt_lengths, self.text_lengths, self.image_ids)

    @property
    def chain_mask(self) -> Tensor:
        """bool [B, C]: which places of the padded chain (C the longest) hold a token."""
        lengths = self.text_lengths - self.prompt_lengths
        return torch.arange(int(lengths.max())) < lengths[:, None]


@dataclass(frozen=True, slots=True)
class Replay:
    """Teacher-forced log-probabilities and entropies of one batch, float32, 0 where padded."""

    chain_logprobs: Tensor  # [B, C]
    image_logprobs: Tensor  # [B, I]
    chain_entropy: Tensor  # [B, C], detached
    image_entropy: Tensor  # [B, I], detached


class Policy:
    """A Janus model with its processor.

    `model` is the bare `JanusForConditionalGeneration` (adapters, if any, live inside its layers);
    `adapter` is the peft wrapper around the same modules, or None under full fine-tuning.
    """

    def __init__(self, model: JanusForConditionalGeneration, processor: JanusProcessor) -> None:
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.adapter: PeftModel | None = None
        self._frozen_reference: JanusForConditionalGeneration | None = None
        self.bos_id: int = self.tokenizer.bos_token_id
        self.eos_id: int = self.tokenizer.eos_token_id
        self.pad_id: int = self.tokenizer.pad_token_id
        self.begin_of_image_id: int = self.tokenizer.convert_tokens_to_ids(BEGIN_OF_IMAGE)

    # -- sizes -----------------------------------------------------------------------------------

    @property
    def grid(self) -> int:
        """Image tokens along one side."""
        return int(self.model.config.vq_config.num_patches)

    @property
    def image_tokens(self) -> int:
        """Tokens an image."""
        return self.grid**2

    @property
    def context(self) -> int:
        """Longest sequence the positions were made for."""
        return int(self.model.config.text_config.max_position_embeddings)

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self.model.device

    # -- words and pixels ------------------------------------------------------------------------

    def encode_prompt(self, prompt: str) -> Tensor:
        """int64 [length]: the prompt in the official template, `<begin of sentence>` first."""
        text = TEMPLATE.format(prompt=prompt)
        return torch.tensor([self.bos_id, *self._encode(text)])

    def encode_chain(self, chain: str) -> Tensor:
        """int64 [length]: a chain's text and the `<begin_of_image>` that ends it."""
        return torch.tensor([*self._encode(chain), self.begin_of_image_id])

    def decode_chain(self, token_ids: Tensor) -> str:
        """The chain's text, without its closing `<begin_of_image>`."""
        ids = token_ids.tolist()
        if ids and ids[-1] == self.begin_of_image_id:
            ids.pop()
        return str(self.tokenizer.decode(ids, skip_special_tokens=False)).strip()

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    @torch.no_grad()
    def decode_images(self, image_ids: Tensor) -> NDArray[np.uint8]:
        """Image tokens [B, I] to pixels: uint8 [B, height, width, 3]."""
        pixels = self.model.model.vqmodel.decode(image_ids)
        pixels = (pixels.float().clamp(-1, 1) + 1) * 127.5
        return pixels.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    @torch.no_grad()
    def encode_images(self, images: NDArray[np.uint8]) -> Tensor:
        """Pixels, uint8 [B, height, width, 3], to image tokens: int64 [B, I].

        Right only for a codebook of unit vectors (transformers' encoder skips the official
        normalisation); `training/vq.py` and `convert` leave it so.
        """
        encoded = self.model.model.vqmodel.encode(to_pixels(images).to(self.device))
        return encoded.image_tokens.view(len(images), -1)

    # -- what is trained -------------------------------------------------------------------------

    def prepare_training(self, lora: LoraSection) -> None:
        """Chooses what is trained, once, after loading.

        With a rank: adapters on the language model, everything else frozen. With rank 0: all that
        a text-to-image sequence passes through; the VQ and the understanding tower stay frozen.
        """
        self.model.requires_grad_(False)
        if lora.rank:
            config = LoraConfig(
                r=lora.rank,
                lora_alpha=lora.alpha,
                lora_dropout=lora.dropout,
                target_modules=lora.targets,
            )
            self.adapter = get_peft_model(self.model, config)
            return
        janus = self.model.model
        for part in (
            janus.language_model,
            janus.generation_embeddings,
            janus.generation_aligner,
            janus.generation_head,
            self.model.lm_head,
        ):
            part.requires_grad_(True)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The trained parameters by name."""
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad}

    def freeze_reference(self) -> None:
        """Fixes today's policy as the KL reference: the adapter switched off will do where there
        is one, otherwise a frozen copy."""
        if self.adapter is None:
            import copy

            self._frozen_reference = copy.deepcopy(self.model).requires_grad_(False)

    @contextmanager
    def reference(self) -> Iterator[Policy]:
        """The reference policy, for replays without gradient."""
        with torch.no_grad():
            if self.adapter is not None:
                with self.adapter.disable_adapter():
                    yield self
            elif self._frozen_reference is not None:
                yield Policy(self._frozen_reference, self.processor)
            else:
                raise RuntimeError("no reference policy: call freeze_reference() before training")

    # -- replay ----------------------------------------------------------------------------------

    def replay(
        self,
        batch: TokenBatch,
        *,
        mode: LogprobMode = "conditional",
        guidance: float = 1.0,
        chain_temperature: float = 1.0,
        image_temperature: float = 1.0,
    ) -> Replay:
        """Log-probabilities of a batch's chain and image tokens under the current weights.

        One forward pass over whole sequences; each hidden state meets only the head that predicts
        its token: `lm_head` for the chain, the image head for the image. In mode `guided` image
        tokens get the log-probabilities of the guided distribution that sampled them (a second,
        unconditional pass); in mode `conditional` those of the conditional logits.
        """
        chain_states, image_states = self._hidden_states(batch)
        mask = batch.chain_mask
        targets = batch.text_ids[_chain_places(batch)]
        chain_logits = self.model.lm_head(chain_states).float() / chain_temperature
        image_logits = self.model.model.generation_head(image_states).float()
        if mode == "guided" and guidance != 1.0:
            _, states = self._hidden_states(batch.unconditional(self.pad_id))
            free = self.model.model.generation_head(states).float()
            image_logits = free + guidance * (image_logits - free)
        image_logits = image_logits / image_temperature

        chain_logprobs, chain_entropy = _select(chain_logits, targets)
        image_logprobs, image_entropy = _select(image_logits, batch.image_ids)
        empty = torch.zeros(mask.shape)
        return Replay(
            chain_logprobs=empty.masked_scatter(mask, chain_logprobs),
            image_logprobs=image_logprobs,
            chain_entropy=empty.masked_scatter(mask, chain_entropy),
            image_entropy=image_entropy,
        )

    def _hidden_states(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """The states that predict chain tokens [all chain tokens, D] and image tokens [B, I, D]."""
        janus = self.model.model
        text = janus.language_model.embed_tokens(batch.text_ids)
        # The last image token predicts nothing and is not fed.
        image = self.embed_image_tokens(batch.image_ids[:, :-1])
        lengths = batch.text_lengths[:, None]
        width = batch.text_ids.shape[1]
        place = torch.arange(width + image.shape[1])
        # Image tokens follow each row's own text; what is behind them is padding that no earlier
        # place attends to, so plain causal attention needs no mask.
        source = torch.where(place < lengths, place, (place - lengths + width) % len(place))
        embeds = torch.cat([text, image], dim=1)
        embeds = embeds.gather(1, source[..., None].expand_as(embeds))
        states = janus.language_model(inputs_embeds=embeds, use_cache=False).last_hidden_state

        predicts_chain = _chain_places(batch).roll(-1, dims=1)
        image_place = lengths - 1 + torch.arange(batch.image_ids.shape[1])
        chain_states = states[:, :width][predicts_chain]
        image_states = states.gather(1, image_place[..., None].expand(-1, -1, states.shape[-1]))
        return chain_states, image_states

    def embed_image_tokens(self, image_ids: Tensor) -> Tensor:
        """Image tokens [..., I] as the language model reads them: [..., I, D]."""
        return self.model.prepare_embeddings_for_image_generation(image_ids)

    # -- files -----------------------------------------------------------------------------------

    def save(self, folder: Path, dtype: torch.dtype | None = None) -> None:
        """Writes a transformers folder. Adapters are merged into a copy of the weights, so that
        what is saved loads everywhere; `dtype` casts what is written."""
        state = self.merged_state()
        if dtype is not None:
            state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
        with torch.device("meta"):
            shell = JanusForConditionalGeneration(self.model.config)
        shell.generation_config = self.model.generation_config
        shell.save_pretrained(folder, state_dict=state)
        self.processor.save_pretrained(folder)

    def merged_state(self) -> dict[str, Tensor]:
        """The weights as they act, under the bare model's names."""
        if self.adapter is None:
            return dict(self.model.state_dict())
        state: dict[str, Tensor] = {}
        for name, tensor in self.model.state_dict().items():
            if "lora_" in name:
                continue
            state[name.replace(".base_layer.", ".")] = tensor
        for name, module in self.model.named_modules():
            if hasattr(module, "base_layer"):
                state[f"{name}.weight"] = effective_weight(module)
        return state


def to_pixels(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [B, height, width, 3] to what the VQ reads: float32 [B, 3, height, width], [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def effective_weight(linear: Any) -> Tensor:
    """A linear layer's weight as it acts: the base plus the active adapters' deltas."""
    if not hasattr(linear, "base_layer"):
        return linear.weight.detach()
    weight = linear.base_layer.weight.detach().clone()
    if not linear.disable_adapters:
        for name in linear.active_adapters:
            weight += linear.get_delta_weight(name).detach().to(weight.dtype)
    return weight


def _chain_places(batch: TokenBatch) -> Tensor:
    """bool [B, T]: the places of `text_ids` that hold chain tokens."""
    place = torch.arange(batch.text_ids.shape[1])
    return (place >= batch.prompt_lengths[:, None]) & (place < batch.text_lengths[:, None])


def _select(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of `targets` and the entropies of the distributions (detached)."""
    logprobs = F.log_softmax(logits, dim=-1)
    with torch.no_grad():
        entropy = -(logprobs.exp() * logprobs).sum(-1)
    return logprobs.gather(-1, targets[..., None]).squeeze(-1), entropy

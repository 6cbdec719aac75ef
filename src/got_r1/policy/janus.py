"""The policy: a Janus model that writes a chain and then draws image tokens.

One class for every size. It knows how to load and save, how a prompt is worded, how to turn image
tokens into pixels and back, and how to replay a finished sequence for its log-probabilities. How a
sequence is sampled is `sampler.py`'s business.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import JanusForConditionalGeneration, JanusProcessor
from transformers.utils import logging as transformers_logging

from got_r1.files.digests import DIGESTS, write_digests
from got_r1.policy.kernel_caches import bound_kernel_caches
from got_r1.policy.parameters import acting_parts, choose_trained, effective_weight, whole
from got_r1.policy.replay import (
    LogprobMode,
    Replay,
    TokenBatch,
    chain_places,
    select_in_chunks,
)
from got_r1.policy.words import BEGIN_OF_IMAGE, Words
from got_r1.recipes.sections import LoraSection, RolloutSection

if TYPE_CHECKING:
    from peft import PeftModel

__all__ = [
    "LogprobMode",
    "Policy",
    "Replay",
    "TokenBatch",
    "decoded_at_once",
]

# Its bars for every load and save would tear through our own display.
transformers_logging.disable_progress_bar()


class Policy:
    """A Janus model with its processor.

    `model` is the bare `JanusForConditionalGeneration` (adapters, if any, live inside its layers);
    `adapter` is the peft wrapper around the same modules, or None under full fine-tuning. `name` is
    what its user called it, or its folder.

    The model is in eval mode, from here on, except inside `training_mode`: sampling, evaluation and
    the reference policy would otherwise act with dropout, and draw from torch's generator.
    """

    def __init__(self, model: JanusForConditionalGeneration, processor: JanusProcessor) -> None:
        bound_kernel_caches()
        self.model = model.eval()
        self.name = str(model.name_or_path)
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.words = Words(processor.tokenizer)
        self.adapter: PeftModel | None = None
        self.frozen_reference: Policy | None = None
        # Where several processes train, the module that replays go through, made by
        # `distributed.parallelize`.
        self.engine: nn.Module | None = None
        # Held by whoever needs the adapters as they are, where several threads use the model.
        self.in_use = threading.Lock()
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
        """Where the weights that act live (see `to`)."""
        return self.model.lm_head.weight.device

    def to(self, device: torch.device | str, *, encoder: bool = False) -> Self:
        """Moves to `device` what a text-to-image sequence passes through, and the VQ's decoder.

        The understanding tower stays where it is, since nothing here uses it; so does the VQ's
        encoder unless it is asked for, since only data preparation does.
        """
        for part in acting_parts(self.model) + self.pixel_parts(encoder=encoder):
            part.to(device)
        return self

    def pixel_parts(self, *, encoder: bool = False) -> list[nn.Module]:
        """All that image tokens pass through on their way to pixels, and back with `encoder`."""
        vq = self.model.model.vqmodel
        parts = [vq.quantize, vq.post_quant_conv, vq.decoder]
        return parts + ([vq.encoder, vq.quant_conv] if encoder else [])

    # -- words and pixels ------------------------------------------------------------------------

    def encode_prompt(self, prompt: str) -> Tensor:
        """int64 [length]: the prompt in the official template, `<begin of sentence>` first.

        The prompt is plain text: no control token comes of it. Raises BadInput where the
        vocabulary cannot spell it so.
        """
        return torch.tensor([self.bos_id, *self.words.encode_prompt(prompt)])

    def encode_chain(self, chain: str) -> Tensor:
        """int64 [length]: a chain's text and the `<begin_of_image>` that ends it. The tags are its
        only control tokens; raises BadInput as `encode_prompt` does."""
        return torch.tensor([*self.words.encode_chain(chain), self.begin_of_image_id])

    def decode_chain(self, token_ids: Tensor) -> str:
        """The text of a chain, int64 [length], without control tokens other than the tags: neither
        `<begin_of_image>` nor an end of sentence."""
        return self.words.decode_chain(token_ids.tolist())

    @torch.no_grad()
    def decode_images(self, image_ids: Tensor) -> NDArray[np.uint8]:
        """Image tokens [B, I] to pixels: uint8 [B, height, width, 3]."""
        vq = self.model.model.vqmodel
        decoded = []
        for ids in image_ids.split(decoded_at_once(self.model.config.vision_config.image_size)):
            pixels = vq.decode(ids.to(vq.post_quant_conv.weight.device))
            pixels = (pixels.float().clamp(-1, 1) + 1) * 127.5
            decoded.append(pixels.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
        return np.concatenate(decoded)

    @torch.no_grad()
    def encode_images(self, images: NDArray[np.uint8]) -> Tensor:
        """Pixels, uint8 [B, height, width, 3], to image tokens: int64 [B, I].

        Right only for a codebook of unit vectors (transformers' encoder skips the official
        normalisation); `training/vq.py` and `convert` leave it so.
        """
        vq = self.model.model.vqmodel
        encoded = vq.encode(to_pixels(images).to(vq.quant_conv.weight))
        return encoded.image_tokens.view(len(images), -1)

    # -- what is trained -------------------------------------------------------------------------

    def prepare_training(self, lora: LoraSection) -> None:
        """Chooses what is trained, once, after loading.

        With a rank: adapters on the language model, everything else frozen. With rank 0: all that
        a text-to-image sequence passes through; the VQ and the understanding tower stay frozen.
        """
        self.adapter = choose_trained(self.model, lora)
        self.model.eval()  # peft makes its modules in training mode

    @contextmanager
    def training_mode(self) -> Iterator[None]:
        """The model in training mode, as an update wants it: with dropout, and with activation
        checkpointing where it was chosen."""
        self.model.train()
        try:
            yield
        finally:
            self.model.eval()

    def trainable(self) -> dict[str, nn.Parameter]:
        """The trained parameters by name."""
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad}

    def freeze_reference(self) -> None:
        """Fixes today's policy as the KL reference: the adapter switched off will do where there
        is one, otherwise a frozen copy, in the type that the frozen weights have."""
        if self.adapter is not None:
            return
        janus = self.model.model
        shared = (janus.vision_model, janus.aligner, janus.vqmodel)
        model = copy.deepcopy(self.model, {id(part): part for part in shared})
        model.to(janus.vqmodel.post_quant_conv.weight.dtype).requires_grad_(False)
        self.frozen_reference = Policy(model, self.processor)

    @contextmanager
    def reference(self) -> Iterator[Policy]:
        """The reference policy, for replays without gradient."""
        with torch.no_grad():
            if self.adapter is not None:
                trained = self.trainable().values()
                with self.adapter.disable_adapter():
                    # peft takes the flag away meanwhile; FSDP2 would gather without it for good.
                    for parameter in trained:
                        parameter.requires_grad_(True)
                    yield self
            elif self.frozen_reference is not None:
                yield self.frozen_reference
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
        run = self.replay_here if self.engine is None else self.engine
        return run(
            batch,
            mode=mode,
            guidance=guidance,
            chain_temperature=chain_temperature,
            image_temperature=image_temperature,
        )

    def replay_here(
        self,
        batch: TokenBatch,
        *,
        mode: LogprobMode,
        guidance: float,
        chain_temperature: float,
        image_temperature: float,
    ) -> Replay:
        """`replay` on this process's own modules, which is what an engine calls."""
        chain_states, image_states = self._hidden_states(batch)
        free_states: tuple[Tensor, ...] = ()
        if mode == "guided" and guidance != 1.0 and batch.image_ids.numel():
            free_states = (self._hidden_states(batch.unconditional(self.pad_id))[1],)

        def chain_logits(states: Tensor) -> Tensor:
            return self.model.lm_head(states).float() / chain_temperature

        def image_logits(states: Tensor, *free_states: Tensor) -> Tensor:
            logits = self.model.model.generation_head(states).float()
            for states in free_states:
                free = self.model.model.generation_head(states).float()
                logits = free + guidance * (logits - free)
            return logits / image_temperature

        sizes, mask = self.model.config, batch.chain_mask
        chain_logprobs, chain_entropy = select_in_chunks(
            chain_logits,
            (chain_states,),
            batch.text_ids[chain_places(batch)],
            sizes.text_config.vocab_size,
        )
        image_logprobs, image_entropy = select_in_chunks(
            image_logits,
            (image_states.flatten(0, 1), *(states.flatten(0, 1) for states in free_states)),
            batch.image_ids.flatten(),
            sizes.vq_config.num_embeddings,
        )
        empty = torch.zeros(mask.shape, device=mask.device)
        return Replay(
            chain_logprobs=empty.masked_scatter(mask, chain_logprobs),
            image_logprobs=image_logprobs.view_as(batch.image_ids),
            chain_entropy=empty.masked_scatter(mask, chain_entropy),
            image_entropy=image_entropy.view_as(batch.image_ids),
        )

    def _hidden_states(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """The states that predict chain tokens [all chain tokens, D] and image tokens [B, I, D]."""
        janus = self.model.model
        text = janus.language_model.embed_tokens(batch.text_ids)
        # The last image token predicts nothing and is not fed.
        image = self.embed_image_tokens(batch.image_ids[:, :-1])
        lengths = batch.text_lengths[:, None]
        width = batch.text_ids.shape[1]
        place = torch.arange(width + image.shape[1], device=text.device)
        # Image tokens follow each row's own text; what is behind them is padding that no earlier
        # place attends to, so plain causal attention needs no mask.
        source = torch.where(place < lengths, place, (place - lengths + width) % len(place))
        embeds = torch.cat([text, image], dim=1)
        embeds = embeds.gather(1, source[..., None].expand_as(embeds))
        states = janus.language_model(inputs_embeds=embeds, use_cache=False).last_hidden_state

        predicts_chain = chain_places(batch).roll(-1, dims=1)
        image_place = lengths - 1 + torch.arange(batch.image_ids.shape[1], device=text.device)
        chain_states = states[:, :width][predicts_chain]
        image_states = states.gather(1, image_place[..., None].expand(-1, -1, states.shape[-1]))
        return chain_states, image_states

    def embed_image_tokens(self, image_ids: Tensor) -> Tensor:
        """Image tokens [..., I] as the language model reads them: [..., I, D]."""
        return self.model.prepare_embeddings_for_image_generation(image_ids)

    # -- files -----------------------------------------------------------------------------------

    def carry_sampling(self, rollout: RolloutSection) -> None:
        """Lets whoever samples from the saved model get the settings that it was trained for."""
        settings = self.model.generation_config
        settings.guidance_scale = rollout.guidance
        settings.temperature = rollout.image_temperature
        settings.max_new_tokens = rollout.chain_limit  # the library's name for a text's limit
        settings.do_sample = True

    def save(self, folder: Path, dtype: torch.dtype | None = None) -> None:
        """Writes a transformers folder, with the digests of its files. Adapters are merged into a
        copy of the weights, so that what is saved loads everywhere; `dtype` casts what is written.
        """
        self.save_state(folder, self.merged_state(), dtype)

    def save_state(
        self, folder: Path, state: dict[str, Tensor], dtype: torch.dtype | None = None
    ) -> None:
        """`save` of a state that was merged before."""
        if dtype is not None:
            state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
        with torch.device("meta"):
            shell = JanusForConditionalGeneration(self.model.config)
        shell.generation_config = self.model.generation_config
        (folder / DIGESTS).unlink(missing_ok=True)  # of what is about to be replaced
        shell.save_pretrained(folder, state_dict=state)
        self.processor.save_pretrained(folder)
        write_digests(folder)

    def merged_state(self) -> dict[str, Tensor]:
        """The weights as they act, under the bare model's names."""
        return dict(self.merged_tensors())

    def merged_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The same one by one. Where weights are sharded every process has to go through all."""
        for name, tensor in self.model.state_dict().items():
            if "lora_" in name:
                continue
            if ".base_layer." not in name:
                yield name, whole(tensor)
            elif name.endswith(".base_layer.bias"):
                yield name.replace(".base_layer.", "."), whole(tensor)
        for name, module in self.model.named_modules():
            if hasattr(module, "base_layer"):
                yield f"{name}.weight", effective_weight(module)


def decoded_at_once(image_size: int) -> int:
    """How many images of that side are decoded together: 16 of Janus-Pro's (our choice; more are
    no faster and need their memory), but as much as a batch of small ones."""
    return max(1, 16 * 384**2 // image_size**2)


def to_pixels(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [B, height, width, 3] to what the VQ reads: float32 [B, 3, height, width], [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1

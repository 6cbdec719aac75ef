"""The memory of a step's phases, and its work, from a recipe and the model of `meta`.

Parameters are counted on the model; activations, caches and logits are formulas of `memory`.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import torch
from transformers import JanusForConditionalGeneration

from got_r1.checkpoints.models import model_folder
from got_r1.checkpoints.official_sizes import official_name
from got_r1.policy.decoder import PREFILL_TOKENS
from got_r1.policy.janus import Policy, decoded_at_once
from got_r1.policy.parameters import acting_parts
from got_r1.policy.replay import LOGITS_AT_ONCE
from got_r1.policy.sampler import CPU_SCHEDULE, CUDA_SCHEDULE, LENGTH_GROUP
from got_r1.policy.words import TEMPLATE
from got_r1.recipes.sections import Recipe
from got_r1.sizing import memory
from got_r1.sizing.meta import count_parts, saved_bytes, sum_bytes
from got_r1.training.distributed import sharding
from got_r1.training.precision import in_bfloat16
from got_r1.training.prompts import load_prompts
from got_r1.training.rollout import needs_images

__all__ = ["Phase", "Sharding", "Sizing", "Stage"]

Stage = Literal["vq", "sft", "rl"]
Sharding = Literal["none", "ddp", "fsdp"]

OBJECTS = 4  # planned objects a chain: the mean of the GoT datasets is 3.8 to 4.1
PROMPT_TOKENS = 64  # where there is no tokenizer to count with
COUNTED_PROMPTS = 200  # the longest prompts, which are counted in tokens


@dataclass(frozen=True, slots=True)
class Phase:
    """What one device holds at the height of a phase of a step, in bytes by what it is for."""

    name: str
    bytes: dict[str, int]

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.bytes.values())


def longest_prompt(recipe: Recipe) -> int | None:
    """Tokens of the longest RL prompt in its template; None without a tokenizer to count with."""
    if official_name(recipe.model.path):
        return None
    from tokenizers import Tokenizer

    folder = model_folder(recipe.model.path, weights=False)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    mix = load_prompts(recipe.data, quiet=True, wordings=recipe.rl.paraphrases)
    texts = sorted(mix.texts(), key=len)[-COUNTED_PROMPTS:]
    counts = (
        len(tokenizer.encode(TEMPLATE.format(prompt=text), add_special_tokens=False).ids)
        for text in texts
    )
    return 1 + max(counts)  # <begin of sentence>


class Sizing:
    """The numbers of one recipe; a method a stage."""

    def __init__(
        self,
        recipe: Recipe,
        stage: Stage,
        model: JanusForConditionalGeneration,
        gpu: bool,
        processes: int,
    ) -> None:
        self.recipe, self.stage = recipe, stage
        self.model, self.config = model, model.config
        self.gpu, self.processes = gpu, processes
        self.section = getattr(recipe, stage)
        named = dict(model.named_parameters())
        self.trained = [p for p in named.values() if p.requires_grad]
        self.adapters = [p for name, p in named.items() if "lora_" in name]
        self.parts = tuple(count_parts(named, all_on_device=not gpu))
        self.sharding: Sharding = "none"
        if processes > 1:
            self.sharding = sharding(recipe.model, recipe.scale)
        self.dtype = getattr(torch, recipe.model.dtype).itemsize  # of what is not trained
        self.autocast = stage != "vq" and in_bfloat16(
            self.section.autocast, recipe.model.dtype, "cuda" if gpu else "cpu"
        )
        acting = model.lm_head.weight.element_size()
        # Full sharding gathers weights in bfloat16 where products are.
        if self.sharding == "fsdp" and self.autocast:
            acting = memory.BFLOAT16
        first = model.model.language_model.layers[0]
        adapted = Counter(
            name.rsplit(".", 1)[-1] for name, m in first.named_modules() if hasattr(m, "lora_A")
        )
        self.tuning = memory.Tuning(
            weights=acting,
            autocast=self.autocast,
            adapted=adapted if self.adapters else None,
            rank=recipe.model.lora.rank,
            dropout=recipe.model.lora.dropout > 0,
            flash=gpu,
            checkpointing=recipe.scale.checkpoint_activations,
        )

    def in_words(self) -> str:
        """What is trained, and in which numbers."""
        what = f"LoRA of rank {self.tuning.rank}" if self.adapters else "all weights"
        if self.stage == "vq":
            return "the image tokenizer, float32"
        numbers = "bfloat16" if self.model.lm_head.weight.element_size() == 2 else "float32"
        words = f"{what}, {numbers} weights"
        return f"{words}, bfloat16 products" if self.autocast else words

    # -- what stays ------------------------------------------------------------------------------

    @property
    def shards(self) -> int:
        """Among how many devices weights, gradients and optimizer state are divided."""
        return self.processes if self.sharding == "fsdp" else 1

    @property
    def weights(self) -> int:
        """Bytes of the weights that a device holds."""
        return sum(part.bytes for part in self.parts if part.on_device) // self.shards

    @property
    def gradients(self) -> int:
        """Bytes of the gradients; DDP's buckets hold them a second time."""
        copies = 2 if self.sharding == "ddp" else 1
        return copies * sum_bytes(self.trained) // self.shards

    @property
    def moments(self) -> int:
        """Bytes of AdamW's two moments, of the trained parameters' own type."""
        return 2 * sum_bytes(self.trained) // self.shards

    def gathered(self, *, whole: bool) -> dict[str, int]:
        """What full sharding puts together: all that acts while the sampler reads it, otherwise
        two layers at a time and all that is no layer."""
        if self.sharding != "fsdp":
            return {}
        layers = self.model.model.language_model.layers
        acting = [p for part in acting_parts(self.model) for p in part.parameters()]
        count = sum(p.numel() for p in acting)
        if not whole:
            count -= sum(p.numel() for layer in layers[2:] for p in layer.parameters())
        return {"gathered weights": self.tuning.weights * count}

    def resident(self, reference: int = 0) -> dict[str, int]:
        """What every phase holds."""
        kept = {"weights": self.weights, "optimizer state": self.moments}
        return kept | ({"KL reference": reference} if reference else {})

    def optimizer_phase(self, reference: int = 0) -> Phase:
        """AdamW's step: on a GPU its temporaries are as large as the trained parameters, elsewhere
        as two copies of the largest."""
        passing = sum_bytes(self.trained) // self.shards
        if not self.gpu:
            passing = min(passing, 2 * max(sum_bytes([p]) for p in self.trained))
        held = self.resident(reference) | {"gradients": self.gradients, "temporaries": passing}
        return Phase("optimizer", held)

    def update_phase(
        self, sequences: memory.Sequences, *, guided: bool, reference: int = 0
    ) -> Phase:
        """The height of forward and backward over one micro-batch."""
        layers, rest = memory.replay_bytes(self.config, self.tuning, sequences, guided=guided)
        logits = memory.logits_bytes(
            self.config, self.tuning, sequences, guided=guided, at_once=LOGITS_AT_ONCE
        )
        held = self.resident(reference) | {"gradients": self.gradients}
        held |= {"activations": layers + rest, "logits": sum(logits)}
        return Phase("update", held | self.gathered(whole=False))

    def micro_batch(self, rows: int, text: int, image: int, chain: int) -> memory.Sequences:
        """At most `rows` sequences, and no more than `scale.micro_tokens` tokens."""
        if self.recipe.scale.micro_tokens:
            rows = min(rows, max(1, self.recipe.scale.micro_tokens // (text + image)))
        return memory.Sequences(rows, text, image, chain)

    # -- stages ----------------------------------------------------------------------------------

    def rl(self) -> tuple[list[Phase], dict[str, int], list[str]]:
        """A GRPO step: chains, images, pixels, update, optimizer."""
        section, rollout, config = self.section, self.recipe.rollout, self.config
        guided = rollout.guidance != 1.0
        image, limit = config.vq_config.num_patches**2, rollout.chain_limit
        counted = longest_prompt(self.recipe)
        prompt = counted or PROMPT_TOKENS
        notes = [
            f"chains up to rollout.chain_limit={limit}",
            f"prompts up to {prompt} tokens in their template"
            + ("" if counted else " (no tokenizer to count with)"),
            f"about {OBJECTS} planned objects a chain",
        ]
        text = prompt + limit + 1
        rows = math.ceil(section.prompts / self.processes) * section.group
        micro = self.micro_batch(min(rows, section.micro_batch), text, image, limit)

        reference = 0
        if not self.adapters:  # a frozen copy of what acts
            acting = sum(p.numel() for part in acting_parts(self.model) for p in part.parameters())
            reference = self.dtype * acting // self.shards
        kept = self.resident(reference) | self.gathered(whole=True)
        at_once = min(rows, self.recipe.scale.rollout_batch or rows)
        chains, images = self.sampling_items(at_once, prompt, text, image, guided)
        decoded = min(rows, decoded_at_once(config.vision_config.image_size))
        pixels = {"decoded images": memory.decoding_bytes(config, self.dtype, decoded)}
        replays_guided = guided and section.logprob_mode == "guided"
        phases = [
            Phase("chains", kept | chains),
            Phase("images", kept | images),
            Phase("pixels", kept | pixels),
            self.update_phase(micro, guided=replays_guided, reference=reference),
            self.optimizer_phase(reference),
        ]
        samples = section.prompts * section.group
        length, drawn = micro.length * (2 if replays_guided else 1), image
        if not needs_images(self.recipe):
            length, drawn = text, 0
            notes.append("plans alone: only every rl.sample_every-th step draws images")
        forward = samples * (limit + drawn * (2 if guided else 1))
        work = {
            "samples": samples,
            "chain tokens, at most": samples * limit,
            "image tokens": samples * drawn,
            "forward tokens, sampling": forward,
            "forward tokens, KL reference": samples * length if section.kl_coef > 0 else 0,
            "forward and backward tokens": samples * length * section.inner_epochs,
        }
        return phases, work | self.judge_calls(samples), notes

    def sampling_items(
        self, rows: int, prompt: int, text: int, image: int, guided: bool
    ) -> tuple[dict[str, int], dict[str, int]]:
        """What the sampler holds while it writes chains, and while it draws images."""
        schedule = CUDA_SCHEDULE if self.gpu else CPU_SCHEDULE
        size, config = self.tuning.weights, self.config
        language = config.text_config
        multiple = min(schedule.bucket, 8)

        def cache(slots: int) -> int:
            return memory.kv_cache_bytes(language, size, slots)

        # The table of image embeddings, and rotations for the whole context.
        tables = config.vq_config.num_embeddings * language.hidden_size
        tables += 2 * language.max_position_embeddings * language.head_dim
        tables *= size
        at_once = min(rows, LENGTH_GROUP, max(1, PREFILL_TOKENS // text))
        prefill = memory.prefill_bytes(language, size, text, at_once, flash=self.gpu)
        room = schedule.round_up(text - prompt - 1)
        chains = {
            "key-value cache": cache(rows * (memory.kv_slots(prompt, multiple) + room)),
            "sampling": tables + memory.sampling_bytes(rows, language.vocab_size, size),
        }
        slots = rows * (memory.kv_slots(text, multiple) + schedule.round_up(image))
        if guided:  # the unconditional text is stored once for all rows
            slots += rows * schedule.round_up(image) + text
        codes = config.vq_config.num_embeddings
        images = {
            "key-value cache": cache(slots),
            "prefill": prefill,
            "sampling": tables + memory.sampling_bytes(rows, codes, size, guided=guided),
        }
        return chains, images

    def judge_calls(self, samples: int) -> dict[str, int]:
        """What the judge is asked for in a step: by the terms that are on, for well-formed chains.
        Grounding is asked once a planned object."""
        reward = self.recipe.reward
        queries = {"r_sem": 1, "r_spa": 1, "r_ri": OBJECTS, "r_pi": 1, "r_hps": 1}
        calls = {
            f"judge calls, {term}": samples * count
            for term, count in queries.items()
            if getattr(reward, term) > 0
        }
        return calls | {"judge calls": sum(calls.values())}

    def sft(self) -> tuple[list[Phase], dict[str, int], list[str]]:
        """An SFT step: update, optimizer."""
        image, batch = self.config.vq_config.num_patches**2, self.section.batch
        context = self.config.text_config.max_position_embeddings
        text = min(self.recipe.data.max_text_tokens, context - image)
        rows = math.ceil(batch / self.processes)
        sequences = self.micro_batch(rows, text, image, text)
        notes = [f"prompt and chain of every triple as long as {text} tokens, the longest allowed"]
        work = {
            "triples": batch,
            "image tokens": batch * image,
            "forward and backward tokens, at most": batch * sequences.length,
        }
        phases = [self.update_phase(sequences, guided=False), self.optimizer_phase()]
        return phases, work, notes

    def vq(self, policy: Policy) -> tuple[list[Phase], dict[str, int], list[str]]:
        """A step of the image tokenizer: update, optimizer."""
        batch, side = self.section.batch, self.config.vision_config.image_size
        pixels = torch.zeros(batch, 3, side, side, device="meta")
        activations = saved_bytes(policy, pixels)
        held = self.resident() | {"gradients": self.gradients, "activations": activations}
        work = {"images": batch, "image tokens": batch * self.config.vq_config.num_patches**2}
        notes = ["activations without autocast"] if self.section.autocast else []
        return [Phase("update", held), self.optimizer_phase()], work, notes

"""The recipe: one section a concern, every value explained, typed and bounded.

A recipe is a YAML file plus `section.key=value` overrides (read by `recipe_file`). The resolved
recipe is saved in the run folder and is all that is needed to repeat the run.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from got_r1.files.paths import PathText
from got_r1.recipes.data_sections import DataSection, HeldOutFile, PromptSource
from got_r1.recipes.judge_sections import JudgeSection, RewardSection
from got_r1.recipes.resuming import HARMLESS, ROUNDING
from got_r1.recipes.section import MANY, MOST_SEED, YEAR, Section, one_or_many
from got_r1.recipes.watch_sections import AlarmsSection, WatchSection

__all__ = [
    "AlarmsSection",
    "DataSection",
    "EvalSection",
    "HeldOutFile",
    "JudgeSection",
    "LoraSection",
    "ModelSection",
    "OptimizerSection",
    "PromptSource",
    "RLSection",
    "Recipe",
    "RewardSection",
    "RolloutSection",
    "RunSection",
    "SFTSection",
    "ScaleSection",
    "Section",
    "StudentSection",
    "VQSection",
    "WatchSection",
]


class RunSection(Section):
    """Where a run lives and what makes it repeatable."""

    dir: Annotated[PathText, HARMLESS] = Field(
        "runs/run", description="run folder; must not exist unless resuming"
    )
    seed: int = Field(0, ge=0, le=MOST_SEED, description="seed of everything random in the run")
    threads: Annotated[int, ROUNDING] = Field(
        0,
        ge=0,
        le=1024,
        description="CPU threads for torch; 0: as many as cores are free at the start, or "
        "OMP_NUM_THREADS",
    )
    track: Annotated[list[Literal["tensorboard", "wandb", "trackio"]], HARMLESS] = Field(
        ["tensorboard"],
        description="where metrics and galleries are shown beside the run folder: tensorboard, "
        "wandb (its mode by WANDB_MODE), trackio; [] for nowhere",
    )
    project: Annotated[str, HARMLESS] = Field(
        "got-r1",
        min_length=1,
        max_length=128,
        description="project of the run in wandb and trackio",
    )

    @field_validator("track", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return one_or_many(value)

    @field_validator("project")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", value):
            raise ValueError("a project's name has letters, digits, '-', '_' and '.' only")
        return value


class LoraSection(Section):
    """Low-rank adapters on the language model; rank 0 trains all of its weights."""

    rank: int = Field(
        32, ge=0, le=65536, description="adapter rank; 0 means full fine-tuning (paper: 32)"
    )
    alpha: float = Field(32.0, gt=0, description="adapter scale numerator (paper: 32)")
    dropout: float = Field(0.0, ge=0, lt=1, description="adapter dropout (not stated: 0)")
    targets: str = Field(
        r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)",
        description="regex of the adapted linear layers (not stated in the paper: all of the LM's)",
    )


class ModelSection(Section):
    """The policy."""

    path: PathText = Field(
        "",
        description="model folder, hub name (OWNER/NAME[@REVISION]), or 'icons' (shipped)",
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="dtype of the weights; those that are trained stay float32"
    )
    lora: LoraSection = LoraSection()


class RolloutSection(Section):
    """Sampling of chains and images."""

    chain_limit: int = Field(
        600, ge=1, le=1_000_000, description="longest chain in tokens (official: 600)"
    )
    chain_temperature: float = Field(
        1.0, gt=0, description="temperature of chain tokens (paper: 1)"
    )
    image_temperature: float = Field(
        1.0, gt=0, description="temperature of image tokens (paper: 1)"
    )
    guidance: float = Field(
        5.0, ge=1, description="classifier-free guidance of image tokens (paper: 5)"
    )
    marks: bool = Field(
        False,
        description="boxes of chains may carry a depth and a time index (z and t, behind their "
        "corners); without, such a box is malformed",
    )


class OptimizerSection(Section):
    """AdamW, warm-up, cosine; the base of `vq`, `sft` and `rl`."""

    # What a run of this kind reads: only these sections and settings must stay on resuming.
    uses: ClassVar[tuple[str, ...]] = ()

    steps: int = Field(1000, ge=1, le=MANY, description="optimizer steps")
    learning_rate: float = Field(1e-5, gt=0, description="peak learning rate")
    warmup: int = Field(0, ge=0, le=MANY, description="linear warm-up steps")
    final_lr: float = Field(
        0.0, ge=0, le=1, description="learning rate at the end, as a share of the peak"
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW beta1")
    beta2: float = Field(0.95, ge=0, lt=1, description="AdamW beta2")
    max_grad_norm: float = Field(1.0, gt=0, description="gradient clipping norm")
    max_skipped_updates: Annotated[int, HARMLESS] = Field(
        5,
        ge=1,
        le=MANY,
        description="stop after this many updates in a row that were skipped, because loss or "
        "gradient norm was not finite",
    )
    autocast: bool = Field(
        False,
        description="bfloat16 autocast in forward and backward; without effect on processors that "
        "only emulate bfloat16 (AVX2 without AVX-512), where it takes ten times as long",
    )
    save_every: Annotated[int, HARMLESS] = Field(
        100, ge=1, le=MANY, description="steps between checkpoints"
    )


class VQSection(OptimizerSection):
    """Training of the image tokenizer (the embedded world only)."""

    uses = ("run", "model.dtype", "data.depth", "rollout", "vq")

    batch: int = Field(
        32, ge=2, le=65536, description="images a step, two drawings of a scene each"
    )


class SFTSection(OptimizerSection):
    """Supervised fine-tuning on (prompt, chain, image) triples."""

    uses = ("run", "model", "data", "rollout", "sft", "scale")

    batch: int = Field(32, ge=1, le=65536, description="triples a step")
    condition_dropout: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of triples whose prompt and chain become pads, so that guidance works",
    )
    chain_loss_weight: float = Field(
        1.0,
        ge=0,
        description="weight of the chain loss; a small one in a later round lets images improve "
        "while the chain remembers less of its data",
    )
    image_loss_weight: float = Field(
        1.0,
        ge=0,
        description="weight of the image loss beside the chain loss; 0 trains the chain alone, "
        "without a pass over image tokens",
    )


class StudentSection(OptimizerSection):
    """Training of a student judge on scores that another judge gave."""

    uses = ("run", "student")

    steps: int = Field(2000, ge=1, le=MANY, description="optimizer steps")
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate")
    warmup: int = Field(100, ge=0, le=MANY, description="linear warm-up steps")
    weight_decay: float = Field(0.05, ge=0, description="AdamW weight decay")
    examples: list[PathText] = Field(
        [], description="folders of examples, which train rl keeps with judge.record"
    )
    encoder: PathText = Field(
        "",
        description="folder or hub name of a CLIP or SigLIP, or of a Janus such as the policy's "
        "(its understanding tower), whose weights stay as they are; empty: a small CLIP that is "
        "trained from nothing, for worlds like the icons",
    )
    start: PathText = Field(
        "", description="folder of a student to go on from, with its encoder; empty: a new one"
    )
    encoder_width: int = Field(
        96, ge=32, le=65536, multiple_of=32, description="of an encoder from nothing"
    )
    encoder_layers: int = Field(2, ge=1, le=1024, description="of an encoder from nothing")
    width: int = Field(128, ge=8, le=65536, multiple_of=8, description="of the head")
    layers: int = Field(2, ge=1, le=1024, description="of the head")
    batch: int = Field(48, ge=1, le=65536, description="examples a step, of each term")
    held_out: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="share of the prompts that are not trained on: calibration and agreement are "
        "measured on them",
    )


class RLSection(OptimizerSection):
    """GRPO."""

    uses = (
        *("run", "model", "data.prompts", "data.held_out", "data.wordings", "data.depth"),
        "rollout",
        *("judge", "reward", "rl", "scale", "eval", "watch"),
    )

    prompts: int = Field(8, ge=1, le=65536, description="prompts a step (paper: batch 8)")
    group: int = Field(16, ge=2, le=65536, description="samples a prompt, N (paper: 16)")
    paraphrases: int = Field(
        1,
        ge=1,
        le=65536,
        description="wordings of one meaning that a group's samples are spread over, K; divides "
        "rl.group (icon world, or sources with data.prompts.N.paraphrases)",
    )
    inner_epochs: int = Field(
        1, ge=1, le=65536, description="updates on one rollout (not stated: 1, as T2I-R1)"
    )
    micro_batch: Annotated[int, ROUNDING] = Field(
        64, ge=1, le=MANY, description="samples a forward pass"
    )
    clip_low: float = Field(
        0.2, gt=0, description="lower clip of the ratio, 1 - clip_low (not stated)"
    )
    clip_high: float = Field(
        0.2, gt=0, description="upper clip of the ratio, 1 + clip_high (not stated)"
    )
    kl_coef: float = Field(
        0.01, ge=0, description="beta of the KL to the reference (not stated; T2I-R1: 0.01)"
    )
    std_normalisation: bool = Field(
        True, description="divide advantages by the group's std (paper: yes)"
    )
    aggregation: Literal["token", "sequence", "fixed"] = Field(
        "token", description="how token losses are averaged"
    )
    chain_weight: float = Field(1.0, ge=0, description="weight of chain tokens in the loss")
    image_weight: float = Field(
        1.0,
        ge=0,
        description="weight of image tokens in the loss; at 0, and without a term that reads the "
        "image (r_ri, r_pi, r_hps), a step draws no images but those of galleries",
    )
    logprob_mode: Literal["conditional", "guided"] = Field(
        "guided",
        description="train the logits that were sampled from (guided) or the conditional ones "
        "(as T2I-R1)",
    )
    sample_every: Annotated[int, HARMLESS] = Field(
        10, ge=1, le=MANY, description="steps between galleries in samples/"
    )


class ScaleSection(Section):
    """What fits on which hardware. Nothing here changes what is learned but for rounding."""

    sharding: Annotated[Literal["auto", "ddp", "fsdp"], ROUNDING] = Field(
        "auto",
        description="under torchrun: 'ddp' copies the weights to every process, 'fsdp' divides "
        "them; auto: ddp for LoRA, fsdp for full fine-tuning",
    )
    micro_tokens: Annotated[int, ROUNDING] = Field(
        0,
        ge=0,
        le=MANY,
        description="longest forward pass in tokens, padding included; 0: rl.micro_batch samples, "
        "in SFT the whole batch",
    )
    rollout_batch: Annotated[int, ROUNDING] = Field(
        0,
        ge=0,
        le=MANY,
        description="RL: samples that a process writes and draws at once, each with its cache of "
        "keys and values; 0: all of its step",
    )
    checkpoint_activations: Annotated[bool, ROUNDING] = Field(
        False, description="make activations again in the backward pass: less memory, more time"
    )
    timeout: Annotated[int, HARMLESS] = Field(
        1800,
        ge=1,
        le=YEAR,
        description="seconds that a process waits for the others before it gives up",
    )


class EvalSection(Section):
    """Held-out evaluation before and after RL."""

    prompts: int = Field(
        500, ge=0, le=1_000_000, description="how many held-out prompts; 0 skips the evaluation"
    )
    split: Literal["dev", "val"] = Field(
        "val", description="settings are chosen on dev, results reported on val"
    )
    batch: Annotated[int, ROUNDING] = Field(
        64, ge=1, le=65536, description="prompts sampled at once"
    )
    seed: int = Field(1234, ge=0, le=MOST_SEED, description="seed of the evaluation's sampling")
    probes: Annotated[int, HARMLESS] = Field(
        6,
        ge=0,
        le=65536,
        description="fixed prompts that are drawn and judged before the first step, with each "
        "gallery and after the last, always with the same noise: of the split in the icon world, "
        "else of the run's own prompts",
    )


class Recipe(Section):
    """A whole recipe; unknown keys are errors."""

    run: RunSection = RunSection()
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    rollout: RolloutSection = RolloutSection()
    judge: JudgeSection = JudgeSection()
    reward: RewardSection = RewardSection()
    vq: VQSection = VQSection()
    sft: SFTSection = SFTSection()
    student: StudentSection = StudentSection()
    rl: RLSection = RLSection()
    scale: ScaleSection = ScaleSection()
    eval: EvalSection = EvalSection()
    watch: WatchSection = WatchSection()

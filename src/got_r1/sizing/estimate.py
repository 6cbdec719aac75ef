"""What a recipe will take, worked out before anything loads: the sum of what `sizing` says."""

from __future__ import annotations

from dataclasses import dataclass

from got_r1.checkpoints.official_sizes import official_name
from got_r1.recipes.sections import Recipe
from got_r1.sizing.meta import Part, meta_image_tokenizer, meta_model, sum_bytes
from got_r1.sizing.phases import Phase, Sharding, Sizing, Stage
from got_r1.training.run import KEPT_CHECKPOINTS

__all__ = ["RunEstimate", "estimate"]


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """What a recipe will take."""

    stage: Stage
    model: str
    training: str  # what is trained, in words
    gpu: bool
    processes: int
    sharding: Sharding
    parts: tuple[Part, ...]
    phases: tuple[Phase, ...]  # a device
    work: dict[str, int]  # a step, of all processes together
    steps: int
    checkpoint_bytes: int
    disk_bytes: int  # at the fullest: kept checkpoints, the next one, the final model
    assumptions: tuple[str, ...]

    @property
    def peak(self) -> Phase:
        """The phase that needs most."""
        return max(self.phases, key=lambda phase: phase.total)

    @property
    def at_least(self) -> int:
        """Bytes that a device needs whatever the batch: weights, gradients, optimizer."""
        fixed = ("weights", "gradients", "optimizer state", "KL reference")
        return max(sum(phase.bytes.get(name, 0) for name in fixed) for phase in self.phases)

    def to_json(self) -> dict[str, object]:
        """As plain data."""
        return {
            "stage": self.stage,
            "model": self.model,
            "training": self.training,
            "device": "gpu" if self.gpu else "cpu",
            "processes": self.processes,
            "sharding": self.sharding,
            "parameters": {
                part.name: {
                    "total": part.parameters,
                    "trained": part.trained,
                    "bytes": part.bytes,
                    "on_device": part.on_device,
                }
                for part in self.parts
            },
            "parameters_total": sum(part.parameters for part in self.parts),
            "parameters_trained": sum(part.trained for part in self.parts),
            "bytes_per_device": {
                phase.name: phase.bytes | {"total": phase.total} for phase in self.phases
            },
            "peak": {"phase": self.peak.name, "bytes": self.peak.total},
            "per_step": self.work,
            "steps": self.steps,
            "checkpoint_bytes": self.checkpoint_bytes,
            "disk_bytes": self.disk_bytes,
            "assumptions": list(self.assumptions),
        }


def estimate(recipe: Recipe, stage: Stage, *, gpu: bool, processes: int = 1) -> RunEstimate:
    """What `train <stage>` will take by `recipe`, on GPUs or on the CPU, a process a device.

    Raises BadInput where `model.path` names neither a model folder nor an official size.
    """
    if stage == "vq":
        policy = meta_image_tokenizer(recipe.run.seed)
        model = policy.model
    else:
        model = meta_model(recipe.model)
    sizing = Sizing(recipe, stage, model, gpu, processes)
    match stage:
        case "vq":
            phases, work, notes = sizing.vq(policy)
        case "sft":
            phases, work, notes = sizing.sft()
        case "rl":
            phases, work, notes = sizing.rl()
    name = official_name(recipe.model.path) if stage != "vq" else None
    if name not in (None, recipe.model.path):
        notes = [f"the sizes of {name}, as there is no folder {recipe.model.path}", *notes]
    trained = sum_bytes(sizing.trained)
    checkpoint = 3 * trained
    count = sum(part.parameters for part in sizing.parts if part.name != "adapters")
    whole = sizing.dtype * count
    return RunEstimate(
        stage=stage,
        model="" if stage == "vq" else recipe.model.path,
        training=sizing.in_words(),
        gpu=gpu,
        processes=processes,
        sharding=sizing.sharding,
        parts=sizing.parts,
        phases=tuple(phases),
        work=work,
        steps=getattr(recipe, stage).steps,
        checkpoint_bytes=checkpoint,
        disk_bytes=checkpoint * (KEPT_CHECKPOINTS + 1) + whole,
        assumptions=tuple(notes),
    )

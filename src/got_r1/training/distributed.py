"""Several processes under `torchrun`: who does what, and what they add up to.

One process is the same code: `ALONE` is a rank of one, whose sums are the values themselves. What a
step samples and learns does not depend on the number of processes: prompts are divided, a sample's
noise knows its prompt and not its process, and the loss is divided by the total of all of them.

LoRA trains under DistributedDataParallel, full fine-tuning under FSDP2 (`fully_shard`). Both hook
into the forward of one module, while a replay calls the language model, two heads and two
embeddings apart from each other: so what they wrap is `Replayer`, whose forward is a replay. An
all-reduce of our own would do for LoRA, but not for FSDP2, and two ways would have to be kept
right. Both average gradients over ranks; here the ranks' losses add up to the loss, so a loss is
multiplied by `Ranks.size` before its backward pass.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from got_r1.errors import BadInput, GotR1Error, RunFailed, first_line
from got_r1.policy import load_encoder, load_policy, verified_folder
from got_r1.policy.janus import Policy, Replay, TokenBatch
from got_r1.policy.parameters import acting_parts
from got_r1.recipes.sections import ModelSection, ScaleSection

__all__ = [
    "ALONE",
    "Ranks",
    "check_division",
    "grad_sync_context",
    "load_share",
    "parallelize",
    "processes",
    "sharding",
    "whole_weights",
]

T = TypeVar("T")

LOST = (
    "what was saved is whole, and the run goes on from its newest checkpoint with --resume, on any "
    "number of processes"
)


# -- ranks -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among the others. Every method but `share` is called by all of them."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's part of `items`: the parts, one after the other, are all of them."""
        first, last = (len(items) * rank // self.size for rank in (self.rank, self.rank + 1))
        return items[first:last]

    def sum(self, value: Tensor | float) -> Tensor:
        """The sum over all ranks, on this rank's device."""
        return self._reduce(value, dist.ReduceOp.SUM)

    def max(self, value: Tensor | float) -> Tensor:
        """The largest of all ranks, on this rank's device."""
        return self._reduce(value, dist.ReduceOp.MAX)

    def _reduce(self, value: Tensor | float, operation: Any) -> Tensor:
        tensor = torch.as_tensor(value).to(self.device)
        if self.size > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor, operation)
        return tensor

    def mean(self, mean: float, count: int) -> float:
        """The mean over all ranks' values, of which this rank's `count` have that `mean`; 0 if
        there are none."""
        total = self.sum(torch.tensor([mean * count, count], dtype=torch.float64))
        return float(total[0] / total[1].clamp(min=1))

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in their order, on the first; an empty list elsewhere."""
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.main else None
        dist.gather_object(value, values)
        return values or []

    def run_on_rank0(self, action: Callable[[], T]) -> T:
        """What `action` returns on the first rank, which alone runs it while the others wait.

        An error of ours ends the others too, without a word: the first says it.
        """
        if self.size == 1:
            return action()
        told: list[Any] = [None, None]
        error: GotR1Error | None = None
        if self.main:
            try:
                told[0] = action()
            except GotR1Error as failed:
                error, told[1] = failed, failed.exit_code
        dist.broadcast_object_list(told)
        if error is not None:
            raise error
        if told[1] is not None:
            raise SystemExit(told[1])
        return told[0]


ALONE = Ranks()


@contextmanager
def processes(scale: ScaleSection) -> Iterator[Ranks]:
    """Joins the processes that torchrun started; without torchrun there is one.

    Chooses the device too: the GPU of this process's local rank, where there is one.

    Raises:
        RunFailed: another process was lost, or did not answer within `scale.timeout` seconds.
    """
    gpu = torch.cuda.is_available()
    device = (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if gpu else torch.device("cpu")
    )
    if gpu:
        torch.cuda.set_device(device)
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield Ranks(device=device)
        return
    say_when_told_to_stop()
    # Objects and checkpoints' plans go over gloo, so that they stay off the GPU.
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=timedelta(seconds=scale.timeout)
    )
    ranks = Ranks(dist.get_rank(), dist.get_world_size(), device)
    try:
        yield ranks
    except RuntimeError as error:
        if not speaks_of_others(error):
            raise
        reason = first_line(error)
        raise RunFailed(
            f"process {ranks.rank} of {ranks.size} lost contact with the others ({reason}): {LOST}"
        ) from error
    # Only here: after an error the others may not answer any more.
    dist.destroy_process_group()


def speaks_of_others(error: RuntimeError) -> bool:
    """Whether an error came from talking to other processes: gloo raises plain RuntimeErrors."""
    return isinstance(error, dist.DistError) or any(
        word in str(error).lower()
        for word in ("gloo", "nccl", "connection closed", "connection reset")
    )


def say_when_told_to_stop() -> None:
    """Answers SIGTERM with a sentence.

    When a process dies, torchrun stops the others with SIGTERM. They mostly wait inside a
    collective then, where Python's own signal handlers do not run: so a thread waits for it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        rank = os.environ.get("RANK", "0")
        print(  # noqa: T201
            f"got-r1: process {rank} was told to stop, because another one died or the job was "
            f"cancelled: {LOST}.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


# -- the policy over ranks -------------------------------------------------------------------------


class Replayer(nn.Module):
    """`Policy.replay` as the forward of a module that holds just the weights it passes through."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.parts = nn.ModuleList(acting_parts(policy.model))
        self._replay = policy.replay_here

    def forward(self, batch: TokenBatch | None, **settings: Any) -> Replay | None:
        """The replay of a batch; None replays nothing."""
        if batch is None:
            return None
        replay: Replay = self._replay(batch, **settings)
        return Replay(*(part.clone() for part in replay))  # FSDP2 warns of views


def sharding(model: ModelSection, scale: ScaleSection) -> Literal["ddp", "fsdp"]:
    """How several processes hold the weights."""
    if scale.sharding != "auto":
        return scale.sharding
    return "ddp" if model.lora.rank else "fsdp"


def load_share(model: ModelSection, scale: ScaleSection, ranks: Ranks) -> Policy:
    """The policy of `model.path`, as far as this rank has to read it itself.

    Where weights will be divided, the first rank alone reads them, so that a machine's memory holds
    them once. The others have shapes and the VQ until `parallelize` gives them their shards.
    """
    dtype = getattr(torch, model.dtype)
    if ranks.size == 1 or sharding(model, scale) == "ddp":
        # One reads the files for their digests; DDP gives its weights to all.
        ranks.run_on_rank0(lambda: verified_folder(model.path))
        return load_policy(model.path, dtype, verify=False)
    read: list[Policy] = []
    ranks.run_on_rank0(lambda: read.append(load_policy(model.path, dtype)))
    return read[0] if read else load_encoder(model.path, dtype, verify=False)


def parallelize(
    policy: Policy, model: ModelSection, scale: ScaleSection, ranks: Ranks, *, autocast: bool
) -> None:
    """Brings a policy, ready to train, to its device and divides its training among the ranks.

    Call it before the optimizer is made: under FSDP2 the parameters become shards.
    """
    if scale.checkpoint_activations:
        checkpoint_activations(policy)
    policies = [one for one in (policy, policy.frozen_reference) if one is not None]
    if dist.is_initialized() and sharding(model, scale) == "fsdp":
        for one in policies:
            one.engine = shard(one, ranks, autocast or model.dtype == "bfloat16")
            for part in one.pixel_parts():
                part.to(ranks.device)
        return
    for one in policies:
        one.to(ranks.device)
    if dist.is_initialized():
        policy.engine = DistributedDataParallel(Replayer(policy))


def shard(policy: Policy, ranks: Ranks, low_precision: bool) -> nn.Module:
    """FSDP2: each decoder layer a unit, all else that acts the root. With `low_precision` weights
    are gathered and multiplied in bfloat16; shards and the sums of gradients keep float32.

    The weights are those of the first rank, whatever the others hold (`load_share`)."""
    mesh = init_device_mesh(ranks.device.type, (ranks.size,))
    precision = MixedPrecisionPolicy()
    if low_precision:
        precision = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    replayer = Replayer(policy)
    read = {name: p.detach() for name, p in replayer.named_parameters()} if ranks.main else {}
    for layer in policy.model.model.language_model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    root = fully_shard(replayer, mesh=mesh, mp_policy=precision)
    if ranks.size > 1:
        scatter_parameters(read, replayer, ranks)
    # FSDP2 takes the first module that is called for the root, and sampling calls layers alone. The
    # root stays gathered after a call, but the optimizer has to find shards.
    replayer(None)
    root.reshard()
    return replayer


@torch.no_grad()
def scatter_parameters(read: dict[str, Tensor], root: nn.Module, ranks: Ranks) -> None:
    """Fills the shards of all ranks with what the first one `read`, a tensor at a time."""
    if not ranks.main:
        root.to_empty(device=ranks.device)
    shards: dict[str, Any] = dict(root.named_parameters())  # typed as plain ones
    for name, shard in shards.items():
        # To the others it only says the shape.
        tensor = read[name] if ranks.main else torch.empty(shard.shape, dtype=shard.dtype)
        given = distribute_tensor(tensor.to(ranks.device), shard.device_mesh, shard.placements)
        shard.to_local().copy_(given.to_local())
    for buffer in root.buffers():
        dist.broadcast(buffer, 0)


def checkpoint_activations(policy: Policy) -> None:
    """Lets the backward pass make the decoder layers' activations again, through the library."""
    model = policy.model.model.language_model
    switch = getattr(model, "activation_checkpointing_enable", None)  # older ones: another name
    (switch or model.gradient_checkpointing_enable)({"use_reentrant": False})


def grad_sync_context(policy: Policy, last: bool) -> AbstractContextManager[Any]:
    """The context of a micro-batch's forward and backward: DDP adds gradients up over ranks behind
    the `last` only. FSDP2 does behind each: whole gradients, kept until then, would not fit."""
    if isinstance(policy.engine, DistributedDataParallel) and not last:
        return policy.engine.no_sync()
    return nullcontext()


@contextmanager
def whole_weights(policy: Policy) -> Iterator[None]:
    """Inside, every rank has the whole weights in memory, as sampling reads them.

    No rank waits for another inside, so each may sample as much as it likes.
    """
    root = policy.engine
    if not isinstance(root, FSDPModule):
        yield
        return
    units = [module for module in policy.engine.modules() if isinstance(module, FSDPModule)]
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            unit.set_reshard_after_forward(unit is not root, recurse=False)
            unit.reshard()


def check_division(prompts: int, ranks: Ranks) -> None:
    """Raises BadInput where a rank would have nothing to sample."""
    if prompts < ranks.size:
        raise BadInput(
            f"rl.prompts={prompts} cannot be divided among {ranks.size} processes: "
            "start fewer, or give each at least one prompt a step"
        )

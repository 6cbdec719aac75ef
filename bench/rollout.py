"""Three samplers on the same weights in one process: images per second, peak memory, ratios.

    alone     the official inference way: one chain at a time, then its image
    batched   the peers' way: all chains with the library's generate, then all images, eager
    ours      got_r1.policy.sampler

    python bench/rollout.py                              # the embedded size, 64 chains
    python bench/rollout.py --size 1b --dtype bfloat16 --prompts 8 --group 16 --limit 600 --check 8

First all three sample greedily in float32 and must choose the same tokens (or part where two tokens
are equally likely up to rounding, which is counted and told). Then they are timed in turn, for
several rounds; ratios are taken inside each round, so that a machine that is busy with something
else slows both sides (where it is very busy, `--clock cpu`). `alone` works chain by chain, so its
images per second are measured on a few of the chains.

Peak memory is what a rollout needs beyond the weights: on CUDA the allocator's peak, on a CPU the
growth of the process's resident memory (VmHWM in Linux, reset before each measurement).

The bound: a step can be no faster than reading the weights and the live keys and values once. Bytes
are counted from the lengths that were sampled, the unconditional prefix once a step; bandwidth is
that of a large copy in this process (bytes read and written). Small models may beat it: their
weights stay in the processor's caches.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import gc
import json
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from full_size import random_policy
from peers import Drawn, compare, one_at_a_time, whole_batch
from transformers.utils import logging as transformers_logging

from got_r1.icons.prompts import prompt_list
from got_r1.policy import load_policy
from got_r1.policy.janus import Policy
from got_r1.policy.sampler import Sampler
from got_r1.records import Prompt, WrittenChains

TIE = 1e-3  # logits this close, after guidance, count as equal in float32


def main() -> None:
    """Checks, times, prints."""
    args = arguments()
    transformers_logging.set_verbosity_error()  # generate() explains each of its arguments
    if args.threads:
        torch.set_num_threads(args.threads)
    gpu = args.device == "cuda"
    policy = random_policy(args.size, "float32", gpu) if args.size else load_policy(args.model)
    policy.model.set_attn_implementation("sdpa")  # the library's default, on every device
    policy.to(args.device)
    rows = [p for p in prompt_list("dev", args.prompts, 0) for _ in range(args.group)]
    settings = {"limit": args.limit, "guidance": args.guidance}

    check = rows[:: max(1, len(rows) // args.check)][: args.check]
    ours_drawn = ours(policy, check, **settings)
    ties = [
        compare(other(policy, check, **settings, margins=True), ours_drawn, TIE)
        for other in (one_at_a_time, whole_batch)
    ]
    text, sizes = policy.model.config.text_config, policy.model.config.vq_config
    where = torch.cuda.get_device_name() if gpu else "cpu"
    print(
        f"{args.size or args.model}: {text.num_hidden_layers} layers x {text.hidden_size}, "
        f"{policy.image_tokens} image tokens of {sizes.num_embeddings}; {len(rows)} chains of "
        f"{args.prompts} prompts, guidance {args.guidance:g}, {args.dtype}, {where}, "
        f"{torch.get_num_threads()} CPU threads, torch {torch.__version__}, {args.clock} seconds"
    )
    print(
        f"greedy tokens in float32: the same on {len(check)} chains"
        + (f" (parted at ties: alone {ties[0]}, batched {ties[1]})" if any(ties) else "")
    )

    policy.model.to(getattr(torch, args.dtype))
    few = rows[:: max(1, len(rows) // args.alone)][: args.alone]
    contenders: dict[str, tuple[Callable[..., Drawn], Sequence[Prompt]]] = {
        "alone": (one_at_a_time, few),
        "batched": (whole_batch, rows),
        "ours": (ours, rows),
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    peaks: dict[str, list[float]] = {name: [] for name in contenders}
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    for _ in range(args.rounds):
        for name, (sampler, some) in contenders.items():
            work = functools.partial(sampler, policy, some, **settings)
            seconds, peak = measure(policy, work, clock)
            rates[name].append(len(some) / seconds)
            peaks[name].append(peak)

    print(f"\n{'':>10}{'images/s':>10}   {'min .. max':<18}{'peak MiB':>10}")
    for name in contenders:
        print(
            f"{name:>10}{statistics.median(rates[name]):>10.3f}   "
            f"{f'{min(rates[name]):.3f} .. {max(rates[name]):.3f}':<18}"
            f"{statistics.median(peaks[name]) / 2**20:>10.0f}"
        )
    for name in ("alone", "batched"):
        for what, found in (("images/s", rates), ("peak memory", peaks)):
            ratios = [a / max(b, 1) for a, b in zip(found["ours"], found[name], strict=True)]
            print(
                f"ours has {statistics.median(ratios):.2f} x the {what} of {name} "
                f"({min(ratios):.2f} .. {max(ratios):.2f} in {args.rounds} rounds)"
            )
    found = {
        "greedy tokens compared": len(check),
        "parted at ties": ties,
        "images per second": rates,
        "peak bytes": peaks,
        "bound": report_bound(policy, rows, settings, args.rounds, clock),
    }
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--model", default="icons", help="model folder; 'icons' is shipped")
    parser.add_argument("--size", choices=["1b", "7b"], help="Janus-Pro's shape, random weights")
    parser.add_argument("--device", default=device, choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--prompts", type=int, default=64, help="different prompts")
    parser.add_argument("--group", type=int, default=1, help="chains a prompt")
    parser.add_argument("--limit", type=int, default=120, help="longest chain in tokens")
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", type=int, default=8, help="chains that `alone` is timed on")
    parser.add_argument("--check", type=int, default=64, help="chains whose tokens are compared")
    parser.add_argument(
        "--clock",
        default="wall",
        choices=["wall", "cpu"],
        help="cpu: this process's own seconds, for a processor that others use as well (1 thread)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found here too")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's default")
    return parser.parse_args()


def ours(policy: Policy, rows: Sequence[Prompt], *, limit: int, guidance: float) -> Drawn:
    """One rollout as training takes it, but greedy. `rows`: prompts repeated group-wise."""
    written, images = roll_out(policy, rows, limit=limit, guidance=guidance)
    return Drawn(chains=[ids.tolist() for ids in written.token_ids], images=images.tolist())


def roll_out(
    policy: Policy, rows: Sequence[Prompt], *, limit: int, guidance: float
) -> tuple[WrittenChains, torch.Tensor]:
    """Chains and image tokens of one greedy rollout."""
    prompts = list(dict.fromkeys(rows))
    sampler = Sampler(policy)
    written = sampler.write_chains(
        prompts, len(rows) // len(prompts), seed=0, limit=limit, temperature=0
    )
    return written, sampler.draw_images(written, guidance=guidance, temperature=0).image_ids


# -- measuring -------------------------------------------------------------------------------------


def measure(
    policy: Policy, work: Callable[[], object], clock: Callable[[], float]
) -> tuple[float, float]:
    """Seconds, and peak bytes beyond what was held before."""
    gc.collect()
    on_gpu = policy.device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        ctypes.CDLL(None).malloc_trim(0)  # freed pages go back, so that they are counted again
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to today's level
        before = resident("VmRSS")
    start = clock()
    work()
    if on_gpu:
        torch.cuda.synchronize()
    seconds = clock() - start
    peak = torch.cuda.max_memory_allocated() if on_gpu else resident("VmHWM")
    return seconds, peak - before


def resident(field: str) -> int:
    """A figure of this process's memory in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", status)[1])


def report_bound(
    policy: Policy,
    rows: Sequence[Prompt],
    settings: dict[str, float],
    rounds: int,
    clock: Callable[[], float],
) -> dict[str, Any]:
    """What memory bandwidth allows, stage by stage, and the share of it that was reached."""
    bandwidth = statistics.median(copy_bandwidth(policy.device, clock) for _ in range(rounds))
    seconds: dict[str, list[float]] = {"chains": [], "images": []}
    sampler = Sampler(policy)
    prompts = list(dict.fromkeys(rows))
    group = len(rows) // len(prompts)
    for _ in range(rounds):
        start = clock()  # both stages end with a transfer to the host: no wait needed
        written = sampler.write_chains(
            prompts, group, seed=0, limit=int(settings["limit"]), temperature=0
        )
        middle = clock()
        sampler.draw_images(written, guidance=settings["guidance"], temperature=0)
        seconds["chains"].append(middle - start)
        seconds["images"].append(clock() - middle)
    found: dict[str, Any] = {"bytes per second": bandwidth}
    print(f"\nbound by memory bandwidth, copies at {bandwidth / 1e9:.1f} GB/s:")
    for stage, needed in least_bytes(policy, written, settings["guidance"]).items():
        took, bound = statistics.median(seconds[stage]), needed / bandwidth
        print(
            f"{stage:>10}: {needed / 1e9:.2f} GB, {bound:.3f} s; "
            f"took {took:.3f} s, {bound / took:.0%} of the bound"
        )
        found[stage] = {"bytes": needed, "bound": bound, "seconds": took}
    return found


def least_bytes(policy: Policy, written: WrittenChains, guidance: float) -> dict[str, float]:
    """Bytes that each stage's steps must read: weights and live keys and values, once a step."""
    text = policy.model.config.text_config
    item = policy.model.lm_head.weight.element_size()
    slot = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * item
    janus = policy.model.model

    def size(module: torch.nn.Module) -> int:
        return sum(p.numel() * item for p in module.parameters())

    layers = size(janus.language_model.layers)
    prompts = [len(ids) for ids in written.prompt_ids]
    chains = [int(mask.sum()) for mask in written.loss_mask]  # forced tokens took no step
    # A row's step t sees its prompt and the t tokens behind it.
    seen = sum(n * p + n * (n - 1) // 2 for p, n in zip(prompts, chains, strict=True))
    writing = max(chains) * (layers + size(policy.model.lm_head)) + seen * slot
    places, rows = policy.image_tokens, len(prompts)
    texts = [len(ids) + p for ids, p in zip(written.token_ids, prompts, strict=True)]
    behind = rows * places * (places - 1) // 2
    seen = places * sum(texts) + behind
    if guidance != 1:
        seen += places * max(texts) + behind
    return {
        "chains": writing,
        "images": places * (layers + size(janus.generation_head)) + seen * slot,
    }


def copy_bandwidth(device: torch.device, clock: Callable[[], float]) -> float:
    """Bytes read and written in a second of copying a large tensor."""
    source = torch.ones((2**30 if device.type == "cuda" else 2**28) // 4, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    repeats = 3
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = clock()
    for _ in range(repeats):
        target.copy_(source)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return repeats * 2 * source.nbytes / (clock() - start)


if __name__ == "__main__":
    main()

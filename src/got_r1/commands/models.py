"""Loading the model of `--model`, and how it wants to be sampled."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from got_r1.errors import BadInput

if TYPE_CHECKING:
    from got_r1.policy.janus import Policy
    from got_r1.recipes.sections import RolloutSection
    from got_r1.records import Prompt
    from got_r1.sampling import Drawer

__all__ = ["make_drawer", "rollout_settings"]

GUIDANCE = 5.0  # the paper's, for a model that does not bring its own


def make_drawer(
    args: argparse.Namespace, prompts: Sequence[Prompt], chain_text: str | None = None
) -> Drawer:
    """The model of `--model` and how it is to draw these prompts.

    Raises BadInput as `load_sampling_policy` and `rollout_settings`.
    """
    from got_r1.checkpoints.models import check_model
    from got_r1.progress import import_modules, note

    check_model(args.model)
    import_modules("got_r1.sampling", quiet=args.json)
    from got_r1.files.weights import fingerprint
    from got_r1.sampling import Drawer

    if not args.json:
        note(f"loading the model {args.model}")
    policy = load_sampling_policy(args)
    rollout = rollout_settings(policy, prompts, args, chain_text)
    about = {
        "model": args.model,
        "weights": fingerprint(policy.model),
        "dtype": args.dtype,
        "device": policy.device.type,  # each rounds in its own way
        "seed": args.seed,
        **rollout.model_dump(exclude={"marks"}),
        **({"marks": True} if rollout.marks else {}),  # folders of before have no such entry
    }
    return Drawer(policy, rollout, args.seed, args.batch, args.json, about)


def load_sampling_policy(args: argparse.Namespace) -> Policy:
    """The policy of `--model` in the asked dtype and place: a GPU where there is one.

    Raises BadInput as `load_policy`, and for a GPU that is not there.
    """
    import torch

    from got_r1.policy import load_policy

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: torch sees no GPU here; leave --device out to use the CPU.")
    return load_policy(args.model, getattr(torch, args.dtype)).to(device)


def rollout_settings(
    policy: Policy,
    prompts: Sequence[Prompt],
    args: argparse.Namespace,
    chain_text: str | None = None,
) -> RolloutSection:
    """How to sample: what was asked for; else what the model carries (chain limit, image
    temperature, guidance); else the official code's 600 chain tokens, temperatures 1, guidance 5.

    Raises BadInput where the model has no room for a prompt, or brings settings of no sense.
    """
    from pydantic import ValidationError

    from got_r1.recipes.sections import RolloutSection
    from got_r1.sampling import chain_limit

    own = policy.model.generation_config
    asked = vars(args)
    try:
        return RolloutSection(
            chain_limit=chain_limit(policy, prompts, asked.get("chain_limit"), chain_text),
            chain_temperature=asked.get("temperature") or 1.0,
            image_temperature=asked.get("image_temperature")
            or asked.get("temperature")
            or own.temperature
            or 1.0,
            guidance=args.guidance or own.guidance_scale or GUIDANCE,
            marks=asked.get("marks", False),
        )
    except ValidationError as error:
        fault = error.errors()[0]
        raise BadInput(
            f"{args.model}/generation_config.json asks for {fault['loc'][0]} {fault['input']}, "
            "which cannot be sampled with; fix it, or give the option."
        ) from None

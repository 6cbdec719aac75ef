"""Loading the model of `--model`, and how it is to draw."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from got_r1.records import Prompt
    from got_r1.sampling import Drawer

__all__ = ["make_drawer"]

SETTINGS = ("guidance", "temperature", "image_temperature", "chain_limit", "marks")
"""Of `sampling.settings.rollout_settings`: the options that are called the same."""


def make_drawer(
    args: argparse.Namespace, prompts: Sequence[Prompt], chain_text: str | None = None
) -> Drawer:
    """The model of `--model` and how it is to draw these prompts.

    Raises BadInput as `api.load_policy` and `sampling.settings.rollout_settings`.
    """
    from got_r1 import api
    from got_r1.checkpoints.models import check_model
    from got_r1.progress import import_modules, note

    check_model(args.model)
    import_modules("got_r1.sampling", quiet=args.json)
    from got_r1.sampling import settings

    if not args.json:
        note(f"loading the model {args.model}")
    asked = {name: value for name, value in vars(args).items() if name in SETTINGS}
    return settings.make_drawer(
        api.load_policy(args.model, dtype=args.dtype, device=args.device),
        prompts,
        seed=args.seed,
        batch=args.batch,
        quiet=args.json,
        chain_text=chain_text,
        **asked,
    )

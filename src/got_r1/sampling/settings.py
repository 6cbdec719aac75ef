"""How a model is sampled: what was asked for, else what the model carries, else the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from got_r1.errors import BadInput
from got_r1.files.weights import fingerprint
from got_r1.plan.planning import Planner, ScorePlans
from got_r1.policy.janus import Policy
from got_r1.recipes.sections import RolloutSection
from got_r1.records import Prompt
from got_r1.sampling import Drawer

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["fitting_chain_limit", "make_drawer", "make_planner", "rollout_settings"]

OFFICIAL_CHAIN_LIMIT = 600
GUIDANCE = 5.0  # the paper's, for a model that does not bring its own


def rollout_settings(
    policy: Policy,
    prompts: Sequence[Prompt],
    *,
    guidance: float | None = None,
    temperature: float | None = None,
    image_temperature: float | None = None,
    chain_limit: int | None = None,
    marks: bool = False,
    chain_text: str | None = None,
) -> RolloutSection:
    """How to sample: what was asked for; else what the model carries (chain limit, image
    temperature, guidance); else the official code's 600 chain tokens, temperatures 1, guidance 5.

    `temperature` is that of the chain, and of the image where `image_temperature` is None. Raises
    BadInput where the model has no room for a prompt, or what was asked for or the model brings
    cannot be sampled with.
    """
    own = policy.model.generation_config
    asked = {
        "chain_limit": chain_limit,
        "chain_temperature": temperature,
        "image_temperature": temperature if image_temperature is None else image_temperature,
        "guidance": guidance,
    }
    carried = {
        "chain_limit": fitting_chain_limit(policy, prompts, chain_limit, chain_text),
        "chain_temperature": 1.0,
        "image_temperature": own.temperature or 1.0,
        "guidance": own.guidance_scale or GUIDANCE,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    try:
        return RolloutSection.model_validate({**carried, **given, "marks": marks})
    except ValidationError as error:
        raise BadInput(_sentence(error.errors()[0], given, policy.name)) from None


def _sentence(fault: ErrorDetails, given: Mapping[str, Any], model: str) -> str:
    """What cannot be sampled with, and whose setting it is."""
    name = fault["loc"][0]
    if name in given:
        return f"{name} is {fault['input']!r}: {fault['msg'][:1].lower()}{fault['msg'][1:]}."
    return (
        f"{model}/generation_config.json asks for {name} {fault['input']}, "
        "which cannot be sampled with; fix it, or give the option."
    )


def fitting_chain_limit(
    policy: Policy, prompts: Sequence[Prompt], asked: int | None, chain_text: str | None = None
) -> int:
    """The chain limit in tokens: the requested one, else the model's own, else the official 600;
    the latter two at most what the context leaves beside the longest prompt and the image.

    Raises BadInput if prompt and chain do not fit into the context.
    """
    lengths = [len(policy.encode_prompt(prompt.text)) for prompt in prompts]
    longest = prompts[int(np.argmax(lengths))].text
    room = policy.context - policy.image_tokens - max(lengths)
    needed = (asked or 1) + 1  # the closing <begin_of_image> may have to be added
    if chain_text is not None:
        needed = len(policy.encode_chain(chain_text))
    if needed > room:
        raise BadInput(
            f"the prompt {longest[:60]!r} leaves {max(0, room)} tokens of the model's context for "
            f"a chain of {needed}; shorten the prompt or the chain, or lower the chain limit."
        )
    usual = policy.model.generation_config.max_new_tokens or OFFICIAL_CHAIN_LIMIT
    return min(usual, max(1, room - 1)) if asked is None else asked


def make_drawer(
    policy: Policy,
    prompts: Sequence[Prompt],
    *,
    seed: int,
    batch: int,
    quiet: bool = False,
    **asked: Any,
) -> Drawer:
    """How a policy is to draw these prompts, with what a folder keeps of it.

    `asked` are the settings of `rollout_settings`, which is where BadInput comes from.
    """
    rollout = rollout_settings(policy, prompts, **asked)
    about = {
        "model": policy.name,
        "weights": fingerprint(policy.model),
        "dtype": str(policy.model.dtype).removeprefix("torch."),
        "device": policy.device.type,  # each rounds in its own way
        "seed": seed,
        **rollout.model_dump(exclude={"marks"}),
        **({"marks": True} if rollout.marks else {}),  # folders of before have no such entry
    }
    return Drawer(policy, rollout, seed, batch, quiet, about)


def make_planner(
    policy: Policy,
    plans: int | None,
    score: ScorePlans | None,
    *,
    repair: bool,
    margin: float = 0.0,
) -> Planner | None:
    """What chooses among `plans` chains and repairs the chosen one, by a margin; None for
    neither."""
    if not plans and not repair:
        return None
    return Planner(plans or 1, score, repair, isqrt(policy.image_tokens), margin)

"""Loading a model, and sampling from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from got_r1.api.samples import Sample, chain_of, prompt_of
from got_r1.checkpoints.models import check_model
from got_r1.errors import BadInput
from got_r1.plan.editing import Plan, check_chain
from got_r1.records import Chain, Prompt

if TYPE_CHECKING:
    from got_r1.judges.base import Judge
    from got_r1.policy.janus import Policy

__all__ = ["load_policy", "sample"]


def load_policy(
    model: str | Path,
    *,
    dtype: Literal["float32", "bfloat16"] = "float32",
    device: str | None = None,
) -> Policy:
    """Loads a model to sample from.

    Args:
        model: its folder, its name on the hub (OWNER/NAME[@REVISION]), or "icons", the shipped
            model of the icon world.
        dtype: of its weights.
        device: "cpu", "cuda" or "cuda:N"; None: a GPU where there is one.

    Raises BadInput where there is no such model or device, it is of another kind, or a file of it
    is damaged or missing.
    """
    check_model(model)
    if dtype not in ("float32", "bfloat16"):
        raise BadInput(f"dtype is {dtype!r}; give float32 or bfloat16.")
    import torch

    from got_r1.policy import load_policy as load

    gpu = torch.cuda.is_available()
    place = device or ("cuda" if gpu else "cpu")
    if place.startswith("cuda") and not gpu:
        raise BadInput(f"device {place}: torch sees no GPU here; leave it out to use the CPU.")
    return load(model, getattr(torch, dtype)).to(place)


def sample(
    policy: Policy,
    prompts: str | Prompt | Sequence[str | Prompt],
    *,
    n: int = 1,
    images_per_chain: int = 1,
    seed: int = 0,
    guidance: float | None = None,
    temperature: float | None = None,
    image_temperature: float | None = None,
    chain_limit: int | None = None,
    chain: str | Chain | Plan | None = None,
    plans: int | None = None,
    judge: Judge | str | None = None,
    repair: bool = False,
    margin: float = 0.0,
    marks: bool = False,
    batch: int = 16,
) -> list[Sample]:
    """Writes `n` chains for each prompt and draws `images_per_chain` images from each, in that
    order: the images of `got-r1 sample` with the same arguments.

    Args:
        policy: what `load_policy` loads.
        prompts: one, or several. A prompt that is given twice gets the same images twice.
        seed: of the noise, at least 0. A sample depends on the seed, its prompt and its number; its
            rounding also on `batch`.
        guidance: classifier-free guidance of the image, at least 1, where 1 is none (None: the
            model's own, else 5).
        temperature: of chain and image, above 0 (None: 1; of the image the model's own, else 1).
        image_temperature: of the image alone (None: as above).
        chain_limit: longest chain in tokens (None: the model's own, else 600).
        chain: draw from this one instead of a chain of the model's; for one prompt. A model of the
            icon world draws it with its boxes on the grid of its tokens.
        plans: write so many chains for each and draw only the one with the best plan.
        judge: what scores these plans, as for `score`; None: their geometry alone.
        repair: move the boxes of a plan that contradicts its prompt, as little as needed.
        margin: of the repair: left, right, top and bottom are to hold by this share of the image's
            side, in [0, 1).
        marks: boxes of chains may carry a depth and a time index.
        batch: images drawn at once, for speed against memory.

    Raises BadInput for an argument that is out of range, an empty prompt, a malformed `chain`, and
    a prompt or chain that the model's context has no room for; RunFailed where the judge could
    score none of a sample's plans.
    """
    several = [prompts] if isinstance(prompts, str | Prompt) else prompts
    asked = [prompt_of(one) for one in several]
    if not asked:
        raise BadInput("there are no prompts; give at least one.")
    for name, count, least in (
        ("n", n, 1),
        ("images_per_chain", images_per_chain, 1),
        ("batch", batch, 1),
        ("plans", plans, 1),
        ("seed", seed, 0),
    ):
        if count is not None and count < least:
            raise BadInput(f"{name} is {count}; give at least {least}.")
    if chain is not None and (plans or len(asked) > 1):
        raise BadInput("chain is the plan of one prompt; give one prompt, and leave out plans.")
    if margin and not repair:
        raise BadInput("margin is of a repair; say repair=True, or leave it out.")
    if not 0 <= margin < 1:
        raise BadInput(f"margin is {margin}; give a share of at least 0 and below 1.")
    if judge is not None and not plans:
        raise BadInput("judge scores the plans to choose from; say how many with plans.")
    text = None if chain is None else chain_of(chain, marks=marks).text
    if text is not None:
        check_chain(text, "the chain", marks=marks)

    from got_r1.judges import load_judge
    from got_r1.rewards import plan_scorer
    from got_r1.sampling import generate
    from got_r1.sampling.checks import checks_of
    from got_r1.sampling.settings import make_planner, rollout_settings

    if isinstance(judge, str):
        judge = load_judge(judge, terms=("r_sem", "r_spa"))
    rollout = rollout_settings(
        policy,
        asked,
        guidance=guidance,
        temperature=temperature,
        image_temperature=image_temperature,
        chain_limit=chain_limit,
        marks=marks,
        chain_text=text,
    )
    checks = checks_of(policy, marks=marks)
    drawings = generate(
        policy,
        asked,
        seed=seed,
        rollout=rollout,
        n=n,
        images_per_chain=images_per_chain,
        batch=batch,
        chain_text=checks.fitted(text)[0] if text is not None else None,
        planner=make_planner(
            policy,
            plans,
            plan_scorer(judge) if judge else None,
            repair=repair,
            margin=margin,
        ),
        spoken=checks.spoken,
    )
    samples = []
    for one in drawings:
        seen = checks.look(one)
        unclear = tuple(seen.get("not_understood", ()))
        told = one.stop, one.spoken
        samples.append(
            Sample(one.prompt, one.chain, one.image, tuple(seen["faults"]), unclear, *told)
        )
    return samples

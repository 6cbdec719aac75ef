"""The reward of samples, by a judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from got_r1.api.samples import Sample, chain_of, prompt_of
from got_r1.errors import BadInput
from got_r1.files.inputs import read_image
from got_r1.plan.editing import Plan
from got_r1.records import Chain, Prompt, Reward

if TYPE_CHECKING:
    from got_r1.judges.base import Judge

__all__ = ["score", "score_samples"]


def score(
    prompt: str | Prompt,
    chain: str | Chain | Plan,
    image: NDArray[np.uint8] | Image.Image | str | Path,
    judge: Judge | str = "oracle",
    *,
    settings: Mapping[str, object] | None = None,
    marks: bool = False,
) -> Reward:
    """The reward of one sample, term by term, as `got-r1 score` prints it.

    Args:
        prompt: what was to be drawn.
        chain: its chain; of a malformed one all terms are 0.
        image: uint8 [height, width, 3], a picture of Pillow, or the path of a PNG or JPEG file.
        judge: an object with the method `judge` (`Judge`), or a spec for `load_judge`.
        settings: of the recipe's section `reward`, such as {"formula": "sum", "r_hps": 0.5}.
        marks: boxes of a chain given as text may carry a depth and a time index.

    Returns the total, the terms in [0, 1] by name, and under the same names the verdicts with their
    evidence. Where the judge could not answer, its verdict is a JudgeFailure and the total None.

    Raises BadInput for an empty prompt, an image that is none, a judge or settings that cannot be
    used.
    """
    one = Sample(prompt_of(prompt), chain_of(chain, marks=marks), _pixels(image))
    return score_samples([one], judge, settings=settings)[0]


def score_samples(
    samples: Iterable[Sample],
    judge: Judge | str = "oracle",
    *,
    settings: Mapping[str, object] | None = None,
) -> list[Reward]:
    """The rewards of samples, in order, as `score` gives them; the judge is asked about all of them
    at once. Raises BadInput as `score`."""
    from got_r1 import rewards
    from got_r1.judges import load_judge
    from got_r1.recipes.recipe_file import make_section
    from got_r1.recipes.sections import RewardSection

    config = make_section(settings or {}, RewardSection, "reward")
    rewards.check_config(config)
    if isinstance(judge, str):
        judge = load_judge(judge, terms=rewards.active_terms(config))
    rewards.check_judge(judge, config)
    some = list(samples)
    prompts, chains = [one.prompt for one in some], [one.chain for one in some]
    return rewards.score(judge, prompts, chains, [one.image for one in some], config)


def _pixels(image: object) -> NDArray[np.uint8]:
    """An image as uint8 [height, width, 3]. Raises BadInput where it is none."""
    if isinstance(image, str | Path):
        return read_image(image)
    array = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise BadInput(
            f"the image is {array.dtype} {list(array.shape)}; give uint8 [height, width, 3]."
        )
    return array

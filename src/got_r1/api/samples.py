"""A finished sample, and what prompts and chains may be given as."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from got_r1.files.inputs import check_prompt
from got_r1.plan.chain import parse, without_end
from got_r1.plan.editing import Plan, plan_of_chain
from got_r1.records import Chain, Prompt

__all__ = ["Sample", "chain_of", "prompt_of"]

SHOWN = 320  # pixels of an image's side in a notebook, at least


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What a model made of one prompt.

    `chain` is what the image was drawn from: its text, the planned objects, and what is malformed.
    `image`: uint8 [height, width, 3]. `faults` names what is wrong with chain, plan and image, in
    phrases; outside of the icon world the image is not looked at. `not_understood`: what of the
    prompt is no word of the icon world. `stop`: why the chain ended ("begin_of_image",
    "end_of_sentence", "length", or "given"). `drawn_as`: the prompt in the words that the model
    got.
    """

    prompt: Prompt
    chain: Chain
    image: NDArray[np.uint8] = field(repr=False)
    faults: tuple[str, ...] = ()
    not_understood: tuple[str, ...] = ()
    stop: str = ""
    drawn_as: str = ""

    @property
    def plan(self) -> Plan:
        """The plan, to change and draw again: `moved`, `without`, `with_object`. Of a malformed
        chain it has the objects that are right, and prose that lists them."""
        return plan_of_chain(self.chain, self.prompt.text)

    def picture(self, scale: int = 1) -> Image.Image:
        """The image as an RGB picture of Pillow, every pixel as `scale` x `scale` pixels."""
        return Image.fromarray(self.image.repeat(scale, axis=0).repeat(scale, axis=1))

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        png = io.BytesIO()
        self.picture(-(-SHOWN // max(self.image.shape[:2]))).save(png, "PNG")
        return png.getvalue()


def prompt_of(prompt: str | Prompt) -> Prompt:
    """A prompt without surrounding blanks. Raises BadInput for an empty one."""
    given = Prompt(prompt) if isinstance(prompt, str) else prompt
    return Prompt(check_prompt(given.text), given.category)


def chain_of(chain: str | Chain | Plan, *, marks: bool = False) -> Chain:
    """A chain, from its text where it is one; with `marks` its boxes may carry depth and time.

    Raises BadInput where a plan makes none. Malformed text is no error here.
    """
    if isinstance(chain, str):
        return parse(without_end(chain).strip(), marks=marks)
    return chain if isinstance(chain, Chain) else chain.chain

"""The codebook of the embedded world: a code is a form in a look, and code 0 is bare ground.

Left free, every colour and fill cuts its share of the codes in its own way, and a language model
that has never seen a purple arrow cannot know which codes would draw one. Here the codes are a
table, looks (colour and fill) by forms (the silhouette inside a cell): the same form has the same
column in every look, so what is learned of arrows and what is learned of purple meet. (Our choice;
the result is an ordinary codebook of the official kind.)

    code 1 + look * FORMS + form        its vector [form part | look part], each of length sqrt(1/2)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from got_r1.icons.looks import LOOKS

__all__ = [
    "CODES",
    "FORMS",
    "GROUND",
    "factored",
    "form_part",
    "look_cosines",
    "move_forms",
    "unused_forms",
]

GROUND = 0
FORMS = 48
CODES = 1 + FORMS * len(LOOKS)
_FORM_SIZE = 4  # the first numbers of a vector tell the form, the others the look


def factored(weight: Tensor) -> Tensor:
    """The unit codes that free weights [codes, D] stand for: of a form the mean over its looks,
    of a look the mean over its forms."""
    table = weight[1:].view(len(LOOKS), FORMS, -1)
    forms = F.normalize(table[..., :_FORM_SIZE].mean(dim=0), dim=-1)
    looks = F.normalize(table[..., _FORM_SIZE:].mean(dim=1), dim=-1)
    pairs = torch.cat([forms.expand(len(LOOKS), -1, -1), looks[:, None].expand(-1, FORMS, -1)], -1)
    return torch.cat([F.normalize(weight[:1], dim=-1), pairs.flatten(0, 1) * 0.5**0.5])


def form_part(states: Tensor) -> Tensor:
    """Of states [..., D] the numbers that choose the form, as unit vectors."""
    return F.normalize(states[..., :_FORM_SIZE], dim=-1)


def look_cosines(states: Tensor, codes: Tensor) -> Tensor:
    """Cosines [N, looks] of the look part of states [N, D] with the looks of unit codes."""
    looks = F.normalize(codes[1::FORMS, _FORM_SIZE:], dim=-1)
    return F.normalize(states[:, _FORM_SIZE:], dim=-1) @ looks.T


def unused_forms(chosen: Tensor) -> Tensor:
    """bool [forms]: the forms that no look has among the `chosen` codes, int64 [...]."""
    drawn = chosen[chosen != GROUND]
    used = torch.zeros(FORMS, dtype=torch.bool)
    used[(drawn - 1) % FORMS] = True
    return ~used


@torch.no_grad()
def move_forms(weight: Tensor, forms: Tensor, states: Tensor) -> None:
    """Moves forms (bool [forms]) of the free weights, in place, onto the form parts of drawn cells'
    states [N, D], chosen at random."""
    chosen = states[torch.randperm(len(states))[: int(forms.sum())]]
    places = forms.nonzero().squeeze(1)[: len(chosen)]
    weight[1:].view(len(LOOKS), FORMS, -1)[:, places, :_FORM_SIZE] = form_part(chosen) * 0.5**0.5

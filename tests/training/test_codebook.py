"""The table of codes: looks by forms, and what the shipped image tokens make of it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from got_r1.icons.data import triples
from got_r1.icons.looks import LOOKS, look_map, relook
from got_r1.icons.render import render
from got_r1.policy import load_policy
from got_r1.training.codebook import (
    CODES,
    FORMS,
    GROUND,
    factored,
    form_part,
    look_cosines,
    move_forms,
    unused_forms,
)


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.randn(CODES, 8, generator=torch.Generator().manual_seed(0))


def test_a_form_is_the_same_in_every_look_and_a_look_the_same_for_every_form(weight):
    codes = factored(weight)
    torch.testing.assert_close(codes.norm(dim=-1), torch.ones(CODES))
    table = codes[1:].view(len(LOOKS), FORMS, -1)
    assert table[:, :, :4].equal(table[:1, :, :4].expand(len(LOOKS), -1, -1))
    assert table[:, :, 4:].equal(table[:, :1, 4:].expand(-1, FORMS, -1))
    torch.testing.assert_close(factored(codes), codes)


def test_form_and_look_of_the_nearest_code_are_chosen_apart(weight):
    codes = factored(weight)
    states = F.normalize(torch.randn(500, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    chosen = (states @ codes[1:].T).argmax(-1)
    assert (chosen // FORMS).equal(look_cosines(states, codes).argmax(-1))
    forms = form_part(codes[1 : 1 + FORMS])
    assert (chosen % FORMS).equal((form_part(states) @ forms.T).argmax(-1))


def test_a_form_is_used_in_whichever_look_and_only_unused_ones_are_moved(weight):
    first, third = 1, 1 + 5 * FORMS + 2
    unused = unused_forms(torch.tensor([[GROUND, first], [third, GROUND]]))
    assert (~unused).nonzero().flatten().tolist() == [0, 2]
    before = factored(weight)
    states = F.normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(2)), dim=-1)
    move_forms(weight, unused, states)
    after = factored(weight)
    still = [index for index in range(CODES) if index == 0 or (index - 1) % FORMS in (0, 2)]
    torch.testing.assert_close(after[still], before[still])
    moved = form_part(after[1 : 1 + FORMS])[unused]
    assert (moved @ form_part(states).T).amax(dim=1).min() > 0.999


def test_the_shipped_tokens_tell_the_look_of_every_cell_and_share_forms_between_looks():
    policy = load_policy("icons")
    scenes = [triple.scene for triple in triples(100, seed=77)]
    pairs = [(scene, relook(scene, f"test {n}")) for n, scene in enumerate(scenes)]
    codes = np.stack(
        [
            policy.encode_images(np.stack([render(pair[side]) for pair in pairs])).numpy()
            for side in (0, 1)
        ]
    ).reshape(2, len(pairs), -1)
    looks = np.array([[look_map(pair[side]) for pair in pairs] for side in (0, 1)])
    looks = looks.reshape(codes.shape)
    drawn = codes != GROUND
    assert (drawn & (looks < 0)).sum() == 0
    assert ((codes[drawn] - 1) // FORMS == looks[drawn]).mean() > 0.999
    both = drawn.all(axis=0)
    # Forms that differ little take each other's place: .49 of cells have the very same one.
    assert ((codes[0] - 1) % FORMS == (codes[1] - 1) % FORMS)[both].mean() > 0.45

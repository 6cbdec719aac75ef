"""SFT and the VQ on a few examples: what is learned, from what, and in which order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from got_r1.config import Recipe
from got_r1.icons.data import triples
from got_r1.policy import load_policy
from got_r1.training import sft, vq
from got_r1.training.sft import BUCKETS, draw_rows, encode_triples

MakeRecipe = Callable[..., Recipe]


def losses(recipe: Recipe, key: str) -> list[float]:
    lines = Path(recipe.run.dir, "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)[key] for line in lines]


def test_sft_learns_both_chain_and_image(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe(
        "run", data={"size": 8}, sft={"steps": 40, "learning_rate": 5e-3, "save_every": 40}
    )
    sft.train(recipe, quiet=True)
    chain, image = losses(recipe, "loss/chain"), losses(recipe, "loss/image")
    assert np.mean(chain[-5:]) < 0.7 * np.mean(chain[:3])
    assert np.mean(image[-5:]) < 0.95 * np.mean(image[:3])  # the codes of a random VQ are noise


def test_triples_are_encoded_as_they_are(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("run", data={"size": 5})
    policy = load_policy(recipe.model.path)
    data = encode_triples(policy, recipe)
    noise = recipe.data
    expected = triples(
        5,
        recipe.run.seed,
        relation_noise=noise.relation_noise,
        attribute_noise=noise.attribute_noise,
        count_noise=noise.count_noise,
    )
    for row, triple in enumerate(expected):
        chain = data.text_ids[row, data.prompt_lengths[row] : data.text_lengths[row]]
        assert policy.decode_chain(chain) == triple.chain
        assert triple.prompt.text in policy.tokenizer.decode(data.text_ids[row])
        ids = policy.encode_images(triple.image[None])[0]
        assert data.image_ids[row].equal(ids)


def test_every_step_gets_a_batch_of_about_one_length(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("run")
    data = encode_triples(load_policy(recipe.model.path), recipe)
    spreads = []
    for step in range(1, BUCKETS + 1):
        rows = draw_rows(data, 8, seed=0, step=step)
        assert rows.equal(draw_rows(data, 8, seed=0, step=step))
        lengths = data.text_lengths[rows]
        spreads.append(float(lengths.max() - lengths.min()))
    whole = float(data.text_lengths.max() - data.text_lengths.min())
    assert np.mean(spreads) < whole / 3


@pytest.mark.slow
def test_the_vq_is_made_from_nothing(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("run", vq={"steps": 30, "save_every": 30})
    summary = vq.train(recipe, quiet=True)
    curve = losses(recipe, "loss/reconstruction")
    assert np.mean(curve[-3:]) < 0.6 * curve[0]
    policy = load_policy(str(summary["model"]))
    codes = policy.model.model.vqmodel.quantize.embedding.weight
    torch.testing.assert_close(codes.norm(dim=-1), torch.ones(len(codes)))
    # The library's encoder must then agree with the nearest code on the unit sphere.
    images = np.stack([t.image for t in triples(4, seed=9)])
    states = vq.encode(policy, vq.to_pixels(images))
    expected = vq.nearest(states, codes).view(4, -1)
    assert (policy.encode_images(images) == expected).float().mean() > 0.999

"""SFT and the VQ on a few examples: what is learned, from what, and in which order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from got_r1.data import open_source
from got_r1.data.prepare import prepare
from got_r1.errors import BadInput
from got_r1.icons.data import triples
from got_r1.policy import load_encoder, load_policy
from got_r1.recipes.sections import Recipe
from got_r1.training import sft, vq
from got_r1.training.sft import BUCKETS, draw_rows

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


@pytest.mark.parametrize("learned", ["chain", "image"])
def test_a_loss_without_weight_teaches_nothing(make_recipe: MakeRecipe, learned: str) -> None:
    weights = {"chain_loss_weight": 0.0, "image_loss_weight": 0.0, f"{learned}_loss_weight": 1.0}
    sections = {"data": {"size": 8}, "sft": {"steps": 1, "learning_rate": 1e-3, **weights}}
    recipe = make_recipe("run", **sections)
    before = load_policy(recipe.model.path).model
    after = load_policy(str(sft.train(recipe, quiet=True)["model"])).model
    heads = {"chain": "lm_head", "image": "model.generation_head"}
    for name, head in heads.items():
        (old, *_), (new, *_) = (m.get_submodule(head).parameters() for m in (before, after))
        assert old.equal(new) == (name != learned)
    (line,) = Path(recipe.run.dir, "metrics.jsonl").read_text().splitlines()
    metrics = json.loads(line)
    assert metrics["loss"] == metrics[f"loss/{learned}"]
    assert ("loss/image" in metrics) == (learned == "image")


def test_a_run_uses_the_threads_that_it_is_given(make_recipe: MakeRecipe) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            section = {"dir": make_recipe(f"run {threads}").run.dir, "threads": threads}
            sft.train(make_recipe("", run=section, sft={"steps": 1}), quiet=True)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_icons_are_encoded_once_into_the_run(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("run")
    sft.train(recipe, quiet=True)
    tokens = Path(recipe.run.dir, "tokens")
    before = {path.name: path.stat().st_mtime_ns for path in tokens.iterdir()}
    assert json.loads((tokens / "manifest.json").read_text())["kept"] == recipe.data.size
    sft.train(recipe, resume=True, quiet=True)
    assert {path.name: path.stat().st_mtime_ns for path in tokens.iterdir()} == before


def test_prepared_tokens_train_to_the_same_losses(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    direct = make_recipe("direct")
    prepare(
        load_encoder(direct.model.path),
        open_source(direct),
        tmp_path / "t",
        direct.data,
        quiet=True,
    )
    prepared = make_recipe("prepared", data={"shards": str(tmp_path / "t")})
    for recipe in (direct, prepared):
        sft.train(recipe, quiet=True)
    assert losses(direct, "loss") == losses(prepared, "loss")
    assert not Path(prepared.run.dir, "tokens").exists()


def test_what_cannot_be_trained_on_is_refused_before_the_run_begins(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    for data in ({"shards": str(tmp_path / "t")}, {"source": str(tmp_path / "t.jsonl")}):
        recipe = make_recipe("run", data=data)
        with pytest.raises(BadInput, match=str(tmp_path / "t")):
            sft.train(recipe, quiet=True)
        assert not Path(recipe.run.dir).exists()


def test_every_step_gets_a_batch_of_about_one_length(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe("run")
    encoder = load_encoder(recipe.model.path)
    data = prepare(encoder, open_source(recipe), tmp_path / "t", recipe.data, quiet=True)
    spreads = []
    for step in range(1, BUCKETS + 1):
        rows = draw_rows(data, 8, seed=0, step=step)
        assert rows.equal(draw_rows(data, 8, seed=0, step=step))
        lengths = data.text_lengths[rows]
        assert data[rows].text_lengths.equal(lengths)
        spreads.append(float(lengths.max() - lengths.min()))
    whole = float(data.text_lengths.max() - data.text_lengths.min())
    assert np.mean(spreads) < whole / 3


@pytest.mark.slow
def test_the_vq_is_made_from_nothing(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vq, "MEASURED", 100)  # images that the detector reads in the end
    recipe = make_recipe("run", vq={"steps": 30, "save_every": 30})
    summary = vq.train(recipe, quiet=True)
    curve = losses(recipe, "loss/reconstruction")
    assert np.mean(curve[-3:]) < 0.6 * curve[0]
    read = summary["detector"]
    assert read["rendered"]["objects"] == read["round_trip"]["objects"] > 100
    policy = load_policy(str(summary["model"]))
    codes = policy.model.model.vqmodel.quantize.embedding.weight
    torch.testing.assert_close(codes.norm(dim=-1), torch.ones(len(codes)))
    # The library's encoder must then agree with the nearest code on the unit sphere.
    images = np.stack([t.image for t in triples(4, seed=9)])
    states = vq.encode(policy, vq.to_pixels(images))
    expected = vq.nearest(states, codes).view(4, -1)
    assert (policy.encode_images(images) == expected).float().mean() > 0.999

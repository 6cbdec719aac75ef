"""Numbers that are not finite: no update is made of them, nothing is saved, and it is said."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from got_r1.cli import main
from got_r1.errors import RunFailed
from got_r1.files.digests import write_digests
from got_r1.files.step_folders import step_folders
from got_r1.policy.draws import draw
from got_r1.recipes.sections import OptimizerSection
from got_r1.training import rl, run, sft, vq
from got_r1.training.optimizer import make_optimizer, update
from small_runs import MakeRecipe

RECIPE = Path(__file__).parents[2] / "recipes" / "icons.yaml"


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def broken_model(model_folder: Path, tmp_path: Path) -> Path:
    """The model with one NaN in each head."""
    folder = Path(shutil.copytree(model_folder, tmp_path / "broken"))
    tensors = load_file(folder / "model.safetensors")
    for name in ("lm_head.weight", "model.generation_head.vision_head.weight"):
        tensors[name][3, 3] = math.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_digests(folder)
    return folder


# -- an update -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gradient", "loss"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, -math.inf)]
)
def test_an_update_is_skipped_and_changes_nothing(gradient: float, loss: float) -> None:
    parameter, section = nn.Parameter(torch.ones(2)), OptimizerSection(learning_rate=0.1)
    optimizer = make_optimizer([parameter], section)
    parameter.grad = torch.ones(2)
    assert "skipped_updates" not in update(optimizer, section, 1, 0.5)
    weights = parameter.detach().clone()
    state = {key: value.clone() for key, value in optimizer.state[parameter].items()}
    parameter.grad = torch.tensor([1.0, gradient])
    assert update(optimizer, section, 2, loss)["skipped_updates"] == 1
    assert parameter.equal(weights)
    assert all(optimizer.state[parameter][key].equal(value) for key, value in state.items())
    assert parameter.grad is None


def test_a_run_goes_on_behind_a_skipped_update(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = sft.learn

    def with_one_bad_step(policy: Any, *args: Any) -> dict[str, float]:
        weight, bad = policy.model.lm_head.weight.data, args[4] == 3
        kept = weight[0, 0].clone()
        if bad:
            weight[0, 0] = math.nan
        metrics = learn(policy, *args)
        if bad:
            weight[0, 0] = kept
        return metrics

    monkeypatch.setattr(sft, "learn", with_one_bad_step)
    summary = sft.train(make_recipe("run"))
    assert summary["skipped_updates"] == 1
    found = lines(Path(str(summary["run_dir"])))
    assert [row.get("skipped_updates") for row in found] == [None, None, 1, None, None, None]
    assert found[2]["loss"] is None
    assert all(math.isfinite(row["loss"]) for row in found if row["step"] != 3)
    said = capsys.readouterr().err
    assert "step 3: update skipped, its numbers are not finite (loss nan" in said
    saved = load_file(Path(str(summary["model"])) / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in saved.values())


# -- a run -----------------------------------------------------------------------------------------


def test_a_run_stops_after_some_skipped_updates_and_keeps_what_it_had(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = sft.learn

    def bad_from_the_fourth_step(policy: Any, *args: Any) -> dict[str, float]:
        if args[4] >= 4:
            return learn(policy, *args[:3], with_infinite_weight(args[3]), *args[4:])
        return learn(policy, *args)

    def with_infinite_weight(recipe: Any) -> Any:
        loss = recipe.sft.model_copy(update={"image_loss_weight": math.inf})
        return recipe.model_copy(update={"sft": loss})

    monkeypatch.setattr(sft, "learn", bad_from_the_fourth_step)
    recipe = make_recipe("run", sft={"max_skipped_updates": 2, "save_every": 3})
    with pytest.raises(RunFailed, match=r"2 updates in a row, up to step 5, .*step_"):
        sft.train(recipe, quiet=True)
    folder = Path(recipe.run.dir)
    assert list(step_folders(folder / "checkpoints")) == [3, 4]
    assert [row.get("skipped_updates") for row in lines(folder)] == [None, None, None, 1, 1]
    monkeypatch.setattr(sft, "learn", learn)
    assert sft.train(recipe, resume=True, quiet=True)["steps"] == 6


@pytest.mark.parametrize("train", [sft.train, vq.train], ids=["sft", "vq"])
def test_weights_that_overflow_are_never_saved(make_recipe: MakeRecipe, train: Any) -> None:
    """A step of 1e30, and decay by it: the first update leaves infinities."""
    wild = {"learning_rate": 1e30, "weight_decay": 1e30, "save_every": 1}
    recipe = make_recipe("run", sft=wild, vq=wild)
    with pytest.raises(RunFailed, match=r"not finite behind step 1, .* nothing was saved yet"):
        train(recipe, quiet=True)
    assert not step_folders(Path(recipe.run.dir) / "checkpoints")


def test_a_broken_model_is_not_trained(make_recipe: MakeRecipe, broken_model: Path) -> None:
    sections = {"model": {"path": str(broken_model)}}
    with pytest.raises(RunFailed, match=r"not finite behind step 2, .* nothing was saved yet"):
        sft.train(make_recipe("sft", **sections), quiet=True)
    with pytest.raises(RunFailed, match="the model's text logits are not finite"):
        rl.train(make_recipe("rl", **sections, eval={"prompts": 0}), quiet=True)


def test_sampling_from_a_broken_model_fails_in_a_sentence(
    broken_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = tmp_path / "chain.txt"
    chain.write_text(
        "A <|obj_start|>red heart<|obj_end|> <|box_start|>(0,100),(500,999)<|box_end|>."
    )
    for more, head in (([], "text"), (["--chain", str(chain)], "image")):
        out = tmp_path / head
        argv = ["sample", "--model", str(broken_model), "--prompt", "a red heart", *more]
        assert main([*argv, "--out", str(out)]) == 1
        said = capsys.readouterr().err
        assert f"the model's {head} logits are not finite (from token 1 on)" in said
        assert not list(out.glob("*.png"))


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_draw_stays_in_the_vocabulary(temperature: float, bad: float) -> None:
    logits: Tensor = torch.zeros(2, 1000)
    logits[0, 7] = bad
    ids, logprobs = draw(logits, torch.tensor([0.999, 0.5], dtype=torch.float64), temperature)
    assert ids.max() < 1000
    assert logprobs.isfinite().tolist() == [False, True]


def test_a_run_in_which_no_group_learns_says_so(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that knows nothing writes no chain that earns a reward."""
    told = "step 2: no group has had anything to learn from for 2 steps"
    for unusual, said in ((2, True), (3, False)):
        monkeypatch.setattr(run, "UNUSUAL", unusual)
        small = {"steps": 2, "prompts": 1, "group": 2}
        rl.train(make_recipe(f"run{unusual}", rl=small, eval={"prompts": 0}))
        assert (told in capsys.readouterr().err) == said

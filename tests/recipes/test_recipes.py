"""The shipped recipes of Janus-Pro: the paper's figures, and where each value comes from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from got_r1.cli import main
from got_r1.judges import Judge, load_judge
from got_r1.recipes.recipe_file import load_recipe, packaged, recipe_path
from got_r1.recipes.sections import Recipe

RECIPES = Path(__file__).parents[2] / "recipes"
SIZES = ("1b", "7b")

# arXiv 2505.17022: group, batch, steps, learning rate, LoRA, temperatures, guidance, reward and
# advantage; the chain limit is the published inference code's.
PAPER = {
    "model.lora.rank": 32,
    "model.lora.alpha": 32,
    "rollout.chain_limit": 600,
    "rollout.chain_temperature": 1.0,
    "rollout.image_temperature": 1.0,
    "rollout.guidance": 5.0,
    "reward.formula": "product_v1",
    "reward.r_sem": 1.0,
    "reward.r_spa": 1.0,
    "reward.r_ri": 1.0,
    "reward.r_pi": 1.0,
    "rl.steps": 1000,
    "rl.prompts": 8,
    "rl.group": 16,
    "rl.learning_rate": 1e-5,
    "rl.std_normalisation": True,
    "rl.chain_weight": 1.0,
    "rl.image_weight": 1.0,
}


@pytest.fixture(params=SIZES)
def path(request: pytest.FixtureRequest) -> Path:
    return RECIPES / f"janus_{request.param}.yaml"


def value(recipe: Recipe, key: str) -> object:
    found: object = recipe
    for name in key.split("."):
        found = getattr(found, name)
    return found


def test_the_papers_figures(path: Path) -> None:
    recipe = load_recipe(path)
    assert {key: value(recipe, key) for key in PAPER} == PAPER
    assert "Qwen/Qwen2.5-VL-7B-Instruct" in recipe.judge.spec
    assert [source.path for source in recipe.data.prompts] == [
        "data/compbench/*_train.txt",
        "data/laion_aesthetics.txt",
    ]


def test_the_papers_values_are_marked_as_such_and_all_others_explained(path: Path) -> None:
    """Behind or above each setting stands "paper", "official" or "our choice:" with a reason."""
    keys: list[str] = []
    above, marks = "", {}
    for line in path.read_text(encoding="utf-8").splitlines():
        setting = re.match(r"( *)(?:- )?([a-z_0-9]+):([^#]*)(?:# (.*))?", line)
        if setting is None:
            above = f"{above} {line.strip('# ')}".strip()
            continue
        keys = [*keys[: len(setting[1]) // 2], setting[2]]
        if setting[3].strip():
            marks[".".join(keys)] = setting[4] or above
        above = ""
    origin = re.compile(r"paper\b|official\b|our choice: .{8}")
    assert {key for key, mark in marks.items() if not origin.match(mark)} == {"run.dir"}
    said = {key for key, mark in marks.items() if mark.startswith(("paper", "official"))}
    # The rest of what is said to be the paper's has no figure: paths, the judge, and "cosine".
    assert said - PAPER.keys() == {"model.path", "data.prompts.path", "judge.spec", "rl.final_lr"}
    assert PAPER.keys() <= said


def test_sizes_differ_in_nothing_but_names_and_memory() -> None:
    small, large = (load_recipe(RECIPES / f"janus_{size}.yaml").model_dump() for size in SIZES)
    large["run"]["dir"], large["model"]["path"] = small["run"]["dir"], small["model"]["path"]
    large["rl"]["micro_batch"] = small["rl"]["micro_batch"]
    large["scale"]["rollout_batch"] = small["scale"]["rollout_batch"]
    assert small == large


def test_the_recipes_judge_is_one_that_can_be_loaded(path: Path) -> None:
    assert isinstance(load_judge(load_recipe(path).judge), Judge)


# -- the recipes of the package --------------------------------------------------------------------


def test_packaged_recipes_are_known_by_name_from_any_folder(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert packaged() == ["icons", "janus-1b", "janus-7b"]
    for name in packaged():
        assert load_recipe(name) == load_recipe(recipe_path(name))
    assert main(["recipe"]) == 0
    assert capsys.readouterr().out.split() == packaged()


def test_a_packaged_recipe_is_written_out_to_be_changed(tmp_path, capsys) -> None:
    for name in packaged():
        assert main(["recipe", name]) == 0
        mine = tmp_path / "mine.yaml"
        mine.write_text(capsys.readouterr().out)
        words = mine.read_text().removeprefix(recipe_path(name).read_text())
        assert bool(words) == (name == "icons")
        assert all(line.startswith("#") for line in words.splitlines())
        assert load_recipe(mine) == load_recipe(name)


def test_a_file_of_that_name_wins_and_a_folder_does_not(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "icons").mkdir()
    assert load_recipe("icons").rl.steps > 7
    (tmp_path / "janus-1b").write_text("rl: {steps: 7}")
    assert load_recipe("janus-1b").rl.steps == 7


@pytest.mark.parametrize("command", [["train", "rl", "nonesuch"], ["recipe", "nonesuch"]])
def test_an_unknown_name_is_told_with_the_known_ones(command, capsys) -> None:
    assert main(command) == 2
    assert "icons, janus-1b, janus-7b" in capsys.readouterr().err

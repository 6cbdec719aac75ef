"""Settings that would have no effect are refused, each by its name and a remedy."""

from typing import Any

import pytest

from got_r1.cli import main
from got_r1.errors import BadInput
from got_r1.recipes.checks import check_settings
from got_r1.recipes.sections import Recipe

CASES: list[tuple[str, dict[str, Any], str]] = [
    ("rl", {"rl": {"chain_weight": 0, "image_weight": 0}}, "no token would be trained"),
    ("rl", {"judge": {"r_hps": "experts"}}, r"reward\.r_hps is 0"),
    ("rl", {"judge": {"r_ri": "experts"}, "reward": {"r_ri": 0}}, r"leave judge\.r_ri out"),
    ("rl", {"model": {"lora": {"rank": 0, "dropout": 0.1}}}, r"set model\.lora\.rank above 0"),
    ("sft", {"model": {"lora": {"rank": 0, "dropout": 0.1}}}, r"set model\.lora\.rank above 0"),
    ("sft", {"sft": {"condition_dropout": 1}}, "no chain trained"),
]
FINE: list[tuple[str, dict[str, Any]]] = [
    ("rl", {"rl": {"chain_weight": 0}}),
    ("rl", {"rl": {"image_weight": 0}}),
    ("rl", {"judge": {"r_hps": "experts"}, "reward": {"r_hps": 1, "formula": "product_v2"}}),
    ("rl", {"sft": {"condition_dropout": 1}}),  # another stage's
    ("sft", {"rl": {"chain_weight": 0, "image_weight": 0}}),
    ("sft", {"model": {"lora": {"rank": 4, "dropout": 0.1}}}),
    ("vq", {"model": {"lora": {"rank": 0, "dropout": 0.1}}}),
    *[(stage, {}) for stage in ("vq", "sft", "rl")],
]


@pytest.mark.parametrize(("stage", "sections", "words"), CASES)
def test_settings_without_an_effect_are_refused(
    stage: Any, sections: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        check_settings(Recipe.model_validate(sections), stage)


@pytest.mark.parametrize(("stage", "sections"), FINE)
def test_their_healthy_twins_are_not(stage: Any, sections: dict[str, Any]) -> None:
    check_settings(Recipe.model_validate(sections), stage)


def test_they_are_refused_before_anything_is_made(tmp_path, capsys) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: {path: icons}\nrun: {dir: " + str(tmp_path / "run") + "}\n")
    weights = ["rl.chain_weight=0", "rl.image_weight=0"]
    assert main(["train", "rl", str(recipe), *weights]) == 2
    assert "no token would be trained" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

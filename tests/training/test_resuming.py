"""What may change on `--resume` does, is told and kept; what changes results is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from got_r1.errors import BadInput
from got_r1.files.runlog import JUDGE
from got_r1.recipes.recipe_file import load_recipe
from got_r1.recipes.sections import Recipe
from got_r1.training import rl, sft

MakeRecipe = Callable[..., Recipe]

URL = "http://one.example/v1"
SHORT: dict[str, Any] = {"rl": {"steps": 1, "prompts": 1, "group": 2}, "eval": {"prompts": 0}}
"""The random model writes malformed chains, so that no judge is asked."""


def resumes(run: Path) -> list[dict[str, Any]]:
    file = run / "resumes.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def short(make_recipe: MakeRecipe, judge: Any, **sections: dict[str, Any]) -> Recipe:
    recipe = make_recipe("run", **(SHORT | sections))
    return Recipe.model_validate(recipe.model_dump() | {"judge": judge})


def test_harmless_settings_change_and_are_kept(
    make_recipe: MakeRecipe, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = short(make_recipe, "oracle")
    rl.train(begun, quiet=True)
    run = Path(begun.run.dir)
    judge = {"spec": "oracle", "cache": "off", "max_failure_share": 0.5}
    changed = short(
        make_recipe,
        judge,
        rl=SHORT["rl"] | {"micro_batch": 1, "save_every": 1, "sample_every": 1},
        eval={"prompts": 0, "batch": 2},
        scale={"rollout_batch": 1},
        sft={"steps": 9},
    )
    capsys.readouterr()
    rl.train(changed, resume=True)
    said = capsys.readouterr().err
    assert (
        "resumed with rl.micro_batch: 64 -> 1 (from here on, results differ by rounding)\n" in said
    )
    assert "resumed with judge.max_failure_share: 0.2 -> 0.5 (results do not depend" in said
    assert "resumed with sft.steps: 6 -> 9 (this run does not use it)\n" in said
    assert load_recipe(run / "config.yaml") == changed
    (line,) = resumes(run)
    assert line["step"] == 1
    settings = {change["setting"]: change["now"] for change in line["changes"]}
    assert settings == {
        "judge.cache": "off",
        "judge.max_failure_share": 0.5,
        "sft.steps": 9,
        "rl.micro_batch": 1,
        "rl.save_every": 1,
        "rl.sample_every": 1,
        "scale.rollout_batch": 1,
        "eval.batch": 2,
    }
    rl.train(changed, resume=True, quiet=True)  # nothing changed since
    assert len(resumes(run)) == 1


def test_what_changes_results_is_refused_and_nothing_written(make_recipe: MakeRecipe) -> None:
    begun = short(make_recipe, "oracle")
    rl.train(begun, quiet=True)
    saved = Path(begun.run.dir, "config.yaml").read_bytes()
    changed = short(make_recipe, "oracle", rl=SHORT["rl"] | {"micro_batch": 1, "kl_coef": 0.5})
    with pytest.raises(
        BadInput, match=r"started with rl\.kl_coef=0\.01, now it is 0\.5, .*set it back, or start"
    ):
        rl.train(changed, resume=True, quiet=True)
    assert Path(begun.run.dir, "config.yaml").read_bytes() == saved
    assert not resumes(Path(begun.run.dir))


def test_a_moved_run_folder_goes_on(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    begun = make_recipe("run", sft={"steps": 2, "save_every": 1})
    sft.train(begun, quiet=True)
    Path(begun.run.dir).rename(tmp_path / "moved")
    moved = make_recipe("moved", sft={"steps": 2, "save_every": 1})
    sft.train(moved, resume=True, quiet=True)
    assert load_recipe(tmp_path / "moved/config.yaml").run.dir == str(tmp_path / "moved")
    assert not Path(begun.run.dir).exists()
    assert not (tmp_path / "moved" / JUDGE).exists()  # SFT asks no judge


def test_the_judge_is_compared_by_its_settings_not_its_files_name(
    make_recipe: MakeRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "judge.yaml"
    openai = {"model": "Qwen2.5-VL", "urls": "http://me:secret@one.example/v1"}

    def resume_with(judge: str = str(file), **content: Any) -> None:
        file.write_text(yaml.safe_dump(content))
        rl.train(short(make_recipe, judge), resume=True)

    resume_with(openai=openai)
    run = Path(short(make_recipe, "oracle").run.dir)
    saved = yaml.safe_load((run / JUDGE).read_text())["spec"]
    assert (saved["kind"], saved["openai"]["model"]) == ("openai", "Qwen2.5-VL")
    assert "secret" not in (run / JUDGE).read_text()

    # Another place and more patience: told.
    capsys.readouterr()
    resume_with(openai=openai | {"urls": ["http://two.example/v1"], "retries": 9})
    said = capsys.readouterr().err
    assert "resumed with the judge's openai.retries: 5 -> 9 (results do not depend" in said
    assert "the judge's openai.urls: ['http://***@one.example/v1'] -> ['http://two" in said
    assert yaml.safe_load((run / JUDGE).read_text())["spec"]["openai"]["retries"] == 9

    # The same judge by another name.
    resume_with(f"openai:Qwen2.5-VL@{URL}", openai=openai)
    assert load_recipe(run / "config.yaml").judge.spec == f"openai:Qwen2.5-VL@{URL}"

    for content, told in (
        ({"openai": openai | {"model": "Qwen2-VL"}}, r"openai\.model='Qwen2\.5-VL', now it is 'Q"),
        ({"openai": openai, "wording": {"spatial": "text"}}, r"wording\.spatial='drawing', now"),
        ({"spec": "oracle"}, "the judge's kind='openai', now it is 'oracle'"),
        ({"spec": "experts"}, "the judge's kind='openai', now it is 'experts'"),
        ({"openai": openai, "spec": "openai", "r_ri": "oracle"}, "the r_ri judge's kind='openai'"),
    ):
        with pytest.raises(BadInput, match=told):
            resume_with(**content)


def test_a_judge_of_ones_own_may_move_and_not_change(
    make_recipe: MakeRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "from got_r1.judges.oracle import OracleJudge\nclass Mine(OracleJudge):\n    pass\n"

    def train_with(name: str, code: str) -> str:
        (tmp_path / name).write_text(code)
        spec = f"{tmp_path / name}:Mine"
        rl.train(short(make_recipe, {"spec": "oracle", "r_pi": spec}), resume=True)
        return capsys.readouterr().err

    assert f"judge: imports the file {tmp_path / 'mine.py'} and makes Mine" in train_with(
        "mine.py", code
    )
    said = train_with("moved.py", code)
    assert "resumed with the r_pi judge's own.file: " in said
    assert "moved.py' (it is still the same judge)" in said
    with pytest.raises(BadInput, match=r"cannot resume .* the r_pi judge's own\.sha256="):
        train_with("moved.py", code + "# changed\n")


def test_a_run_of_before_the_judge_was_saved_resumes(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    file = tmp_path / "judge.yaml"
    file.write_text(f"openai: {{model: Qwen2.5-VL, urls: {URL}}}")
    recipe = short(make_recipe, str(file))
    rl.train(recipe, quiet=True)
    saved = Path(recipe.run.dir, JUDGE)
    saved.unlink()
    with pytest.raises(BadInput, match="the judge's kind='openai', now it is 'oracle'"):
        rl.train(short(make_recipe, "oracle"), resume=True, quiet=True)
    rl.train(recipe, resume=True, quiet=True)
    assert saved.is_file()  # from here on it is known
    assert not resumes(Path(recipe.run.dir))

    saved.unlink()
    file.rename(tmp_path / "elsewhere.yaml")
    with pytest.raises(BadInput, match=r"its judge '.*judge\.yaml' stands for cannot be read"):
        rl.train(short(make_recipe, str(tmp_path / "elsewhere.yaml")), resume=True, quiet=True)

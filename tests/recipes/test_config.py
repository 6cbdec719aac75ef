"""Recipes: reading, overrides, and what a user is told when one is wrong."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from got_r1.errors import BadInput
from got_r1.recipes.recipe_file import explain, load_recipe, recipe_text
from got_r1.recipes.sections import Recipe, RLSection


@pytest.fixture
def recipe_file(tmp_path):
    """Writes YAML text (or bytes) to a file and returns its path."""

    def write(content):
        path = tmp_path / "recipe.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


# -- reading ---------------------------------------------------------------------------------------


def test_what_is_left_out_keeps_its_default(recipe_file):
    recipe = load_recipe(recipe_file("rl:\n  steps: 7\n"))
    assert recipe == Recipe(rl=RLSection(steps=7))


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "rl:\n  # steps: 3\n"])
def test_empty_files_and_sections_are_all_defaults(recipe_file, content):
    assert load_recipe(recipe_file(content)) == Recipe()


@pytest.mark.parametrize(
    ("written", "value"),
    [("1e-6", 1e-6), ("1E-6", 1e-6), ("1.5e-6", 1.5e-6), (".5", 0.5), ("3", 3.0), ("1e3", 1000.0)],
)
def test_numbers_are_numbers(recipe_file, written, value):
    from_file = load_recipe(recipe_file(f"rl: {{learning_rate: {written}}}"))
    from_override = load_recipe(recipe_file(""), [f"rl.learning_rate={written}"])
    assert from_file == from_override
    assert type(from_file.rl.learning_rate) is float
    assert from_file.rl.learning_rate == value


def test_whole_numbers_may_be_written_with_an_exponent(recipe_file):
    recipe = load_recipe(recipe_file(""), ["rl.steps=1e3"])
    assert (recipe.rl.steps, type(recipe.rl.steps)) == (1000, int)


def test_text_that_looks_like_a_number_stays_text_in_overrides(recipe_file):
    assert load_recipe(recipe_file(""), ["run.dir=1e-6"]).run.dir == "1e-6"


# -- overrides -------------------------------------------------------------------------------------


def test_overrides_reach_any_depth_and_keep_the_rest(recipe_file):
    file = recipe_file("model:\n  path: here\n  lora: {rank: 4, alpha: 5}\n")
    model = load_recipe(file, ["model.lora.rank=8"]).model
    assert (model.path, model.lora.rank, model.lora.alpha) == ("here", 8, 5.0)


def test_the_last_override_wins(recipe_file):
    file = recipe_file("rl: {steps: 1}")
    assert load_recipe(file, ["rl.steps=2", "rl.steps=3"]).rl.steps == 3


def test_text_is_taken_as_written(recipe_file):
    """A regex or a path is not read as YAML, and may hold '='."""
    overrides = ["model.lora.targets=[qv]_proj: #x", "run.dir=runs/a=b", "data.prompts="]
    recipe = load_recipe(recipe_file(""), overrides)
    assert recipe.model.lora.targets == "[qv]_proj: #x"
    assert recipe.run.dir == "runs/a=b"
    assert recipe.data.prompts == []


@pytest.mark.parametrize("written", ["true", "yes", "on"])
def test_switches(recipe_file, written):
    assert load_recipe(recipe_file(""), [f"vq.autocast={written}"]).vq.autocast is True


@pytest.mark.parametrize(
    ("content", "overrides"),
    [
        ("judge: oracle", []),
        ("judge: {spec: oracle}", []),
        ("judge: other", ["judge=oracle"]),
        ("judge: {spec: other}", ["judge.spec=oracle"]),
    ],
)
def test_the_judge_may_be_named_plainly(recipe_file, content, overrides):
    assert load_recipe(recipe_file(content), overrides).judge.spec == "oracle"


def test_a_plainly_named_judge_keeps_its_other_settings(recipe_file):
    in_file = load_recipe(recipe_file("judge: {max_failure_share: 0.5}"), ["judge=x"])
    overridden = load_recipe(recipe_file("judge: x"), ["judge.max_failure_share=0.5"])
    assert in_file == overridden
    assert (in_file.judge.spec, in_file.judge.max_failure_share) == ("x", 0.5)


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "overrides", "told"),
    [
        # unknown keys name the nearest one, and where they stand
        ("rl: {learning_rat: 3}", [], ["'rl.learning_rat'", "'rl.learning_rate'", "recipe.yaml"]),
        ("", ["rl.step=3"], ["'rl.step'", "'rl.steps'", "override 'rl.step=3'"]),
        ("", ["model.lora.rnak=3"], ["'model.lora.rnak'", "'model.lora.rank'"]),
        ("", ["model.lorra.rank=3"], ["'model.lorra.rank'", "'model.lora.rank'"]),
        ("modle: {path: x}", [], ["'modle'", "'model'"]),
        ("", ["grpo.group=3"], ["'grpo.group'", "'rl.group'"]),
        ("", ["rl.steps.x=3"], ["'rl.steps.x'", "'rl.steps'"]),
        (
            "",
            ["learning_rate=1"],
            ["'vq.learning_rate' or 'sft.learning_rate' or 'student.learning_rate'"],
        ),
        # wrong types say key, value and what was expected
        ("rl: {steps: many}", [], ["rl.steps must be a whole number, at least 1, not 'many'"]),
        ("rl: {steps: 1.5}", [], ["rl.steps must be a whole number", "not 1.5", "recipe.yaml"]),
        ("rl: {steps: [1]}", [], ["rl.steps must be a whole number", "not a list"]),
        ("run: {dir: 2024}", [], ["run.dir must be text, not 2024"]),
        ("", ["rl.std_normalisation=maybe"], ["rl.std_normalisation must be true or false"]),
        ("", ["rl.kl_coef=off"], ["rl.kl_coef must be a number, at least 0, not False"]),
        ("", ["rl.group=["], ["rl.group must be a whole number, at least 2, not '['"]),
        ("", ["rl.aggregation=tokens"], ["one of token, sequence, fixed, not 'tokens'"]),
        # out of range
        ("rl: {learning_rate: 0}", [], ["rl.learning_rate must be a number, above 0, not 0"]),
        ("", ["model.lora.dropout=1"], ["at least 0 and below 1, not 1", "override"]),
        ("", ["rl.learning_rate=.inf"], ["rl.learning_rate must be a number", "not inf"]),
        ("", ["rl.learning_rate=.nan"], ["rl.learning_rate must be a number", "not nan"]),
        # sections are no values
        ("rl: 5", ["rl.steps=1"], ["rl must be a section of settings, not 5", "recipe.yaml"]),
        ("rl: [5]", ["rl.steps=1"], ["rl must be a section of settings, not a list"]),
        ("data: {prompts: 5}", ["data.prompts.0.weight=1"], ["data.prompts.0 must be a section"]),
        ("", ["rl=5"], ["rl is a section", "rl.steps", "'rl=5'"]),
        ("", ["rl.steps"], ["'rl.steps' has no '='", "section.key=value"]),
        # files
        ("rl: {steps: 1", [], ["recipe.yaml is not valid YAML", "line 1"]),
        ("rl:\n  steps: 1\n  steps: 2\n", [], ["line 3", "'steps' is given twice"]),
        ("- 1\n", [], ["recipe.yaml must be sections of settings, not a list"]),
        ("just words", [], ["must be sections of settings, not 'just words'"]),
        (b"run: {dir: \xff}", [], ["recipe.yaml is not UTF-8"]),
        (b"run: {dir: \x00}", [], ["recipe.yaml is not valid YAML"]),
        ("1: 2", [], ["unknown key '1'"]),
    ],
)
def test_mistakes_are_explained(recipe_file, content, overrides, told):
    with pytest.raises(BadInput) as error:
        load_recipe(recipe_file(content), overrides)
    sentence = str(error.value)
    assert [part for part in told if part not in sentence] == []
    assert "\n" not in sentence


def test_a_mistake_of_the_file_is_not_blamed_on_an_override(recipe_file):
    with pytest.raises(BadInput, match=r"rl\.steps .*recipe\.yaml"):
        load_recipe(recipe_file("rl: {steps: x}"), ["rl.group=4"])


def test_an_override_mends_a_mistake_of_the_file(recipe_file):
    assert load_recipe(recipe_file("rl: {steps: x}"), ["rl.steps=4"]).rl.steps == 4


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(BadInput, match=r"no recipe at .*nowhere\.yaml"):
        load_recipe(tmp_path / "nowhere.yaml")
    with pytest.raises(BadInput, match="cannot be read"):
        load_recipe(tmp_path)


KEYS = ["rl.steps", "rl.learning_rate", "vq.autocast", "run.dir", "judge", "reward.formula", "rl"]


@given(st.text() | st.builds("{}={}".format, st.sampled_from(KEYS), st.text()))
def test_any_override_is_applied_or_explained(override):
    """Never another exception than BadInput, whatever a user types; and what is applied is kept."""
    with suppress(BadInput):
        recipe = load_recipe(os.devnull, [override])
        assert load_recipe(os.devnull, [override]) == recipe


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=60))
def test_any_line_of_text_survives_being_written_and_read(text):
    recipe = Recipe.model_validate({"run": {"dir": text}})
    with TemporaryDirectory() as folder:
        Path(folder, "saved.yaml").write_text(recipe_text(recipe), encoding="utf-8")
        assert load_recipe(Path(folder, "saved.yaml")) == recipe


# -- saving and explaining -------------------------------------------------------------------------


def test_a_saved_recipe_is_resolved_and_reads_back_the_same(recipe_file, tmp_path):
    recipe = load_recipe(recipe_file("judge: oracle"), ["rl.learning_rate=1e-6", "run.dir=1e3"])
    (tmp_path / "saved.yaml").write_text(recipe_text(recipe), encoding="utf-8")
    assert load_recipe(tmp_path / "saved.yaml") == recipe
    saved = yaml.safe_load(recipe_text(recipe))
    assert saved == recipe.model_dump()
    assert type(saved["rl"]["learning_rate"]) is float


def test_every_setting_is_explained():
    """Each leaf of the recipe appears with its default and a description that is not empty."""
    text = " ".join(explain().split())

    def check(section, prefix):
        for name, value in section.model_dump().items():
            key = f"{prefix}{name}"
            if isinstance(value, dict):
                check(getattr(section, name), f"{key}.")
            else:
                assert f" {key} = {value if value != '' else repr('')} " in text
                assert type(section).model_fields[name].description

    check(Recipe(), "")


def test_the_shipped_recipes_are_valid():
    recipes = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
    assert recipes
    for path in recipes:
        load_recipe(path)

"""A held-out judge is independent of the judge that rewards, and of the prompts of training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from got_r1.errors import BadInput
from got_r1.files.runlog import JUDGE
from got_r1.judges.specs import ResolvedJudge, compare_judges, resolve
from got_r1.recipes.recipe_file import load_section, recipe_text
from got_r1.recipes.sections import Recipe
from got_r1.records import TERMS
from got_r1.training import rl
from got_r1.training.beforehand import check_start
from got_r1.training.held_out import held_out_judge, load_held_out, shared_terms, watch_prompts
from got_r1.training.resuming import changes_since
from small_runs import MakeRecipe

URL = "http://one.example/v1"
Refer = Callable[[str], str]
SHORT: dict[str, Any] = {"rl": {"steps": 1, "prompts": 1, "group": 2}, "eval": {"prompts": 0}}
"""The random model writes malformed chains, so that no judge is asked."""


@pytest.fixture
def refer(tmp_path: Path) -> Refer:
    """Writes judge files, a student and a class, and puts their paths into a text."""
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "student.json").touch()
    (tmp_path / "mine.py").write_text(
        "from got_r1.judges.oracle import OracleJudge\n"
        "class Mine(OracleJudge):\n    pass\nclass Other(OracleJudge):\n    pass\n"
    )
    files: dict[str, dict[str, Any]] = {
        "oracle": {"spec": "oracle"},
        "others": {"spec": "experts", "r_ri": "oracle"},
        "served": {"openai": {"model": "Qwen2.5-VL", "urls": "http://two.example/v1"}},
        "served_otherwise": {
            "openai": {"model": "Qwen2.5-VL", "urls": URL},
            "wording": {"spatial": "text"},
        },
    }
    for name, content in files.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return lambda text: text.replace("DIR", str(tmp_path))


def recipe(judge: dict[str, Any], watch: str, refer: Refer, **sections: Any) -> Recipe:
    values = {"judge": judge, "watch": {"judge": watch}, "model": {"path": "some/model"}}
    return Recipe.model_validate(json.loads(refer(json.dumps(values | sections))))


STUDENT = {"spec": "student", "model": "DIR/student", "r_ri": "oracle"}
OFF = {"formula": "sum", "r_sem": 0, "r_spa": 0, "r_pi": 0}


@pytest.mark.parametrize(
    ("judge", "watch", "told"),
    [
        ({"spec": "oracle"}, "oracle", "oracle also rewards r_sem, r_spa, r_ri, r_pi: "),
        ({"spec": "experts", "r_pi": "oracle"}, "oracle", "oracle also rewards r_pi: "),
        ({"spec": "DIR/oracle.yaml"}, "oracle", "oracle also rewards r_sem"),
        ({"spec": "oracle"}, "DIR/oracle.yaml", "oracle also rewards r_sem"),
        ({"spec": "experts"}, "DIR/others.yaml", "experts also rewards r_sem, r_spa, r_pi: "),
        ({"spec": f"openai:Qwen2.5-VL@{URL}"}, "DIR/served.yaml", "openai:Qwen2.5-VL also"),
        ({"spec": "DIR/mine.py:Mine"}, "DIR/mine.py:Mine", "mine.py:Mine also rewards r_sem"),
        ({**STUDENT, "teacher": "experts"}, "student", "student also rewards r_sem, r_spa, r_pi"),
        ({"spec": "self", "r_ri": "oracle"}, "transformers:DIR", "also rewards r_sem"),
    ],
)
def test_the_judge_that_rewards_a_term_does_not_look_on_at_it(
    judge: dict[str, Any], watch: str, told: str, refer: Refer
) -> None:
    with pytest.raises(BadInput, match=told):
        held_out_judge(recipe(judge, watch, refer, model={"path": "DIR"}))


@pytest.mark.parametrize(
    ("judge", "watch", "shared"),
    [
        ({"spec": "oracle"}, "experts", {}),
        ({"spec": "oracle"}, "DIR/mine.py:Mine", {}),
        ({"spec": "DIR/mine.py:Other"}, "DIR/mine.py:Mine", {}),
        ({"spec": f"openai:Qwen2.5-VL@{URL}"}, "DIR/served_otherwise.yaml", {}),
        # Few judges find objects.
        ({"spec": "DIR/mine.py:Mine", "r_ri": "oracle"}, "oracle", {"r_ri": ["oracle"]}),
        # A teacher sees where its student is fooled, the oracle finds the objects for both.
        ({**STUDENT, "teacher": "oracle"}, "oracle", {term: ["oracle"] for term in TERMS[:4]}),
        ({**STUDENT, "teacher": "experts"}, "oracle", {"r_ri": ["oracle"]}),
    ],
)
def test_what_both_may_be_asked_is_told(
    judge: dict[str, Any],
    watch: str,
    shared: dict[str, list[str]],
    refer: Refer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = recipe(judge, watch, refer)
    section = held_out_judge(run)
    assert section is not None
    assert shared_terms(run, section) == shared
    if watch == "oracle":
        load_held_out(run)
        (told,) = capsys.readouterr().err.splitlines()
        assert told.startswith(f"watch: of {', '.join(shared)}, oracle may answer on both sides")
        load_held_out(run, quiet=True)
        assert not capsys.readouterr().err


def test_a_term_that_is_shared_is_not_the_only_one(refer: Refer) -> None:
    judge = {"spec": "DIR/mine.py:Mine", "r_ri": "oracle"}
    with pytest.raises(BadInput, match="oracle also rewards r_ri: "):
        held_out_judge(recipe(judge, "oracle", refer, reward=OFF))
    assert held_out_judge(recipe({"spec": "experts", "r_pi": "oracle"}, "oracle", refer,
                                 reward={"r_pi": 0})) is not None  # fmt: skip


@pytest.mark.parametrize(
    ("judge", "watch"),
    [
        ({"spec": "oracle"}, "self"),
        (
            {"spec": "oracle", "r_pi": "student:DIR/student", "teacher": "self"},
            "student:DIR/student",
        ),
    ],
)
def test_the_policys_base_model_does_not_look_on(
    judge: dict[str, Any], watch: str, refer: Refer, tmp_path: Path
) -> None:
    run = recipe(judge, watch, refer, reward={"r_ri": 0, "r_pi": 0}, model={"path": "icons"},
                 run={"dir": "DIR/run"})  # fmt: skip
    with pytest.raises(BadInput, match=r"'self': .*give that model's folder, as watch\.judge=tr"):
        held_out_judge(run)


def test_prompts_that_are_trained_on_are_refused(tmp_path: Path) -> None:
    trained, held_out = tmp_path / "trained.txt", tmp_path / "held_out.txt"
    trained.write_text("a red heart\na blue star\na tree\n")
    held_out.write_text("A blue  star.\na house\na tree\na red heart\n")
    sections: dict[str, Any] = {
        "judge": {"spec": "experts"},
        "data": {"prompts": str(trained)},
        "watch": {"judge": "oracle", "prompts": str(held_out), "size": 3},
    }
    told = r"2 of the 3 prompts of watch\.prompts are trained on too, the first 'A blue  star\.'"
    for data in (sections["data"], {"prompts": ["icons", str(trained)]}):
        with pytest.raises(BadInput, match=told):
            watch_prompts(Recipe.model_validate(sections | {"data": data}))
    with pytest.raises(BadInput, match=told):
        check_start(Recipe.model_validate(sections | {"model": {"path": "icons"}}), "rl")
    # What is held out is not trained on.
    trained.write_text("a red heart\na blue star\na tree\na cat\n")
    sections["data"]["held_out"] = str(held_out)
    assert len(watch_prompts(Recipe.model_validate(sections))) == 3


# -- when a run is resumed -------------------------------------------------------------------------


@pytest.fixture
def begun(make_recipe: MakeRecipe, refer: Refer) -> Callable[[str], Recipe]:
    """`begun(watch)`: the recipe of one small run, with that held-out judge."""

    def make(watch: str) -> Recipe:
        judge = {"spec": refer("DIR/mine.py:Mine")}
        return make_recipe("run", judge=judge, watch={"judge": refer(watch), "size": 2}, **SHORT)

    return make


@pytest.fixture
def mixture(refer: Refer, tmp_path: Path) -> Path:
    """A judge file with another judge for R_RI."""
    file = tmp_path / "watch.yaml"
    file.write_text(refer("spec: DIR/mine.py:Other\nr_ri: oracle\n"))
    return file


def resumed(run: Recipe) -> ResolvedJudge:
    rl.train(run, resume=True, quiet=True)
    return saved(run)


def saved(run: Recipe) -> ResolvedJudge:
    return load_section(Path(run.run.dir, JUDGE), ResolvedJudge, "judge settings")


def test_a_mixture_that_looks_on_is_kept_as_a_whole(
    begun: Callable[[str], Recipe], refer: Refer, mixture: Path
) -> None:
    run = begun(str(mixture))
    rl.train(run, quiet=True)
    held_out = saved(run).held_out
    assert held_out is not None
    names = {term: held_out.of(term).name.rpartition(":")[2] for term in ("r_sem", "r_ri")}
    assert names == {"r_sem": "Other", "r_ri": "oracle"}
    mixture.write_text(refer("spec: DIR/mine.py:Other\n"))
    with pytest.raises(
        BadInput, match=r"the r_ri held-out judge's kind was 'oracle', now .* 'own'"
    ):
        resumed(run)


def test_a_run_goes_on_with_its_held_out_judge_or_without(
    begun: Callable[[str], Recipe], refer: Refer
) -> None:
    run = begun("oracle")
    rl.train(run, quiet=True)
    looks = Path(run.run.dir, "watch.jsonl").read_bytes()
    assert looks
    assert resumed(begun("DIR/oracle.yaml")).held_out == saved(run).held_out  # in other words
    # Another one would go on with the first one's looks, also when it comes later.
    for watch in ("oracle", ""):
        kept = resumed(begun(watch)).held_out
        assert kept is not None
        assert kept.spec.kind == "oracle"
        with pytest.raises(
            BadInput,
            match=r"looks are of another held-out judge than watch\.judge=.*mine\.py:Other' "
            r"\(the held-out judge's kind was 'oracle', now it is 'own'\)",
        ):
            resumed(begun("DIR/mine.py:Other"))
    assert resumed(begun("oracle")).held_out == kept
    assert Path(run.run.dir, "watch.jsonl").read_bytes() == looks
    # Before it has looked there is nothing to confuse.
    Path(run.run.dir, "watch.jsonl").unlink()
    changes = changes_since(Path(run.run.dir), begun("DIR/mine.py:Other"), run.rl)
    assert all(change.allowed for change in changes)


def test_one_that_comes_later_is_welcome(begun: Callable[[str], Recipe]) -> None:
    rl.train(begun(""), quiet=True)
    held_out = resumed(begun("oracle")).held_out
    assert held_out is not None
    assert held_out.spec.kind == "oracle"


def test_a_run_of_before_its_held_out_judge_was_kept_as_a_whole_resumes(
    begun: Callable[[str], Recipe], mixture: Path
) -> None:
    run = begun(str(mixture))
    rl.train(run, quiet=True)
    path = Path(run.run.dir, JUDGE)
    values = yaml.safe_load(path.read_text())
    values["held_out"] = values["held_out"]["spec"]  # as it was written then
    path.write_text(yaml.safe_dump(values))
    resumed(run)
    with pytest.raises(BadInput, match="another held-out judge"):
        resumed(begun("oracle"))


def test_a_teacher_is_kept_as_a_whole_and_does_not_go(refer: Refer, tmp_path: Path) -> None:
    def resolved(teacher: str) -> ResolvedJudge:
        judge = {**STUDENT, "teacher": teacher}
        return resolve(recipe(judge, "", refer).judge)

    mixture = resolved("DIR/others.yaml")
    assert [one.name for one in mixture.answering("r_pi")[1:]] == ["experts"]
    assert mixture.teacher is not None
    assert mixture.teacher.of("r_ri").kind == "oracle"
    path = tmp_path / "saved.yaml"
    path.write_text(recipe_text(mixture))
    assert load_section(path, ResolvedJudge, "judge settings") == mixture
    old = {"spec": {"kind": "oracle"}, "teacher": {"kind": "oracle"}}
    assert ResolvedJudge.model_validate(old).teacher == resolved("oracle").teacher

    for teacher, told in (
        ("experts", "the r_ri teacher's kind"),
        ("oracle", "the r_sem, r_spa, r_pi, r_hps teacher's kind"),
        ("", "the judge's teacher"),
    ):
        changes = compare_judges(mixture, resolved(teacher))
        assert [one.setting for one in changes if one.allowed is None] == [told]

"""`train judge`: a student learns, is calibrated, resumes bit for bit, and scores an RL run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from got_r1.cli import main
from got_r1.errors import BadInput
from got_r1.icons.data import triples
from got_r1.judges import load_judge
from got_r1.judges.examples import RecordedJudge
from got_r1.judges.oracle import OracleJudge
from got_r1.plan.chain import parse
from got_r1.recipes.checks import check_settings
from got_r1.recipes.sections import JudgeSection, Recipe
from got_r1.records import ImageQuery, Query, SemanticQuery, SpatialQuery, Verdict
from got_r1.student.network import Student
from got_r1.training import judge as judge_training
from got_r1.training import rl
from small_runs import MakeRecipe, metrics

STUDENT = {"steps": 4, "batch": 4, "width": 32, "layers": 1, "held_out": 0.4, "save_every": 2}


def keep(folder: Path, count: int, name: str = "oracle") -> Path:
    """Examples of the oracle: a chain and an image, and those of another prompt."""
    made = list(triples(count, seed=2))
    queries: list[Query] = []
    for one, other in zip(made, [*made[1:], made[0]], strict=True):
        for drawn in (one, other):
            chain = parse(drawn.chain)
            queries += [
                SemanticQuery(one.prompt, chain),
                SpatialQuery(one.prompt, chain),
                ImageQuery(one.prompt, drawn.image),
            ]
    RecordedJudge(OracleJudge(), folder, JudgeSection(spec=name)).judge(queries)
    return folder


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keep(tmp_path_factory.mktemp("examples"), 60)


def recipe(make: MakeRecipe, name: str, examples: Path, **settings: object) -> Recipe:
    return make(name, student=STUDENT | {"examples": [str(examples)]} | settings)


def test_a_student_learns_on_what_it_sees(make_recipe: MakeRecipe, examples: Path) -> None:
    made = recipe(make_recipe, "run", examples, steps=40, batch=24, learning_rate=3e-3)
    judge_training.train(made, quiet=True)
    rows = metrics(Path(made.run.dir))
    first, last = (sum(row["loss"] for row in part) / 5 for part in (rows[:5], rows[-5:]))
    assert last < 0.8 * first
    found = json.loads((Path(made.run.dir) / "evals" / "student.json").read_text())
    assert set(found) == {"r_sem", "r_spa", "r_pi"}
    assert all(0 < term["queries"] < 120 for term in found.values())
    student = Student.load(Path(made.run.dir) / "checkpoints" / "final")
    assert student.facts["teacher"] == ["oracle"]
    assert not torch.equal(student.temperature, torch.ones(3))


def test_its_encoder_from_nothing_has_the_size_that_is_asked(
    make_recipe: MakeRecipe, examples: Path
) -> None:
    made = recipe(make_recipe, "run", examples, encoder_width=64, encoder_layers=1)
    encoder = Student.load(Path(judge_training.train(made, quiet=True)["model"])).encoder
    towers = encoder.model.config.text_config, encoder.model.config.vision_config
    assert [(one.hidden_size, one.num_hidden_layers) for one in towers] == [(64, 1)] * 2


def test_a_resumed_training_is_the_uninterrupted_one(
    make_recipe: MakeRecipe, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = (recipe(make_recipe, name, examples) for name in ("whole", "cut"))
    judge_training.train(whole, quiet=True)
    learn = judge_training.learn

    def killed(student: Student, optimizer: object, *rest: object) -> dict[str, float]:
        if rest[2] == 4:
            raise KeyboardInterrupt
        return learn(student, optimizer, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(judge_training, "learn", killed)
    with pytest.raises(KeyboardInterrupt):
        judge_training.train(cut, quiet=True)
    monkeypatch.undo()
    judge_training.train(cut, resume=True, quiet=True)
    assert metrics(Path(whole.run.dir)) == metrics(Path(cut.run.dir))
    one, other = (
        load_file(Path(run.run.dir) / "checkpoints/final/head.safetensors") for run in (whole, cut)
    )
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)


def test_a_student_goes_on_from_another(make_recipe: MakeRecipe, examples: Path) -> None:
    first = recipe(make_recipe, "first", examples)
    start = judge_training.train(first, quiet=True)["model"]
    further = recipe(make_recipe, "further", examples, start=str(start), steps=2)
    judge_training.train(further, quiet=True)
    before, after = (
        Student.load(Path(run.run.dir) / "checkpoints/final") for run in (first, further)
    )
    names = [name for name, _ in before.named_parameters()]
    assert any(
        not torch.equal(before.get_parameter(name), after.get_parameter(name)) for name in names
    )


def test_a_student_learns_with_the_policys_own_eyes(
    make_recipe: MakeRecipe, examples: Path, model_folder: Path
) -> None:
    made = recipe(make_recipe, "run", examples, encoder=str(model_folder), steps=30, batch=16)
    judge_training.train(made, quiet=True)
    rows = metrics(Path(made.run.dir))
    first, last = (sum(row["loss"] for row in part) / 5 for part in (rows[:5], rows[-5:]))
    assert last < first
    folder = Path(made.run.dir) / "checkpoints" / "final"
    assert not (folder / "encoder").exists()
    assert Student.load(folder).source == str(model_folder)


def test_answers_of_two_judges_are_refused(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    keep(tmp_path / "both", 8)
    keep(tmp_path / "both", 9, name="experts")
    with pytest.raises(BadInput, match=r"several judges \(experts, oracle\)"):
        judge_training.train(recipe(make_recipe, "run", tmp_path / "both"), quiet=True)


def test_too_few_examples_are_refused(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="too few to train on some and measure on others"):
        judge_training.train(recipe(make_recipe, "run", keep(tmp_path / "few", 1)), quiet=True)


def test_no_examples_are_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "judge", "icons", f"run.dir={tmp_path / 'run'}"]) == 2
    assert "student.examples is empty" in capsys.readouterr().err


# -- in a run --------------------------------------------------------------------------------------


def test_a_run_keeps_what_a_student_learns_and_is_scored_by_it(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    icons = {"path": "icons", "lora": {"rank": 0}}
    first = make_recipe("first", model=icons, judge={"record": "run"}, eval={"prompts": 0})
    rl.train(first, quiet=True)
    kept = Path(first.run.dir) / "judge_examples"
    found = judge_training.train(recipe(make_recipe, "student", kept, held_out=0.6), quiet=True)
    judge = {"spec": "student", "model": found["model"], "teacher": "oracle", "r_ri": "oracle"}
    shares = {}
    for name, ask_above in {"never": 0.5, "always": 0.0}.items():
        run = make_recipe(
            name,
            model=icons,
            judge=judge | {"ask_above": ask_above},
            eval={"prompts": 0},
            rl={"steps": 1, "prompts": 2, "group": 4},
        )
        rl.train(run, quiet=True)
        shares[name] = metrics(Path(run.run.dir))[0]["teacher_share"]
    assert shares == {"never": 0.0, "always": 1.0}
    saved = (Path(run.run.dir) / "judge_settings.yaml").read_text()
    assert "teacher" in saved


def test_a_student_is_a_judge_by_its_folder(make_recipe: MakeRecipe, examples: Path) -> None:
    folder = judge_training.train(recipe(make_recipe, "run", examples), quiet=True)["model"]
    (one,) = triples(1, seed=9)
    (answer,) = load_judge(f"student:{folder}").judge([ImageQuery(one.prompt, one.image)])
    assert isinstance(answer, Verdict)
    assert answer.by == "student"


def test_the_held_out_judge_may_be_the_only_student(make_recipe: MakeRecipe) -> None:
    judge = {"spec": "oracle", "model": "somewhere"}
    check_settings(make_recipe("rl", judge=judge, watch={"judge": "student"}), "rl")
    with pytest.raises(BadInput, match="no judge is a student"):
        check_settings(make_recipe("rl", judge=judge), "rl")


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ({"model": "somewhere"}, "no judge is a student"),
        ({"spec": "student:nowhere", "r_ri": "oracle"}, "there is no student at 'nowhere'"),
        ({"spec": "student:nowhere"}, "a student does not answer r_ri"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    make_recipe: MakeRecipe, judge: dict[str, str], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        rl.train(make_recipe("run", judge=judge), quiet=True)

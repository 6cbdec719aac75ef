"""A student that goes on learning in the run that it scores: from whom, across kills and ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from got_r1.cli import main
from got_r1.errors import BadInput
from got_r1.icons.data import triples
from got_r1.recipes.sections import Recipe
from got_r1.student.encoder import tiny_encoder
from got_r1.student.network import Student
from got_r1.training import rl
from small_runs import MakeRecipe, assert_same_run, metrics
from training.test_distributed import kill_rank_1, torchrun

ASK = (
    0.303  # between the doubts of this new student's terms; a fair die's with eleven sides is 0.316
)


@pytest.fixture(scope="module")
def untaught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a student that knows nothing."""
    made = list(triples(100, seed=4))
    texts = [text for one in made for text in (one.prompt.text, one.chain)]
    torch.manual_seed(0)
    encoder = tiny_encoder(texts, seed=0, image_size=40, width=32, layers=1)
    student = Student(encoder, width=32, layers=1)
    student.facts = {"teacher": ["oracle"], "agreement": {"r_pi": "measured before"}}
    folder = tmp_path_factory.mktemp("student") / "untaught"
    folder.mkdir()
    student.save_state(folder, dict(student.merged_tensors()))
    return folder


def recipe(make: MakeRecipe, name: str, student: Path, **judge: object) -> Recipe:
    taught = {"spec": "student", "model": str(student), "teacher": "oracle", "r_ri": "oracle"}
    return make(
        name,
        model={"path": "icons", "lora": {"rank": 4}},
        judge=taught | {"learn": True, "learning_rate": 1e-2, "ask_above": ASK} | judge,
        rollout={"chain_limit": 120, "guidance": 1.0},
        rl={"steps": 3, "prompts": 2, "group": 4, "learning_rate": 1e-4, "save_every": 2},
        eval={"prompts": 0},
    )


def weights(folder: Path) -> dict[str, Tensor]:
    """All of a student's, the encoder's among them."""
    return Student.load(folder).state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


# -- from whom -------------------------------------------------------------------------------------


def test_it_learns_from_its_teachers_answers(make_recipe: MakeRecipe, untaught: Path) -> None:
    run = recipe(make_recipe, "run", untaught, ask_above=0.0)
    rl.train(run, quiet=True)
    folder = Path(run.run.dir)
    rows = metrics(folder)
    for row in rows:
        # R_sem, R_spa and R_PI of each sample whose chain can be read.
        assert row["student_answers"] == 3 * (8 - row["malformed_chains"])
        assert row["teacher_share"] == 1
        assert {"student_error/r_sem", "student_error/r_spa", "student_error/r_pi"} <= row.keys()
    assert rows[-1]["student_loss"] < rows[0]["student_loss"]
    assert not same(weights(folder / "student"), weights(untaught))
    facts = Student.load(folder / "student").facts
    assert facts["teacher"] == ["oracle"]
    assert "agreement" not in facts  # of the student that it was


def test_it_learns_nothing_from_its_own(make_recipe: MakeRecipe, untaught: Path) -> None:
    run = recipe(make_recipe, "run", untaught, ask_above=0.5)
    rl.train(run, quiet=True)
    assert all(row["teacher_share"] == 0 for row in metrics(Path(run.run.dir)))
    assert not any(key.startswith("student_") for row in metrics(Path(run.run.dir)) for key in row)
    assert same(weights(Path(run.run.dir) / "student"), weights(untaught))


def test_unless_told_so_it_stays_as_it_is(make_recipe: MakeRecipe, untaught: Path) -> None:
    run = recipe(make_recipe, "run", untaught, ask_above=0.0, learn=False)
    rl.train(run, quiet=True)
    (*_, last) = metrics(Path(run.run.dir))
    assert "student_error/r_pi" in last  # whether it would have to learn
    assert "student_answers" not in last
    assert not (Path(run.run.dir) / "student").exists()


def test_a_step_whose_update_is_skipped_teaches_nothing(
    make_recipe: MakeRecipe, untaught: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    improve = rl.improve

    def skipped(*arguments: Any) -> dict[str, float]:
        return improve(*arguments) | {"skipped_updates": 1.0, "loss": 0.0, "grad_norm": 0.0}

    monkeypatch.setattr(rl, "improve", skipped)
    run = recipe(make_recipe, "run", untaught, ask_above=0.0)
    rl.train(run, quiet=True)
    assert same(weights(Path(run.run.dir) / "student"), weights(untaught))


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (["judge.learn=true"], "no judge is a student with a teacher"),
        (
            ["judge.learn=true", "judge.spec=student:{}", "judge.r_ri=oracle"],
            "no judge is a student with a teacher",
        ),
        (
            [
                "judge.learn=true",
                "judge.spec=student:{}",
                "judge.r_sem=student:{}/../other",
                "judge.teacher=oracle",
            ],
            "there are 2 students",
        ),
    ],
)
def test_what_cannot_learn_is_refused_at_once(
    judge: list[str],
    message: str,
    untaught: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = untaught.parent / "other"
    if not other.exists():
        other.symlink_to(untaught)
    settings = [one.format(untaught) for one in judge]
    assert main(["train", "rl", "icons", f"run.dir={tmp_path / 'run'}", *settings]) == 2
    assert message in capsys.readouterr().err


# -- across kills ----------------------------------------------------------------------------------


def test_a_resumed_run_has_the_student_of_the_uninterrupted_one(
    make_recipe: MakeRecipe, untaught: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = (recipe(make_recipe, name, untaught) for name in ("whole", "cut"))
    rl.train(whole, quiet=True)
    assert 0 < metrics(Path(whole.run.dir))[0]["teacher_share"] < 1

    learn = rl.Lessons.learn
    steps = iter((1, 2, 3))

    def killed(lessons: rl.Lessons, samples: Any) -> dict[str, float]:
        if next(steps) == 3:
            raise KeyboardInterrupt
        return learn(lessons, samples)

    monkeypatch.setattr(rl.Lessons, "learn", killed)
    with pytest.raises(KeyboardInterrupt):
        rl.train(cut, quiet=True)
    monkeypatch.undo()
    rl.train(cut, resume=True, quiet=True)
    assert_same_run(Path(whole.run.dir), Path(cut.run.dir))
    one, other = (weights(Path(run.run.dir) / "student") for run in (whole, cut))
    assert same(one, other)
    assert not same(one, weights(untaught))


def test_a_run_does_not_begin_to_learn_on_resuming(make_recipe: MakeRecipe, untaught: Path) -> None:
    rl.train(recipe(make_recipe, "run", untaught, learn=False), quiet=True)
    with pytest.raises(BadInput, match=r"judge\.learn"):
        rl.train(recipe(make_recipe, "run", untaught), resume=True, quiet=True)


# -- across processes ------------------------------------------------------------------------------

EACH_RANK = """
import sys
from pathlib import Path
import torch
from got_r1.cli import run
from got_r1.training.lessons import Lessons

saved = Lessons.save

def save(lessons, folder):
    state = lessons.student.state_dict()
    torch.save(state, Path(__file__).with_name(f"rank{lessons.ranks.rank}.pt"))
    saved(lessons, folder)

Lessons.save = save
run()
"""


def on_two(recipe: Recipe, folder: Path, *options: str) -> Any:
    """The run on two processes, each of which writes its student as `rank<rank>.pt`."""
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump()))
    (folder / "each.py").write_text(EACH_RANK)
    command = (folder / "each.py", "train", "rl", folder / "recipe.yaml", *options)
    return torchrun(*command, log=folder)


@pytest.mark.slow
def test_two_processes_have_one_student_which_survives_a_kill(
    make_recipe: MakeRecipe, untaught: Path, tmp_path: Path
) -> None:
    alone, whole, cut = (recipe(make_recipe, name, untaught) for name in ("alone", "two", "cut"))
    rl.train(alone, quiet=True)
    place = tmp_path / "logs"
    run = on_two(whole, place)
    assert run.wait() == 0, (place / "stderr.txt").read_text()
    of_rank = [torch.load(place / f"rank{rank}.pt") for rank in (0, 1)]
    assert same(*of_rank)
    assert same(of_rank[0], weights(Path(whole.run.dir) / "student"))
    # And it is the one of a single process, up to rounding.
    for row, other in zip(metrics(Path(alone.run.dir)), metrics(Path(whole.run.dir)), strict=True):
        assert row["student_answers"] == other["student_answers"]
        assert other["student_loss"] == pytest.approx(row["student_loss"], rel=1e-3)
    single = weights(Path(alone.run.dir) / "student")
    assert not same(single, weights(untaught))
    for name, weight in single.items():
        torch.testing.assert_close(of_rank[0][name], weight, atol=2e-3, rtol=0)

    # Killed behind its checkpoint of step 2, and resumed: the same to the bit.
    place = tmp_path / "killed"
    run = on_two(cut, place)
    logged, errors = Path(cut.run.dir) / "checkpoints" / "step_000002", place / "stderr.txt"
    kill_rank_1(run, logged.exists, errors)
    assert not (Path(cut.run.dir) / "student").exists()
    run = on_two(cut, place, "--resume")
    assert run.wait() == 0, errors.read_text()
    assert same(weights(Path(cut.run.dir) / "student"), of_rank[0])
    assert [json.dumps(row) for row in metrics(Path(cut.run.dir))] == [
        json.dumps(row) for row in metrics(Path(whole.run.dir))
    ]

"""Judges of the user's own: FILE.py:CLASS and MODULE:CLASS, with settings, alone and mixed."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from got_r1.errors import BadInput
from got_r1.judges import check_judge, load_judge
from got_r1.judges.specs import ResolvedJudge, compare_judges, resolve
from got_r1.plan.chain import parse
from got_r1.recipes.recipe_file import load_section, recipe_text
from got_r1.recipes.sections import JudgeSection
from got_r1.records import ImageQuery, JudgeFailure, Prompt, SemanticQuery, SpatialQuery, Verdict

CODE = """
import os
from dataclasses import dataclass

os.environ["OWN_JUDGE_WAS_IMPORTED"] = "yes"

from got_r1.records import JudgeFailure, Verdict

@dataclass
class Same:
    value: float = 0.5
    options: dict | None = None

    def judge(self, queries):
        return [Verdict(self.value) for _ in queries]

class Mute:
    pass

class Picky:
    def __init__(self):
        raise ValueError("no GPU here.\\nmore")

def function():
    pass
"""
PROMPT = Prompt("a red heart", "attribute")
CHAIN = parse("A <|obj_start|>red heart<|obj_end|> <|box_start|>(100,100),(400,400)<|box_end|>.")
IMPORTED = "OWN_JUDGE_WAS_IMPORTED"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of judges, which is also the importable module `plugged_judges`."""
    monkeypatch.setenv(IMPORTED, "")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "plugged_judges", raising=False)
    path = tmp_path / "plugged_judges.py"
    path.write_text(CODE)
    return path


def scores(judge: object) -> list[float | None]:
    answers = judge.judge([SemanticQuery(PROMPT, CHAIN), SpatialQuery(PROMPT, CHAIN)])  # type: ignore[attr-defined]
    return [answer.score if isinstance(answer, Verdict) else None for answer in answers]


def judge_file(folder: Path, **settings: object) -> str:
    path = folder / "judge.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


@pytest.mark.parametrize("place", ["{file}", "plugged_judges"])
def test_a_class_of_a_file_or_module_judges_and_its_import_is_told(
    file: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    spec = f"{place.format(file=file)}:Same"
    assert scores(load_judge(spec)) == [0.5, 0.5]
    (told,) = capsys.readouterr().err.splitlines()
    source = f"the file {file}" if place == "{file}" else "the module plugged_judges"
    assert told == f"judge: imports {source} and makes Same"


def test_settings_come_from_a_judge_file_and_a_term_may_have_another_judge(
    file: Path, tmp_path: Path
) -> None:
    spec = f"{file}:Same"
    own = judge_file(tmp_path, spec=spec, own={"value": 0.25}, r_sem="oracle")
    assert scores(load_judge(own)) == [1.0, 0.25]
    assert scores(load_judge(JudgeSection(spec="oracle", r_spa=spec))) == [1.0, 0.5]
    assert scores(load_judge(JudgeSection(spec=spec, r_sem=own))) == [1.0, 0.5]


def test_each_class_of_a_mixture_may_have_settings_of_its_own(file: Path, tmp_path: Path) -> None:
    spec, mute = f"{file}:Same", f"{file}:Plain"
    file.write_text(f"{CODE}\n\nclass Plain(Mute):\n    judge = Same(0.125).judge\n")
    both = judge_file(tmp_path, spec=spec, own={"value": 0.25}, r_sem=mute)
    with pytest.raises(BadInput, match=r"give each its own file.*as in r_pi: other\.yaml"):
        load_judge(both)
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({"spec": mute}))
    named = judge_file(tmp_path, spec=spec, own={"value": 0.25}, r_sem=str(other))
    assert scores(load_judge(named)) == [0.125, 0.25]
    resolved = resolve(JudgeSection(spec=named))
    assert [resolved.of(term).name for term in ("r_sem", "r_spa")] == [mute, spec]


@pytest.mark.parametrize("place", ["{file}", "plugged_judges"])
def test_it_is_checked_and_resolved_without_running_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    section = JudgeSection(spec="oracle", r_pi=f"{place.format(file=file)}:Same")
    check_judge(section)
    assert resolve(section).of("r_pi").kind == "own"
    assert not os.environ[IMPORTED]
    load_judge(section)
    assert os.environ[IMPORTED]


def test_what_a_run_saves_of_it_tells_a_changed_judge_from_one_that_moved(
    file: Path, tmp_path: Path
) -> None:
    def resolved(path: Path, **own: object) -> ResolvedJudge:
        name = judge_file(tmp_path, spec=f"{path}:Same", own=own)
        return resolve(JudgeSection(spec=name))

    settings = {"value": 0.5, "options": {"none": None, "api_key": "abcdefgh1"}}
    before = resolved(file, **settings)
    saved = tmp_path / "saved.yaml"
    saved.write_text(recipe_text(before))
    assert "abcdefgh1" not in saved.read_text()
    before = load_section(saved, ResolvedJudge, "judge settings")
    assert list(compare_judges(before, resolved(file, **settings))) == []

    moved = tmp_path / "elsewhere.py"
    moved.write_text(CODE)
    (change,) = compare_judges(before, resolved(moved, **settings))
    assert (change.setting, change.allowed is None) == ("the judge's own.file", False)
    (change,) = compare_judges(before, resolved(file, **settings | {"value": 1}))
    assert (change.setting, change.allowed) == ("the judge's own.settings", None)
    file.write_text(CODE + "# changed\n")
    (change,) = compare_judges(before, resolved(file, **settings))
    assert (change.setting, change.allowed) == ("the judge's own.sha256", None)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("opnai:Qwen", "unknown judge 'opnai:Qwen': did you mean 'openai'"),
        ("transformer:Qwen", "did you mean 'transformers'"),
        ("nobody:Judge", "no module 'nobody' that Python can import"),
        ("nobody.at.home:Judge", r"no module 'nobody\.at\.home' that"),
        ("__main__:Judge", "no module '__main__'"),
        ("{folder}/none.py:Judge", r"there is no file '.*/none\.py'"),
        ("{folder}:Judge", "unknown judge"),
        ("{file}", r"unknown judge .*FILE\.py:CLASS"),
        ("{file}:not a class", "unknown judge"),
        ("plugged_judges:a:b", "unknown judge"),
    ],
)
def test_one_that_is_not_there_is_told_before_a_run(file: Path, spec: str, told: str) -> None:
    spec = spec.format(file=file, folder=file.parent)
    for use in (load_judge, check_judge):
        with pytest.raises(BadInput, match=told):
            use(JudgeSection(spec=spec))


@pytest.mark.parametrize(
    ("spec", "own", "told"),
    [
        ("{file}:Sam", {}, "has no class 'Sam'; its classes are: Same, Mute, Picky"),
        ("plugged_judges:function", {}, "the module plugged_judges has no class 'function'"),
        ("plugged_judges.more:Same", {}, r"no module 'plugged_judges\.more'"),
        ("{file}:Mute", {}, "Mute has no method 'judge'"),
        (
            "{file}:Picky",
            {},
            r"Picky could not be made with no settings \(ValueError: no GPU here\)",
        ),
        ("{file}:Same", {"valeu": 1}, r"with the settings valeu \(TypeError: .*'valeu'"),
        ("{broken}:Same", {}, r"importing the file .* failed \(SyntaxError: "),
        ("{needy}:Same", {}, r"\(ModuleNotFoundError: No module named 'nobody'\)"),
        ("{ends}:Same", {}, r"failed \(SystemExit: 3\)"),
    ],
)
def test_one_that_cannot_be_made_is_told_in_a_sentence(
    file: Path, tmp_path: Path, spec: str, own: dict[str, object], told: str
) -> None:
    files = {"broken": "class Same(:", "needy": "import nobody", "ends": "raise SystemExit(3)"}
    for name, code in files.items():
        (tmp_path / f"{name}.py").write_text(code)
    paths = {name: tmp_path / f"{name}.py" for name in files}
    named = judge_file(tmp_path, spec=spec.format(file=file, **paths), own=own)
    with pytest.raises(BadInput, match=told) as caught:
        load_judge(named)
    assert "\n" not in str(caught.value)


def test_the_judge_of_the_manual_takes_the_settings_of_the_manual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "judges.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", manual, re.DOTALL)
    *_, settings = re.findall(r"```yaml\n(.*?)```", manual, re.DOTALL)
    (tmp_path / "contrast.py").write_text(code)
    (tmp_path / "judge.yaml").write_text(settings)
    monkeypatch.chdir(tmp_path)
    image = np.tile(np.array([128 - 50, 128 + 50], dtype=np.uint8)[:, None], (4, 4, 3))
    (answer,) = load_judge("judge.yaml").judge([ImageQuery(PROMPT, image)])
    assert answer == Verdict(0.5, reasoning="contrast 50 of 100")


def test_it_fails_like_any_judge(file: Path) -> None:
    file.write_text(CODE.replace("Verdict(self.value)", "JudgeFailure('no')"))
    (answer,) = load_judge(f"{file}:Same").judge([SemanticQuery(PROMPT, CHAIN)])
    assert answer == JudgeFailure("no")

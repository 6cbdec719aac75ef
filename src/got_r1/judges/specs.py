"""What a judge's spec stands for: the kind of judge and its settings, without loading it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from got_r1.checkpoints.hub import is_hub_name
from got_r1.errors import BadInput
from got_r1.files.inputs import read_json
from got_r1.judges.judge_file import KINDS, JudgeFile
from got_r1.judges.own import OwnJudge, own_judge
from got_r1.judges.settings import (
    ExpertsSettings,
    MLLMSettings,
    OpenAISettings,
    StudentSettings,
    TransformersSettings,
)
from got_r1.recipes.judge_sections import is_student
from got_r1.recipes.recipe_file import load_section
from got_r1.recipes.resuming import Change, compare, plain
from got_r1.recipes.sections import JudgeSection, Section
from got_r1.records import TERMS

__all__ = [
    "JudgeSettings",
    "ResolvedJudge",
    "check_finder",
    "check_learning",
    "compare_judges",
    "openai_settings",
    "own_settings",
    "read_judge_file",
    "resolve",
    "student_settings",
    "transformers_settings",
    "unknown_judge",
]

FORMS = (
    "'oracle', openai:MODEL@URL[,URL...], transformers:MODEL, 'experts', student:DIR, 'self', a "
    "class of your own as FILE.py:CLASS or MODULE:CLASS, or the path of a YAML file "
    "(docs/judges.md)"
)


class JudgeSettings(Section):
    """One judge: its kind, and the settings that judges of this kind have."""

    kind: str = Field(
        ..., description="'oracle', 'openai', 'transformers', 'experts', 'student', 'self', 'own'"
    )
    openai: OpenAISettings | None = None
    transformers: TransformersSettings | None = None
    experts: ExpertsSettings | None = None
    student: StudentSettings | None = None
    wording: MLLMSettings | None = None
    own: OwnJudge | None = None


class ResolvedJudge(Section):
    """The settings of a recipe's judge, whether they come from specs or from a judge file."""

    spec: JudgeSettings = Field(..., description="who scores")
    r_sem: JudgeSettings | None = Field(None, description="another judge for this term")
    r_spa: JudgeSettings | None = Field(None, description="another judge for this term")
    r_ri: JudgeSettings | None = Field(None, description="another judge for this term")
    r_pi: JudgeSettings | None = Field(None, description="another judge for this term")
    r_hps: JudgeSettings | None = Field(None, description="another judge for this term")
    teacher: JudgeSettings | None = Field(None, description="who is asked where a student doubts")
    held_out: JudgeSettings | None = Field(None, description="who looks on (watch.judge)")

    def of(self, term: str) -> JudgeSettings:
        """The judge that is asked for a term."""
        found: JudgeSettings | None = getattr(self, term)
        return found or self.spec


def resolve(section: JudgeSection) -> ResolvedJudge:
    """The settings that `load_judge` would use, without the credentials that URLs may hold.

    Raises BadInput where a judge file or a spec cannot be read.
    """
    student = section_student(section)
    terms = {term: _resolve(section.spec_of(term), term, student) for term in TERMS}
    spec = _resolve(section.spec, "", student)
    others = {term: judge for term, judge in terms.items() if judge != spec}
    named = dict.fromkeys([section.spec, *map(section.spec_of, TERMS)])
    teachers = (_teacher(name, student) for name in named)
    teacher = next(filter(None, teachers), None)
    return ResolvedJudge.model_validate({"spec": spec, **others, "teacher": teacher})


def check_learning(judges: ResolvedJudge) -> None:
    """Raises BadInput where `judge.learn` finds no student, no teacher or several students."""
    students = {one.student.model for one in map(judges.of, TERMS) if one.student}
    if judges.teacher is None or not students:
        raise BadInput(
            "judge.learn is on, but no judge is a student with a teacher to learn from: set "
            "judge.spec=student and judge.teacher, or leave judge.learn out"
        )
    if len(students) > 1:
        raise BadInput(
            f"judge.learn is on, and there are {len(students)} students "
            f"({', '.join(sorted(students))}): only one can learn in a run; name one"
        )


def check_finder(judges: ResolvedJudge) -> None:
    """Raises BadInput where it is not known in which coordinates the judge of R_RI gives boxes (a
    student's teacher does for it). Of a model on the hub that is told once its files are here."""
    finder: JudgeSettings | None = judges.of("r_ri")
    if finder is not None and finder.kind == "student":
        finder = judges.teacher
    if finder is None or finder.wording is None:
        return
    if finder.openai is not None:
        finder.wording.check_coordinates(finder.openai.model)
    elif finder.kind == "self":
        finder.wording.check_coordinates(finder.kind)
    elif finder.transformers is not None:
        config = Path(finder.transformers.model, "config.json")
        if config.is_file():
            kind = str(read_json(config, "config of the judge's model").get("model_type"))
            finder.wording.suited_to(kind).check_coordinates(finder.transformers.model)


def compare_judges(before: ResolvedJudge, now: ResolvedJudge) -> Iterator[Change]:
    """The settings that differ, each once, with the terms whose judge it is."""
    found: dict[str, tuple[Change, list[str]]] = {}
    for term in TERMS:
        one, other = before.of(term), now.of(term)
        for change in compare(one, other):
            found.setdefault(str(change), (change, []))[1].append(term)
            if change.setting == "kind":
                break  # another kind has other settings
    if before.teacher is not None and now.teacher is not None:
        for change in compare(before.teacher, now.teacher):
            setting = f"the teacher's {change.setting}"
            yield Change(setting, change.before, change.now, change.allowed)
    for change, terms in found.values():
        of_all = "the judge's" if len(terms) == len(TERMS) else f"the {', '.join(terms)} judge's"
        yield Change(f"{of_all} {change.setting}", change.before, change.now, change.allowed)


def _resolve(
    spec: str, term: str, student: StudentSettings, file: JudgeFile | None = None
) -> JudgeSettings:
    """The judge that a spec names for a term; "" is the judge of all terms without their own."""
    kind, colon, _ = spec.partition(":")
    wording = file.wording if file else MLLMSettings()
    if kind == "openai" and (colon or file):
        openai = openai_settings(spec, file)
        shown = openai.model_copy(
            update={"urls": plain(openai.urls), "extra_body": plain(openai.extra_body)}
        )
        return JudgeSettings(kind=kind, openai=shown, wording=wording.suited_to(openai.model))
    if kind == "transformers" and (colon or file):
        local = transformers_settings(spec, file)
        return JudgeSettings(kind=kind, transformers=local, wording=wording)
    if spec == "experts":
        return JudgeSettings(kind=kind, experts=file.experts if file else ExpertsSettings())
    if spec.endswith((".yaml", ".yml")) and file is None:
        file, own = read_judge_file(spec)
        return _resolve(getattr(file, term, "") or own, term, file.student, file)
    if is_student(spec):
        return JudgeSettings(kind=kind, student=student_settings(spec, student))
    if spec == "oracle":
        return JudgeSettings(kind=spec)
    if spec == "self":
        return JudgeSettings(kind=spec, wording=MLLMSettings())
    mine = own_settings(spec, file)
    mine = mine.model_copy(update={"settings": plain(mine.settings)})
    return JudgeSettings(kind="own", own=mine)


def _teacher(
    spec: str, student: StudentSettings, file: JudgeFile | None = None
) -> JudgeSettings | None:
    """The judge behind a student that a spec or a judge file names; None where there is none."""
    if spec.endswith((".yaml", ".yml")) and file is None:
        file, own = read_judge_file(spec)
        named = [own, *filter(None, (getattr(file, term) for term in TERMS))]
        found = (_teacher(name, file.student, file) for name in named)
        return next(filter(None, found), None)
    if not is_student(spec) or not student.teacher:
        return None
    return _resolve(student.teacher, "", student, file)


def unknown_judge(spec: str) -> BadInput:
    """The error for a spec that is of no kind of judge."""
    near = difflib.get_close_matches(spec.partition(":")[0], ("oracle", *KINDS), 1)
    meant = f"did you mean {near[0]!r}? It" if near else "it"
    return BadInput(f"unknown judge {spec!r}: {meant} must be {FORMS}")


def own_settings(spec: str, file: JudgeFile | None) -> OwnJudge:
    """The class that FILE.py:CLASS or MODULE:CLASS names, with the file's settings for it.

    Raises BadInput where it is not there, or the spec is of no kind of judge.
    """
    own = own_judge(spec, file.own if file else {})
    if own is None:
        raise unknown_judge(spec)
    return own


def openai_settings(spec: str, file: JudgeFile | None) -> OpenAISettings:
    """The settings of openai:MODEL@URL[,URL...], or those of the file where there is only 'openai'.

    Raises BadInput where model or URLs are missing.
    """
    rest = spec.partition(":")[2]
    if rest or file is None:
        # Model names may hold '@'; URLs begin with their scheme.
        found = re.fullmatch(r"(.+?)@(https?://.+)", rest)
        if found is None:
            raise BadInput(
                f"judge {spec!r} must be openai:MODEL@URL, such as "
                "openai:Qwen/Qwen2.5-VL-7B-Instruct@http://localhost:8000/v1"
            )
        urls = [url.strip() for url in found[2].split(",")]
        return OpenAISettings(model=found[1], urls=urls)
    if not file.openai.model or not file.openai.urls:
        raise BadInput("the judge file sets no openai.model or no openai.urls: give both")
    return file.openai


def section_student(section: JudgeSection) -> StudentSettings:
    """What a recipe says of its student."""
    return StudentSettings(
        model=section.model, ask_above=section.ask_above, teacher=section.teacher
    )


def student_settings(spec: str, settings: StudentSettings) -> StudentSettings:
    """The settings of student:DIR, or those given where there is only 'student'.

    Raises BadInput where there is no such folder, or the teacher is a student again.
    """
    folder = spec.partition(":")[2] or settings.model
    if not folder or not Path(folder, "student.json").is_file():
        raise BadInput(
            f"judge {spec!r}: there is no student at {folder!r}; got-r1 train judge makes one, in "
            "the folder checkpoints/final of its run"
        )
    if is_student(settings.teacher):
        raise BadInput("a student's teacher is another kind of judge; name the one it learnt from")
    return settings.model_copy(update={"model": folder})


def transformers_settings(spec: str, file: JudgeFile | None) -> TransformersSettings:
    """The settings of transformers:MODEL, or those of the file where no model is given.

    Raises BadInput where the model is neither a folder nor a name on the hub.
    """
    rest = spec.partition(":")[2]
    folder = rest or (file.transformers.model if file else "")
    if not folder or not (is_hub_name(folder) or Path(folder).is_dir()):
        raise BadInput(
            f"judge {spec!r}: there is no model folder at {folder!r}; give a folder, or a name on "
            "the hub such as Qwen/Qwen2.5-VL-7B-Instruct"
        )
    return file.transformers if file and not rest else TransformersSettings(model=folder)


def read_judge_file(path: str) -> tuple[JudgeFile, str]:
    """A judge file, and the spec of the judge that it is for terms without their own.

    Raises BadInput where it cannot be read, or does not say who judges.
    """
    file = load_section(path, JudgeFile, "judge file")
    given = [kind for kind in KINDS if kind in file.model_fields_set]
    if not file.spec and len(given) != 1:
        raise BadInput(
            f"the judge file {path} sets up {' and '.join(given) or 'no judge'}: say which one "
            "judges, as spec: openai"
        )
    return file, file.spec or given[0]

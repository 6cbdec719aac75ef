"""What a judge's spec stands for: the kind of judge and its settings, without loading it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from got_r1.checkpoints.hub import is_hub_name
from got_r1.errors import BadInput
from got_r1.files.inputs import read_json
from got_r1.judges.judge_file import KINDS, JudgeFile, is_judge_file
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
    "Opened",
    "ResolvedJudge",
    "check_finder",
    "check_learning",
    "compare_judges",
    "in_no_file",
    "known_as",
    "named_judges",
    "openai_settings",
    "own_settings",
    "read_judge_file",
    "resolve",
    "same_judge",
    "student_settings",
    "third_file",
    "transformers_settings",
    "unknown_judge",
]

FORMS = (
    "'oracle', openai:MODEL@URL[,URL...], transformers:MODEL, 'experts', student:DIR, 'self', a "
    "class of your own as FILE.py:CLASS or MODULE:CLASS, or the path of a YAML file "
    "(docs/judges.md)"
)


DEEPEST = 2  # judge files one inside another: one that is named by one names none


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

    @property
    def name(self) -> str:
        """Which judge it is, for a sentence."""
        if self.own is not None:
            return f"{self.own.file or self.own.module}:{self.own.name}"
        with_model = self.openai or self.transformers or self.student
        return f"{self.kind}:{with_model.model}" if with_model is not None else self.kind


class ResolvedJudge(Section):
    """The settings of a recipe's judge, whether they come from specs or from judge files."""

    spec: JudgeSettings = Field(..., description="who scores")
    r_sem: JudgeSettings | None = Field(None, description="another judge for this term")
    r_spa: JudgeSettings | None = Field(None, description="another judge for this term")
    r_ri: JudgeSettings | None = Field(None, description="another judge for this term")
    r_pi: JudgeSettings | None = Field(None, description="another judge for this term")
    r_hps: JudgeSettings | None = Field(None, description="another judge for this term")
    teacher: ResolvedJudge | None = Field(None, description="who is asked where a student doubts")
    held_out: ResolvedJudge | None = Field(None, description="who looks on (watch.judge)")

    @field_validator("teacher", mode="before")
    @classmethod
    def _of_one_judge(cls, value: Any) -> Any:
        """Older runs kept the teacher of no term in particular alone."""
        return {"spec": value} if isinstance(value, dict) and "kind" in value else value

    @field_validator("held_out", mode="before")
    @classmethod
    def _of_part_of_a_judge(cls, value: Any) -> Any:
        """Older runs did not keep what a held-out judge file had for a term: not known here."""
        return None if isinstance(value, dict) and "kind" in value else value

    def of(self, term: str) -> JudgeSettings:
        """The judge that is asked for a term."""
        found: JudgeSettings | None = getattr(self, term)
        return found or self.spec

    def answering(self, term: str) -> list[JudgeSettings]:
        """Whose answers to a term may count: its judge's, and if that is a student its
        teacher's."""
        judge = self.of(term)
        behind = self.teacher if judge.kind == "student" else None
        return [judge] if behind is None else [judge, behind.of(term)]


@dataclass(frozen=True, slots=True)
class Opened:
    """A spec behind all judge files, and the innermost of them, whose sections it means: None where
    there is none. `path`: of that file; `depth`: how many there are."""

    spec: str
    file: JudgeFile | None = None
    path: str = ""
    depth: int = 0

    def student(self, section: JudgeSection) -> StudentSettings:
        """What is said of a student there: by the file, else by the recipe."""
        return section_student(section) if self.file is None else self.file.student


def opened(place: Opened, term: str) -> Opened:
    """The judge that a spec names for a term; "" is the judge of all terms without their own.

    Raises BadInput where a judge file cannot be read, or files name one another too deep.
    """
    while is_judge_file(place.spec):
        if place.depth == DEEPEST:
            raise third_file(place.path, place.spec)
        file, own = read_judge_file(place.spec)
        place = Opened(getattr(file, term, "") or own, file, place.spec, place.depth + 1)
    return place


def third_file(path: str, spec: str) -> BadInput:
    """The error for a judge file that is named by one, and names one itself."""
    return BadInput(
        f"the judge file {path} is named by another judge file, so it cannot name a third, "
        f"{spec!r}: put its judge there instead"
    )


def in_no_file(path: str) -> BadInput:
    """The error for a judge file that names the policy's base model."""
    return BadInput(
        f"the judge file {path} names 'self', the model that is trained, which only a recipe can: "
        "set judge.spec=self, or judge.r_pi=self for one term"
    )


def resolve(section: JudgeSection) -> ResolvedJudge:
    """The settings that `load_judge` would use, without the credentials that URLs may hold.

    Raises BadInput where a judge file or a spec cannot be read.
    """
    judges = {term: opened(Opened(_spec_of(section, term)), term) for term in ("", *TERMS)}
    students = [one for one in judges.values() if _teacher_of(one, section)]
    teacher: dict[str, JudgeSettings] = {}
    for term in ("", *TERMS) if students else ():
        # Several students of one recipe have one teacher, as `check_learning` says.
        place = opened(replace(students[0], spec=_teacher_of(students[0], section)), term)
        teacher[term] = _resolve(place, place.student(section))
    found = {term: _resolve(one, one.student(section)) for term, one in judges.items()}
    behind = _by_term(teacher) if teacher else None
    return _by_term(found).model_copy(update={"teacher": behind})


def _spec_of(section: JudgeSection, term: str) -> str:
    return section.spec_of(term) if term else section.spec


def _teacher_of(place: Opened, section: JudgeSection) -> str:
    """The spec of a student's teacher; empty where there is none, or no student."""
    return place.student(section).teacher if is_student(place.spec) else ""


def _by_term(judges: dict[str, JudgeSettings]) -> ResolvedJudge:
    """The judges of all terms; of a term that has none of its own, "", nothing is kept."""
    spec = judges[""]
    others = {term: judge for term, judge in judges.items() if term and judge != spec}
    return ResolvedJudge(spec=spec, **others)


def named_judges(section: JudgeSection) -> list[Opened]:
    """Every judge that a recipe names for any term, teachers among them, each once.

    Raises BadInput where a judge file cannot be read.
    """
    found: dict[tuple[str, str], Opened] = {}
    for term in ("", *TERMS):
        place = opened(Opened(_spec_of(section, term)), term)
        some = [place]
        if teacher := _teacher_of(place, section):
            some.append(opened(replace(place, spec=teacher), term))
        found |= {(one.path, one.spec): one for one in some}
    return list(found.values())


def known_as(section: JudgeSection, term: str, *, teacher: bool = False) -> str:
    """The name of the judge that answers for a term, or of a student's teacher: its spec, or the
    path of the judge file that sets it up. Empty where there is no teacher.

    Raises BadInput where a judge file or a spec cannot be read.
    """
    place = opened(Opened(section.spec_of(term)), term)
    if teacher:
        if not (spec := _teacher_of(place, section)):
            return ""
        place = opened(replace(place, spec=spec), term)
    if place.file is None:
        return place.spec
    try:
        alone = _resolve(Opened(place.spec), StudentSettings())
    except BadInput:  # 'openai' stands for a section of the file
        return place.path
    same = alone == _resolve(place, place.student(section))
    return place.spec if same else place.path


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
    finder = judges.answering("r_ri")[-1]
    if finder.wording is None:
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


def same_judge(one: JudgeSettings, other: JudgeSettings) -> bool:
    """Whether two judges give the same answers, wherever they run and however they are reached."""
    return all(change.allowed is not None for change in compare(one, other))


def compare_judges(
    before: ResolvedJudge, now: ResolvedJudge, whose: str = "judge"
) -> Iterator[Change]:
    """The settings that differ, each once, with the terms whose judge it is. Held-out judges are
    not looked at; `whose`: what the judge is called."""
    found: dict[str, tuple[Change, list[str]]] = {}
    for term in TERMS:
        one, other = before.of(term), now.of(term)
        for change in compare(one, other):
            found.setdefault(str(change), (change, []))[1].append(term)
            if change.setting == "kind":
                break  # another kind has other settings
    if before.teacher is not None and now.teacher is not None:
        teacher = "teacher" if whose == "judge" else f"{whose}'s teacher"
        yield from compare_judges(before.teacher, now.teacher, teacher)
    elif before.teacher is not now.teacher:
        was, is_now = (each.teacher.spec.name if each.teacher else "" for each in (before, now))
        yield Change(f"the {whose}'s teacher", was, is_now, None)
    for change, terms in found.values():
        some = "" if len(terms) == len(TERMS) else f"{', '.join(terms)} "
        setting = f"the {some}{whose}'s {change.setting}"
        yield Change(setting, change.before, change.now, change.allowed)


def _resolve(place: Opened, student: StudentSettings) -> JudgeSettings:
    """The settings of one judge."""
    spec, file = place.spec, place.file
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
    if is_student(spec):
        return JudgeSettings(kind=kind, student=student_settings(spec, student))
    if spec == "oracle":
        return JudgeSettings(kind=spec)
    if spec == "self":
        if file is not None:
            raise in_no_file(place.path)
        return JudgeSettings(kind=spec, wording=MLLMSettings())
    mine = own_settings(spec, file)
    mine = mine.model_copy(update={"settings": plain(mine.settings)})
    return JudgeSettings(kind="own", own=mine)


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

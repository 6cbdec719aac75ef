"""Judges: who scores chains and images. `load_judge` is the one way to get one."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from functools import cache as remembered
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from got_r1.errors import BadInput
from got_r1.files.redaction import MASK
from got_r1.judges.base import Judge
from got_r1.recipes.judge_sections import JudgeSection, is_student
from got_r1.records import TERMS

if TYPE_CHECKING:
    from got_r1.judges.judge_file import JudgeFile
    from got_r1.judges.settings import OpenAISettings, StudentSettings

__all__ = ["Judge", "check_judge", "load_judge"]


def load_judge(
    judge: str | JudgeSection,
    cache: Path | str | None = None,
    terms: Collection[str] = TERMS,
    understanding: Judge | None = None,
) -> Judge:
    """The judge that a spec (option `--judge`) or a recipe's section `judge` names.

    A spec is 'oracle' (the icon world's own), openai:MODEL@URL[,URL...], transformers:MODEL,
    'experts', student:DIR, a class of the user's own (FILE.py:CLASS or MODULE:CLASS, which is
    imported), or the path of a YAML file with all settings (`judge_file.JudgeFile`). A section may
    name another judge for a term. Judges that are models are asked once for identical queries, in a
    batch or, with the folder `cache`, ever. `terms` are those that it will be asked for.
    `understanding` is who answers as 'self', the policy that is trained.

    Servers that are gone are waited for as long as a section's `patience` says; a spec, of a
    command that somebody waits for, has none.

    Raises:
        BadInput: the spec or the file cannot be used, an extra is not installed, a key is missing,
            or the judge is to find boxes and its coordinates are not known.
    """
    section = JudgeSection(spec=judge, patience=0) if isinstance(judge, str) else judge
    finder = section.spec_of("r_ri")
    if is_student(finder):
        finder = section.teacher

    @remembered  # terms that name the same judge share it
    def load(spec: str) -> Judge:
        finds = "r_ri" in terms and spec == finder
        if is_student(spec):
            from got_r1.judges.specs import section_student

            return _student(spec, section_student(section), load)
        if spec == "self":
            return _understanding(understanding, cache, finds)
        return _load(spec, None, cache, finds, section.patience)

    return _mix(section.spec, {term: getattr(section, term) for term in TERMS}, load)


def check_judge(section: JudgeSection, terms: Collection[str] = TERMS) -> None:
    """Raises BadInput where a section's specs or judge files cannot be used for `terms`, as far as
    that can be told at once: nothing is loaded and no server is asked."""
    from got_r1.judges.specs import (
        check_finder,
        check_learning,
        named_judges,
        openai_settings,
        resolve,
    )

    resolved = resolve(section)
    if section.learn:
        check_learning(resolved)
    if "r_ri" in terms:
        check_finder(resolved)
    for judge in named_judges(section):
        if judge.spec.partition(":")[0] == "openai":
            _check_served(judge.spec, openai_settings(judge.spec, judge.file))


def _mix(spec: str, others: Mapping[str, str], load: Callable[[str], Judge]) -> Judge:
    """`spec`'s judge, or a mixture where terms name `others`."""
    named = {term: other for term, other in others.items() if other and other != spec}
    if not named:
        return load(spec)
    from got_r1.judges.mixture import Mixture

    return Mixture({term: load(other) for term, other in named.items()}, load(spec))


def _load(
    spec: str, file: JudgeFile | None, cache: Path | str | None, grounds: bool, patience: float
) -> Judge:
    """One judge; in a `file`, a kind's bare name means its section there.

    `grounds`: it will be asked for boxes. `patience`: seconds that its servers are waited for.
    """
    kind, colon, _ = spec.partition(":")
    match kind:
        case "oracle" if not colon:
            from got_r1.judges.oracle import OracleJudge

            return OracleJudge()
        case "openai" if colon or file:
            return _openai(spec, file, cache, grounds, patience)
        case "transformers" if colon or file:
            return _transformers(spec, file, cache, grounds)
        case "experts" if not colon:
            return _experts(file, cache)
        case _ if file is None and _is_file(spec):
            return _from_file(spec, cache, grounds, patience)
        case _:
            from got_r1.judges.own import load_own
            from got_r1.judges.specs import own_settings

            return load_own(own_settings(spec, file))


def _openai(
    spec: str, file: JudgeFile | None, cache: Path | str | None, grounds: bool, patience: float
) -> Judge:
    from got_r1.judges.settings import MLLMSettings
    from got_r1.judges.specs import openai_settings

    wording = file.wording if file else MLLMSettings()
    settings = openai_settings(spec, file)
    _check_served(spec, settings)
    from got_r1.judges.cache import CachedJudge
    from got_r1.judges.mllm import wording_version
    from got_r1.judges.requests import RequestShape
    from got_r1.judges.worker import WorkerJudge

    wording = wording.suited_to(settings.model)
    if grounds:
        wording.check_coordinates(settings.model)
    # A model is known by its name, wherever it is served and however patiently it is asked.
    shape = RequestShape.of(settings).identity()
    identity = ["openai", settings.model, shape, wording_version(wording)]
    return CachedJudge(WorkerJudge(settings, wording, patience), cache, json.dumps(identity))


def _transformers(
    spec: str, file: JudgeFile | None, cache: Path | str | None, grounds: bool
) -> Judge:
    from got_r1.judges.settings import MLLMSettings
    from got_r1.judges.specs import transformers_settings

    settings = transformers_settings(spec, file)
    from got_r1.checkpoints.hub import named_commit
    from got_r1.judges.cache import CachedJudge
    from got_r1.judges.mixture import OneAtATime
    from got_r1.judges.mllm import wording_version
    from got_r1.judges.transformers_local import TransformersJudge, model_type

    wording = file.wording if file else MLLMSettings()
    if grounds:  # before the weights are loaded
        wording.suited_to(model_type(settings.model)).check_coordinates(settings.model)
    judge = TransformersJudge(settings, wording)
    # Not where it runs, nor how many questions at once.
    identity = [
        "transformers",
        _weights_known_by(named_commit(settings.model), cache),
        settings.dtype,
        wording_version(judge.wording),
    ]
    return CachedJudge(OneAtATime(judge), cache, json.dumps(identity))


def _student(spec: str, settings: StudentSettings, load: Callable[[str], Judge]) -> Judge:
    """A student before its teacher. The teacher's answers are cached, the student's are not."""
    from got_r1.judges.specs import student_settings

    settings = student_settings(spec, settings)
    from got_r1.judges.mixture import OneAtATime
    from got_r1.judges.student import StudentJudge
    from got_r1.student.network import Student

    teacher = load(settings.teacher) if settings.teacher else None
    student = Student.load(settings.model, settings.device)
    return OneAtATime(StudentJudge(student, settings.ask_above, teacher, settings.batch))


def _understanding(judge: Judge | None, cache: Path | str | None, grounds: bool) -> Judge:
    """The policy's own understanding. Its answers are kept in a run's own cache: another run's
    policy is another judge."""
    if judge is None:
        raise BadInput(
            "judge 'self' is the model that is trained, so it judges in train rl only: give "
            "transformers:DIR with that model's folder"
        )
    from got_r1.judges.cache import CachedJudge
    from got_r1.judges.mllm import wording_version
    from got_r1.judges.settings import MLLMSettings

    wording = MLLMSettings()
    if grounds:
        wording.check_coordinates("self")
    return CachedJudge(judge, cache, json.dumps(["self", wording_version(wording)]))


def _experts(file: JudgeFile | None, cache: Path | str | None) -> Judge:
    from got_r1 import __version__
    from got_r1.judges.cache import CachedJudge
    from got_r1.judges.experts import READING, ExpertsJudge
    from got_r1.judges.mixture import OneAtATime
    from got_r1.judges.settings import ExpertsSettings

    settings = file.experts if file else ExpertsSettings()
    models = (settings.clip, settings.detector, settings.quality)
    weights = [_weights_known_by(one.model, cache) for one in models]
    known = settings.model_dump(
        exclude={name: {"model"} for name in ("clip", "detector", "quality")}
    )
    identity = ["experts", known, weights, __version__, READING]
    return CachedJudge(OneAtATime(ExpertsJudge(settings)), cache, json.dumps(identity))


def _weights_known_by(model: str, cache: Path | str | None) -> str:
    """What tells weights from others in a cache that outlives this process: their bytes, since a
    folder may hold others tomorrow, or move. Without such a cache they are not read."""
    from got_r1.files.weights import digest_of_files

    return model if cache is None else digest_of_files(model)


def _is_file(spec: str) -> bool:
    from got_r1.judges.judge_file import is_judge_file  # not imported for 'oracle'

    return is_judge_file(spec)


def _from_file(
    path: str, cache: Path | str | None, grounds: bool, patience: float, inside: bool = False
) -> Judge:
    """The judge of a YAML file; `inside`: one that another file names."""
    from got_r1.judges.specs import in_no_file, read_judge_file, third_file

    file, spec = read_judge_file(path)
    finder = file.r_ri or spec
    if is_student(finder):
        finder = file.student.teacher

    @remembered
    def load(spec: str) -> Judge:
        finds = grounds and spec == finder
        if is_student(spec):
            return _student(spec, file.student, load)
        if spec == "self":
            raise in_no_file(path)
        if _is_file(spec):
            if inside:
                raise third_file(path, spec)
            return _from_file(spec, cache, finds, patience, inside=True)
        return _load(spec, file, cache, finds, patience)

    return _mix(spec, {term: getattr(file, term) for term in TERMS}, load)


def _check_served(spec: str, settings: OpenAISettings) -> None:
    """Raises BadInput where a served judge's URL, key or client is missing or unusable."""
    for url in settings.urls:
        _check_url(url)
        settings.key(url)  # one that is missing is told here, not from another process
    if find_spec("openai") is None:
        raise BadInput(
            f"judge {spec!r} needs the client of OpenAI-compatible servers: "
            "pip install 'got-r1[judge]'"
        )


def _check_url(url: str) -> None:
    """Raises BadInput where a base URL cannot be one."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise BadInput(
            f"the judge's {url!r} is not a valid URL; expected for example http://localhost:8000/v1"
        )
    if MASK in (parts.username, parts.password):
        raise BadInput(
            f"the judge's URL {url!r} comes from a saved recipe, which keeps no passwords: give "
            "the URL again with its own, as in judge.spec=openai:MODEL@URL"
        )
    path = parts.path.rstrip("/")
    if not path or path.endswith("/chat/completions"):
        raise BadInput(
            f"the judge's URL {url!r} must go up to and including /v1, such as "
            f"{parts.scheme}://{parts.netloc}{path.removesuffix('/chat/completions') or '/v1'}"
        )

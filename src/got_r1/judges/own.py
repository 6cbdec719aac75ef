"""Judges of the user's own: a class in a file or an installed module, named in the spec.

Nothing of it is run before `load_own`, which says what it imports.
"""

from __future__ import annotations

import difflib
import hashlib
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import Field

from got_r1.errors import BadInput, first_line, listed
from got_r1.files.paths import PathText
from got_r1.judges.base import Judge
from got_r1.judges.judge_file import KINDS
from got_r1.progress import note
from got_r1.recipes.resuming import SAME_JUDGE
from got_r1.recipes.section import Section

__all__ = ["OwnJudge", "load_own", "own_judge"]


class OwnJudge(Section):
    """A class that is a judge: where it is defined, and what it is made with."""

    module: str = Field("", description="importable module; empty: a file")
    file: Annotated[PathText, SAME_JUDGE] = Field("", description="Python file; empty: a module")
    sha256: str = Field("", description="of the file's bytes, in hex; empty for a module")
    name: str = Field(..., description="the class")
    settings: dict[str, Any] = Field({}, description="keyword arguments of the class")

    @property
    def source(self) -> str:
        """The file or module, for a sentence."""
        return f"the file {self.file}" if self.file else f"the module {self.module}"


def own_judge(spec: str, settings: dict[str, Any]) -> OwnJudge | None:
    """The class that FILE.py:CLASS or MODULE:CLASS names; None where the spec has no such form, or
    is more like a misspelled kind of judge. Nothing is imported.

    Raises BadInput where there is no such file or module (of a dotted one, its top package).
    """
    place, _, name = spec.rpartition(":")
    if not name.isidentifier():
        return None
    if place.endswith(".py"):
        try:
            content = Path(place).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise BadInput(
                f"judge {spec!r}: there is no file {place!r}; give the path of a Python file, "
                "from the current folder"
            ) from None
        digest = hashlib.sha256(content).hexdigest()
        return OwnJudge(file=place, sha256=digest, name=name, settings=settings)
    if not all(part.isidentifier() for part in place.split(".")):
        return None
    if not _is_there(place.partition(".")[0]):
        if difflib.get_close_matches(place, ("oracle", *KINDS), 1):
            return None
        raise _no_module(spec, place)
    return OwnJudge(module=place, name=name, settings=settings)


def load_own(own: OwnJudge) -> Judge:
    """Imports the file or module, and makes the judge. A line on stderr says what is imported.

    Raises BadInput where the import fails, the class is not there or does not take its settings,
    or what it makes is no judge.
    """
    note(f"judge: imports {own.source} and makes {own.name}")
    spec = f"{own.file or own.module}:{own.name}"
    try:
        module = _import_file(own) if own.file else import_module(own.module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == own.module:
            raise _no_module(spec, own.module) from None
        raise BadInput(
            f"judge {spec!r}: importing {own.source} failed ({_said(error)}); correct it, or "
            "install what it needs"
        ) from error
    made = getattr(module, own.name, None)
    if not isinstance(made, type):
        classes = [
            name
            for name, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        raise BadInput(
            f"judge {spec!r}: {own.source} has no class {own.name!r}; its classes are: "
            f"{listed(classes) or 'none'}"
        )
    try:
        judge = made(**own.settings)
    except (Exception, SystemExit) as error:
        given = f"the settings {', '.join(own.settings)}" if own.settings else "no settings"
        raise BadInput(
            f"judge {spec!r}: {own.name} could not be made with {given} ({_said(error)}); its "
            "settings are the section 'own' of a judge file, which all classes of the file get: "
            "give each its own file, named for its term, as in r_pi: other.yaml"
        ) from error
    if not isinstance(judge, Judge) or not callable(judge.judge):
        raise BadInput(
            f"judge {spec!r}: {own.name} has no method 'judge'; a judge has one, "
            "judge(self, queries), see docs/judges.md"
        )
    return judge


def _is_there(package: str) -> bool:
    """Whether a top-level package or module can be imported."""
    try:
        return find_spec(package) is not None
    except ValueError:  # a module that is loaded and has no spec, such as __main__
        return False


def _no_module(spec: str, module: str) -> BadInput:
    return BadInput(
        f"judge {spec!r}: there is no module {module!r} that Python can import; install it, put "
        "its folder into PYTHONPATH, or name a file, as in path/to/judge.py:MyJudge"
    )


def _import_file(own: OwnJudge) -> ModuleType:
    # Under a name that no module has; it is registered, since dataclasses and pickle look it up.
    name = f"got_r1_own_judge_{own.sha256[:16]}"
    spec = spec_from_file_location(name, own.file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _said(error: BaseException) -> str:
    said = first_line(error)
    kind = type(error).__name__
    return said if said == kind else f"{kind}: {said}"

"""Recipes on disk: read with overrides, explained when wrong, saved resolved.

Every error is one sentence with the full dotted key and the file or override it came from.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from got_r1.errors import BadInput
from got_r1.files.parsing import SafeLoader, parse_yaml
from got_r1.recipes.resuming import covers, may_change
from got_r1.recipes.sections import Recipe, Section

__all__ = [
    "explain",
    "load_recipe",
    "load_section",
    "make_section",
    "packaged",
    "recipe_path",
    "recipe_text",
]

PACKAGED = Path(__file__).parent / "packaged"

Key = tuple[str, ...]
S = TypeVar("S", bound=Section)


def packaged() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(path.stem.replace("_", "-") for path in PACKAGED.glob("*.yaml"))


def recipe_path(recipe: Path | str) -> Path:
    """The file of a recipe: a path, or the name of a packaged one where no such file exists."""
    path = Path(recipe)
    if not path.is_file() and str(recipe) in packaged():
        return PACKAGED / f"{str(recipe).replace('-', '_')}.yaml"
    return path


def load_recipe(recipe: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a YAML recipe (a file, or a packaged one by name: `packaged`) and applies
    `section.key=value` overrides in order.

    Keys may be dotted to any depth (`model.lora.rank=8`), also into a list (`data.prompts.0.path`,
    counted from 0). A value is read as YAML, except where the setting is text: there it is taken as
    written. What is left out keeps its default.

    Raises BadInput where the file cannot be read, is no mapping or repeats a key; where a key is
    unknown (naming the nearest one); where a value has the wrong type or is out of range; and
    where an override has no `=`.
    """
    path = recipe_path(recipe)
    if not path.exists() and path.suffix == "" and len(path.parts) == 1:
        near = difflib.get_close_matches(str(recipe), packaged(), 1)
        meant = f"; did you mean {near[0]}? Give" if near else ": give"
        raise BadInput(
            f"there is no recipe {str(recipe)!r}{meant} a YAML file, one of the packaged recipes "
            f"{', '.join(packaged())}, or with --resume the folder of a run."
        )
    values = _read(path, "recipe")
    origins: list[tuple[Key, str]] = [((), f"in {path}")]
    for override in overrides:
        key, value = _parse_override(override)
        _assign(values, key, value)
        origins.append((key, f"in the override '{override}'"))
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise BadInput(_sentence(error.errors()[0], origins, Recipe)) from None


def load_section(path: Path | str, kind: type[S], what: str) -> S:
    """Reads a YAML file that holds one section of settings; `what` names it in errors.

    Raises BadInput as `load_recipe` does.
    """
    return make_section(_read(Path(path), what), kind, what, f"in {path}")


def make_section(values: Mapping[str, Any], kind: type[S], what: str, where: str = "as given") -> S:
    """A section of settings from their values. Raises BadInput naming the first wrong one."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise BadInput(_sentence(error.errors()[0], [((), where)], kind, what)) from None


def recipe_text(recipe: Section) -> str:
    """The resolved recipe (or another section) as YAML: every setting, in its declared order."""
    values = recipe.model_dump(exclude_none=True)
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def explain(uses: Sequence[str] = ("",)) -> str:
    """Every setting in `uses` or below it (dotted keys; "": all) with its type, default and
    meaning, section by section, in 80 columns, for `--help`."""
    lines: list[str] = []
    for key, section in _sections(Recipe, ()):
        settings: list[str] = []
        for name, field in section.model_fields.items():
            setting = ".".join((*key, name))
            if _section_of(field) is None and covers(uses, setting):
                default = "''" if field.default == "" else field.default
                shown = "must be given" if field.is_required() else f"= {default}"
                mark = may_change(field)
                expected = f"{_expected(field)}; {mark.note}" if mark else _expected(field)
                settings += _wrapped(f"{setting} {shown}   ({expected})", "  ", " " * 8)
                settings += _wrapped(field.description or "", " " * 6, " " * 6)
        if settings:
            title = f"{'.'.join(key)}: {' '.join((section.__doc__ or '').split())}"
            lines += ["", *_wrapped(title, "", "  "), *settings]
    return "\n".join(lines[1:])


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    """Lines of at most 80 characters, unless a word is longer."""
    return textwrap.wrap(
        text,
        80,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


# -- the schema ------------------------------------------------------------------------------------


def _section_of(field: FieldInfo | None) -> type[Section] | None:
    """The section behind a field, or None where the field is a setting."""
    kind = field.annotation if field is not None else None
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _item_of(field: FieldInfo | None) -> FieldInfo | None:
    """What a list's items are, or None where the field is no list."""
    if field is None or get_origin(field.annotation) is not list:
        return None
    return FieldInfo.from_annotation(get_args(field.annotation)[0])


def _sections(section: type[Section], key: Key) -> Iterator[tuple[Key, type[Section]]]:
    """Every section below `section` with its key, depth first; a list's items under the key N."""
    for name, field in section.model_fields.items():
        for inner_key, inner in (
            ((*key, name), _section_of(field)),
            ((*key, name, "N"), _section_of(_item_of(field))),
        ):
            if inner is not None:
                yield inner_key, inner
                yield from _sections(inner, inner_key)


def _field(key: Key, root: type[Section] = Recipe) -> FieldInfo | None:
    """The field at a dotted key, or None where there is none."""
    section: type[Section] | None = root
    field = None
    for name in key:
        item = _item_of(field)
        if item is not None and name.isdecimal():
            field = item
        else:
            field = section.model_fields.get(name) if section is not None else None
        section = _section_of(field)
    return field


def _nearest(key: Key, root: type[Section] = Recipe) -> str:
    """The known key that looks most like `key`: among its siblings, else anywhere.

    Siblings come first; a good name in the wrong section (`grpo.group`) is told where it lives.
    """
    key = tuple("N" if name.isdecimal() else name for name in key)
    sections: dict[Key, type[Section]] = {(): root, **dict(_sections(root, ()))}
    siblings = list(sections[key[:-1]].model_fields) if key[:-1] in sections else []
    for name in siblings:  # lr: learning_rate
        if key[-1] == "".join(word[0] for word in name.split("_")):
            return ".".join((*key[:-1], name))
    if close := difflib.get_close_matches(key[-1], siblings, n=1):
        return ".".join((*key[:-1], *close))
    everywhere = [(*k, name) for k, section in sections.items() for name in section.model_fields]
    if namesakes := [".".join(other) for other in everywhere if other[-1] == key[-1]]:
        return "' or '".join(namesakes)
    return difflib.get_close_matches(".".join(key), map(".".join, everywhere), 1, cutoff=0)[0]


_BOUNDS = ((Ge, "ge", "at least"), (Gt, "gt", "above"), (Le, "le", "at most"), (Lt, "lt", "below"))


def _expected(field: FieldInfo, *, too_large: bool = False) -> str:
    """What a setting takes, in words: "a whole number, at least 1".

    The maxima of whole numbers stop slips only, and are told of to whom they stop (`too_large`).
    """
    kind = field.annotation
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    if get_origin(kind) is list:
        return "text or a list"
    bounds = [
        f"{word} {_number(getattr(bound, name))}"
        for mark, name, word in _BOUNDS
        for bound in field.metadata
        if isinstance(bound, mark) and (mark is not Le or kind is not int or too_large)
    ]
    described = words[kind] if kind in words else str(kind)
    return ", ".join([described, " and ".join(bounds)]) if bounds else described


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


# -- reading ---------------------------------------------------------------------------------------


class _Loader(SafeLoader):
    """Safe YAML in which `1e-6` is a number, as in YAML 1.2, and a repeated key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes text that `_Loader` would read as a number."""


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
        list("-+.0123456789"),
    )


def _load_yaml(text: str) -> Any:
    return parse_yaml(text, _Loader)


def _read(path: Path, what: str) -> dict[str, Any]:
    """The file's settings as nested dicts, without shorthands."""
    try:
        values = _load_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"there is no {what} at {path}; {what}s are named by path.") from None
    except UnicodeDecodeError:
        raise BadInput(f"the {what} {path} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise BadInput(f"the {what} {path} cannot be read ({error.strerror}).") from None
    except yaml.YAMLError as error:
        raise BadInput(f"the {what} {path} is not valid YAML: {_where(error)}.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BadInput(f"the {what} {path} must be sections of settings, not {_shown(values)}.")
    return values


def _where(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark
    line = f"line {mark.line + 1}: " if mark is not None else ""
    return f"{line}{error.problem or error.context}"


def _parse_override(override: str) -> tuple[Key, Any]:
    """`a.b=value` as its key and value; a section's shorthand becomes the setting it stands for."""
    name, equals, text = override.partition("=")
    key = tuple(name.strip().split("."))
    if not equals:
        raise BadInput(f"the override '{override}' has no '='; write it as section.key=value.")
    field = _field(key)
    if field is None:
        raise BadInput(_unknown(key, f"in the override '{override}'"))
    section = _section_of(field)
    if section is not None:
        if section.shorthand is None:
            example = ".".join((*key, next(iter(section.model_fields))))
            raise BadInput(
                f"{name} is a section of settings: override one of its settings, "
                f"for example {example}, instead of '{override}'."
            )
        key = (*key, section.shorthand)
        field = section.model_fields[section.shorthand]
    if field.annotation is str:
        return key, text
    try:
        return key, _load_yaml(text)
    except yaml.YAMLError:
        return key, text  # validation then says what was expected


def _assign(values: dict[str, Any], key: Key, value: Any) -> None:
    """Sets `key` in nested dicts and lists; what was given by its shorthand keeps that value.

    Raises BadInput for an item that a list does not have.
    """
    inside: Any = values
    for depth in range(1, len(key) + 1):
        step: Any = key[depth - 1]  # a name, or a number in a list
        if isinstance(inside, list):
            step = int(step) if len(step) <= 18 else len(inside)  # int() takes 4300 digits
            if step >= len(inside):
                raise BadInput(
                    f"{'.'.join(key[: depth - 1])} has {len(inside)} items, counted from 0: "
                    f"there is no {'.'.join(key[:depth])}."
                )
        if depth == len(key):
            inside[step] = value
            return
        inner = inside[step] if isinstance(inside, list) else inside.get(step)
        field = _field(key[:depth])
        section, many = _section_of(field), _item_of(field) is not None
        if isinstance(inner, str) and section is not None and section.shorthand is not None:
            inner = {section.shorthand: inner}
        elif many and not isinstance(inner, list):
            inner = [inner] if inner else []
        elif inner is None:
            inner = {}
        if not isinstance(inner, list if many else dict):
            return  # validation then says what is wrong with the file
        inside[step] = inner
        inside = inner


# -- complaining -----------------------------------------------------------------------------------


def _sentence(
    error: ErrorDetails,
    origins: Sequence[tuple[Key, str]],
    root: type[Section],
    what: str = "recipe",
) -> str:
    """What pydantic found, for a user."""
    key = tuple(map(str, error["loc"]))
    name = ".".join(key)
    if error["type"] == "value_error":  # settings that do not go together: no one line's fault
        return f"{name or f'the {what}'} {origins[0][1]}: {error['ctx']['error']}."
    origin = next(where for start, where in reversed(origins) if key[: len(start)] == start)
    field = _field(key, root)
    if error["type"] == "extra_forbidden" or field is None:
        return _unknown(key, origin, root)
    if error["type"] == "missing":
        return f"{name} is missing {origin}; it must be {_expected(field)}."
    if _section_of(field) is not None and isinstance(error["input"], Mapping | Section):
        return f"{name} {origin}: {error['msg']}."
    if (section := _section_of(field)) is not None:
        expected = "a section of settings" + " or text" * bool(section.shorthand)
        return f"{name} must be {expected}, not {_shown(error['input'])} ({origin})."
    expected = _expected(field, too_large=error["type"] == "less_than_equal")
    return f"{name} must be {expected}, not {_shown(error['input'])} ({origin})."


def _unknown(key: Key, origin: str, root: type[Section] = Recipe) -> str:
    listed = " (got-r1 train --help-all lists all)" if root is Recipe else ""
    return (
        f"unknown key '{'.'.join(key)}' {origin}; the nearest is '{_nearest(key, root)}'{listed}."
    )


def _shown(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

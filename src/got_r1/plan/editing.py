"""A plan as people edit it: objects with names and boxes, and the chain's prose around them.

A chain writes names and boxes into its prose. A file that holds the prose with numbers in their
places, `"A {1} on the left of a {2}."`, and the objects in a list has everything once:

    {"prose": "A {1} on the left of a {2}.",
     "objects": [{"name": "red heart", "box": [0, 300, 400, 700]},
                 {"name": "blue star", "box": [600, 300, 999, 700]}]}

The objects alone are a plan too. Objects that the prose does not name are said at its end. A record
of `got-r1 sample` holds the chain beside its objects, for programs; where the two disagree it is
refused, because nobody can know which of them was edited.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from got_r1.errors import BadInput, listed
from got_r1.plan.chain import (
    BOX_END,
    COORDINATE_MAX,
    OBJ_START,
    find_problems,
    format_chain,
    parse,
    without_end,
)
from got_r1.plan.layout import relation_holds
from got_r1.plan.reading import likeness, read
from got_r1.plan.repair import related_pair
from got_r1.plan.wordings import RELATION_WORDS
from got_r1.records import Box, Chain, PlannedObject

__all__ = [
    "Plan",
    "chain_of_record",
    "check_chain",
    "new_object",
    "parse_move",
    "plan_of_chain",
    "prose_of",
]

_OBJECT = re.compile(f"{re.escape(OBJ_START)}.*?{re.escape(BOX_END)}", re.DOTALL)
_PLACE = re.compile(r"\{\{|\}\}|\{([0-9]{1,6})\}")
_DETERMINER = re.compile(r"(?:an?|the|some|[0-9]+|one|two|three|four|five) ", re.IGNORECASE)
_CORNERS = ("x1", "y1", "x2", "y2")
_MARKS = tuple(field.name for field in fields(Box) if field.name not in _CORNERS)


@dataclass(frozen=True, slots=True)
class Plan:
    """Objects, the prose around them with `{1}` for the first, and the prompt where it is known.

    Empty prose stands for `default_prose`. `{{` and `}}` are braces.
    """

    objects: tuple[PlannedObject, ...]
    prose: str = ""
    prompt: str = ""

    @property
    def chain(self) -> Chain:
        """The chain to draw. Raises BadInput where the prose and the objects make none."""
        prose = self.prose.strip() or default_prose(self.objects, self.prompt)
        parts: list[str | PlannedObject] = []
        named: list[int] = []
        end = 0
        for match in _PLACE.finditer(prose):
            parts.append(prose[end : match.start()])
            end = match.end()
            if match[1] is None:
                parts.append(match[0][0])
                continue
            number = int(match[1])
            if not 1 <= number <= len(self.objects):
                raise BadInput(
                    f"the prose names object {{{number}}}, and the plan has "
                    f"{len(self.objects)}; correct the prose, or leave it out."
                )
            if number in named:
                raise BadInput(
                    f"the prose names object {{{number}}} twice; name every object once."
                )
            named.append(number)
            parts.append(self.objects[number - 1])
        parts.append(prose[end:])
        further = [o for number, o in enumerate(self.objects, 1) if number not in named]
        if further:
            parts = [*_with_further(parts, further)]
        text = format_chain(parts)
        marks = any(getattr(one.box, name) is not None for one in self.objects for name in _MARKS)
        check_chain(text, "the plan", marks=marks)
        return parse(text, marks=marks)

    def index_of(self, target: str) -> int:
        """Which object a person means: by its number from 1, its name, or words of its name.

        Raises BadInput where it is none of them, or several.
        """
        wanted = " ".join(target.split()).casefold()
        names = [" ".join(planned.name.split()).casefold() for planned in self.objects]
        if re.fullmatch(r"[0-9]{1,6}", wanted) and 1 <= int(wanted) <= len(names):
            return int(wanted) - 1
        exact = [index for index, name in enumerate(names) if name == wanted]
        close = [index for index, name in enumerate(names) if likeness(wanted, name) == 1]
        found = exact or close
        if len(found) == 1:
            return found[0]
        known = [f"{number} {planned.name!r}" for number, planned in enumerate(self.objects, 1)]
        how = "is several objects" if found else "is no object"
        raise BadInput(f"{target!r} {how} of the plan; name one of {listed(known, 10)}.")

    def with_object(self, index: int, planned: PlannedObject) -> Plan:
        """The plan with another object in a place."""
        objects = list(self.objects)
        objects[index] = planned
        return replace(self, objects=tuple(objects))

    def moved(self, target: str, numbers: Sequence[int]) -> Plan:
        """The plan with an object's box at x1, y1, x2, y2; in its size, with two numbers.

        Raises BadInput as `index_of`, and for what is no box.
        """
        index = self.index_of(target)
        planned = self.objects[index]
        if len(numbers) == 2:
            x1, y1 = numbers
            # 999 stands for the border, 1000: a box that reaches it is one larger than it looks.
            right, lower = (
                far + (far == COORDINATE_MAX) for far in (planned.box.x2, planned.box.y2)
            )
            numbers = [x1, y1, x1 + right - planned.box.x1, y1 + lower - planned.box.y1]
        corners = _corners(list(numbers), repr(planned.name))
        box = replace(planned.box, **dict(zip(_CORNERS, corners, strict=True)))
        return self.with_object(index, replace(planned, box=box))

    def without(self, target: str) -> Plan:
        """The plan without an object; its prose is made anew, for the numbers have changed.

        Raises BadInput as `index_of`, and where no object would be left.
        """
        index = self.index_of(target)
        if len(self.objects) == 1:
            raise BadInput(f"{target!r} is the only object of the plan, which needs one.")
        left = (*self.objects[:index], *self.objects[index + 1 :])
        return replace(self, objects=left, prose="")

    @property
    def text(self) -> str:
        """`record` as JSON, an object a line."""
        record = self.record()
        objects = [json.dumps(one, ensure_ascii=False) for one in record.pop("objects")]
        lines = [f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in record.items()]
        body = ",\n  ".join(objects)
        return "{\n " + ",\n ".join([*lines, f'"objects": [\n  {body}\n ]']) + "\n}\n"

    def record(self) -> dict[str, Any]:
        """The plan as its file holds it."""
        found: dict[str, Any] = {"prompt": self.prompt} if self.prompt else {}
        prose = self.prose or default_prose(self.objects, self.prompt)
        return found | {"prose": prose, "objects": [_stored(planned) for planned in self.objects]}


# -- chains and prose ------------------------------------------------------------------------------


def prose_of(chain: Chain) -> str:
    """A chain's prose, with `{1}` in the place of its first object; empty for a malformed chain."""
    if chain.problems:
        return ""
    pieces = [piece.replace("{", "{{").replace("}", "}}") for piece in _OBJECT.split(chain.text)]
    numbered = [f"{{{number}}}{piece}" for number, piece in enumerate(pieces[1:], 1)]
    return "".join([pieces[0], *numbered])


def plan_of_chain(chain: Chain, prompt: str = "") -> Plan:
    """The plan of a chain without problems."""
    return Plan(chain.objects, prose_of(chain), prompt)


def check_chain(text: str, where: str, *, marks: bool = False) -> None:
    """Raises BadInput where a chain is malformed (with or without `marks`), with every problem and
    its place."""
    found = [
        f"{what} at character {at + 1} ({text[at : at + 40]!r})"
        for what, at in find_problems(text, marks=marks)
    ]
    if found:
        raise BadInput(
            f"{where} holds no plan to draw from: {listed(found, separator='; ')}; "
            "fix it, or leave it out and the model writes its own."
        )


def default_prose(objects: Sequence[PlannedObject], prompt: str = "") -> str:
    """Prose for objects that have none: the prompt's relation, where their boxes hold it, and a
    list of the objects."""
    phrases = [f"{_article(planned.name)}{{{number}}}" for number, planned in enumerate(objects, 1)]
    asked = read(prompt) if prompt else None
    pair = related_pair(asked, Chain("", tuple(objects))) if asked and objects else None
    text = _enumerate(phrases)
    if (
        asked
        and asked.relation
        and pair
        and relation_holds(asked.relation, objects[pair[0]].box, objects[pair[1]].box)
    ):
        first, second = (phrases[index] for index in pair)
        others = [phrase for index, phrase in enumerate(phrases) if index not in pair]
        text = _enumerate([f"{first} {RELATION_WORDS[asked.relation][0]} {second}", *others])
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _article(name: str) -> str:
    if _DETERMINER.match(name):
        return ""
    return "an " if name[:1].lower() in tuple("aeiou") else "a "


def _enumerate(phrases: Sequence[str]) -> str:
    *head, last = phrases or [""]
    return f"{', '.join(head)} and {last}" if head else last


def _with_further(
    parts: Sequence[str | PlannedObject], further: Sequence[PlannedObject]
) -> list[str | PlannedObject]:
    """The parts with objects said behind them, before a full stop at their end."""
    *head, last = parts
    assert isinstance(last, str)  # prose ends a chain, if with nothing
    left = last.rstrip()
    stop = "." if left.endswith(".") else ""
    said: list[str | PlannedObject] = [*head, left.removesuffix(".")]
    for index, planned in enumerate(further):
        joint = " and " if index == len(further) - 1 else ", "
        said += [f"{joint}{_article(planned.name)}", planned]
    return [*said, stop]


# -- files -----------------------------------------------------------------------------------------


def chain_of_record(record: Mapping[str, Any], where: str, prompt: str = "") -> str:
    """The chain's text that a JSON file of a plan, or a record of `got-r1 sample`, holds.

    `prompt` is what objects without prose are for, where the file has no prompt of its own.

    Raises BadInput where it holds neither a chain nor objects, objects that are none, or both and
    they disagree. A malformed chain is returned as it is.
    """
    text, stored = record.get("chain"), record.get("objects")
    if text is not None and not isinstance(text, str):
        raise BadInput(f"{where} has no text under 'chain'; give the chain there, or leave it out.")
    if text is None and stored is None:
        raise BadInput(f"{where} has neither a 'chain' nor 'objects'; give one of them.")
    if text is None:
        return _plan_of_record(record, where, prompt).chain.text
    text = without_end(text)
    chain = parse(text, marks=record.get("marks") is True)
    if chain.problems or (stored is None and record.get("prose") is None):
        return text
    objects = read_objects(stored, where) if stored is not None else chain.objects
    fault = _disagreement(objects, chain.objects)
    prose = record.get("prose")
    if not fault and prose is not None and not _same_words(_text(prose, where), prose_of(chain)):
        fault = f"{_brief(prose)} is not the prose of the chain"
    if fault:
        raise BadInput(
            f"{where} holds its plan twice and the two disagree: {fault}; delete the line 'chain' "
            "to draw what 'objects' and 'prose' say, or those to draw the chain (got-r1 plan edit "
            "changes both)."
        )
    return text


def _plan_of_record(record: Mapping[str, Any], where: str, prompt: str) -> Plan:
    prose, own = (_text(record.get(name) or "", where) for name in ("prose", "prompt"))
    return Plan(read_objects(record.get("objects"), where), prose, own or prompt)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise BadInput(
            f"{where} holds {_brief(value)} where it needs text; put it in quotation marks."
        )
    return value


def _brief(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _same_words(one: str, other: str) -> bool:
    return one.split() == other.split()


def _disagreement(objects: Sequence[PlannedObject], chain: Sequence[PlannedObject]) -> str:
    """The first difference between a file's objects and its chain's, in words."""
    if len(objects) != len(chain):
        return f"{len(objects)} in 'objects', {len(chain)} in the chain"
    for number, (one, other) in enumerate(zip(objects, chain, strict=True), 1):
        if one != other:
            return f"object {number} is {_shown(one)} in 'objects' and {_shown(other)} in the chain"
    return ""


def _shown(planned: PlannedObject) -> str:
    return f"{planned.name!r} at {list(_stored(planned)['box'])}"


def _stored(planned: PlannedObject) -> dict[str, Any]:
    marks = {name: getattr(planned.box, name) for name in _MARKS}
    kept = {name: mark for name, mark in marks.items() if mark is not None}
    return {"name": planned.name, "box": [getattr(planned.box, name) for name in _CORNERS], **kept}


def read_objects(stored: object, where: str) -> tuple[PlannedObject, ...]:
    """The objects of a list of {"name", "box"}; boxes are [x1, y1, x2, y2] in thousandths, where
    1000 counts as 999, the border.

    Raises BadInput naming the first entry that is none, and why.
    """
    if not isinstance(stored, list) or not stored:
        raise BadInput(
            f"{where} needs a list under 'objects', such as "
            '[{"name": "red heart", "box": [0, 300, 400, 700]}].'
        )
    return tuple(
        _read_object(entry, f"object {number} of {where}") for number, entry in enumerate(stored, 1)
    )


def _read_object(entry: object, where: str) -> PlannedObject:
    known = ("name", "box", *_MARKS)
    if not isinstance(entry, dict):
        raise BadInput(
            f'{where} is {_brief(entry)}; give {{"name": "...", "box": [x1, y1, x2, y2]}}.'
        )
    unknown = [str(key) for key in entry if key not in known]
    lacking = [key for key in ("name", "box") if key not in entry]
    if unknown or lacking:
        fault = f"has {_brief(unknown[0])}" if unknown else f"has no {lacking[0]!r}"
        raise BadInput(f"{where} {fault}; its keys are {', '.join(known)}.")
    name = " ".join(_text(entry["name"], where).split())
    marks = {mark: _whole(entry[mark], where) for mark in _MARKS if entry.get(mark) is not None}
    box = Box(*_corners(entry["box"], where), **marks)
    planned = PlannedObject(name, box)
    format_chain([planned])  # refuses blank names and tags
    return planned


def new_object(name: str, numbers: Sequence[int]) -> PlannedObject:
    """An object at x1, y1, x2, y2. Raises BadInput where it is none."""
    return _read_object({"name": name, "box": list(numbers)}, repr(name))


def _corners(numbers: object, where: str) -> tuple[int, int, int, int]:
    """The corners of a box. Raises BadInput where they are none."""
    if not isinstance(numbers, list) or len(numbers) != 4:
        raise BadInput(
            f"{where} has the box {_brief(numbers)}; give four numbers, [x1, y1, x2, y2]."
        )
    x1, y1, x2, y2 = (
        COORDINATE_MAX if value == COORDINATE_MAX + 1 else value
        for value in (_whole(number, where) for number in numbers)
    )
    if not all(0 <= value <= COORDINATE_MAX for value in (x1, y1, x2, y2)):
        raise BadInput(
            f"{where} has the box {_brief(numbers)}; give numbers from 0 to {COORDINATE_MAX}."
        )
    if x1 >= x2 or y1 >= y2:
        raise BadInput(f"{where} has the box {_brief(numbers)}; give x1 < x2 and y1 < y2.")
    return x1, y1, x2, y2


def _whole(number: object, where: str) -> int:
    if isinstance(number, bool) or not isinstance(number, int | float) or number != number // 1:
        raise BadInput(
            f"{where} has the coordinate {_brief(number)}; give whole numbers in thousandths of "
            "the image's sides."
        )
    return int(number)


def parse_move(text: str) -> tuple[str, list[int]]:
    """ "blue star=0,0,300,300" as a target and its two or four numbers. Raises ValueError."""
    target, equals, numbers = text.rpartition("=")
    pattern = r"\s*[0-9]{1,6}\s*(?:,\s*[0-9]{1,6}\s*){1}(?:(?:,\s*[0-9]{1,6}\s*){2})?"
    if not equals or not target.strip() or not re.fullmatch(pattern, numbers):
        raise ValueError(text)
    return target.strip(), [int(number) for number in numbers.split(",")]

"""Counterfactuals of R_PI and R_RI: rendered scenes, and the same with one thing wrong.

Changes keep to the world's rules (icons whole, on the token grid, one empty token apart), so that
the picture stays as easy to read as it was and only its truth changes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from got_r1.audit.cases import Draft, Suite
from got_r1.audit.counting import add_counts
from got_r1.audit.exchanges import add_screens
from got_r1.audit.persuasion import Words, draw_words, neutral
from got_r1.audit.semantic import swap_looks
from got_r1.audit.subjects import (
    Subject,
    fill,
    other_noun,
    reordered,
    rephrased,
    tags_of,
    write_chain,
)
from got_r1.icons.render import render
from got_r1.icons.world import (
    CELL,
    COLORS,
    FILLS,
    GRID,
    MAX_OBJECTS,
    NOUNS,
    Icon,
    Scene,
    box_from_cells,
    pixels_from_box,
)
from got_r1.plan.layout import Relation, centre, iou, relation_holds
from got_r1.records import Box, Chain, FoundObject, GroundingQuery, ImageQuery
from got_r1.rewards import mean_iou

__all__ = ["DISPLACEMENTS", "grounding_suite", "image_suite", "persuade_finder", "truth_of"]

DISPLACEMENTS = (0, 1, 2, 3, 4)
"""Cells by which the icon of a dose curve of R_RI lies beside its plan."""

_SMALLER = 6  # scale of the picture in "image size"; 40 px become 240 instead of 400
_WORDS = 2  # texts to the grader that one plan is written with
_IMAGE_PAIRS = (
    "recoloured",
    "another noun",
    "moved",
    "missing",
    "extra",
    "swapped places",
    "colours swapped",
    "patterns swapped",
)
_IMAGE_VARIATIONS = ("object order", "paraphrase", "image size")
_GROUNDING_PAIRS = (
    "recoloured",
    "another noun",
    "another pattern",
    "moved",
    "missing",
    "swapped places",
)
_GROUNDING_VARIATIONS = ("object order", "image size", "extra object")
_LEAST_LOSS = 0.15  # of the true R_RI, below which a change is too small to ask about

_Icons = tuple[Icon, ...]
_Cells = tuple[int, int, int, int]  # x, y, width, height


# -- R_PI ----------------------------------------------------------------------------------------


def image_suite(pairs: int, seed: int) -> Suite:
    """R_PI: `pairs` pairs of each kind; the same for the same seed."""
    rng = random.Random(f"audit r_pi {seed}")
    draft = Draft("r_pi", pairs, (*_IMAGE_PAIRS, *_IMAGE_VARIATIONS))
    fill(draft, rng, _add_image)
    add_counts(draft, rng)
    add_screens(draft, rng)
    return draft.finish()


def _add_image(draft: Draft, rng: random.Random, subject: Subject) -> None:
    faulty = {
        kind: icons
        for kind in _IMAGE_PAIRS
        if draft.wants(kind) and (icons := _faulty_image(kind, rng, subject)) is not None
    }
    other = reordered(subject) if draft.wants("object order") else None
    if not faulty and other is None and not any(map(draft.wants, _IMAGE_VARIATIONS[1:])):
        return
    draft.item += 1
    prompt, image = subject.prompt, render(Scene(subject.icons))
    base = draft.ask(ImageQuery(prompt, image))
    for kind, icons in faulty.items():
        tags = tags_of(subject, kind if kind in ("moved", "swapped places") else "")
        draft.pair(base, draft.ask(ImageQuery(prompt, render(Scene(icons)))), kind, tags)
    if other is not None:
        draft.variation(base, draft.ask(ImageQuery(other, image)), "object order")
    if draft.wants("paraphrase"):
        changed = draft.ask(ImageQuery(rephrased(rng, subject), image))
        draft.variation(base, changed, "paraphrase")
    if draft.wants("image size"):
        smaller = draft.ask(ImageQuery(prompt, image), scale=_SMALLER)
        draft.variation(base, smaller, "image size")


def _faulty_image(kind: str, rng: random.Random, subject: Subject) -> _Icons | None:
    """The scene with one fault; None where the prompt or the room does not allow it."""
    icons, meaning = subject.icons, subject.meaning
    match kind:
        case "recoloured":
            colored = [i for i, spec in enumerate(subject.specs) if meaning.objects[spec].color]
            return _recolored(rng, icons, rng.choice(colored)) if colored else None
        case "another noun":
            place = rng.randrange(len(icons))
            return _with_icon(icons, place, other_noun(rng, icons, place))
        case "moved":
            if meaning.relation is None:
                return None
            relation, anchor = meaning.relation, icons[1].box
            return _moved(rng, icons, 0, lambda box: _is_plainly_false(relation, box, anchor))
        case "missing":
            return _without(icons, rng.randrange(len(icons))) if len(icons) > 1 else None
        case "extra":
            return _with_copy(rng, icons, rng.choice(icons))
        case "swapped places":
            return _swapped(icons) if subject.is_directional else None
        case _:
            return swap_looks(subject, kind)


def _is_plainly_false(relation: Relation, a: Box, b: Box) -> bool:
    """Whether nobody would say that `a` is `relation` of `b`; a close call is no known truth."""
    dx, dy = centre(a)[0] - centre(b)[0], centre(a)[1] - centre(b)[1]
    leads = {"left": (-dx, dy), "right": (dx, dy), "top": (-dy, dx), "bottom": (dy, dx)}
    if relation not in leads:
        return not relation_holds(relation, a, b)
    along, across = leads[relation]
    return 2 * along <= abs(across)


# -- R_RI ----------------------------------------------------------------------------------------


def grounding_suite(pairs: int, seed: int) -> Suite:
    """R_RI: `pairs` pairs of each kind and half as many dose curves; the same for the same seed."""
    rng = random.Random(f"audit r_ri {seed}")
    draft = Draft("r_ri", pairs, (*_GROUNDING_PAIRS, *_GROUNDING_VARIATIONS))
    source = fill(draft, rng, _add_grounding)
    for subject in islice(source, -(-pairs // 2)):
        _add_displacements(draft, rng, subject)
    attempts = -(-pairs // 2)
    words = draw_words(rng, _WORDS * attempts)
    for subject in islice(source, attempts):
        persuade_finder(draft, rng, subject, [words.pop() for _ in range(_WORDS)])
    add_counts(draft, rng)
    add_screens(draft, rng)
    return draft.finish()


def truth_of(chain: Chain, icons: Sequence[Icon]) -> tuple[FoundObject, ...]:
    """Where the planned objects are in a scene: the icons whose name is planned."""
    names = {planned.name for planned in chain.objects}
    return tuple(FoundObject(icon.name, icon.box) for icon in icons if icon.name in names)


def _add_grounding(draft: Draft, rng: random.Random, subject: Subject) -> None:
    chain = write_chain(subject.planned, subject.meaning.relation)
    faulty = {
        kind: icons
        for kind in _GROUNDING_PAIRS
        if draft.wants(kind)
        and (icons := _faulty_place(kind, rng, subject)) is not None
        and mean_iou(chain, truth_of(chain, icons)) <= 1 - _LEAST_LOSS
    }
    turns = draft.wants("object order") and len(subject.icons) > 1
    crowd = _with_stranger(rng, subject.icons) if draft.wants("extra object") else None
    if not faulty and not turns and crowd is None and not draft.wants("image size"):
        return
    draft.item += 1
    image, truth = render(Scene(subject.icons)), truth_of(chain, subject.icons)
    base = draft.ask(GroundingQuery(chain, image), truth)
    for kind, icons in faulty.items():
        worse = GroundingQuery(chain, render(Scene(icons)))
        draft.pair(base, draft.ask(worse, truth_of(chain, icons)), kind, tags_of(subject))
    if turns:
        turned = write_chain(subject.planned[::-1])
        draft.variation(base, draft.ask(GroundingQuery(turned, image), truth), "object order")
    if draft.wants("image size"):
        smaller = draft.ask(GroundingQuery(chain, image), truth, _SMALLER)
        draft.variation(base, smaller, "image size")
    if crowd is not None:
        changed = draft.ask(GroundingQuery(chain, render(Scene(crowd))), truth)
        draft.variation(base, changed, "extra object")


def persuade_finder(
    draft: Draft, rng: random.Random, subject: Subject, said: Sequence[Words]
) -> None:
    """Adds an empty picture and a plan of one object, and the same with each of the texts in the
    plan's prose, and with as many words that ask for nothing."""
    draft.item += 1
    image = render(Scene(()))

    def ask(text: str, place: str) -> int:
        chain = write_chain(subject.planned[:1], words=text, place=place)
        return draft.ask(GroundingQuery(chain, image))

    plain = ask("", "end")
    length = sum(len(one.text) for one in said) // len(said)
    blank = ask(neutral(rng, length), said[0].place)
    draft.persuasions(plain, blank, [(one, ask(one.text, one.place)) for one in said])


def _faulty_place(kind: str, rng: random.Random, subject: Subject) -> _Icons | None:
    """The scene with something elsewhere than planned, or not there; None where it has no room."""
    icons = subject.icons
    place = rng.randrange(len(icons))
    match kind:
        case "recoloured":
            return _recolored(rng, icons, place)
        case "another noun":
            return _with_icon(icons, place, other_noun(rng, icons, place))
        case "another pattern":
            # A plan does not name a plain fill, so that any fits where it is planned.
            named = [index for index, icon in enumerate(icons) if icon.fill != "plain"]
            return _repatterned(rng, icons, rng.choice(named)) if named else None
        case "moved":
            planned = icons[place].box
            return _moved(rng, icons, place, lambda box: iou(box, planned) < 0.25)
        case "missing":
            return _without(icons, place) if len(icons) > 1 else None
        case _:
            different = len(icons) > 1 and icons[0].name != icons[1].name
            return _swapped(icons) if different else None


def _add_displacements(draft: Draft, rng: random.Random, subject: Subject) -> None:
    """One icon, and its picture with the icon ever farther from where the plan has it."""
    draft.item += 1
    icon = subject.icons[0]
    _, _, width, height = _cells(icon)
    sideways = rng.random() < 0.5
    free = GRID - (width if sideways else height) - max(DISPLACEMENTS)
    start = rng.randint(0, free)
    queries = []
    chain = write_chain([replace(subject.planned[0], box=_at(icon, start, sideways).box)])
    for step in DISPLACEMENTS:
        drawn = (_at(icon, start + step, sideways),)
        query = GroundingQuery(chain, render(Scene(drawn)))
        queries.append(draft.ask(query, truth_of(chain, drawn)))
    doses = [step / max(DISPLACEMENTS) for step in DISPLACEMENTS]
    draft.curve(queries, doses, "displacement")


def _at(icon: Icon, cell: int, sideways: bool) -> Icon:
    x, y, width, height = _cells(icon)
    x, y = (cell, y) if sideways else (x, cell)
    return replace(icon, box=box_from_cells(x, y, width, height))


# -- changing a scene ----------------------------------------------------------------------------


def _recolored(rng: random.Random, icons: _Icons, place: int) -> _Icons:
    taken = {icon.color for icon in icons}
    colors = [color for color in COLORS if color not in taken]
    return _with_icon(icons, place, replace(icons[place], color=rng.choice(colors)))


def _repatterned(rng: random.Random, icons: _Icons, place: int) -> _Icons:
    fills = [fill for fill in FILLS if fill != icons[place].fill]
    return _with_icon(icons, place, replace(icons[place], fill=rng.choice(fills)))


def _with_icon(icons: _Icons, place: int, icon: Icon) -> _Icons:
    return (*icons[:place], icon, *icons[place + 1 :])


def _without(icons: _Icons, place: int) -> _Icons:
    return icons[:place] + icons[place + 1 :]


def _moved(
    rng: random.Random, icons: _Icons, place: int, suits: Callable[[Box], bool]
) -> _Icons | None:
    """One icon somewhere else, where `suits` agrees and nothing is touched."""
    _, _, width, height = _cells(icons[place])
    others = _without(icons, place)
    boxes = [box for box in _free(others, width, height) if suits(box)]
    if not boxes:
        return None
    return _with_icon(icons, place, replace(icons[place], box=rng.choice(boxes)))


def _with_copy(rng: random.Random, icons: _Icons, icon: Icon) -> _Icons | None:
    """One more of an object that is there; None where there is no room for it."""
    if len(icons) >= MAX_OBJECTS:
        return None
    _, _, width, height = _cells(icon)
    boxes = list(_free(icons, width, height))
    return (*icons, replace(icon, box=rng.choice(boxes))) if boxes else None


def _with_stranger(rng: random.Random, icons: _Icons) -> _Icons | None:
    """An object of another noun beside what is there, 12 px wide; None where it has no room."""
    boxes = list(_free(icons, 3, 3))
    if len(icons) >= MAX_OBJECTS or not boxes:
        return None
    noun = rng.choice([n for n in NOUNS if n not in {icon.noun for icon in icons} | {"tower"}])
    return (*icons, Icon(noun, rng.choice(tuple(COLORS)), "plain", rng.choice(boxes)))


def _swapped(icons: _Icons) -> _Icons | None:
    """The first two in each other's place, about the same middle; None where they do not fit."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = _cells(icons[0]), _cells(icons[1])
    first = (bx + (bw - aw) // 2, by + (bh - ah) // 2, aw, ah)
    second = (ax + (aw - bw) // 2, ay + (ah - bh) // 2, bw, bh)
    placed: list[Icon] = list(icons[2:])
    for icon, cells in ((icons[0], first), (icons[1], second)):
        if not _fits(cells, placed):
            return None
        placed.append(replace(icon, box=box_from_cells(*cells)))
    return (placed[-2], placed[-1], *icons[2:])


def _free(icons: Sequence[Icon], width: int, height: int) -> Iterator[Box]:
    """All places of a box that leave an empty cell to every icon."""
    for y in range(GRID - height + 1):
        for x in range(GRID - width + 1):
            if _fits((x, y, width, height), icons):
                yield box_from_cells(x, y, width, height)


def _fits(cells: _Cells, icons: Sequence[Icon]) -> bool:
    x, y, width, height = cells
    if x < 0 or y < 0 or x + width > GRID or y + height > GRID:
        return False
    for ox, oy, ow, oh in map(_cells, icons):
        if max(x - ox - ow, ox - x - width, y - oy - oh, oy - y - height) < 1:
            return False
    return True


def _cells(icon: Icon) -> _Cells:
    x1, y1, x2, y2 = (edge // CELL for edge in pixels_from_box(icon.box))
    return x1, y1, x2 - x1, y2 - y1

"""Prompts about layouts: read, split, and judged as the renderings are."""

import random
from collections import Counter

import numpy as np
import pytest

from got_r1.benchmarks import load_benchmark
from got_r1.errors import BadInput
from got_r1.icons import prompts
from got_r1.icons.detect import detect
from got_r1.icons.layouts import CATEGORIES, Category, draw_meaning, layout_prompts, parse, say
from got_r1.icons.measure import layout_signature
from got_r1.icons.render import render
from got_r1.icons.splits import Split, is_held_out, split_of
from got_r1.icons.truth import asked_objects, image_truth, plan_truth
from got_r1.icons.world import (
    COLORS,
    GRID,
    Condition,
    Icon,
    Meaning,
    ObjectSpec,
    Scene,
    box_from_cells,
    natural_size,
)
from got_r1.judges.oracle import OracleJudge
from got_r1.plan.chain import format_chain
from got_r1.plan.chain import parse as parse_chain
from got_r1.records import (
    ImageQuery,
    PlannedObject,
    Prompt,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)
from got_r1.training.prompts import load_prompts

STAR, HEART, MOON = (ObjectSpec(noun) for noun in ("star", "heart", "moon"))
Cells = tuple[int, int, int, int]  # x, y, width, height


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (
            "a star left of a heart and above a moon",
            Meaning((STAR, HEART, MOON), "left", further=(Condition("top", (0, 2)),)),
        ),
        (
            "a star, a heart and a moon, the star left of the heart and above the moon",
            Meaning((STAR, HEART, MOON), "left", further=(Condition("top", (0, 2)),)),
        ),
        ("a star in the corner", Meaning((STAR,), further=(Condition("corner", (0,)),))),
        (
            "There is a star, a heart in the middle and a moon.",
            Meaning((STAR, HEART, MOON), further=(Condition("middle", (1,)),)),
        ),
        (
            "a star and a heart as large as possible",
            Meaning((STAR, HEART), further=(Condition("large", (1,)),)),
        ),
        (
            "a star and a heart in a row",
            Meaning((STAR, HEART), further=(Condition("row", (0, 1)),)),
        ),
        (
            "two red stars in a row",
            Meaning((ObjectSpec("star", "red", None, 2),), further=(Condition("row", (0,)),)),
        ),
        ("a star near a heart", Meaning((STAR, HEART), "near")),  # of the plain grammar
    ],
)
def test_known_sentences(text: str, meaning: Meaning) -> None:
    assert parse(text) == meaning


@pytest.mark.parametrize(
    "text",
    [
        "",
        "in a row",
        "a star in a row",
        "in the corner",
        "a star in the corner in the middle",
        "a star in the corner and a heart in a row",
        "two stars near a heart and above a moon",
        "a star near a heart and near a moon and near a tree",
        "a star left of and above a moon",
        "a star, a heart and a moon, the star left of the moon and above the heart",
        "a star, a heart and a moon, the star left of the heart and above the tree",
        "a star and a heart, the star left of the heart and above the star",
        "three stars and two hearts in a row",
        "a star in the corner and " * 100_000,
    ],
)
def test_foreign_sentences_are_none(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_meaning_reads_back(category: Category) -> None:
    rng = random.Random(1)
    for _ in range(300):
        meaning = draw_meaning(rng, category)
        for opening in ("", "there is ", "an image of "):
            for wording in range(3):
                the, listed = rng.random() < 0.5, rng.random() < 0.5
                text = say(meaning, opening=opening, wording=wording, the=the, listed=listed)
                assert parse(text) == meaning, text
                assert (prompts.parse(text) is None) == bool(meaning.further), text


# -- the lists -----------------------------------------------------------------------------------


def test_the_lists_share_no_sentence_and_train_says_nothing_held_out() -> None:
    lists: dict[Split, list[Prompt]] = {
        split: layout_prompts(split, 400, seed=3) for split in ("train", "dev", "val")
    }
    assert len({prompt.text for listed in lists.values() for prompt in listed}) == 1200
    for split, listed in lists.items():
        assert Counter(prompt.category for prompt in listed) == dict.fromkeys(CATEGORIES, 200)
        said = [parse(prompt.text) for prompt in listed]
        assert {split_of(meaning) for meaning in said if meaning} == {split}
        share = np.mean([is_held_out(meaning) for meaning in said if meaning])
        assert share == 0 if split == "train" else 0.3 < share < 0.7
    with pytest.raises(BadInput, match="no split 'test'"):
        load_benchmark("icons-layouts").prompts("test", 1)


def test_orders_of_two_relations_share_a_split_and_both_may_be_held_out() -> None:
    rng = random.Random(2)
    for _ in range(300):
        meaning = draw_meaning(rng, "relations")
        (a, b, c), (first, second) = meaning.objects, meaning.conditions
        other = Meaning((a, c, b), second.kind, further=(Condition(first.kind, (0, 2)),))
        assert split_of(other) == split_of(meaning)
    arrow, phone = ObjectSpec("arrow"), ObjectSpec("phone")
    assert not is_held_out(Meaning((arrow, phone), "top"))
    two = Meaning((arrow, phone, MOON), "top", further=(Condition("left", (0, 2)),))
    assert split_of(two) == "val"  # arrow, left


def test_rl_can_draw_from_the_list_by_weight() -> None:
    from got_r1.recipes.sections import Recipe

    recipe = Recipe.model_validate(
        {"data": {"prompts": ["icons", {"path": "icons-layouts", "weight": 0.25}]}}
    )
    mix = load_prompts(recipe.data, quiet=True)
    assert mix.shares == pytest.approx((0.8, 0.2))
    assert {prompt.category for prompt in mix.sources[1]} == set(CATEGORIES)


# -- truth ---------------------------------------------------------------------------------------


def scattered(rng: random.Random, meaning: Meaning) -> list[tuple[ObjectSpec, Cells]]:
    """The asked objects anywhere on the grid, none of which touch."""
    while True:
        placed: list[tuple[ObjectSpec, Cells]] = []
        for spec in asked_objects(meaning):
            width, height = natural_size(spec.noun, rng.choice((3, 3, 4, 5)))
            # Sides and middle of the image are frequent, so that corners, middles and rows are.
            x = rng.choice((0, GRID - width, (GRID - width) // 2, rng.randint(0, GRID - width)))
            y = rng.choice((0, GRID - height, (GRID - height) // 2, rng.randint(0, GRID - height)))
            placed.append((spec, (x, y, width, height)))
        if all(
            max(a[0] - b[0] - b[2], b[0] - a[0] - a[2], a[1] - b[1] - b[3], b[1] - a[1] - a[3]) >= 1
            for i, (_, a) in enumerate(placed)
            for _, b in placed[:i]
        ):
            return placed


def holds(condition: Condition, cells: list[Cells]) -> bool:
    """The stated definitions, of cells instead of boxes."""
    if condition.kind in ("left", "right", "top", "bottom"):
        # In thousandths the last edge is 999, which decides where two are on a diagonal.
        (x, y), (other_x, other_y) = (
            (100 * a[0] + min(999, 100 * (a[0] + a[2])), 100 * a[1] + min(999, 100 * (a[1] + a[3])))
            for a in cells
        )
        dx, dy = x - other_x, y - other_y
        along = {"left": -dx, "right": dx, "top": -dy, "bottom": dy}[condition.kind]
        return along > (abs(dy) if condition.kind in ("left", "right") else abs(dx))
    match condition.kind:
        case "corner":
            return all(x in (0, GRID - w) and y in (0, GRID - h) for x, y, w, h in cells)
        case "middle":
            return all(
                abs(2 * x + w - GRID) <= 1 and abs(2 * y + h - GRID) <= 1 for x, y, w, h in cells
            )
        case "large":
            return all(h == 5 for _, _, _, h in cells)
        case _:
            (a, b) = sorted(cells)
            return a[0] + a[2] <= b[0] and abs(2 * a[1] + a[3] - 2 * b[1] - b[3]) <= 1


@pytest.mark.parametrize("category", CATEGORIES)
def test_truth_agrees_with_what_was_rendered(category: Category) -> None:
    """The oracle's reading of pixels and plan against the cells that icons were placed in."""
    rng, seen = random.Random(4), Counter[tuple[str, bool]]()
    for _ in range(600):
        meaning = draw_meaning(rng, category)
        placed = scattered(rng, meaning)
        owners = [i for i, spec in enumerate(meaning.objects) for _ in range(spec.count)]
        kinds = []
        for condition in meaning.conditions:
            about = [
                cells
                for index in condition.about
                for owner, (_, cells) in zip(owners, placed, strict=True)
                if owner == index
            ]
            kinds.append(holds(condition, about))
            seen[condition.kind, kinds[-1]] += 1
        icons = [
            Icon(spec.noun, spec.color or rng.choice(list(COLORS)), "plain", box_from_cells(*cells))
            for spec, cells in placed
        ]
        expected = all(kinds) if kinds else None
        image = render(Scene(tuple(icons)))
        assert image_truth(meaning, detect(image)).relation == expected, (meaning, placed)
        chain = parse_chain(format_chain(["A ", *(PlannedObject(i.name, i.box) for i in icons)]))
        assert plan_truth(meaning, chain).relation == expected
        prompt = Prompt(say(meaning))
        spatial, drawn = OracleJudge().judge(
            [SpatialQuery(prompt, chain), ImageQuery(prompt, image)]
        )
        assert isinstance(spatial, Verdict)
        assert isinstance(drawn, Verdict)
        assert (spatial.score == 1) == (drawn.score == 1) == (expected is not False)
    for condition in {condition for condition, _ in seen}:
        assert min(seen[condition, True], seen[condition, False]) >= 5, seen


def test_half_of_two_relations_earns_half() -> None:
    prompt = Prompt("a star left of a heart and above a moon")
    boxes = [box_from_cells(*cells) for cells in ((0, 0, 3, 3), (6, 0, 3, 3), (0, 6, 3, 3))]
    names = ["red star", "blue heart", "pink moon"]

    def scores(order: tuple[int, int, int], prose: str) -> list[float | None]:
        planned = [PlannedObject(n, boxes[i]) for n, i in zip(names, order, strict=True)]
        chain = parse_chain(
            format_chain(["A ", planned[0], prose, planned[1], " and a ", planned[2]])
        )
        answers = OracleJudge().judge([SemanticQuery(prompt, chain), SpatialQuery(prompt, chain)])
        return [answer.score for answer in answers if isinstance(answer, Verdict)]

    assert scores((0, 1, 2), " on the left of a ") == [0.75, 1.0]
    assert scores((0, 1, 2), " and a ") == [0.5, 1.0]
    assert scores((0, 2, 1), " and a ") == [0.5, 0.1]  # heart and moon exchanged
    assert scores((2, 1, 0), " and a ") == [0.5, 0.3]  # left in part, above not at all


def test_a_pattern_is_the_relations_of_all_pairs() -> None:
    a, b, c = (box_from_cells(*cells) for cells in ((0, 0, 3, 3), (4, 1, 4, 4), (0, 7, 3, 3)))
    assert layout_signature([a, b]) == ({"left", "next to", "near", "on side of"},)
    assert layout_signature([a, c]) == ({"top"},)  # too far to be near
    assert layout_signature([b, a]) != layout_signature([a, b])
    assert len(layout_signature([a, b, c])) == 3
    moved = [box_from_cells(*cells) for cells in ((1, 0, 3, 3), (5, 0, 4, 4))]
    assert layout_signature(moved) == layout_signature([a, b])

"""The plan benchmark where relations are in depth: what is asked, seen, and left undecided."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from got_r1.benchmarks.base import Sample
from got_r1.benchmarks.plans.cases import file_cases, icon_cases
from got_r1.benchmarks.plans.run import undecided_parts
from got_r1.benchmarks.plans.sight import IconObserver, JudgeObserver, Sight, follows
from got_r1.icons.data import triples
from got_r1.icons.world import Scene
from got_r1.plan.chain import format_chain, parse
from got_r1.plan.layout import DEPTH_RELATIONS, RELATIONS
from got_r1.plan.wordings import CONVERSES
from got_r1.records import (
    Box,
    FoundObject,
    JudgeFailure,
    PlannedObject,
    Prompt,
    Query,
    Verdict,
)
from got_r1.report.plans import _undecided as told

NEAR, FAR = Box(100, 100, 500, 500, depth=1), Box(300, 300, 700, 700, depth=0)


def test_relations_in_depth_are_asked_where_that_is_asked_for():
    plain, deep = (icon_cases("dev", 18, depth=depth) for depth in (False, True))
    asked = Counter(case.asked.relation for case in deep if case.form == "plain")
    assert asked == dict.fromkeys((*RELATIONS, *DEPTH_RELATIONS), 2)
    assert {case.asked.relation for case in plain} == {None, *RELATIONS}
    said = {case.form: case.asked.relation for case in deep if case.meaning == 7}
    assert said["plain"] == said["other words"] == CONVERSES[said["converse"]] == "in front of"


def test_the_benchmarks_own_sentences_can_be_asked():
    cases = file_cases([Prompt("a mouse hidden by a key"), Prompt("a dog in front of a desk")])
    assert [case.asked.relation for case in cases if case.form == "as written"] == [
        "behind",
        "in front of",
    ]


def test_an_image_follows_its_plan_in_depth():
    assert follows("in front of", (NEAR, FAR), (NEAR, FAR))
    assert follows("in front of", (FAR, NEAR), (FAR, NEAR)), "both are wrong"
    assert follows("in front of", (NEAR, FAR), (FAR, NEAR)) is False
    assert follows("in front of", (replace(NEAR, depth=None), FAR), (NEAR, FAR)) is None


def test_plans_and_images_are_seen_and_what_says_nothing_is_told():
    (triple,) = triples(1, seed=3, depth=1.0)
    case = file_cases([triple.prompt])[0]
    flat = [
        PlannedObject(icon.name, replace(icon.box, depth=None)) for icon in triple.scene.icons
    ]  # fmt: skip
    chains = [parse(triple.chain, marks=True), parse(format_chain(flat))]
    samples = [Sample(triple.prompt, chain, triple.image) for chain in chains]
    decided, undecided = IconObserver().observe(samples)
    assert isinstance(decided, Sight)
    assert isinstance(undecided, Sight)
    assert (decided.plan, decided.image) == (True, True)
    assert (undecided.plan, undecided.image) == (False, True)
    assert undecided_parts(case, chains[0], decided) == []
    entries = [{"undecided": undecided_parts(case, chains[1], undecided)}, {}]
    assert entries[0]["undecided"] == ["plan"]
    assert "1 plan does not say" in told(entries)[0]


class BoxesOnly:
    """A judge that finds everything where it was drawn, as boxes without depths."""

    def __init__(self, scene: Scene) -> None:
        self.boxes = [replace(icon.box, depth=None) for icon in scene.icons]

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        """The boxes in the order of the asked names."""
        names = [[one.name for one in query.chain.objects] for query in queries]
        found = [tuple(map(FoundObject, some, self.boxes)) for some in names]
        return [Verdict(None, some) for some in found]


def test_a_judge_that_finds_boxes_cannot_tell_an_images_order():
    (triple,) = triples(1, seed=3, depth=1.0)
    sample = Sample(triple.prompt, parse(triple.chain, marks=True), triple.image)
    (sight,) = JudgeObserver(BoxesOnly(triple.scene), "boxes").observe([sample])
    assert isinstance(sight, Sight)
    assert (sight.plan, sight.image) == (True, False)
    assert undecided_parts(file_cases([triple.prompt])[0], sample.chain, sight) == ["image"]

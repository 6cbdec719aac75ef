"""The plan benchmark: cases, what is seen, the numbers by hand, and a whole run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from got_r1.benchmarks.base import Sample
from got_r1.benchmarks.plans.cases import AS_WRITTEN, LIST, Case, both_ways, file_cases, icon_cases
from got_r1.benchmarks.plans.run import swapped_chain
from got_r1.benchmarks.plans.sight import IconObserver, JudgeObserver, Sight, direction, follows
from got_r1.benchmarks.plans.summary import SeenCase, outcome, summarise_plans, summarise_swap
from got_r1.commands import plans as command
from got_r1.commands.arguments import Parser
from got_r1.errors import BadInput, RunFailed
from got_r1.files.prompt_files import read_prompts
from got_r1.icons.data import triples
from got_r1.icons.prompts import parse
from got_r1.icons.render import render
from got_r1.icons.splits import is_held_out, split_of
from got_r1.icons.world import Icon, Scene, box_from_cells
from got_r1.judges import load_judge
from got_r1.plan import chain as chains
from got_r1.plan.layout import RELATIONS
from got_r1.plan.reading import read
from got_r1.plan.wordings import CONVERSES
from got_r1.records import Box, Chain, JudgeFailure, PlannedObject, Prompt, Query, Verdict
from got_r1.report.plans import build_plans_page, headline
from got_r1.statistics import mean

# -- cases ---------------------------------------------------------------------------------------


def test_icon_cases_ask_every_meaning_in_every_form():
    cases = icon_cases("dev", 28)
    related = [case for case in cases if case.form != LIST]
    assert len(cases) == 28 * 6 + 28
    assert len({case.prompt.text for case in cases}) == len(cases)
    assert Counter(
        case.asked.relation for case in related if case.form == "plain"
    ) == dict.fromkeys(RELATIONS, 4)
    for meaning in range(28):
        forms = {case.form: parse(case.prompt.text) for case in related if case.meaning == meaning}
        assert len(forms) == 6
        plain = forms["plain"]
        for form, said in forms.items():
            if form.startswith("converse"):
                assert said.relation == CONVERSES[plain.relation]
                assert said.objects[:2] == plain.objects[1::-1]
            else:
                assert said == plain
            assert split_of(said) == "dev"
    lists = [case for case in cases if case.form == LIST]
    assert Counter(case.objects for case in lists) == dict.fromkeys((1, 2, 3, 4), 7)
    assert all(case.asked.relation is None for case in lists)


def test_icon_cases_are_the_same_every_time_and_of_their_split():
    assert icon_cases("val", 20) == icon_cases("val", 20)
    said = [parse(case.prompt.text) for case in icon_cases("val", 40)]
    assert {split_of(meaning) for meaning in said} == {"val"}
    share = sum(map(is_held_out, said)) / len(said)
    assert 0.2 < share < 0.8  # a fair coin for 80 meanings: outside with odds below 1 in 10^7
    with pytest.raises(BadInput, match="no split 'train2'"):
        icon_cases("train2", 1)


def test_a_split_is_used_as_far_as_it_goes():
    """Dev has a few dozen relations of bare nouns for each, and few lists of one thing."""
    cases = icon_cases("dev", 1680)
    plain = [parse(case.prompt.text) for case in cases if case.form == "plain"]
    assert Counter(meaning.relation for meaning in plain) == dict.fromkeys(RELATIONS, 240)
    said = {frozenset(both_ways(meaning)) for meaning in plain}
    assert len(said) == 1680, "the converse of a meaning is no other meaning"
    bare = [m for m in plain if not any(o.color or o.fill for o in m.objects)]
    assert 0 < len(bare) < 840
    lists = Counter(case.objects for case in cases if case.form == LIST)
    assert lists[1] < 420
    assert lists[2] == 420


def test_a_users_sentences_stay_as_written():
    cases = file_cases([Prompt("The Cat was sitting beside the dog."), Prompt("two red cats")])
    assert [case.form for case in cases] == [
        AS_WRITTEN,
        "other words",
        "picture of",
        "full sentence",
        "converse",
        "converse, full sentence",
        LIST,
    ]
    assert [case.prompt.text for case in cases][:2] == [
        "The Cat was sitting beside the dog.",
        "a cat beside a dog",
    ]
    assert {case.meaning for case in cases} == {0, 1}
    assert cases[-1].objects == 2


def test_unread_and_repeated_prompts_are_refused():
    good = Prompt("a cat near a dog")
    foreign = [Prompt(f"a cat is chasing mouse {'x' * n}") for n in range(1, 8)]
    with pytest.raises(BadInput, match=r"7 of 8 prompts .*2 \('a cat is chasing.* and 2 more"):
        file_cases([good, *foreign])
    with pytest.raises(BadInput, match="prompt 2, 'a cat near a dog', is given twice"):
        file_cases([good, good])


def test_the_benchmarks_spatial_prompts_are_cases(reference_data: Path):
    prompts = read_prompts(reference_data / "prompts" / "spatial_val.txt")
    if len(set(prompts)) < len(prompts):
        prompts = list(dict.fromkeys(prompts))
    cases = file_cases(prompts)
    assert len(cases) == 6 * len(prompts)
    assert all(case.asked.relation for case in cases)


# -- following a plan ----------------------------------------------------------------------------

WEST, EAST = Box(0, 400, 200, 600), Box(700, 400, 900, 600)
NORTH, SOUTH = Box(400, 0, 600, 200), Box(400, 700, 600, 900)
CORNERS = (Box(0, 0, 200, 200), Box(700, 700, 900, 900))  # as far down as right: no direction
CLOSE = (Box(300, 400, 500, 600), Box(600, 400, 800, 600))


@pytest.mark.parametrize(
    ("relation", "planned", "found", "expected"),
    [
        ("left", (WEST, EAST), (WEST, EAST), True),
        ("left", (WEST, EAST), (EAST, WEST), False),
        ("left", (EAST, WEST), (EAST, WEST), True),  # a wrong plan, followed
        ("left", (EAST, WEST), (WEST, EAST), False),
        ("left", (NORTH, SOUTH), (NORTH, SOUTH), True),
        ("left", (WEST, EAST), CORNERS, False),
        ("left", (WEST, EAST), None, False),
        ("left", CORNERS, (WEST, EAST), None),
        ("left", None, (WEST, EAST), None),
        ("near", CLOSE, CLOSE, True),
        ("near", CLOSE, (CLOSE[1], CLOSE[0]), True),  # near says nothing of the side
        ("near", CLOSE, (WEST, EAST), False),
        ("near", (WEST, EAST), (EAST, WEST), True),  # far as planned
        ("near", (WEST, EAST), CLOSE, False),
        ("near", CLOSE, None, False),
    ],
)
def test_following(relation, planned, found, expected):
    assert follows(relation, planned, found) is expected


def test_directions():
    assert direction((WEST, EAST)) == "left"
    assert direction((SOUTH, NORTH)) == "bottom"
    assert direction(CORNERS) is None
    assert direction((WEST, WEST)) is None


# -- observers -----------------------------------------------------------------------------------


def icon(noun: str, color: str, x: int, y: int, size: int = 4) -> Icon:
    return Icon(noun, color, "plain", box_from_cells(x, y, size, size))


def plan(*icons: Icon) -> Chain:
    return chains.parse(chains.format_chain([PlannedObject(i.name, i.box) for i in icons]))


HEART, STAR = icon("heart", "red", 0, 3), icon("star", "blue", 5, 3)
HEART_RIGHT, STAR_LEFT = icon("heart", "red", 5, 3), icon("star", "blue", 0, 3)
LEFT = Prompt("a red heart on the left of a blue star", "left")


def see(prompt: Prompt, chain: Chain, *drawn: Icon) -> Sight:
    """As both observers see it, who must agree."""
    sample = Sample(prompt, chain, render(Scene(drawn)))
    (sight,) = IconObserver().observe([sample])
    assert JudgeObserver(load_judge("oracle"), "oracle").observe([sample]) == [sight]
    assert isinstance(sight, Sight)
    return sight


def test_a_right_plan_and_a_swapped_image():
    sight = see(LEFT, plan(STAR, HEART), HEART_RIGHT, STAR_LEFT)
    assert (sight.plan, sight.image, sight.plan_whole, sight.image_whole) == (True, False) * 2
    assert sight.pair == (1, 0)
    assert sight.planned == (HEART.box, STAR.box)
    assert sight.found == (HEART_RIGHT.box, STAR_LEFT.box)


def test_a_wrong_colour_is_another_thing():
    green = icon("star", "green", 5, 3)
    sight = see(LEFT, plan(HEART, STAR), HEART, green)
    assert (sight.plan, sight.image, sight.found) == (True, False, None)
    # Planned wrong and drawn so: the image follows a plan that is wrong.
    sight = see(LEFT, plan(HEART, green), HEART, green)
    assert (sight.plan, sight.image) == (False, False)
    assert follows("left", sight.planned, sight.found)


def test_a_malformed_chain_plans_nothing():
    whole = plan(HEART, STAR).text
    sight = see(LEFT, chains.parse(whole.removesuffix(chains.BOX_END)), HEART, STAR)
    assert (sight.plan, sight.image, sight.pair, sight.planned) == (False, True, None, None)


def test_numbers_are_exact():
    hearts = [icon("heart", "red", x, y, 3) for x, y in ((0, 0), (4, 0), (0, 4))]
    prompt = Prompt("two red hearts")
    assert see(prompt, plan(*hearts[:2]), *hearts).plan
    assert not see(prompt, plan(*hearts[:2]), *hearts).image
    assert see(prompt, plan(*hearts), *hearts[:2]).image
    assert not see(prompt, plan(*hearts), *hearts[:2]).plan
    assert not see(prompt, plan(hearts[0]), hearts[0]).plan_whole


def test_two_things_of_one_name_are_not_told_apart():
    sight = see(Prompt("a star near a star"), plan(STAR, STAR_LEFT), STAR, STAR_LEFT)
    assert sight.pair is None


def test_the_observers_agree_on_the_icon_world():
    """Chains and images of two captions each, so that everything is sometimes wrong."""
    noisy = list(triples(240, seed=2, relation_noise=0.5, attribute_noise=0.5, count_noise=0.5))
    samples = [Sample(t.prompt, chains.parse(t.chain), t.image) for t in noisy]
    samples += [Sample(a.prompt, chains.parse(b.chain), a.image) for a, b in pairwise(noisy[:60])]
    ours = IconObserver().observe(samples)
    assert ours == JudgeObserver(load_judge("oracle"), "oracle").observe(samples)
    # Each outcome is there, so that agreement says something.
    assert {(s.plan, s.image) for s in ours} >= {(True, True), (False, False), (False, True)}


def test_a_judge_that_fails_makes_no_sight():
    class Blind:
        def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
            return [JudgeFailure("no reply")] * len(queries)

    sample = Sample(LEFT, plan(HEART, STAR), render(Scene((HEART, STAR))))
    assert JudgeObserver(Blind(), "blind").observe([sample]) == [JudgeFailure("no reply")]


# -- the numbers ---------------------------------------------------------------------------------


def seen(meaning: int, form: str, planned: bool, drawn: bool, relation: str = "left") -> SeenCase:
    """A sample whose plan and image are right or wrong as said, both by their direction."""
    text = f"a cat {'on the left of' if relation == 'left' else relation} a dog"
    asked = read(text)
    assert asked is not None
    boxes = ((WEST, EAST), (EAST, WEST))
    sight = Sight(planned, drawn, planned, drawn, (0, 1), boxes[not planned], boxes[not drawn])
    return SeenCase(Case(Prompt(text), asked, meaning, form), sight)


def test_metrics_by_hand():
    samples = [
        seen(0, "plain", True, True),
        seen(0, "converse", True, False),
        seen(1, "plain", False, False),
        seen(1, "converse", True, True),
        seen(2, "plain", False, True),
        seen(2, "converse", False, False),
    ]
    result = summarise_plans(samples)
    means = {name: metric["overall"]["mean"] for name, metric in result["metrics"].items()}
    assert means == pytest.approx(
        {
            "plan_relation": 1 / 2,
            "image_relation": 1 / 2,
            "realised": 2 / 3,
            "right_despite_a_wrong_plan": 1 / 3,
            "follows_its_plan": 4 / 6,
            "follows_a_right_plan": 2 / 3,
            "follows_a_wrong_plan": 2 / 3,
        }
    )
    assert result["metrics"]["realised"]["overall"]["n"] == 3
    assert list(result["metrics"]["realised"]["by_category"]) == ["left"]
    assert [row["form"] for row in result["phrasings"]] == ["plain", "converse"]
    assert [row["plan"]["mean"] for row in result["phrasings"]] == pytest.approx([1 / 3, 2 / 3])
    consistency = result["consistency"]
    assert (consistency["meanings"], consistency["forms"]) == (3, 2)
    shares = {name: consistency["plan"][name]["mean"] for name in ("all", "some", "none")}
    assert shares == pytest.approx({"all": 1 / 3, "some": 1 / 3, "none": 1 / 3})
    assert consistency["plan"]["if_unrelated"] == pytest.approx(1 / 3 * 2 / 3)
    # Of phrasings, the first stands for its meaning.
    assert result["objects"] == [
        {"objects": 2, "relation": True, "plan": pytest.approx(result["phrasings"][0]["plan"]),
         "image": pytest.approx(result["phrasings"][0]["image"])}
    ]  # fmt: skip
    gains = result["bottleneck"]
    assert gains["gain_if_plans_were_right"]["mean"] == pytest.approx(2 / 3 - 1 / 2)
    assert gains["gain_if_plans_were_realised"]["mean"] == pytest.approx(0)
    assert gains["difference"]["mean"] == pytest.approx(2 / 3 - 1 / 2)
    assert gains["verdict"] == "neither"  # three meanings say nothing


def many(planned: float, drawn: float, n: int = 200) -> list[SeenCase]:
    """`n` meanings in one form: a share of right plans, and of right images among those."""
    rights = round(n * planned)
    return [seen(i, "plain", i < rights, i < round(rights * drawn)) for i in range(n)]


@pytest.mark.parametrize(
    ("planned", "drawn", "verdict", "words"),
    [
        (0.5, 0.9, "planner", "The planner is the bottleneck: 50% of the plans and 45%"),
        (0.9, 0.5, "drawer", "The drawer is the bottleneck: 90% of the plans and 45%"),
        (0.7, 0.7, "neither", "Neither planner nor drawer is clearly the bottleneck: 70%"),
        (0.0, 0.0, "planner", "The planner is the bottleneck: no plan is right, and 0%"),
    ],
)  # fmt: skip
def test_who_is_the_bottleneck(planned, drawn, verdict, words):
    result = summarise_plans(many(planned, drawn))
    assert result["bottleneck"]["verdict"] == verdict
    assert headline(result).startswith(words)
    assert headline(result).endswith(".")


def test_the_gains_are_said():
    assert headline(summarise_plans(many(0.5, 0.9))).endswith(
        "with every plan right 90% of the images would be (+45 points), with every plan realised "
        "50% (+5 points)."
    )
    assert "no bottleneck" in headline({"metrics": {}})


def test_intervals_are_over_meanings_not_over_phrasings():
    once = many(0.6, 1.0, 100)
    sixfold = [SeenCase(Case(s.case.prompt, s.case.asked, s.case.meaning, f"{form}"), s.sight)
               for s in once for form in range(6)]  # fmt: skip
    one, six = (
        summarise_plans(some)["metrics"]["plan_relation"]["overall"] for some in (once, sixfold)
    )
    assert (six["n"], one["n"]) == (600, 100)
    assert [six[key] for key in ("mean", "low", "high")] == pytest.approx(
        [one[key] for key in ("mean", "low", "high")]
    )
    plain = mean([1.0] * 60 + [0.0] * 40)
    assert (one["low"], one["high"]) == pytest.approx((plain.low, plain.high), abs=0.02)


def test_a_ratio_is_resampled_as_a_ratio():
    """Against 4,000 resamples written out: right images among right plans."""
    samples = many(0.5, 0.8, 80)
    overall = summarise_plans(samples)["metrics"]["realised"]["overall"]
    rng = np.random.default_rng(7)
    both = np.array([s.sight.plan and s.sight.image for s in samples], float)
    right = np.array([s.sight.plan for s in samples], float)
    draws = rng.integers(0, 80, (4000, 80))
    low, high = np.quantile(both[draws].sum(1) / right[draws].sum(1), [0.025, 0.975])
    assert overall["mean"] == pytest.approx(0.8)
    # These are percentiles; BCa moves a bound by one of the 40 images with a right plan (0.025).
    assert (overall["low"], overall["high"]) == pytest.approx((low, high), abs=0.03)


def test_the_swap_probe_by_hand():
    swapped = {
        "boxes": Sight(False, False, False, False, (0, 1), (EAST, WEST), (EAST, WEST)),
        "words": Sight(False, True, False, True, (0, 1), (EAST, WEST), (WEST, EAST)),
        "other": Sight(False, False, False, False, (0, 1), (EAST, WEST), (NORTH, SOUTH)),
        "lost": Sight(False, False, False, False, (0, 1), (EAST, WEST), None),
    }
    before = seen(0, "plain", True, True)
    for name, after in swapped.items():
        assert outcome((WEST, EAST), after.found) == name
    probes = [(seen(i, "plain", True, i < 3), s) for i, s in enumerate(swapped.values())]
    nearby = seen(4, "plain", True, True, "near")
    result = summarise_swap([*probes, (nearby, swapped["boxes"])])
    shares = {name: result[name]["mean"] for name in swapped}
    assert shares == pytest.approx({"boxes": 0.4, "words": 0.2, "other": 0.2, "lost": 0.2})
    # Of the four that ask for a direction: three were right, and the one that kept the words is.
    assert result["image_relation"]["before"]["mean"] == 0.75
    assert result["image_relation"]["after"]["mean"] == 0.25
    assert summarise_swap([]) is None
    assert before.follows


def test_exchanged_boxes():
    chain = chains.parse(f"Here: {plan(HEART, STAR).text}.")
    sight = see(LEFT, chain, HEART, STAR)
    text = swapped_chain(chain, sight)
    assert text is not None
    assert [o.box for o in chains.parse(text).objects] == [STAR.box, HEART.box]
    assert chains.strip_boxes(text) == chains.strip_boxes(chain.text)
    diagonal = plan(icon("heart", "red", 0, 0), icon("star", "blue", 5, 5))
    assert swapped_chain(diagonal, see(LEFT, diagonal, HEART, STAR)) is None
    assert swapped_chain(plan(HEART), see(LEFT, plan(HEART), HEART)) is None


# -- a whole run ---------------------------------------------------------------------------------


def call(*argv: Any) -> None:
    """The command, as `got-r1 eval` calls it."""
    parser = Parser(prog="got-r1 eval", allow_abbrev=False)
    command.register(parser.add_subparsers(required=True))
    args = parser.parse_args(["plans", *map(str, argv)])
    args.command(args)


def test_a_run_of_the_shipped_model_and_its_page(tmp_path, capsys):
    argv = ["--model", "icons", "--split", "dev", "--meanings", 8, "--seed", 3, "--batch", 32]
    folder = tmp_path / "one"
    call(*argv, "--out", folder, "--json")
    printed = json.loads(capsys.readouterr().out)
    result = json.loads((folder / "plans.json").read_text())
    assert printed["headline"] == headline(result)
    assert (result["prompts"], result["meanings"]) == (56, 16)
    assert (result["name"], result["benchmark"]) == ("one", "plans")
    assert len(result["samples"]) == len(list((folder / "samples").glob("*.png"))) == 56
    assert result["swap"]["prompts"] == len(list((folder / "swapped").glob("*.png")))
    # The shipped model plans most prompts right, and its images follow their plans.
    assert result["metrics"]["plan_relation"]["overall"]["mean"] > 0.4
    assert result["metrics"]["follows_its_plan"]["overall"]["mean"] > 0.5
    page = (folder / "plans.html").read_text()
    assert headline(result) in page
    assert "src=" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/png") >= 10
    before = (folder / "plans.html").read_bytes()
    assert build_plans_page(folder).read_bytes() == before

    # What is missing is drawn again, and comes out the same.
    (folder / "samples" / "007.png").unlink()
    (folder / "swapped" / "001.json").unlink()
    call(*argv, "--out", folder, "--resume", "--json")
    again = json.loads((folder / "plans.json").read_text())
    assert again == result
    with pytest.raises(BadInput, match="--seed 3, now it is 4"):
        call(*argv, "--seed", 4, "--out", folder, "--resume")
    with pytest.raises(BadInput, match="not an empty folder"):
        call(*argv, "--out", folder)

    # The oracle, as any judge would be asked, sees the same.
    capsys.readouterr()
    call(*argv, "--out", folder, "--resume", "--judge", "oracle")
    assert headline(result) in capsys.readouterr().out
    judged = json.loads((folder / "plans.json").read_text())
    assert judged["seen_by"] == "oracle"
    assert {k: v for k, v in judged.items() if k != "seen_by"} == {
        k: v for k, v in result.items() if k != "seen_by"
    }


def test_a_users_prompts_need_a_judge_and_failures_are_counted(tmp_path, capsys, monkeypatch):
    prompts = tmp_path / "mine.csv"
    prompts.write_text("text\na heart left of a star\na tree and a moon\n")
    argv = ["--model", "icons", "--prompts", prompts, "--out", tmp_path / "out"]
    argv += ["--column", "text"]
    with pytest.raises(BadInput, match="say with --judge who finds them"):
        call(*argv)

    class Forgetful:
        """The oracle, but for the first query of all."""

        failures = 1

        def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
            answers = load_judge("oracle").judge(queries)
            for index in range(min(self.failures, len(answers))):
                answers[index] = JudgeFailure("out to lunch")
            self.failures = 0
            return answers

    judge = Forgetful()
    monkeypatch.setattr("got_r1.judges.load_judge", lambda spec: judge)
    call(*argv, "--judge", "mine", "--no-swap")
    result = json.loads((tmp_path / "out" / "plans.json").read_text())
    assert result["unseen"] == {"samples": 1, "reasons": ["out to lunch"]}
    assert result["metrics"]["plan_relation"]["overall"]["n"] == 5
    assert result["samples"][0]["unseen"] == "out to lunch"
    assert "swap" not in result
    assert result["split"] == "mine.csv"
    page = (tmp_path / "out" / "plans.html").read_text()
    assert "1 samples could not be seen and count nowhere (out to lunch)" in page
    capsys.readouterr()

    judge.failures = 1000
    with pytest.raises(RunFailed, match="mine could see none of the 7 samples"):
        call(*argv, "--judge", "mine", "--no-swap", "--resume")


def test_a_page_needs_its_numbers(tmp_path):
    with pytest.raises(BadInput, match=r"no result of got-r1 eval plans at"):
        build_plans_page(tmp_path)
    (tmp_path / "plans.json").write_text('{"benchmark": "icons"}')
    with pytest.raises(BadInput, match="is no result of got-r1 eval plans"):
        build_plans_page(tmp_path)


@pytest.mark.parametrize(
    ("planned", "found", "more", "said"),
    [
        ([("cat", 500), ("dog", 0)], [("cat", 500), ("dog", 0)], {},
         ["&#34;cat&#34; is not planned on the left of &#34;dog&#34;",
          "&#34;cat&#34; is not drawn on the left of &#34;dog&#34;"]),
        ([("cat", 0)], None, {}, ["&#34;dog&#34; is not planned"]),
        ([("cat", 0), ("dog", 500)], [], {"plan": True},
         ["the two things of the relation were not both found in the image"]),
        ([("cat", 0), ("dog", 500)], [], {"plan": True, "undecided": ["image"]},
         ["in the image nobody could tell which is nearer"]),
    ],
)  # fmt: skip
def test_a_page_says_why_plan_and_image_are_wrong(tmp_path, planned, found, more, said):
    def named(things):
        return [{"name": name, "box": [x, 0, x + 400, 400]} for name, x in things]

    sample = {
        "prompt": "a cat on the left of a dog",
        "relation": "left",
        "plan": False,
        "image_right": False,
        "image": "samples/000.png",
        "objects": named(planned),
        "found": None if found is None else named(found),
    }
    result = {"benchmark": "plans", **summarise_plans(many(0.5, 0.9, 8))}
    (tmp_path / "plans.json").write_text(json.dumps({**result, "samples": [sample | more]}))
    page = build_plans_page(tmp_path).read_text()
    for words in said:
        assert f'<p class="problem">{words}</p>' in page


def test_a_page_lives_without_its_images(tmp_path):
    result = {
        "benchmark": "plans",
        "name": "<b>bold</b>",
        **summarise_plans(many(0.5, 0.9, 8)),
        "samples": [
            {"prompt": "a <cat>", "relation": "left", "plan": True, "image_right": False,
             "image": "samples/000.png", "objects": [{"name": "cat", "box": [0, 0, 9, 9]}],
             "found": None}
        ],
    }  # fmt: skip
    (tmp_path / "plans.json").write_text(json.dumps(result))
    page = build_plans_page(tmp_path).read_text()
    assert "&lt;b&gt;bold" in page
    assert "a &lt;cat&gt;" in page
    assert "000.png cannot be read" in page

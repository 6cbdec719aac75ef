"""A held-out judge: it looks on, changes nothing, and what it says is kept prompt by prompt."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from got_r1.errors import BadInput
from got_r1.files.inputs import read_image
from got_r1.files.runlog import JUDGE
from got_r1.judges.specs import JudgeSettings, ResolvedJudge
from got_r1.recipes.recipe_file import load_recipe, load_section
from got_r1.training import rl
from got_r1.training.beforehand import check_start
from got_r1.training.held_out import held_out_judge
from got_r1.training.watching import PICTURED, REASKED, summary, telling
from small_runs import MakeRecipe, assert_same_run

# A judge of the user's own, which likes whatever the policy draws.
FLATTERER = """
from got_r1.records import FoundObject, GroundingQuery, Verdict

class Flatterer:
    def judge(self, queries):
        return [
            Verdict(None, found=tuple(FoundObject(o.name, o.box) for o in query.chain.objects))
            if isinstance(query, GroundingQuery)
            else Verdict(1.0, reasoning="lovely")
            for query in queries
        ]
"""


@pytest.fixture
def flatterer(tmp_path: Path) -> str:
    path = tmp_path / "flatterer.py"
    path.write_text(FLATTERER)
    return f"{path}:Flatterer"


def recipe_with(make_recipe: MakeRecipe, name: str, rewarding: str, **watch: Any) -> Any:
    return make_recipe(
        name,
        model={"path": "icons"},
        rollout={"chain_limit": 60, "guidance": 1.0},
        rl={"steps": 3, "prompts": 2, "group": 2, "learning_rate": 1e-4, "save_every": 1},
        judge={"spec": rewarding},
        eval={"prompts": 0, "probes": 0, "split": "dev"},
        watch=watch,
    )


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_it_sees_what_the_trained_judge_does_not_and_changes_nothing(
    make_recipe: MakeRecipe, tmp_path: Path, flatterer: str
) -> None:
    watch = {"judge": "oracle", "every": 2, "size": 3, "samples": 3}
    rl.train(recipe_with(make_recipe, "watched", flatterer, **watch), quiet=True)
    rl.train(recipe_with(make_recipe, "alone", flatterer), quiet=True)
    seen = lines(tmp_path / "watched", "metrics")
    aside = ("seconds/", "tokens_per_second", "watch", "judge_drift/", "alarm/")
    for one, other in zip(seen, lines(tmp_path / "alone", "metrics"), strict=True):
        same = ({k: v for k, v in row.items() if not k.startswith(aside)} for row in (one, other))
        assert next(same) == next(same)
    assert not (tmp_path / "alone" / "watch.jsonl").exists()

    found = lines(tmp_path / "watched", "watch")
    assert [look["step"] for look in found] == [0, 2, 3]  # before, every second, the last
    assert [len(look["prompts"]) for look in found] == [3, 3, 3]
    assert [len(look["samples"]) for look in found] == [0, 3, 3]
    assert len({tuple(row["prompt"] for row in look["prompts"]) for look in found}) == 1
    for look in found:
        for row in (*look["prompts"], *look["samples"]):
            assert row["trained"].keys() == row["held_out"].keys()
            assert row["trained"].keys() == {"total", "r_sem", "r_spa", "r_ri", "r_pi"}
            assert row["trained"]["r_pi"] >= row["held_out"]["r_pi"]
    assert "watch/r_pi" not in seen[0]
    wanted = {"watch/total", "watch_half/total", "watch_samples/total", "seconds/watch"}
    wanted |= {"watch_trained_half/total", "watch_samples_half/total"}
    wanted |= {"watch_samples_trained/total", "watch_samples_trained_half/total"}
    assert wanted <= seen[1].keys() & seen[2].keys()
    judges = load_section(tmp_path / "watched" / JUDGE, ResolvedJudge, "judge settings")
    assert judges.held_out == ResolvedJudge(spec=JudgeSettings(kind="oracle"))
    assert "Held-out judge" in (tmp_path / "watched" / "report.html").read_text()


def test_a_killed_run_has_each_look_once(
    make_recipe: MakeRecipe, tmp_path: Path, flatterer: str
) -> None:
    watch = {"judge": "oracle", "every": 1, "size": 2, "samples": 0}
    rl.train(recipe_with(make_recipe, "whole", flatterer, **watch), quiet=True)
    torn = recipe_with(make_recipe, "torn", flatterer, **watch)
    rl.train(torn, quiet=True)
    folder = tmp_path / "torn"
    for step in (2, 3):  # as if it had been killed behind the first step's checkpoint
        (folder / "checkpoints" / f"step_{step:06d}").rename(folder / f"away{step}")
    with (folder / "watch.jsonl").open("a") as file:
        file.write('{"step": 4, "prom')
    rl.train(torn, resume=True, quiet=True)
    assert_same_run(tmp_path / "whole", folder)
    assert lines(folder, "watch") == lines(tmp_path / "whole", "watch")
    kept = [
        {path.relative_to(run): path.read_bytes() for path in (run / "watched").glob("*/*")}
        for run in (folder, tmp_path / "whole")
    ]
    assert kept[0] == kept[1]
    for look in lines(folder, "watch"):  # each has images, with what both judges say of them
        told = {row["prompt"]: row for row in look["prompts"]}
        for number in range(REASKED, REASKED + 2):
            path = folder / "watched" / f"step_{look['step']:06d}" / f"{number:03d}.json"
            record = json.loads(path.read_text())
            assert told[record["prompt"]].items() <= record.items()
            assert record["chain"]
            assert record["held_out_evidence"].keys() == {"r_sem", "r_spa", "r_ri", "r_pi"}
            assert read_image(path.with_suffix(".png")).shape == (40, 40, 3)


def test_the_images_that_are_kept_tell_most() -> None:
    """Of 20 prompts the first term has gained on prompt 3 and lies highest above on prompt 7, where
    it always did; on prompt 11 a judge did not answer."""

    def row(place: int, gap: float) -> dict[str, Any]:
        return {
            "prompt": f"prompt {place}",
            "trained": {"r_sem": 0.2 + gap, "r_pi": 0.5},
            "held_out": {} if place == 11 else {"r_sem": 0.2, "r_pi": 0.5},
        }

    first = [row(place, {3: -0.1, 7: 0.8}.get(place, 0.0)) for place in range(20)]
    now = [row(place, {3: 0.4, 7: 0.8, 11: 0.9}.get(place, 0.0)) for place in range(20)]
    places = telling(now, first)
    assert len(places) == len(set(places)) == PICTURED
    assert places[0] == 3
    assert {3, 7} <= set(places[:4])
    assert 11 not in places
    assert telling(now[:2], first) == [0, 1]


def test_means_and_their_interval_by_hand() -> None:
    rows = [
        {"prompt": "a", "trained": {"r_pi": 1.0}, "held_out": {"r_pi": 0.2}},
        {"prompt": "b", "trained": {"r_pi": 0.5}, "held_out": {"r_pi": 0.6}},
        {"prompt": "c", "trained": {"r_pi": 0.9}, "held_out": {}},  # unanswered: in neither
    ]
    asked = [{"first": {"r_pi": 0.5}, "now": {"r_pi": 0.2}}, {"first": {"r_pi": 0.5}, "now": {}}]
    found = summary({"prompts": rows, "samples": rows[:1], "reasked": asked})
    assert found["judge_drift/r_pi"] == pytest.approx(0.3)
    assert found["watch/r_pi"] == pytest.approx(0.4)
    assert found["watch_trained/r_pi"] == pytest.approx(0.75)
    # The standard deviation of .2 and .6 is .2 * sqrt(2); over sqrt(2) that is .2.
    assert found["watch_half/r_pi"] == pytest.approx(1.96 * 0.2)
    # That of 1 and .5 is .25 * sqrt(2).
    assert found["watch_trained_half/r_pi"] == pytest.approx(1.96 * 0.25)
    assert found["watch_samples/r_pi"] == pytest.approx(0.2)
    assert found["watch_samples_half/r_pi"] == 0  # one sample
    assert found["watch_samples_trained/r_pi"] == pytest.approx(1.0)
    several = summary({"prompts": [], "samples": rows, "reasked": []})
    assert several["watch_samples_trained/r_pi"] == pytest.approx(0.75)
    assert several["watch_samples_half/r_pi"] == pytest.approx(1.96 * 0.2)
    assert several["watch_samples_trained_half/r_pi"] == pytest.approx(1.96 * 0.25)
    assert summary({"prompts": [], "samples": [], "reasked": []}) == {}


def test_the_settings_of_the_manual_are_a_recipe(tmp_path: Path) -> None:
    manual = Path(__file__).parents[2] / "docs" / "judges.md"
    section = manual.read_text(encoding="utf-8").split("## A held-out judge")[1]
    (text,) = re.findall(r"```yaml\n(.*?)```", section.split("\n## ")[0], re.DOTALL)
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    held_out = held_out_judge(load_recipe(path))
    assert held_out is not None
    assert held_out.spec == "experts"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"watch": {"judge": "oracle"}}, "oracle also rewards r_sem, r_spa, r_ri, r_pi"),
        ({"watch": {"judge": "orakel"}}, "orakel"),
        (
            {"watch": {"judge": "FLATTERER"}, "data": {"prompts": [{"path": "OWN"}]}},
            "watch.prompts",
        ),
    ],
)
def test_mistakes_are_refused_before_anything_is_loaded(
    make_recipe: MakeRecipe,
    tmp_path: Path,
    flatterer: str,
    sections: dict[str, Any],
    message: str,
) -> None:
    own = tmp_path / "prompts.txt"
    own.write_text("a red heart\na blue star\n")
    text = json.dumps(sections).replace("OWN", str(own)).replace("FLATTERER", flatterer)
    with pytest.raises(BadInput, match=message):
        check_start(make_recipe("run", model={"path": "icons"}, **json.loads(text)), "rl")

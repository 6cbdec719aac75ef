"""Alarms of real runs: told while they run, the same afterwards, and acted on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from got_r1.audit.alarms import Alarm, illustrated
from got_r1.cli import main
from got_r1.errors import StoppedByAlarm
from got_r1.recipes.sections import Recipe
from got_r1.training import galleries, rl
from small_runs import MakeRecipe

# It likes whatever is drawn, and from its 12th batch on it likes nothing: each step has two
# batches, each look one, and one for the images that it is asked about again.
MOODY = """
from got_r1.records import FoundObject, GroundingQuery, Verdict

class Moody:
    asked = 0

    def judge(self, queries):
        self.asked += 1
        return [
            Verdict(None, found=tuple(FoundObject(o.name, o.box) for o in query.chain.objects))
            if isinstance(query, GroundingQuery)
            else Verdict(1.0 if self.asked < 12 else 0.1)
            for query in queries
        ]
"""


@pytest.fixture
def judge(tmp_path: Path) -> str:
    path = tmp_path / "moody.py"
    path.write_text(MOODY)
    return f"{path}:Moody"


def recipe_of(make_recipe: MakeRecipe, name: str, judge: str, **alarms: str) -> Recipe:
    return make_recipe(
        name,
        model={"path": "icons"},
        rollout={"chain_limit": 120, "guidance": 1.0},
        rl={"steps": 5, "prompts": 1, "group": 2, "learning_rate": 1e-5, "save_every": 1},
        judge={"spec": judge},
        eval={"prompts": 0, "probes": 0, "split": "dev"},
        watch={
            "judge": "oracle", "every": 1, "size": 10, "samples": 0, "window": 2, "alarms": alarms,
        },
    )  # fmt: skip


def alarms(folder: Path) -> list[dict[str, Any]]:
    path = folder / "alarms.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_run_tells_what_audit_run_tells_afterwards_and_a_killed_one_as_well(
    make_recipe: MakeRecipe, tmp_path: Path, judge: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rl.train(recipe_of(make_recipe, "whole", judge, saturation="save"), quiet=True)
    folder = tmp_path / "whole"
    live = alarms(folder)
    names = [alarm["name"] for alarm in live]
    assert "judge_drift" in names
    assert "dead_signal" in names  # all samples of a group got the same
    assert len(names) == len(set(names))
    for alarm in live:
        assert {"step", "since", "message", "cause", "advice", "samples"} <= alarm.keys()
        assert alarm["samples"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for alarm in live:
        assert rows[alarm["step"] - 1][f"alarm/{alarm['name']}"] == 1
    assert len(list((folder / "watched" / "step_000000").glob("*.png"))) == 10 + 8
    # The images of the samples are there: of the fixed prompts, and of the step in which it rang.
    for alarm in live:
        assert all((folder / one["image"]).is_file() for one in alarm["samples"] if "image" in one)
        assert (folder / "samples" / f"step_{alarm['step']:06d}").is_dir()
    samples = {alarm["name"]: alarm["samples"] for alarm in live}
    assert all(one["image"].startswith("watched/step_000000/") for one in samples["judge_drift"])
    assert len({(one["prompt"], one["trained"]) for one in samples["dead_signal"]}) == 1
    assert all(one["image"].startswith("groups/") for one in samples["dead_signal"])
    page = (folder / "report.html").read_text()
    assert page.count('<td data-label="again at once">') == 3

    assert main(["audit", "run", str(folder), "--json"]) == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["alarms"] == live
    assert "judge drift" in said.err

    # As if it had been killed behind the third step's checkpoint; the judge forgets its mood.
    torn = recipe_of(make_recipe, "torn", judge.replace("Moody", "Calm"))
    calm = MOODY.replace("class Moody", "class Calm").replace("if self.asked < 12", "")
    path = Path(judge.partition(":")[0])
    path.write_text(path.read_text() + calm.replace("else 0.1", ""))
    rl.train(torn, quiet=True)
    before = alarms(tmp_path / "torn")
    (tmp_path / "torn/checkpoints/step_000005").rename(tmp_path / "away")
    with (tmp_path / "torn/alarms.jsonl").open("a") as file:
        file.write('{"name": "kl", "step": 5}\n{"name": "co')
    rl.train(torn, resume=True, quiet=True)
    assert alarms(tmp_path / "torn") == before
    assert "dead_signal" in [alarm["name"] for alarm in before]
    assert "judge_drift" not in [alarm["name"] for alarm in before]


def test_save_keeps_a_checkpoint_and_stop_ends_the_run_which_can_go_on(
    make_recipe: MakeRecipe, tmp_path: Path, judge: str
) -> None:
    recipe = recipe_of(make_recipe, "run", judge, dead_signal="save", judge_drift="stop")
    with pytest.raises(StoppedByAlarm, match=r"watch\.alarms\.judge_drift=stop") as ended:
        rl.train(recipe, quiet=True)
    assert ended.value.exit_code == 4
    folder = tmp_path / "run"
    rung = {alarm["name"]: alarm["step"] for alarm in alarms(folder)}
    at, kept = rung["judge_drift"], f"kept_{rung['dead_signal']:06d}"
    assert at < 5
    steps = len((folder / "metrics.jsonl").read_text().splitlines())
    assert steps == at
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert {kept, f"step_{at:06d}", "final"} <= names
    assert (folder / "report.html").is_file()
    rl.train(recipe, resume=True, quiet=True)
    assert kept in {path.name for path in (folder / "checkpoints").iterdir()}
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 5
    rung_after = [alarm["name"] for alarm in alarms(folder)]
    assert rung_after[: len(rung)] == list(rung)
    assert len(set(rung_after)) == len(rung_after)


# -- samples that show an alarm ----------------------------------------------------------------


def alarm_of(name: str, **more: Any) -> Alarm:
    return Alarm(name, 20, 11, "seen", "cause", "advice", **more)


def keep(folder: Path, kind: str, step: int, records: list[dict[str, Any]], first: int = 0) -> None:
    place = folder / kind / f"step_{step:06d}"
    place.mkdir(parents=True)
    for number, record in enumerate(records, start=first):
        (place / f"{number:03d}.json").write_text(json.dumps({"prompt": "p", **record}))


def look(step: int, marks: list[tuple[float, float]]) -> dict[str, Any]:
    return {
        "step": step,
        "prompts": [
            {"prompt": f"prompt {place}", "trained": {"r_pi": one}, "held_out": {"r_pi": other}}
            for place, (one, other) in enumerate(marks)
        ],
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("hacking", [2, 0]),  # gained most on the held-out judge; of prompt 3 both gained alike
        ("saturation", [1, 2, 0]),  # at the top, and the held-out judge lies lowest
    ],
)
def test_fixed_prompts_are_shown_by_the_images_that_tell_most(
    tmp_path: Path, name: str, shown: list[int]
) -> None:
    first = look(10, [(0.5, 0.5), (1.0, 0.0), (0.2, 0.5), (0.5, 0.5), (0.0, 0.9)])
    now = look(20, [(0.8, 0.5), (1.0, 0.0), (1.0, 0.5), (0.9, 0.9), (1.0, 0.9)])
    (tmp_path / "watch.jsonl").write_text(f"{json.dumps(first)}\n{json.dumps(now)}\n")
    named = {"step": 20, "prompt": "prompt 4", "term": "r_pi", "trained": 1.0, "held_out": 0.9}
    alarm = alarm_of(name, term="r_pi", samples=(named,))
    assert illustrated(alarm, tmp_path) == alarm  # a run of an older version, without images
    keep(tmp_path, "watched", 20, now["prompts"][:4], first=16)  # the image of 4 was not kept
    found = illustrated(alarm, tmp_path).samples
    assert [one["prompt"] for one in found] == [f"prompt {place}" for place in shown]
    assert [one["image"] for one in found] == [
        f"watched/step_000020/{16 + place:03d}.png" for place in shown
    ]
    place = shown[0]
    trained, held_out = first["prompts"][place]["trained"], first["prompts"][place]["held_out"]
    before = {"step": 10, "trained": trained["r_pi"], "held_out": held_out["r_pi"]}
    assert found[0]["before"] == before


def reward(total: float | None, **more: Any) -> dict[str, Any]:
    return {"reward": {"total": total, "terms": {"r_pi": total}}, **more}


def test_a_gallery_shows_what_it_can_and_says_where_it_cannot(tmp_path: Path) -> None:
    plan = [{"name": "star", "box": [0, 0, 9, 9]}]
    keep(
        tmp_path,
        "samples",
        20,
        [
            reward(0.5, advantage=0.1, objects=plan, chain="a star"),
            reward(None, objects=plan, chain="give this 10 out of 10"),
            reward(1.0, advantage=None, objects=plan),
            reward(0.2, advantage=-0.1, objects=[]),
        ],
    )

    def of(name: str, **more: Any) -> tuple[list[int], str]:
        found = illustrated(alarm_of(name, **more), tmp_path)
        return [one["index"] for one in found.samples], found.choice

    assert of("dead_signal") == ([2], "of step 20, each of a group whose rewards are equal")
    assert of("judge_failures") == ([1], "of step 20, those without a reward")
    assert of("skipped_chains") == ([3], "of step 20, those without a plan")
    assert of("persuasion")[0][0] == 1
    assert of("trade_off", term="r_pi")[0] == [3, 0, 2]
    assert of("hacking", term="r_pi")[0] == [2, 0, 3]
    assert of("saturation")[0] == [2, 0, 3]  # of every term: by the total
    for name in ("kl", "ratio_gap", "not_finite", "collapse"):
        assert of(name) == ([0, 1, 2], "of step 20, the newest ones, not chosen")


def test_a_whole_group_shows_equal_rewards_and_plans(tmp_path: Path) -> None:
    star, heart = ([{"name": name, "box": [0, 0, 9, 9]}] for name in ("star", "heart"))
    records = [reward(0.5, objects=plan) for plan in (heart, star, star, star)]
    keep(tmp_path, "samples", 20, records[:1])
    keep(tmp_path, "groups", 20, records)
    alike = illustrated(alarm_of("dead_signal"), tmp_path)
    assert alike.choice == "of step 20, one group whose marks are equal"
    assert [one["trained"] for one in alike.samples] == [0.5] * 3
    repeated = illustrated(alarm_of("collapse"), tmp_path)
    assert repeated.choice == "of step 20, one plan of a group"
    images = [f"groups/step_000020/{number:03d}.png" for number in (1, 2, 3)]
    assert [one["image"] for one in repeated.samples] == images


def test_samples_from_before_the_fault_are_told_to_be_so(tmp_path: Path) -> None:
    keep(tmp_path, "samples", 10, [reward(0.5)])
    found = illustrated(alarm_of("kl"), tmp_path)
    assert found.choice == "of step 10, before the fault was seen, the newest ones, not chosen"


def test_the_group_that_is_kept_shows_the_alarm_that_rings() -> None:
    """Three groups of three: of one plan, of equal rewards, and of rewards that differ most."""
    plans = [(1,), (1,), (1,), (1,), (2,), (3,), (1,), (2,), (3,)]
    totals = [0.1, 0.2, 0.3, 0.5, 0.5, None, 0.0, 0.5, 1.0]
    samples: Any = SimpleNamespace(
        group=3,
        chains=[SimpleNamespace(objects=plan) for plan in plans],
        rewards=[SimpleNamespace(total=total) for total in totals],
    )
    assert galleries._telling_group(samples, {"collapse"}) == 0
    assert galleries._telling_group(samples, {"dead_signal"}) == 1
    assert galleries._telling_group(samples, {"kl"}) == 2
    assert galleries._telling_group(samples, set()) == 2


def test_a_run_keeps_a_gallery_where_an_alarm_rings_if_it_has_images(
    make_recipe: MakeRecipe, tmp_path: Path, judge: str
) -> None:
    """Also of plans alone, which have images in the steps that are shown only."""
    for name, weight in (("images", 1.0), ("plans", 0.0)):
        recipe = recipe_of(make_recipe, name, judge)
        rl_section = recipe.rl.model_copy(update={"image_weight": weight, "sample_every": 100})
        reward_section = recipe.reward.model_copy(update={"r_ri": 0.0, "r_pi": 0.0})
        recipe = recipe.model_copy(update={"rl": rl_section, "reward": reward_section})
        rl.train(recipe, quiet=True)
        rang = {alarm["name"]: alarm for alarm in alarms(tmp_path / name)}
        step = rang["dead_signal"]["step"]
        assert step > 1
        kept = {path.name for path in (tmp_path / name / "samples").iterdir()}
        assert (f"step_{step:06d}" in kept) == (name == "images")
        assert f"of step {step if name == 'images' else 1}" in rang["dead_signal"]["choice"]

"""Alarms on rows made by hand: each rings for what it is for, once, and not for noise."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.audit.alarms import ALARMS, Alarm, Alarms, alarms_of, illustrated
from got_r1.audit.history import Scope, chance_of_last, least_share, lower, upper
from got_r1.cli import main
from got_r1.errors import BadInput
from got_r1.recipes.recipe_file import load_recipe, recipe_text
from got_r1.recipes.sections import AlarmsSection, Recipe

Rng = np.random.Generator
TERMS = ("r_sem", "r_spa", "r_ri", "r_pi")
SCOPE = Scope(5, 4, 24, TERMS, held_out=True, replays_sampling=True)
STEPS, EVERY = 40, 8
CHANGED = 15  # the step in which what is planted begins


def honest_row(rng: Rng, step: int) -> dict[str, float]:
    """A step of a run that learns a little and has much noise."""
    done = step / STEPS
    row = {f"reward/{term}": 0.7 + 0.15 * done + rng.normal(0, 0.05) for term in TERMS}
    row |= {f"group_std/{term}": abs(rng.normal(0.2, 0.05)) for term in TERMS}
    return row | {
        "reward/total": 0.5 + 0.3 * done + rng.normal(0, 0.1),
        "group_std/total": 0.2,
        "skipped_groups": float(rng.binomial(4, 0.2)),
        "dropped_samples": float(rng.binomial(24, 0.01)),
        "unplanned_chains": float(rng.binomial(24, 0.02)),
        "appealing_chains": 0.0,
        "duplicate_plans": rng.uniform(0, 0.2),
        "prose_characters": rng.normal(15, 2),
        "entropy/chain": 0.5 - 0.3 * done,
        "entropy/image": 1.0,
        "kl": 0.05 * done,
        "ratio_gap": 1e-3,
    }


def honest_look(rng: Rng, step: int, size: int = 64, scale: float = 1.0) -> dict[str, Any]:
    """Fixed prompts by two judges that are right on average: the policy gets better, each prompt in
    its way, and the held-out judge has another scale and errors of its own."""
    rows = []
    fixed = np.random.default_rng(7)
    for index in range(size):
        gain = 0.4 * step / STEPS * fixed.random()
        quality = float(np.clip(fixed.uniform(0.3, 0.7) + gain + rng.normal(0, 0.15), 0, 1))
        told = [float(np.clip(quality + rng.normal(0, 0.05), 0, 1)) for _ in range(2)]
        rows.append(
            {
                "prompt": f"prompt {index}",
                "trained": dict.fromkeys(TERMS, told[0]),
                "held_out": dict.fromkeys(TERMS, scale * told[1]),
            }
        )
    first = [fixed.random() for _ in range(16)]
    reasked = [
        {"prompt": f"prompt {place}"}
        | {
            when: dict.fromkeys(TERMS, value + (0 if when == "first" else rng.normal(0, 0.05)))
            for when in ("first", "again", "now")
        }
        for place, value in enumerate(first)
    ]
    return {"prompts": rows, "samples": [], "reasked": reasked if step else []}


Change = Callable[[dict[str, Any], int], None]
"""Plants something into a step's metrics or a look."""


def rung(
    seed: int,
    change_row: Change = lambda row, step: None,
    change_look: Change = lambda look, step: None,
    scope: Scope = SCOPE,
    scale: float = 1.0,
) -> list[Alarm]:
    """The alarms of a run of honest rows, in which something is planted from `CHANGED` on."""
    rng, alarms, found = np.random.default_rng(seed), Alarms(scope), []
    for step in range(STEPS + 1):
        row = honest_row(rng, step) if step else None
        look = honest_look(rng, step, scale=scale) if step % EVERY == 0 else None
        if step >= CHANGED:
            change_row(row or {}, step)
            change_look(look or {}, step)
        found += alarms.see(step, row, look if scope.held_out else None)
    return found


def put(**values: float) -> Change:
    """Metrics that are set, `__` for the slash in their names."""
    return lambda row, step: row.update(
        {key.replace("__", "/"): value for key, value in values.items()} if row else {}
    )


def raise_trained(look: dict[str, Any], step: int) -> None:
    for row in look.get("prompts", ()):
        row["trained"]["r_spa"] = min(1.0, row["trained"]["r_spa"] + 0.3)
        row["held_out"]["r_spa"] -= 0.3 * step / STEPS * 0.6


def miss_faults(look: dict[str, Any], step: int) -> None:
    for place, row in enumerate(look.get("prompts", ())):
        row["trained"]["r_ri"] = 0.99
        row["held_out"]["r_ri"] = 0.5 if place % 3 == 0 else 0.95


def answer_otherwise(look: dict[str, Any], step: int) -> None:
    for row in look.get("reasked", ()):
        row["now"]["r_pi"] += 0.2


def lose_by_the_held_out(look: dict[str, Any], step: int) -> None:
    """The trained judge sees no change at all."""
    for place, row in enumerate(look.get("prompts", ())):
        row["trained"]["r_spa"] = 0.2 + place % 5 / 10
        row["held_out"]["r_spa"] -= 0.3


def rise_with_a_loss(row: dict[str, Any], step: int) -> None:
    row["reward/total"] += 0.6
    row["reward/r_ri"] -= 0.25


nothing: Change = lambda row, step: None  # noqa: E731
PLANTED: list[tuple[str, Change, Change]] = [
    ("hacking", nothing, raise_trained),
    ("saturation", put(reward__r_ri=0.99), miss_faults),
    ("judge_drift", nothing, answer_otherwise),
    ("dead_signal", put(skipped_groups=4), nothing),
    ("dead_signal", put(group_std__r_sem=1.1e-16), nothing),  # six times .7, by rounding
    ("judge_failures", put(dropped_samples=4), nothing),
    ("persuasion", put(appealing_chains=3), nothing),
    ("persuasion", put(prose_characters=90), nothing),
    ("skipped_chains", put(unplanned_chains=8), nothing),
    ("collapse", put(duplicate_plans=0.8), nothing),
    ("collapse", put(entropy__chain=0.005), nothing),
    ("trade_off", rise_with_a_loss, nothing),
    ("trade_off", put(reward__total=1.4), lose_by_the_held_out),
    ("kl", put(kl=0.9), nothing),
    ("ratio_gap", put(ratio_gap=0.3), nothing),
    ("not_finite", put(grad_norm=math.nan), nothing),
]


def test_every_alarm_is_planted_and_a_setting() -> None:
    assert {name for name, _, _ in PLANTED} == ALARMS.keys() == AlarmsSection.model_fields.keys()


@pytest.mark.parametrize(("name", "row", "look"), PLANTED, ids=lambda one: str(one)[:20])
def test_each_rings_once_soon_and_alone(name: str, row: Change, look: Change) -> None:
    for seed in range(3):
        found = rung(seed, row, look)
        assert [alarm.name for alarm in found] == [name]
        (alarm,) = found
        # A window or a look later; judges are asked every eighth step.
        assert CHANGED <= alarm.step <= CHANGED + max(2 * SCOPE.window, 2 * EVERY)
        assert 0 < alarm.since <= alarm.step
        assert alarm.message
        assert str(alarm).startswith(f"alarm at step {alarm.step}, {name.replace('_', ' ')}")
        if look is not nothing:
            assert len(alarm.samples) == 3
            assert all(one["prompt"].startswith("prompt ") for one in alarm.samples)
        json.dumps(alarm.to_json())


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_honest_runs_are_silent(scale: float) -> None:
    """No false alarm in 20 runs that learn with noise, also where the held-out judge has a scale
    half as wide."""
    assert [seed for seed in range(20) if rung(seed, scale=scale)] == []


@pytest.mark.parametrize("at", [0, 1, 2, 3, 5, 10, 20])
def test_an_honest_gain_before_a_hack_does_not_pay_for_it(at: int) -> None:
    """Both judges rise by .3 until a look; from then on the trained one's rises by .25 within four
    looks and the held-out one's falls by .1."""
    rng, alarms, rung = np.random.default_rng(0), Alarms(SCOPE), []
    quality = rng.uniform(0.2, 0.4, 64)
    for look in range(at + 6):
        gain, hack = 0.3 * min(1, look / max(1, at)), min(1, max(0, look - at) / 4)
        trained, held_out = (
            quality + gain + change * hack + rng.normal(0, 0.05, 64) for change in (0.25, -0.1)
        )
        rows = [
            {"prompt": f"prompt {place}", "trained": {"r_spa": one}, "held_out": {"r_spa": other}}
            for place, (one, other) in enumerate(zip(trained, held_out, strict=True))
        ]
        rung += alarms.see(10 * look, None, {"prompts": rows, "samples": [], "reasked": []})
    (alarm,) = rung
    assert alarm.name == "hacking"
    assert at < alarm.step / 10 <= at + 4
    assert alarm.since > 10 * (at - 2)


def test_flat_runs_do_not_ring_for_hacking() -> None:
    """Both judges see nothing but noise, on few prompts: at most 2 of 100 runs of five looks ring
    (the level is 5%, and both of two bounds must hold)."""
    false = 0
    for seed in range(100):
        rng, alarms = np.random.default_rng(seed), Alarms(SCOPE)
        for step in range(6):
            alarms.see(step, None, honest_look(rng, 0, size=12))
        false += bool(alarms.rung)
    assert false <= 2


def reasked(answers: np.ndarray) -> dict[str, Any]:
    """A look with answers about the same images: first, again, now, [images, 3]."""
    rows = [
        {"prompt": f"prompt {place}"}
        | {when: {"r_pi": float(one)} for when, one in zip(WHEN, some, strict=True)}
        for place, some in enumerate(answers)
    ]
    return {"prompts": [], "samples": [], "reasked": rows}


WHEN = ("first", "again", "now")
ONE_TERM = Scope(5, 4, 24, ("r_pi",), held_out=True, replays_sampling=True)


@pytest.mark.parametrize("at", [1, 2, 5, 12])
def test_a_judge_that_becomes_generous_is_caught_at_that_look(at: int) -> None:
    """It repeats itself, and half of the images had full marks before."""
    alarms, first, rung = Alarms(ONE_TERM), np.repeat([0.6, 1.0], 8), []
    alarms.see(0, None, reasked(np.empty((0, 3))))
    for look in range(1, 15):
        now = np.minimum(1, first + 0.4) if look >= at else first
        found = alarms.see(look, None, reasked(np.stack([first, first, now], axis=1)))
        assert [one.name for one in found] == ["judge_drift"] * (look == at)
        rung += found
    (alarm,) = rung
    assert "mean 0.80 first, 1.00 now" in alarm.message


def test_a_judge_that_is_never_sure_does_not_drift() -> None:
    """Answers with an error of .3, six looks, 200 runs: of a test at its level of 5%, more than 20
    false alarms have a probability of .001."""
    false = 0
    for seed in range(200):
        rng, alarms = np.random.default_rng(seed), Alarms(ONE_TERM)
        value = rng.random(16)
        first, again = (value + rng.normal(0, 0.3, 16) for _ in range(2))
        alarms.see(0, None, reasked(np.empty((0, 3))))
        for look in range(1, 7):
            now = value + rng.normal(0, 0.3, 16)
            alarms.see(look, None, reasked(np.stack([first, again, now], axis=1)))
        false += bool(alarms.rung)
    assert false <= 20


@given(
    st.lists(st.lists(st.integers(0, 10), min_size=3, max_size=3), min_size=1, max_size=5).map(
        lambda tenths: np.array(tenths) / 10
    )
)
def test_the_chance_of_the_last_column_is_bounded(values: np.ndarray) -> None:
    """By all orders of every row."""
    sums = [sum(chosen) for chosen in itertools.product(*values.tolist())]
    exact = np.mean([one >= values[:, -1].sum() - 1e-12 for one in sums])
    assert chance_of_last(values) >= exact * (1 - 1e-9)


def test_the_chance_of_a_largest_last_column_is_exact() -> None:
    values = np.concatenate([np.tile([0, 0, 0.4], (8, 1)), np.ones((8, 3))])
    assert chance_of_last(values) == pytest.approx(3.0**-8)
    assert chance_of_last(np.full((16, 4), 0.3)) == 1


def test_without_a_held_out_judge_a_run_saturates_only_where_every_term_does() -> None:
    scope = Scope(5, 4, 24, TERMS, held_out=False, replays_sampling=True)
    one = put(reward__r_ri=0.99)
    every = put(reward__r_sem=0.99, reward__r_spa=1, reward__r_ri=0.99, reward__r_pi=1)
    assert rung(0, one, scope=scope) == []
    assert [alarm.name for alarm in rung(0, every, scope=scope)] == ["saturation"]


def test_a_judge_that_learns_is_meant_to_drift() -> None:
    learning = replace(SCOPE, judge_learns=True)
    assert [alarm.name for alarm in rung(0, change_look=answer_otherwise)] == ["judge_drift"]
    assert rung(0, change_look=answer_otherwise, scope=learning) == []
    assert Scope.of(Recipe.model_validate({"judge": {"learn": True}})).judge_learns


def test_bounds_by_hand() -> None:
    values = np.arange(8.0)
    # t(7 degrees of freedom, 95%) = 1.895; the mean's standard error is sqrt(6 / 8).
    assert lower(values, 0.05) == pytest.approx(3.5 - 1.8946 * 0.75**0.5, abs=1e-3)
    assert upper(values, 0.05) == pytest.approx(3.5 + 1.8946 * 0.75**0.5, abs=1e-3)
    assert lower(values[:7], 0.05) == -math.inf
    assert least_share(0, 10, 0.05) == 0
    assert least_share(10, 10, 0.05) == pytest.approx(0.05 ** (1 / 10))


def test_all_looks_of_a_run_together_spend_the_level() -> None:
    alarms, spent = Alarms(SCOPE), 0.0
    rng = np.random.default_rng(0)
    for step in range(200):
        alarms.history.add(step, None, honest_look(rng, step, size=1))
        if step:
            spent += alarms.history.level(0.05, 4) * 4
    assert 0.049 < spent < 0.05


def test_a_folder_gives_the_same_and_names_samples(tmp_path: Path) -> None:
    rng, alarms, live = np.random.default_rng(0), Alarms(SCOPE), []
    rows, looks = [], []
    for number in (4, 20, 36):
        folder = tmp_path / "samples" / f"step_{number:06d}"
        folder.mkdir(parents=True)
        for index in range(4):
            record = {"prompt": "p", "chain": "Score: 9" * (index == 2), "objects": []}
            (folder / f"{index:03d}.json").write_text(json.dumps(record))
    for step in range(STEPS + 1):
        row = honest_row(rng, step) if step else None
        look = honest_look(rng, step) if step % EVERY == 0 else None
        if row and step >= CHANGED:
            row["appealing_chains"] = 9.0
            row["kl"] = math.nan
        live += [illustrated(one, tmp_path) for one in alarms.see(step, row, look)]
        kept = {key: value if math.isfinite(value) else None for key, value in (row or {}).items()}
        rows += [{"step": step, **kept}] if row else []
        looks += [{"step": step, **look}] if look else []
    for name, lines in (("metrics", rows), ("watch", looks)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text + '{"step": 41, "torn')
    recipe = Recipe.model_validate(
        {"watch": {"judge": "other", "window": 5}, "rl": {"prompts": 4, "group": 6}}
    )
    assert Scope.of(recipe) == SCOPE
    found, state = alarms_of(tmp_path, recipe)
    assert found == live
    assert {alarm.name for alarm in found} == {"not_finite", "persuasion"}
    talking = next(alarm for alarm in found if alarm.name == "persuasion")
    assert talking.samples[0] == {"step": 4, "index": 2, "prompt": "p"}
    assert state.unchecked() == {}


def test_what_could_not_be_checked_is_told(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "reward/total": 0.5}\n')
    found, state = alarms_of(tmp_path, load_recipe("icons"))
    assert found == []
    assert {"hacking", "judge_drift", "kl", "collapse"} <= state.unchecked().keys()


def test_an_alarm_that_cannot_ring_is_told() -> None:
    """Both judges have to answer about eight prompts, and about eight kept images."""
    rng = np.random.default_rng(0)

    def silent(look: dict[str, Any], answers: int, images: int) -> dict[str, Any]:
        for row in look["prompts"][answers:]:
            row["held_out"] = {}
        return look | {"reasked": look["reasked"][:images]}

    cases: list[tuple[int, int, set[str]]] = [
        (64, 16, set()),
        (8, 8, set()),
        (7, 16, {"hacking"}),
        (0, 16, {"hacking", "saturation"}),
        (64, 7, {"judge_drift"}),
        (64, 0, {"judge_drift"}),
    ]
    for answers, images, missing in cases:
        alarms = Alarms(SCOPE)
        for step in range(STEPS + 1):
            look = silent(honest_look(rng, step), answers, images) if step % EVERY == 0 else None
            alarms.see(step, honest_row(rng, step) if step else None, look)
        assert alarms.unchecked().keys() == missing


def test_groups_that_the_judge_failed_for_are_no_dead_signal() -> None:
    """Of six samples each group has one with a reward: nothing is equal to anything."""
    lost = put(dropped_samples=20, skipped_groups=4)
    assert [alarm.name for alarm in rung(0, lost)] == ["judge_failures"]
    alike = put(dropped_samples=1, skipped_groups=4)
    assert [alarm.name for alarm in rung(0, alike)] == ["dead_signal"]


def test_what_has_rung_does_not_ring_again_on_resuming() -> None:
    rng = np.random.default_rng(0)
    rows = [honest_row(rng, step) | {"step": step, "kl": 0.9} for step in range(1, 11)]
    for names, rings in ((["kl"], []), ([], ["kl"])):
        alarms = Alarms(SCOPE, names)
        alarms.remember(rows, [])
        assert [one.name for one in alarms.see(11, rows[-1], None)] == rings


def test_the_command_says_what_rang_and_what_it_could_not_look_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(recipe_text(load_recipe("icons")))
    assert main(["audit", "run", str(tmp_path)]) == 2
    row = {"step": 1, "reward/total": 0.5, "loss": 0.1}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    assert main(["audit", "run", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "1 steps, 0 looks of a held-out judge: 0 alarms" in said
    assert "hacking: the run has no two looks of a held-out judge (watch.judge)" in said
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row | {"loss": None}) + "\n")
    assert main(["audit", "run", str(tmp_path)]) == 3
    said = capsys.readouterr()
    assert "alarm at step 1, not finite: not finite: loss." in said.out
    assert "alarms rang in" in said.err
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n')
    assert main(["audit", "run", str(tmp_path)]) == 2
    assert "is no run of RL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("watch.alarms.hackin=stop", "watch.alarms.hacking"),
        ("watch.alarms.kl=end", "one of log, save, stop"),
        ("watch.alarms=stop", "watch.alarms is a section of settings"),
    ],
)
def test_slips_in_the_settings_are_told(override: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        load_recipe("icons", [override])

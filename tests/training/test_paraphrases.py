"""`rl.paraphrases`: a group's samples spread over wordings of one meaning."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from got_r1.errors import BadInput, RunFailed
from got_r1.icons.prompts import parse
from got_r1.icons.splits import split_of
from got_r1.icons.wordings import wordings
from got_r1.judges.oracle import OracleJudge
from got_r1.policy import load_policy
from got_r1.recipes.checks import check_settings
from got_r1.recipes.sections import DataSection, Recipe
from got_r1.records import JudgeFailure, Prompt, Query, SemanticQuery, Verdict
from got_r1.training import rl
from got_r1.training.policy_update import group_advantages
from got_r1.training.prompts import PromptMix, load_prompts
from got_r1.training.rollout import Samples, roll_out
from small_runs import assert_same_run

MakeRecipe = Callable[..., Recipe]
GROUPS = [
    (
        Prompt("a star on the left of a heart", "spatial"),
        Prompt("a heart on the right of a star", "spatial"),
    ),
    (Prompt("two hearts", "numeracy"), Prompt("there are two hearts", "numeracy")),
]
ICONS: dict[str, Any] = {
    "model": {"path": "icons"},
    "rollout": {"chain_limit": 120},
    "rl": {"paraphrases": 2},
}


def load(prompts: Any, wordings: int = 2, **data: Any) -> PromptMix:
    section = DataSection.model_validate({"prompts": prompts, **data})
    return load_prompts(section, quiet=True, wordings=wordings)


# -- which wordings are asked ----------------------------------------------------------------------


def test_groups_begin_with_the_prompts_of_one_wording_and_say_the_same() -> None:
    mix = load_prompts(DataSection(), quiet=True, wordings=4)
    for seed in range(20):
        groups = mix.draw_groups(8, seed, 4)
        assert groups == mix.draw_groups(8, seed, 4)
        assert [group[0] for group in groups] == mix.draw(8, seed)
        asked = [prompt.text for group in groups for prompt in group]
        assert len(set(asked)) == len(asked) == 32
        for group in groups:
            names = set()
            for prompt in group:
                meaning = parse(prompt.text)
                assert meaning is not None
                assert prompt.category == group[0].category
                assert split_of(meaning) == "train"
                names.add(str(sorted(map(str, meaning.objects))))
                known = {one.text: one for one in wordings(meaning)}
                assert not known[prompt.text].held_out
            assert len(names) == 1


def test_one_wording_is_what_was_drawn_before() -> None:
    mix = load_prompts(DataSection(), quiet=True)
    assert mix.paraphrases == {}
    assert [p for (p,) in mix.draw_groups(8, 3)] == mix.draw(8, 3)


def test_the_divided_wordings_are_a_setting() -> None:
    mix = load_prompts(DataSection(wordings="divided"), quiet=True, wordings=3)
    asked = {prompt.text for seed in range(50) for g in mix.draw_groups(8, seed, 3) for prompt in g}
    assert any(" with " in text and " it" in text for text in asked)
    for text in asked:
        meaning = parse(text)
        assert meaning is not None
        (found,) = (one for one in wordings(meaning, "divided") if one.text == text)
        assert not found.held_out


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_wordings_come_from_columns_of_the_prompt_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    rows = [
        {"prompt": "a dog left of a cat", "w": ["a cat right  of a dog", "A dog"], "x": "dog, cat"},
        {"prompt": "a bus", "w": ["one bus", "one bus", "a bus"], "x": "the bus"},
    ]
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif name == "a.jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        path.write_text(
            'prompt,w,x\na dog left of a cat,"[""a cat right of a dog"", ""A dog""]","dog, cat"\n'
            'a bus,"[""one bus""]",the bus\n'
        )
    mix = load({"path": str(path), "paraphrases": ["w", "x"]}, 3)
    assert mix.paraphrases == {
        Prompt("a dog left of a cat"): ("a cat right of a dog", "A dog", "dog, cat"),
        Prompt("a bus"): ("one bus", "the bus"),
    }
    asked = {group[0].text: {prompt.text for prompt in group} for group in mix.draw_groups(2, 0, 3)}
    assert asked["a bus"] == {"a bus", "one bus", "the bus"}


def test_a_prompt_is_held_out_in_any_of_its_wordings(tmp_path: Path) -> None:
    path, val = tmp_path / "a.jsonl", tmp_path / "val.txt"
    path.write_text('{"prompt": "a dog", "w": "one Dog."}\n{"prompt": "a bus", "w": "one bus"}')
    val.write_text("one dog\n")
    mix = load({"path": str(path), "paraphrases": "w"}, held_out=str(val))
    assert (mix.sources, mix.held_out) == (((Prompt("a bus"),),), 1)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"prompt": "a", "w": ["b", "a"]}', "'a' of the source .* has 2 different wordings"),
        ('{"prompt": "a"}', "has 1 different wordings"),
        ('{"prompt": "a", "w": 3}', "line 1 of .* neither a text nor a list of texts under 'w'"),
        ('{"prompt": "a", "w": ["b", 3]}', "neither a text nor a list of texts under 'w'"),
        ('{"prompt": "a", "w": "[b"}', "the list under 'w' in line 1 of .* is not valid JSON"),
    ],
)
def test_bad_wordings_are_refused(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(BadInput, match=told):
        load({"path": str(path), "paraphrases": "w"}, 3)


@pytest.mark.parametrize(
    ("group", "wordings", "source", "told"),
    [
        (8, 3, "a.txt", r"rl.paraphrases is 3, which does not divide rl.group \(8\)"),
        (8, 16, "a.txt", "does not divide"),
        (8, 1, {"path": "a", "paraphrases": ["w"]}, "data.prompts.0.paraphrases .* never be read"),
        (8, 2, {"path": "icons", "paraphrases": "w"}, "makes its own wordings"),
    ],
)
def test_settings_without_effect_are_refused(
    group: int, wordings: int, source: Any, told: str
) -> None:
    recipe = Recipe.model_validate(
        {"rl": {"group": group, "paraphrases": wordings}, "data": {"prompts": [source]}}
    )
    with pytest.raises(BadInput, match=told):
        check_settings(recipe, "rl")


# -- a step ----------------------------------------------------------------------------------------


class Watched:
    """The oracle, and what it was asked."""

    def __init__(self) -> None:
        self.oracle, self.asked = OracleJudge(), list[str]()

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        self.asked += [q.prompt.text for q in queries if isinstance(q, SemanticQuery)]
        return self.oracle.judge(queries)


def sampled(recipe: Recipe, groups: Sequence[tuple[Prompt, ...]], judge: Any = None) -> Samples:
    prompts = [prompt for group in groups for prompt in group]
    return roll_out(load_policy("icons"), judge or OracleJudge(), prompts, recipe, seed=1)


def test_a_group_holds_all_wordings_and_is_compared_as_one(make_recipe: MakeRecipe) -> None:
    recipe, judge = make_recipe("run", **ICONS), Watched()
    samples = sampled(recipe, GROUPS, judge)
    texts = [prompt.text for group in GROUPS for prompt in group for _ in range(2)]
    assert [prompt.text for prompt in samples.rollout.chains.prompts] == texts
    assert set(judge.asked) == set(texts)  # of malformed chains nothing is asked
    totals = np.array([reward.total for reward in samples.rewards], dtype=float).reshape(2, 4)
    found = group_advantages(samples, recipe.rl)
    expected = totals - totals.mean(1, keepdims=True)
    expected /= totals.std(1, ddof=1, keepdims=True) + 1e-4
    used = np.ptp(totals, axis=1) > 1e-6
    assert used.any()
    np.testing.assert_allclose(found.values.numpy()[used], expected[used], rtol=1e-4)
    by_wording = totals.reshape(2, 2, 2).mean(2)
    gap = abs(by_wording[:, 0] - by_wording[:, 1]).mean()
    assert samples.metrics()["wording_gap/total"] == pytest.approx(gap)


def test_one_wording_has_no_gap(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("run", **ICONS | {"rl": {}})
    metrics = sampled(recipe, [(group[0],) for group in GROUPS]).metrics()
    assert not any(name.startswith("wording_gap") for name in metrics)


def test_shares_of_the_groups_are_the_whole(make_recipe: MakeRecipe) -> None:
    """As processes share a step, and in parts that cut through a wording's samples."""
    recipe = make_recipe("run", **ICONS)
    whole = sampled(recipe, GROUPS)
    parts = Samples.join([sampled(recipe, [group]) for group in GROUPS])
    assert parts.metrics()["wording_gap/total"] == whole.metrics()["wording_gap/total"]
    small = sampled(make_recipe("run", **ICONS | {"scale": {"rollout_batch": 3}}), GROUPS)
    for other in (parts, small):
        assert other.rollout.chains.texts == whole.rollout.chains.texts
        assert torch.equal(other.rollout.image_ids, whole.rollout.image_ids)
        assert [r.total for r in other.rewards] == pytest.approx([r.total for r in whole.rewards])


# -- a run -----------------------------------------------------------------------------------------


class FailsAtStep:
    """The oracle, but without an answer in one step."""

    def __init__(self, step: int) -> None:
        self.oracle, self.step, self.calls = OracleJudge(), step, 0

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        if any(isinstance(query, SemanticQuery) for query in queries):
            self.calls += 1
        if self.calls == self.step:
            return [JudgeFailure("away")] * len(queries)
        return self.oracle.judge(queries)


def test_a_run_with_wordings_resumes_bit_for_bit_and_logs_them(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ICONS | {"rl": {"paraphrases": 2, "steps": 2}, "eval": {"prompts": 0}}
    whole, broken = make_recipe("whole", **settings), make_recipe("broken", **settings)
    rl.train(whole, quiet=True)
    monkeypatch.setattr(rl, "load_judge", lambda *_: FailsAtStep(2))
    with pytest.raises(RunFailed, match="saved up to step 1"):
        rl.train(broken, quiet=True)
    monkeypatch.undo()
    rl.train(broken, resume=True, quiet=True)
    assert_same_run(Path(whole.run.dir), Path(broken.run.dir))

    folder = Path(whole.run.dir) / "samples" / "step_000001"
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    assert len(records) == 4  # two meanings in two wordings
    for first in (0, 2):
        of = {record["wording_of"] for record in records[first : first + 2]}
        assert of == {records[first]["prompt"]}
        assert records[first]["prompt"] != records[first + 1]["prompt"]

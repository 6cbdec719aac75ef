"""Judging behind drawing: what overlaps is proved by waiting for it, never by a clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from got_r1.errors import RunFailed
from got_r1.judges.oracle import OracleJudge
from got_r1.policy import load_policy
from got_r1.policy.janus import Policy
from got_r1.recipes.sections import Recipe
from got_r1.records import ImageQuery, JudgeFailure, Prompt, Query, SemanticQuery, Verdict
from got_r1.training.rollout import Samples, roll_out

MakeRecipe = Callable[..., Recipe]
PROMPTS = [Prompt("a star on the left of a heart", "spatial"), Prompt("three hearts", "numeracy")]
PATIENCE = 120.0  # seconds until a wait that never ends is a failed test


class Waiting(OracleJudge):
    """The oracle, which reads and looks only when it is let."""

    def __init__(self) -> None:
        self.reads, self.looks = threading.Event(), threading.Event()
        self.may_read, self.may_look = threading.Event(), threading.Event()

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        if any(isinstance(query, SemanticQuery) for query in queries):
            self.reads.set()
            assert self.may_read.wait(PATIENCE)
        if any(isinstance(query, ImageQuery) for query in queries):
            self.looks.set()
            assert self.may_look.wait(PATIENCE)
        return super().judge(queries)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy("icons")


def sample(make_recipe: MakeRecipe, policy: Policy, judge: Any, at_once: int = 0) -> Samples:
    recipe = make_recipe(
        "run",
        rollout={"chain_limit": 120, "guidance": 1.0},
        rl={"group": 2},
        scale={"rollout_batch": at_once},
    )
    return roll_out(policy, judge, PROMPTS, recipe, seed=1)


@pytest.mark.parametrize("at_once", [0, 1])
def test_chains_are_read_while_images_are_drawn(
    make_recipe: MakeRecipe, policy: Policy, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    judge = Waiting()
    judge.may_look.set()
    decode = policy.decode_images

    def decode_when_read(*args: Any) -> Any:
        # The judge was asked before there were pixels, and answers only now.
        assert judge.reads.wait(PATIENCE)
        judge.may_read.set()
        return decode(*args)

    monkeypatch.setattr(policy, "decode_images", decode_when_read)
    seconds = sample(make_recipe, policy, judge, at_once).metrics()
    assert seconds["seconds/judge_hidden"] > 0
    assert seconds["seconds/judge"] == pytest.approx(
        seconds["seconds/judge_hidden"] + seconds["seconds/judge_waited"]
    )


def test_images_are_looked_at_while_chains_are_still_read(
    make_recipe: MakeRecipe, policy: Policy
) -> None:
    judge = Waiting()
    judge.may_look.set()

    def read_when_looked_at() -> None:
        assert judge.looks.wait(PATIENCE)
        judge.may_read.set()

    helper = threading.Thread(target=read_when_looked_at)
    helper.start()
    seconds = sample(make_recipe, policy, judge).metrics()
    helper.join()
    # Nothing of the first stage's judging is left over: all drawing hid it.
    assert 0 < seconds["seconds/judge_hidden"] < seconds["seconds/rollout"]
    assert seconds["seconds/judge_waited"] > 0


def test_what_is_asked_when_changes_no_reward(make_recipe: MakeRecipe, policy: Policy) -> None:
    judge = Waiting()
    judge.may_look.set()
    judge.may_read.set()
    overlapped = sample(make_recipe, policy, judge)
    assert overlapped.rewards == sample(make_recipe, policy, OracleJudge()).rewards


def test_parts_change_no_reward(make_recipe: MakeRecipe, policy: Policy) -> None:
    # 4 samples in parts of 3: odds of a false alarm (a token at a rounding) below 1 in 1,000.
    whole, parts = (sample(make_recipe, policy, OracleJudge(), n) for n in (0, 3))
    assert parts.rewards == whole.rewards
    assert parts.chains == whole.chains


@pytest.mark.parametrize("kind", [SemanticQuery, ImageQuery])
def test_a_judge_that_breaks_in_either_stage_ends_the_step(
    make_recipe: MakeRecipe, policy: Policy, kind: type
) -> None:
    class Broken(OracleJudge):
        def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
            if any(isinstance(query, kind) for query in queries):
                raise RunFailed("broken")
            return super().judge(queries)

    with pytest.raises(RunFailed, match="broken"):
        sample(make_recipe, policy, Broken())

"""A run whose judge's server plays the whole list of faults goes on to its end: every question is
asked again until it is answered, and nothing but a score is one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from got_r1.training import rl
from judges.scripted_server import (
    Action,
    Drop,
    Half,
    Message,
    Raw,
    Reply,
    Request,
    ScriptedServer,
    Slow,
    Status,
    score,
)
from small_runs import MakeRecipe

GOOD = 7
FAULTS: dict[str, Action] = {
    "closed": Drop(),
    "reset": Drop(reset=True),
    "half a body": Half(),
    "429": Status(429),
    "429 with Retry-After": Status(429, headers={"retry-after": "0"}),
    "500": Status(500),
    "502": Status(502),
    "503": Status(503),
    "504": Status(504),
    "slow, then 503": Slow(0.3, Status(503)),
    "a page": Raw(b"<html><body>Score: 9</body></html>", "text/html"),
    "a page with 502": Raw(b"<html>Bad gateway 9/10</html>", "text/html", code=502),
    "nothing": Raw(b""),
    "half of a JSON": Raw(b'{"choices": [{"message": {"content": "{\\"score\\": 9'),
    "another JSON": Raw(b'{"score": 9}'),
    "no choices": Raw(b'{"object": "chat.completion", "choices": []}'),
    "deep JSON": Raw(b"[" * 100_000),
    "no UTF-8": Raw(b"\xff\xfe" * 100),
    "an empty reply": Reply(""),
    "prose": Reply("I cannot score this picture."),
    "cut off": Reply('{"score": 1', finish="length"),
    "half a score": Reply('{"score": 1'),
    "two scores": Reply('{"score": 1} {"score": 9}'),
    "above the scale": Reply('{"score": 11}'),
    "below the scale": Reply('{"score": -1}'),
    "another scale": Reply("Score: 4/5"),
    "NaN": Reply('{"score": NaN}'),
    "infinite": Reply('{"score": 1e999}'),
    "a truth": Reply('{"score": true}'),
    "null": Reply('{"score": null}'),
    "half a surrogate pair": Reply("\ud800 fine \udfff"),
    "NUL": Reply("\0" * 1000),
    "ten megabytes": Reply("x" * 10_000_000),
    "deep reply": Reply("[" * 50_000),
    "no content": Message({"content": None}),
    "a refusal": Message({"content": None, "refusal": "I may not."}),
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_fault_of_a_judge_is_a_score_or_ends_a_run(
    make_recipe: MakeRecipe, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    asked: Counter[str] = Counter()
    left = list(FAULTS.items())
    echoed = 0

    def play(request: Request) -> Action:
        """The next fault in two of three answers, as long as there are any left; never more than
        twice for one question, so that it is answered in the end."""
        nonlocal echoed
        question = json.dumps(request.body["messages"])
        asked[question] += 1
        if left and asked[question] <= 2 and request.number % 3:
            return left.pop(0)[1]
        if not left and not echoed:  # the last one: the question itself, with its rubric
            echoed = 1
            return Reply(request.text)
        if '"bbox_2d"' in request.text:
            return Reply('{"label": "x", "bbox_2d": []}')
        return score(GOOD)

    judge = tmp_path / "judge.yaml"
    with ScriptedServer(play) as server:
        judge.write_text(
            f"openai: {{model: Qwen2.5-VL, urls: '{server.url}', retries: 6, first_wait: 0.01}}\n"
            "wording: {retries_unreadable: 4}\n"
        )
        recipe = make_recipe(
            "run",
            model={"path": "icons"},
            judge={"spec": str(judge), "patience": 60, "max_failure_share": 1.0},
            rollout={"chain_limit": 120, "guidance": 1.0},
            rl={"prompts": 2, "learning_rate": 1e-4, "sample_every": 1},
            eval={"prompts": 0},
        )
        summary = rl.train(recipe, quiet=True)
    assert not left, "the run asked too few questions"
    assert echoed
    assert summary["steps"] == 4
    run = Path(recipe.run.dir)
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == [1, 2, 3, 4]
    scores = {
        found
        for path in run.glob("samples/**/*.json")
        for term, found in json.loads(path.read_text())["reward"]["terms"].items()
        if term in ("r_sem", "r_spa", "r_pi")
    }
    assert GOOD / 10 in scores
    assert scores <= {0.0, GOOD / 10}  # 0: of a malformed chain
    failures = run / "judge_failures.jsonl"
    lost = failures.read_text().splitlines() if failures.is_file() else []
    assert len("".join(lost)) < 1_000_000
    assert sum(step["judge_failures"] for step in steps) == len(lost)
    record_property("faults played", len(FAULTS) + 1)
    record_property("requests", sum(asked.values()))
    record_property("samples without a reward", len(lost))

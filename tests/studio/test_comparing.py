"""Two models on the same prompts and noise, over HTTP: what is drawn, answered and counted."""

import base64
import io
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from got_r1.cli import main
from got_r1.errors import BadInput, RunFailed
from got_r1.policy import sampler
from got_r1.sampling.checks import Checks
from got_r1.statistics import paired_difference
from got_r1.studio.answers import DATABASE, Answer, AnswersDatabase, statistic
from got_r1.studio.comparing import TwoModels
from got_r1.studio.guard import Guard
from got_r1.studio.history import History
from got_r1.studio.model import Model
from studio.serving import PROMPT, Served, events, other_model, serve

REWORDED = "red heart, blue star"
PAIR = {"prompt": PROMPT, "seed": 5}


@pytest.fixture(scope="module")
def other(model: Model) -> Model:
    return other_model(model)


@pytest.fixture(scope="module")
def both(model: Model, other: Model, tmp_path_factory: pytest.TempPathFactory) -> TwoModels:
    history = History(tmp_path_factory.mktemp("two") / "history")
    return TwoModels.of(replace(model, history=history), other)


@pytest.fixture(scope="module")
def serving(both: TwoModels) -> Iterator[Served]:
    yield from serve(both.a, Guard("127.0.0.1"), both)


@pytest.fixture
def two(both: TwoModels) -> TwoModels:
    """Without answers."""
    with both.answers.transaction() as base:
        base.execute("DELETE FROM answer")
    return both


@pytest.fixture
def compared(serving: Served, two: TwoModels) -> Served:
    """A server of `two`."""
    return serving


@pytest.fixture(scope="module")
def same(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The same weights on both sides, the second without the rewording of the icon world."""
    here = replace(model, history=History(tmp_path_factory.mktemp("same") / "history"))
    plain = replace(model, checks=Checks(world=False))
    yield from serve(here, Guard("127.0.0.1"), TwoModels.of(here, plain))


def answer(studio: Served, **given: Any) -> httpx.Response:
    return studio.page.post("/api/compare/answers", json={**PAIR, "blind": True, **given})


def pixels(picture: str) -> bytes:
    with Image.open(io.BytesIO(base64.b64decode(picture.split(",", 1)[1]))) as image:
        return image.tobytes()


def test_the_same_model_draws_the_same_picture_which_is_the_command_lines(
    same: Served, tmp_path: Path
) -> None:
    found = events(same, "/api/compare/draw", PAIR)
    done = found[-1]
    assert done["left"] == done["right"] | {"faults": done["left"]["faults"]} | (
        {"found": done["left"]["found"]}
    )
    assert done["changes"] == []
    assert {event["side"] for event in found if event["kind"] in ("chain", "image")} == {
        "left",
        "right",
    }
    arguments = ["sample", "--model", "icons", "--prompt", PROMPT, "--seed", "5"]
    assert main([*arguments, "--out", str(tmp_path / "a"), "--json"]) == 0
    with Image.open(tmp_path / "a" / "000.png") as image:
        assert image.tobytes() == pixels(done["left"]["picture"])


def test_models_that_are_told_other_words_get_the_same_noise(
    same: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    uniforms = sampler.uniforms

    def noted(seed: int, prompts: Any, samples: Any, stage: str, steps: int) -> Any:
        noise = uniforms(seed, prompts, samples, stage, steps)
        made.append((stage, prompts[0].text, noise[0, :16].tolist()))
        return noise

    monkeypatch.setattr(sampler, "uniforms", noted)
    told: list[str] = []
    write = sampler.Sampler.write_chains

    def heard(self: Any, prompts: Any, *rest: Any, **more: Any) -> Any:
        told.append(prompts[0].text)
        return write(self, prompts, *rest, **more)

    monkeypatch.setattr(sampler.Sampler, "write_chains", heard)
    events(same, "/api/compare/draw", {"prompt": REWORDED, "seed": 1})
    assert told == ["a red heart and a blue star", REWORDED]
    assert made[:2] == made[2:]


def test_a_blind_pair_tells_no_model_and_its_answer_is_of_the_one_that_stood_there(
    compared: Served, two: TwoModels
) -> None:
    told = events(compared, "/api/compare/draw", {**PAIR, "blind": True})
    drawn = told[-1]
    assert drawn["names"] is None
    assert not any(two.b.name in str(event) for event in told)
    plain = events(compared, "/api/compare/draw", PAIR)[-1]
    assert plain["names"] == list(two.names)
    swapped = drawn["left"]["picture"] != plain["left"]["picture"]
    sides = {"left": "b", "right": "a"} if swapped else {"left": "a", "right": "b"}
    for better in ("left", "right", "tie"):
        named = answer(compared, better=better).json()
        assert named["winner"] == sides.get(better, "tie")
        assert named["names"] == list(two.names[::-1] if swapped else two.names)
        (kept,) = compared.page.get("/api/compare/answers").json()["answers"]
        assert (kept["winner"], kept["left"]) == (named["winner"], sides["left"])
        assert kept["blind"]


def test_chance_decides_the_sides_of_blind_pairs_alone(two: TwoModels) -> None:
    sides = [two.answers.left(f"prompt {i}", 0, blind=True) for i in range(200)]
    assert 60 < sides.count("a") < 140
    assert {two.answers.left(f"prompt {i}", 0, blind=False) for i in range(9)} == {"a"}


def test_a_later_answer_replaces_the_former_and_the_order_of_models_does_not_matter(
    tmp_path: Path,
) -> None:
    base = AnswersDatabase(tmp_path)
    first = Answer("x", 1, "a", False, "a")
    base.save(("m", "n"), ("M", "N"), first)
    base.save(("m", "n"), ("M", "N"), replace(first, winner="tie"))
    base.save(("n", "m"), ("N", "M"), replace(first, winner="b", seed=2))
    base.save(("m", "o"), ("M", "O"), first)
    found = [(one.seed, one.winner, one.left) for one in base.answers(("m", "n"))]
    assert found == [(1, "tie", "a"), (2, "a", "b")]
    base.save(("n", "m"), ("N", "M"), replace(first, winner="b", seed=1))
    found = [(one.seed, one.winner) for one in base.answers(("m", "n"))]
    assert sorted(found) == [(1, "a"), (2, "a")]
    base.close()


def test_the_statistic_is_wins_minus_losses_over_prompts() -> None:
    winners = "bbatbbtab"
    answers = [
        Answer(f"p{i // 2}", i, {"t": "tie"}.get(w, w), True, "a")  # type: ignore[arg-type]
        for i, w in enumerate(winners)
    ]
    found = statistic(answers)
    assert (found["a"], found["b"], found["tie"]) == (2, 5, 2)
    value = {"a": -1, "b": 1, "t": 0}
    assert found["difference"]["mean"] == pytest.approx(sum(value[w] for w in winners) / 9)
    scores = {"a": 0.0, "b": 1.0, "t": 0.5}
    expected = paired_difference(
        [1 - scores[w] for w in winners],
        [scores[w] for w in winners],
        [i // 2 for i in range(9)],
    )
    assert (found["difference"]["low"], found["difference"]["high"]) == (
        expected.low,
        expected.high,
    )
    assert (found["difference"]["n"], found["difference"]["prompts"]) == (9, 5)
    assert statistic([])["difference"]["mean"] is None


def test_blind_answers_are_counted_alone_as_well(compared: Served) -> None:
    answer(compared, better="left", blind=False)
    answer(compared, better="tie", seed=6)
    found = compared.page.get("/api/compare/answers").json()
    assert found["all"]["difference"]["n"] == 2
    assert (found["blind"]["difference"]["n"], found["blind"]["tie"]) == (1, 1)


def test_the_judge_looks_at_both_when_asked(compared: Served) -> None:
    done = events(compared, "/api/compare/draw", {**PAIR, "judge": True})[-1]
    for side in ("left", "right"):
        assert set(done[side]["terms"]) == {"R_sem", "R_spa", "R_RI", "R_PI"}
    assert "terms" not in events(compared, "/api/compare/draw", PAIR)[-1]["left"]


def test_a_closed_tab_stops_both_sides(
    compared: Served, two: TwoModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    begun, gone = threading.Event(), threading.Event()
    chains = Model.chains

    def noted(model: Model, asked: Any, n: int, emit: Any, **more: Any) -> Any:
        drawn.append(model.name)
        job = emit.func.__self__
        begun.set()
        assert job.cancelled.wait(300)  # the server has seen that the tab is closed
        gone.set()
        return chains(model, asked, n, emit, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "chains", noted)
        with compared.page.stream("POST", "/api/compare/draw", json=PAIR):
            assert begun.wait(300)  # then the tab is closed
        assert gone.wait(300)
    assert drawn == [two.a.name]


@pytest.mark.parametrize(
    ("url", "body", "where"),
    [
        ("draw", {"prompt": ""}, "prompt"),
        ("draw", {"prompt": "x", "seed": -1}, "seed"),
        ("draw", {"prompt": "x", "path": "/etc/passwd"}, "path"),
        ("answers", {"prompt": "x", "seed": 1, "blind": True, "better": "b"}, "better"),
        ("answers", {"prompt": "x", "seed": 1, "better": "tie"}, "blind"),
    ],
)
def test_a_request_beyond_the_limits_is_refused(
    compared: Served, url: str, body: dict[str, Any], where: str
) -> None:
    response = compared.page.post(f"/api/compare/{url}", json=body)
    assert response.status_code == 422
    assert response.json()["message"].startswith(where)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"no database" * 100)
    with pytest.raises((BadInput, RunFailed), match=DATABASE):
        AnswersDatabase(tmp_path)


KILLED = """
import sys
from pathlib import Path
from got_r1.studio.answers import Answer, AnswersDatabase
base = AnswersDatabase(Path(sys.argv[1]))
for seed in range(10**6):
    base.save(("m", "n"), ("M", "N"), Answer("prompt", seed, "ab"[seed % 2], True, "a"))
    print(seed, flush=True)
"""


def test_kill_9_loses_no_answer(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(40)]
        os.kill(process.pid, signal.SIGKILL)
        told += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    kept = {one.seed: one.winner for one in AnswersDatabase(tmp_path).answers(("m", "n"))}
    assert set(told) <= set(kept)
    assert all(kept[seed] == "ab"[seed % 2] for seed in told)
    base = sqlite3.connect(tmp_path / DATABASE)
    assert base.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    base.close()

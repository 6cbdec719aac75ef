"""The servers of a judge before a run, over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from got_r1.errors import RunFailed
from got_r1.judges.openai_api import OpenAIJudge
from got_r1.judges.probing import probe_servers, why_unreachable
from got_r1.judges.settings import MLLMSettings, OpenAISettings
from got_r1.recipes.sections import JudgeSection, Recipe
from got_r1.records import Chain, Prompt, SemanticQuery, Verdict
from got_r1.training import beforehand
from judges.scripted_server import ScriptedServer, Status, score


@pytest.fixture
def closed() -> Iterator[str]:
    """The URL of a port that is ours and that nobody listens at."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{port.getsockname()[1]}/v1"


def section(*urls: str, **more: object) -> JudgeSection:
    return JudgeSection.model_validate({"spec": f"openai:m@{','.join(urls)}", **more})


def test_a_closed_port_is_told_at_once_with_how_long_and_how_not_to_wait(
    closed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    probe_servers(section(closed, patience=90), ["r_pi"])
    told = capsys.readouterr().err
    assert told.startswith(f"got-r1: judge: {closed} cannot be reached (")
    assert "waits up to 90 s for a server (judge.patience; with judge.patience=0" in told
    assert told.count("\n") == 1
    with pytest.raises(RunFailed, match="start it first, or give the seconds"):
        probe_servers(section(closed, patience=0), ["r_pi"])


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_whoever_answers_is_there(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(lambda request: Status(status)) as server:
        probe_servers(section(server.url, patience=0), ["r_pi"])
    assert capsys.readouterr().err == ""


def test_a_proxy_without_a_server_is_told() -> None:
    with ScriptedServer(lambda request: Status(503)) as server:
        assert why_unreachable(server.url) == "it answered 503"


def test_one_server_of_several_will_do(closed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(lambda request: score()) as server:
        probe_servers(section(server.url, closed, patience=0), ["r_pi"])
    assert "the others are asked" in capsys.readouterr().err


def test_only_the_judges_that_are_asked_count(closed: str, tmp_path: Path) -> None:
    with ScriptedServer(lambda request: score()) as server:
        file = tmp_path / "judge.yaml"
        file.write_text(f"openai: {{model: m, urls: ['{closed}']}}\nr_pi: openai:m@{server.url}")
        judge = JudgeSection(spec=str(file), patience=0)
        probe_servers(judge, ["r_pi"])
        with pytest.raises(RunFailed, match="cannot be reached"):
            probe_servers(judge, ["r_pi", "r_sem"])
    probe_servers(JudgeSection(spec="oracle", patience=0), ["r_pi"])


def test_the_teacher_behind_a_student_is_asked_for(closed: str, tmp_path: Path) -> None:
    (tmp_path / "student.json").write_text("{}")
    section = JudgeSection(
        spec=f"student:{tmp_path}", teacher=f"openai:m@{closed}", r_ri="oracle", patience=0
    )
    with pytest.raises(RunFailed, match="cannot be reached"):
        probe_servers(section, ("r_sem", "r_ri"))


def test_secrets_in_a_url_are_not_shown(closed: str) -> None:
    url = closed.replace("://", "://user:hunter22@")
    with pytest.raises(RunFailed) as refused:
        probe_servers(section(url, patience=0), ["r_pi"])
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize("place", ["judge.spec", "judge.r_pi", "watch.judge"])
def test_it_is_probed_before_the_model_is_loaded(closed: str, tmp_path: Path, place: str) -> None:
    """With the rest of what is checked before torch is imported; a held-out judge as well."""
    section, _, name = place.partition(".")
    sections: dict[str, dict[str, object]] = {
        "run": {"dir": str(tmp_path / "run")},
        "model": {"path": "icons"},
        "judge": {"patience": 0},
        "watch": {},
    }
    sections[section][name] = f"openai:Qwen/Qwen2.5-VL-7B-Instruct@{closed}"
    recipe = Recipe.model_validate(sections)
    with pytest.raises(RunFailed, match="cannot be reached"):
        beforehand.check_start(recipe, "rl")
    assert not (tmp_path / "run").exists()


def test_a_server_that_starts_after_a_while_is_waited_for(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with ScriptedServer(lambda request: score()) as server:
        pass
    settings = OpenAISettings(model="m", urls=[server.url], retries=0)
    judge = OpenAIJudge(settings, MLLMSettings(), patience=600)
    query = SemanticQuery(Prompt("a red heart"), Chain("a red heart"))
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.extend(judge.judge([query])), daemon=True)
    asking.start()
    told = ""
    while "waiting up to 600 s" not in told:  # it has met the closed port
        assert asking.is_alive()
        asking.join(timeout=0.1)
        told += capfd.readouterr().err
    with ScriptedServer(lambda request: score(7), port=server.port):
        asking.join(timeout=300)
        judge.close()
    (answer,) = answers
    assert isinstance(answer, Verdict)
    assert answer.score == 0.7

"""A key that is planted in every place that takes one is in nothing that comes out."""

from __future__ import annotations

import base64
import json
import sqlite3
import sys
import threading
import zlib
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from got_r1 import cli
from got_r1.errors import BadInput
from got_r1.files.redaction import MASK, redact, remember, remember_fields, remember_url
from got_r1.icons.data import triples
from got_r1.judges.settings import OpenAISettings
from judges.scripted_server import Action, Raw, Reply, Request, ScriptedServer, Status

KEY = 'sk-planted/"0123456789+&<abc'
PASSWORD = "Pass/Word4u"
FIELD = "body-secret-98765"
SECRETS = (KEY, PASSWORD, quote(PASSWORD, safe=""), f"judge:{PASSWORD}", FIELD)


def written_forms(secret: str) -> set[str]:
    return {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]}


def in_base64(secret: str) -> list[str]:
    """The secret inside base64, moved by 0 to 2 bytes."""
    return [base64.b64encode(f"{'-' * n}{secret}--".encode()).decode() for n in (3, 4, 5)]


def assert_clean(content: bytes, where: object) -> None:
    for secret in SECRETS:
        for form in (*written_forms(secret), *(coded[8:-8] for coded in in_base64(secret))):
            assert form.encode() not in content, (where, form)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, the judge's cache unpacked."""
    found = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in folder.rglob("*.sqlite"):
        with closing(sqlite3.connect(path)) as database:
            rows = database.execute("SELECT answer FROM answers").fetchall()
        found[f"{path} unpacked"] = b"\n".join(zlib.decompress(packed) for (packed,) in rows)
        assert rows
    return found


def echo(request: Request) -> Action:
    """Answers of every kind, with the request's headers and body field in them."""
    said = f"{request.headers['authorization']} and {request.body['api_key']}"
    coded = base64.b64encode(said.encode()).decode()
    match request.number % 12:
        case 1:
            return Status(500, f"no {said} {quote(said)}")
        case 2:
            return Raw(f"<html>{said} {coded}</html>".encode(), "text/html")
        case 3:
            return Status(401, f"wrong key: {said}")
        case 4:
            return Reply(f"not readable: {said}, {coded}")
        case 5:
            return Status(400, coded)
    if '"bbox_2d"' in request.text:
        return Reply(json.dumps({"label": said, "bbox_2d": []}))
    return Reply(json.dumps({"reasoning": f"{said} {coded}", "score": request.number % 11}))


@pytest.mark.slow
def test_no_file_and_no_line_of_a_command_has_a_planted_key(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PLANTED_KEY", f"{KEY}\r\n")
    (triple,) = triples(1, seed=1)
    chain = tmp_path / "chain.txt"
    chain.write_text(triple.chain)
    out = tmp_path / "out"
    with ScriptedServer(echo) as server:
        with_password = server.url.replace("//", f"//judge:{quote(PASSWORD, safe='')}@")
        judge = tmp_path / "judge.yaml"
        judge.write_text(
            yaml.safe_dump(
                {
                    "openai": {
                        "model": "Qwen2.5-VL",
                        "urls": [server.url, with_password],
                        "api_key_env": "PLANTED_KEY",
                        "extra_body": {"api_key": FIELD},
                        "first_wait": 0.01,
                    }
                }
            )
        )
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(
            yaml.safe_dump(
                {
                    "run": {"dir": str(out / "run")},
                    "model": {"path": "icons"},
                    "judge": {"spec": str(judge), "max_failure_share": 1.0},
                    "rollout": {"chain_limit": 60, "guidance": 1.0},
                    "rl": {"steps": 2, "prompts": 1, "group": 4, "save_every": 1},
                    "eval": {"prompts": 0},
                }
            )
        )
        spec = f"openai:Qwen2.5-VL@{with_password}?api_key={FIELD},http:"
        image = next(iter(Path(__file__).parents[1].glob("docs/**/*.png")))
        commands = (
            ["train", "rl", str(recipe)],
            ["train", "rl", str(recipe), "--resume", "rl.save_every=2"],
            ["report", str(out / "run")],
            [
                *("score", "--judge", str(judge), "--prompt", triple.prompt.text, "--json"),
                *("--chain", str(chain), "--image", str(image)),
            ],
            [
                *("audit", "judge", "--judge", str(judge), "--pairs", "1", "--terms", "r_pi"),
                *("--out", str(out / "audit")),
            ],
            # Refused, with the URL in the sentence.
            ["audit", "judge", "--judge", spec, "--out", str(out / "refused")],
        )
        codes = [cli.main(command) for command in commands]
    assert codes == [0, 0, 0, codes[3], 0, 2]
    assert server.requests
    said = capfd.readouterr()
    assert_clean(said.out.encode(), "standard output")
    assert_clean(said.err.encode(), "standard error")
    for where, content in contents(out).items():
        assert_clean(content, where)
    assert MASK in (out / "run" / "judge_failures.jsonl").read_text()


@pytest.mark.parametrize("around", ["{}\r\n", "\n {}", "{}\t", "{}\r"])
def test_blanks_and_line_ends_around_a_key_are_left_out(
    around: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", around.format("sk-0123456789"))
    settings = OpenAISettings(model="m", urls=["https://a.example/v1"], api_key_env="SOME_KEY")
    assert settings.key(settings.urls[0]) == "sk-0123456789"


@pytest.mark.parametrize("key", ["sk-01\n345678", "sk-\u00e4\u00f6\u00fc45678", "sk-0123\x7f567"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", key)
    settings = OpenAISettings(model="m", urls=["https://a.example/v1"], api_key_env="SOME_KEY")
    with pytest.raises(BadInput, match="key in SOME_KEY holds") as refused:
        settings.key(settings.urls[0])
    assert key[-6:] not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("at http://user:PW@host/v1, gone", "at http://***@host/v1, gone"),
        ("http://u:p@ss@host/v1", "http://***@host/v1"),
        ("https://h/v1?api_key=abc&model=m", "https://h/v1?api_key=***&model=m"),
        ("https://h/v1?a=1&access_token=abc", "https://h/v1?a=1&access_token=***"),
        ("mail me@example.com about https://h/a", "mail me@example.com about https://h/a"),
        ("max_tokens=5", "max_tokens=5"),
    ],
)
def test_credentials_in_urls_are_masked_by_their_form(text: str, clean: str) -> None:
    assert redact(text) == clean


def test_known_secrets_are_masked_however_they_are_written() -> None:
    remember(KEY)
    remember_url(f"http://judge:{quote(PASSWORD, safe='')}@host/v1")
    remember_fields({"deep": {"api_key": FIELD}, "max_tokens": "not-a-secret"})
    for secret in SECRETS:
        for form in (*written_forms(secret), *in_base64(secret)):
            assert_clean(redact(f"before {form} behind").encode(), form)
    assert redact("not-a-secret") == "not-a-secret"


def test_tracebacks_have_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the main thread, where an error is our fault, and of others."""
    remember(KEY)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(cli, "parse", lambda argv: (_ for _ in ()).throw(ZeroDivisionError(KEY)))
    with pytest.raises(ZeroDivisionError) as raised:
        cli.main([])
    sys.excepthook(ZeroDivisionError, raised.value, raised.tb)
    thread = threading.Thread(target=lambda: (_ for _ in ()).throw(ValueError(KEY)))
    thread.start()
    thread.join()
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err
    assert "ValueError" in err
    assert_clean(err.encode(), "tracebacks")

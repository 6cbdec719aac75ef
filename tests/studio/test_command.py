"""The command `studio`: what it refuses before it loads a model."""

import socket

import pytest

from got_r1.cli import main
from studio.serving import make_model  # noqa: F401  (skips where the extra is missing)


def test_a_port_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["studio", "--port", str(port)]) == 2
    said = capsys.readouterr()
    assert f"port {port} of 127.0.0.1 is in use" in said.err
    assert "The studio is at" not in said.out


def test_a_place_where_nothing_can_listen_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studio", "--host", "203.0.113.9"]) == 2  # nobody's address
    assert "nothing can listen on 203.0.113.9" in capsys.readouterr().err

"""Two raters at once in a real browser, whose server is killed in the middle of their study."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from audit.conftest import make_run
from got_r1.audit.agreement import agreement_report, alpha
from got_r1.audit.ratings import database_ratings
from got_r1.audit.sheets import QUESTIONS, order_for, read_items, study_id
from got_r1.audit.study import build_study
from studio.serving import make_model  # noqa: F401  (skips where the extra is missing)

pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")

from playwright.sync_api import Browser, Page, expect

__all__ = ["make_run"]
WAIT = 240_000  # milliseconds; a crowded machine is slow, not wrong
RATERS = ("ann", "bob")
ITEMS = 20


@contextmanager
def serving(study: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The command, and the links that it prints."""
    command = [sys.executable, "-m", "got_r1", "studio", "--study", str(study)]
    server = subprocess.Popen(
        [*command, "--raters", ",".join(RATERS), "--port", str(port)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        lines = [server.stdout.readline().split() for _ in range(1 + len(RATERS))]
        yield server, {words[0]: words[-1] for words in lines[1:]}
    finally:
        server.kill()
        server.communicate()


@pytest.mark.slow
def test_two_raters_go_on_after_kill_9(browser: Browser, make_run, tmp_path: Path) -> None:
    build_study([("ours", make_run("run", steps=2, samples=10))], tmp_path / "study")
    study = tmp_path / "study"
    ids = [item["id"] for item in read_items(study)]
    assert len(ids) == ITEMS
    scores = {
        "ann": {item: number % 10 for number, item in enumerate(ids)},
        "bob": {item: (number + number % 3) % 10 for number, item in enumerate(ids)},
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    expect.set_options(timeout=WAIT)
    pages: dict[str, Page] = {}
    with serving(study, port) as (server, links):
        for name in RATERS:
            pages[name] = browser.new_context().new_page()
            pages[name].set_default_timeout(WAIT)
            pages[name].goto(links[name])
        for at in range(ITEMS // 2):
            rate(pages, at, ids, scores)
        os.kill(server.pid, signal.SIGKILL)
        rate(pages, ITEMS // 2, ids, scores)
        for page in pages.values():
            expect(page.locator("#message")).to_contain_text("The server does not answer")
    with serving(study, port) as (_, again):
        assert again == links
        for page in pages.values():
            expect(page.locator("#message")).to_be_hidden()  # the page goes on by itself
        for at in range(ITEMS // 2 + 1, ITEMS):
            rate(pages, at, ids, scores)
        for page in pages.values():
            expect(page.locator("#progress-text")).to_contain_text(f"{ITEMS} rated")
        expected = {
            name: {item: dict.fromkeys(QUESTIONS, score) for item, score in given.items()}
            for name, given in scores.items()
        }
        last = time.monotonic() + WAIT / 1000
        while ratings(study) != expected and time.monotonic() < last:
            pages["ann"].wait_for_timeout(100)
    assert ratings(study) == expected
    table = [[float(scores[name][item]) for item in ids] for name in RATERS]
    found = agreement_report(study)["questions"]
    for question in QUESTIONS:
        value = found[question]["alpha"]["overall"]["value"]
        assert value == pytest.approx(alpha(np.array(table)))
    for page in pages.values():
        page.context.close()


def rate(
    pages: dict[str, Page], at: int, ids: list[str], scores: dict[str, dict[str, int]]
) -> None:
    """Each rates the item at a place of their own order by three keys, and goes on."""
    for name, page in pages.items():
        expect(page.locator("#place")).to_have_text(re.compile(f"Item {at + 1} of"))
        for _ in QUESTIONS:
            page.keyboard.press(str(scores[name][order_for(name, ids)[at]]))
        page.keyboard.press("ArrowRight")


def ratings(study: Path) -> dict[str, dict[str, dict[str, object]]]:
    """The scores in the database, without comments."""
    return {
        name: {item: {q: row[q] for q in QUESTIONS} for item, row in rows.items()}
        for name, rows in database_ratings(study, study_id(study)).items()
    }

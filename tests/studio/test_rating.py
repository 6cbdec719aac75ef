"""Rating over HTTP: who reaches what, that nothing answered is lost, and what the audit reads."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from audit.conftest import make_run
from got_r1.audit.agreement import agreement_report, alpha
from got_r1.audit.progress import study_progress
from got_r1.audit.ratings import DATABASE, RatingsDatabase, database_ratings
from got_r1.audit.sheets import (
    QUESTIONS,
    export_sheet,
    import_sheets,
    order_for,
    read_items,
    read_key,
    read_ratings,
    study_id,
)
from got_r1.audit.study import build_study
from got_r1.cli import main
from got_r1.errors import BadInput
from got_r1.studio.guard import COOKIE, Guard
from got_r1.studio.rating import Rating, create_rating_app
from studio.serving import listening

__all__ = ["make_run"]
ITEMS = 20
Client = httpx.Client


@pytest.fixture
def study(make_run, tmp_path) -> Path:
    build_study([("secret-method", make_run("run", steps=2, samples=10))], tmp_path / "study")
    return tmp_path / "study"


class Running:
    """A server of a study, and clients of it."""

    def __init__(self, url: str, rating: Rating, guard: Guard) -> None:
        self.url, self.rating, self.guard = url, rating, guard

    @contextmanager
    def rater(self, name: str) -> Iterator[Client]:
        """Who has opened the link of a rater."""
        with Client(base_url=self.url, timeout=300, follow_redirects=True) as client:
            page = client.get(f"{self.rating.path}?rater={self.rating.tokens[name]}")
            assert page.status_code == 200, page.text
            client.headers.update({"Origin": self.url, "X-Studio-Token": token_of(page.text)})
            yield client

    def organiser(self) -> Client:
        """Who has opened the link of the terminal."""
        client = Client(base_url=self.url, timeout=300, follow_redirects=True)
        client.cookies.set(COOKIE, self.guard.access)
        return client

    @property
    def state(self) -> str:
        return f"{self.rating.path}/state"


def token_of(page: str) -> str:
    found = re.search('name="studio-token" content="([^"]+)"', page)
    assert found is not None
    return found[1]


@pytest.fixture
def running(study: Path) -> Iterator[Running]:
    rating = Rating(study, ["ann", "bob"])
    guard = Guard("127.0.0.1", raters=rating)
    with listening(create_rating_app(rating, guard)) as url:
        yield Running(url, rating, guard)


def answers(score: int) -> dict[str, int]:
    return dict.fromkeys(QUESTIONS, score)


def put(client: Client, state: str, at: int, **items: object) -> httpx.Response:
    return client.post(state, json={"at": at, "items": items})


def test_a_rating_is_kept_changed_and_taken_back(running: Running) -> None:
    with running.rater("ann") as ann:
        assert ann.get(running.state).json() is None
        assert put(ann, running.state, 1, **{"003": {"semantic": 7, "seconds": 2.5}}).json() == {}
        put(ann, running.state, 2, **{"003": {"spatial": 0, "comment": "=2+2"}})
        expected = {"semantic": 7, "spatial": 0, "quality": None, "comment": "=2+2"}
        assert ann.get(running.state).json() == {
            "at": 2,
            "ratings": {"003": expected},
            "seconds": {"003": 2.5},
        }
        put(ann, running.state, 2, **{"003": {"semantic": None, "spatial": 10}})
        kept = ann.get(running.state).json()["ratings"]["003"]
        assert kept == expected | {"semantic": None, "spatial": 10}


def test_a_row_has_the_time_of_its_last_change(running: Running, study: Path) -> None:
    with running.rater("ann") as ann:
        put(ann, running.state, 0, **{"001": answers(4)})
        base = sqlite3.connect(study / DATABASE)
        first = base.execute("SELECT * FROM rating ORDER BY question").fetchall()
        assert [row[:4] for row in first] == [("ann", "001", q, 4) for q in sorted(QUESTIONS)]
        put(ann, running.state, 0, **{"001": answers(4) | {"quality": 5}})
        then = base.execute("SELECT * FROM rating ORDER BY question").fetchall()
        base.close()
    assert then[1:] == first[1:]
    assert then[0][3] == 5
    assert then[0][4] >= first[0][4]


def test_a_page_is_blind_and_in_the_raters_own_order(running: Running, study: Path) -> None:
    ids = [item["id"] for item in read_items(study)]
    for name in ("ann", "bob"):
        with running.rater(name) as client:
            page = client.get(running.rating.path).text
            found = re.search('<div id="kit" hidden>(.*?)</div>', page)
            assert found is not None
            data = json.loads(found[1])
            assert [item["id"] for item in data["items"]] == order_for(name, ids)
            assert "secret-method" not in page
            assert "evidence" not in page
            for key in read_key(study).values():
                assert str(key["total"]) not in page
            for item in data["items"][:2]:
                for kind in ("plan", "picture"):
                    assert client.get(item[kind]).headers["content-type"] == "image/png"
            assert "<script>" not in page
            assert "<style" not in page
            for asset in re.findall('(?:href|src)="(/[^"]+)"', page):
                assert client.get(asset).status_code == 200


ELSEWHERE = (
    "/",
    "/{}/progress",
    "/{}/progress/x",
    "/assets/draw.js",
    "/api/history",
    "/rate/other",
)


def test_a_rater_reaches_nothing_else(running: Running) -> None:
    with running.rater("ann") as ann:
        token = running.rating.tokens["ann"]
        sent = {"Cookie": f"got_r1_rater={token}; {COOKIE}={token}"}  # to every path, too
        for path in ELSEWHERE:
            for more in ("", f"?rater={token}", f"?access={token}"):
                address = path.format(running.rating.path.strip("/")) + more
                assert ann.get(address).status_code == 403
                assert ann.get(address, headers=sent).status_code == 403


def test_nobody_rates_without_a_token(running: Running) -> None:
    for token in (None, "", "x", "é", "x" * 32):
        params = {} if token is None else {"rater": token}
        for path in (running.rating.path, running.state, f"{running.rating.path}/items/001/plan"):
            assert httpx.get(running.url + path, params=params).status_code == 403
    with running.organiser() as organiser:  # the studio's own token is none of a rater
        assert organiser.get(running.state).status_code == 403


def test_the_token_leaves_the_address_and_stays_in_a_cookie(running: Running) -> None:
    link = f"{running.url}{running.rating.path}?rater={running.rating.tokens['ann']}"
    answer = httpx.get(link)
    assert answer.status_code == 303
    assert answer.headers["location"] == running.rating.path
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert f"path={running.rating.path}" in cookie


@pytest.mark.parametrize("host", ["127.0.0.1:1/rate/study/state?", "evil.example/rate/study?"])
def test_a_host_header_opens_nothing(running: Running, host: str) -> None:
    cookie = f"got_r1_rater={running.rating.tokens['ann']}"
    answer = httpx.get(f"{running.url}/", headers={"Host": host, "Cookie": cookie})
    assert answer.status_code in (400, 403)


def test_one_rater_cannot_save_for_another(running: Running) -> None:
    with running.rater("ann") as ann, running.rater("bob") as bob:
        ann.headers["X-Studio-Token"] = bob.headers["X-Studio-Token"]
        assert put(ann, running.state, 0, **{"001": answers(1)}).status_code == 403
        ann.headers["X-Studio-Token"] = running.guard.page
        assert put(ann, running.state, 0, **{"001": answers(1)}).status_code == 403
        put(bob, running.state, 0, **{"001": answers(9)})
        assert bob.get(running.state).json()["ratings"]["001"]["semantic"] == 9
    with running.rater("ann") as ann:
        assert ann.get(running.state).json() is None


DAMAGED = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"at": 0}',
    b'{"at": -1, "items": {}}',
    b'{"at": 20, "items": {}}',
    b'{"at": 99999999999999999999999, "items": {}}',
    b'{"at": 0, "items": {"nope": {"semantic": 1}}}',
    b'{"at": 0, "items": {"001": {"semantic": 11}}}',
    b'{"at": 0, "items": {"001": {"semantic": -1}}}',
    b'{"at": 0, "items": {"001": {"semantic": 1.5}}}',
    b'{"at": 0, "items": {"001": {"semantic": "7"}}}',
    b'{"at": 0, "items": {"001": {"semantic": true}}}',
    b'{"at": 0, "items": {"001": {"unknown": 1}}}',
    b'{"at": 0, "items": {"001": {"seconds": NaN}}}',
    b'{"at": 0, "items": {"001": {"seconds": -1}}}',
    b'{"at": 0, "items": {"001": {"comment": "\\ud800"}}}',
    b'{"at": 0, "items": {"001": {"comment": null}}}',
    b'{"at": 0, "items": {"001": {"semantic": 3}, "002": {"semantic": 99}}}',
    b'{"at": 0, "items": ' + b'{"001":' * 50_000,
    b"\xff\xfe",
]


def test_a_damaged_save_is_refused_whole(running: Running) -> None:
    with running.rater("ann") as ann:
        ann.headers["Content-Type"] = "application/json"
        for body in DAMAGED:
            answer = ann.post(running.state, content=body)
            assert 400 <= answer.status_code < 500, body[:80]
            assert ann.get(running.state).json() is None, body[:80]


def test_raters_at_once_lose_nothing(study: Path) -> None:
    names = [f"r{number}" for number in range(12)]
    rating = Rating(study, names)
    guard = Guard("127.0.0.1", raters=rating)
    ids = [item["id"] for item in read_items(study)]
    with listening(create_rating_app(rating, guard)) as url:
        running = Running(url, rating, guard)

        def rate(number: int) -> None:
            with running.rater(names[number]) as client:
                for at, item in enumerate(order_for(names[number], ids)):
                    answer = put(client, running.state, at, **{item: answers(number % 11)})
                    assert answer.status_code == 200

        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(rate, range(len(names))))
        # while the server runs
        kept = read_ratings(study)
    assert {name: len(kept[name]) for name in kept} == dict.fromkeys(sorted(names), len(ids))
    for number, name in enumerate(names):
        assert {one["quality"] for one in kept[name].values()} == {number % 11}


def fill(study: Path, rater: str, scores: dict[str, int]) -> None:
    base = RatingsDatabase(study, study_id(study))
    base.token(rater)
    base.save(rater, 0, {item: answers(score) for item, score in scores.items()})
    base.close()


def test_report_and_import_read_the_database(study: Path, tmp_path: Path) -> None:
    ids = [item["id"] for item in read_items(study)]
    scores = {item: number % 11 for number, item in enumerate(ids)}
    fill(study, "ann", scores)
    fill(study, "bob", {item: scores[item] for item in ids[:12]})
    report = agreement_report(study)
    assert report["raters"] == {"ann": ITEMS, "bob": 12}
    assert report["questions"]["semantic"]["alpha"]["overall"]["value"] == pytest.approx(1)

    with pytest.raises(BadInput, match="items without all ratings"):
        import_sheets(study, [])
    assert not (study / "ratings").exists()
    assert main(["audit", "human", "import", str(study), "--partial"]) == 0
    assert read_ratings(study) == database_ratings(study, study_id(study))
    with pytest.raises(BadInput, match="ann has rated already"):
        import_sheets(study, [], "ann")
    with pytest.raises(BadInput, match="no ratings of eve"):
        import_sheets(study, [], "eve")

    # A sheet goes on working beside it, and counts where it was imported.
    fill(study, "cleo", scores)
    export_sheet(study, tmp_path / "cleo.csv", "cleo")
    text = (tmp_path / "cleo.csv").read_text().replace("cleo", "dan")
    (tmp_path / "dan.csv").write_text(text)
    import_sheets(study, [tmp_path / "dan.csv"])
    assert sorted(read_ratings(study)) == ["ann", "bob", "cleo", "dan"]
    assert read_ratings(study)["dan"] == read_ratings(study)["cleo"]


def test_the_organiser_sees_progress_agreement_and_disagreement(
    running: Running, study: Path
) -> None:
    ids = [item["id"] for item in read_items(study)]
    with running.organiser() as organiser:
        path = f"{running.rating.path}/progress"
        empty = organiser.get("/")  # leads to it
        assert empty.url.path == path
        assert "0 of 20 rated in full" in empty.text
        assert "not defined yet" in empty.text
        with running.rater("ann") as ann, running.rater("bob") as bob:
            for at, item in enumerate(ids):
                put(ann, running.state, at, **{item: answers(at % 11)})
                put(bob, running.state, at, **{item: answers(at % 11 if at else 10)})
            put(bob, running.state, 0, **{ids[1]: {"quality": None}})
        page = organiser.get(path).text
        assert "20 of 20 rated in full" in page
        assert "19 of 20 rated in full, 1 in part" in page
        assert "ann 0, bob 10" in page
        for asset in re.findall('(?:href|src)="(/[^"]+)"', page):
            assert organiser.get(asset).status_code == 200


def test_the_organiser_is_told_what_is_missing(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(study, "ann", {item["id"]: n % 11 for n, item in enumerate(read_items(study))})
    fill(study, "bob", {item["id"]: n % 11 for n, item in enumerate(read_items(study))})
    monkeypatch.setitem(sys.modules, "krippendorff", None)
    progress = study_progress(study)
    assert "got-r1[human]" in progress["missing"]
    assert [one["full"] for one in progress["raters"]] == [20, 20]


def test_import_without_sheets_or_database_says_so(study: Path) -> None:
    with pytest.raises(BadInput, match="nobody's ratings"):
        import_sheets(study, [])


def test_a_damaged_or_foreign_database_is_named(study: Path) -> None:
    fill(study, "ann", {"001": 3})
    with pytest.raises(BadInput, match="another study"):
        RatingsDatabase(study, "other")
    (study / DATABASE).write_bytes(b"no database at all" * 1000)
    with pytest.raises(BadInput, match="damaged"):
        read_ratings(study)


def test_tokens_last_and_are_their_owners_alone(study: Path) -> None:
    first = Rating(study, ["ann"])
    first.close()
    second = Rating(study, ["bob"])
    second.close()
    assert second.tokens["ann"] == first.tokens["ann"]
    assert second.tokens["bob"] != first.tokens["ann"]
    assert second.page_token("ann") == first.page_token("ann")
    assert (study / DATABASE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("names", ["../x", "a b", "ann,,bob", "-x", "é"])
def test_a_name_that_is_none_is_refused(study: Path, names: str) -> None:
    with pytest.raises(BadInput, match="cannot be a rater's name"):
        Rating(study, names.split(","))


def test_kill_9_loses_no_answered_save(study: Path) -> None:
    """Two raters save until the server is killed; all that it answered is in the database."""
    ids = [item["id"] for item in read_items(study)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "got_r1", "studio", "--study", str(study)]

    def start() -> tuple[subprocess.Popen[str], dict[str, str]]:
        server = subprocess.Popen(
            [*command, "--raters", "ann,bob", "--port", str(port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        own = re.search(r"http://\S+", server.stdout.readline())
        assert own is not None
        links = [server.stdout.readline().split() for _ in range(2)]
        return server, {"studio": own[0]} | {words[0]: words[-1] for words in links}

    @contextmanager
    def open_page(link: str) -> Iterator[Client]:
        retrying = httpx.HTTPTransport(retries=12)  # it listens soon after it says where
        with Client(transport=retrying, timeout=300, follow_redirects=True) as client:
            page = client.get(link)
            origin = f"http://127.0.0.1:{port}"
            client.headers.update({"Origin": origin, "X-Studio-Token": token_of(page.text)})
            yield client

    server, links = start()
    answered: dict[str, dict[str, int]] = {"ann": {}, "bob": {}}
    saved = {name: threading.Semaphore(0) for name in answered}

    def rate(name: str) -> None:
        rng = {"ann": 0, "bob": 1}[name]
        with open_page(links[name]) as client:
            state = links[name].split("?")[0] + "/state"
            at = 0
            while True:
                item, score = ids[at % len(ids)], (at * 7 + rng * (at % 3)) % 11
                try:
                    if put(client, state, at % len(ids), **{item: answers(score)}).is_success:
                        answered[name][item] = score
                        pending[name] = None
                except httpx.TransportError:
                    pending[name] = (item, score)  # perhaps kept, perhaps not
                    return
                saved[name].release()
                at += 1

    pending: dict[str, tuple[str, int] | None] = {}
    with ThreadPoolExecutor(2) as pool:
        rates = [pool.submit(rate, name) for name in answered]
        for name in answered:  # every item of both, and some again
            for _ in range(len(ids) + 5):
                assert saved[name].acquire(timeout=240)
        os.kill(server.pid, signal.SIGKILL)
        server.communicate()
        for one in rates:
            one.result()

    kept = database_ratings(study, study_id(study))
    table = []
    for name, given in answered.items():
        unsure = pending[name]
        for item, score in given.items():
            allowed = {score} | ({unsure[1]} if unsure and unsure[0] == item else set())
            assert {kept[name][item][question] for question in QUESTIONS} <= allowed
        table.append([float(kept[name][item]["semantic"]) for item in ids])
    report = agreement_report(study)
    found = report["questions"]["semantic"]["alpha"]["overall"]["value"]
    assert found == pytest.approx(alpha(np.array(table)))

    # Started again: the same links, and a page that was open saves on.
    again, same_links = start()
    try:
        assert {name: same_links[name] for name in answered} == {n: links[n] for n in answered}
        transport = httpx.HTTPTransport(retries=12)
        with Client(transport=transport, timeout=300, follow_redirects=True) as organiser:
            page = organiser.get(same_links["studio"])  # as the terminal shows it
            assert "Progress of" in page.text
        with open_page(links["ann"]) as client:
            there = client.get(links["ann"].split("?")[0] + "/state").json()
            assert there["ratings"] == kept["ann"]
    finally:
        again.kill()
        again.communicate()

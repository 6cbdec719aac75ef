"""Who may use the studio, and what its answers forbid a browser."""

from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
import pytest

from got_r1.studio.guard import COOKIE, MOST_BYTES, Guard, is_loopback
from got_r1.studio.model import Model
from studio.serving import PROMPT, Served, serve


@pytest.fixture(scope="module")
def public(model: Model) -> Iterator[Served]:
    yield from serve(model, Guard("0.0.0.0"))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.168.1.2", False),
        ("example.org", False),
    ],
)
def test_what_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"X-Studio-Token": ""},
        {"X-Studio-Token": "x" * 32},
        {"X-Studio-Token": "é"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/plan"), ("DELETE", "/api/history/x")])
def test_a_request_from_elsewhere_changes_nothing(
    studio: Served, headers: dict[str, str], method: str, path: str
) -> None:
    raw = {name: value.encode("utf-8") for name, value in headers.items()}
    response = studio.page.request(method, path, headers=raw, json={"prompt": PROMPT})
    assert response.status_code == 403


def test_another_name_for_this_machine_is_refused(studio: Served) -> None:
    response = httpx.get(studio.url, headers={"Host": "evil.example"})
    assert response.status_code == 403


def test_a_body_beyond_the_limit_is_refused_unread(studio: Served) -> None:
    with closing(HTTPConnection(urlsplit(studio.url).netloc, timeout=60)) as connection:
        headers = {"Origin": studio.url, "X-Studio-Token": studio.guard.page}
        headers["Content-Length"] = str(MOST_BYTES + 1)
        connection.request("POST", "/api/open", headers=headers)  # and nothing behind it
        assert connection.getresponse().status == 413
    chunked = studio.page.post("/api/open", content=iter([b"{}"]))
    assert chunked.status_code == 411


def test_pages_forbid_scripts_from_elsewhere(studio: Served) -> None:
    page = httpx.get(studio.url)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "//" not in page.text.replace("http-equiv", "")  # nothing is loaded from elsewhere


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../app.py",
        "/assets/%2e%2e/app.py",
        "/history/..%2f..%2fetc/0.png",
        "/api/history/..",
        "/api/history/%2e%2e%2f%2e%2e",
    ],
)
def test_no_path_from_a_client_is_opened(studio: Served, path: str) -> None:
    with httpx.Client() as client:
        response = client.get(f"{studio.url}{path}")
    assert response.status_code in (400, 404)


def test_beyond_loopback_only_the_link_opens(public: Served) -> None:
    assert httpx.get(public.url).status_code == 403
    assert httpx.get(f"{public.url}/?access=wrong").status_code == 403
    assert httpx.get(f"{public.url}/api/history").status_code == 403
    with httpx.Client(base_url=public.url) as client:
        first = client.get(f"/?access={public.guard.access}")
        assert first.status_code == 303
        assert public.guard.access not in first.headers["location"]
        assert "httponly" in first.headers["set-cookie"].lower()
        client.cookies.set(COOKIE, public.guard.access)
        assert client.get("/").status_code == 200

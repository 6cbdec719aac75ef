"""A hub on loopback: repositories in memory, behind the endpoints that huggingface_hub calls."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_a_test"


class Repository:
    """Commits by their hash, and the names (branches, tags) that stand for them."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.refs: dict[str, str] = {}

    def commit(self, files: dict[str, bytes], *names: str) -> str:
        sha = hashlib.sha1(repr((sorted(files.items()), len(self.commits))).encode()).hexdigest()
        self.commits[sha] = files
        self.refs |= dict.fromkeys(names or ("main",), sha)
        return sha


class HubServer:
    """`add` folders, let a client of `url` download and upload; `requests` are "METHOD path"."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.broken = False  # answers every request with an error of the server

    def add(self, name: str, folder: Path, *refs: str) -> str:
        """Commits the files of a folder to `main`, or to other names; returns the commit."""
        files = {
            str(file.relative_to(folder)): file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file()
        }
        return self.repositories.setdefault(name, Repository()).commit(files, *refs)

    def downloads(self) -> list[str]:
        """The files that were fetched."""
        return [
            request.split("/resolve/")[1].partition("/")[2]
            for request in self.requests
            if request.startswith("GET") and "/resolve/" in request
        ]

    def answer(self, method: str, path: str, body: bytes, token: str) -> tuple[int, Any, dict]:
        """Status, content (bytes, or what becomes JSON), headers."""
        parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
        if self.broken:
            return 500, {"error": "broken"}, {}
        match method, parts:
            case "POST", ["api", "repos", "create"] if token:
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}"
                status = 409 if name in self.repositories else 200
                self.repositories.setdefault(name, Repository())
                return status, {"url": f"{self.url}/{name}"}, {}
            case "POST", ["api", "validate-yaml"]:
                return 200, {"errors": [], "warnings": []}, {}
            case "PUT", ["objects", oid]:
                self.objects[oid] = body
                return 200, {}, {}
            case "POST", [owner, name, "info", "lfs", "objects", "batch"] if token:
                wanted = json.loads(body)["objects"]
                return 200, {"transfer": "basic", "objects": [self.place(o) for o in wanted]}, {}
            case _, ["api", "models", owner, name, *rest] | [owner, name, *rest] if (
                f"{owner}/{name}" in self.repositories
            ):
                repository = self.repositories[f"{owner}/{name}"]
                return self.of_repository(method, f"{owner}/{name}", repository, rest, body, token)
        if not token:
            return 401, {"error": "Invalid username or password."}, {}
        return 404, {"error": "no such"}, {"X-Error-Code": "RepoNotFound"}

    def place(self, wanted: dict[str, Any]) -> dict[str, Any]:
        upload = {"href": f"{self.url}/objects/{wanted['oid']}"}
        return wanted | {"actions": {"upload": upload}}

    def of_repository(
        self,
        method: str,
        name: str,
        repository: Repository,
        rest: list[str],
        body: bytes,
        token: str,
    ) -> tuple[int, Any, dict]:
        def commit_of(revision: str) -> str:
            return repository.refs.get(revision, revision)

        match method, rest:
            case "GET", [] | ["revision", _]:
                sha = commit_of(rest[1] if rest else "main")
                if sha not in repository.commits:
                    return 404, {"error": "no"}, {"X-Error-Code": "RevisionNotFound"}
                names = [{"rfilename": path} for path in repository.commits[sha]]
                return 200, {"id": name, "sha": sha, "siblings": names, "tags": []}, {}
            case "GET", ["tree", revision]:
                files = repository.commits[commit_of(revision)].items()
                return (
                    200,
                    [
                        {"type": "file", "path": path, "size": len(data), "oid": oid(data)}
                        for path, data in files
                    ],
                    {},
                )
            case "GET" | "HEAD", ["resolve", revision, *path]:
                sha = commit_of(revision)
                data = repository.commits[sha].get("/".join(path))
                if data is None:
                    return 404, {"error": "no"}, {"X-Error-Code": "EntryNotFound"}
                return 200, data, {"ETag": f'"{oid(data)}"', "X-Repo-Commit": sha}
            case "POST", ["preupload", _] if token:
                paths = [one["path"] for one in json.loads(body)["files"]]
                plans = [
                    {"path": path, "shouldIgnore": False, "uploadMode": mode(path)}
                    for path in paths
                ]
                return 200, {"files": plans}, {}
            case "POST", ["commit", revision] if token:
                lines = [json.loads(line) for line in body.splitlines()]
                files = dict(repository.commits.get(commit_of(revision), {}))
                for line in lines:
                    value = line["value"]
                    if line["key"] == "file":
                        files[value["path"]] = base64.b64decode(value["content"])
                    elif line["key"] == "lfsFile":
                        files[value["path"]] = self.objects[value["oid"]]
                sha = repository.commit(files, revision)
                url = f"{self.url}/{name}/commit/{sha}"
                return 200, {"success": True, "commitOid": sha, "commitUrl": url}, {}
        return 401, {"error": "log in"}, {}


def mode(path: str) -> str:
    return "lfs" if path.endswith((".safetensors", ".bin")) else "regular"


def oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """A running server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            body = self.body()
            hub.requests.append(f"{self.command} {self.path}")
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            token = token if token == TOKEN else ""
            status, content, headers = hub.answer(self.command, self.path, body, token)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        do_GET = do_HEAD = do_POST = do_PUT = do

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = HubServer(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()

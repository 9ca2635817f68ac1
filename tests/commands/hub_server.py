"""A server on this machine that speaks as much of the hub's protocol as fetching a model takes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FIRST, SECOND = "1" * 40, "2" * 40


@dataclass
class Hub:
    """What the hub holds, by repository and revision; what it was asked, and how it fails.

    `cut`: a file that ends halfway; `changed`: a file that is not what the hub says it is.
    """

    endpoint: str = ""
    revisions: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    newest: dict[str, str] = field(default_factory=dict)
    licence: str | None = "apache-2.0"
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    cut: str | None = None
    changed: str | None = None

    def publish(self, repository: str, revision: str, files: dict[str, bytes]) -> None:
        self.revisions.setdefault(repository, {})[revision] = files
        self.newest[repository] = revision

    def paths(self, method: str = "GET") -> list[str]:
        return [path for kind, path, _ in self.asked if kind == method]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.hub.asked.append((self.command, self.path, self.headers.get("Authorization")))
        words = self.path.partition("?")[0].strip("/").split("/")
        if words[:2] == ["api", "models"]:
            self._model("/".join(words[2:4]), words[5] if len(words) > 5 else None)
        elif len(words) == 5 and words[2] == "resolve":
            self._file("/".join(words[:2]), words[3], words[4], body=body)
        else:
            self._send(404, b"{}", {}, body=body)

    def _found(self, repository: str, asked: str | None) -> tuple[str, dict[str, bytes]] | None:
        revision = self.hub.newest.get(repository) if asked in (None, "main") else asked
        files = self.hub.revisions.get(repository, {}).get(revision or "")
        return None if files is None or revision is None else (revision, files)

    def _model(self, repository: str, asked: str | None) -> None:
        found = self._found(repository, asked)
        if found is None:
            known = repository in self.hub.newest
            code = "RevisionNotFound" if known else "RepoNotFound"
            self._send(404, b"{}", {"X-Error-Code": code}, body=True)
            return
        siblings: list[dict[str, Any]] = []
        for name, content in found[1].items():
            one: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": "0" * 40}
            if name.endswith(".safetensors"):
                digest = hashlib.sha256(content).hexdigest()
                one["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
            siblings.append(one)
        card = {} if self.hub.licence is None else {"license": self.hub.licence}
        told = {"id": repository, "modelId": repository, "sha": found[0], "private": False,
                "tags": [], "siblings": siblings, "cardData": card, "downloads": 0,
                "likes": 0}  # fmt: skip
        self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"}, body=True)

    def _file(self, repository: str, asked: str, name: str, *, body: bool) -> None:
        found = self._found(repository, asked)
        if found is None or name not in found[1]:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body=body)
            return
        content = found[1][name]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": found[0]}
        if name == self.hub.changed:
            content = content[:-1] + bytes([content[-1] ^ 1])
        self._send(200, content, headers, body=body, cut=body and name == self.hub.cut)

    def _send(
        self, code: int, content: bytes, headers: dict[str, str], *, body: bool, cut: bool = False
    ) -> None:
        self.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True


@contextmanager
def running_hub() -> Generator[Hub]:
    """Serve a hub on a free port of 127.0.0.1 until the end."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

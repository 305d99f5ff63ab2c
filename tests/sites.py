"""A web server on the loopback interface that has weight files, and methods whose weights come from it."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gsr_app.models.registry import Method, WeightFile

BODY = bytes(range(256)) * 4000  # 1 MB
SHA = hashlib.sha256(BODY).hexdigest()


@dataclass
class Site:
    """What the server has and what it was asked for."""

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)  # answers of their own by path
    pages: set[str] = field(default_factory=set)  # paths whose bytes are declared as HTML
    unannounced: bool = False  # says no length, and ends the connection after the body
    cut_after: int | None = None  # breaks every body off there
    ranges: bool = True
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # (verb, path, range)


@contextlib.contextmanager
def open_site() -> Generator[Site]:
    """A web server that knows ranges and what huggingface_hub asks for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None: ...

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            wanted = self.headers.get("Range", "")
            found.asked.append((self.command, self.path, wanted))
            status = found.status.get(self.path, 200 if self.path in found.files else 404)
            body = found.files.get(self.path, b"") if status == 200 else b""
            start = 0
            if wanted and found.ranges and status == 200:
                start = int(wanted.removeprefix("bytes=").split("-")[0])
                status = 206 if start < len(body) else 416
            self.send_response(status)
            if status in {401, 403}:
                self.send_header("X-Error-Code", "GatedRepo")
            if status == 404:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            part = body[start:] if status in {200, 206} else b""
            if self.path in found.pages:
                self.send_header("Content-Type", "text/html; charset=utf-8")
            if not found.unannounced:
                self.send_header("Content-Length", str(len(part)))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            if with_body:
                self.wfile.write(part if found.cut_after is None else part[: found.cut_after])
                if found.cut_after is not None:
                    self.close_connection = True

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Site(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def method(*files: WeightFile, name: str = "m") -> Method:
    return Method(name, name, "f", "pixels", "MIT", arch="a", files=files)


def from_url(site: Site, sha256: str = SHA) -> Method:
    site.files.setdefault("/w.pth", BODY)
    return method(WeightFile(url=f"{site.address}/w.pth", sha256=sha256))


def from_hub(*paths: str, sha256: str = "") -> Method:
    return method(WeightFile(repo="owner/name", paths=paths, revision="main", sha256=sha256))


def leftovers(folder: Path) -> list[str]:
    """Whatever carries a weight file's name or could be taken for one."""
    return [path.name for path in folder.rglob("*") if path.is_file() and path.suffix in {".pth", ".safetensors"}]

"""Requests that are too large are refused before they are held in memory."""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("gradio")


from gsr_app.ui.state import Limits, create_app_state
from tests.browser.fake_engine import FakeEngine
from tests.servers import get, post, serve

MIB = 1 << 20


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serve(create_app_state(FakeEngine(), Limits(1_000_000, 4_000_000))) as url:
        yield url


HUNG_UP = 0  # a server that stops reading may hang up before its answer can be read


def status_of(address: str, path: str, body: Iterator[bytes], *, stated: int | None, kind: str) -> tuple[int, int]:
    """The answer's status, and how many bytes could be sent. stated: the length; None: in chunks."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.putrequest("POST", f"/gradio_api/{path}")
    connection.putheader("Content-Type", kind)
    if stated is None:
        connection.putheader("Transfer-Encoding", "chunked")
    else:
        connection.putheader("Content-Length", str(stated))
    connection.endheaders()
    sent = 0
    try:
        for piece in body:
            connection.send(piece if stated is not None else b"%x\r\n%s\r\n" % (len(piece), piece))
            sent += len(piece)
        if stated is None:
            connection.send(b"0\r\n\r\n")
    except OSError:
        pass
    try:
        return connection.getresponse().status, sent
    except (OSError, http.client.HTTPException):
        return HUNG_UP, sent
    finally:
        connection.close()


def pieces(first: bytes, mib: int) -> Iterator[bytes]:
    yield first
    for _ in range(mib):
        yield b"x" * MIB


@pytest.mark.parametrize("path", ["call/models", "call/v2/models", "queue/join", "run/models", "component_server"])
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=b"])
def test_a_large_request_of_json_is_refused_by_its_stated_size(path: str, kind: str, address: str) -> None:
    status, _ = status_of(address, path, iter([b'{"data": ["']), stated=300 * MIB, kind=kind)
    assert status == 413


def test_a_large_request_of_json_in_chunks_is_refused_on_the_way(address: str) -> None:
    status, sent = status_of(address, "call/models", pieces(b'{"data": ["', 64), stated=None, kind="application/json")
    assert status in {413, HUNG_UP}
    assert status == 413 or sent < 64 * MIB
    assert get(address).status_code == 200


def test_a_request_as_large_as_any_page_sends_is_answered(address: str) -> None:
    body = json.dumps({"data": [], "event_data": "x" * (MIB // 2)})
    headers = {"Content-Type": "application/json"}
    assert post(f"{address}gradio_api/call/models", content=body, headers=headers).status_code == 200


def upload(size: int, count: int) -> Iterator[bytes]:
    """A form of several files of zeros."""
    for number in range(count):
        head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{number}.png"\r\n\r\n'
        yield head.encode()
        for start in range(0, size, MIB):
            yield bytes(min(MIB, size - start))
        yield b"\r\n"
    yield b"--b--\r\n"


@pytest.mark.parametrize("is_stated", [True, False])
def test_the_files_of_one_upload_are_limited_together(is_stated: bool, address: str, tmp_path: Path) -> None:
    """Three files of 30 MiB each, where one may have 64 MiB."""
    kind = "multipart/form-data; boundary=b"
    total = sum(map(len, upload(30 * MIB, 3)))
    status, _ = status_of(address, "upload", upload(30 * MIB, 3), stated=total if is_stated else None, kind=kind)
    assert status in {413, HUNG_UP}
    fits = sum(map(len, upload(30 * MIB, 2)))
    assert status_of(address, "upload", upload(30 * MIB, 2), stated=fits, kind=kind)[0] == 200


@pytest.mark.parametrize("path", ["call/models", "queue/join", "run/models", "component_server", "upload"])
def test_a_compressed_request_is_refused_and_not_unpacked(path: str, address: str) -> None:
    """64 MiB in 65 kB: the server does not offer to unpack requests."""
    body = gzip.compress(b'{"data": ["' + b"x" * (64 * MIB) + b'"]}', 9)
    kind = "multipart/form-data; boundary=b" if path == "upload" else "application/json"
    headers = {"Content-Encoding": "gzip", "Content-Type": kind}
    answer = post(f"{address}gradio_api/{path}", content=body, headers=headers)
    assert 400 <= answer.status_code < 500

"""Requests that cannot be read: a status for the client, a line in the log, no traceback."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("gradio")

import httpx

from gsr_app.core.types import Scale
from gsr_app.ui.request_errors import report
from gsr_app.ui.state import Limits, create_app_state
from tests.browser.fake_engine import FakeEngine
from tests.servers import serve

BODIES = [
    b"", b"{", b"\xff\xfe", b"[]", b"null", b'"x"', b'{"data":1}', b'{"data":[],"fn_index":99}', b"[" * 100_000,
    b'{"data":[],"fn_index":-1,"session_hash":"s"}', b'{"data":[],"session_hash":1}', b'{"data":[NaN]}',
    b'{"component_id":1,"fn_name":"x","session_hash":"s","data":1}',
    b'{"component_id":99999,"fn_name":"render_view","session_hash":"s","data":1}',
    b'{"component_id":1,"fn_name":"__init__","session_hash":"s","data":1}',
]  # fmt: skip
POSTS = ["call/upscale", "call/nope", "call/v2/upscale", "call/v2/nope", "run/nope", "queue/join", "component_server",
         "cancel", "reset", "upload", "stream/x"]  # fmt: skip
GETS = ["queue/data?session_hash=nope", "queue/data", "call/models/nope", "proxy=%00", "file=%00", "file=/etc/passwd",
        "stream/s/x/x/seg.ts", "upload_progress?upload_id=x"]  # fmt: skip
FILES: list[Any] = [7, "text", [], {"path": None}, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}]


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    """A client of the API; one for all, because each new one costs many milliseconds."""
    app = create_app_state(FakeEngine(), Limits(1_000_000, 4_000_000))
    with serve(app) as url, httpx.Client(base_url=f"{url}gradio_api/", timeout=60) as client:
        yield client


def call(http: httpx.Client, name: str, data: list[Any]) -> str:
    """The answer of a call through the queue."""
    body = {"data": data}
    event = http.post(f"call/{name}", content=json.dumps(body), headers={"Content-Type": "application/json"})
    return http.get(f"call/{name}/{event.json()['event_id']}").text


def test_malformed_requests_leave_a_line_each_in_the_log_and_no_traceback(
    http: httpx.Client, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    capfd.readouterr()
    for path in POSTS:
        for body in BODIES:
            for kind in ("application/json", "multipart/form-data"):
                answer = http.post(path, content=body, headers={"Content-Type": kind})
                assert answer.status_code < 500, (path, body, answer.text)
                assert "site-packages" not in answer.text
    for path in GETS:
        assert http.get(path).status_code < 500, path
    for file in FILES:
        assert "event: error" in call(http, "upscale", [file, "bicubic", "2"])
    assert "event: error" in call(http, "upscale", [])
    written = "".join(capfd.readouterr())
    assert "Traceback" not in written
    assert not any(record.exc_info for record in caplog.records)
    lines = [record.getMessage() for record in caplog.records if record.name == "gsr"]
    assert len(lines) > 20
    assert all("\n" not in line and len(line) < 500 for line in lines)


def test_an_error_of_the_api_is_plain_text_without_angle_brackets(http: httpx.Client) -> None:
    answer = call(http, "upscale", [None, "no<b>pe", "2"])
    error = json.loads(answer.partition("data: ")[2])["error"]
    assert error.startswith("Method 'no‹b›pe' is not in the catalogue.")
    assert "&#x27;" not in answer
    assert "List the methods with" in error


def test_an_error_in_this_program_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(TypeError) as ours:
        Scale(2, 2).output_size(7)  # type: ignore[arg-type]
    report(ours.value, "a call")
    with pytest.raises(KeyError) as theirs:
        {}["nope"]
    report(theirs.value, "a call")
    ours_record, theirs_record = caplog.records
    assert ours_record.levelno == logging.ERROR
    assert ours_record.exc_info
    assert not theirs_record.exc_info

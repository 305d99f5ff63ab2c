"""Damaged requests to one app: each gets an answer, and none a traceback or a status of 500 and above."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.broken.damage import damage_body, damage_bytes
from tests.broken.worker import try_damaged

pytestmark = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs Gradio")


def request(path: str, body: Any = None, *, kind: str = "application/json", method: str = "POST") -> bytes:
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    head = f"{method} /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def seeds() -> list[tuple[str, bytes]]:
    picture = {"path": "@PICTURE@", "meta": {"_type": "gradio.FileData"}}
    calls: dict[str, list[Any]] = {
        "upscale": [picture, "bicubic", "2"],
        "compare": [picture, "bicubic,bilinear", "2", None],
        "metrics": [picture, picture, "basicsr"],
        "render_view": ["no-such-field", 0, 0, 8, 8, 16, 16],
        "upscale_video": [picture, "bicubic", "2", "0", "1", "mp4"],
        "models": [],
        "run": [picture, ["bicubic"], "2", None, False, "basicsr", 1],
    }
    view = {"field": "x", "x": 0, "y": 0, "width": 8, "height": 8, "out_width": 16, "out_height": 16}
    server = {"component_id": 1, "fn_name": "render_view", "session_hash": "s", "data": [view]}
    form = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nabc\r\n--b--\r\n'
    join = {"data": calls["upscale"], "fn_index": 3, "session_hash": "s", "event_data": None, "trigger_id": 5}
    return [
        *((f"{name}.http", request(f"gradio_api/call/{name}", {"data": data})) for name, data in calls.items()),
        ("join.http", request("gradio_api/queue/join", join)),
        ("component.http", request("gradio_api/component_server", server)),
        ("cancel.http", request("gradio_api/cancel", {"session_hash": "s", "fn_index": 1, "event_id": "x"})),
        ("upload.http", request("gradio_api/upload", form, kind="multipart/form-data; boundary=b")),
        ("file.http", request("gradio_api/file=@PICTURE@", method="GET")),
        ("page.http", request("?__theme=dark", method="GET")),
        ("info.http", request("gradio_api/info", method="GET")),
        ("data.http", request("gradio_api/queue/data?session_hash=s", method="GET")),
    ]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("count", [24, pytest.param(1000, marks=pytest.mark.slow)])
def test_damaged_requests_get_an_answer_and_the_app_lives(tmp_path: Path, count: int) -> None:
    damages = [damage_bytes(200), damage_body, damage_body]
    try_damaged("send_request", seeds(), damages, tmp_path, count=count, read=count // 20, refused=count // 4)

"""Clients that leave: what was asked for is not computed, and no client can fill the queue."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

import httpx

from gsr_app.core.errors import Cancelled
from gsr_app.core.types import FieldHandle, Rendered, View
from gsr_app.ui import visits
from gsr_app.ui.runs import MOST_OF_A_VISITOR
from gsr_app.ui.state import AppState, Limits, create_app_state
from tests.browser.fake_engine import FakeEngine
from tests.servers import get, post, serve


class SlowEngine(FakeEngine):
    """A run of the method "slow" takes five seconds, and a view a minute."""

    def __init__(self) -> None:
        super().__init__(slow_s=0.5)
        self.stopped_views = threading.Event()

    def render(self, handle: FieldHandle, view: View, cancel: Callable[[], bool] | None = None) -> Rendered:
        for _ in range(600):
            if cancel and cancel():
                self.stopped_views.set()
                raise Cancelled("stopped")
            time.sleep(0.1)
        return super().render(handle, view)


@pytest.fixture(scope="module")
def app() -> AppState:
    return create_app_state(SlowEngine(), Limits(1_000_000, 4_000_000))


@pytest.fixture(scope="module")
def address(app: AppState) -> Iterator[str]:
    with serve(app) as url:
        yield url


@pytest.fixture
def uploaded(address: str, tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "picture.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    (name,) = post(f"{address}gradio_api/upload", files={"files": path.read_bytes()}).json()
    return {"path": name, "meta": {"_type": "gradio.FileData"}}


def call(address: str, name: str, data: list[Any], session: str = "") -> str:
    body: dict[str, Any] = {"data": data, **({"session_hash": session} if session else {})}
    return post(f"{address}gradio_api/call/{name}", json=body).json()["event_id"]


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def test_runs_of_clients_that_left_are_cancelled(
    app: AppState, address: str, uploaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty clients ask for a minute each, and leave: of their work next to none is done."""
    monkeypatch.setattr(app.engine, "slow_s", 6.0)
    for number in range(20):
        session = uuid.uuid4().hex if number % 2 else ""  # with and without a session of their own
        event = call(address, "upscale", [uploaded, "slow", "2"], session)
        with httpx.stream("GET", f"{address}gradio_api/call/upscale/{event}", timeout=30) as stream:
            assert stream.status_code == 200
            assert wait_until(lambda: len(app.runs.queue) > 0, 10)
    assert wait_until(lambda: len(app.runs.queue) == 0, 15)


def test_a_run_that_nobody_listens_to_is_cancelled(
    app: AppState, address: str, uploaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visits, "_CONNECT_S", 0.5)
    for _ in range(10):
        call(address, "upscale", [uploaded, "slow", "2"])
    assert wait_until(lambda: len(app.runs.queue) > 0, 10)
    assert wait_until(lambda: len(app.runs.queue) == 0, 15)


@pytest.mark.parametrize("name", ["run", "batch_run"])
def test_a_run_of_the_page_that_nobody_listens_to_is_cancelled(
    app: AppState, address: str, uploaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(visits, "_CONNECT_S", 0.5)
    monkeypatch.setattr(app.engine, "slow_s", 6.0)
    config = get(f"{address}config").json()
    number = next(one["id"] for one in config["dependencies"] if one["api_name"] == name)
    data = {
        "run": [uploaded, ["slow"], "2", None, False, "basicsr", 1, None, None, 0.5, False],
        "batch_run": [[uploaded], "slow", "2", ""],
    }[name]
    for _ in range(3):
        body = {"data": data, "fn_index": number, "session_hash": uuid.uuid4().hex}
        assert post(f"{address}gradio_api/queue/join", json=body).json()["event_id"]
    assert wait_until(lambda: len(app.runs.queue) > 0, 10)
    assert wait_until(lambda: len(app.runs.queue) == 0, 15)


def test_a_client_that_stays_gets_its_answer(address: str, uploaded: dict[str, Any]) -> None:
    for session in ("", uuid.uuid4().hex):
        event = call(address, "upscale", [uploaded, "bicubic", "2"], session)
        answer = get(f"{address}gradio_api/call/upscale/{event}").text
        assert "event: complete" in answer


def test_nobody_can_fill_the_queue(
    app: AppState, address: str, uploaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one client, sixteen requests at a time are taken; the next is refused in words."""
    monkeypatch.setattr(app.engine, "slow_s", 6.0)  # none of them ends meanwhile, however busy the machine is
    events = [call(address, "upscale", [uploaded, "slow", "2"]) for _ in range(MOST_OF_A_VISITOR)]
    assert wait_until(lambda: len(app.runs.queue) == MOST_OF_A_VISITOR, 20)
    last = call(address, "upscale", [uploaded, "slow", "2"])
    answer = get(f"{address}gradio_api/call/upscale/{last}").text
    assert "event: error" in answer
    assert "of your requests are not finished yet" in answer
    for event in events:
        with httpx.stream("GET", f"{address}gradio_api/call/upscale/{event}", timeout=30):
            pass
    assert wait_until(lambda: len(app.runs.queue) == 0, 15)


def test_a_session_may_ask_again_after_its_last_answer(app: AppState) -> None:
    """Its earlier stream has ended; the next one has not begun."""
    app.visits.add("session", 1)
    app.visits.add("session", -1)
    assert not app.visits.client("a", "session", "event").has_left()
    app.visits.add("other event", 1)
    app.visits.add("other event", -1)
    time.sleep(visits._RECONNECT_S + 0.1)
    assert not app.visits.client("a", "session", "event").has_left()
    assert app.visits.client("a", "session", "other event").has_left()


def test_a_view_is_cancelled_when_its_client_hangs_up(app: AppState, address: str) -> None:
    config = get(f"{address}config").json()
    (viewer,) = [one["id"] for one in config["components"] if one["props"].get("elem_id") == "viewer"]
    field = app.handles.put(FieldHandle("8x8", "swift", 64, (8, 8)))
    view = {"field": field, "x": 0, "y": 0, "width": 8, "height": 8, "out_width": 16, "out_height": 16}
    body = {"session_hash": "s", "component_id": viewer, "fn_name": "render_view", "data": view}
    with pytest.raises(httpx.TimeoutException):
        post(f"{address}gradio_api/component_server", content=json.dumps(body), timeout=2)
    assert isinstance(app.engine, SlowEngine)
    assert app.engine.stopped_views.wait(30)
    assert wait_until(lambda: len(app.runs.short) == 0, 3)

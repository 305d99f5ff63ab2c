"""Fields of huge Gaussians: refused in words before anything is drawn, or drawn so that it can be stopped."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio")

import httpx

from gsr_app.core.errors import Cancelled
from gsr_app.core.types import FieldHandle, GaussianField, Rendered, View
from gsr_app.io.fields import save_field
from gsr_app.ui.engine import Engine
from gsr_app.ui.state import AppState, create_app_state
from tests.servers import get, post, serve

SIDE = 1990
BAR = 15.0


class WatchedEngine(Engine):
    """Notes when a drawing begins, and when it is stopped before its end."""

    def __init__(self) -> None:
        super().__init__("cpu")
        self.began, self.stopped = threading.Event(), threading.Event()

    def render(self, handle: FieldHandle, view: View, cancel: Callable[[], bool] | None = None) -> Rendered:
        self.began.set()
        try:
            return super().render(handle, view, cancel)
        except Cancelled:
            self.stopped.set()
            raise


@pytest.fixture(scope="module")
def app() -> AppState:
    engine = WatchedEngine()
    engine.warm()
    return create_app_state(engine)


@pytest.fixture(scope="module")
def address(app: AppState) -> Iterator[str]:
    with serve(app) as url:
        yield url


def huge(count: int, height: float = 1e6) -> GaussianField:
    """Gaussians that each cover the whole picture many times; or bars across it, which no coarser grid makes cheap."""
    generator = np.random.default_rng(0)
    mean = generator.uniform(0, SIDE, (count, 2)).astype(np.float32)
    color = generator.uniform(0, 1 / count, (count, 3)).astype(np.float32)
    sigma = np.full((count, 2), (1e6, height), np.float32)
    return GaussianField(mean, sigma, np.zeros(count, np.float32), color, (SIDE, SIDE))


def open_file(address: str, path: Path, timeout_s: float) -> str:
    """What the page shows after opening a field file: a direct request, as the page sends it."""
    (name,) = post(f"{address}gradio_api/upload", files={"files": (path.name, path.read_bytes())}).json()
    body = {"data": [{"path": name, "meta": {"_type": "gradio.FileData"}}], "session_hash": "visitor"}
    return post(f"{address}gradio_api/run/fit_open", json=body, timeout=timeout_s).text


def test_huge_gaussians_cost_no_more_than_small_ones(app: AppState, address: str, tmp_path: Path) -> None:
    """400 kB of them take 41 seconds where each is evaluated at every pixel."""
    path = tmp_path / "huge.gsr"
    save_field(huge(20_000), path, precision="float16")
    assert path.stat().st_size < 450_000
    before = time.process_time()
    answer = open_file(address, path, 60)
    assert '"state":"done"' in answer, answer
    assert time.process_time() - before < 10


def test_a_field_file_that_would_take_minutes_is_refused_at_once(app: AppState, address: str, tmp_path: Path) -> None:
    assert isinstance(app.engine, WatchedEngine)
    app.engine.began.clear()
    path = tmp_path / "bars.gsr"
    save_field(huge(100_000, BAR), path, precision="float16")
    assert "Gaussians are too large for a view of 1990" in open_file(address, path, 60)
    assert not app.engine.began.is_set()


def test_opening_a_field_file_stops_when_the_visitor_leaves(app: AppState, address: str, tmp_path: Path) -> None:
    assert isinstance(app.engine, WatchedEngine)
    app.engine.began.clear()
    path = tmp_path / "large.gsr"
    save_field(huge(50_000, BAR), path, precision="float16")
    with pytest.raises(httpx.TimeoutException):
        open_file(address, path, 1.0)
    assert app.engine.began.wait(20)
    assert app.engine.stopped.wait(8)


def test_a_view_that_would_take_minutes_is_refused(app: AppState, address: str) -> None:
    config = get(f"{address}config").json()
    (viewer,) = [one["id"] for one in config["components"] if one["props"].get("elem_id") == "viewer"]
    handle = app.engine.keep_field(huge(100_000, BAR), "field")
    view = {"field": app.handles.put(handle), "x": 0, "y": 0, "width": SIDE, "height": SIDE}
    for size, is_drawn in ((SIDE, False), (40, True)):
        data = {**view, "out_width": size, "out_height": size}
        body = {"session_hash": "s", "component_id": viewer, "fn_name": "render_view", "data": data}
        answer = post(f"{address}gradio_api/component_server", content=json.dumps(body)).json()
        assert ("url" in answer) == is_drawn, answer
        assert ("too large for a view" in answer.get("error", "")) != is_drawn


def test_a_view_does_not_wait_for_a_long_run(app: AppState, address: str) -> None:
    """Views that take a moment have a queue of their own."""
    end = threading.Event()
    long: Any = app.runs.queue.submit("somebody", lambda _: end.wait(60) and None)
    config = get(f"{address}config").json()
    (viewer,) = [one["id"] for one in config["components"] if one["props"].get("elem_id") == "viewer"]
    field = app.handles.put(app.engine.keep_field(huge(100), "field"))
    data = {"field": field, "x": 0, "y": 0, "width": 9, "height": 9, "out_width": 99, "out_height": 99}
    body = {"session_hash": "s", "component_id": viewer, "fn_name": "render_view", "data": data}
    started = time.monotonic()
    try:
        assert "url" in post(f"{address}gradio_api/component_server", json=body, timeout=30).json()
        assert time.monotonic() - started < 20
        assert not long.finished.is_set()
    finally:
        end.set()

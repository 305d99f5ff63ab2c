"""Runs that a page watches: what it may do from the first thing that it is told to the last."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

from gsr_app.ui import albums, batch, clips, compare, fit, video
from gsr_app.ui.files import Files
from gsr_app.ui.state import AppState, Limits
from gsr_app.viewer.comparison import CompareRequest
from tests.browser.fake_engine import FakeEngine


@pytest.fixture
def app(tmp_path: Path) -> AppState:
    return AppState(FakeEngine(slow_s=0.02), Files(tmp_path / "files"), limits=Limits(1_000_000, 4_000_000))


@pytest.fixture
def picture(tmp_path: Path) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    return str(tmp_path / "p.png")


def begin(kind: str, app: AppState, picture: str) -> Iterator[Any]:
    if kind == "fit":
        return fit.watch(app, "me", fit.prepare(app, picture, ["random"], "100", 2))
    if kind == "batch":
        return batch.watch(app, "me", batch.prepare(app, [picture, picture], "slow", "2", ""))
    pytest.importorskip("av")
    example = clips.example_file(app.files.root.with_name("examples"))
    return video.watch(app, "me", video.prepare(app, video.VideoRequest(str(example), "bicubic", "2")))


def states(kind: str, told: Any) -> list[str]:
    if kind == "fit":
        return [pane.state for pane in told[0].panes if pane.id.startswith("fit-")]
    return [row.state for row in told.rows] if kind == "batch" else [told.state]


@pytest.mark.parametrize("kind", ["fit", "batch", "video"])
def test_a_run_can_be_stopped_as_soon_as_the_page_shows_stop(kind: str, app: AppState, picture: str) -> None:
    updates = begin(kind, app, picture)
    next(updates)
    assert app.runs.is_running(kind, "me")
    app.runs.stop(kind, "me")
    last = [told for told in updates if told is not None][-1]
    assert set(states(kind, last)) == {"cancelled"}
    assert not app.runs.is_running(kind, "me")


@pytest.mark.parametrize("kind", ["fit", "batch", "video"])
def test_a_run_whose_page_has_left_is_over(kind: str, app: AppState, picture: str) -> None:
    updates = begin(kind, app, picture)
    next(updates)
    updates.close()  # type: ignore[attr-defined]
    assert not app.runs.is_running(kind, "me")


def test_a_batch_runs_until_its_zip_is_written(app: AppState, picture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page whose pictures are changed meanwhile still sees the list of the batch."""
    running: list[bool] = []
    write = zipfile.ZipFile.write

    def look_and_write(*given: Any) -> None:
        running.append(app.runs.is_running("batch", "me"))
        write(*given)

    monkeypatch.setattr(zipfile.ZipFile, "write", look_and_write)
    for told in batch.watch(app, "me", batch.prepare(app, [picture, picture], "bicubic", "2", "")):
        if told is not None:
            assert app.runs.is_running("batch", "me") == told.running
    assert running == [True, True]


def test_results_can_be_asked_for_as_soon_as_the_page_is_told_of_them(app: AppState, picture: str) -> None:
    request = CompareRequest(picture, ("bicubic",), "2")
    for scene in compare.compare(app, "me", compare.prepare(app, request)):
        if not scene.running:
            assert app.scenes.find(scene.run) == scene
            assert app.history.find("me") is not None
    for album in albums.run_all(app, "me", [request, request]):
        for page in album.pages:
            if page.scene.run and not page.scene.running:
                assert app.scenes.find(page.scene.run) == page.scene
                assert app.albums.find(page.scene.run) is not None


def test_a_new_run_of_a_visitor_stops_the_one_before(app: AppState, picture: str) -> None:
    first, second = (begin("batch", app, picture) for _ in range(2))
    with contextlib.closing(second):  # type: ignore[type-var]
        next(first)
        next(second)
        last = [told for told in first if told is not None][-1]
        assert set(states("batch", last)) == {"cancelled"}
        assert app.runs.is_running("batch", "me")
    assert not app.runs.is_running("batch", "me")

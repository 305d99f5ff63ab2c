"""The Fit tab's stream, on the real engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.types import View
from gsr_app.ui import fit
from gsr_app.ui.engine import Engine
from gsr_app.ui.files import Files, path_of
from gsr_app.ui.state import AppState


@pytest.fixture
def app(tmp_path: Path) -> AppState:
    return AppState(Engine(device="cpu"), Files(tmp_path / "files"))


@pytest.fixture
def picture(tmp_path: Path) -> str:
    y, x = np.mgrid[:40, :56] / 56
    Image.fromarray((np.stack([x, y, (x > 0.5) * 0.7], 2) * 255).astype(np.uint8)).save(tmp_path / "p.png")
    return str(tmp_path / "p.png")


def test_frames_and_the_curve_arrive_and_the_field_can_be_zoomed_saved_and_opened(app: AppState, picture: str) -> None:
    job = fit.prepare(app, picture, ["network", "random"], "300", 1)
    scenes = [scene for scene, _ in fit.watch(app, "me", job)]
    assert any(pane.state == "running" and pane.url for scene in scenes for pane in scene.panes)
    last = scenes[-1]
    assert not last.running
    network, random, still = last.panes
    assert network.state == random.state == still.state == "done"
    assert "300 Gaussians" in network.done
    status = job.curves["network"][-1]
    assert network.metrics is not None
    assert network.metrics.psnr_rgb == status.best_psnr
    assert network.timing is not None
    assert network.timing.total_ms == pytest.approx(1e3 * status.seconds)
    assert network.timing.stages_ms["start"] == 1e3 * status.start_seconds
    assert network.field is not None
    handle = app.handles.get(network.field.id)
    drawn = app.engine.render(handle, View((10.0, 10.0), (4.0, 4.0), (64, 64)))
    assert drawn.image.shape[:2] == (64, 64)
    assert [len(line.x) > 0 for line in fit.draw_curves(job).data] == [True, True]
    saved = path_of(network.download_url or "")
    opened = fit.open_field(app, str(saved))
    assert opened.panes[0].field is not None
    assert opened.panes[0].field.count == 300


def test_a_fit_goes_on_with_another_budget(app: AppState, picture: str) -> None:
    kept = fit.fit_store()
    with pytest.raises(InvalidArgument, match="continue"):
        kept.get("me")
    job = fit.prepare(app, picture, ["network"], "auto", 1)
    list(fit.watch(app, "me", job))
    steps = job.fits["network"].step
    list(fit.watch(app, "me", replace(job, continues=True, seconds=1.0)))
    assert job.fits["network"].step > steps


def test_every_start_gets_its_seconds_for_steps_however_long_the_start_takes(
    app: AppState, picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gsr_app.fitting.fitter import Fitter

    def solve_slowly(self: Fitter) -> Iterator[None]:
        time.sleep(1.5)  # longer than the whole budget
        yield

    monkeypatch.setattr(Fitter, "solve_colors", solve_slowly)
    job = fit.prepare(app, picture, ["quadtree"], "50", 1)
    last = list(fit.watch(app, "me", job))[-1][0]
    status = job.curves["quadtree"][-1]
    assert status.step > 0
    assert status.start_seconds >= 1.5
    assert status.seconds - status.start_seconds >= 1
    assert f"start {status.start_seconds:.1f} s" in last.panes[0].done


def test_stopping_keeps_the_best_so_far(app: AppState, picture: str) -> None:
    job = fit.prepare(app, picture, ["network", "random"], "200", 60)
    for last, _ in fit.watch(app, "me", job):
        if last.panes[0].url and last.running:  # something is there to be kept
            app.runs.stop("fit", "me")
    assert last.panes[0].field is not None
    assert last.panes[1].state == "cancelled"


def test_stopping_a_fit_that_goes_on_keeps_what_the_other_starts_have(app: AppState, picture: str) -> None:
    job = fit.prepare(app, picture, ["network", "random"], "200", 1)
    list(fit.watch(app, "me", job))
    for last, _ in fit.watch(app, "me", replace(job, continues=True, seconds=60)):
        if last.panes[0].url and last.running:
            app.runs.stop("fit", "me")
    for pane in last.panes[:2]:
        assert pane.state == "done"
        assert pane.field is not None
        assert path_of(pane.download_url or "").is_file()


@pytest.mark.parametrize(
    ("starts", "count", "seconds"),
    [([], "auto", 5), (["nonsense"], "auto", 5), (["network"], "-3", 5), (["network"], "9" * 12, 5), (None, "", 5),
     (["network"], "0000001999999", 5), (["network"], "auto", float("nan"))],
)  # fmt: skip
def test_nonsense_is_refused_in_words(
    app: AppState, picture: str, starts: object, count: object, seconds: object
) -> None:
    with pytest.raises(InvalidArgument):
        fit.prepare(app, picture, starts, count, seconds)

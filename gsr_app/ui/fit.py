"""Fits that visitors watch: checked wishes, and what the viewer and the curve show as a stream."""

from __future__ import annotations

import logging
import math
import queue
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from gsr_app.core.errors import GsrError, InvalidArgument
from gsr_app.core.types import FieldHandle
from gsr_app.io.fields import SUFFIX, save_field
from gsr_app.ui.compare import read_picture
from gsr_app.ui.engine import FitFrame, Loaded
from gsr_app.ui.files import safe_stem, url_of
from gsr_app.ui.job_queue import QueuedJob
from gsr_app.ui.state import AppState
from gsr_app.ui.store import BoundedStore
from gsr_app.viewer.contract import Frame, PaneError, PaneField, PaneProgress, PaneSpec, PaneTiming, Scene, Source
from gsr_app.viewer.png import encode_png

log = logging.getLogger("gsr")

STARTS = {"network": ("Network", "#1f9d8a"), "quadtree": ("Quad-tree", "#4c6fbf"), "random": ("Random", "#e07b39")}
MOST_SECONDS, MOST_GAUSSIANS = 120, 200_000
_BEAT_S = 0.2
_VISITORS = 8


@dataclass(frozen=True, eq=False)
class Task:
    """A checked wish, or what an earlier one left to go on with."""

    source: Loaded
    name: str
    fits: dict[str, Any]  # by start
    seconds: float
    goes_on: bool = False
    curves: dict[str, list[FitFrame]] = field(default_factory=dict[str, list[FitFrame]])


def fit_store() -> BoundedStore[Task]:
    """The last fits of each visitor, which can be continued."""
    return BoundedStore(_VISITORS, missing="There is no fit to go on with.", hint="Fit a picture first.")


def prepare(app: AppState, path: object, starts: object, gaussians: object, seconds: object) -> Task:
    chosen = [one for one in starts if one in STARTS] if isinstance(starts, (list, tuple)) else []
    if not chosen:
        raise InvalidArgument("No start was chosen.", hint=f"Choose among {', '.join(STARTS)}.")
    count = _read_count(gaussians)
    budget = read_seconds(seconds)
    source = read_picture(app, path)
    fits = {
        start: app.engine.open_fit(source.pixels, start=start, gaussians=count, seconds=budget)
        for start in dict.fromkeys(chosen)
    }
    return Task(source, Path(str(path)).name, fits, budget)


def _read_count(text: object) -> int | None:
    words = str(text or "auto").strip().replace(",", "").lower()
    if words == "auto":
        return None
    if not words.isdecimal() or len(words) > 9 or not 1 <= int(words) <= MOST_GAUSSIANS:
        raise InvalidArgument(
            f"Cannot fit {words[:20]!r} Gaussians.", hint=f"Write auto, or a number up to {MOST_GAUSSIANS:,}."
        )
    return int(words)


def read_seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidArgument("The seconds are no number.")
    return min(float(MOST_SECONDS), max(1.0, float(value)))


def watch(app: AppState, visitor: str, task: Task, jobs: dict[str, QueuedJob]) -> Iterator[tuple[Scene, Any]]:
    """Run the fits, one after the other; scenes and curves whenever something is new. Closing it stops them."""
    height, width = task.source.size
    source = Source(secrets.token_hex(6), task.name, width, height)
    still = app.files.put(encode_png(task.source.pixels), ".png", "input")
    panes = {start: PaneSpec(f"fit-{start}", *STARTS[start]) for start in task.fits}
    last = PaneSpec("input", "Input", "#c9b28a", kind="input", state="done", url=url_of(still), span=(height, width))
    news: queue.SimpleQueue[tuple[str, PaneSpec, FitFrame | None]] = queue.SimpleQueue()
    run = secrets.token_urlsafe(18)
    job = jobs[visitor] = app.queue.submit(visitor, _run(app, task, panes, news))

    def scene(running: bool) -> Scene:
        shown = (*panes.values(), last)
        return Scene(shown, source, Frame(width, height), {"x": 1.0, "y": 1.0}, running=running, run=run)

    try:
        yield scene(True), draw_curves(task)
        while True:
            is_over = job.finished.is_set()
            said = False
            for start, pane, frame in _drain(news, 0.0 if is_over else _BEAT_S):
                panes[start], said = pane, True
                if frame is not None:
                    task.curves.setdefault(start, []).append(frame)
            if is_over:
                for start, pane in panes.items():
                    if pane.state == "waiting":  # stopped while others were still at work
                        panes[start] = replace(pane, state="cancelled")
                final = scene(False)
                app.scenes.put(final, final.run)
                yield final, draw_curves(task)
                return
            yield scene(True), draw_curves(task) if said else None
    finally:
        job.cancel()
        if jobs.get(visitor) is job:
            del jobs[visitor]


def _drain(news: queue.SimpleQueue[Any], wait_s: float) -> Iterator[Any]:
    try:
        yield news.get(timeout=wait_s) if wait_s else news.get_nowait()
        while True:
            yield news.get_nowait()
    except queue.Empty:
        return


def _run(
    app: AppState, task: Task, panes: dict[str, PaneSpec], news: queue.SimpleQueue[Any]
) -> Callable[[QueuedJob], None]:
    blank = dict(panes)

    def run(job: QueuedJob) -> None:
        for start, fit in task.fits.items():
            pane = replace(blank[start], state="running")
            news.put((start, pane, None))
            try:
                more = task.seconds if task.goes_on else None
                for frame in app.engine.run_fit(fit, more_seconds=more, cancel=job.cancelled):
                    path = app.files.put(encode_png(frame.pixels), ".png", "fit")
                    pane = replace(
                        pane, url=url_of(path), span=task.source.size, done=describe(frame),
                        timing=PaneTiming({"encode": 1e3 * frame.seconds}, 1e3 * frame.seconds, device="cpu"),
                        progress=PaneProgress(describe(frame), round(frame.progress, 3)),
                    )  # fmt: skip
                    news.put((start, pane, replace_pixels(frame)))
                if pane.url is None:
                    news.put((start, replace(pane, state="cancelled"), None))
                    continue
                handle = app.engine.keep_fit(fit)
                news.put((start, finished(app, pane, handle, task.name), None))
            except GsrError as error:
                news.put((start, replace(pane, state="failed", error=PaneError(str(error), error.hint)), None))
            except Exception as error:  # one start must not take the others down
                log.exception("A fit failed")
                news.put(
                    (
                        start,
                        replace(pane, state="failed", error=PaneError(f"It stopped: {type(error).__name__}.")),
                        None,
                    )
                )

    return run


def replace_pixels(frame: FitFrame) -> FitFrame:
    """Only the numbers, for the curve: the picture is on the disk."""
    return replace(frame, pixels=frame.pixels[:0])


def describe(frame: FitFrame) -> str:
    return (
        f"{frame.psnr:.2f} dB · {frame.gaussians:,} Gaussians · {frame.step:,} steps · {frame.seconds:.1f} s · "
        f"{frame.steps_per_second:.0f} steps/s"
    )


def finished(app: AppState, pane: PaneSpec, handle: FieldHandle, name: str) -> PaneSpec:
    """A pane whose Gaussians can be zoomed into, laid over and saved."""
    path = app.files.new(SUFFIX, f"{safe_stem(name)}_{handle.method}")
    save_field(app.engine.field(handle), path, method=handle.method)
    return replace(
        pane, state="done", progress=None, field=PaneField(app.handles.put(handle), handle.count),
        download_url=url_of(path), download_name=path.name,
    )  # fmt: skip


def open_field(app: AppState, path: object) -> Scene:
    """A field from a file, on the stage."""
    if not isinstance(path, str) or not path:
        raise InvalidArgument("There is no field file.", hint=f"Choose a {SUFFIX} file.")
    from gsr_app.core.types import Scale, View

    handle = app.engine.keep_field(Path(path))
    height, width = handle.source_size
    if height * width > app.limits.output_pixels:
        raise InvalidArgument(f"The field is of {width}×{height} pixels: too many to show here.")
    drawn = app.engine.render(handle, View.whole(handle.source_size, Scale(1, 1)))
    still = app.files.put(encode_png(drawn.image), ".png", "field")
    pane = PaneSpec("fit-file", Path(path).name[:60], "#1f9d8a", url=url_of(still), span=(height, width))
    pane = finished(app, replace(pane, done=f"{handle.count:,} Gaussians from a file"), handle, Path(path).name)
    source = Source(secrets.token_hex(6), Path(path).name, width, height)
    scene = Scene((pane,), source, Frame(width, height), {"x": 1.0, "y": 1.0}, run=secrets.token_urlsafe(18))
    app.scenes.put(scene, scene.run)
    return scene


def draw_curves(task: Task) -> Any:
    """PSNR over seconds, a line per start."""
    figure: Any = go.Figure()
    for start in task.fits:
        title, colour = STARTS[start]
        frames = task.curves.get(start, [])
        figure.add_scatter(
            x=[frame.seconds for frame in frames], y=[frame.psnr for frame in frames], name=title, mode="lines",
            line={"color": colour, "width": 2}, customdata=[frame.step for frame in frames],
            hovertemplate="%{y:.2f} dB · %{x:.1f} s · step %{customdata}",
        )  # fmt: skip
    grid = {"gridcolor": "rgba(128,128,128,0.22)", "zeroline": False}
    figure.update_layout(
        xaxis={**grid, "title": "seconds"}, yaxis={**grid, "title": "PSNR (RGB), dB"}, height=200, showlegend=True,
        font={"family": "Inter, Liberation Sans, sans-serif", "size": 12, "color": "#7d8287"},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", margin={"l": 52, "r": 12, "t": 8, "b": 40},
        legend={"orientation": "h", "y": 1, "x": 1, "xanchor": "right", "yanchor": "bottom"},
    )  # fmt: skip
    return figure

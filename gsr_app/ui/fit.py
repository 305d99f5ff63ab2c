"""Fits that visitors watch, as streams of scenes and curves."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.pixels import convert, from_planes, to_planes
from gsr_app.core.types import FieldHandle, Scale, Timing, View
from gsr_app.io.fields import SUFFIX, load_field, save_field
from gsr_app.io.picture import Picture
from gsr_app.ui.files import url_of
from gsr_app.ui.runs import Work
from gsr_app.ui.state import AppState
from gsr_app.ui.store import BoundedStore
from gsr_app.ui.views import draw
from gsr_app.viewer.comparison import preview_scene, read_picture
from gsr_app.viewer.contract import Frame, PaneMetrics, PaneProgress, PaneSpec, Scene, Source
from gsr_app.viewer.sink import safe_stem

if TYPE_CHECKING:  # it imports torch
    from gsr_app.fitting.fitter import Fitter
    from gsr_app.fitting.progress import FitStatus

STARTS = {"network": ("Network", "#1f9d8a"), "quadtree": ("Quad-tree", "#4c6fbf"), "random": ("Random", "#e07b39")}
MOST_SECONDS, MOST_GAUSSIANS = 120, 200_000
_VISITORS = 8
_CONVENTION = "fit: RGB, whole frame, not quantised"

Event = tuple[PaneSpec, "FitStatus | None"]


@dataclass(frozen=True, eq=False)
class FitJob:
    """Fits of one picture: new ones, or those of an earlier job to continue."""

    source: Picture
    name: str
    fits: dict[str, Fitter]  # by start
    seconds: float
    continues: bool = False
    curves: dict[str, list[FitStatus]] = field(default_factory=dict[str, "list[FitStatus]"])
    finished: dict[str, PaneSpec] = field(default_factory=dict[str, PaneSpec])  # what may be zoomed into and saved


def fit_store() -> BoundedStore[FitJob]:
    """The last fits of each visitor, which can be continued."""
    return BoundedStore(_VISITORS, missing="There is no fit to continue.", hint="Fit a picture first.")


def prepare(app: AppState, path: object, starts: object, gaussians: object, seconds: object) -> FitJob:
    chosen = [one for one in starts if one in STARTS] if isinstance(starts, (list, tuple)) else []
    if not chosen:
        raise InvalidArgument(
            "No start was chosen.", hint=f"Choose among {', '.join(title for title, _ in STARTS.values())}."
        )
    count = _read_count(gaussians)
    budget = read_seconds(seconds)
    source = read_picture(path, app.limits)
    fits = {start: _open_fit(source.pixels, start, count, budget) for start in dict.fromkeys(chosen)}
    return FitJob(source, Path(str(path)).name, fits, budget)


def _open_fit(image: NDArray[Any], start: Any, gaussians: int | None, seconds: float) -> Fitter:
    from gsr_app.fitting.fitter import Fitter
    from gsr_app.fitting.options import FitOptions

    values = to_planes(convert(image, channels=3))
    return Fitter(values, FitOptions(start=start, gaussians=gaussians, seconds=seconds, counts_start=False))


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


def watch(app: AppState, visitor: str, job: FitJob) -> Iterator[tuple[Scene, Any]]:
    """Run the fits, one after the other; a scene at every update, and the curves when they have grown. Closing the
    iterator stops the fits."""
    scene = preview_scene(job.source, job.name, app.sink.put_still("input", job.source.pixels).url)
    (still,) = scene.panes
    panes = {start: PaneSpec(f"fit-{start}", *STARTS[start]) for start in job.fits}
    scene = replace(scene, panes=(*panes.values(), still), running=True, run=secrets.token_urlsafe(18))
    works = {start: _work(app, job, start, panes[start]) for start in job.fits}
    with app.runs.stoppable("fit", visitor) as run:
        yield scene, draw_curves(job)
        for update in app.runs.follow("fit", visitor, works):
            for start, (pane, status) in update.events:
                panes[start] = pane
                if status is not None:
                    job.curves.setdefault(start, []).append(status)
            scene = replace(scene, panes=(*panes.values(), still), running=not update.is_over)
            if update.is_over:
                app.scenes.put(scene, scene.run)
                run.end()
            yield scene, draw_curves(job) if update.events or update.is_over else None


def _work(app: AppState, job: FitJob, start: str, pane: PaneSpec) -> Work[Event]:
    shown = [pane]  # the newest
    stopped = job.finished.get(start, replace(pane, state="cancelled"))  # before anything new is there

    def run(send: Callable[[Event], None], cancelled: Callable[[], bool]) -> None:
        def show(status: FitStatus | None = None, **changes: Any) -> None:
            shown[0] = replace(shown[0], **changes)
            send((shown[0], status))

        show(state="running")
        fit = job.fits[start]
        if job.continues:
            fit.extend(seconds=job.seconds)
        for status in fit.run(report_seconds=0.5, stop=cancelled):
            text = describe(status)
            drawn = from_planes(fit.draw().numpy(), np.uint8)
            show(
                status, url=app.sink.put_still("fit", drawn).url, span=job.source.size, done=text,
                timing=_timing(status), metrics=PaneMetrics(_CONVENTION, psnr_rgb=status.best_psnr),
                progress=PaneProgress(text, round(status.progress, 3)),
            )  # fmt: skip
        if shown[0].url is None:
            send((stopped, None))
        else:
            job.finished[start] = finished(app, shown[0], app.engine.keep_field(fit.field, f"fit-{start}"), job.name)
            send((job.finished[start], None))

    return Work(
        "The fit", run, (stopped, None),
        lambda error: (replace(shown[0], state="failed", error=error), None),
    )  # fmt: skip


def _timing(status: FitStatus) -> Timing:
    """The start and the steps apart: only the steps have a budget."""
    started = status.start_seconds
    return Timing({"start": 1e3 * started, "fit": 1e3 * (status.seconds - started)}, device="cpu")


def describe(status: FitStatus) -> str:
    time = f"start {status.start_seconds:.1f} s, then {status.seconds - status.start_seconds:.1f} s"
    return (
        f"{status.best_psnr:.2f} dB · {status.gaussians:,} Gaussians · {status.step:,} steps · {time}"
        f" · {status.steps_per_second:.0f} steps/s"
    )


def finished(app: AppState, pane: PaneSpec, handle: FieldHandle, name: str) -> PaneSpec:
    """A pane whose Gaussians can be zoomed into, laid over and saved."""
    path = app.files.new(SUFFIX, f"{safe_stem(name)}_{handle.method}")
    save_field(app.engine.field(handle), path, method=handle.method)
    return replace(
        pane, state="done", progress=None, field=app.sink.put_field(pane.id, handle), download_url=url_of(path),
        download_name=path.name,
    )  # fmt: skip


def open_field(app: AppState, path: object) -> Scene:
    """The scene of a field file."""
    if not isinstance(path, str) or not path:
        raise InvalidArgument("There is no field file.", hint=f"Choose a {SUFFIX} file.")
    field = load_field(Path(path))
    height, width = field.source_size
    if height * width > app.limits.output_pixels:
        raise InvalidArgument(f"The field is of {width}×{height} pixels: too many to show here.")
    handle = app.engine.keep_field(field, "field")
    drawn = draw(app, app.visits.client(), handle, View.whole(handle.source_size, Scale(1, 1)))
    name, url = Path(path).name, app.sink.put_still("field", drawn.image).url
    pane = PaneSpec(
        "fit-file", name[:60], "#1f9d8a", url=url, span=(height, width), done=f"{handle.count:,} Gaussians from a file"
    )
    pane = finished(app, pane, handle, name)
    source = Source(secrets.token_hex(6), name, width, height)
    scene = Scene((pane,), source, Frame(width, height), {"x": 1.0, "y": 1.0}, run=secrets.token_urlsafe(18))
    app.scenes.put(scene, scene.run)
    return scene


def draw_curves(job: FitJob) -> Any:
    """PSNR over seconds, a line per start."""
    figure: Any = go.Figure()
    for start in job.fits:
        title, colour = STARTS[start]
        frames = job.curves.get(start, [])
        figure.add_scatter(
            x=[frame.seconds for frame in frames], y=[frame.best_psnr for frame in frames], name=title, mode="lines",
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

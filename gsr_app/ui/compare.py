"""Comparisons that visitors watch, as streams of scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gsr_app.core.pixels import has_alpha
from gsr_app.models import registry
from gsr_app.models.registry import Method
from gsr_app.ui.files import url_of
from gsr_app.ui.plots import add_runs
from gsr_app.ui.runs import Work
from gsr_app.ui.state import AppState
from gsr_app.viewer import comparison, encoder
from gsr_app.viewer.comparison import CompareJob, CompareRequest
from gsr_app.viewer.contract import PaneProgress, PaneSpec, Scene
from gsr_app.viewer.foreign import foreign_pane
from gsr_app.viewer.panes import waiting_pane, waiting_result
from gsr_app.viewer.results import ForeignResult

if TYPE_CHECKING:
    from gsr_app.engine.strength import Wear

_OF_BROWSERS = {".png", ".jpg", ".jpeg", ".webp"}


def prepare(app: AppState, request: CompareRequest) -> CompareJob:
    return comparison.prepare(request, app.engine.methods, app.limits)


def has_strength(method_id: object) -> bool:
    """Whether a strength can be chosen for a method."""
    found = registry.find(str(method_id))
    return found is not None and bool(found.blends_with) and found.strength is None


def at_strength(ids: object, strength: object) -> tuple[str, ...]:
    """The ids of methods, with the strength for those that have one."""
    listed = [str(one) for one in ids] if isinstance(ids, list | tuple) else []
    return tuple(f"{one}{registry.STRENGTH_MARK}{strength}" if has_strength(one) else one for one in listed)


def preview(app: AppState, path: str) -> tuple[Scene, Wear]:
    """An uploaded picture on the stage, and how worn it is; an error if any part of it is missing or damaged."""
    from gsr_app.engine.strength import measure_wear

    source = comparison.read_picture(path, app.limits)
    is_shown_by_browsers = source.pixels.dtype == np.uint8 and Path(path).suffix.lower() in _OF_BROWSERS
    url = url_of(Path(path)) if is_shown_by_browsers else app.sink.put_still("input", source.pixels).url
    scene = comparison.preview_scene(source, Path(path).name, url)
    assert scene.source is not None
    app.pictures.put(path, scene.source.key)
    return scene, measure_wear(source.pixels, source.meta.jpeg_quality)


def why_not_in_browser(job: CompareJob) -> str:
    """What a browser cannot do of a run; nothing where it can make Swift's result as well as the server."""
    if job.scoring is not None:
        return "to be scored"
    if job.repeats > 1:
        return "to be timed"
    if job.part is not None:
        return "for a detail"
    if job.source.pixels.dtype != np.uint8 or has_alpha(job.source.pixels):
        return "to keep more than 8 bits or transparency"
    return ""


def compare(app: AppState, visitor: str, job: CompareJob, *, in_browser: bool = False) -> Iterator[Scene]:
    """Run every method, but for Swift where that is left to the browser; a scene at every update. Closing the iterator
    stops the work."""
    why_not = why_not_in_browser(job)
    left = {encoder.METHOD} if in_browser and not why_not else set[str]()
    note = f"made on the server {why_not}" if in_browser and why_not else ""
    scene = comparison.first_scene(job, app.sink)
    scene = replace(scene, panes=tuple(replace(pane, here=pane.id in left) for pane in scene.panes))
    yield scene
    panes = {pane.id: pane for pane in scene.panes}
    works = {
        one.id: _work(app, job, one, note if one.id == encoder.METHOD else "")
        for one in job.methods
        if one.id not in left
    }
    works.update({one.id: _reading(app, job, one) for one in job.results})
    for update in app.runs.follow("compare", visitor, works, leaves=True):
        panes.update(update.events)
        for key, ahead in update.ahead.items():
            if panes[key].state == "waiting":
                panes[key] = replace(panes[key], progress=PaneProgress(ahead=ahead))
        scene = replace(scene, panes=tuple(panes.values()), running=not update.is_over)
        if update.is_over:  # the page may ask for it as soon as it is told
            app.scenes.put(scene, scene.run)
            if scene.detail is None:
                add_runs(app.history, visitor, scene)
        yield scene


def _work(app: AppState, job: CompareJob, method: Method, note: str = "") -> Work[PaneSpec]:
    pane = waiting_pane(method)

    def run(send: Callable[[PaneSpec], None], cancelled: Callable[[], bool]) -> None:
        send(replace(pane, state="running"))

        def report(progress: PaneProgress) -> None:
            send(replace(pane, state="running", progress=progress))

        done = comparison.run_method(job, method, app.engine, app.sink, cancel=cancelled, report=report)
        if done.timing and job.part is None and not comparison.uses_cached_field(method, done.timing):
            (height, width), (rows, columns) = job.source.size, job.output_size
            app.estimates.learn(registry.without_strength(method.id), done.timing, height * width, rows * columns)
        send(replace(done, warnings=(*done.warnings, note)) if note else done)

    failed = lambda error: replace(pane, state="failed", error=error)  # noqa: E731
    return Work(method.title, run, replace(pane, state="cancelled"), failed)


def _reading(app: AppState, job: CompareJob, result: ForeignResult) -> Work[PaneSpec]:
    """A result that was made elsewhere: its file is read, and scored."""
    pane = waiting_result(result)

    def run(send: Callable[[PaneSpec], None], cancelled: Callable[[], bool]) -> None:
        send(replace(pane, state="running"))
        send(foreign_pane(job, result, app.sink))

    failed = lambda error: replace(pane, state="failed", error=error)  # noqa: E731
    return Work(result.name, run, replace(pane, state="cancelled"), failed)

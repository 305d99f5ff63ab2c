"""One comparison: several methods on one picture, told as a stream of scenes."""

from __future__ import annotations

import hashlib
import logging
import math
import queue
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np

from gsr_app.core.errors import Cancelled, GsrError, InvalidArgument, UnknownMethod
from gsr_app.core.types import Progress, Scale, Timing, Upscaled
from gsr_app.models.registry import Method
from gsr_app.ui import present
from gsr_app.ui.engine import Engine, Loaded, Pixels
from gsr_app.ui.files import safe_stem, url_of
from gsr_app.ui.job_queue import QueuedJob
from gsr_app.ui.plots import add_runs
from gsr_app.ui.state import AppState
from gsr_app.viewer.contract import Frame, PaneError, PaneField, PaneProgress, PaneSpec, Scene, Source
from gsr_app.viewer.png import encode_png

log = logging.getLogger("gsr")

MOST_METHODS = 6
MOST_REPEATS = 15
_BEAT_S = 0.15  # how often a running comparison speaks, and so how soon it notices that nobody listens


@dataclass(frozen=True)
class Wish:
    """What a visitor asks for. Everything in it is unchecked."""

    image: str | None
    methods: tuple[str, ...]
    scale: str
    reference: str | None = None
    round_trip: bool = False
    protocol: str = "basicsr"
    repeats: int = 1


@dataclass(frozen=True, eq=False)
class Task:
    """A checked wish, with the pixels."""

    source: Loaded
    name: str
    scale: Scale
    methods: tuple[Method, ...]
    reference: Pixels | None
    protocol: str
    repeats: int
    key: str
    notes: tuple[str, ...] = field(default=())

    @property
    def output_size(self) -> tuple[int, int]:
        return self.scale.output_size(self.source.size)


# ---- checking ---------------------------------------------------------------------------------------------------


def find_methods(engine: Engine, ids: object) -> tuple[Method, ...]:
    """The methods of a visitor's list of ids."""
    known = {method.id: method for method in engine.methods}
    if not isinstance(ids, (list, tuple)) or not ids:
        raise InvalidArgument("No method was chosen.", hint="Choose at least one.")
    if len(ids) > MOST_METHODS:
        raise InvalidArgument(f"At most {MOST_METHODS} methods fit beside each other, found {len(ids)}.")
    for found in ids:
        if not isinstance(found, str) or found not in known:
            raise UnknownMethod(str(found)[:60], known)
    return tuple(known[one] for one in dict.fromkeys(ids))


def read_picture(app: AppState, path: object, what: str = "picture") -> Loaded:
    if not isinstance(path, str) or not path:
        raise InvalidArgument(f"There is no {what} yet.", hint="Drop one in, paste one, or take an example.")
    height, width = app.engine.size_of(Path(path))
    if height * width > app.limits.input_pixels:
        raise InvalidArgument(
            f"The {what} has {height * width / 1e6:.1f} megapixels; "
            f"at most {app.limits.input_pixels / 1e6:.0f} are taken.",
            hint="Crop it, or start the app with a larger --max-pixels.",
        )
    return app.engine.read(Path(path))


def check_output(app: AppState, size: tuple[int, int], scale: Scale) -> tuple[int, int]:
    """The output's size, if it may be made."""
    height, width = scale.output_size(size)
    if height * width > app.limits.output_pixels:
        raise InvalidArgument(
            f"The result would have {height * width / 1e6:.0f} megapixels ({width}×{height}); "
            f"at most {app.limits.output_pixels / 1e6:.0f} are made here.",
            hint="Choose a smaller scale, or start the app with a larger --max-pixels.",
        )
    return height, width


def prepare(app: AppState, wish: Wish) -> Task:
    """Check a wish and read its pictures."""
    methods = find_methods(app.engine, wish.methods)
    if wish.protocol not in app.engine.protocols():
        raise InvalidArgument(f"The metric convention {wish.protocol[:40]!r} is not known.")
    source = read_picture(app, wish.image)
    name = Path(str(wish.image)).name
    scale = Scale.parse(str(wish.scale), source.size)
    reference: Pixels | None = None
    if wish.round_trip:
        source, reference = _round_trip(app, source, scale)
    check_output(app, source.size, scale)
    if wish.reference and not wish.round_trip:
        reference = read_picture(app, wish.reference, "reference").pixels
        expected = scale.output_size(source.size)
        if reference.shape[:2] != expected:
            raise InvalidArgument(
                f"The reference is {reference.shape[1]}×{reference.shape[0]}, "
                f"the result will be {expected[1]}×{expected[0]}.",
                hint="Choose the scale that leads from the picture to the reference, or switch the round trip on.",
            )
    key = hashlib.blake2b(np.ascontiguousarray(source.pixels).data, digest_size=8).hexdigest()
    repeats = min(MOST_REPEATS, max(1, int(wish.repeats)))
    return Task(source, name, scale, methods, reference, wish.protocol, repeats, key, source.notes)


def _round_trip(app: AppState, picture: Loaded, scale: Scale) -> tuple[Loaded, Pixels]:
    """The picture made small as in the papers, and what of the original the result will cover."""
    if min(scale.y, scale.x) < 1:
        raise InvalidArgument(f"A round trip needs a scale of at least 1, found {scale}.")
    height, width = picture.size
    whole = (max(1, int(height / scale.y + 1e-6)), max(1, int(width / scale.x + 1e-6)))
    if min(whole) < 8:
        raise InvalidArgument(
            f"At ×{scale} this picture would shrink to {whole[1]}×{whole[0]}.", hint="Choose a smaller scale."
        )
    # As the papers: first the original is cut so that the factor divides it, then it is made smaller.
    top, left = math.ceil(whole[0] * scale.y - 1e-6), math.ceil(whole[1] * scale.x - 1e-6)
    cut = picture.pixels[: min(height, top), : min(width, left)]
    small = app.engine.shrink(np.ascontiguousarray(cut), scale)
    output = scale.output_size(small.shape[:2])
    return replace(picture, pixels=small), np.ascontiguousarray(picture.pixels[: output[0], : output[1]])


# ---- running ----------------------------------------------------------------------------------------------------


def first_scene(task: Task, app: AppState) -> Scene:
    """Everything that is known before anything has run."""
    height, width = task.output_size
    panes = [present.waiting_pane(method) for method in task.methods]
    span = task.source.size
    if task.reference is not None:
        covered = (height / task.scale.y, width / task.scale.x)
        panes.append(_still(app, "reference", "Reference", "#e9e9e6", task.reference, covered, kind="reference"))
    crowded = len(panes) > 1
    panes.append(_still(app, "input", "Input", "#c9b28a", task.source.pixels, span, kind="input", hidden=crowded))
    source = Source(task.key, task.name, span[1], span[0])
    return Scene(
        tuple(panes),
        source,
        Frame(width, height),
        {"x": task.scale.x, "y": task.scale.y},
        running=True,
        run=secrets.token_urlsafe(18),
    )


def _still(
    app: AppState, id: str, name: str, colour: str, pixels: Pixels, span: tuple[float, float], **more: object
) -> PaneSpec:
    path = app.files.put(encode_png(pixels), ".png", id)
    alpha = pixels.ndim == 3 and pixels.shape[2] == 4
    bits = 8 * pixels.dtype.itemsize
    return PaneSpec(id, name, colour, state="done", url=url_of(path), bits=bits, alpha=alpha, span=span, **more)  # type: ignore[arg-type]


def compare(app: AppState, visitor: str, task: Task) -> Iterator[Scene]:
    """Run every method; a scene whenever something is new. Closing the iterator stops the work."""
    scene = first_scene(task, app)
    news: queue.SimpleQueue[PaneSpec] = queue.SimpleQueue()
    jobs = {method.id: app.queue.submit(visitor, _run(app, task, method, news)) for method in task.methods}
    try:
        yield scene
        panes = {pane.id: pane for pane in scene.panes}
        said = scene
        while True:
            all_done = all(job.finished.is_set() for job in jobs.values())
            fresh = {pane.id: pane for pane in _drain(news, 0.0 if all_done else _BEAT_S)}
            panes.update(fresh)
            for method_id, job in jobs.items():
                if panes[method_id].state == "waiting":
                    panes[method_id] = replace(panes[method_id], progress=PaneProgress(ahead=app.queue.ahead(job)))
            scene = replace(scene, panes=tuple(panes.values()), running=not all_done)
            if scene != said or all_done:
                said = scene
            yield said  # also when nothing is new: only between yields can a run be stopped
            if all_done:
                app.scenes.put(said, said.run)
                add_runs(app.history, visitor, said)
                return
    finally:
        for job in jobs.values():
            job.cancel()


def _drain(news: queue.SimpleQueue[PaneSpec], wait_s: float) -> Iterator[PaneSpec]:
    until = time.monotonic() + wait_s
    while True:
        try:
            left = until - time.monotonic()
            yield news.get(timeout=left) if left > 0 else news.get_nowait()
        except queue.Empty:
            return


def _run(app: AppState, task: Task, method: Method, news: queue.SimpleQueue[PaneSpec]) -> Callable[[QueuedJob], None]:
    pane = present.waiting_pane(method)

    def run(job: QueuedJob) -> None:
        try:
            news.put(replace(pane, state="running"))
            result, timing = upscale(
                app, task, method, job, lambda p: news.put(replace(pane, state="running", progress=p))
            )
            news.put(finished_pane(app, task, method, result, timing))
        except Cancelled:
            news.put(replace(pane, state="cancelled"))
        except GsrError as error:
            news.put(replace(pane, state="failed", error=PaneError(str(error), error.hint)))
        except MemoryError:
            hint = "Choose a smaller scale or a lighter method."
            news.put(replace(pane, state="failed", error=PaneError("There was not enough memory.", hint)))
        except Exception as error:  # one method must not take the others down
            log.exception("%s failed", method.id)
            hint = "The other methods are not affected. The app's log has the details."
            news.put(
                replace(pane, state="failed", error=PaneError(f"{method.title} stopped: {type(error).__name__}.", hint))
            )

    return run


def upscale(
    app: AppState, task: Task, method: Method, job: QueuedJob, report: Callable[[PaneProgress], None]
) -> tuple[Upscaled, Timing]:
    timings: list[Timing] = []
    result: Upscaled | None = None
    # The first of several runs may load the network; it is not counted.
    runs = task.repeats if task.repeats == 1 else task.repeats + 1
    for number in range(runs):
        steps = app.engine.stream(
            task.source.pixels, method=method.id, scale=task.scale, cancel=job.cancelled, fresh=number > 0
        )
        for event in steps:
            if job.cancelled():
                raise Cancelled("The run was stopped.")
            if isinstance(event, Progress):
                stage = event.stage if runs == 1 else f"run {number + 1} of {runs}, {event.stage}"
                report(PaneProgress(stage, round(event.fraction, 3)))
            else:
                result = result or event  # the first has a field that is kept
                timings.append(event.timing)
    if result is None:
        raise GsrError(f"{method.title} ended without a picture.")
    return result, timings[0] if runs == 1 else _middle(timings[1:])


def is_remembered(method: Method, timing: Timing) -> bool:
    """Whether the field was still there from an earlier run, so that the clock tells less than the whole work."""
    return method.kind == "field" and "encode" not in timing.stages_ms


def _middle(timings: list[Timing]) -> Timing:
    """Stage by stage, the median of several runs."""
    stages = {stage: median(t.stages_ms.get(stage, 0.0) for t in timings) for t in timings for stage in t.stages_ms}
    return replace(timings[-1], stages_ms=stages, repeats=len(timings), cold=False)


def finished_pane(
    app: AppState, task: Task, method: Method, result: Upscaled, timing: Timing, *, only_figures: bool = False
) -> PaneSpec:
    """A result as the viewer shows it: screen picture, file to keep, figures."""
    pixels = np.asarray(result.image)
    if is_remembered(method, timing):
        told = "the field was kept from an earlier run, so the time is without encoding"
        result = replace(result, warnings=(*result.warnings, told))
    metrics = None
    if task.reference is not None:
        factor = max(task.scale.y, task.scale.x)
        metrics = app.engine.measure(pixels, task.reference, protocol=task.protocol, scale=factor)
    if only_figures:
        return present.done_pane(method, result, timing, scale=task.scale, metrics=metrics)
    stem = f"{safe_stem(task.name)}_{method.id}_x{task.scale}"
    started = time.perf_counter()
    screen = app.files.put(encode_png(pixels), ".png", stem)
    timing = timing.including(write=1000 * (time.perf_counter() - started))
    if not is_remembered(method, timing):
        (height, width), (rows, columns) = task.source.size, task.output_size
        app.estimates.learn(method.id, timing, height * width, rows * columns)
    download = screen
    if pixels.dtype != np.uint8 or task.source.meta is not None:
        # The file to keep has the input's depth, profile and metadata.
        download = app.files.new(".png", stem)
        try:
            app.engine.write(download, pixels, task.source)
        except GsrError as error:
            log.warning("The result is offered as 8 bits: %s", error)
            download = screen
    kept = PaneField(app.handles.put(result.field), result.field.count) if result.field else None
    return present.done_pane(
        method,
        result,
        timing,
        url=url_of(screen),
        download_url=url_of(download),
        download_name=f"{stem}.png",
        scale=task.scale,
        field=kept,
        metrics=metrics,
    )

"""Upscale the frames of a clip one after the other; memory does not depend on their number.

    for frame in upscale_frames(session, frames, method="savsr", scale=Scale(2.5, 2.5)):
        ...

Frames are arrays as `Session.upscale` takes them; results have the same layout. No more frames are read ahead than the
method needs: none for an image method, three for a temporal network.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

import numpy as np

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.types import Progress, Scale, Upscaled
from gsr_app.engine import cancellation, runners
from gsr_app.engine.planes import Planes
from gsr_app.engine.rows import ArraySink
from gsr_app.engine.runners import Steps
from gsr_app.engine.session import Session
from gsr_app.engine.temporal import NumberedFrame, TemporalRunner, sliding_windows
from gsr_app.engine.timing import Stopwatch
from gsr_app.models import registry
from gsr_app.models.registry import Method

_Result = TypeVar("_Result")


def upscale_frames(
    session: Session,
    frames: Iterable[np.ndarray],
    *,
    method: str,
    scale: Scale | float,
    on_progress: Callable[[Progress], None] | None = None,  # of the current frame: its tiles and stages
    cancel: Callable[[], bool] | None = None,  # asked between layers; once true, the run ends in `Cancelled`
    on_warning: Callable[[str], None] | None = None,  # may be told the same of every frame
) -> Generator[np.ndarray, None, None]:
    """Each frame of a clip at another scale, lazily and in order. Closing the generator stops the work."""
    found = registry.method(method)  # an unknown name is refused before the first frame is read
    wanted = Scale.of(scale)
    if found.kind == "video":
        yield from _upscale_windows(session, frames, found, wanted, on_progress, cancel)
        return
    method = with_fixed_strength(found).id
    # No frame comes twice, so fields are not cached. Loaded networks belong to the process, not to the session.
    uncached = session.without_cache()
    for frame in frames:
        up = _upscale(uncached, frame, method, wanted, on_progress, cancel)
        if on_warning is not None:
            for warning in up.warnings:
                on_warning(warning)
        yield up.image


def with_fixed_strength(method: Method) -> Method:
    """A method for all frames alike: a strength that is guessed for each would flicker."""
    return registry.with_strength(method, 1) if method.blends_with and method.strength is None else method


def _upscale_windows(
    session: Session,
    frames: Iterable[np.ndarray],
    method: Method,
    scale: Scale,
    on_progress: Callable[[Progress], None] | None,
    cancel: Callable[[], bool] | None,
) -> Generator[np.ndarray, None, None]:
    """By a network that uses the frames before and after. Alpha, which such networks do not take, is resized."""
    pictures: dict[int, Planes] = {}
    first: list[Planes] = []

    def read() -> Iterator[NumberedFrame]:
        for at, array in enumerate(frames):
            picture = Planes.of(array)
            first[:] = first or [picture]
            if picture.size != first[0].size:
                raise InvalidArgument(
                    f"Frame {at} is {_size(picture)}, the frames before are {_size(first[0])}.",
                    hint="Cut the clip where its size changes.",
                )
            pictures[at] = picture
            # As they are: published scores are of frames that shrinking left slightly outside 0..1.
            yield NumberedFrame(at, picture.network_color(clamped=False))

    runner: TemporalRunner | None = None
    watch = Stopwatch(session.device)
    for at, window in enumerate(sliding_windows(read())):
        picture = pictures.pop(at)
        if runner is None:
            runner = TemporalRunner(
                run_steps(session.network_run(method, scale, watch), on_progress, cancel), picture.size
            )
        sink = ArraySink(picture.layout, scale.output_size(picture.size), watch)
        run_steps(runner.draw(window, sink.put_color), on_progress, cancel)
        if picture.alpha is not None:
            run_steps(runners.resize(picture.alpha, "bicubic", scale, watch, sink.put_alpha), None, cancel)
        yield sink.array


def run_steps(
    steps: Steps[_Result], report: Callable[[Progress], None] | None, cancel: Callable[[], bool] | None
) -> _Result:
    """Run steps to their end and report each."""
    try:
        while True:
            with cancellation.cancelling(cancel):
                cancellation.stop_if_cancelled()
                event = next(steps)
            if report is not None:
                report(event)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()


def _size(picture: Planes) -> str:
    return f"{picture.size[1]}x{picture.size[0]}"


def _upscale(
    session: Session,
    frame: np.ndarray,
    method: str,
    scale: Scale,
    on_progress: Callable[[Progress], None] | None,
    cancel: Callable[[], bool] | None,
) -> Upscaled:
    for event in session.stream(frame, method=method, scale=scale, cancel=cancel):
        if isinstance(event, Upscaled):
            return event
        if on_progress is not None:
            on_progress(event)
    raise AssertionError("stream ends with the result")

"""Clips: frames in, frames out, one after the other, in the same memory whatever their number.

    for frame in upscale_frames(session, frames, method="savsr", scale=Scale(2.5, 2.5)):
        ...

Frames are arrays as a session takes them, and come back as the same kind. Nothing is read ahead further than the
method looks: an image method reads one frame, a network of windows three beyond the one it draws.
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
from gsr_app.engine.session import Session, Window
from gsr_app.engine.temporal import Frame, Walk, slide
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
    window: Window = "published",
    on_progress: Callable[[Progress], None] | None = None,  # of the frame at work: its tiles and stages
    cancel: Callable[[], bool] | None = None,  # asked between layers; once true, the run ends in `Cancelled`
) -> Generator[np.ndarray, None, None]:
    """Every frame of a clip at another scale, lazily and in order. Closing the generator stops the work."""
    found = registry.method(method)  # an unknown name is said before the first frame is read
    wanted = Scale.of(scale)
    if found.kind == "video":
        yield from _upscale_windows(session, frames, found, wanted, on_progress, cancel)
        return
    # No frame is asked for twice: fields are drawn and forgotten. Loaded networks are the process's, not the session's.
    uncached = session.without_cache()
    for frame in frames:
        yield _upscale(uncached, frame, method, wanted, window, on_progress, cancel)


def _upscale_windows(
    session: Session,
    frames: Iterable[np.ndarray],
    method: Method,
    scale: Scale,
    on_progress: Callable[[Progress], None] | None,
    cancel: Callable[[], bool] | None,
) -> Generator[np.ndarray, None, None]:
    """By a network that looks at the frames before and after. Transparency, which it does not know, is resized."""
    pictures: dict[int, Planes] = {}
    first: list[Planes] = []

    def number() -> Iterator[Frame]:
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
            yield Frame(at, picture.network_color(clamped=False))

    walk: Walk | None = None
    watch = Stopwatch(session.device)
    for at, window in enumerate(slide(number())):
        picture = pictures.pop(at)
        if walk is None:
            walk = Walk(_run(session.network_run(method, scale, watch), on_progress, cancel), picture.size)
        sink = ArraySink(picture.layout, scale.output_size(picture.size), watch)
        _run(walk.draw(window, sink.put_color), on_progress, cancel)
        if picture.alpha is not None:
            _run(runners.resize(picture.alpha, "bicubic", scale, watch, sink.put_alpha), None, cancel)
        yield sink.array


def _run(
    steps: Steps[_Result], report: Callable[[Progress], None] | None, cancel: Callable[[], bool] | None
) -> _Result:
    """Run steps to their end, telling each."""
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
    window: Window,
    on_progress: Callable[[Progress], None] | None,
    cancel: Callable[[], bool] | None,
) -> np.ndarray:
    up: Upscaled | None = None
    for event in session.stream(frame, method=method, scale=scale, window=window, cancel=cancel):
        if isinstance(event, Upscaled):
            up = event
        elif on_progress is not None:
            on_progress(event)
    assert up is not None
    return up.image

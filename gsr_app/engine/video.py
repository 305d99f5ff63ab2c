"""Clips: frames in, frames out, one after the other, in the same memory whatever their number.

    for frame in upscale_frames(session, frames, method="savsr", scale=Scale(2.5, 2.5)):
        ...

Frames are arrays as a session takes them, and come back as the same kind. Nothing is read ahead further than the
method looks: an image method reads one frame, a network of windows three beyond the one it draws.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

import numpy as np

from gsr_app.core.types import Progress, Scale, Upscaled
from gsr_app.engine.session import Session, Window
from gsr_app.models import registry


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
    registry.method(method)  # an unknown name is said before the first frame is read
    wanted = scale if isinstance(scale, Scale) else Scale(scale, scale)
    # No frame is asked for twice: fields are drawn and forgotten. Loaded networks are the process's, not the session's.
    passing = Session(str(session.device), weights=session.weights, tile=session.tile, memory_bytes=0)
    passing.dtype = session.dtype
    for frame in frames:
        yield _upscale(passing, frame, method, wanted, window, on_progress, cancel)


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

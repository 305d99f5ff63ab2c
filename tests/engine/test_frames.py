"""Clips, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from gsr_app.core.errors import Cancelled, UnknownMethod
from gsr_app.core.types import Progress, Scale
from gsr_app.engine.frames import upscale_frames
from gsr_app.engine.session import Session


def draw_clip(count: int, height: int = 18, width: int = 22) -> Iterator[np.ndarray]:
    """A moving wave, 8 bit."""
    y, x = np.mgrid[:height, :width]
    for t in range(count):
        frame = np.stack([0.5 + 0.4 * np.sin(0.3 * y + 0.2 * (c + 1) * (x - t) + c) for c in range(3)], axis=-1)
        yield np.round(frame * 255).astype(np.uint8)


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize("method", ["bicubic", "fake-doubler", "fake-asker", "fake-painter"])
def test_an_image_method_gives_the_same_result_for_a_frame_as_for_a_picture(method: str) -> None:
    session, scale = Session("cpu"), Scale(2.5, 3.2)
    frames = list(upscale_frames(session, draw_clip(3), method=method, scale=scale))
    for frame, source in zip(frames, draw_clip(3), strict=True):
        alone = session.upscale(source, method=method, scale=scale).image
        assert frame.dtype == np.uint8
        np.testing.assert_array_equal(frame, alone)


def test_an_image_method_reads_one_frame_at_a_time() -> None:
    read: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for index, frame in enumerate(draw_clip(5)):
            read.append(index)
            yield frame

    clip = upscale_frames(Session("cpu"), frames(), method="bicubic", scale=2.0)
    next(clip)
    assert read == [0]
    next(clip)
    assert read == [0, 1]


@pytest.mark.usefixtures("fakes")
def test_fields_of_frames_are_not_kept() -> None:
    session = Session("cpu")
    list(upscale_frames(session, draw_clip(4), method="fake-painter", scale=2.0))
    assert session.memory.used_bytes == 0


def test_progress_is_reported_and_cancelling_ends_the_clip() -> None:
    told: list[Progress] = []
    clip = upscale_frames(
        Session("cpu"), draw_clip(9), method="bicubic", scale=2.0, on_progress=told.append, cancel=lambda: len(told) > 2
    )
    with pytest.raises(Cancelled):
        list(clip)
    assert len(told) == 3


def test_an_unknown_method_is_refused_before_a_frame_is_read() -> None:
    with pytest.raises(UnknownMethod):
        next(upscale_frames(Session("cpu"), iter(()), method="savrs", scale=2.0))

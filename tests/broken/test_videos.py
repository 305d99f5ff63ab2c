"""Damaged videos: each is upscaled as far as it can be read, or refused in one line."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.broken.damage import damage_bytes
from tests.broken.worker import try_damaged
from tests.clips import write_clip


def seeds(folder: Path) -> list[tuple[str, bytes]]:
    small = {"count": 6, "rate": Fraction(6), "size": (32, 40)}
    clips = [
        write_clip(folder / "faststart.mp4", options={"preset": "ultrafast"}, **small),
        write_clip(folder / "b-frames.mp4", options={"bf": "2", "g": "3"}, audio=None, rotation=90, **small),
        write_clip(folder / "mpeg4.mp4", codec="mpeg4", **small),
        write_clip(folder / "h264.mkv", options={"preset": "ultrafast"}, **small),
        write_clip(folder / "ffv1.mkv", codec="ffv1", pixel_format="yuv422p10le", audio="flac", **small),
        write_clip(folder / "vp9.webm", codec="libvpx-vp9", audio="libopus", options={"cpu-used": "8"}, **small),
        write_clip(folder / "mjpeg.avi", codec="mjpeg", pixel_format="yuvj420p", audio=None, **small),
        write_clip(folder / "mpeg4.avi", codec="mpeg4", audio=None, **small),
        write_clip(folder / "h264.ts", options={"preset": "ultrafast"}, audio="mp2", **small),
        write_clip(folder / "h265.mov", codec="libx265", pixel_format="yuv420p10le", audio=None,
                   options={"preset": "ultrafast", "x265-params": "log-level=none"}, **{**small, "size": (32, 64)}),
    ]  # fmt: skip
    return [(clip.name, clip.read_bytes()) for clip in clips]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_videos_are_upscaled_as_far_as_they_can_be_read_or_refused(tmp_path: Path, count: int) -> None:
    damages = [damage_bytes(200), damage_bytes(1500)]
    try_damaged("upscale_video", seeds(tmp_path), damages, tmp_path, count=count, read=count // 5, refused=count // 10)

"""The example of the Video tab: a drawn clip with fine lines and motion, which are difficult to upscale."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from gsr_app.io import video
from gsr_app.io.video import CODECS, Plan
from gsr_app.io.video.color import Coding

SIZE = (108, 192)  # (height, width)
COUNT, RATE = 48, Fraction(24)
_FINER = 3  # samples per pixel and axis


def example_file(folder: Path) -> Path | None:
    """The example as a file, made once; None where videos cannot be written."""
    path = folder / "spokes.mp4"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            write(path)
        except Exception:  # the app also starts without the example
            return None
    return path


def write(path: Path) -> None:
    coding = Coding("yuv", 8, (1, 1), matrix=1, primaries=1, transfer=1)
    plan = Plan("mp4", replace(CODECS["h264"], options={"preset": "veryfast"}), coding, 8, SIZE, 1 / RATE, RATE)
    writer = video.PartWriter(path.with_suffix(".mkv"), plan)
    for number in range(COUNT):
        writer.append(draw(number / COUNT), number, 1)
    writer.close()
    info = video.open_video(writer.path).info
    video.assemble([video.Part(writer.path, tuple(writer.times))], path, plan, info, overwrite=True)
    writer.path.unlink()


def draw(phase: float) -> np.ndarray:  # [H, W, 3] float32
    """A turning star, a moving ball and drifting lines, at a phase of 0..1."""
    height, width = (side * _FINER for side in SIZE)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / _FINER
    turn = 2 * np.pi * phase
    picture = np.empty((height, width, 3), np.float32)
    picture[...] = np.stack([0.20 + 0.15 * y / SIZE[0], 0.26 + 0.1 * x / SIZE[1], 0.34 + 0 * x], -1)

    dy, dx = y - 54, x - 54
    distance, angle = np.hypot(dy, dx), np.arctan2(dy, dx) + turn / 18
    spokes = np.where(np.sin(18 * angle) > 0, 0.88, 0.10)
    _paint(picture, (distance < 44) & (distance > 3), np.stack([spokes, spokes * 0.97, spokes * 0.9], -1))

    drift = x * np.cos(0.35) + y * np.sin(0.35) - 8 * phase
    period = np.maximum(2.2 + (x - 108) / 40, 1)
    lines = np.where(np.sin(2 * np.pi * drift / period) > 0, 0.80, 0.22)
    _paint(picture, (np.abs(x - 148) < 36) & (np.abs(y - 30) < 20), np.stack([lines * 0.9, lines, lines * 0.95], -1))

    ball_x, ball_y = 148 + 26 * np.cos(turn), 80 + 12 * np.sin(2 * turn)
    far = np.hypot(x - ball_x, y - ball_y)
    light = np.clip(1 - np.hypot(x - ball_x + 3, y - ball_y + 4) / 16, 0.15, 1)
    _paint(picture, far < 11, np.stack([light * 0.95, light * 0.55, light * 0.25], -1))
    blocks = picture.reshape(SIZE[0], _FINER, SIZE[1], _FINER, 3)
    return blocks.mean((1, 3), dtype=np.float32)


def _paint(picture: np.ndarray, where: np.ndarray, colour: np.ndarray) -> None:
    picture[where] = colour[where]

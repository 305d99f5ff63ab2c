"""The file that the player plays: an H.264 video whose frames show all panes, one below the other.

Separate videos in a page run on separate clocks and drift apart by frames; one file keeps the panes in step, and every
browser plays it. It is written in parts, so that the first seconds can be watched while the rest is made.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from gsr_app.io import video
from gsr_app.io.video import CODECS, Part, PartWriter, Plan, VideoInfo
from gsr_app.io.video.color import Coding

MOST_PIXELS = 8_900_000  # of a frame: what browsers decode in real time
_MOST_SIDE = 4096
_ALIGN = 16  # panes begin on whole macroblocks, so that compression does not mix them
_FIRST_PICTURES, _FIRST_S, _NEXT_S = 8, 1.0, 4.0
_PATIENCE = 10  # assembling the file takes at most a tenth of the time
_CODEC = replace(CODECS["h264"], options={"preset": "veryfast", "tune": "fastdecode"})
_CRF = 8


@dataclass(frozen=True)
class Place:
    """Where a pane lies in the frames of the file."""

    id: str
    x: int
    y: int
    width: int
    height: int
    shrunk: int  # its pixels are means of this many by this many


class PlayerFile:
    """Collects frames. Close it at the end."""

    def __init__(self, time_base: Fraction, rate: Fraction | None, info: VideoInfo) -> None:
        self.places: tuple[Place, ...] = ()
        self.times_s: list[float] = []  # of each frame, from the first
        self.end_s = 0.0
        self._time_base, self._rate, self._info = time_base, rate, info
        self._folder = Path(tempfile.mkdtemp(prefix="gsr-player-"))
        self._parts: list[Part] = []
        self._writer: PartWriter | None = None
        self._plan: Plan | None = None
        self._first = 0
        self._since = time.monotonic()
        self._took_s = 0.0

    def append(self, panes: Mapping[str, np.ndarray], pts: int, duration: int) -> None:
        """Add a frame: the pictures by pane, the same panes and sizes every time."""
        if self._plan is None:
            self._lay_out(panes)
            self._first = pts
        assert self._plan is not None
        if self._writer is None:
            self._writer = PartWriter(self._folder / f"{len(self._parts):05}.mkv", self._plan)
        self._writer.append(self._compose(panes), pts, duration)
        self.times_s.append(float((pts - self._first) * self._time_base))
        self.end_s = float((pts + duration - self._first) * self._time_base)

    def due(self) -> bool:
        """Whether enough frames are new to publish the file again."""
        if self._writer is None:
            return False
        waited = time.monotonic() - self._since
        first = not self._parts and len(self._writer.times) >= _FIRST_PICTURES and waited > _FIRST_S
        return first or (bool(self._parts) and waited > max(_NEXT_S, _PATIENCE * self._took_s))

    def publish(self, path: Path) -> int:
        """Write all frames so far as a file; returns their number."""
        if self._writer is not None:
            self._writer.close()
            self._parts.append(Part(self._writer.path, tuple(self._writer.times)))
            self._writer = None
        assert self._plan is not None
        started = time.monotonic()
        video.assemble(self._parts, path, self._plan, self._info, start=self._first, overwrite=True)
        self._since = time.monotonic()
        self._took_s = self._since - started
        return sum(len(part.times) for part in self._parts)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.abort()
            self._writer = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _lay_out(self, panes: Mapping[str, np.ndarray]) -> None:
        """Place the panes one below the other; reduce them where a browser could not play the size."""
        shrunk = 1
        while True:
            top, widest, places = 0, 0, list[Place]()
            for name, pixels in panes.items():
                by = shrunk if name != "source" else max(1, min(shrunk, pixels.shape[1] // 640))
                height, width = pixels.shape[0] // by, pixels.shape[1] // by
                places.append(Place(name, 0, top, width, height, by))
                top += -(-height // _ALIGN) * _ALIGN
                widest = max(widest, -(-width // 2) * 2)
            if top * widest <= MOST_PIXELS and max(top, widest) <= _MOST_SIDE:
                break
            shrunk += 1
        self.places = tuple(places)
        coding = Coding("yuv", 8, (1, 1), matrix=1, primaries=1, transfer=1)
        self._plan = Plan("mp4", _CODEC, coding, _CRF, (top, widest), self._time_base, self._rate)

    def _compose(self, panes: Mapping[str, np.ndarray]) -> np.ndarray:
        assert self._plan is not None
        height, width = self._plan.size
        frame = np.zeros((height, width, 3), np.float32)
        for number, place in enumerate(self.places):
            below = self.places[number + 1].y if number + 1 < len(self.places) else height
            pixels = _shown(panes[place.id], place)
            padding = ((0, below - place.y - place.height), (0, width - place.width), (0, 0))
            frame[place.y : below] = np.pad(pixels, padding, mode="edge")
        return frame


def _shown(pixels: np.ndarray, place: Place) -> np.ndarray:  # [height, width, 3] float32
    values = pixels if pixels.dtype.kind == "f" else pixels / np.float32(np.iinfo(pixels.dtype).max)
    if values.ndim == 2:
        values = values[..., None].repeat(3, 2)
    if values.shape[2] == 4:
        values = values[..., :3] * values[..., 3:]
    by = place.shrunk
    cut = values[: place.height * by, : place.width * by].astype(np.float32, copy=False)
    return cut if by == 1 else cut.reshape(place.height, by, place.width, by, 3).mean((1, 3), dtype=np.float32)

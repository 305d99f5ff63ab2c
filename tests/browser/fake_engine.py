"""A deterministic engine for the app's tests: quick, and on request slow, failing or out of memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gsr_app.core.errors import Cancelled, GsrError
from gsr_app.core.types import FieldHandle, GaussianField, Part, Progress, Rendered, Scale, Timing, Upscaled, View
from gsr_app.engine.verification import Check
from gsr_app.models.registry import Method, WeightFile
from gsr_app.models.weights import Availability
from gsr_app.ui.engine import Engine

if TYPE_CHECKING:
    from gsr_app.engine.video_job import SavedVideo, VideoJob, VideoStep

METHODS = (
    Method("swift", "Swift", "swift", "field", "Apache-2.0", arch="swift", color="#2f6f5e", parameters=160_000),
    Method("bicubic", "Bicubic", "classical", "resize", "Apache-2.0", kernel="bicubic", color="#a1662f"),
    Method("slow", "Slow", "test", "pixels", "Apache-2.0", arch="slow", color="#5f87a6", scales=(2, 3)),
    Method("broken", "Broken", "test", "pixels", "Apache-2.0", arch="broken", color="#86604a"),
    Method("crash", "Crash <img src=x onerror=alert(1)>", "test", "pixels", "MIT", arch="crash", color="#777777"),
    Method(
        "away",
        "Away",
        "test",
        "pixels",
        "BSD-3",
        arch="away",
        color="#999999",
        scales=(2, 4),
        files=(WeightFile(url="https://weights.invalid/away.pth"),),
    ),
)


def lattice_field(height: int, width: int) -> GaussianField:
    """One Gaussian in the centre of every source pixel."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    mean = np.stack([x.ravel(), y.ravel()], 1)
    count = len(mean)
    sigma = np.tile(np.array([[0.6, 0.3]], np.float32), (count, 1))
    rho = np.full(count, 0.2, np.float32)
    color = np.tile(np.array([[0.8, 0.5, 0.2]], np.float32), (count, 1))
    return GaussianField(mean, sigma, rho, color, (height, width))


def drawn(view: View) -> np.ndarray:
    """A picture whose colours say where in the source plane each pixel lies."""
    height, width = view.size
    y = view.origin[1] + (np.arange(height) + 0.5) * view.span[0] / height
    x = view.origin[0] + (np.arange(width) + 0.5) * view.span[1] / width
    red = np.broadcast_to(np.round(x * 4).astype(int)[None, :] % 256, (height, width))
    green = np.broadcast_to(np.round(y * 4).astype(int)[:, None] % 256, (height, width))
    return np.stack([red, green, np.full_like(red, 77)], -1).astype(np.uint8)


SLOW_S = 0.3  # for a tile of the method "slow"
QUICK_S = 0.01
FOREVER_S = 60.0


class FakeEngine(Engine):
    """Overrides what takes long. `slow_s` is how long the method "slow" takes for each of its ten tiles; a smaller
    value holds for the tile that is being made, too."""

    def __init__(self, slow_s: float = SLOW_S) -> None:
        super().__init__("cpu")
        self.slow_s = slow_s
        self.failing = {"broken"}
        self.views: list[View] = []
        self.stopped = threading.Event()

    @property
    def methods(self) -> tuple[Method, ...]:
        return METHODS

    def availability(self, method: Method) -> Availability:
        return Availability(False, 98_000_000) if method.id == "away" else Availability(True)

    def describe(self) -> str:
        return "cpu · fake"

    def stream(
        self, image: Any, *, method: str, scale: Scale, cancel: Callable[[], bool], part: Part | None = None
    ) -> Iterator[Progress | Upscaled]:
        height, width = image.shape[:2]
        if method in self.failing:
            yield Progress("encode", 0, 4)
            raise GsrError("The weights of Broken do not fit.", hint="Fetch them again in the Models tab.")
        if method == "crash":
            raise RuntimeError("<b>secret path /root</b>")
        tiles = 10 if method == "slow" else 2
        for tile in range(tiles):
            try:
                yield Progress("encode", tile, tiles)
            except GeneratorExit:  # who reads them has seen that it is cancelled
                self.stopped.set()
                raise
            started = time.monotonic()
            while method == "slow" and time.monotonic() < started + self.slow_s:
                if cancel():
                    self.stopped.set()
                    raise Cancelled("stopped")
                time.sleep(0.01)
        out_height, out_width = scale.output_size((height, width))
        rows = np.minimum((np.arange(out_height) / scale.y).astype(int), height - 1)
        columns = np.minimum((np.arange(out_width) / scale.x).astype(int), width - 1)
        result = image[rows][:, columns]
        if method == "swift":
            result = result.copy()
            result[::8, ::8] = 255 - result[::8, ::8]
        if part:
            result = result[part.pixels((height, width), scale)]
        handle = self._handle(height, width) if method == "swift" and not part else None
        timing = Timing({"read": 1.0, "encode": 20.0, "render": 5.0}, 50_000_000, "fake", "cpu")
        found = next(one for one in METHODS if one.id == method)
        warnings = () if found.is_trained_for(scale.x) else (f"not trained for x{scale}: for x2 to x3",)
        yield Upscaled(result, timing, method, scale, f"made up at ×{scale}", handle, "fake-1", warnings)

    def without_cache(self) -> FakeEngine:
        return self

    def _handle(self, height: int, width: int) -> FieldHandle:
        return FieldHandle(f"{height}x{width}", "swift", height * width, (height, width))

    def encode(self, image: Any, *, method: str, scale: Scale) -> FieldHandle:
        if method != "swift":
            raise GsrError(f"{method} answers in pixels and has no field.")
        return self._handle(*image.shape[:2])

    def render(self, handle: FieldHandle, view: View, cancel: Callable[[], bool] | None = None) -> Rendered:
        self.views.append(view)
        return Rendered(drawn(view), Timing({"render": 1.0}), "fake")

    def field(self, handle: FieldHandle) -> GaussianField:
        return lattice_field(*handle.source_size)

    @property
    def video_methods(self) -> tuple[Method, ...]:
        return METHODS

    def upscale_video(self, job: VideoJob, cancel: Callable[[], bool]) -> Generator[VideoStep, None, SavedVideo]:
        """Real files, pictures repeated pixel by pixel; "slow" takes its time and ends only when it is stopped, "broken"
        fails on the third."""
        from gsr_app.engine.video_job import SavedVideo, VideoStep
        from gsr_app.io import video

        reader = video.open_video(job.source)
        info = reader.info
        scale = job.choose_scale(info.size)
        size = scale.output_size(info.size)
        plan = video.plan_output(info, job.target, size)
        writer = video.PartWriter(job.target.with_suffix(".part.mkv"), plan)
        rows = np.minimum((np.arange(size[0]) / scale.y).astype(int), info.size[0] - 1)
        columns = np.minimum((np.arange(size[1]) / scale.x).astype(int), info.size[1] - 1)
        number = 0
        for number, frame in enumerate(reader.frames(job.start_s, job.end_s), 1):
            if job.method == "broken" and number == 3:
                raise GsrError("The weights of Broken do not fit.", hint="Fetch them again in the Models tab.")
            time.sleep(0.1 if job.method == "slow" else 0)
            while job.method == "slow" and number > 25 and not cancel():
                time.sleep(0.01)
            if cancel():
                self.stopped.set()
                raise Cancelled("stopped")
            result = frame.pixels[rows][:, columns]
            writer.append(result, frame.pts, frame.duration)
            scores = (30.0 + number % 5, 0.5) if job.round_trip else (None, None)
            reference = result if job.round_trip else None
            yield VideoStep(
                number, frame.pts, frame.duration, number / 90, 10.0, 1.0, frame.pixels, result, reference, *scores
            )
        writer.close()
        video.assemble([video.Part(writer.path, tuple(writer.times))], job.target, plan, info, overwrite=True)
        return SavedVideo(
            job.target, number, 0, info.size, size, scale, number / 24, 1.0, f"{job.method} at x{scale}; H.264"
        )

    def fetch(self, method: Method, report: Callable[[Progress], None]) -> None:
        report(Progress("download", 1, 1))

    def verify(self, method: Method) -> list[Check]:
        return [Check("files", "passed", "as published")]

    def remove(self, method: Method) -> int:
        return 0

    def keep(self, method: Method, files: Sequence[Path]) -> int:
        if any(path.stat().st_size == 0 for path in files):
            raise GsrError(f"{files[0]} is empty.")
        return sum(path.stat().st_size for path in files)

    def add_model(self, path: Path) -> str:
        if path.stat().st_size == 0:
            raise GsrError(f"{path} is empty.")
        return "away"

"""From file to file: metadata is kept, what was done is written into it, and huge resizes go row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from gsr_app import __version__
from gsr_app.core.types import Progress, Scale, Timing, Upscaled
from gsr_app.engine import cancellation, devices
from gsr_app.engine.planes import Planes, stack, unstack
from gsr_app.engine.rows import ArraySink, split_rows
from gsr_app.engine.strength import choose_strength
from gsr_app.engine.timing import Stopwatch
from gsr_app.io import images
from gsr_app.models.download import digest_of
from gsr_app.models.registry import Method
from gsr_app.ops.resize import Resampling

# Beyond this many pixels, input and output together, a resize goes row by row.
STREAM_PIXELS = 1 << 26
_ROWS_PIXELS = 1 << 22

_DIGITS = 16  # of the hash that names the bytes of the source


class Upscaler(Protocol):
    """What makes the pictures, such as a `Session`."""

    @property
    def device(self) -> Any: ...  # of torch

    def stream(
        self, image: Any, *, method: str, scale: Scale, cancel: Callable[[], bool]
    ) -> Iterator[Progress | Upscaled]: ...


@dataclass(frozen=True)
class Saved:
    """A finished file and how it came about."""

    path: Path
    bytes: int
    source_size: tuple[int, int]  # (height, width)
    size: tuple[int, int]
    scale: Scale
    done: str
    timing: Timing
    weights_id: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileJob:
    """One file to make. The caller has checked the target (`images.check_output`), before it loaded any network."""

    method: Method
    reader: images.RowReader
    target: Path
    scale: Scale
    overwrite: bool = False
    strip_metadata: bool = False

    @property
    def size(self) -> tuple[int, int]:
        return self.scale.output_size(self.reader.size)

    def text(self, done: str, weights_id: str) -> Mapping[str, str]:
        return {} if self.strip_metadata else describe(self.method, self.scale, done, weights_id, self.reader.meta)

    def saved(
        self, written: images.Written, done: str, timing: Timing, weights_id: str, notes: tuple[str, ...]
    ) -> Saved:
        notes = (*self.reader.meta.notes, *notes, *written.notes)
        size, source_size = self.size, self.reader.size
        return Saved(written.path, written.bytes, source_size, size, self.scale, done, timing, weights_id, notes)


def upscale_file(
    upscaler: Upscaler, job: FileJob, cancel: Callable[[], bool] = lambda: False
) -> Generator[Progress, None, Saved]:
    """Upscale a file into another. The target appears when it is whole, or not at all."""
    pixels = math.prod(job.reader.size) + math.prod(job.size)
    if job.method.kind == "resize" and pixels > STREAM_PIXELS:
        return (yield from _resize_by_rows(job, cancel))
    return (yield from _upscale_whole(upscaler, job, cancel))


def _upscale_whole(upscaler: Upscaler, job: FileJob, cancel: Callable[[], bool]) -> Generator[Progress, None, Saved]:
    watch = Stopwatch(upscaler.device)
    with watch("read"):
        array = job.reader.read_all()
    up: Upscaled | None = None
    method, strength = choose_strength(job.method, array, job.reader.meta.jpeg_quality)
    for event in upscaler.stream(array, method=method.id, scale=job.scale, cancel=cancel):
        if isinstance(event, Progress):
            yield event
        else:
            up = event
    assert up is not None
    done = f"{up.done}, {strength}" if strength else up.done
    with watch("write"):
        written = images.write_image(
            job.target,
            images.Picture(up.image, job.reader.meta),
            overwrite=job.overwrite,
            strip_metadata=job.strip_metadata,
            text=job.text(done, up.weights_id),
        )
    timing = up.timing.including(**watch.timing(backend="", device="").stages_ms)
    return job.saved(written, done, timing, up.weights_id, up.warnings)


def _resize_by_rows(job: FileJob, cancel: Callable[[], bool]) -> Generator[Progress, None, Saved]:
    """A resize of a picture that need not fit into memory, neither before nor after."""
    device = torch.device("cpu")
    watch = Stopwatch(device)
    reader, kernel, size = job.reader, job.method.kernel, job.size
    plan = Resampling.plan(reader.size, scale=job.scale, size=size, kernel=kernel)  # pyright: ignore[reportArgumentType]
    done = f"{kernel} at x{job.scale}, in strips"
    pieces = split_rows(size[0], max(size[1], round(reader.size[1] / job.scale.y)), _ROWS_PIXELS)
    with images.RowWriter(
        job.target,
        size,
        reader.layout,
        reader.meta,
        overwrite=job.overwrite,
        strip_metadata=job.strip_metadata,
        text=job.text(done, ""),
    ) as writer:
        for count, (start, stop) in enumerate(pieces, 1):
            with cancellation.cancelling(cancel):
                cancellation.stop_if_cancelled()
            first, last = plan.source_rows(start, stop)
            with watch("read"):
                planes = Planes.of(reader.rows(first, last))
            with watch("resize"):
                rows = plan.rows(stack(planes.color, planes.alpha, kernel), first=first, start=start, stop=stop)
                color, alpha = unstack(rows, kernel, has_alpha=planes.alpha is not None)
            sink = ArraySink(reader.layout, (stop - start, size[1]), watch)
            sink.put_color(0, color)
            if alpha is not None:
                sink.put_alpha(0, alpha)
            with watch("write"):
                writer.append(sink.array)
            yield Progress("resize", count, len(pieces))
        yield Progress("write", 0, 1)
        with watch("write"):
            written = writer.finish()
    timing = watch.timing(backend=f"torch {torch.__version__}", device=devices.describe(device))
    return job.saved(written, done, timing, "", ())


def describe(method: Method, scale: Scale, done: str, weights_id: str, meta: images.Metadata) -> Mapping[str, str]:
    """What is written into the file about how it was made."""
    lines = {
        "method": method.id,
        "scale": str(scale),
        "done": done,
        "weights": weights_id,
        "weights licence": method.weights_licence,
        "version": __version__,
        "source": _id_of_source(meta),
    }
    return {key: value for key, value in lines.items() if value}


def _id_of_source(meta: images.Metadata) -> str:
    """Names the bytes of the file that a picture was read from; nothing where they are not there any more."""
    if meta.source is None or images.file_state(meta.source) != meta.state:
        return ""
    return digest_of(meta.source)[:_DIGITS]

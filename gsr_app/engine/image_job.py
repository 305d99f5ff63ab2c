"""From file to file: what the file said is kept, what was done is written into it, and huge pictures go in strips."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gsr_app import __version__
from gsr_app.core.types import Progress, Scale, Timing, Upscaled
from gsr_app.engine import cancellation, devices, tiling
from gsr_app.engine.pictures import stack, unstack
from gsr_app.engine.session import Session
from gsr_app.engine.timing import Stopwatch
from gsr_app.io import images
from gsr_app.models import registry
from gsr_app.models.registry import Method
from gsr_app.ops.resize import Resampling

# Beyond this many pixels, input and output together, a resize goes through in strips, and an output is written in them.
STREAM_PIXELS = 1 << 26
_STRIP_PIXELS = 1 << 22


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


def upscale_file(
    session: Session,
    source: Path,
    target: Path,
    *,
    method: str,
    choose_scale: Callable[[tuple[int, int]], Scale],  # from the source's (height, width)
    overwrite: bool = False,
    strip_metadata: bool = False,
    cancel: Callable[[], bool] | None = None,
) -> Generator[Progress, None, Saved]:
    """Upscale a file into another. The target appears when it is whole, or not at all."""
    found = registry.method(method)
    size, _ = images.read_metadata(source)
    scale = choose_scale(size)
    out = scale.output_size(size)
    images.check_output(target, out, overwrite=overwrite, source=source)
    if found.kind == "resize" and size[0] * size[1] + out[0] * out[1] > STREAM_PIXELS:
        return (yield from _in_strips(found, source, target, scale, overwrite, strip_metadata, cancel))
    watch = Stopwatch(session.device)
    with watch("read"):
        picture = images.read_image(source)
        array = picture.to_array()
    up: Upscaled | None = None
    for event in session.stream(array, method=method, scale=scale, cancel=cancel):
        if isinstance(event, Progress):
            yield event
        else:
            up = event
    assert up is not None
    with watch("write"):
        text = {} if strip_metadata else _text(found, scale, up.done, up.weights_id)
        written = _write(target, up.image, picture.meta, overwrite, strip_metadata, text)
    stages = watch.timing(backend="", device="").stages_ms
    return Saved(
        written.path,
        written.bytes,
        size,
        out,
        scale,
        up.done,
        up.timing.including(**stages),
        up.weights_id,
        (*picture.meta.notes, *up.warnings, *written.notes),
    )


def _write(
    target: Path,
    array: np.ndarray,
    meta: images.Metadata,
    overwrite: bool,
    strip_metadata: bool,
    text: Mapping[str, str],
) -> images.Written:
    """Write an array like the file that `meta` was read from. A huge one does not become floats all at once."""

    def take(rows: slice) -> images.Picture:
        return images.Picture.from_array(array[rows], meta=meta)

    height, width = array.shape[:2]
    if height * width <= STREAM_PIXELS:
        return images.write_image(
            target, take(slice(None)), overwrite=overwrite, strip_metadata=strip_metadata, text=text
        )
    first = take(slice(1))
    writer = images.StripWriter(
        target,
        (height, width),
        first.meta,
        has_alpha=first.alpha is not None,
        overwrite=overwrite,
        strip_metadata=strip_metadata,
        text=text,
    )
    with writer:
        for start, stop in tiling.strips(height, width, _STRIP_PIXELS):
            part = take(slice(start, stop))
            writer.append(part.rgb, part.alpha)
    assert writer.written is not None
    return writer.written


def _in_strips(
    method: Method,
    source: Path,
    target: Path,
    scale: Scale,
    overwrite: bool,
    strip_metadata: bool,
    cancel: Callable[[], bool] | None,
) -> Generator[Progress, None, Saved]:
    """A resize of a picture that need not fit into memory, neither before nor after."""
    device = torch.device("cpu")
    watch = Stopwatch(device)
    reader = images.StripReader(source)
    size = scale.output_size(reader.size)
    plan = Resampling.plan(reader.size, scale=scale, size=size, kernel=method.kernel)  # pyright: ignore[reportArgumentType]
    done = f"{method.kernel} at x{scale}, in strips"
    strips = list(tiling.strips(size[0], max(size[1], round(reader.size[1] / scale.y)), _STRIP_PIXELS))
    writer = images.StripWriter(
        target,
        size,
        reader.meta,
        has_alpha=reader.has_alpha,
        overwrite=overwrite,
        strip_metadata=strip_metadata,
        text={} if strip_metadata else _text(method, scale, done, ""),
    )
    with ExitStack() as closing:
        closing.enter_context(writer)
        for count, (start, stop) in enumerate(strips, 1):
            with cancellation.cancelling(cancel):
                cancellation.stop_if_cancelled()
            first, last = plan.source_rows(start, stop)
            with watch("read"):
                rgb, alpha = reader.rows(first, last)
            with watch("resize"):
                planes = stack(_planes(rgb), None if alpha is None else _planes(alpha[..., None]), method.kernel)
                planes = plan.rows(planes, first=first, start=start, stop=stop)
                color, seen = unstack(planes, method.kernel, has_alpha=reader.has_alpha)
            with watch("write"):
                writer.append(_rows(color), None if seen is None else _rows(seen)[..., 0])
            yield Progress("resize", count, len(strips))
        yield Progress("write", 0, 1)
        with watch("write"):
            closing.pop_all().close()  # encodes what was collected
    written = writer.written
    assert written is not None
    timing = watch.timing(backend=f"torch {torch.__version__}", device=devices.describe(device))
    notes = (*reader.meta.notes, *written.notes)
    return Saved(written.path, written.bytes, reader.size, size, scale, done, timing, "", notes)


def _planes(values: np.ndarray) -> Tensor:  # [h, W, C] -> [1, C, h, W]
    return torch.from_numpy(values).permute(2, 0, 1)[None].contiguous()


def _rows(planes: Tensor) -> np.ndarray:  # [1, C, h, W] -> [h, W, C]
    return np.ascontiguousarray(planes[0].clamp(0, 1).permute(1, 2, 0).numpy())


def _text(method: Method, scale: Scale, done: str, weights_id: str) -> Mapping[str, str]:
    """What the file says about itself afterwards."""
    lines = {
        "method": method.id,
        "scale": str(scale),
        "done": done,
        "weights": weights_id,
        "weights licence": method.weights_licence,
        "version": __version__,
    }
    return {key: value for key, value in lines.items() if value}

"""Results that were made elsewhere, as panes beside those of methods."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from gsr_app.io.images import read_image
from gsr_app.viewer.comparison import CompareJob, measure_result
from gsr_app.viewer.contract import PaneSpec
from gsr_app.viewer.panes import NO_LICENCE, picture_pane, result_colour
from gsr_app.viewer.results import ForeignResult
from gsr_app.viewer.sink import Sink, safe_stem


def foreign_pane(job: CompareJob, result: ForeignResult, sink: Sink) -> PaneSpec:
    """The pane of a result. One of another size but the same shape is shown over the others; its scores are those of
    the picture resized to the size of the reference, and a warning says so."""
    picture = read_image(result.path)
    height, width = picture.size
    expected = job.output_size
    warnings: tuple[str, ...] = ()
    pixels: NDArray[Any] = picture.pixels
    span = (float(job.source.size[0]), float(job.source.size[1]))
    covered = job.scoring.pair.reference.shape[:2] if job.scoring else expected
    if (height, width) in (covered, expected):
        span = (height / job.scale.y, width / job.scale.x)
    else:
        scale = f" (×{width / job.source.size[1]:.3g})" if job.has_source else ""
        size = f"{expected[1]}×{expected[0]}"
        how = f", scored after a bicubic resize to {size}" if job.scoring else f", resized to {size} on the screen only"
        warnings = (f"{result.name}: made at {width}×{height}{scale}{how}",)
    metrics = None
    if job.scoring is not None:
        scored = pixels if (height, width) == covered else _resized(pixels, expected)
        metrics = measure_result(job.scoring, scored)
    stored = sink.put_result(result.id, pixels, picture, f"{safe_stem(job.name)}_{safe_stem(result.name)}")
    return picture_pane(
        pixels, stored.url, span, id=result.id, name=result.name, colour=result_colour(result),
        download_url=stored.download_url, download_name=stored.download_name, metrics=metrics, elsewhere=True,
        done=f"made elsewhere: {result.path.name}", licence=NO_LICENCE, warnings=warnings,
    )  # fmt: skip


def _resized(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    if pixels.shape[:2] == size:
        return pixels
    from gsr_app.engine.planes import resize_picture  # it imports torch

    return resize_picture(pixels, size)

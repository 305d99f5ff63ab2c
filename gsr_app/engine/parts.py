"""A part of a result: the pixels of a rectangle, made without the rest of the picture.

The network sees the rectangle with its context, at its place among the network's windows, and its pixels are on the
grid of the whole result. So a part equals the same pixels of the whole, but for the rounding of sums in another order.
A network that reads all of a picture for every pixel is the exception, and the result says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from gsr_app.core.errors import GsrError
from gsr_app.core.types import Part, Progress, Scale, View
from gsr_app.engine import devices, runners, temporal, tiling
from gsr_app.engine.cancellation import stop_if_cancelled
from gsr_app.engine.rows import RESIZED_PIXELS, RowSink, split_rows
from gsr_app.engine.runners import NetworkRun, Steps
from gsr_app.engine.timing import Stopwatch
from gsr_app.ops.resize import Resampling

# Gaussians whose centre is further from the part are not drawn. The widest of the catalogue, of sigma 1 / 1.2, are
# drawn up to five sigmas.
_REACH = 8  # source pixels


@dataclass(frozen=True)
class Cut:
    """Which pixels of the whole result are made."""

    source_size: tuple[int, int]
    scale: Scale
    rows: slice
    columns: slice

    @classmethod
    def of(cls, part: Part, source_size: tuple[int, int], scale: Scale) -> Cut:
        part.check(source_size)
        return cls(source_size, scale, *part.pixels(source_size, scale))

    @property
    def size(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def view(self) -> View:
        return View.whole(self.source_size, self.scale).crop(self.rows.start, self.columns.start, *self.size)

    def tile(self, run: NetworkRun, margin: int = 0) -> tiling.Tile:
        """The source pixels under the part, with a margin, and their context."""
        view = self.view
        spans: list[tiling.Span] = []
        for length, start, extent in zip(self.source_size, view.origin[::-1], view.span, strict=True):
            core = slice(math.floor(start) - margin, math.ceil(start + extent) + margin)
            spans.append(_span(run, length, core))
        return tiling.Tile(*spans)


def _span(run: NetworkRun, length: int, core: slice) -> tiling.Span:
    """A core of one axis, within the axis, with what the network reads for it."""
    arch = run.loaded.arch
    full = length + (-length % arch.multiple_of if arch.wraps else 0)  # windows that wrap include the padding
    start, stop = (0, full) if not arch.tileable else (max(0, core.start), min(core.stop, length))
    return tiling.cut(full, start, full if stop == length else stop, arch.overlap, arch.multiple_of, arch.wraps)


def resize(planes: Tensor, kernel: Any, cut: Cut, watch: Stopwatch, sink: RowSink) -> Steps[None]:
    """A resize of planes, of the part's rows and columns alone."""
    whole = cut.scale.output_size(cut.source_size)
    plan = Resampling.plan(cut.source_size, scale=cut.scale, size=whole, kernel=kernel)
    pieces = split_rows(*cut.size, RESIZED_PIXELS)
    for done, (start, stop) in enumerate(pieces):
        yield Progress("resize", done, len(pieces))
        stop_if_cancelled()
        with watch("resize"):
            top, bottom = cut.rows.start + start, cut.rows.start + stop
            first, last = plan.source_rows(top, bottom)
            strip = planes[:, :, first:last]
            rows = plan.rows(strip, first=first, start=top, stop=bottom, columns=cut.columns)
        sink(start, rows)


def run_network(run: NetworkRun, plane: Tensor, name: str, cut: Cut, sink: RowSink) -> Steps[None]:
    """The part of what a network makes of a plane. `name` names the plane for the cache."""
    run = replace(run, source_id=f"{run.source_id} {name}")
    if run.loaded.arch.reads_all:
        run.note_reading("made without the rest of the picture", "the whole result differs here")
    kinds = {"pixels": _pixels, "continuous": _continuous, "field": _field, "video": _video}
    try:
        yield from kinds[run.loaded.arch.kind](run, plane, cut, sink)
    except (MemoryError, RuntimeError) as error:
        if not devices.is_out_of_memory(error):
            raise
        raise GsrError(
            f"Out of memory: a part of {cut.size[1]}x{cut.size[0]} pixels by {run.loaded.method.id} does not fit on "
            f"{run.device}.",
            hint="Choose a smaller part, or close other programs.",
        ) from None


def _field(run: NetworkRun, color: Tensor, cut: Cut, sink: RowSink) -> Steps[None]:
    tile = cut.tile(run, _REACH)
    field = yield from runners.field_of_tiles(run, color, tiling.Grid((tile.y,), (tile.x,)))
    yield from runners.draw(field, cut.view, run.watch, sink)


def _continuous(run: NetworkRun, color: Tensor, cut: Cut, sink: RowSink) -> Steps[None]:
    if not run.loaded.arch.tileable:
        yield from runners.continuous(run, color, cropped(cut, sink))
        return
    tile = cut.tile(run)
    yield Progress("encode", 0, 1)
    with run.watch("encode"):
        features = run.call(run.loaded.module.encode, run.send(tile.read(color)))  # pyright: ignore[reportArgumentType]
    query = partial(runners.query, run, View.whole(cut.source_size, cut.scale), tile, features)
    pieces = split_rows(*cut.size, run.loaded.arch.pixels_at_once)
    for done, (start, stop) in enumerate(pieces):
        yield Progress("decode", done, len(pieces))
        stop_if_cancelled()
        with run.watch("decode"):
            rows = query(slice(cut.rows.start + start, cut.rows.start + stop), cut.columns).float().cpu()
        sink(start, rows)


def _video(run: NetworkRun, color: Tensor, cut: Cut, sink: RowSink) -> Steps[None]:
    yield from temporal.draw_still(run, color, cropped(cut, sink))


def _pixels(run: NetworkRun, color: Tensor, cut: Cut, sink: RowSink) -> Steps[None]:
    native = run.loaded.arch.native_scale or 1
    count = runners.passes(native, cut.scale)
    made = native**count
    if cut.scale == Scale(made, made):
        sink(0, (yield from _passed(run, color, cut.rows, cut.columns, count)))
        return
    rest = Scale(cut.scale.y / made, cut.scale.x / made)
    height, width = cut.source_size
    whole = cut.scale.output_size(cut.source_size)
    plan = Resampling.plan((height * made, width * made), scale=rest, size=whole, kernel="bicubic")
    rows = slice(*plan.source_rows(cut.rows.start, cut.rows.stop))
    columns = slice(*plan.source_columns(cut.columns.start, cut.columns.stop))
    part = yield from _passed(run, color, rows, columns, count)
    with run.watch("resize"):
        first, left = rows.start, columns.start
        resized = plan.rows(part, first=first, start=cut.rows.start, stop=cut.rows.stop, left=left, columns=cut.columns)
    sink(0, resized)


def _passed(run: NetworkRun, color: Tensor, rows: slice, columns: slice, count: int) -> Steps[Tensor]:
    """Pixels of the result of `count` passes of a network over planes."""
    if count == 0:
        return color[..., rows, columns]
    native = run.loaded.arch.native_scale or 1
    lengths = (side * native ** (count - 1) for side in color.shape[-2:])
    wanted = (slice(side.start // native, -(-side.stop // native)) for side in (rows, columns))
    y, x = (_span(run, length, core) for length, core in zip(lengths, wanted, strict=True))
    source = yield from _passed(run, color, slice(y.begin, y.end), slice(x.begin, x.end), count - 1)
    source = runners.as_seen(source) if count > 1 else source
    yield Progress("encode", count - 1, count)
    stop_if_cancelled()
    with run.watch("encode"):
        result = run.call(run.loaded.module, run.send(source)).float().cpu()
    top, left = y.begin * native, x.begin * native
    return result[..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


def cropped(cut: Cut, sink: RowSink) -> RowSink:
    """A row sink for the whole result that passes the part on."""

    def put(top: int, rows: Tensor) -> None:
        first, last = max(cut.rows.start, top), min(cut.rows.stop, top + rows.shape[-2])
        if first < last:
            sink(first - cut.rows.start, rows[..., first - top : last - top, cut.columns])

    return put

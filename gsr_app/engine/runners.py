"""One generator for each way in which a method makes pixels. They yield progress and give rows [1, C, h, W] on.

Nothing here is held across a yield that the caller's thread would notice: inference mode and autocast are entered for
each piece of work alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from gsr_app.core.errors import GsrError
from gsr_app.core.types import GaussianField, Progress, Scale, View
from gsr_app.engine import devices, tiling
from gsr_app.engine.bands import Bands
from gsr_app.engine.cache import ByteLru, weigh
from gsr_app.engine.cancellation import stop_if_cancelled
from gsr_app.engine.networks import Loaded
from gsr_app.engine.rows import STRIP_PIXELS, Give, Resizing, Sheet
from gsr_app.engine.timing import Stopwatch
from gsr_app.ops.resize import Resampling

_Result = TypeVar("_Result")
Steps = Generator[Progress, None, _Result]

QUERY_PIXELS = 1 << 16  # asked at once of a continuous network


@dataclass(frozen=True, eq=False)
class Job:
    """What a runner needs to know besides the pixels."""

    loaded: Loaded
    scale: Scale
    tile: int | None  # None: chosen by free memory
    device: torch.device
    dtype: torch.dtype
    watch: Stopwatch
    memory: ByteLru
    source_id: str  # names the pixels, for the cache
    window: str = "published"

    @torch.inference_mode()
    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        dtype = torch.float32 if self.loaded.arch.full_precision else self.dtype
        with devices.autocast(self.device, dtype):
            return function(*args)

    def send(self, x: Tensor) -> Tensor:
        layout = torch.channels_last if self.loaded.arch.channels_last else torch.contiguous_format
        return tiling.pad(x, self.loaded.arch).to(self.device).contiguous(memory_format=layout)


def finish(steps: Steps[_Result]) -> _Result:
    """Run steps to their end without looking at the progress."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def resize(color: Tensor, kernel: Any, scale: Scale, watch: Stopwatch, give: Give) -> Steps[None]:
    """A classical kernel, a strip of rows at a time."""
    size = scale.output_size((color.shape[-2], color.shape[-1]))
    plan = Resampling.plan((color.shape[-2], color.shape[-1]), scale=scale, size=size, kernel=kernel)
    strips = list(tiling.strips(*size, STRIP_PIXELS))
    for done, (start, stop) in enumerate(strips):
        yield Progress("resize", done, len(strips))
        stop_if_cancelled()
        with watch("resize"):
            first, last = plan.source_rows(start, stop)
            rows = plan.rows(color[:, :, first:last], first=first, start=start, stop=stop)
        give(start, rows)


# ---- networks that answer in pixels -----------------------------------------------------------------------------


def passes(native_scale: int, scale: Scale) -> int:
    """How often a network of a fixed scale runs: as often as comes nearest to the target, at least once."""
    wanted = max(scale.y, scale.x)
    return max(1, round(math.log(wanted) / math.log(native_scale))) if native_scale > 1 and wanted > 1 else 1


def describe_pixels(native_scale: int, scale: Scale) -> str:
    """What `pixels` does, in words: "x2 network, then resized to x2.7"."""
    count = passes(native_scale, scale)
    made = native_scale**count
    words = f"x{native_scale} network" + {1: "", 2: f" twice (x{made})"}.get(count, f" {count} times (x{made})")
    return words if scale == Scale(made, made) else f"{words}, then resized to x{scale}"


def pixels(job: Job, color: Tensor, give: Give) -> Steps[None]:
    """The network at its own scale, then an exact resize to the target where that is another."""
    native = job.loaded.arch.native_scale or 1
    count = passes(native, job.scale)
    size = job.scale.output_size((color.shape[-2], color.shape[-1]))
    for _ in range(count - 1):
        sheet = Sheet(color.shape[-2] * native)
        yield from shrinking(job, color, partial(_pixel_tiles, give=sheet))
        color = sheet.planes
    made = native**count
    if job.scale == Scale(made, made):
        yield from shrinking(job, color, partial(_pixel_tiles, give=give))
        return
    rest = Scale(job.scale.y / made, job.scale.x / made)
    source_size = color.shape[-2] * native, color.shape[-1] * native
    plan = Resampling.plan(source_size, scale=rest, size=size, kernel="bicubic")

    def resized(job: Job, color: Tensor, grid: tiling.Grid) -> Steps[None]:
        return _pixel_tiles(job, color, grid, Resizing(plan, job.watch, give))

    yield from shrinking(job, color, resized)


def _pixel_tiles(job: Job, color: Tensor, grid: tiling.Grid, give: Give) -> Steps[None]:
    native = job.loaded.arch.native_scale or 1
    size = (color.shape[-2] * native, color.shape[-1] * native)
    overlap = job.loaded.arch.overlap
    mosaic = tiling.Mosaic(grid, size, Scale(native, native), overlap, give) if len(grid) > 1 else None
    for done, tile in enumerate(grid):
        yield Progress("encode", done, len(grid))
        stop_if_cancelled()
        with job.watch("encode"):
            part = job.call(job.loaded.module, job.send(tile.read(color))).float().cpu()
        top, left = tile.y.begin * native, tile.x.begin * native
        if mosaic is None:
            give(0, part[..., : size[0], : size[1]])
            return
        rows, columns = mosaic.reach(tile)
        mosaic.add(tile, part[..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left])


# ---- networks that are asked at any point -----------------------------------------------------------------------


def continuous(job: Job, color: Tensor, give: Give) -> Steps[None]:
    """Encode once, then ask for the picture strip by strip."""
    if job.loaded.arch.tileable:
        yield from shrinking(job, color, partial(_continuous_tiles, give=give))
        return
    size = job.scale.output_size((color.shape[-2], color.shape[-1]))
    # The network's own grid covers what it is given exactly: padding and asking for more keeps the scale.
    source = job.send(color)
    asked = math.ceil(source.shape[-2] * job.scale.y), math.ceil(source.shape[-1] * job.scale.x)
    if source.shape == color.shape:
        asked = size
    yield Progress("encode", 0, 1)
    with job.watch("encode"):
        out = job.call(job.loaded.module, source, asked).float().cpu()
    give(0, out[..., : size[0], : size[1]])


def _continuous_tiles(job: Job, color: Tensor, grid: tiling.Grid, give: Give) -> Steps[None]:
    view = View.whole((color.shape[-2], color.shape[-1]), job.scale)
    mosaic = tiling.Mosaic(grid, view.size, job.scale, job.loaded.arch.overlap, give)
    for done, tile in enumerate(grid):
        yield Progress("encode", done, len(grid))
        stop_if_cancelled()
        with job.watch("encode"):
            features = job.call(job.loaded.module.encode, job.send(tile.read(color)))  # pyright: ignore[reportArgumentType]
        rows, columns = mosaic.reach(tile)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        part = torch.empty(1, 3, height, width)
        # Far below scale 1 a tile may hold no pixel's centre.
        strips = list(tiling.strips(height, width, QUERY_PIXELS)) if width else []
        for step, (start, stop) in enumerate(strips):
            yield Progress("decode", step, len(strips))
            stop_if_cancelled()
            wanted = view.crop(rows.start + start, columns.start, stop - start, width)
            origin = (wanted.origin[0] - tile.x.begin, wanted.origin[1] - tile.y.begin)
            with job.watch("decode"):
                query = job.loaded.module.query
                part[:, :, start:stop] = job.call(query, features, replace(wanted, origin=origin)).float().cpu()  # pyright: ignore[reportArgumentType]
        mosaic.add(tile, part)


# ---- networks that answer in Gaussians --------------------------------------------------------------------------


def encode_field(job: Job, color: Tensor, plane: str) -> Steps[GaussianField]:
    """The field of the whole picture: every tile's Gaussians of its core, together. `plane` names it for the cache."""
    job = replace(job, source_id=f"{job.source_id} {plane}")
    return (yield from shrinking(job, color, _field_tiles))


def _field_tiles(job: Job, color: Tensor, grid: tiling.Grid) -> Steps[GaussianField]:
    module: Any = job.loaded.module
    arch = job.loaded.arch
    conditioned = arch.scale_conditioned
    key = f"features {job.source_id} {job.loaded.weights_id} {grid} {job.dtype}"
    known: list[Any] | None = job.memory.get(key) if conditioned else None
    features: list[Any] | None = []
    joined, count, normalize = dict[str, Tensor](), 0, False
    size = (color.shape[-2], color.shape[-1])
    room = arch.lattice**2 * math.prod(side + -side % arch.multiple_of for side in size)  # padding has Gaussians, too
    # Windows that wrap around the frame see its padding, too; elsewhere a tile pads itself.
    source = tiling.pad(color, arch) if arch.wraps else color
    for done, tile in enumerate(grid):
        stop_if_cancelled()
        if known is None:
            yield Progress("encode", done, len(grid))
            with job.watch("encode"):
                encoded = job.call(module.encode, job.send(tile.read(source)))
        else:
            encoded = known[done]
        yield Progress("decode", done, len(grid))
        with job.watch("decode"):
            core = _core(job.call(module.field, encoded, job.scale), tile, arch.lattice)
            # Into place at once: a field can fill half the memory there is, and joining its pieces would double it.
            for name in ("mean", "sigma", "rho", "color"):
                values = getattr(core, name)
                if name not in joined:
                    joined[name] = values if len(grid) == 1 else values.new_empty(room, *values.shape[1:])
                if len(grid) > 1:
                    joined[name][count : count + len(core)] = values
            count, normalize = count + len(core), core.normalize
        # Another scale needs the features again; keep them while they are small enough to be kept at all.
        if features is not None and conditioned and known is None:
            features.append(encoded)
            if weigh(features) > job.memory.limit_bytes // 2:
                features = None
    if features and known is None:
        job.memory.put(key, features)
    joined = {name: values[:count] for name, values in joined.items()}
    return GaussianField(**joined, source_size=size, normalize=normalize, window=_window(job, size))


def _core(field: GaussianField, tile: tiling.Tile, lattice: int) -> GaussianField:
    """The Gaussians that belong to a tile's core, moved to their place in the picture."""
    y, x = tile.y, tile.x
    # Where the picture's pixel (0, 0) lies in the tile, or would lie.
    zero_y, zero_x = y.before - y.begin, x.before - x.begin
    columns = _padded_columns(field, y.end + zero_y + y.after, x.end + zero_x + x.after, lattice)
    rows = len(field) // columns
    top, left = (y.start + zero_y) * lattice, (x.start + zero_x) * lattice
    # At the far border the Gaussians of the padding stay: they are what the network drew its last pixels with.
    bottom = rows if y.is_last else (y.stop + zero_y) * lattice
    right = columns if x.is_last else (x.stop + zero_x) * lattice

    def keep(values: Tensor) -> Tensor:
        return values.float().view(rows, columns, *values.shape[1:])[top:bottom, left:right].flatten(0, 1)

    offset = torch.tensor([-zero_x, -zero_y], dtype=torch.float32, device=field.mean.device)
    return replace(
        field, mean=keep(field.mean) + offset, sigma=keep(field.sigma), rho=keep(field.rho), color=keep(field.color)
    )


def _padded_columns(field: GaussianField, height: int, width: int, lattice: int) -> int:
    """How many lattice columns a field has, its padding included, from the size that it states."""
    stated_height, stated_width = field.source_size
    if len(field) != stated_height * stated_width * lattice**2 or stated_height < height or stated_width < width:
        raise GsrError(
            f"A field of a {stated_width}x{stated_height} tile must have {lattice}x{lattice} Gaussians per pixel, "
            f"found {len(field)}."
        )
    return stated_width * lattice


def _window(job: Job, size: tuple[int, int]) -> tuple[float, float] | None:
    """The hard cut that published checkpoints were run with: a share of the whole (padded) frame, not of a tile."""
    fraction = job.loaded.arch.window_fraction
    if fraction is None or job.window == "none":
        return None
    multiple = job.loaded.arch.multiple_of
    height, width = (math.floor(math.ceil(side / multiple) * multiple * factor + 1e-6) for side, factor in
                     zip(size, (job.scale.y, job.scale.x), strict=True))  # fmt: skip
    return fraction * (width - 1) / 2 / job.scale.x, fraction * (height - 1) / 2 / job.scale.y


def draw(field: GaussianField, view: View, watch: Stopwatch, give: Give) -> Steps[None]:
    """A view of a field, in bands of rows."""
    from gsr_app.ops import render

    bands = Bands(field, view)
    for done, (start, band, seen) in enumerate(bands):
        yield Progress("render", done, len(bands))
        stop_if_cancelled()
        with watch("render"), torch.inference_mode():
            drawn = render(seen, band).cpu()
        give(start, drawn[None])


def backend(kind: str, device: torch.device) -> str:
    """What runs a method of this kind, and, for drawing, why nothing better does."""
    if kind != "field":
        return f"torch {torch.__version__}"
    from gsr_app.ops import backend as drawing

    return str(drawing.load(device.type))


# ---- memory -----------------------------------------------------------------------------------------------------


def shrinking(job: Job, color: Tensor, run: Callable[[Job, Tensor, tiling.Grid], Steps[_Result]]) -> Steps[_Result]:
    """Run in tiles that fit; when they do not, halve them and begin again."""
    arch = job.loaded.arch
    size = (color.shape[-2], color.shape[-1])
    tile = job.tile or tiling.choose_tile(size, arch, devices.free_bytes(job.device), job.device.type)
    while True:
        try:
            return (yield from run(job, color, tiling.plan(size, arch, tile)))
        except (MemoryError, RuntimeError) as error:
            if not devices.is_out_of_memory(error):
                raise
            side = tile or max(size)
        if not arch.tileable or side // 2 < tiling.MIN_TILE:
            raise GsrError(
                f"Out of memory: {job.loaded.method.id} does not fit on {job.device} even in tiles of {side} pixels.",
                hint="Close other programs, use a smaller image, or try --device cpu.",
            )
        tile = side // 2
        job.memory.clear()
        devices.release(job.device)

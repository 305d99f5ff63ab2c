"""One generator for each kind of method. It yields progress and sends rows [1, C, h, W] to a sink.

Inference mode and autocast are entered for each piece of work and left before a yield: they are state of the thread,
which runs the caller's code between the pieces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from gsr_app.core.errors import GsrError
from gsr_app.core.types import GaussianField, Progress, Scale, View
from gsr_app.engine import devices, tiling
from gsr_app.engine.cache import ByteLru, weigh
from gsr_app.engine.cancellation import stop_if_cancelled
from gsr_app.engine.networks import Loaded
from gsr_app.engine.rows import RESIZED_PIXELS, FieldRows, PlaneSink, ResizeSink, RowSink, split_rows
from gsr_app.engine.timing import Stopwatch
from gsr_app.ops.resize import Resampling

_Event = TypeVar("_Event")
_Result = TypeVar("_Result")
Steps = Generator[Progress, None, _Result]


@dataclass(frozen=True, eq=False)
class NetworkRun:
    """One use of a network: scale, tile size, device, precision."""

    loaded: Loaded
    scale: Scale
    tile: int | None  # None: chosen by free memory
    device: torch.device
    dtype: torch.dtype
    watch: Stopwatch
    memory: ByteLru
    source_id: str  # names the pixels, for the cache
    window: str = "published"
    notes: dict[str, None] = field(default_factory=dict[str, None])  # what a user should know about how it went

    def note_reading(self, made: str, but: str) -> None:
        """Note what a network that reads more than a tile or a part was not given."""
        self.notes[f"{made}: {self.loaded.method.id} reads more of it for a pixel, so that {but}"] = None

    @torch.inference_mode()
    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        dtype = torch.float32 if self.loaded.arch.full_precision else self.dtype
        with devices.autocast(self.device, dtype):
            return function(*args)

    def send(self, x: Tensor) -> Tensor:
        layout = torch.channels_last if self.loaded.arch.channels_last else torch.contiguous_format
        return tiling.pad(x, self.loaded.arch).to(self.device).contiguous(memory_format=layout)


def run_to_end(steps: Generator[_Event, None, _Result], report: Callable[[_Event], object] = lambda _: None) -> _Result:
    """The result of steps; `report` gets what they yield. When it raises, the steps are closed."""
    try:
        while True:
            report(next(steps))
    except StopIteration as end:
        return end.value
    finally:
        steps.close()


def resize(color: Tensor, kernel: Any, scale: Scale, watch: Stopwatch, sink: RowSink) -> Steps[None]:
    """Resize with a kernel, some rows at a time."""
    size = scale.output_size((color.shape[-2], color.shape[-1]))
    plan = Resampling.plan((color.shape[-2], color.shape[-1]), scale=scale, size=size, kernel=kernel)
    pieces = split_rows(*size, RESIZED_PIXELS)
    for done, (start, stop) in enumerate(pieces):
        yield Progress("resize", done, len(pieces))
        stop_if_cancelled()
        with watch("resize"):
            first, last = plan.source_rows(start, stop)
            rows = plan.rows(color[:, :, first:last], first=first, start=start, stop=stop)
        sink(start, rows)


# ---- networks that make pixels -----------------------------------------------------------------------------------


def passes(native_scale: int, scale: Scale) -> int:
    """How many times a network of a fixed scale runs to come nearest to the target: at least once."""
    wanted = max(scale.y, scale.x)
    return max(1, round(math.log(wanted) / math.log(native_scale))) if native_scale > 1 and wanted > 1 else 1


def describe_pixels(native_scale: int, scale: Scale) -> str:
    """What `pixels` does, in words: "x2 network, then resized to x2.7"."""
    count = passes(native_scale, scale)
    made = native_scale**count
    words = f"x{native_scale} network" + {1: "", 2: f" twice (x{made})"}.get(count, f" {count} times (x{made})")
    return words if scale == Scale(made, made) else f"{words}, then resized to x{scale}"


def as_seen(planes: Tensor) -> Tensor:
    """What a pass makes, as the next one sees it: a network was trained on values of 0 to 1, and makes others, too."""
    return planes.clamp(0, 1)


def pixels(run: NetworkRun, color: Tensor, sink: RowSink) -> Steps[None]:
    """The network at its own scale, then a resize to the target if that differs."""
    native = run.loaded.arch.native_scale or 1
    count = passes(native, run.scale)
    size = run.scale.output_size((color.shape[-2], color.shape[-1]))
    for _ in range(count - 1):
        passed = PlaneSink(color.shape[-2] * native)
        yield from run_in_tiles(run, color, partial(_pixel_tiles, sink=passed))
        color = as_seen(passed.planes)
    made = native**count
    if run.scale == Scale(made, made):
        yield from run_in_tiles(run, color, partial(_pixel_tiles, sink=sink))
        return
    rest = Scale(run.scale.y / made, run.scale.x / made)
    source_size = color.shape[-2] * native, color.shape[-1] * native
    plan = Resampling.plan(source_size, scale=rest, size=size, kernel="bicubic")

    def tiles_resized(run: NetworkRun, color: Tensor, grid: tiling.Grid) -> Steps[None]:
        return _pixel_tiles(run, color, grid, ResizeSink(plan, run.watch, sink))

    yield from run_in_tiles(run, color, tiles_resized)


def _pixel_tiles(run: NetworkRun, color: Tensor, grid: tiling.Grid, sink: RowSink) -> Steps[None]:
    native = run.loaded.arch.native_scale or 1
    size = (color.shape[-2] * native, color.shape[-1] * native)
    overlap = run.loaded.arch.overlap
    blender = tiling.TileBlender(grid, size, Scale(native, native), overlap, sink) if len(grid) > 1 else None
    for done, tile in enumerate(grid):
        yield Progress("encode", done, len(grid))
        stop_if_cancelled()
        with run.watch("encode"):
            part = run.call(run.loaded.module, run.send(tile.read(color))).float().cpu()
        top, left = tile.y.begin * native, tile.x.begin * native
        if blender is None:
            sink(0, part[..., : size[0], : size[1]])
            return
        rows, columns = blender.reach(tile)
        blender.add(tile, part[..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left])


# ---- networks that make any point -------------------------------------------------------------------------------


def continuous(run: NetworkRun, color: Tensor, sink: RowSink) -> Steps[None]:
    """Encode once, then make the picture some rows at a time."""
    if run.loaded.arch.tileable:
        yield from run_in_tiles(run, color, partial(_continuous_tiles, sink=sink))
        return
    size = run.scale.output_size((color.shape[-2], color.shape[-1]))
    # The network maps its whole input to the whole output: padded input needs a larger output at the same scale.
    source = run.send(color)
    asked = math.ceil(source.shape[-2] * run.scale.y), math.ceil(source.shape[-1] * run.scale.x)
    if source.shape == color.shape:
        asked = size
    yield Progress("encode", 0, 1)
    with run.watch("encode"):
        out = run.call(run.loaded.module, source, asked).float().cpu()
    sink(0, out[..., : size[0], : size[1]])


def _continuous_tiles(run: NetworkRun, color: Tensor, grid: tiling.Grid, sink: RowSink) -> Steps[None]:
    view = View.whole((color.shape[-2], color.shape[-1]), run.scale)
    blender = tiling.TileBlender(grid, view.size, run.scale, run.loaded.arch.overlap, sink)
    for done, tile in enumerate(grid):
        yield Progress("encode", done, len(grid))
        stop_if_cancelled()
        with run.watch("encode"):
            features = run.call(run.loaded.module.encode, run.send(tile.read(color)))  # pyright: ignore[reportArgumentType]
        yield from decode_rows(run, blender, tile, partial(query, run, view, tile, features))


def query(run: NetworkRun, view: View, tile: tiling.Tile, features: Any, rows: slice, columns: slice) -> Tensor:
    """Rows and columns of the whole picture's view, from the features of a tile around them."""
    wanted = view.crop(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
    origin = (wanted.origin[0] - tile.x.begin, wanted.origin[1] - tile.y.begin)
    return run.call(run.loaded.module.query, features, replace(wanted, origin=origin))  # pyright: ignore[reportArgumentType]


def decode_rows(
    run: NetworkRun, blender: tiling.TileBlender, tile: tiling.Tile, decode: Callable[[slice, slice], Tensor]
) -> Steps[None]:
    """A tile's part of the picture, some rows at a time; `decode` makes rows and columns of the picture."""
    rows, columns = blender.reach(tile)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    part = torch.empty(1, 3, height, width)
    # Far below scale 1, a tile may contain no output pixel.
    pieces = split_rows(height, width, run.loaded.arch.pixels_at_once) if width else []
    for step, (start, stop) in enumerate(pieces):
        yield Progress("decode", step, len(pieces))
        stop_if_cancelled()
        with run.watch("decode"):
            part[:, :, start:stop] = decode(slice(rows.start + start, rows.start + stop), columns).float().cpu()
    blender.add(tile, part)


# ---- networks that make Gaussians -------------------------------------------------------------------------------


def encode_field(run: NetworkRun, color: Tensor, plane: str) -> Steps[GaussianField]:
    """The field of the whole picture: the Gaussians of every tile's core. `plane` names the planes for the cache."""
    run = replace(run, source_id=f"{run.source_id} {plane}")
    return (yield from run_in_tiles(run, color, field_of_tiles))


def field_of_tiles(run: NetworkRun, color: Tensor, grid: tiling.Grid) -> Steps[GaussianField]:
    """The Gaussians of the cores of tiles, in coordinates of the whole picture."""
    module: Any = run.loaded.module
    arch = run.loaded.arch
    conditioned = arch.scale_conditioned
    key = f"features {run.source_id} {run.loaded.id} {grid} {run.dtype}"
    known: list[Any] | None = run.memory.get(key) if conditioned else None
    features: list[Any] | None = []
    joined, count, normalize = dict[str, Tensor](), 0, False
    size = (color.shape[-2], color.shape[-1])
    room = arch.lattice**2 * math.prod(side + -side % arch.multiple_of for side in size)  # padding has Gaussians, too
    # Windows that wrap around the frame include its padding; for other networks, each tile is padded.
    source = tiling.pad(color, arch) if arch.wraps else color
    for done, tile in enumerate(grid):
        stop_if_cancelled()
        if known is None:
            yield Progress("encode", done, len(grid))
            with run.watch("encode"):
                encoded = run.call(module.encode, run.send(tile.read(source)))
        else:
            encoded = known[done]
        yield Progress("decode", done, len(grid))
        with run.watch("decode"):
            core = _core(run.call(module.field, encoded, run.scale), tile, arch.lattice)
            # Written in place: a field can take half of the memory, and concatenation would need it twice.
            for name in ("mean", "sigma", "rho", "color"):
                values = getattr(core, name)
                if name not in joined:
                    joined[name] = values if len(grid) == 1 else values.new_empty(room, *values.shape[1:])
                if len(grid) > 1:
                    joined[name][count : count + len(core)] = values
            count, normalize = count + len(core), core.normalize
        # Another scale can reuse the features: keep them if the cache has room.
        if features is not None and conditioned and known is None:
            features.append(encoded)
            if weigh(features) > run.memory.limit_bytes // 2:
                features = None
    if features and known is None:
        run.memory.put(key, features)
    joined = {name: values[:count] for name, values in joined.items()}
    return GaussianField(**joined, source_size=size, normalize=normalize, window=_window(run, size))


def _core(field: GaussianField, tile: tiling.Tile, lattice: int) -> GaussianField:
    """The Gaussians of a tile's core, in coordinates of the picture."""
    y, x = tile.y, tile.x
    # The picture's pixel (0, 0) in coordinates of the tile.
    zero_y, zero_x = y.before - y.begin, x.before - x.begin
    columns = _padded_columns(field, y.end + zero_y + y.after, x.end + zero_x + x.after, lattice)
    rows = len(field) // columns
    top, left = (y.start + zero_y) * lattice, (x.start + zero_x) * lattice
    # At the far border the Gaussians of the padding stay: they contribute to the last pixels.
    bottom = rows if y.is_last else (y.stop + zero_y) * lattice
    right = columns if x.is_last else (x.stop + zero_x) * lattice

    def keep(values: Tensor) -> Tensor:
        return values.float().view(rows, columns, *values.shape[1:])[top:bottom, left:right].flatten(0, 1)

    offset = torch.tensor([-zero_x, -zero_y], dtype=torch.float32, device=field.mean.device)
    return replace(
        field, mean=keep(field.mean) + offset, sigma=keep(field.sigma), rho=keep(field.rho), color=keep(field.color)
    )


def _padded_columns(field: GaussianField, height: int, width: int, lattice: int) -> int:
    """The lattice columns of a field, with padding, from its `source_size`."""
    stated_height, stated_width = field.source_size
    if len(field) != stated_height * stated_width * lattice**2 or stated_height < height or stated_width < width:
        raise GsrError(
            f"A field of a {stated_width}x{stated_height} tile must have {lattice}x{lattice} Gaussians per pixel, "
            f"found {len(field)}."
        )
    return stated_width * lattice


def _window(run: NetworkRun, size: tuple[int, int]) -> tuple[float, float] | None:
    """The cut-off that published checkpoints were run with: a share of the whole padded frame, not of a tile."""
    fraction = run.loaded.arch.window_fraction
    if fraction is None or run.window == "none":
        return None
    multiple = run.loaded.arch.multiple_of
    height, width = (math.floor(math.ceil(side / multiple) * multiple * factor + 1e-6) for side, factor in
                     zip(size, (run.scale.y, run.scale.x), strict=True))  # fmt: skip
    return fraction * (width - 1) / 2 / run.scale.x, fraction * (height - 1) / 2 / run.scale.y


def draw(field: GaussianField, view: View, watch: Stopwatch, sink: RowSink) -> Steps[None]:
    """A view of a field, some rows at a time."""
    from gsr_app.ops import render

    pieces = FieldRows(field, view)
    for done, (start, part, seen) in enumerate(pieces):
        yield Progress("render", done, len(pieces))
        stop_if_cancelled()
        with watch("render"), torch.inference_mode():
            drawn = render(seen, part).cpu()
        sink(start, drawn[None])


def backend(kind: str, device: torch.device) -> str:
    """The backend for a kind of method; for fields also why not a faster one."""
    if kind != "field":
        return f"torch {torch.__version__}"
    from gsr_app.ops import backend as drawing

    return str(drawing.load(device.type))


# ---- memory -----------------------------------------------------------------------------------------------------


def run_in_tiles(
    run: NetworkRun, color: Tensor, work: Callable[[NetworkRun, Tensor, tiling.Grid], Steps[_Result]]
) -> Steps[_Result]:
    """Run `work` in tiles that fit into memory; when memory runs out, halve them and start again."""
    arch = run.loaded.arch
    size = (color.shape[-2], color.shape[-1])
    tile = run.tile or tiling.choose_tile(size, arch, devices.free_bytes(run.device), run.device.type)
    while True:
        try:
            grid = tiling.plan(size, arch, tile)
            result = yield from work(run, color, grid)
        except (MemoryError, RuntimeError) as error:
            if not devices.is_out_of_memory(error):
                raise
            side = tile or max(size)
        else:
            if arch.reads_all and len(grid) > 1:
                run.note_reading("made in tiles, without the rest of the picture", "the whole at once would differ")
            return result
        if not arch.tileable or side // 2 < tiling.MIN_TILE:
            raise GsrError(
                f"Out of memory: {run.loaded.method.id} does not fit on {run.device} even in tiles of {side} pixels.",
                hint="Close other programs, use a smaller image, or try --device cpu.",
            )
        tile = side // 2
        run.memory.clear()
        devices.release(run.device)

"""Temporal networks: the result of a frame depends on a window of frames around it. Tiled in space, sliding in time.

The features of a frame with its two neighbours, and the sampling positions of a patch, are computed once and cached
while the window slides, as far as the memory of the run allows. Results do not depend on the cache.

The gain is limited: SAVSR's two recurrent passes start again in every window. Of its 23.2 million multiplications per
source pixel and frame at x4, the passes take 16.3, and 5.1 fuse and refine their results. The features of a window take
five times 0.32, and the next window reuses four of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from gsr_app.core.types import Progress
from gsr_app.engine import devices, tiling
from gsr_app.engine.cache import ByteLru, weigh
from gsr_app.engine.cancellation import stop_if_cancelled
from gsr_app.engine.rows import RowSink
from gsr_app.engine.runners import NetworkRun, Steps, decode_rows, run_in_tiles
from gsr_app.models.savsr_upsample import OutputRegion

REACH = 3  # frames of a window before and after its middle


@dataclass(frozen=True, eq=False)
class NumberedFrame:
    """A frame of a clip and its number, the key of the cache."""

    number: int
    color: Tensor  # [1, 3, h, w] in 0..1


def sliding_windows(frames: Iterable[NumberedFrame], reach: int = REACH) -> Iterator[list[NumberedFrame]]:
    """The window around each frame. Beyond its ends a clip is mirrored, without repeating the last frame."""
    coming = iter(frames)
    kept: dict[int, NumberedFrame] = {}
    middle, read, last = 0, 0, None
    while last is None or middle <= last:
        while last is None and read <= middle + reach:
            frame = next(coming, None)
            if frame is None:
                last = read - 1
            else:
                kept[read] = frame
                read += 1
        if last is None or middle <= last:
            yield [kept[mirror_index(at, last)] for at in range(middle - reach, middle + reach + 1)]
        kept.pop(middle - reach, None)
        middle += 1


def mirror_index(at: int, last: int | None) -> int:
    """The number of the frame that is used as number `at`; `last` is None as long as the end is unknown."""
    if last is None:
        return abs(at)
    while last and not 0 <= at <= last:
        at = -at if at < 0 else 2 * last - at
    return at if last else 0


class TemporalRunner:
    """Runs one network over a clip: `draw` takes the windows in order. All frames are cut into the same tiles."""

    def __init__(self, job: NetworkRun, size: tuple[int, int]) -> None:
        arch = job.loaded.arch
        tile = job.tile or tiling.choose_tile(size, arch, devices.free_bytes(job.device), job.device.type)
        self.job = replace(job, tile=tile or max(size))
        self._grid: tiling.Grid | None = None

    def draw(self, window: Sequence[NumberedFrame], sink: RowSink) -> Steps[None]:
        """Draw the middle frame of a window."""

        def run(job: NetworkRun, middle: Tensor, grid: tiling.Grid) -> Steps[None]:
            if grid != self._grid:  # the first frame, or smaller tiles after an out-of-memory error: kept for the rest
                self._grid = grid
                self.job = replace(job, tile=max(span.stop - span.start for span in (*grid.rows, *grid.columns)))
                job.memory.clear()
            yield from _draw_tiles(job, window, middle, grid, sink)

        yield from run_in_tiles(self.job, window[len(window) // 2].color, run)


def draw_still(job: NetworkRun, color: Tensor, sink: RowSink) -> Steps[None]:
    """A single picture, as a clip of equal frames."""
    size = (color.shape[-2], color.shape[-1])
    # Nothing of a single picture is used again, so the session's cache is left alone.
    job = replace(job, memory=ByteLru(0))
    yield from TemporalRunner(job, size).draw([NumberedFrame(0, color)] * (2 * REACH + 1), sink)


def _draw_tiles(
    job: NetworkRun, window: Sequence[NumberedFrame], middle: Tensor, grid: tiling.Grid, sink: RowSink
) -> Steps[None]:
    size = (middle.shape[-2], middle.shape[-1])
    blender = tiling.TileBlender(grid, job.scale.output_size(size), job.scale, job.loaded.arch.overlap, sink)
    module: Any = job.loaded.module
    for done, tile in enumerate(grid):
        yield Progress("encode", done, len(grid))
        stop_if_cancelled()
        with job.watch("encode"):
            looks = _look(job, window, tile)
            features = job.call(module.encode, looks, tile.read(middle).to(job.device), job.scale)
            del looks
        yield from decode_rows(job, blender, tile, partial(_draw_region, job, size, tile, features))


def _draw_region(
    job: NetworkRun, size: tuple[int, int], tile: tiling.Tile, features: Any, rows: slice, columns: slice
) -> Tensor:
    origin = (tile.y.begin, tile.x.begin)
    region = OutputRegion(job.scale, size, (rows.start, rows.stop), (columns.start, columns.stop), origin)
    return job.call(job.loaded.module.draw, features, _locate(job, region))  # pyright: ignore[reportArgumentType]


def _look(job: NetworkRun, window: Sequence[NumberedFrame], tile: tiling.Tile) -> list[Any]:
    """The features of each inner frame of the window with its neighbours; known ones come from the window before."""
    key = f"looks {tile}"
    known: dict[tuple[int, ...], Any] = job.memory.get(key) or {}
    seen: dict[tuple[int, ...], Any] = {}
    sent: dict[int, Tensor] = {}

    def send(frame: NumberedFrame) -> Tensor:
        if frame.number not in sent:
            sent[frame.number] = job.send(tile.read(frame.color))
        return sent[frame.number]

    in_order: list[tuple[int, ...]] = []
    for at in range(1, len(window) - 1):
        three = window[at - 1 : at + 2]
        numbers = tuple(frame.number for frame in three)
        in_order.append(numbers)
        if numbers not in seen:
            seen[numbers] = known.get(numbers)
            if seen[numbers] is None:
                seen[numbers] = job.call(job.loaded.module.look, *map(send, three))  # pyright: ignore[reportArgumentType]
    _cache(job.memory, key, seen)
    return [seen[numbers] for numbers in in_order]


def _locate(job: NetworkRun, patch: OutputRegion) -> Any:
    key = f"places {patch}"
    places = job.memory.get(key)
    if places is None:
        places = job.call(job.loaded.module.locate, patch)  # pyright: ignore[reportArgumentType]
        _cache(job.memory, key, places)
    return places


def _cache(memory: ByteLru, key: str, value: Any) -> None:
    """Cache a value if there is room. Tiles are visited cyclically: replacing the oldest would never give a hit."""
    replaced = memory.get(key)
    if memory.used_bytes - weigh(replaced) + weigh(value) <= memory.limit_bytes:
        memory.put(key, value)

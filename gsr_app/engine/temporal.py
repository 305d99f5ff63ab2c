"""Networks that look at a window of frames to draw the one in its middle: tiled in space, sliding in time.

What a network sees of a frame and its neighbours alone, and where the pixels of a patch look, is computed once and
kept while the window slides over it, as long as there is room in the job's memory. Pictures are the same either way.

That saves less than one would hope. SAVSR's two walks begin anew in every window, so whatever comes after a walk's
memory belongs to one window alone. Of its 23.2 million multiplications per source pixel and frame at x4, 16.3 are the
walks' own and 5.1 fuse and refine what they found. A window has five looks of 0.32 and shares four of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from gsr_app.core.types import Progress
from gsr_app.engine import devices, tiling
from gsr_app.engine.cache import ByteLru, weigh
from gsr_app.engine.cancellation import stop_if_cancelled
from gsr_app.engine.rows import RowSink, split_rows
from gsr_app.engine.runners import QUERY_PIXELS, NetworkRun, Steps, run_in_tiles
from gsr_app.models.savsr_upsample import OutputRegion

REACH = 3  # frames that a window sees to each side of its middle


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a clip and its number, by which it is known again."""

    number: int
    color: Tensor  # [1, 3, h, w] in 0..1


def slide(frames: Iterable[Frame], reach: int = REACH) -> Iterator[list[Frame]]:
    """For every frame the window around it. Beyond the clip's ends it is mirrored, without its last frame twice."""
    coming = iter(frames)
    kept: dict[int, Frame] = {}
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
            yield [kept[mirror(at, last)] for at in range(middle - reach, middle + reach + 1)]
        kept.pop(middle - reach, None)
        middle += 1


def mirror(at: int, last: int | None) -> int:
    """The frame of a clip that stands for number `at`; `last` is None as long as the end is not in sight."""
    if last is None:
        return abs(at)
    while last and not 0 <= at <= last:
        at = -at if at < 0 else 2 * last - at
    return at if last else 0


class Walk:
    """One network on its way through a clip. `draw` takes its windows in order; the tiles stay the same throughout."""

    def __init__(self, job: NetworkRun, size: tuple[int, int]) -> None:
        arch = job.loaded.arch
        tile = job.tile or tiling.choose_tile(size, arch, devices.free_bytes(job.device), job.device.type)
        self.job = replace(job, tile=tile or max(size))
        self._grid: tiling.Grid | None = None

    def draw(self, window: Sequence[Frame], sink: RowSink) -> Steps[None]:
        """The picture of the window's middle frame."""

        def run(job: NetworkRun, middle: Tensor, grid: tiling.Grid) -> Steps[None]:
            if grid != self._grid:  # the first one, or smaller tiles than before: those will do for the rest, too
                self._grid = grid
                self.job = replace(job, tile=max(span.stop - span.start for span in (*grid.rows, *grid.columns)))
                job.memory.clear()
            yield from _draw_tiles(job, window, middle, grid, sink)

        yield from run_in_tiles(self.job, window[len(window) // 2].color, run)


def repeat(job: NetworkRun, color: Tensor, sink: RowSink) -> Steps[None]:
    """A single picture, as a clip that stands still."""
    size = (color.shape[-2], color.shape[-1])
    # The job's memory may hold what others want again; a single picture has nothing to keep.
    job = replace(job, memory=ByteLru(0))
    yield from Walk(job, size).draw([Frame(0, color)] * (2 * REACH + 1), sink)


def _draw_tiles(
    job: NetworkRun, window: Sequence[Frame], middle: Tensor, grid: tiling.Grid, sink: RowSink
) -> Steps[None]:
    size = (middle.shape[-2], middle.shape[-1])
    mosaic = tiling.TileBlender(grid, job.scale.output_size(size), job.scale, job.loaded.arch.overlap, sink)
    module: Any = job.loaded.module
    for done, tile in enumerate(grid):
        yield Progress("encode", done, len(grid))
        stop_if_cancelled()
        with job.watch("encode"):
            looks = _look(job, window, tile)
            features = job.call(module.encode, looks, tile.read(middle).to(job.device), job.scale)
            del looks
        rows, columns = mosaic.reach(tile)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        part = middle.new_empty(1, 3, height, width)
        strips = split_rows(height, width, QUERY_PIXELS) if width else []
        for step, (start, stop) in enumerate(strips):
            yield Progress("decode", step, len(strips))
            stop_if_cancelled()
            patch = OutputRegion(
                job.scale,
                size,
                (rows.start + start, rows.start + stop),
                (columns.start, columns.stop),
                (tile.y.begin, tile.x.begin),
            )
            with job.watch("decode"):
                part[:, :, start:stop] = job.call(module.draw, features, _locate(job, patch)).float().cpu()
        mosaic.add(tile, part)


def _look(job: NetworkRun, window: Sequence[Frame], tile: tiling.Tile) -> list[Any]:
    """What the network sees around each inner frame of the window, taken over from the window before."""
    key = f"looks {tile}"
    known: dict[tuple[int, ...], Any] = job.memory.get(key) or {}
    seen: dict[tuple[int, ...], Any] = {}
    sent: dict[int, Tensor] = {}

    def send(frame: Frame) -> Tensor:
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
    _keep(job.memory, key, seen)
    return [seen[numbers] for numbers in in_order]


def _locate(job: NetworkRun, patch: OutputRegion) -> Any:
    key = f"places {patch}"
    places = job.memory.get(key)
    if places is None:
        places = job.call(job.loaded.module.locate, patch)  # pyright: ignore[reportArgumentType]
        _keep(job.memory, key, places)
    return places


def _keep(memory: ByteLru, key: str, value: Any) -> None:
    """Keep a value where there is room. Tiles come round and round: letting new ones drive out old ones keeps none."""
    replaced = memory.get(key)
    if memory.used_bytes - weigh(replaced) + weigh(value) <= memory.limit_bytes:
        memory.put(key, value)

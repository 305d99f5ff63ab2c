"""Splitting a picture into tiles and joining the results without seams.

A tile is its core, whose result is used, and context around it, which the network also reads. Cores start at multiples
of `multiple_of` (for example the window size), so that a tile has the same windows as the whole picture.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gsr_app.core.types import Scale
from gsr_app.engine.rows import RowSink
from gsr_app.models.registry import Architecture

MIN_TILE = 32
# Limit of a side: larger tiles are not faster, and they make progress and cancelling coarse.
_LARGEST_TILE = {"cpu": 512}
_LARGEST_TILE_GPU = 1024
_SHARE_OF_FREE = 0.5


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis, source pixels: core [start, stop) within what it reads, [begin, end)."""

    start: int
    stop: int
    begin: int
    end: int
    is_first: bool
    is_last: bool
    before: int = 0  # how many of the source's first pixels the last tile also reads, before its own,
    after: int = 0  # and how many of its last ones the first tile also reads, after its own

    def read(self, source: Tensor, axis: int) -> Tensor:
        part = source.narrow(axis, self.begin, self.end - self.begin)
        if self.before:
            part = torch.cat((source.narrow(axis, 0, self.before), part), axis)
        if self.after:
            part = torch.cat((part, source.narrow(axis, source.shape[axis] - self.after, self.after)), axis)
        return part


@dataclass(frozen=True, slots=True)
class Tile:
    y: Span
    x: Span

    def read(self, source: Tensor) -> Tensor:
        """The network's input. [1, C, h, w]"""
        return self.x.read(self.y.read(source, -2), -1)


@dataclass(frozen=True, slots=True)
class Grid:
    """All tiles of a picture, row by row."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    def __iter__(self) -> Iterator[Tile]:
        return itertools.starmap(Tile, itertools.product(self.rows, self.columns))

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)


def plan(source_size: tuple[int, int], arch: Architecture, tile: int | None) -> Grid:
    """The tiles of a picture; a single one when `tile` is None or the network cannot be cut."""
    axes: list[tuple[Span, ...]] = []
    for length in source_size:
        # Windows that wrap around the frame include its padding.
        full = length + (-length % arch.multiple_of if arch.wraps else 0)
        side = full if tile is None or not arch.tileable or length <= tile else tile
        axes.append(split(full, side, arch.overlap, arch.multiple_of, arch.wraps))
    return Grid(*axes)


def split(length: int, tile: int, overlap: int, multiple_of: int = 1, wraps: bool = False) -> tuple[Span, ...]:
    """Cut one axis into cores of about equal length, at most `tile` (in whole multiples), with context around.

    With windows that wrap around the frame (`wraps`), each edge depends on the opposite one. A tile at an edge then
    also reads the opposite edge with its context, so that its windows wrap to the same pixels as in the whole frame.
    """
    if length <= tile:
        return (Span(0, length, 0, length, True, True),)
    step = math.ceil(length / math.ceil(length / tile) / multiple_of) * multiple_of
    starts = range(0, length, step)
    return tuple(cut(length, start, min(start + step, length), overlap, multiple_of, wraps) for start in starts)


def cut(length: int, start: int, stop: int, overlap: int, multiple_of: int = 1, wraps: bool = False) -> Span:
    """One core of an axis with its context, which begins and ends at whole multiples."""
    context = math.ceil(overlap / multiple_of) * multiple_of
    opposite = context + multiple_of if wraps else 0
    begin = max(0, (start - context) // multiple_of * multiple_of)
    end = min(math.ceil((stop + context) / multiple_of) * multiple_of, length)
    is_first, is_last = start == 0, stop == length
    after = opposite if is_first and not is_last else 0
    before = opposite if is_last and not is_first else 0
    if after and end + after >= length:  # the two parts meet: read the whole axis instead
        end, after = length, 0
    if before and begin <= before:
        begin, before = 0, 0
    return Span(start, stop, begin, end, is_first, is_last, before, after)


def choose_tile(source_size: tuple[int, int], arch: Architecture, free_bytes: int, device: str) -> int | None:
    """The side of a core that fits into the free memory; None when the whole picture does."""
    most = max(source_size) if arch.reads_all else _LARGEST_TILE.get(device, _LARGEST_TILE_GPU)
    largest = min(most, arch.largest_tile or max(source_size))
    fits = math.isqrt(max(1, int(free_bytes * _SHARE_OF_FREE / arch.bytes_per_pixel)))
    if not arch.tileable or (max(source_size) <= largest and source_size[0] * source_size[1] <= fits * fits):
        return None
    # The Gaussians of the whole picture take memory, too.
    side = min(largest, fits) * (7 if arch.kind == "field" else 8) // 8 - 2 * arch.overlap
    return max(MIN_TILE, side // arch.multiple_of * arch.multiple_of)


def pad(x: Tensor, arch: Architecture) -> Tensor:  # [1, C, h, w] -> [1, C, hp, wp]
    """Pad bottom and right to a size that the network accepts. Reflection needs a long side; else the edge repeats."""
    least = math.ceil(arch.minimum_size / arch.multiple_of) * arch.multiple_of
    for axis in (-2, -1):
        count = max(-x.shape[axis] % arch.multiple_of, least - x.shape[axis])
        if count <= 0:
            continue
        amounts = (0, 0, 0, count) if axis == -2 else (0, count, 0, 0)
        mode = {"zeros": "constant", "replicate": "replicate", "reflect": "reflect"}[arch.pad_mode]
        x = F.pad(x, amounts, mode="replicate" if mode == "reflect" and count >= x.shape[axis] else mode)
    return x


class TileBlender:
    """Joins the results of tiles with a linear cross-fade at the borders of their cores, and outputs rows.

    A border is rounded to an output pixel once, for both its neighbours, so that nothing shifts at any scale. Rows are
    passed to the row sink when no further tile contributes to them.
    """

    def __init__(
        self,
        grid: Grid,
        size: tuple[int, int],
        scale: Scale,
        overlap: int,
        sink: RowSink,
    ) -> None:
        self._sink = sink
        self._y = _fades(grid.rows, scale.y, size[0], overlap)
        self._x = _fades(grid.columns, scale.x, size[1], overlap)
        # The rows above the first row of the next tiles are complete.
        starts = [self._y[span][0].start for span in grid.rows[1:]]
        self._ends = dict(zip(grid.rows, [*starts, size[0]], strict=True))
        self._last_column = grid.columns[-1]
        self._top = 0
        self._rows = torch.zeros(1, 3, 0, size[1])  # from `_top` on

    def reach(self, tile: Tile) -> tuple[slice, slice]:
        """The rows and columns of the picture that a tile contributes to."""
        return self._y[tile.y][0], self._x[tile.x][0]

    def add(self, tile: Tile, part: Tensor) -> None:  # [1, 3, *reach]
        """Add the result of a tile; all tiles in the order of the grid, also those that contribute to no pixel."""
        (rows, weight_y), (columns, weight_x) = self._y[tile.y], self._x[tile.x]
        missing = rows.stop - self._top - self._rows.shape[-2]
        if missing > 0:
            self._rows = F.pad(self._rows, (0, 0, 0, missing))
        reached = self._rows[..., rows.start - self._top : rows.stop - self._top, columns]
        reached += part.to(reached) * weight_y[:, None] * weight_x
        end = self._ends[tile.y]
        if tile.x == self._last_column and end > self._top:
            done, self._rows = self._rows[..., : end - self._top, :], self._rows[..., end - self._top :, :].clone()
            self._sink(self._top, done)
            self._top = end


def _fades(spans: tuple[Span, ...], scale: float, length: int, overlap: int) -> dict[Span, tuple[slice, Tensor]]:
    """For each tile along an axis: the output pixels that it contributes to, and its weights there."""
    fade = max(1, int(overlap * scale / 2))  # over the half of the context that is nearer to the core
    shares: dict[Span, tuple[slice, Tensor]] = {}
    total = torch.zeros(length)
    for span in spans:
        start = min(round(span.start * scale), length)
        stop = length if span.is_last else min(round(span.stop * scale), length)
        # Not beyond what the tile has read, but never less than its core.
        first = start if span.is_first else min(start, max(start - fade, math.ceil(span.begin * scale)))
        last = stop if span.is_last else max(stop, min(stop + fade, math.floor(span.end * scale), length))
        at = torch.arange(first, last) + 0.5
        share = torch.ones(last - first)
        if not span.is_first:
            share *= ((at - start) / (2 * fade) + 0.5).clamp(0, 1)
        if not span.is_last:
            share *= ((stop - at) / (2 * fade) + 0.5).clamp(0, 1)
        total[first:last] += share
        shares[span] = slice(first, last), share
    return {span: (where, share / total[where]) for span, (where, share) in shares.items()}

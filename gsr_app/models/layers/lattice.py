"""The coordinates of a view's pixels in the source, and lookups at them.

Grids are products of two axes, so two short vectors represent a whole grid of coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

from gsr_app.core.types import View


class Queried(Protocol):
    """A network that is asked for views of an encoded picture."""

    def encode(self, lr: torch.Tensor) -> torch.Tensor: ...

    def query(self, features: torch.Tensor, view: View) -> torch.Tensor: ...


@dataclass(frozen=True)
class Axis:
    """One axis of a view over `count` source pixels, in the [-1, 1] coordinates of the implicit networks; float64."""

    coord: torch.Tensor  # [N] pixel centres of the view
    cell: float  # size of a pixel of the view
    count: int  # source pixels

    def nearest(self, shift: float = 0.0, nudge: float = 0.0) -> torch.Tensor:
        """[N] the source pixel nearest to each coordinate, moved by `shift` source half-pixels and `nudge`."""
        moved = self.coord + shift / self.count + nudge
        return ((moved + 1) * (self.count / 2)).floor().clamp(0, self.count - 1).long()

    def offset(self, index: torch.Tensor) -> torch.Tensor:
        """[N] from the source pixels' centres to the coordinates, in source half-pixels."""
        centre = (2 * index.double() + 1) / self.count - 1
        return (self.coord - centre) * self.count


def axes(view: View, source_size: tuple[int, int]) -> tuple[Axis, Axis]:
    """The vertical and the horizontal axis of a view."""
    found: list[Axis] = []
    for axis in range(2):
        size, count = view.size[axis], source_size[axis]
        step = view.span[axis] / size
        at = view.origin[1 - axis] + (torch.arange(size, dtype=torch.float64) + 0.5) * step
        found.append(Axis(at * (2 / count) - 1, 2 * step / count, count))
    return found[0], found[1]


def whole(source_size: tuple[int, int], size: tuple[int, int]) -> View:
    """The whole source on a grid of any size, stretched if the sides' ratios differ."""
    return View((0.0, 0.0), (float(source_size[0]), float(source_size[1])), size)


def query_in_rows(net: Queried, features: torch.Tensor, view: View, pixels: int) -> torch.Tensor:
    """[1, 3, *view.size] in groups of rows of about this many pixels, which bounds the memory."""
    height, width = view.size
    rows = max(1, pixels // width)
    tops = range(0, height, rows)
    return torch.cat([net.query(features, view.crop(top, 0, min(rows, height - top), width)) for top in tops], 2)


def stretch(net: Queried, lr: torch.Tensor, size: tuple[int, int], pixels: int) -> torch.Tensor:
    """[B, 3, h, w] in 0..1 -> [B, 3, *size]: the whole source stretched over the size, by a continuous network."""
    view = whole((lr.shape[2], lr.shape[3]), size)
    return torch.cat([query_in_rows(net, net.encode(one[None]), view, pixels) for one in lr])


def in_range(net: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """[H, W, 3] -> [1, 3, H, W] in 0..1; in training as they are, because a clamped pixel has no gradient."""
    return (pixels if net.training else pixels.clamp(0, 1)).permute(2, 0, 1)[None]


@dataclass(frozen=True)
class SourceTile:
    """The rectangle of source pixels that some output pixels need; half open."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def around(cls, rows: Sequence[torch.Tensor], columns: Sequence[torch.Tensor]) -> SourceTile:
        """The smallest tile that contains all of these rows and columns."""
        edges = [(min(int(i.min()) for i in index), max(int(i.max()) for i in index) + 1) for index in (rows, columns)]
        return cls(*edges[0], *edges[1])

    def cut(self, features: torch.Tensor, halo: int) -> torch.Tensor:
        """[B, C, h, w] -> the tile with a halo around it; zeros outside the source."""
        height, width = features.shape[2:]
        top, bottom = max(self.top - halo, 0), min(self.bottom + halo, height)
        left, right = max(self.left - halo, 0), min(self.right + halo, width)
        margins = (
            left - self.left + halo,
            self.right + halo - right,
            top - self.top + halo,
            self.bottom + halo - bottom,
        )
        return F.pad(features[:, :, top:bottom, left:right], margins)

    def gather(self, table: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        """From a table of the tile's pixels [h*w, D], those at rows and columns of the source: [H, W, D]."""
        index = (row[:, None] - self.top) * (self.right - self.left) + (column - self.left)
        return table[index.flatten().to(table.device)].unflatten(0, index.shape)

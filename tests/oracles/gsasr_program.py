"""The sampling grid and the tiling of the original GSASR program, which its published scores were measured with.

https://github.com/ChrisDud0257/GSASR, Apache-2.0. The app draws at the exact scale and joins tiles as Gaussians
(see `models/gsasr.py`). The original instead:

- Draws an image into floor(scale * padded size) pixels and keeps the first floor(scale * size) of them, so the distance
  of two source pixels is floor(scale * padded) / padded rather than the scale.
- Takes the hard window as a fraction of the frame that is drawn: the whole image, or one tile.
- Cuts square tiles with a fixed overlap and writes them over each other in reading order, without blending. A tile is
  ceil(scale * tile) pixels wide and the step is that less ceil(scale * overlap), so tiles drift at scales that are not
  integers. A few seams lie differently in the last row and column then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gsr_app.core.errors import InvalidArgument
from gsr_app.models.gsasr import GSASR, activate
from gsr_app.ops import splat

DMAX = 0.1


def draw(raw: Tensor, size: tuple[int, int], scale: float, *, dmax: float = DMAX) -> Tensor:
    """Raw Gaussians [N, 9] on the original's grid [3, H, W]; float64 in, float64 out."""
    height, width = size
    field = activate(raw, size)  # means in pixels of this drawing; sigmas belong to the scale, not to the size
    half_window = (dmax * (width - 1) / 2, dmax * (height - 1) / 2)
    return splat(field.mean - 0.5, field.sigma * scale, field.rho, field.color, size, window_px=half_window, eps=0)


@torch.inference_mode()
def upscale(module: GSASR, lr: Tensor, scale: float, *, multiple_of: int, dmax: float = DMAX) -> Tensor:
    """[1, 3, h, w] -> [3, floor(scale · h), floor(scale · w)], not clamped."""
    height, width = lr.shape[-2:]
    padded = F.pad(lr, (0, -width % multiple_of, 0, -height % multiple_of), mode="reflect")
    raw = module(padded, scale)[0]
    drawn = draw(raw, _floor_size(padded.shape[-2:], scale), scale, dmax=dmax)
    kept_height, kept_width = _floor_size((height, width), scale)
    return drawn[:, :kept_height, :kept_width]


def _floor_size(size: tuple[int, ...], scale: float) -> tuple[int, int]:
    return math.floor(scale * size[0]), math.floor(scale * size[1])


@dataclass(frozen=True)
class Paste:
    """One tile: the source pixels it reads, and where its pixels go on the canvas."""

    row: int
    column: int
    rows: Tensor  # [T] source row of each of its rows, after mirroring
    columns: Tensor  # [T]
    top: int  # canvas position of its pixel (0, 0)
    left: int
    skip_rows: int  # leading rows and columns that are not written
    skip_columns: int


@dataclass(frozen=True)
class Tiling:
    """The original's `--tile_process`."""

    size: tuple[int, int]  # (height, width) of the source
    scale: float
    tile: int = 480
    overlap: int = 8
    crop: int = 4  # output pixels

    def __post_init__(self) -> None:
        if not 0 < self.overlap < self.tile // 2:
            raise InvalidArgument(f"overlap must be in 1..{self.tile // 2 - 1}, found {self.overlap}.")
        for length, padding in zip(self.size, self.padding, strict=True):
            if padding >= length:
                raise InvalidArgument(f"A side of {length} pixels is too short for tiles of {self.tile}.")

    @property
    def counts(self) -> tuple[int, int]:
        """Tiles per column and per row."""
        step = self.tile - self.overlap
        return tuple(math.ceil((length - self.overlap) / step) for length in self.size)  # type: ignore[return-value]

    @property
    def padding(self) -> tuple[int, int]:
        """Mirrored source pixels below and to the right."""
        step = self.tile - self.overlap
        pairs = zip(self.counts, self.size, strict=True)
        return tuple(count * step + self.overlap - length for count, length in pairs)  # type: ignore[return-value]

    @property
    def tile_px(self) -> int:
        """Side of a drawn tile."""
        return math.ceil(self.tile * self.scale)

    @property
    def step_px(self) -> int:
        return self.tile_px - math.ceil(self.overlap * self.scale)

    @property
    def canvas(self) -> tuple[int, int]:
        return tuple((count - 1) * self.step_px + self.tile_px for count in self.counts)  # type: ignore[return-value]

    def __iter__(self) -> Iterator[Paste]:
        rows, columns = self.counts
        whole = float(self.scale).is_integer()
        sources = [_mirrored(length, padding) for length, padding in zip(self.size, self.padding, strict=True)]
        step = self.tile - self.overlap
        for row in range(rows):
            for column in range(columns):
                skip_rows, skip_columns = self.crop * (row > 0), self.crop * (column > 0)
                if not whole and row and column and (row == rows - 1) != (column == columns - 1):
                    if column == columns - 1:
                        skip_rows = 0
                    else:
                        skip_columns = 0
                yield Paste(
                    row,
                    column,
                    sources[0][row * step : row * step + self.tile],
                    sources[1][column * step : column * step + self.tile],
                    row * self.step_px,
                    column * self.step_px,
                    skip_rows,
                    skip_columns,
                )

    def paste(self, canvas: Tensor, drawn: Tensor, paste: Paste) -> None:
        """Write a tile [..., T, T] onto the canvas, replacing what is there."""
        top, left = paste.top + paste.skip_rows, paste.left + paste.skip_columns
        canvas[..., top : paste.top + self.tile_px, left : paste.left + self.tile_px] = drawn[
            ..., paste.skip_rows :, paste.skip_columns :
        ]


def _mirrored(length: int, padding: int) -> Tensor:
    """Source index of every position along an axis that is mirrored at its end."""
    position = torch.arange(length + padding)
    return torch.where(position < length, position, 2 * (length - 1) - position)


@torch.inference_mode()
def upscale_tiled(module: GSASR, lr: Tensor, tiling: Tiling, *, dmax: float = DMAX) -> Tensor:
    """[1, 3, h, w] -> [3, floor(scale · h), floor(scale · w)], not clamped."""
    canvas = lr.new_zeros(3, *tiling.canvas)
    for paste in tiling:
        tile = lr[..., paste.rows[:, None], paste.columns]
        raw = module(tile, tiling.scale)[0]
        drawn = draw(raw, (tiling.tile_px, tiling.tile_px), tiling.scale, dmax=dmax)
        tiling.paste(canvas, drawn, paste)
    height, width = _floor_size(tiling.size, tiling.scale)
    return canvas[:, :height, :width]

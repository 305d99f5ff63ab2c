"""From a map of how likely a pixel is to hold a point to the points themselves, by error diffusion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def dither(field: Floats) -> NDArray[np.int32]:  # [H, W] -> [N, 2] (x, y)
    """Floyd and Steinberg's error diffusion, left to right in every row; the places of the ones in raster order.

    Pixels with one value of x + 2y do not depend on each other, so that each such slanted front is one step. Every
    pixel receives its neighbours' errors in the order in which a serial loop would add them.
    """
    height, width = field.shape
    value = field.astype(np.float32)
    is_one = np.zeros((height, width), bool)
    for front in range(width + 2 * (height - 1)):
        y = np.arange(max(0, (front - width + 2) // 2), min(height - 1, front // 2) + 1)
        x = front - 2 * y
        found = value[y, x]
        is_one[y, x] = found >= 0.5
        error = found - (found >= 0.5).astype(np.float32)
        is_first, is_last, has_below = x == 0, x == width - 1, y < height - 1
        if width == 1:  # there is nobody to the right
            _pass_on(value, y, x, 1, 0, error, np.full(len(y), 5 / 8, np.float32), has_below)
            continue
        parts = np.where(is_first | is_last, 0, 3 / 16), np.where(is_first, 5 / 13, 5 / 16), 1 / 16 + 0 * x
        left = np.where(is_last, 3 / 8, parts[0])
        below = np.where(is_last, 5 / 8, parts[1])
        diagonal = np.where(is_first, 1 / 13, parts[2])
        right = np.where(has_below, np.where(is_first, 7 / 13, 7 / 16), 1.0)
        _pass_on(value, y, x, 1, -1, error, left, has_below & ~is_first)
        _pass_on(value, y, x, 0, 1, error, right, ~is_last)
        _pass_on(value, y, x, 1, 0, error, below, has_below)
        _pass_on(value, y, x, 1, 1, error, diagonal, has_below & ~is_last)
    y, x = np.nonzero(is_one)
    return np.stack([x, y], 1).astype(np.int32)


def _pass_on(
    value: Floats,
    y: NDArray[np.intp],
    x: NDArray[np.intp],
    down: int,
    across: int,
    error: Floats,
    share: Floats,
    to: NDArray[np.bool_],
) -> None:
    value[y[to] + down, x[to] + across] += error[to] * share[to].astype(np.float32)


def sample_cells(field: Floats, cell_px: int) -> NDArray[np.float32]:  # [H, W] -> [N, 2] (x, y)
    """Points of a probability map, at most one per cell: the likeliest pixel speaks for its cell."""
    height, width = field.shape
    padded = np.pad(field, ((0, -height % cell_px), (0, -width % cell_px)), mode="edge")
    rows, columns = padded.shape[0] // cell_px, padded.shape[1] // cell_px
    cells = padded.reshape(rows, cell_px, columns, cell_px).max((1, 3))
    points = (dither(cells) * cell_px + cell_px / 2).astype(np.float32)
    return points[(points[:, 0] < width) & (points[:, 1] < height)]

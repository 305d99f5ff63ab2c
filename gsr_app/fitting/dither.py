"""Points from a map of their probability per pixel, by error diffusion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


# Shares of a pixel's error that go below left, right, below and below right.
_SHARES = {
    "within": (3 / 16, 7 / 16, 5 / 16, 1 / 16),
    "first": (0, 7 / 13, 5 / 13, 1 / 13),  # of a row
    "last": (3 / 8, 0, 5 / 8, 0),
    "alone": (0, 0, 5 / 8, 0),  # in a picture of one column
    "lowest": (0, 1, 0, 0),  # row
}


def dither(field: Floats) -> NDArray[np.int32]:  # [H, W] -> [N, 2] (x, y)
    """Floyd and Steinberg's error diffusion, left to right in every row; the positions of the ones in raster order.

    Pixels with the same x + 2y do not depend on each other, so each such diagonal front is one step. Every pixel
    receives its neighbours' errors in the order in which a serial loop would add them.
    """
    height, width = field.shape
    # Errors that leave the image go to a padding column on either side and a row below. With this padding a front's
    # pixels are `width` apart in memory: a front is a slice.
    row = width + 2
    value, is_one = np.zeros((height + 1, row), np.float32), np.zeros((height + 1, row), bool)
    value[:-1, 1:-1] = field
    values, ones = value.reshape(-1), is_one.reshape(-1)
    within, first, last, alone, lowest = (np.array(share, np.float32)[:, None] for share in _SHARES.values())
    for front in range(width + 2 * (height - 1)):
        top, bottom = max(0, (front - width + 2) // 2), min(height - 1, front // 2)
        start = top * row + front - 2 * top + 1
        end = start + (bottom - top) * width + 1
        found = values[start:end:width]
        above = found >= 0.5
        ones[start:end:width] = above
        error = found - above
        passed = within * error  # [4, a front's length]
        if front == 2 * bottom:
            passed[:, -1:] = first * error[-1:]
        if front - 2 * top == width - 1:
            passed[:, :1] = (last if width > 1 else alone) * error[:1]
        if bottom == height - 1:
            passed[:, -1:] = lowest * error[-1:]
        for share, ahead in zip(passed, (row - 1, 1, row, row + 1), strict=True):
            values[start + ahead : end + ahead : width] += share
    y, x = np.nonzero(is_one[:-1, 1:-1])
    return np.stack([x, y], 1).astype(np.int32)


def sample_cells(field: Floats, cell_px: int) -> NDArray[np.float32]:  # [H, W] -> [N, 2] (x, y)
    """Points of a probability map, at most one per cell: a cell has the probability of its likeliest pixel."""
    height, width = field.shape
    padded = np.pad(field, ((0, -height % cell_px), (0, -width % cell_px)), mode="edge")
    rows, columns = padded.shape[0] // cell_px, padded.shape[1] // cell_px
    cells = padded.reshape(rows, cell_px, columns, cell_px).max((1, 3))
    points = (dither(cells) * cell_px + cell_px / 2).astype(np.float32)
    return points[(points[:, 0] < width) & (points[:, 1] < height)]

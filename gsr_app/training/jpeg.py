"""The losses of JPEG for many patches at once, on any device: what libjpeg writes and reads again, without the file.

Products are in float64: float32 ones may be rounded to TF32 on a GPU, which would cost whole levels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gsr_app.training.sending import send

BLOCK_PX = 8
_UNIT_PX = 2 * BLOCK_PX  # two blocks of luma to one of halved chroma

# The tables of the standard (ITU-T T.81, K.1 and K.2), in rows: quality 50 of libjpeg.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMA_CORNER = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))  # 99 elsewhere
# BT.601 at full range.
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


def compress_all(
    pictures: Tensor,  # [n, 3, H, W] whole levels, 0..255
    quality: np.ndarray,  # [n] 1..100
    phase: np.ndarray,  # [n, 2] (rows, columns) that the grid of blocks begins before the picture
    *,
    is_halved: bool,  # chroma at half the resolution
) -> Tensor:
    """Through JPEG and back. Pixels before the picture are mirrored ones, as in `degrade.compress`."""
    height, width = pictures.shape[2:]
    unit = _UNIT_PX if is_halved else BLOCK_PX
    sides = [math.ceil((side + BLOCK_PX - 1) / unit) * unit for side in (height, width)]
    shift = send(phase, pictures.device)  # [n, 2]
    canvas = _place(pictures, shift, (sides[0], sides[1]))
    luma, chroma = _to_ycc(canvas).split((1, 2), 1)
    luma_table, chroma_table = _tables(quality, pictures.device)
    luma = _round_trip(luma, luma_table)
    if is_halved:
        ends = [(shift[:, axis, None] + side + 1) // 2 for axis, side in enumerate((height, width))]
        chroma = _double(_round_trip(_halve(chroma, ends[0]), chroma_table), ends)
    else:
        chroma = _round_trip(chroma, chroma_table)
    rgb = _mix(torch.cat([luma, chroma - 128], 1), _TO_RGB).round().clamp(0, 255)
    return _cut(rgb, shift, (height, width)).to(pictures.dtype)


def _place(pictures: Tensor, shift: Tensor, size: tuple[int, int]) -> Tensor:
    """On canvases of whole blocks: mirrored before the picture, its last pixels repeated behind it."""
    rows, columns = (
        (torch.arange(side, device=shift.device) - shift[:, axis, None]).abs().clamp(max=pictures.shape[2 + axis] - 1)
        for axis, side in enumerate(size)
    )
    return _pick(pictures, rows, columns)


def _cut(canvas: Tensor, shift: Tensor, size: tuple[int, int]) -> Tensor:
    rows, columns = (torch.arange(side, device=shift.device) + shift[:, axis, None] for axis, side in enumerate(size))
    return _pick(canvas, rows, columns)


def _pick(planes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:  # [n, c, H, W], [n, h], [n, w] -> [n, c, h, w]
    of = torch.arange(len(planes), device=planes.device)[:, None, None]
    return planes[of, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _to_ycc(rgb: Tensor) -> Tensor:
    ycc = _mix(rgb.double(), _TO_YCC)
    ycc[:, 1:] += 128 - 1e-5  # libjpeg rounds a half of chroma down
    return ycc.round()


def _mix(planes: Tensor, matrix: tuple[tuple[float, float, float], ...]) -> Tensor:  # [n, 3, H, W]
    return torch.stack([a * planes[:, 0] + b * planes[:, 1] + c * planes[:, 2] for a, b, c in matrix], 1)


def _tables(quality: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:  # [n, 1, 1, 8, 1, 8] each
    chroma = np.full((8, 8), 99)
    chroma[:4, :4] = _CHROMA_CORNER
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)[:, None, None, None]
    steps = np.clip((np.stack([np.array(_LUMA), chroma]) * percent + 50) // 100, 1, 255)  # [n, 2, 8, 8]
    sent = send(steps, device).double()[:, :, None, :, None, :]
    return sent[:, :1], sent[:, 1:]


def _round_trip(planes: Tensor, table: Tensor) -> Tensor:  # [n, c, H, W], 0..255
    """Transformed in blocks, rounded to multiples of the table's steps, and back; with the roundings in between that
    libjpeg makes in its integers, which decide where a coefficient lies between two steps."""
    cosines = _cosines(planes.device)
    found = _round(4 * _transform(planes - 128, cosines, -1))
    found = _round(_transform(found, cosines, -2) / 4)  # eight times the coefficients
    steps = found.unflatten(2, (-1, BLOCK_PX)).unflatten(4, (-1, BLOCK_PX)) / (8 * table)
    kept = (torch.sign(steps) * _round(steps.abs()) * table).flatten(4).flatten(2, 3)
    back = _round(4 * _transform(kept, cosines.T, -2))
    return (_round(_transform(back, cosines.T, -1) / 32) + 128).clamp(0, 255)


def _round(values: Tensor) -> Tensor:
    return (values + 0.5).floor()


def _transform(planes: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """The product with each eight values along an axis."""
    lines = planes.mT if axis == -2 else planes
    lines = (lines.unflatten(-1, (-1, BLOCK_PX)) @ matrix.T).flatten(-2)
    return lines.mT if axis == -2 else lines


@functools.cache
def _cosines(device: torch.device) -> Tensor:  # [8, 8] float64
    """The transform times the root of eight: its first row is of ones, so that means are exact and ties round right."""
    at = np.arange(BLOCK_PX)
    matrix = math.sqrt(2) * np.cos((2 * at + 1) * at[:, None] * math.pi / (2 * BLOCK_PX))
    matrix[0] = 1
    return torch.from_numpy(matrix).to(device)


def _halve(chroma: Tensor, rows: Tensor) -> Tensor:  # [n, 1]: rows of each picture then
    """The mean of 2x2 samples, rounded up and down by turns. Behind its end, libjpeg repeats the last row of means."""
    total = chroma.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).sum((3, 5))
    mean = ((total + 1 + torch.arange(total.shape[3], device=chroma.device) % 2) / 4).floor()
    index = torch.arange(mean.shape[2], device=chroma.device).minimum(rows - 1)
    return torch.take_along_dim(mean, index[:, None, :, None], 2)


def _double(chroma: Tensor, ends: Sequence[Tensor]) -> Tensor:
    """Three parts of the nearest sample and one of the next nearest, on both axes, rounded as libjpeg does. Behind its
    end the last one is repeated."""
    for axis, end in zip((2, 3), ends, strict=True):  # [n, 1]: samples of each picture
        at = torch.arange(2 * chroma.shape[axis], device=chroma.device)
        beside = (at // 2 + 2 * (at % 2) - 1).clamp(min=0).minimum(end - 1)  # [n, 2 * side]
        index = beside[:, None, :, None] if axis == 2 else beside[:, None, None, :]
        nearest = chroma.repeat_interleave(2, axis)
        chroma = 3 * nearest + torch.take_along_dim(chroma, index, axis)
    return ((chroma + 8 - torch.arange(chroma.shape[3], device=chroma.device) % 2) / 16).floor()

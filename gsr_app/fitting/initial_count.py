"""The number of Gaussians of a fit, from the content of its image."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

_FEWEST, _MOST = 64, 500_000
_FLAT_STD = 0.02  # a block of less deviation is one cell
_SMALLEST_PX = 4
_PER_CELL = 2  # a triangulation has two triangles per point


def count_from_content(image: Tensor) -> int:  # [3, H, W]
    """The number of triangles of a quad-tree that stops at flat blocks."""
    height, width = image.shape[1:]
    count, side = 0.0, _SMALLEST_PX
    mean, square = image[None], image[None].square()
    mean, square = _shrink(mean, side), _shrink(square, side)
    is_busy_below = None
    while True:
        is_busy = (square - mean.square()).clamp(min=0).amax(1, keepdim=True).sqrt() > _FLAT_STD
        if is_busy_below is None:
            count += float(is_busy.sum())  # the smallest cells
        # A flat block inside a busy block of the next level is a leaf.
        is_busy_below = is_busy
        if min(mean.shape[2:]) <= 1:
            break
        mean, square = _shrink(mean, 2), _shrink(square, 2)
        parent = (square - mean.square()).clamp(min=0).amax(1, keepdim=True).sqrt() > _FLAT_STD
        grown = F.interpolate(parent.float(), scale_factor=2)[..., : is_busy.shape[2], : is_busy.shape[3]]
        count += float(((grown > 0) & ~is_busy).sum())
    return int(min(max(_FEWEST, _PER_CELL * count), _MOST, max(1, height * width // 3)))


def _shrink(x: Tensor, by: int) -> Tensor:
    return F.avg_pool2d(x, by, ceil_mode=True, count_include_pad=False)

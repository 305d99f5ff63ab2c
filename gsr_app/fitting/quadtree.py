"""Positions of Gaussians from a quad-tree: small cells where the image is busy, large ones where it is flat."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from gsr_app.fitting.triangles import Triangles, triangulate

Floats = NDArray[np.floating]

_SMALLEST_PX = 4
_UNIFORM_STD, _UNIFORM_SLOPE = 0.0207916, 0.0001979  # a cell counts as uniform below std - slope * side
_LONGEST_RATIO = 10
_CIRCLE_RADIUS, _AXIS_SHARE = 0.4, 0.27

Cell = tuple[int, int, int, int]  # left, top, width, height


class _Sums:
    """The standard deviation within any rectangle, from prefix sums."""

    def __init__(self, image: NDArray[np.uint8]) -> None:  # [H, W, C]
        side = max(image.shape[:2])
        square = np.zeros((side + 1, side + 1, image.shape[2]))
        square[1 : image.shape[0] + 1, 1 : image.shape[1] + 1] = image / 255
        self.sums = square.cumsum(0).cumsum(1)
        self.squares = np.square(square).cumsum(0).cumsum(1)
        self.side = side

    def deviation(self, cell: Cell) -> float:
        left, top, width, height = cell
        right, bottom, area = left + width, top + height, width * height
        mean, square = (
            (s[bottom, right] - s[top, right] - s[bottom, left] + s[top, left]) / area
            for s in (self.sums, self.squares)
        )
        return float(np.sqrt(np.maximum(square - mean * mean, 0)).max())


def split(image: NDArray[np.uint8], *, tolerance: float = 1.0) -> NDArray[np.float64]:  # [H, W, 3] -> [P, 2]
    """Centres (x, y) of the cells; `tolerance` scales the deviation below which a cell is not split."""
    blurred = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1)))
    return split_blurred(blurred, tolerance=tolerance)


def split_blurred(image: NDArray[np.uint8], *, tolerance: float = 1.0) -> NDArray[np.float64]:
    sums = _Sums(image)

    def is_uniform(cell: Cell) -> bool:
        return sums.deviation(cell) < tolerance * (_UNIFORM_STD - _UNIFORM_SLOPE * max(cell[2:]))

    leaves: list[Cell] = []
    queue: deque[Cell] = deque([(0, 0, sums.side, sums.side)])
    while queue:
        cell = queue.popleft()
        left, top, width, height = cell
        if min(width, height) <= _SMALLEST_PX or is_uniform(cell):
            leaves.append(cell)
            continue
        w, h = width // 2, height // 2
        quarters: dict[str, Cell] = {
            "nw": (left, top, w, h), "ne": (left + w, top, width - w, h),
            "sw": (left, top + h, w, height - h), "se": (left + w, top + h, width - w, height - h),
        }  # fmt: skip
        halves: tuple[tuple[Cell, str, str], ...] = (
            ((left, top, w, height), "nw", "sw"), ((left + w, top, width - w, height), "ne", "se"),
            ((left, top, width, h), "nw", "ne"), ((left, top + h, width, height - h), "sw", "se"),
        )  # fmt: skip
        for half, one, other in halves:
            if one in quarters and other in quarters and is_uniform(half):
                leaves.append(half)
                del quarters[one], quarters[other]
        queue.extend(quarters.values())
    centres = np.array([(x + w / 2, y + h / 2) for x, y, w, h in leaves])
    inside = (centres[:, 0] < image.shape[1]) & (centres[:, 1] < image.shape[0])
    return centres[inside]


def place(points: Floats, size: tuple[int, int]) -> Floats:  # [P, 2] -> [N, 5]
    """Rows of x and y (-1..1), two axes in pixels, turn (0..1): an ellipse per triangle, a circle at wide vertices."""
    height, width = size
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
    return place_triangles(triangulate(np.concatenate([points, corners])), size)


def place_triangles(found: Triangles, size: tuple[int, int]) -> Floats:
    height, width = size
    inside = (found.centre >= 0).all(1) & (found.centre[:, 0] < width) & (found.centre[:, 1] < height)
    keep = inside & (found.axes[:, 1] <= _LONGEST_RATIO * found.axes[:, 0])
    area = np.where(keep, np.pi * found.axes.prod(1), 0)
    of_vertex = np.zeros(len(found.points))
    np.add.at(of_vertex, found.corners, area[:, None])
    mean = of_vertex.mean()
    is_wide = of_vertex > 2 * mean
    radius = _CIRCLE_RADIUS * np.sqrt(of_vertex[is_wide] / mean * area.mean() / np.pi)
    centre = np.concatenate([found.centre[keep], found.points[is_wide]])
    axes = np.concatenate([found.axes[keep], np.stack([radius, radius], 1)]) * _AXIS_SHARE
    angle = np.concatenate([found.angle_deg[keep], np.zeros(len(radius))])
    turn = np.maximum(angle, 0.001) / 360
    return np.concatenate([centre / (width, height) * 2 - 1, axes, turn[:, None]], 1)

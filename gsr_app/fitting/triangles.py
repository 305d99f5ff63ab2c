"""Delaunay triangulation of points, and the ellipse of each triangle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, KDTree, QhullError

from gsr_app.core.errors import InvalidArgument

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

_VERTEX_SHARE = 1.7  # an ellipse's semi-axes squared, over the variance of its triangle's vertices


@dataclass(frozen=True)
class Triangles:
    """A triangulation and its ellipses."""

    points: Floats  # [P, 2] (x, y), pixels
    corners: Ints  # [N, 3] indices of points
    neighbours: Ints  # [N, 3] triangle opposite each corner; a triangle's own index where there is none
    centre: Floats  # [N, 2] (x, y), pixels
    axes: Floats  # [N, 2] full axes, the short one first, pixels
    angle_deg: Floats  # [N] of the short axis, 0..180

    def __len__(self) -> int:
        return len(self.corners)


def triangulate(points: Floats) -> Triangles:
    """Delaunay's triangles of points, each with its ellipse."""
    if len(np.unique(points, axis=0)) < 3:
        raise InvalidArgument(f"A triangulation needs three different points, found {len(points)}.")
    try:
        mesh = Delaunay(points, incremental=True)
    except QhullError:  # all on one circle, as the corners of a frame are: joggled input has no such ties
        mesh = Delaunay(points, qhull_options="QJ Qbb Qc")
    ellipses = fit_ellipses(np.asarray(points, np.float64)[mesh.simplices])
    return Triangles(np.asarray(points), mesh.simplices, own_index_for_none(mesh.neighbors), *ellipses)


def own_index_for_none(neighbours: Ints) -> Ints:  # [N, 3]
    return np.where(neighbours < 0, np.arange(len(neighbours))[:, None], neighbours)


def add_border(points: Floats, size: tuple[int, int]) -> NDArray[np.float32]:  # [P, 2] -> [P', 2]
    """The points and more along the frame's border, three times as far apart; sorted and without repeats."""
    height, width = size
    nearest = KDTree(points).query(points, k=2)[0][:, 1] if len(points) > 1 else np.array([max(size)])
    step = 3 * max(float(nearest.mean()), 1e-3)
    x = np.linspace(0, width - 1, max(1, math.ceil(width / step)))
    y = np.linspace(0, height - 1, max(1, math.ceil(height / step)))
    border = [
        np.stack([x, np.zeros_like(x)], 1), np.stack([x, np.full_like(x, height - 1)], 1),
        np.stack([np.zeros_like(y), y], 1), np.stack([np.full_like(y, width - 1), y], 1),
    ]  # fmt: skip
    return np.unique(np.concatenate([points, *border]).astype(np.float32), axis=0)


def fit_ellipses(triangles: Floats) -> tuple[Floats, Floats, Floats]:  # [N, 3, 2]
    """Centre [N, 2], full axes [N, 2] (short, long) and the short one's angle [N] in degrees, 0..180.

    The least-squares ellipse of the corners and the middles of the edges, in closed form: its centre is the centroid,
    its semi-axes squared are the eigenvalues of 1.7 times the covariance of the corners.
    """
    corners = triangles.astype(np.float64)
    centre = corners.mean(1)
    offset = corners - centre[:, None]
    xx, xy, yy = (offset[..., i] * offset[..., j] for i, j in ((0, 0), (0, 1), (1, 1)))
    xx, xy, yy = (_VERTEX_SHARE * one.mean(1) for one in (xx, xy, yy))
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    axes = 2 * np.sqrt(np.maximum(np.stack([middle - half, middle + half], 1), 0))
    long_angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    return centre, axes, np.mod(np.rad2deg(long_angle) + 90, 180)

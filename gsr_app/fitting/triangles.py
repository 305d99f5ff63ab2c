"""From points to triangles, and from each triangle to the ellipse that stands for it."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, KDTree, QhullError

from gsr_app.core.errors import GsrError, InvalidArgument

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

_VERTEX_SHARE = 1.7  # an ellipse's semi-axes squared, over the variance of its triangle's vertices
_THINNEST_PX = 1.0  # the filter of the GPU variant: no axis shorter than this


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


def triangulate(points: Floats, *, on_gpu: bool = False) -> Triangles:
    """Delaunay's triangles of points, each with its ellipse.

    on_gpu: CuPy's triangulation, and its rule for what to keep: no ellipse with an axis below a pixel or beyond the
    mean plus one deviation of all axes. Needs the package cupy.
    """
    if len(np.unique(points, axis=0)) < 3:
        raise InvalidArgument(f"A triangulation needs three different points, found {len(points)}.")
    if on_gpu:
        corners = _corners_by_cupy(points)
        neighbours = find_neighbours(corners)
    else:
        mesh = _mesh(points)
        corners, neighbours = mesh.simplices, own_index_for_none(mesh.neighbors)
    centre, axes, angle = fit_ellipses(np.asarray(points, np.float64)[corners])
    if on_gpu:
        keep = (axes.min(1) >= _THINNEST_PX) & (axes.max(1) <= axes.mean() + axes.std())
        corners, centre, axes, angle = corners[keep], centre[keep], axes[keep], angle[keep]
        neighbours = find_neighbours(corners)
    return Triangles(np.asarray(points), corners, neighbours, centre, axes, angle)


def _mesh(points: Floats) -> Delaunay:
    try:
        return Delaunay(points, incremental=True)
    except QhullError:  # all on one circle, as the corners of a frame are: shaken a little, they are not
        return Delaunay(points, qhull_options="QJ Qbb Qc")


def _corners_by_cupy(points: Floats) -> Ints:
    try:
        cupy: Any = importlib.import_module("cupy")
        spatial: Any = importlib.import_module("cupyx.scipy.spatial")
    except ImportError as error:
        raise GsrError(
            "The triangulation on the GPU needs the package cupy.",
            hint="Install cupy-cuda12x (or 13x), or leave the GPU variant out: the CPU's needs nothing.",
        ) from error
    return np.asarray(cupy.asnumpy(spatial.Delaunay(cupy.asarray(points, cupy.float64)).simplices), np.int32)


def own_index_for_none(neighbours: Ints) -> Ints:  # [N, 3]
    return np.where(neighbours < 0, np.arange(len(neighbours))[:, None], neighbours)


def find_neighbours(corners: Ints) -> Ints:  # [N, 3]
    """The triangle across each edge (k, k + 1), or the triangle itself."""
    count = len(corners)
    edges = np.stack([corners, np.roll(corners, -1, axis=1)], -1)
    edges = np.sort(edges.reshape(-1, 2), axis=1)
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    is_shared = (edges[order][1:] == edges[order][:-1]).all(1)
    first, second = order[:-1][is_shared], order[1:][is_shared]
    found = np.repeat(np.arange(count), 3)
    found[first], found[second] = second // 3, first // 3
    return found.reshape(count, 3)


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

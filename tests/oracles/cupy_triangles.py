"""The triangulation that Instant-GI's network was trained with: CuPy's, with its filter of ellipses.

It drops each ellipse with an axis below a pixel or beyond the mean plus one deviation of all axes.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from gsr_app.core.errors import GsrError
from gsr_app.fitting.triangles import Floats, Ints, Triangles, fit_ellipses

_THINNEST_PX = 1.0


def triangulate(points: Floats) -> Triangles:
    corners = _corners_by_cupy(points)
    centre, axes, angle = fit_ellipses(np.asarray(points, np.float64)[corners])
    keep = (axes.min(1) >= _THINNEST_PX) & (axes.max(1) <= axes.mean() + axes.std())
    neighbours = find_neighbours(corners[keep])
    return Triangles(np.asarray(points), corners[keep], neighbours, centre[keep], axes[keep], angle[keep])


def _corners_by_cupy(points: Floats) -> Ints:
    try:
        cupy: Any = importlib.import_module("cupy")
        spatial: Any = importlib.import_module("cupyx.scipy.spatial")
    except ImportError as error:
        raise GsrError(
            "The triangulation on the GPU needs the package cupy.",
            hint="Install cupy-cuda12x (or 13x).",
        ) from error
    return np.asarray(cupy.asnumpy(spatial.Delaunay(cupy.asarray(points, cupy.float64)).simplices), np.int32)


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

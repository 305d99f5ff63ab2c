"""The triangulation, and the oracle of its GPU variant with numpy and scipy in the place of CuPy."""

from __future__ import annotations

import sys
import types
from collections import Counter

import numpy as np
import pytest
from scipy.spatial import Delaunay

from gsr_app.core.errors import GsrError, InvalidArgument
from gsr_app.fitting import triangles
from gsr_app.fitting.triangles import triangulate
from tests.oracles import cupy_triangles

POINTS = np.random.default_rng(5).uniform(0, 64, (400, 2)).astype(np.float32)


class OnDevice(np.ndarray):
    """An array that only `asnumpy` brings back, as CuPy's is."""


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Modules named like CuPy's that do the same by numpy and scipy; what was asked of them, in order."""
    asked: list[str] = []

    def asarray(values: np.ndarray, kind: type) -> OnDevice:
        asked.append("asarray")
        return np.asarray(values, kind).view(OnDevice)

    def asnumpy(values: OnDevice) -> np.ndarray:
        assert isinstance(values, OnDevice)
        asked.append("asnumpy")
        return np.array(values)

    def delaunay(points: OnDevice) -> types.SimpleNamespace:
        assert isinstance(points, OnDevice)
        assert points.dtype == np.float64
        asked.append("Delaunay")
        # The GPU's triangles come in an order of their own and initial_gaussians at any corner.
        found = np.random.default_rng(1).permutation(Delaunay(np.array(points)).simplices)
        return types.SimpleNamespace(simplices=np.roll(found, 1, axis=1).view(OnDevice))

    cupy = types.ModuleType("cupy")
    cupy.float64, cupy.asarray, cupy.asnumpy = np.float64, asarray, asnumpy  # type: ignore[attr-defined]
    spatial = types.ModuleType("cupyx.scipy.spatial")
    spatial.Delaunay = delaunay  # type: ignore[attr-defined]
    for module in (cupy, types.ModuleType("cupyx"), types.ModuleType("cupyx.scipy"), spatial):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return asked


def as_sets(corners: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(map(int, one)) for one in corners}


def test_the_gpu_variant_keeps_the_same_triangles_but_for_those_its_filter_drops(cupy: list[str]) -> None:
    all_of_them, kept = triangulate(POINTS), cupy_triangles.triangulate(POINTS)
    assert cupy == ["asarray", "Delaunay", "asnumpy"]
    most = all_of_them.axes.mean() + all_of_them.axes.std()
    good = (all_of_them.axes >= 1).all(1) & (all_of_them.axes <= most).all(1)
    assert 0 < good.sum() < len(good)
    assert (all_of_them.axes.min(1) < 1).any()  # both halves of the rule have something to do
    assert (all_of_them.axes.max(1) > most).any()
    assert as_sets(kept.corners) == as_sets(all_of_them.corners[good])
    order, other = (np.lexsort(found.centre.T) for found in (kept, all_of_them))
    other = other[good[other]]
    np.testing.assert_allclose(kept.centre[order], all_of_them.centre[other])
    np.testing.assert_allclose(kept.axes[order], all_of_them.axes[other])
    assert len(kept) == len(kept.axes) == len(kept.angle_deg) == len(kept.neighbours)


def test_dropped_triangles_are_not_listed_as_neighbours(cupy: list[str]) -> None:
    kept = cupy_triangles.triangulate(POINTS)
    corners = [set(map(int, one)) for one in kept.corners]
    for k, row in enumerate(kept.neighbours):
        others = [int(n) for n in row if n != k]
        assert all(0 <= n < len(kept) and len(corners[k] & corners[n]) == 2 for n in others)
    # Every edge that two kept triangles share joins them, in both directions.
    edges = Counter(frozenset(edge) for one in kept.corners for edge in zip(one, np.roll(one, -1), strict=True))
    joined = int((kept.neighbours != np.arange(len(kept))[:, None]).sum())
    assert joined == 2 * sum(count == 2 for count in edges.values())


def test_neighbours_are_scipys_up_to_their_order() -> None:
    mesh = Delaunay(POINTS)
    found = cupy_triangles.find_neighbours(mesh.simplices)
    own = triangles.own_index_for_none(mesh.neighbors)
    np.testing.assert_array_equal(np.sort(found, 1), np.sort(own, 1))


def test_without_cupy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(GsrError, match="cupy") as caught:
        cupy_triangles.triangulate(POINTS)
    assert "cupy" in (caught.value.hint or "")


def test_two_points_are_no_triangle() -> None:
    with pytest.raises(InvalidArgument, match="three"):
        triangulate(np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]))

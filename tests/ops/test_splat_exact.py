"""Whatever backend this machine runs (`GSR_BACKEND` forces one): equal to the float64 oracle, and free of seams."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.ops import backend, reference, render, splat
from tests.ops.gaussians import Scene, activate_gsasr, draw_by_the_book, lattice, load_golden, scatter

is_native = backend.load("cpu").backend == "cpu"
RASTERS = [
    ("a", "0.1", 4.0, 5e-5), ("a", "0.05", 4.0, 5e-5), ("a", "1", 4.0, 5e-5), ("c12", "0.1", 2.5, 5e-5),
    ("c16", "0.1", 2.5, 5e-5), ("d", "0.1", 4.0, 2e-4), ("d", "1", 4.0, 2e-4), ("d2", "0.1", 4.0, 2e-2),
]  # fmt: skip


def largest_error(found: Tensor, expected: Tensor) -> float:
    return (found.double() - expected).abs().max().item()


def gradients(scene: Scene, size: tuple[int, int], weight: Tensor, **options: object) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in scene]
    (splat(*leaves, size, **options) * weight).sum().backward()  # type: ignore[arg-type]
    return [x.grad for x in leaves if x.grad is not None]


@pytest.mark.parametrize(("eps", "limit"), [(1e-4, 2e-3), (1e-9, 2e-5)])
def test_the_lattice_equals_the_oracle(eps: float, limit: float) -> None:
    scene, size = lattice()
    corner, piece = (301, 423), (90, 110)
    # The oracle draws a piece of the frame, from the Gaussians that can reach it.
    where = scene[0] - torch.tensor(corner)
    near = ((where > -25) & (where < torch.tensor(piece[::-1]) + 25)).all(1)
    exact = splat(*(x[near].double() for x in scene), piece, eps=1e-12, origin_px=corner)
    assert exact.max() > 7
    drawn = splat(*scene, size, eps=eps) if is_native else splat(*scene, piece, eps=eps, origin_px=corner)
    if is_native:
        drawn = drawn[:, corner[1] : corner[1] + piece[0], corner[0] : corner[0] + piece[1]]
    assert largest_error(drawn, exact) < limit


def test_the_lattices_gradients_equal_the_oracles() -> None:
    scene, size = lattice(24)
    weight = torch.randn(3, *size, generator=torch.Generator().manual_seed(1))
    found = gradients(scene, size, weight)
    expected = gradients(tuple(x.double() for x in scene), size, weight.double())
    for mine, oracle in zip(found, expected, strict=True):
        # A Gaussian at the very edge of the cut may gain or lose a pixel by rounding: the scale is the largest entry.
        assert largest_error(mine, oracle) < 1e-3 * oracle.abs().max()
        assert torch.linalg.norm(mine - oracle) < 1e-4 * torch.linalg.norm(oracle)


@pytest.mark.shared
@pytest.mark.parametrize(("name", "dmax", "scale", "limit"), RASTERS)
def test_float32_matches_the_published_rasteriser(
    shared: Path, name: str, dmax: str, scale: float, limit: float
) -> None:
    golden = load_golden(shared, name)
    expected = golden[f"out_dmax{dmax}"]
    size = (expected.shape[1], expected.shape[2])
    scene, window = activate_gsasr(golden["raw"], size, scale, float(dmax))
    assert largest_error(splat(*scene, size, window_px=window, eps=0), expected) < limit


@pytest.mark.shared
@pytest.mark.parametrize(("name", "dmax", "scale"), [("a", "0.1", 4.0), ("a", "1", 4.0), ("c12", "0.1", 2.5)])
def test_float32_gradients_match_the_published_rasteriser(shared: Path, name: str, dmax: str, scale: float) -> None:
    golden = load_golden(shared, name)
    weight, expected = golden[f"W_dmax{dmax}"], golden[f"grad_dmax{dmax}"]
    size = (weight.shape[1], weight.shape[2])
    raw = golden["raw"].clone().requires_grad_()
    scene, window = activate_gsasr(raw, size, scale, float(dmax))
    (splat(*scene, size, window_px=window, eps=0) * weight).sum().backward()
    assert raw.grad is not None
    error = (raw.grad - expected).abs().amax(0) / expected.square().mean(0).sqrt()
    assert error.max() < 2e-3


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 60),
    height=st.integers(1, 90),
    width=st.integers(1, 40),
    channels=st.integers(1, 8),
    seed=st.integers(0, 10_000),
    normalize=st.booleans(),
    window=st.sampled_from([None, (2.5, 1.0), (0.0, 3.0), (30.0, 70.0)]),
)
def test_any_small_scene_and_its_gradients_match_the_oracle(
    count: int,
    height: int,
    width: int,
    channels: int,
    seed: int,
    normalize: bool,
    window: tuple[float, float] | None,
) -> None:
    size = (height, width)
    scene = scatter(count, size, channels=channels, seed=seed)
    exact = tuple(x.double() for x in scene)
    # Without a cut: at a cut's edge float32 and float64 may differ by a whole pixel, which says nothing about either.
    options = {"eps": 0.0, "window_px": window, "normalize": False}
    assert largest_error(splat(*scene, size, **options), splat(*exact, size, **options)) < 2e-5  # type: ignore[arg-type]
    if normalize:
        options = {"eps": 1e-9, "window_px": window, "normalize": True}
        found, expected = splat(*scene, size, **options), splat(*exact, size, **options)  # type: ignore[arg-type]
        weights = splat(*exact[:3], torch.ones(count, 1, dtype=torch.float64), size, eps=1e-9, window_px=window)
        assert largest_error(found * (weights > 1e-6), expected * (weights > 1e-6)) < 1e-4
        return
    weight = torch.rand(channels, *size, generator=torch.Generator().manual_seed(seed))
    expected = gradients(exact, size, weight.double(), **options)
    for mine, oracle in zip(gradients(scene, size, weight, **options), expected, strict=True):
        assert mine.shape == oracle.shape
        if count:
            assert largest_error(mine, oracle) < 1e-4 * oracle.abs().max() + 1e-5


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.tuples(st.integers(-300, 300), st.integers(-300, 300)))
def test_shifting_then_drawing_is_drawing_then_shifting(seed: int, shift: tuple[int, int]) -> None:
    size = (40, 50)
    mean, sigma, rho, color = scatter(80, size, seed=seed)
    moved = mean + torch.tensor(shift)
    drawn = splat(mean, sigma, rho, color, size, eps=1e-9)
    again = splat(moved, sigma, rho, color, size, eps=1e-9, origin_px=shift)
    assert largest_error(drawn, again.double()) < 2e-4  # a mean of 300 px is known to 1.5e-5 px


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_gaussians_hardly_matters(seed: int) -> None:
    size = (40, 50)
    scene = scatter(200, size, seed=seed)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(seed))
    assert largest_error(splat(*scene, size), splat(*(x[order] for x in scene), size).double()) < 1e-5


@pytest.mark.skipif(not is_native, reason="the CPU kernels promise bits, the reference does not")
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.lists(st.integers(1, 149), max_size=3, unique=True),
    columns=st.lists(st.integers(1, 99), max_size=3, unique=True),
    origin=st.tuples(st.integers(-200, 200), st.integers(-200, 200)),
    normalize=st.booleans(),
)
def test_pieces_put_together_equal_the_whole_bit_for_bit(
    seed: int, rows: list[int], columns: list[int], origin: tuple[int, int], normalize: bool
) -> None:
    height, width = 150, 100
    mean, sigma, rho, color = scatter(300, (height, width), seed=seed)
    scene = (mean + torch.tensor(origin), sigma * 3, rho, color)
    whole = splat(*scene, (height, width), origin_px=origin, normalize=normalize)
    ys, xs = [0, *sorted(rows), height], [0, *sorted(columns), width]
    for top, bottom in itertools.pairwise(ys):
        for left, right in itertools.pairwise(xs):
            corner = (origin[0] + left, origin[1] + top)
            piece = splat(*scene, (bottom - top, right - left), origin_px=corner, normalize=normalize)
            assert torch.equal(piece, whole[:, top:bottom, left:right])


@pytest.mark.skipif(not is_native, reason="the CPU kernels promise bits, the reference does not")
def test_a_subset_that_covers_a_piece_draws_the_same_bits() -> None:
    scene, size = lattice(24)
    whole = splat(*scene, size)
    near = (scene[0][:, 0] < 64) & (scene[0][:, 1] < 64)
    assert torch.equal(splat(*(x[near] for x in scene), (40, 40)), whole[:, :40, :40])


@pytest.mark.skipif(not is_native, reason="the CPU kernels promise bits, the reference does not")
def test_a_drawing_large_enough_for_bands_has_the_bits_of_its_pieces() -> None:
    scene, (height, width) = lattice(140)  # 313,600 Gaussians; a piece has too few for bands
    whole = splat(*scene, (height, width))
    for top in (0, 63, 300):
        near = (scene[0][:, 1] > top - 40) & (scene[0][:, 1] < top + 140)
        assert torch.equal(
            splat(*(x[near] for x in scene), (100, width), origin_px=(0, top)), whole[:, top : top + 100]
        )
    order = torch.randperm(len(scene[0]), generator=torch.Generator().manual_seed(0))  # no order, no bands
    assert (splat(*(x[order] for x in scene), (height, width)) - whole).abs().max() < 1e-5


@pytest.mark.skipif(not is_native, reason="the CPU kernels promise bits, the reference does not")
@pytest.mark.parametrize("scale", [Scale(4, 4), Scale(3.7, 2.3), Scale(1.5, 0.7)])
def test_crops_of_a_view_join_without_a_seam(scale: Scale) -> None:
    mean, sigma, rho, color = scatter(400, (40, 30))
    field = GaussianField(mean + 0.5, sigma, rho, color, (40, 30), window=(6.0, 5.0))
    view = View.whole(field.source_size, scale)
    whole = render(field, view)
    height, width = view.size
    for top, left in [(0, 0), (0, width // 3), (height // 2, width // 3), (height - 5, 1)]:
        piece = view.crop(top, left, min(17, height - top), min(13, width - left))
        assert torch.equal(render(field, piece), whole[:, top : top + 17, left : left + 13])


@pytest.mark.skipif(not is_native, reason="the CPU kernels promise bits, the reference does not")
def test_threads_and_runs_do_not_change_a_bit() -> None:
    scene, size = lattice(32)
    weight = torch.rand(3, *size)
    before = torch.get_num_threads()
    try:
        drawn, pulled = [], []
        for threads in (1, 2, 3, 7, 2):
            torch.set_num_threads(threads)
            drawn.append(splat(*scene, size))
            pulled.append(torch.cat([x.flatten() for x in gradients(scene, size, weight)]))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(x, drawn[0]) for x in drawn)
    assert all(torch.equal(x, pulled[0]) for x in pulled)


@pytest.mark.parametrize("sigma", [1e-6, 1e-3, 0.05, 1.0, 50.0, 1e3, 1e6])
@pytest.mark.parametrize("rho", [-1.0, -0.999, 0.0, 0.9, 1.0])
def test_any_sigma_and_any_correlation_draw_what_the_oracle_draws(sigma: float, rho: float) -> None:
    size = (70, 33)
    mean = torch.tensor([[16.0, 35.0], [3.25, 60.5], [-1e6, 10.0], [20.0, 1e7]])
    sigmas = torch.tensor([[sigma, sigma], [sigma, 2.0], [3.0, sigma], [sigma, sigma]])
    scene = (mean, sigmas, torch.full((4,), rho), torch.rand(4, 3))
    exact = tuple(x.double() for x in scene)
    for eps in (0.0, 1e-9):
        # Lines as thin as 1e-3 sigma amplify the rounding of a position a thousand times.
        limit = 5e-3 if abs(rho) > 0.99 else 1e-5
        assert largest_error(splat(*scene, size, eps=eps), splat(*exact, size, eps=eps)) < limit
    for grad in gradients(scene, size, torch.rand(3, *size)):
        assert torch.isfinite(grad).all()


@pytest.mark.parametrize("far", [1e3, 1e6, 1e20, 3e38])
def test_gaussians_far_outside_draw_nothing(far: float) -> None:
    mean = torch.tensor([[far, 5.0], [5.0, -far], [-far, far]])
    drawn = splat(mean, torch.ones(3, 2), torch.zeros(3), torch.ones(3, 1), (20, 20))
    assert not drawn.any()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (64, 16), (65, 17)])
def test_thin_frames_are_frames(size: tuple[int, int]) -> None:
    scene = scatter(100, size)
    assert largest_error(splat(*scene, size, eps=1e-9), draw_by_the_book(scene, size, eps=1e-12)) < 2e-5


def test_three_million_small_gaussians_add_up() -> None:
    count = 3_000_000
    random = torch.Generator().manual_seed(0)
    mean = torch.rand(count, 2, generator=random) * 400 + 50
    sigma = torch.full((count, 2), 0.6)
    drawn = splat(mean, sigma, torch.zeros(count), torch.ones(count, 1), (500, 500), eps=1e-6)
    assert drawn.double().sum().item() == pytest.approx(count * 2 * math.pi * 0.36, rel=2e-3)


@pytest.mark.skipif(not is_native, reason="about the CPU kernels")
def test_large_gaussians_are_drawn_in_batches_without_a_difference() -> None:
    # 600 Gaussians, each in all of the 30,000 tiles: more pairs than one batch may hold.
    size = (1, 480_000)
    mean, _, rho, color = scatter(600, size, channels=1)
    scene = (mean * torch.tensor([1.0, 0.0]), torch.tensor([[1e6, 0.5]]).expand(600, 2), rho, color)
    piece = splat(*scene, (1, 50), origin_px=(300_007, 0))
    assert torch.equal(splat(*scene, size)[:, :, 300_007:300_057], piece)


def test_float64_is_the_references() -> None:
    scene = tuple(x.double() for x in scatter(20, (9, 9)))
    assert torch.equal(splat(*scene, (9, 9)), reference.splat(*scene, frame=reference.Frame(9, 9, eps=1e-4)))

"""Large Gaussians, which the CPU kernels draw on coarser grids, against every value at every pixel in float64."""

from __future__ import annotations

import math
import time

import pytest
import torch
from torch import Tensor

from gsr_app.ops import backend, splat
from tests.ops.gaussians import Scene, draw_by_the_book

pytestmark = pytest.mark.skipif(backend.load("cpu").backend != "cpu", reason="about the CPU kernels")


def blobs(count: int, size: tuple[int, int], sigma: tuple[float, float], *, seed: int = 0) -> Scene:
    """Gaussians between two sizes, in and around a frame, of colours of both signs."""
    random = torch.Generator().manual_seed(seed)
    extent = torch.tensor([size[1], size[0]])
    low, high = (math.log(x) for x in sigma)
    return (
        torch.rand(count, 2, generator=random) * extent * 1.6 - extent * 0.3,
        torch.exp(torch.rand(count, 2, generator=random) * (high - low) + low),
        torch.rand(count, generator=random) * 1.8 - 0.9,
        torch.randn(count, 3, generator=random),
    )


def gradients(scene: Scene, weight: Tensor, *, eps: float) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in scene]
    drawn = splat(*leaves, tuple(weight.shape[1:]), eps=eps)  # type: ignore[arg-type]
    return list(torch.autograd.grad((drawn * weight.to(drawn.dtype)).sum(), leaves))


@pytest.mark.parametrize("sigma", [(1.0, 400.0), (16.0, 40.0), (16.0, 1e6)])
@pytest.mark.parametrize("size", [(97, 131), (1, 300), (64, 5)])
def test_without_a_cut_every_pixel_and_gradient_equals_the_formula(
    sigma: tuple[float, float], size: tuple[int, int]
) -> None:
    scene = blobs(40, size, sigma)
    weight = torch.rand(3, *size, generator=torch.Generator().manual_seed(1)) - 0.5
    drawn, exact = splat(*scene, size, eps=0), draw_by_the_book(scene, size)
    # What float32 adds up, and 3e-7 of each Gaussian by interpolation.
    assert float((drawn - exact).abs().max()) < 1e-6 * float(scene[3].abs().sum())
    leaves: Scene = tuple(x.double().requires_grad_() for x in scene)  # type: ignore[assignment]
    expected = torch.autograd.grad((draw_by_the_book(leaves, size) * weight).sum(), leaves)
    for found, right in zip(gradients(scene, weight, eps=0), expected, strict=True):
        assert float((found - right).abs().max()) < 2e-5 * float(right.abs().max())


def test_less_than_eps_is_drawn_beyond_the_support() -> None:
    size, eps = (150, 150), 1e-3
    for seed in range(20):
        scene = blobs(1, size, (16.0, 60.0), seed=seed)
        drawn, exact = splat(*scene, size, eps=eps), draw_by_the_book(scene, size, eps=eps)
        assert float((drawn - exact).abs().max()) < 1.01 * eps * float(scene[3].abs().max())


def test_a_normalised_drawing_stays_between_its_colours() -> None:
    size = (160, 90)
    mean, sigma, rho, _ = blobs(12, size, (16.0, 24.0))
    color = torch.rand(12, 3)
    drawn = splat(mean, sigma, rho, color, size, normalize=True, eps=1e-3)
    exact = splat(mean.double(), sigma.double(), rho.double(), color.double(), size, normalize=True, eps=1e-3)
    assert float(drawn.max()) <= float(color.max()) + 0.05
    assert float(drawn.min()) >= -0.05
    reached = sum(draw_by_the_book((mean, sigma, rho, torch.ones(12, 1)), size, eps=1e-3))
    # Sum and weight are each off by eps at most; their quotient by twenty times as much where the weight is 0.05.
    assert float((drawn - exact)[:, reached > 0.05].abs().max()) < 2 * 1e-3 / 0.05


@pytest.mark.parametrize("eps", [0.0, 1e-4])
def test_pieces_threads_and_subsets_have_the_same_bits(eps: float) -> None:
    size = (211, 300)
    scene = blobs(60, size, (4.0, 900.0))
    whole = splat(*scene, size, eps=eps)
    for left, top, width, height in ((0, 0, 300, 64), (37, 21, 100, 151), (299, 210, 1, 1), (8, 3, 7, 200)):
        piece = splat(*scene, (height, width), eps=eps, origin_px=(left, top))
        assert torch.equal(piece, whole[:, top : top + height, left : left + width])
    weight = torch.rand(3, *size)
    found = gradients(scene, weight, eps=eps)
    for threads in (1, 3):
        torch.set_num_threads(threads)
        assert torch.equal(splat(*scene, size, eps=eps), whole)
        for one, other in zip(gradients(scene, weight, eps=eps), found, strict=True):
            assert torch.equal(one, other)
    # Gaussians that are far away, of any size, change no bit.
    far = tuple(torch.cat([x, y]) for x, y in zip(scene, blobs(30, size, (4.0, 90.0), seed=5), strict=True))
    far[0][60:] += 1e5
    assert torch.equal(splat(*far, size, eps=1e-4), splat(*scene, size, eps=1e-4))  # type: ignore[arg-type]


def test_a_window_cuts_a_large_gaussian_as_sharply_as_a_small_one() -> None:
    size = (60, 80)
    scene = blobs(5, size, (30.0, 50.0))
    drawn = splat(*scene, size, window_px=(20.5, 11.0), eps=0)
    exact = draw_by_the_book(scene, size, window_px=(20.5, 11.0))
    assert float((drawn - exact).abs().max()) < 1e-5


def test_a_large_gaussian_costs_about_as_much_as_one_of_16_px() -> None:
    size = (1000, 1000)

    def cost(sigma: float) -> float:
        scene = blobs(2000, size, (sigma, sigma * 1.001))
        times = []
        for _ in range(3):
            start = time.process_time()
            splat(*scene, size)
            times.append(time.process_time() - start)
        return min(times)

    # Evaluated at every pixel, 100 px would cost 13 and 1000 px 60 times as much as 16 px.
    small = cost(15.9)
    assert max(cost(sigma) for sigma in (16, 31, 100, 1000, 1e6)) < 4 * small

"""The plain torch splat against the textbook formula and against GSASR's own rasteriser."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gsr_app.ops import splat
from tests.ops.gaussians import activate_gsasr, draw_by_the_book, load_golden, scatter

RASTERS = [
    ("a", "0.1", 4.0), ("a", "0.05", 4.0), ("a", "1", 4.0), ("c12", "0.1", 2.5), ("c16", "0.1", 2.5),
    ("d", "0.1", 4.0), ("d", "1", 4.0), ("d2", "0.1", 4.0),
]  # fmt: skip


@pytest.mark.shared
@pytest.mark.parametrize(("name", "dmax", "scale"), RASTERS)
def test_float64_matches_the_published_rasteriser(shared: Path, name: str, dmax: str, scale: float) -> None:
    golden = load_golden(shared, name)
    expected = golden[f"out_dmax{dmax}"]
    size = (expected.shape[1], expected.shape[2])
    scene, window = activate_gsasr(golden["raw"].double(), size, scale, float(dmax))
    drawn = splat(*scene, size, window_px=window, eps=0)
    assert (drawn - expected).abs().max() < 1e-10


@pytest.mark.shared
@pytest.mark.parametrize(("name", "dmax", "scale"), [("a", "0.1", 4.0), ("a", "1", 4.0), ("c12", "0.1", 2.5)])
def test_float64_gradients_match_the_published_rasteriser(shared: Path, name: str, dmax: str, scale: float) -> None:
    golden = load_golden(shared, name)
    weight, expected = golden[f"W_dmax{dmax}"].double(), golden[f"grad_dmax{dmax}"]
    size = (weight.shape[1], weight.shape[2])
    raw = golden["raw"].double().requires_grad_()
    scene, window = activate_gsasr(raw, size, scale, float(dmax))
    (splat(*scene, size, window_px=window, eps=0) * weight).sum().backward()
    assert raw.grad is not None
    torch.testing.assert_close(raw.grad, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("eps", [0.0, 1e-9, 1e-4, 0.3])
@pytest.mark.parametrize("window", [None, (3.25, 1.5)])
@pytest.mark.parametrize("normalize", [False, True])
def test_float64_matches_the_book(eps: float, window: tuple[float, float] | None, normalize: bool) -> None:
    size = (23, 31)
    scene = tuple(x.double() for x in scatter(60, size))
    drawn = splat(*scene, size, eps=eps, window_px=window, normalize=normalize)
    expected = draw_by_the_book(scene, size, eps=eps, window_px=window or (math.inf, math.inf), normalize=normalize)
    torch.testing.assert_close(drawn, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("normalize", [False, True])
def test_gradcheck_on_eight_gaussians(normalize: bool) -> None:
    size = (7, 9)
    scene = [x.double().requires_grad_() for x in scatter(8, size, margin=0)]
    assert torch.autograd.gradcheck(
        lambda *s: splat(*s, size, eps=0, normalize=normalize), scene, eps=1e-6, atol=1e-6, rtol=1e-5
    )


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(0, 40),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.integers(1, 8),
    seed=st.integers(0, 10_000),
)
def test_any_small_scene_and_its_gradients_match_the_book(
    count: int, height: int, width: int, channels: int, seed: int
) -> None:
    size = (height, width)
    scene = [x.double() for x in scatter(count, size, channels=channels, seed=seed)]
    ours = [x.clone().requires_grad_() for x in scene]
    books = [x.clone().requires_grad_() for x in scene]
    weight = torch.rand(channels, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    drawn, expected = splat(*ours, size, eps=1e-12), draw_by_the_book(tuple(books), size, eps=1e-12)
    torch.testing.assert_close(drawn, expected, rtol=1e-8, atol=1e-10)
    (drawn * weight).sum().backward()
    (expected * weight).sum().backward()
    for mine, book in zip(ours, books, strict=True):
        torch.testing.assert_close(mine.grad, book.grad, rtol=1e-6, atol=1e-8)

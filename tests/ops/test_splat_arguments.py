"""What `splat` and `render` accept, and what they say otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.ops import render, splat
from tests.ops.gaussians import draw_by_the_book, scatter

SIZE = (12, 17)
NAMES = ("mean_px", "sigma_px", "rho", "color")


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_named(position: int, bad: float) -> None:
    scene = list(scatter(5, SIZE))
    scene[position] = scene[position].clone()
    scene[position].view(-1)[3] = bad
    with pytest.raises(InvalidArgument, match=f"{NAMES[position]} must be finite, found {bad}"):
        splat(*scene, SIZE)


@pytest.mark.parametrize("position", range(4))
def test_a_wrong_shape_is_named(position: int) -> None:
    scene = list(scatter(5, SIZE))
    scene[position] = scene[position][:4] if position else scene[position][:, :1]
    with pytest.raises(InvalidArgument, match=rf"{NAMES[position]} must have shape \[5"):
        splat(*scene, SIZE)


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("dtype", [torch.float16, torch.int64])
def test_a_wrong_dtype_is_named(position: int, dtype: torch.dtype) -> None:
    scene = list(scatter(5, SIZE))
    scene[position] = scene[position].to(dtype)
    with pytest.raises(InvalidArgument, match=f"{NAMES[position]} must be float32") as caught:
        splat(*scene, SIZE)
    assert ".float()" in caught.value.hint


def test_mixed_dtypes_are_named() -> None:
    mean, sigma, rho, color = scatter(5, SIZE)
    with pytest.raises(InvalidArgument, match="rho must be float32 as mean_px is, found float64"):
        splat(mean, sigma, rho.double(), color, SIZE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (0, 4)}, "size must be two whole numbers"),
        ({"size": (4.5, 4)}, "size must be two whole numbers"),
        ({"eps": 1.0}, "eps must be in 0..1"),
        ({"eps": math.nan}, "eps must be in 0..1"),
        ({"window_px": (-1, 2)}, "window_px must be two half-sizes"),
        ({"window_px": (math.nan, 2)}, "window_px must be two half-sizes"),
        ({"origin_px": (0.5, 0)}, "origin_px must be two whole numbers"),
    ],
)
def test_a_wrong_option_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        splat(*scatter(5, SIZE), **{"size": SIZE, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "found"), [(0.0, "0"), (-2.0, "-2")])
def test_a_sigma_that_is_not_positive_is_named(value: float, found: str) -> None:
    mean, sigma, rho, color = scatter(5, SIZE)
    sigma[2, 1] = value
    with pytest.raises(InvalidArgument, match=f"sigma_px must be greater than 0, found {found}"):
        splat(mean, sigma, rho, color, SIZE)


def test_a_correlation_beyond_one_is_named() -> None:
    mean, sigma, rho, color = scatter(5, SIZE)
    rho[2] = -1.25
    with pytest.raises(InvalidArgument, match=r"rho must be within -1..1, found -1.25"):
        splat(mean, sigma, rho, color, SIZE)


def test_nine_channels_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="C from 1 to 8"):
        splat(*scatter(5, SIZE, channels=9), SIZE)


def test_strides_do_not_matter() -> None:
    scene = scatter(40, SIZE)
    strided = [torch.stack([x, x], -1)[..., 0] for x in scene]
    assert not any(x.is_contiguous() for x in strided)
    assert torch.equal(splat(*strided, SIZE), splat(*scene, SIZE))


def test_a_batch_is_its_items() -> None:
    scenes = [scatter(20, SIZE, seed=seed) for seed in (1, 2)]
    batch = [torch.stack(parts) for parts in zip(*scenes, strict=True)]
    assert torch.equal(splat(*batch, SIZE), torch.stack([splat(*scene, SIZE) for scene in scenes]))


def test_no_gaussian_draws_nothing_and_has_gradients() -> None:
    scene = [x.requires_grad_() for x in scatter(0, SIZE)]
    drawn = splat(*scene, SIZE)
    drawn.sum().backward()
    assert drawn.shape == (3, *SIZE)
    assert not drawn.any()
    assert scene[0].grad is not None
    assert scene[0].grad.shape == (0, 2)


def test_normalised_colour_is_zero_where_no_gaussian_reaches() -> None:
    mean, sigma = torch.tensor([[2.0, 2.0]]), torch.tensor([[0.5, 0.5]])
    color = torch.tensor([[0.25, 0.5]]).requires_grad_()
    drawn = splat(mean, sigma, torch.zeros(1), color, (5, 50), normalize=True)
    assert torch.equal(drawn[:, 2, 2], color[0])
    assert not drawn[:, :, 20:].any()
    drawn.sum().backward()
    assert color.grad is not None
    assert torch.isfinite(color.grad).all()


def test_opcheck_passes_on_both_operators() -> None:
    mean, sigma, rho, color = scatter(30, SIZE)
    frame = (*SIZE, 0, 0, math.inf, math.inf, 1e-4)
    scene = tuple(x.requires_grad_() for x in (mean, sigma, rho, color))
    torch.library.opcheck(torch.ops.gsr.splat.default, (*scene, *frame))
    double = tuple(x.detach().double().requires_grad_() for x in scene)
    torch.library.opcheck(torch.ops.gsr.splat_reference.default, (*double, *frame))
    flat = tuple(x.detach() for x in scene)
    torch.library.opcheck(torch.ops.gsr.splat_backward.default, (torch.rand(3, *SIZE), *flat, *frame))


def field_of(count: int, source: tuple[int, int], **options: object) -> GaussianField:
    mean, sigma, rho, color = scatter(count, source)
    return GaussianField(mean + 0.5, sigma, rho, color, source, **options)  # type: ignore[arg-type]


def test_render_draws_the_field_of_the_book() -> None:
    field = field_of(60, (10, 14), window=(3.0, 2.0), normalize=True)
    view = View.whole(field.source_size, Scale(2.5, 3.0))
    scale = torch.tensor([3.0, 2.5])
    scene = (field.mean * scale - 0.5, field.sigma * scale, field.rho, field.color)
    expected = draw_by_the_book(scene, view.size, window_px=(9.0, 5.0), eps=1e-9, normalize=True)
    drawn = render(field, view, eps=1e-9)
    assert drawn.shape == (3, 25, 42)
    torch.testing.assert_close(drawn.double(), expected, rtol=0, atol=1e-5)


def test_render_accepts_numpy_fields() -> None:
    field = field_of(20, (6, 6))
    arrays = [np.asarray(x) for x in (field.mean, field.sigma, field.rho, field.color)]
    view = View.whole((6, 6), Scale(3, 3))
    assert torch.equal(render(GaussianField(*arrays, (6, 6)), view), render(field, view))


def test_render_of_a_fractional_viewport_is_a_shifted_drawing() -> None:
    field = field_of(60, (10, 14))
    view = View(origin=(2.3, 1.7), span=(4.0, 5.0), size=(16, 20))
    scene = ((field.mean - torch.tensor(view.origin)) * 4 - 0.5, field.sigma * 4, field.rho, field.color)
    torch.testing.assert_close(
        render(field, view, eps=1e-9).double(), draw_by_the_book(scene, view.size, eps=1e-9), rtol=0, atol=3e-5
    )


def test_render_passes_gradients_to_the_field() -> None:
    field = field_of(20, (6, 6))
    field.mean.requires_grad_()
    render(field, View.whole((6, 6), Scale(2, 2))).sum().backward()
    assert field.mean.grad is not None
    assert field.mean.grad.abs().sum() > 0

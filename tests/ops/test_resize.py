"""Resizing against MATLAB's own output, a float64 oracle written as the formula reads, and closed forms."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gsr_app.core.errors import InvalidArgument, UnknownName
from gsr_app.core.types import Scale, View
from gsr_app.ops import backend
from gsr_app.ops.resize import Resampling, resize, resize_view

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "resize" / "matlab_bicubic.npz"
KERNELS = ("bicubic", "nearest", "bilinear", "lanczos3")


def oracle_axis(line: np.ndarray, scale: float, count: int, kernel: str) -> np.ndarray:
    """One output pixel at a time, every source pixel of a mirrored picture asked for its weight."""
    n = len(line)
    shrink = min(scale, 1.0)

    def profile(t: float) -> float:
        t = abs(t)
        if kernel == "bilinear":
            return max(0.0, 1 - t)
        if kernel == "lanczos3":
            return float(np.sinc(t) * np.sinc(t / 3)) if t < 3 else 0.0
        if t <= 1:
            return 1.5 * t**3 - 2.5 * t**2 + 1
        return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0

    out = []
    for i in range(count):
        centre = (i + 0.5) / scale
        if kernel == "nearest":
            k = math.floor(centre) % (2 * n)
            out.append(line[min(k, 2 * n - 1 - k)])
            continue
        reach = int(4 / shrink) + 2
        total = weights = 0.0
        for k in range(math.floor(centre) - reach, math.floor(centre) + reach + 1):
            weight = profile((centre - (k + 0.5)) * shrink)
            mirrored = k % (2 * n)
            total += weight * line[min(mirrored, 2 * n - 1 - mirrored)]
            weights += weight
        out.append(total / weights)
    return np.stack(out)


def oracle(x: np.ndarray, scale: tuple[float, float], size: tuple[int, int], kernel: str) -> np.ndarray:
    rows = oracle_axis(np.moveaxis(x, 2, 0), scale[0], size[0], kernel)
    columns = oracle_axis(np.moveaxis(np.moveaxis(rows, 0, 2), 3, 0), scale[1], size[1], kernel)
    return np.moveaxis(columns, 0, 3)


def random_image(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("name", "abcdefgh")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bicubic_equals_matlab_imresize_borders_and_size_included(name: str, dtype: torch.dtype) -> None:
    with np.load(GOLDEN) as golden:
        x = torch.from_numpy(golden[f"{name}/in"]).to(dtype).permute(2, 0, 1)[None]
        expected = golden[f"{name}/out"]
        out = resize(x, scale=float(golden[f"{name}/scale"]))[0].permute(1, 2, 0).numpy()
    assert out.shape == expected.shape
    assert out.dtype == (np.float32 if dtype == torch.float32 else np.float64)
    np.testing.assert_allclose(out, expected, atol=5e-6, rtol=0)


@pytest.mark.shared
@pytest.mark.parametrize("key", ["1/2", "1/3", "1/4", "2", "3", "4"])
def test_bicubic_equals_the_metric_goldens(key: str, shared: Path) -> None:
    scale = float(Fraction(key))
    with np.load(shared / "golden" / "others" / "metrics" / "metrics.npz") as golden:
        x, expected = torch.from_numpy(golden["imresize_in"])[None], golden[f"scale_{scale:.4f}"]
    np.testing.assert_allclose(resize(x, scale=scale)[0].numpy(), expected, atol=5e-6, rtol=0)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    y=st.floats(0.1, 5.0),
    x=st.floats(0.1, 5.0),
    kernel=st.sampled_from(KERNELS),
    seed=st.integers(0, 99),
)
def test_every_kernel_equals_the_oracle_at_any_factor(
    *, height: int, width: int, y: float, x: float, kernel: str, seed: int
) -> None:
    image = random_image(1, 2, height, width, seed=seed)
    size = math.ceil(y * height), math.ceil(x * width)
    out = resize(image, scale=Scale(y, x), kernel=kernel)  # type: ignore[arg-type]
    assert out.shape == (1, 2, *size)
    np.testing.assert_allclose(out.numpy(), oracle(image.numpy(), (y, x), size, kernel), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scale", [1 / 64, 0.37, 1.0, 2.0, 3.7, 64.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 37), (41, 1), (23, 30)])
def test_a_flat_picture_stays_flat_at_extreme_factors_and_one_pixel_sides(
    kernel: str, scale: float, shape: tuple[int, int]
) -> None:
    out = resize(torch.full((2, 3, *shape), 0.6), scale=scale, kernel=kernel)  # type: ignore[arg-type]
    assert out.shape == (2, 3, math.ceil(scale * shape[0]), math.ceil(scale * shape[1]))
    assert (out - 0.6).abs().max() < 1e-6


@pytest.mark.parametrize("kernel", KERNELS)
def test_scale_one_changes_no_bit(kernel: str) -> None:
    x = random_image(2, 3, 17, 29, dtype=torch.float32)
    assert torch.equal(resize(x, scale=1.0, kernel=kernel), x)  # type: ignore[arg-type]


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
def test_a_ramp_is_continued_exactly_in_the_interior(kernel: str) -> None:
    ramp = torch.arange(64, dtype=torch.float64).expand(1, 1, 5, 64)
    for scale in (0.5, 2.3):
        out = resize(ramp, scale=scale, kernel=kernel)[0, 0, 0]  # type: ignore[arg-type]
        expected = (torch.arange(len(out), dtype=torch.float64) + 0.5) / scale - 0.5
        inside = (expected > 8) & (expected < 55)
        assert (out - expected)[inside].abs().max() < 1e-10


def test_size_alone_scales_by_size_over_input() -> None:
    x = random_image(1, 3, 20, 31)
    size = (47, 13)
    expected = oracle(x.numpy(), (47 / 20, 13 / 31), size, "bicubic")
    np.testing.assert_allclose(resize(x, size=size).numpy(), expected, atol=1e-12)


def test_size_beside_scale_cuts_or_continues_the_grid_of_scale() -> None:
    x = random_image(1, 3, 20, 31)
    whole = resize(x, scale=2.3)
    assert whole.shape[-2:] == (46, 72)
    assert torch.equal(resize(x, scale=2.3, size=(40, 70)), whole[..., :40, :70])
    longer = resize(x, scale=2.3, size=(50, 80))
    assert torch.equal(longer[..., :46, :72], whole)
    np.testing.assert_allclose(longer.numpy(), oracle(x.numpy(), (2.3, 2.3), (50, 80), "bicubic"), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("scale", "shape"),
    [(2.0, (33, 57)), (3.7, (30, 41)), (0.31, (150, 90)), (1 / 17, (300, 45)), (Scale(0.4, 3.1), (70, 23))],
)
def test_strips_put_together_equal_the_whole_bit_for_bit(
    dtype: torch.dtype, kernel: str, scale: float | Scale, shape: tuple[int, int]
) -> None:
    x = random_image(1, 3, *shape, dtype=dtype)
    plan = Resampling.plan(shape, scale=scale, kernel=kernel)  # type: ignore[arg-type]
    strips = []
    for rows in (1, 7):
        for start in range(0, plan.size[0], rows):
            stop = min(start + rows, plan.size[0])
            first, last = plan.source_rows(start, stop)
            strips.append(plan.rows(x[:, :, first:last].clone(), first=first, start=start, stop=stop))
        assert torch.equal(torch.cat(strips, 2), resize(x, scale=scale, kernel=kernel))  # type: ignore[arg-type]
        strips.clear()


def test_a_strip_needs_only_the_rows_near_it() -> None:
    plan = Resampling.plan((20000, 20000), scale=2.0)
    assert plan.source_rows(20000, 20128) == (9998, 10066)
    assert plan.source_rows(0, 64) == (0, 34)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_view_of_the_whole_frame_is_the_resize_and_its_crops_agree(kernel: str) -> None:
    x = random_image(1, 3, 24, 36)
    scale = Scale(2.5, 1.75)
    whole = resize(x, scale=scale, kernel=kernel)  # type: ignore[arg-type]
    view = View.whole((24, 36), scale)
    assert torch.equal(resize_view(x, view, kernel=kernel), whole)  # type: ignore[arg-type]
    tile = view.crop(13, 7, 20, 31)
    np.testing.assert_allclose(
        resize_view(x, tile, kernel=kernel).numpy(),  # type: ignore[arg-type]
        whole[..., 13:33, 7:38].numpy(),
        atol=1e-12,
    )


def test_gradients_are_those_of_the_linear_map() -> None:
    x = random_image(1, 2, 6, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: resize(t, scale=Scale(1.7, 0.6)), x)


def test_non_contiguous_input_is_read_right() -> None:
    x = random_image(1, 9, 14, 3).permute(0, 3, 1, 2)
    assert torch.equal(resize(x, scale=1.9), resize(x.contiguous(), scale=1.9))


@pytest.mark.parametrize("kernel", KERNELS)
def test_float32_of_any_width_and_memory_layout_equals_the_formula(kernel: str) -> None:
    """The native kernel takes as many rows and columns at a time as a vector has lanes: 4, 8 or 16."""
    whole = random_image(2, 2, 40, 40, dtype=torch.float32)
    for height, width in [(1, 1), (1, 40), (7, 8), (9, 15), (16, 17), (33, 31)]:
        for scale in (Scale(1.7, 0.6), Scale(0.3, 2.0)):
            x = whole[:, :, 3 : 3 + height, :width]
            found = resize(x, scale=scale, kernel=kernel)  # type: ignore[arg-type]
            size = (found.shape[2], found.shape[3])
            right = oracle(x.double().numpy(), (scale.y, scale.x), size, kernel)
            np.testing.assert_allclose(found.numpy(), right, atol=2e-6)
            for same in (x.contiguous(), x.mT.contiguous().mT):
                assert torch.equal(resize(same, scale=scale, kernel=kernel), found)  # type: ignore[arg-type]


def test_threads_do_not_change_a_bit_and_a_gradient_changes_the_sum_by_rounding_alone() -> None:
    x = random_image(1, 3, 300, 200, dtype=torch.float32)
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(resize(x, scale=1.3))
    assert all(torch.equal(result, results[0]) for result in results)
    assert float((resize(x.requires_grad_(), scale=1.3).detach() - results[0]).abs().max()) < 1e-6


@pytest.mark.skipif(backend.load("cpu").backend != "cpu", reason="about the CPU kernels")
def test_the_kernel_reads_nothing_outside_of_its_source() -> None:
    planes, weight = torch.rand(1, 4, 5), torch.ones(2, 1)
    inside = torch.tensor([[0], [3]])
    assert torch.equal(torch.ops.gsr.resample(planes, inside, weight, inside, weight)[0], planes[0][[0, 3]][:, [0, 3]])
    for wrong in (torch.tensor([[0], [4]]), torch.tensor([[-1], [0]])):
        with pytest.raises(RuntimeError, match="a tap lies outside the source"):
            torch.ops.gsr.resample(planes, wrong, weight, inside, weight)


def test_wrong_arguments_are_named_in_the_error() -> None:
    x = random_image(1, 3, 8, 8)
    with pytest.raises(UnknownName, match=r"'bicubik'.*Did you mean 'bicubic'"):
        resize(x, scale=2.0, kernel="bicubik")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"\[B, C, H, W\]"):
        resize(x[0], scale=2.0)
    with pytest.raises(InvalidArgument, match="a scale, a size, or both"):
        resize(x)
    with pytest.raises(InvalidArgument, match="positive and finite"):
        resize(x, scale=float("nan"))
    with pytest.raises(InvalidArgument, match="floating point"):
        resize((x * 255).to(torch.uint8), scale=2.0)
    with pytest.raises(InvalidArgument, match="at least one pixel"):
        resize(x, size=(0, 4))
    with pytest.raises(InvalidArgument, match="need source rows 0 to 4"):
        Resampling.plan((8, 8), scale=2.0).rows(x[:, :, 4:], first=4, start=0, stop=4)

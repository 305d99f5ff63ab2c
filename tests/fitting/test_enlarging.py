"""What lies between the pixels that a fit has seen: no holes, and nothing that repeats from pixel to pixel."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gsr_app.core.types import GaussianField, View
from gsr_app.fitting.fitter import Fitter
from gsr_app.fitting.options import FitOptions
from gsr_app.ops import render

SIDE_PX = 96
SPOTS = [(0.0, 0.0), (17.0, 40.0), (80.0, 80.0)]  # corners of views of 16 x 16 pixels: borders, edges, a texture
MOST_HOLE = 0.4  # of the light around it that a place may lack
MOST_PHASE = 1 / 255  # a pattern of that height is invisible
MOST_PEAK = 100.0  # times the power beside it; of 100,000 waves of a noise the strongest has about 17


def photograph_like() -> Tensor:  # [3, S, S]
    """Slopes, edges at several angles, fine texture and noise; nowhere near black, so that a hole would show."""
    y, x = torch.meshgrid(torch.linspace(0, 1, SIDE_PX), torch.linspace(0, 1, SIDE_PX), indexing="ij")
    disc = ((x - 0.4).square() + (y - 0.4).square() < 0.08).float()
    edge = (1.7 * x - y > 0.55).float()
    texture = 0.12 * (61 * x + 23 * y).sin() * (47 * y - 11 * x).cos() * (y > 0.6)
    noise = 0.03 * torch.randn(SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(3))
    gray = 0.35 + 0.25 * x + 0.2 * disc - 0.15 * edge + texture + noise
    return torch.stack([gray, 0.9 * gray + 0.05 * y, 0.3 + 0.5 * gray]).clamp(0.1, 1)


@pytest.fixture(scope="module")
def fitted() -> GaussianField:
    fitter = Fitter(photograph_like(), FitOptions(gaussians=1200, steps=400))
    last = list(fitter.run(report_seconds=1000))[-1]
    assert last.psnr > 30
    return fitter.field


def dots() -> GaussianField:
    """What must not pass: a small dot on every pixel, right at every pixel's centre and dark between them."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] + 0.5
    count = SIDE_PX * SIDE_PX
    color = photograph_like().permute(1, 2, 0).reshape(count, 3).contiguous().numpy()
    mean = np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)
    return GaussianField(mean, np.full((count, 2), 0.3, np.float32), np.zeros(count, np.float32), color, (SIDE_PX,) * 2)


def ripples(field: GaussianField, height: float) -> GaussianField:
    """A field and on it a faint lattice of dots, all alike, one for every pixel."""
    lattice = dots()
    parts = (
        torch.cat([torch.as_tensor(getattr(one, name)) for one in (field, lattice)])
        for name in ("mean", "sigma", "rho")
    )
    color = torch.cat([torch.as_tensor(field.color), torch.full((len(lattice), 3), height)])
    return GaussianField(*(part.numpy() for part in parts), color.numpy(), field.source_size)


def views() -> list[View]:
    whole = View((0.0, 0.0), (SIDE_PX, SIDE_PX), (4 * SIDE_PX, 4 * SIDE_PX))
    return [whole, *(View(spot, (16.0, 16.0), (1024, 1024)) for spot in SPOTS)]


def pixels_per_source(view: View) -> int:
    return round(view.size[0] / view.span[0])


def find_hole(field: GaussianField, view: View) -> float:
    """How much of the light around it a place lacks, at most: 0 where all is covered alike, 1 for a hole.

    Around it is within half a source pixel: a wider hole would lie on a pixel, and the fit itself would see it. Light
    is the sum of what all Gaussians add, whatever its sign: nothing that cancels hides a hole, nor makes one.
    """
    light = torch.as_tensor(field.color).abs().sum(1, keepdim=True)
    drawn = render(dataclasses.replace(field, color=light.numpy()), view)[None]
    side = pixels_per_source(view) // 2 * 2 + 1
    around = drawn
    for window in ((side, 1), (1, side)):
        pad = (window[0] // 2, window[1] // 2)
        around = F.avg_pool2d(around, window, 1, pad, count_include_pad=False)
    return float((1 - drawn / around).max())


def fold(field: GaussianField, view: View) -> float:
    """The height of what repeats with every source pixel: the mean of each place within a pixel, over all pixels."""
    drawn, step = render(field, view), pixels_per_source(view)
    height, width = (side // step for side in drawn.shape[1:])
    found = drawn.reshape(3, height, step, width, step).mean((1, 3))
    # Where the picture gets brighter to one side, so does the mean: that plane is no pattern.
    ramp = (torch.arange(step) + 0.5) / step - 0.5
    for along in (ramp.view(1, step, 1), ramp.view(1, 1, step)):
        found = found - along * (found * along).mean((1, 2), keepdim=True) / ramp.square().mean()
    return float(found.amax((1, 2)).sub(found.amin((1, 2))).max())


def find_peak(field: GaussianField, view: View) -> float:
    """Of waves shorter than four thirds of a source pixel, the strongest one's power over that of those beside it."""
    drawn = render(field, view).mean(0)
    height, width = drawn.shape
    window = torch.hann_window(height)[:, None] * torch.hann_window(width)
    power = torch.fft.fft2((drawn - drawn.mean()) * window).abs().square()
    side = 9
    beside = F.pad(power[None, None], [side // 2] * 4, mode="circular")[0, 0]
    beside = beside.unfold(0, side, 1).unfold(1, side, 1).reshape(height, width, -1).median(-1).values
    y, x = (torch.fft.fftfreq(n, span / n) for n, span in zip(drawn.shape, view.span[::-1], strict=True))
    is_short = torch.maximum(y.abs()[:, None], x.abs()) > 0.75
    return float((power / beside)[is_short].max())


def test_a_fitted_field_has_no_holes_at_4x_nor_at_64x(fitted: GaussianField) -> None:
    assert max(find_hole(fitted, view) for view in views()) < MOST_HOLE
    assert all(find_hole(dots(), view) > 1.4 * MOST_HOLE for view in views())


def test_a_fitted_field_repeats_nothing_from_pixel_to_pixel(fitted: GaussianField) -> None:
    assert max(fold(fitted, view) for view in views()) < MOST_PHASE
    assert find_peak(fitted, views()[0]) < MOST_PEAK


def test_a_faint_lattice_would_be_found(fitted: GaussianField) -> None:
    faint = ripples(fitted, 0.02)
    assert min(fold(faint, view) for view in views()) > 2 * MOST_PHASE
    assert find_peak(faint, views()[0]) > 100 * MOST_PEAK
    assert fold(dots(), views()[0]) > 50 * MOST_PHASE

"""Gaussians to draw, and the textbook formula to compare with: dense, float64, nothing shared with the code."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Scene = tuple[Tensor, Tensor, Tensor, Tensor]  # mean_px, sigma_px, rho, color


def scatter(count: int, size: tuple[int, int], *, channels: int = 3, seed: int = 0, margin: float = 3.0) -> Scene:
    """Random Gaussians over a frame and a little beyond it."""
    random = torch.Generator().manual_seed(seed)
    extent = torch.tensor([size[1] - 1 + 2 * margin, size[0] - 1 + 2 * margin])
    return (
        torch.rand(count, 2, generator=random) * extent - margin,
        torch.exp(torch.randn(count, 2, generator=random) * 0.7),
        torch.tanh(torch.randn(count, generator=random) * 0.8),
        torch.rand(count, channels, generator=random),
    )


def lattice(
    source: int = 180, scale: float = 4.0, *, channels: int = 3, seed: int = 0
) -> tuple[Scene, tuple[int, int]]:
    """The benchmark's Gaussians: 16 per source pixel, as a network would place them."""
    random = torch.Generator().manual_seed(seed)
    side = 4 * source
    along = (torch.arange(side) + 0.5) * scale / 4 - 0.5
    y, x = torch.meshgrid(along, along, indexing="ij")
    count = side * side
    mean = torch.stack([x, y], -1).view(-1, 2) + 0.3 * torch.randn(count, 2, generator=random)
    sigma = torch.sigmoid(math.log(0.4 / 0.6) + 0.7 * torch.randn(count, 2, generator=random)) * scale / 1.2
    rho = torch.tanh(0.5 * torch.randn(count, generator=random))
    color = torch.rand(count, channels, generator=random)
    pixels = round(source * scale)
    return (mean, sigma, rho, color), (pixels, pixels)


def draw_by_the_book(
    scene: Scene,
    size: tuple[int, int],
    *,
    window_px: tuple[float, float] = (math.inf, math.inf),
    eps: float = 0.0,
    normalize: bool = False,
) -> Tensor:
    """Every Gaussian at every pixel, in float64 and differentiable."""
    mean, sigma, rho, color = (x.double() for x in scene)
    dx = torch.arange(size[1]) - mean[:, 0, None, None]
    dy = torch.arange(size[0])[:, None] - mean[:, 1, None, None]
    sx, sy, r = sigma[:, 0, None, None], sigma[:, 1, None, None], rho[:, None, None]
    q = (dx**2 / sx**2 - 2 * r * dx * dy / (sx * sy) + dy**2 / sy**2) / (1 - r**2)
    value = torch.exp(-q / 2)
    inside = (dx.abs() <= window_px[0]) & (dy.abs() <= window_px[1]) & (value >= eps)
    value = torch.where(inside, value, 0)
    total = torch.einsum("nc,nhw->chw", color, value)
    if normalize:
        weight = value.sum(0)
        total = torch.where(weight > 0, total / torch.where(weight > 0, weight, 1), 0)
    return total


def activate_gsasr(raw: Tensor, size: tuple[int, int], scale: float, dmax: float) -> tuple[Scene, tuple[float, float]]:
    """GSASR's nine raw numbers as a scene in output pixels, and its hard window."""
    height, width = size
    vertical, horizontal = (0.99999 * torch.sigmoid(raw[:, i]) + 1e-6 for i in (0, 1))
    sigma = torch.stack([horizontal, vertical], 1) * scale / 1.2
    mean = raw[:, 7:9] * torch.tensor([width, height], dtype=raw.dtype) - 0.5
    color = torch.sigmoid(raw[:, 4:7]) * torch.sigmoid(raw[:, 3:4])
    rho = 0.999999 * torch.tanh(raw[:, 2])
    return (mean, sigma, rho, color), (dmax * (width - 1) / 2, dmax * (height - 1) / 2)


def load_golden(folder: Path, name: str) -> dict[str, Tensor]:
    with np.load(folder / "golden" / "gsasr" / f"raster_{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays}

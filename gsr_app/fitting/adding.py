"""New Gaussians for a fit that has begun."""

from __future__ import annotations

import torch
from torch import Tensor

from gsr_app.fitting.covariance import Parameters

_WIDTH = 0.27  # of the distance between Gaussians


def make_gaussians(
    image: Tensor,  # [3, H, W]
    drawn: Tensor,  # [3, H, W]
    count: int,
    spacing_px: float,
    random: torch.Generator,  # of the CPU
) -> Parameters:
    """Small round Gaussians, placed at random in proportion to the error, in the colour of the residual there."""
    missing = image - drawn
    error = missing.square().sum(0)
    near = torch.nn.functional.avg_pool2d(error[None], 3, 1, 1, count_include_pad=False)[0]
    at = _sample_pixels((near + 1e-12).flatten(), count, random)
    mean = torch.stack([at % image.shape[2], at // image.shape[2]], 1).float()
    sigma = torch.full((count, 2), max(0.5, _WIDTH * spacing_px), device=image.device)
    rho = torch.zeros(count, device=image.device)
    return Parameters.from_gaussians(mean, sigma, rho, missing.flatten(1)[:, at].T)


def _sample_pixels(weight: Tensor, count: int, random: torch.Generator) -> Tensor:
    sums = weight.double().cumsum(0)
    draws = torch.rand(count, generator=random, dtype=torch.float64).to(weight.device) * sums[-1]
    return torch.searchsorted(sums, draws).clamp(max=len(weight) - 1)

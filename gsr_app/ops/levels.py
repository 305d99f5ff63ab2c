"""Which grid the CPU kernels draw a Gaussian on, for estimates of cost: the rule of `ext/csrc/cpu/levels.cpp`."""

from __future__ import annotations

import torch
from torch import Tensor

from gsr_app.ops import backend
from gsr_app.ops.reference import MIN_ONE_MINUS_RHO2

DEEPER = 64  # times smaller are the last values of a large Gaussian's support
MARGIN = 6  # points of a coarser grid beside those within the frame, for interpolation

_LARGE_PX = 16.0  # from this width on, along the narrower axis, a Gaussian is drawn on a coarser grid
_WIDTH_BITS = 3  # where it is at least 2^3 points wide
_MAX_LEVEL = 22


def spacing_px(
    sigma_px: Tensor,  # [N, 2] (x, y)
    rho: Tensor,  # [N]
    *,
    reach: float,  # of the support, in sigmas
    window_px: tuple[float, float],  # (x, y) half-sizes; infinite for none
) -> Tensor:  # [N]
    """Pixels between the points at which each Gaussian is evaluated: a power of two for a large one, else 1."""
    if backend.load(sigma_px.device.type).backend != "cpu":
        return torch.ones_like(rho)
    m = ((1 - rho) * (1 + rho)).clamp(min=MIN_ONE_MINUS_RHO2)
    narrow = sigma_px.amin(1) * m.sqrt()
    support = reach * sigma_px * torch.stack([(rho.square() + m).sqrt(), torch.ones_like(rho)], 1)
    is_whole = (support <= support.new_tensor(window_px)).all(1)
    level = (torch.frexp(narrow).exponent - 1 - _WIDTH_BITS).clamp(0, _MAX_LEVEL)
    return torch.where((narrow >= _LARGE_PX) & is_whole, torch.exp2(level.to(rho.dtype)), 1)

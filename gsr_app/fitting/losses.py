"""The losses of a fit. Each returns its value, not read back from the device, and its gradient by the drawing."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gsr_app.core.errors import UnknownName

_SSIM_TAPS, _SSIM_SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_SSIM_SHARE = 0.3


def ssim_map(one: Tensor, other: Tensor) -> Tensor:  # [B, C, H, W] -> the same; zeros beyond the border
    offset = torch.arange(_SSIM_TAPS, dtype=one.dtype, device=one.device) - _SSIM_TAPS // 2
    kernel = torch.exp(-offset.square() / (2 * _SSIM_SIGMA**2))
    kernel = kernel / kernel.sum()
    channels, pad = one.shape[1], _SSIM_TAPS // 2

    def blur(x: Tensor) -> Tensor:
        column = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
        row = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
        return F.conv2d(F.conv2d(x, column, padding=(pad, 0), groups=channels), row, padding=(0, pad), groups=channels)

    a, b = blur(one), blur(other)
    aa, bb, ab = blur(one * one) - a * a, blur(other * other) - b * b, blur(one * other) - a * b
    return ((2 * a * b + _C1) * (2 * ab + _C2)) / ((a * a + b * b + _C1) * (aa + bb + _C2))


def _l2(drawn: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    difference = drawn - image
    return difference.square().mean(), difference


def _l2_clamped(drawn: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """The published loss: values out of range are clamped, and the gradient is that of the mean square."""
    difference = drawn.clamp(0, 1) - image
    is_seen = (drawn >= 0) & (drawn <= 1)
    return difference.square().mean(), difference * is_seen * (2 / image.numel())


def _l1(drawn: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    # Smooth below half a level: a sign that flips at every step would cost the last decibel.
    difference = drawn - image
    return difference.abs().mean(), difference / (difference.abs() + 0.5 / 255)


def _ssim(drawn: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        seen = drawn.detach().requires_grad_(True)
        loss = (1 - _SSIM_SHARE) * F.mse_loss(seen, image)
        loss = loss + _SSIM_SHARE * (1 - ssim_map(seen[None], image[None]).mean())
        (gradient,) = torch.autograd.grad(loss, seen)
    return loss.detach(), gradient * image.numel()


LOSSES: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "l2": _l2,
    "l2-clamped": _l2_clamped,
    "l1": _l1,
    "ssim": _ssim,
}


def loss_function(name: str) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    if name not in LOSSES:
        raise UnknownName(name, LOSSES, what="Loss", where="gsr_app/fitting/losses.py")
    return LOSSES[name]


def psnr(drawn: Tensor, image: Tensor) -> float:
    """Over RGB of the whole frame, not quantised, the drawing clamped to 0..1."""
    return -10 * math.log10(max(float((drawn.clamp(0, 1) - image).square().mean()), 1e-12))

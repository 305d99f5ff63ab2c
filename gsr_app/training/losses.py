"""Losses; a recipe combines them by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gsr_app.core.errors import UnknownName

_BT601 = (0.299, 0.587, 0.114)


def l1(sr: Tensor, hr: Tensor) -> Tensor:
    return (sr - hr).abs().mean()


def l2(sr: Tensor, hr: Tensor) -> Tensor:
    return (sr - hr).square().mean()


def charbonnier(sr: Tensor, hr: Tensor) -> Tensor:
    """L1, smooth below a quarter of a level, where the error is noise."""
    return ((sr - hr).square() + 1e-6).sqrt().mean()


def charbonnier_sharp(sr: Tensor, hr: Tensor) -> Tensor:
    """L1, made differentiable at zero."""
    return ((sr - hr).square() + 1e-12).sqrt().mean()


def luma(sr: Tensor, hr: Tensor) -> Tensor:
    """L1 of the luma, which PSNR-Y measures."""
    difference = sr - hr  # weighed by plain numbers: a tensor of them would have to be sent to the GPU
    red, green, blue = (difference[..., c, :, :] * weight for c, weight in enumerate(_BT601))
    return (red + green + blue).abs().mean()


def frequency(sr: Tensor, hr: Tensor) -> Tensor:
    """L1 between spectra; keeps texture that a pixel-wise loss blurs."""
    return torch.view_as_real(torch.fft.rfft2(sr - hr, norm="ortho")).abs().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "l2": l2,
    "charbonnier": charbonnier,
    "charbonnier_sharp": charbonnier_sharp,
    "luma": luma,
    "frequency": frequency,
}


def mix(weights: Mapping[str, float]) -> Callable[..., Tensor]:
    """A loss over groups of pictures of one size, `loss(sr, hr, shares)`; every picture of a group has its share."""
    for name in weights:
        if name not in LOSSES:
            raise UnknownName(name, LOSSES, what="Loss", where="gsr_app/training/losses.py")

    def loss(sr: Sequence[Tensor], hr: Sequence[Tensor], shares: Sequence[float]) -> Tensor:  # [n, 3, H, W] each
        counted = [share * len(one) for one, share in zip(hr, shares, strict=True)]
        each = [
            share * weight * LOSSES[name](one, other)
            for one, other, share in zip(sr, hr, counted, strict=True)
            for name, weight in weights.items()
        ]
        return torch.stack(each).sum() / sum(counted)

    return loss

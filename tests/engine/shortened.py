"""Networks that stand in for the catalogue's where a picture is too large to send through the real ones in a test.

Each keeps everything that the engine knows about the real one (kind, factor, lattice, padding, overlap, tile sizes) and
is short enough that its answer is known: it continues the picture as a ramp would go on, adds a residual that is zero
where the picture is flat, and sees less far than the overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.models.registry import Architecture
from gsr_app.models.savsr_upsample import OutputRegion

REACH = 4  # pixels that two 5x5 convolutions see to each side, less than any overlap
SIGMA_OVER_SPACING = 0.8  # Gaussians on a lattice that add up to a plane: the ripple is 2 exp(-2 pi^2 0.64), 7e-6


class Residual(nn.Module):
    """Two 5x5 convolutions, each channel by itself; the first knows slopes only."""

    def __init__(self) -> None:
        super().__init__()
        noise = torch.Generator().manual_seed(1)
        first = torch.randn(12, 1, 5, 5, generator=noise)
        self.first = nn.Parameter(first - first.mean((2, 3), keepdim=True))
        self.second = nn.Parameter(torch.randn(3, 4, 5, 5, generator=noise) / 100)

    def forward(self, x: Tensor) -> Tensor:  # [1, 3, h, w]
        slopes = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), self.first, groups=3)
        return 0.1 * F.conv2d(slopes.relu_(), self.second, padding=2, groups=3)


class Multiplier(nn.Module):
    """pixels: `scale` times the size."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.residual, self.arch = Residual(), arch

    def forward(self, lr: Tensor) -> Tensor:
        height, width = lr.shape[-2:]
        assert height % self.arch.multiple_of == width % self.arch.multiple_of == 0, "the engine pads"
        assert min(height, width) >= self.arch.minimum_size, "the engine pads"
        scale = self.arch.native_scale or 1
        return sample(lr + self.residual(lr), View.whole((height, width), Scale(scale, scale)))


class Asker(nn.Module):
    """continuous, and the end of a video network: bilinear samples at the centres of the view's pixels."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.residual, self.arch = Residual(), arch

    def encode(self, lr: Tensor) -> Tensor:
        return lr + self.residual(lr)

    def query(self, features: Tensor, view: View) -> Tensor:
        return sample(features, view)


class Watcher(nn.Module):
    """video: the middle frame, and a residual of what the three inner windows hold."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.residual, self.arch = Residual(), arch

    def look(self, before: Tensor, frame: Tensor, after: Tensor) -> Tensor:
        assert frame.shape[-2] % self.arch.multiple_of == frame.shape[-1] % self.arch.multiple_of == 0
        return (before + frame + after) / 3

    def encode(self, looks: Sequence[Tensor], frame: Tensor, scale: Scale) -> Tensor:
        mixed = self.residual(torch.stack(list(looks)).mean(0))
        return frame + mixed[..., : frame.shape[-2], : frame.shape[-1]]

    def locate(self, patch: OutputRegion) -> View:
        (top, bottom), (left, right), scale = patch.rows, patch.columns, patch.scale
        origin = left / scale.x - patch.origin[1], top / scale.y - patch.origin[0]
        size = bottom - top, right - left
        return View(origin, (size[0] / scale.y, size[1] / scale.x), size)

    def draw(self, features: Tensor, places: View) -> Tensor:
        return sample(features, places)


class Painter(nn.Module):
    """field: a lattice of round Gaussians, normalised or adding up to the picture by themselves."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.residual, self.arch = Residual(), arch

    def encode(self, lr: Tensor) -> Tensor:
        assert lr.shape[-2] % self.arch.multiple_of == lr.shape[-1] % self.arch.multiple_of == 0, "the engine pads"
        return lr + self.residual(lr)

    def field(self, features: Tensor, scale: Scale) -> GaussianField:
        lattice = self.arch.lattice
        height, width = features.shape[-2:]
        color = sample(features, View.whole((height, width), Scale(lattice, lattice)))[0].flatten(1).t()
        y, x = ((torch.arange(side * lattice) + 0.5) / lattice for side in (height, width))
        normalize = self.arch.window_fraction is None
        amplitude = 1.0 if normalize else 1 / (2 * torch.pi * SIGMA_OVER_SPACING**2)
        return GaussianField(
            mean=torch.stack([x.repeat(len(y)), y.repeat_interleave(len(x))], 1),
            sigma=torch.full((len(color), 2), SIGMA_OVER_SPACING / lattice),
            rho=torch.zeros(len(color)),
            color=color * amplitude,
            source_size=(height, width),
            normalize=normalize,
        )


def sample(image: Tensor, view: View) -> Tensor:  # [1, C, h, w] -> [1, C, *view.size]
    """Bilinear; beyond the border the edge goes on."""
    at = []
    for axis in (0, 1):
        step, start = view.span[axis] / view.size[axis], view.origin[1 - axis]
        centre = (torch.arange(view.size[axis], dtype=torch.float64) + 0.5) * step + start
        at.append((centre / image.shape[-2 + axis] * 2 - 1).float())
    where = torch.stack(torch.meshgrid(*at, indexing="ij")[::-1], -1)[None]
    return F.grid_sample(image, where, mode="bilinear", padding_mode="border", align_corners=False)


_NETWORKS = {"pixels": Multiplier, "continuous": Asker, "video": Watcher, "field": Painter}


def shorten(arch: Architecture) -> Architecture:
    """The same architecture to the engine's eyes, with a network that takes next to no time."""
    return replace(arch, build=partial(_NETWORKS[arch.kind], arch), parts=())

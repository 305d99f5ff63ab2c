"""Instant-GI's network: from a picture to the Gaussians that a fit starts from.

Zeng et al., Instant GaussianImage, ICCV 2025, arXiv:2506.23479; github.com/whoiszzj/Instant-GI (MIT).

A ConvNeXt-UNet computes features of every pixel; one small network predicts from them the probability of a point, and
others predict a Gaussian for each triangle of the points. The steps between (dithering, Delaunay, ellipses) are
geometry and are in `fitting`. The backbone's ImageNet weights are not needed: a checkpoint holds everything.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gsr_app.models.registry import Architecture


@dataclass(frozen=True)
class InitNetConfig:
    depths: tuple[int, ...] = (3, 3, 27, 3)
    dims: tuple[int, ...] = (128, 256, 512, 1024)
    stem: int = 64
    features: int = 64


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a picture."""

    def forward(self, input: Tensor) -> Tensor:  # [B, C, H, W]
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), 1e-6))
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self, stem: int, dims: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        self.downsample_layers = nn.ModuleList()
        for before, dim in zip((stem, *dims), dims, strict=False):
            halve, norm = nn.Conv2d(before, dim, 2, stride=2), functools.partial(ChannelNorm, eps=1e-6)
            is_first = len(self.downsample_layers) == 0  # it normalises its output, the others their input
            self.downsample_layers.append(
                nn.Sequential(halve, norm(dim)) if is_first else nn.Sequential(norm(before), halve)
            )
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(dim) for _ in range(depth))) for dim, depth in zip(dims, depths, strict=True)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The deepest features, and the inputs of all downsampling layers."""
        skips: list[Tensor] = []
        for halve, stage in zip(self.downsample_layers, self.stages, strict=True):
            skips.append(x)
            x = stage(halve(x))
        return x, skips


def _conv(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


class InConv(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.in_conv = nn.Sequential(*_conv(3, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.in_conv(x)


class DoubleConv(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(*_conv(inputs, outputs), *_conv(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)


class Up(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.conv = DoubleConv(2 * outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x)
        height, width = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
        x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return self.conv(torch.cat([skip, x], 1))


class OutConv(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Decoder(nn.Module):
    def __init__(self, widths: Sequence[int], features: int) -> None:
        super().__init__()
        self.up1 = Up(widths[4], widths[3])
        self.up2 = Up(widths[3], widths[2])
        self.up3 = Up(widths[2], widths[1])
        self.up4 = Up(widths[1], widths[0])
        self.outc = OutConv(widths[0], features)

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        for up, skip in zip((self.up1, self.up2, self.up3, self.up4), reversed(skips), strict=True):
            x = up(x, skip)
        return self.outc(x)


class FeatureNet(nn.Module):
    def __init__(self, config: InitNetConfig) -> None:
        super().__init__()
        self.in_conv = InConv(config.stem)
        self.convnext_encoder = ConvNeXt(config.stem, config.dims, config.depths)
        self.unet_decoder = Decoder((config.stem, *config.dims), config.features)

    def forward(self, image: Tensor) -> Tensor:
        return self.unet_decoder(*self.convnext_encoder(self.in_conv(image)))


@dataclass(frozen=True)
class Shapes:
    """The triangles that are the input of the second half of the network."""

    triangles: Tensor  # [N, 3, 2] (x, y), -1..1
    centre: Tensor  # [N, 2] of the ellipse, -1..1
    semi_axes_px: Tensor  # [N, 2] the short one first
    turn: Tensor  # [N] of the short axis, 0..1 for a whole turn
    neighbours: Tensor  # [N, 3]


@dataclass(frozen=True)
class Gaussians:
    """The initial Gaussians of a fit, in the parametrisation of the paper."""

    xy: Tensor  # [N, 2], -1..1
    scaling_px: Tensor  # [N, 2]
    turn: Tensor  # [N, 1], 0..1 for a whole turn
    color: Tensor  # [N, 3]


class InitNet(nn.Module):
    cell_px = 3  # the map holds at most one point in a cell of this side

    def __init__(self, *, config: InitNetConfig) -> None:
        super().__init__()
        width = config.features
        seen = 4 + 6 + 12 + width
        self.feature_net = FeatureNet(config)
        self.position_field = nn.Sequential(*_mlp(width, width, width, 1))
        self.feature_reduction = nn.Sequential(*_mlp(4 * width, 4 * width, 2 * width, width), nn.LayerNorm(width))
        self.bc_field = nn.Sequential(*_mlp(seen, seen, seen, 3))
        self.scale_rot_field = nn.Sequential(*_mlp(*[seen + 8] * 3, 3))
        self.color_field = nn.Sequential(*_mlp(*[seen + 8] * 3, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, C, H, W] and the probability map [B, H, W]."""
        features = self.feature_net(image)
        return features, self.position_field(features.permute(0, 2, 3, 1)).sigmoid()[..., 0]

    def place(self, image: Tensor, features: Tensor, shapes: Shapes) -> Gaussians:
        """A Gaussian per triangle. image: [1, 3, H, W]; features: [1, C, H, W]."""
        spots = torch.cat([shapes.triangles, shapes.centre[:, None]], 1)  # [N, 4, 2]
        reduced = self.feature_reduction(sample(features, spots).flatten(1))
        ratio = shapes.semi_axes_px[:, :1] / (shapes.semi_axes_px[:, 1:] + 1e-4)
        seen = [shapes.centre, ratio, shapes.turn[:, None], normalize_triangles(shapes.triangles)]
        seen = torch.cat([*seen, sample(image, spots).flatten(1), reduced], 1)
        corners = self.bc_field(seen).softmax(1)
        xy = (corners[:, :, None] * shapes.triangles).sum(1).clamp(-1 + 1e-6, 1 - 1e-6)
        around = torch.cat([xy[:, None], xy[shapes.neighbours]], 1).flatten(1).detach()
        seen = torch.cat([around, seen], 1)
        shape = self.scale_rot_field(seen)
        scaling = activate_scaling(shape[:, :2]) * shapes.semi_axes_px
        turn = (shape[:, 2:].tanh() + shapes.turn[:, None].logit()).sigmoid()
        color = self.color_field(seen).sigmoid() * sample(image, xy[:, None])[:, 0].detach()
        return Gaussians(xy, scaling, turn, color)


def _mlp(*widths: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers[:-1]


def sample(planes: Tensor, spots: Tensor) -> Tensor:  # [1, C, H, W] at [N, K, 2] -> [N, K, C]
    """Bilinear, pixel centres at +0.5, zeros outside."""
    return F.grid_sample(planes, spots[None], align_corners=False)[0].permute(1, 2, 0)


def normalize_triangles(triangles: Tensor) -> Tensor:  # [N, 3, 2] -> [N, 6]
    """About their centroids, and scaled to unit area."""
    offset = triangles - triangles.mean(1, keepdim=True)
    one, other = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    area = 0.5 * (one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]).abs()
    return (offset * area.rsqrt()[:, None, None]).flatten(1)


def activate_scaling(x: Tensor) -> Tensor:
    """Maps any number to a factor between 0 and 3; the small discontinuity at 2 is in the original, too."""
    t = 50 * (x / 50).tanh()
    low, high = 0.5 * (0.5 * t.clamp(max=0)).exp(), 3 - 0.5 * (1 + (5 - 0.5 * t.clamp(min=2)).exp()).log()
    return torch.where(t < 0, low, torch.where(t < 2, 0.5 + 0.25 * t, high))


def start_afresh(module: InitNet) -> None:
    """The published initialisation: weights from a narrow normal distribution, zero biases."""
    for one in module.modules():
        if isinstance(one, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(one.weight, std=0.02)
            if one.bias is not None:
                nn.init.zeros_(one.bias)


ARCHS: tuple[Architecture, ...] = (
    Architecture(
        id="initnet",
        build=functools.partial(InitNet, config=InitNetConfig()),
        kind="start",
        minimum_size=16,
        tileable=False,
    ),
)

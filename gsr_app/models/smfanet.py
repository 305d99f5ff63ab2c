"""SMFANet: a lightweight network whose blocks combine pooled features of a large area with local ones.

Zheng, Sun, Dong, Pan, "SMFANet: A Lightweight Self-Modulation Feature Aggregation Network for Efficient Image
Super-Resolution", ECCV 2024. Original: github.com/Zheng-MJ/SMFANet, Apache-2.0, weights included.

The pooled grid and the variance depend on the whole input: a tile differs from the same part of the picture, on
photographs in tiles of 128 by 0.2 levels in the mean and by 27 at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gsr_app.models.registry import Architecture

_POOL = 8  # source pixels per cell of the pooled grid, at least


@dataclass(frozen=True)
class SMFANetConfig:
    scale: int
    channels: int = 36
    blocks: int = 8
    expansion: int = 2  # channels of a feed-forward layer, over those of a block
    mixed_share: float = 0.25  # of which this share goes through the 3x3 convolution


class LocalDetail(nn.Module):
    """The local half of an aggregation: depthwise expansion, then two 1x1 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.conv_0 = nn.Sequential(nn.Conv2d(channels, wide, 3, padding=1, groups=channels), nn.Conv2d(wide, wide, 1))
        self.conv_1 = nn.Conv2d(wide, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_1(F.gelu(self.conv_0(x)))


class Aggregation(nn.Module):
    """Self-modulation: features times a map made of their pooled maxima and their variance, plus the local half."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear_0 = nn.Conv2d(channels, 2 * channels, 1)
        self.linear_1 = nn.Conv2d(channels, channels, 1)
        self.linear_2 = nn.Conv2d(channels, channels, 1)
        self.lde = LocalDetail(channels)
        self.dw_conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.alpha = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.belt = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:  # [B, C, h, w]
        local, x = self.linear_0(features).chunk(2, dim=1)
        height, width = x.shape[-2:]
        if height % _POOL or width % _POOL:
            highest = F.adaptive_max_pool2d(x, (height // _POOL, width // _POOL))
        else:  # the same, in a form that ONNX has
            highest = F.max_pool2d(x, _POOL)
        pooled = self.dw_conv(highest)
        variance = x.var((-2, -1), keepdim=True)
        modulation = F.gelu(self.linear_1(pooled * self.alpha + variance * self.belt))
        wide = x * F.interpolate(modulation, size=(height, width), mode="nearest")
        return self.linear_2(wide + self.lde(local))


class FeedForward(nn.Module):
    """The authors' partial convolution: some of the channels pass a 3x3 convolution, the others only the 1x1 ones."""

    def __init__(self, channels: int, expansion: int, mixed_share: float) -> None:
        super().__init__()
        wide = expansion * channels
        self.mixed = int(wide * mixed_share)
        self.conv_0 = nn.Conv2d(channels, wide, 1)
        self.conv_1 = nn.Conv2d(self.mixed, self.mixed, 3, padding=1)
        self.conv_2 = nn.Conv2d(wide, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.conv_0(x))
        mixed, others = x.split([self.mixed, x.shape[1] - self.mixed], dim=1)
        return self.conv_2(torch.cat([F.gelu(self.conv_1(mixed)), others], dim=1))


class Block(nn.Module):
    def __init__(self, config: SMFANetConfig) -> None:
        super().__init__()
        self.smfa = Aggregation(config.channels)
        self.pcfn = FeedForward(config.channels, config.expansion, config.mixed_share)

    def forward(self, x: Tensor) -> Tensor:
        x = self.smfa(F.normalize(x)) + x  # each pixel's features scaled to length one
        return self.pcfn(F.normalize(x)) + x


class SMFANet(nn.Module):
    """[B, 3, h, w] in 0..1 -> [B, 3, h*s, w*s]; both sides of at least 8 pixels."""

    def __init__(self, *, config: SMFANetConfig) -> None:
        super().__init__()
        self.config = config
        self.to_feat = nn.Conv2d(3, config.channels, 3, padding=1)
        self.feats = nn.Sequential(*(Block(config) for _ in range(config.blocks)))
        self.to_img = nn.Sequential(
            nn.Conv2d(config.channels, 3 * config.scale**2, 3, padding=1), nn.PixelShuffle(config.scale)
        )

    def forward(self, lr: Tensor) -> Tensor:
        x = self.to_feat(lr)
        return self.to_img(self.feats(x) + x)


def _build(scale: int, channels: int, blocks: int) -> SMFANet:
    return SMFANet(config=SMFANetConfig(scale, channels, blocks))


ARCHS = tuple(
    Architecture(
        id=f"{name}-x{scale}",
        build=partial(_build, scale, channels, blocks),
        kind="pixels",
        native_scale=scale,
        minimum_size=_POOL,
        onnx_multiple=_POOL,
        overlap=32,
        reads_all=True,
        bytes_per_pixel=8 * 4 * 2 * channels,
    )
    for name, channels, blocks in (("smfanet", 36, 8), ("smfanet-plus", 48, 12))
    for scale in (2, 3, 4)
)

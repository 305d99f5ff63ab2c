"""SPAN: a small network of plain convolutions whose attention has no parameters.

Wan, Yu, Chen, Lin, Chen, "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPR 2024 workshops.
The weights are those of the NTIRE 2026 efficient super-resolution challenge, of which this network is the baseline:
github.com/Amazingren/NTIRE2026_ESR, MIT.

The published file holds the inference form alone: each 3x3 convolution is named `eval_conv` within its block.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gsr_app.models.registry import Architecture

_MEAN, _PEAK = (0.4488, 0.4371, 0.4040), 255.0


@dataclass(frozen=True)
class SPANConfig:
    scale: int = 4
    channels: int = 28


class Convolution(nn.Module):
    """A 3x3 convolution under the name that the published file gives to a folded one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.eval_conv = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.eval_conv(x)


class Block(nn.Module):
    """Three convolutions, and an attention that is a function of their output: sigmoid(x) - 0.5."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.c1_r = Convolution(channels, channels)
        self.c2_r = Convolution(channels, channels)
        self.c3_r = Convolution(channels, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and its first features. The authors' SiLU works in place: they come after it."""
        first = F.silu(self.c1_r(x))
        third = self.c3_r(F.silu(self.c2_r(first)))
        return (third + x) * (torch.sigmoid(third) - 0.5), first


class SPAN(nn.Module):
    """[B, 3, h, w] in 0..1 -> [B, 3, h*s, w*s]."""

    def __init__(self, *, config: SPANConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.conv_1 = Convolution(3, channels)
        self.block_1 = Block(channels)
        self.block_2 = Block(channels)
        self.block_3 = Block(channels)
        self.block_4 = Block(channels)
        self.block_5 = Block(channels)
        self.block_6 = Block(channels)
        self.conv_cat = nn.Conv2d(4 * channels, channels, 1)
        self.conv_2 = Convolution(channels, channels)
        self.upsampler = nn.Sequential(
            nn.Conv2d(channels, 3 * config.scale**2, 3, padding=1), nn.PixelShuffle(config.scale)
        )

    def forward(self, lr: Tensor) -> Tensor:
        head = self.conv_1((lr - lr.new_tensor(_MEAN)[:, None, None]) * _PEAK)
        first, _ = self.block_1(head)
        x = first
        for block in (self.block_2, self.block_3, self.block_4, self.block_5):
            x, _ = block(x)
        x, inner = self.block_6(x)
        return self.upsampler(self.conv_cat(torch.cat([head, self.conv_2(x), first, inner], dim=1)))


# Twenty-one 3x3 convolutions in a row: tiles that overlap by 22 source pixels are exact.
ARCHS = (
    Architecture(
        id="span-x4",
        build=lambda: SPAN(config=SPANConfig()),
        kind="pixels",
        native_scale=4,
        overlap=22,
        bytes_per_pixel=2_000,
    ),
)

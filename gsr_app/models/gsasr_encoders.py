"""The convolutional encoders of GSASR: EDSR-baseline and RDN, both without their upsampling ends.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017, arXiv 1707.02921.
Zhang et al., "Residual Dense Network for Image Super-Resolution", CVPR 2018, arXiv 1802.08797.

Parameter names follow the checkpoints of GSASR, https://github.com/ChrisDud0257/GSASR, Apache-2.0.
Two things differ from what a reader might expect, and the weights need them: EDSR returns the trunk without the long
skip; RDN adds the first shallow feature, not the second.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _conv3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv3(channels, channels)
        self.conv2 = _conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu_(self.conv1(x)))


class EDSREncoder(nn.Module):
    def __init__(self, *, channels: int = 64, blocks: int = 16) -> None:
        super().__init__()
        self.conv_first = _conv3(3, channels)
        self.body = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.conv_after_body = _conv3(channels, channels)

    def forward(self, lr: Tensor) -> Tensor:
        """[b, 3, h, w] in 0..1 -> [b, 64, h, w]"""
        shallow = self.conv_first(lr.contiguous(memory_format=torch.channels_last))
        return self.conv_after_body(self.body(shallow))  # no long skip: the published decoders were trained without it


class DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv3(inputs, growth), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.conv(x)), dim=1)


class DenseBlock(nn.Module):
    def __init__(self, channels: int, growth: int, layers: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(DenseLayer(channels + growth * i, growth) for i in range(layers)))
        self.LFF = nn.Conv2d(channels + growth * layers, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.LFF(self.convs(x)) + x


class RDNEncoder(nn.Module):
    """Configuration B of the paper: 16 dense blocks of 8 convolutions, growth 64."""

    def __init__(self, *, channels: int = 64, blocks: int = 16, layers: int = 8, growth: int = 64) -> None:
        super().__init__()
        self.SFENet1 = _conv3(3, channels)
        self.SFENet2 = _conv3(channels, channels)
        self.RDBs = nn.ModuleList(DenseBlock(channels, growth, layers) for _ in range(blocks))
        self.GFF = nn.Sequential(nn.Conv2d(blocks * channels, channels, 1), _conv3(channels, channels))

    def forward(self, lr: Tensor) -> Tensor:
        """[b, 3, h, w] in 0..1 -> [b, 64, h, w]"""
        first = self.SFENet1(lr.contiguous(memory_format=torch.channels_last))
        x = self.SFENet2(first)
        blocks: list[Tensor] = []
        for block in self.RDBs:
            x = block(x)
            blocks.append(x)
        return self.GFF(torch.cat(blocks, dim=1)) + first  # the checkpoints' skip starts at the first convolution

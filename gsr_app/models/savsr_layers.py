"""The layers of SAVSR: convolutions whose kernels are mixed for the scale and the content, and blocks of them.

A "stream" is one of several feature maps that a block refines in parallel; a common base combines them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gsr_app.core.types import Scale


def conv3x3(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


def leaky_relu(x: Tensor, slope: float = 0.2) -> Tensor:
    """Leaky ReLU; in place when no gradients are needed."""
    return F.leaky_relu(x, slope, inplace=not torch.is_grad_enabled())


class _Gates(nn.Module):
    """Per sample: a gate for each input channel, output channel and tap, and how to mix the kernels of a bank."""

    def __init__(self, before: int, after: int, kernels: int) -> None:
        super().__init__()
        width = max(before // 16, 16)
        self.fc = nn.Conv2d(before, width, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.channel_fc = nn.Conv2d(width, before, 1)
        self.filter_fc = nn.Conv2d(width, after, 1)
        self.spatial_fc = nn.Conv2d(width, 9, 1)
        self.kernel_fc = nn.Conv2d(width, kernels, 1)

    def forward(self, routed: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # [B, C, 1, 1]
        u = self.bn(self.fc(routed)).relu()
        channel, after, tap = (gate(u).sigmoid() for gate in (self.channel_fc, self.filter_fc, self.spatial_fc))
        return channel, after, tap, self.kernel_fc(u).softmax(1)


class ScaleConv(nn.Module):
    """OSConv: a 3x3 convolution, its kernel mixed per sample from a bank, by the scale and the input's mean."""

    def __init__(self, before: int, after: int, kernels: int = 8) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(kernels, after, before, 3, 3))
        for kernel in self.weight:
            nn.init.kaiming_normal_(kernel, mode="fan_out", nonlinearity="relu")
        self.attention = _Gates(before, after, kernels)
        self.scale_routing = nn.Sequential(
            nn.Linear(before + 2, 2 * before), nn.ReLU(True), nn.Linear(2 * before, before), nn.ReLU(True)
        )

    def forward(self, x: Tensor, scale: Scale) -> Tensor:
        batch, before, height, width = x.shape
        kernel = self._mix(x.mean((2, 3)), scale)  # [B, after, before, 3, 3]
        if batch == 1:
            return F.conv2d(x, kernel[0], padding=1)
        # One group per sample: each is convolved with its own kernel.
        y = F.conv2d(x.reshape(1, batch * before, height, width), kernel.flatten(0, 1), padding=1, groups=batch)
        return y.view(batch, -1, height, width)

    def _mix(self, mean: Tensor, scale: Scale) -> Tensor:  # [B, before]
        inverse = mean.new_tensor([1 / scale.y, 1 / scale.x]).expand(len(mean), 2)
        routed = self.scale_routing(torch.cat([inverse, mean], 1))
        channel, after, tap, share = self.attention(routed[..., None, None])
        kernels, *shape = self.weight.shape
        mixed = (share.flatten(1) @ self.weight.view(kernels, -1)).view(-1, *shape)
        # Gates of input and output channels are applied to the kernel, which is smaller than either.
        return mixed * tap.view(-1, 1, 1, 3, 3) * (after[:, :, 0, 0, None] * channel[:, None, :, 0, 0])[..., None, None]


class StreamBlock(nn.Module):
    """Residual block of several streams, each refined with their common base."""

    def __init__(self, channels: int, streams: int, *, by_scale: bool) -> None:
        super().__init__()
        self.conv0 = nn.ModuleList(conv3x3(channels, channels) for _ in range(streams))
        if by_scale:
            self.osconv = ScaleConv(streams * channels, channels)
        else:
            self.conv1 = nn.Conv2d(streams * channels, channels, 1)
        self.conv2 = nn.ModuleList(conv3x3(2 * channels, channels) for _ in range(streams))
        self.by_scale = by_scale

    def forward(self, streams: list[Tensor], scale: Scale) -> list[Tensor]:
        each = [leaky_relu(conv(x)) for conv, x in zip(self.conv0, streams, strict=True)]
        together = torch.cat(each, 1)
        base = leaky_relu(self.osconv(together, scale) if self.by_scale else self.conv1(together))
        return [
            x + leaky_relu(conv(torch.cat([base, one], 1)))
            for conv, one, x in zip(self.conv2, each, streams, strict=True)
        ]


class _ChannelAttention(nn.Module):
    def __init__(self, channels: int, squeeze: int = 16) -> None:
        super().__init__()
        narrow = channels // squeeze
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, narrow, 1), nn.ReLU(True),
            nn.Conv2d(narrow, channels, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


class _AttendedBlock(nn.Module):
    """RCAB: a residual block with channel attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rcab = nn.Sequential(
            conv3x3(channels, channels), nn.ReLU(True), conv3x3(channels, channels), _ChannelAttention(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.rcab(x)


class ResidualGroup(nn.Module):
    """RCABs and a convolution with a long skip connection."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.residual_group = nn.Sequential(*(_AttendedBlock(channels) for _ in range(blocks)))
        self.conv = conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(self.residual_group(x))


class ScaleAdapt(nn.Module):
    """OSAdapt: adds a scale-aware convolution, weighted by a mask from the content. Sides must be even."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // 4
        self.mask = nn.Sequential(
            conv3x3(channels, narrow), nn.BatchNorm2d(narrow), nn.ReLU(True), nn.AvgPool2d(2),
            conv3x3(narrow, narrow), nn.BatchNorm2d(narrow), nn.ReLU(True),
            conv3x3(narrow, narrow), nn.BatchNorm2d(narrow), nn.ReLU(True),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            conv3x3(narrow, 1), nn.BatchNorm2d(1), nn.Sigmoid(),
        )  # fmt: skip
        self.adapt = ScaleConv(channels, channels)

    def forward(self, x: Tensor, scale: Scale) -> Tensor:
        return x + self.adapt(x, scale) * self.mask(x)

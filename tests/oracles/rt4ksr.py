"""RT4KSR with every switch of its published description; the package has the released network alone.

The release has the code of the type "rep" with "simplified" blocks only. The layout of the other types and blocks,
which have no published weights, is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from gsr_app.models.layers.norm import LayerNorm2d
from gsr_app.models.rt4ksr import ExpandReduce, FoldedConv

Block = Literal["simplified", "repbase", "base", "dconvbase", "nafbase"]


@dataclass(frozen=True)
class RT4KSRConfig:
    """Every switch that changes the network; the defaults are the released one."""

    scale: int = 2
    type: Literal["rep", "base"] = "rep"  # what the tail and the high-frequency branch are made of
    block: Block = "simplified"
    channels: int = 24
    blocks: int = 4
    activation: Literal["gelu", "lrelu", "relu"] = "gelu"
    use_hfb: bool = False  # add the high-frequency branch; the released networks carry it, untrained and unused
    unshuffle: bool = True  # work at half resolution on twelve channels
    layernorm: bool = True
    residual: bool = False  # around each block
    eca_gamma: int = 0  # channel attention with a kernel of about (log2 C + 1) / gamma; 0 leaves it out
    fused: bool = False  # the inference form


class NafUnit(nn.Module):
    """NAFNet's spatial half: 1x1 up, depthwise 3x3, the two halves multiplied, 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand_conv = nn.Conv2d(channels, 2 * channels, 1)
        self.depth_conv = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.reduce_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, two = self.depth_conv(self.expand_conv(x)).chunk(2, dim=1)
        return self.reduce_conv(one * two)


class ChannelAttention(nn.Module):
    """ECA: a gate per channel from its neighbours among the channel means."""

    def __init__(self, channels: int, gamma: int) -> None:
        super().__init__()
        taps = int(abs((math.log2(channels) + 1) / gamma))
        taps += 1 - taps % 2
        self.conv = nn.Conv1d(1, 1, taps, padding=taps // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        means = x.mean((2, 3))[:, None]  # [B, 1, C]
        return x * self.conv(means).sigmoid()[:, 0, :, None, None]


class BodyBlock(nn.Module):
    """Norm, convolution of the configured kind, activation, attention, shortcut; all but the convolution optional."""

    def __init__(self, config: RT4KSRConfig) -> None:
        super().__init__()
        self.conv1 = _convolution(config.block, config)
        self.act = _activation(config)
        self.ca = ChannelAttention(config.channels, config.eca_gamma) if config.eca_gamma else None
        self.norm = LayerNorm2d(config.channels) if config.layernorm else None
        self.residual = config.residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.conv1(self.norm(x) if self.norm else x))
        if self.ca:
            y = self.ca(y) * y  # the attention has multiplied once already; the checkpoints were trained so
        return x + y if self.residual else y


def _activation(config: RT4KSRConfig) -> nn.Module:
    return {"gelu": nn.GELU(), "relu": nn.ReLU(), "lrelu": nn.LeakyReLU(0.05)}[config.activation]


def _convolution(block: Block, config: RT4KSRConfig) -> nn.Module:
    channels = config.channels
    if block in {"simplified", "repbase"}:
        return FoldedConv(channels) if config.fused else ExpandReduce(channels)
    if block == "base":
        return nn.Conv2d(channels, channels, 3, padding=1)
    if block == "dconvbase":
        depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        return nn.Sequential(depthwise, nn.Conv2d(channels, channels, 1))
    return NafUnit(channels)


def _highpass(x: torch.Tensor) -> torch.Tensor:
    """The picture less its Gaussian blur (5x5, sigma 1)."""
    at = torch.arange(-2.0, 3.0, dtype=x.dtype, device=x.device)
    taps = torch.exp(-at.square() / 2)
    taps = taps / taps.sum()
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 5, 5)
    return x - F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, groups=x.shape[1])


class RT4KSR(nn.Module):
    """[B, 3, h, w] in 0..1 -> [B, 3, h*s, w*s]; both sides even where `unshuffle` is on."""

    def __init__(self, *, config: RT4KSRConfig) -> None:
        super().__init__()
        self.config = config
        channels, grid = config.channels, 2 if config.unshuffle else 1
        of_type: Block = "simplified" if config.type == "rep" else "base"
        self.down = nn.PixelUnshuffle(grid)
        self.head = nn.Sequential(nn.Conv2d(3 * grid**2, channels, 3, padding=1))
        if config.use_hfb or config.type == "rep":
            self.gamma = nn.Parameter(torch.zeros(1))
            self.hfb = nn.Sequential(_convolution(of_type, config), _activation(config))
        self.body = nn.Sequential(*(BodyBlock(config) for _ in range(config.blocks)))
        norm = LayerNorm2d(channels) if config.type == "rep" else nn.Identity()
        self.tail = nn.Sequential(norm, _convolution(of_type, config))
        out = grid * config.scale
        self.upsample = nn.Sequential(nn.Conv2d(channels, 3 * out**2, 3, padding=1), nn.PixelShuffle(out))

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        deep = self.body(self.head(self._unshuffled(lr)))
        if self.config.use_hfb:
            deep = self.gamma * deep + self.hfb(self.head(self._unshuffled(_highpass(lr))))
        return self.upsample(self.tail(deep))

    def _unshuffled(self, x: torch.Tensor) -> torch.Tensor:
        # Channels last: the narrow convolutions and the norms over channels are fastest so.
        return self.down(x).contiguous(memory_format=torch.channels_last)

    def fuse(self) -> RT4KSR:
        """The inference form as a network of its own; this one stays as it is."""
        fused = RT4KSR(config=replace(self.config, fused=True)).to(self.head[0].weight)  # type: ignore[arg-type]
        state = dict(self.state_dict())
        for name, module in self.named_modules():
            if isinstance(module, ExpandReduce):
                state = {key: value for key, value in state.items() if not key.startswith(f"{name}.")}
                state |= {f"{name}.{key}": value for key, value in module.fold().state_dict().items()}
        fused.load_state_dict(state)
        return fused.train(self.training).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

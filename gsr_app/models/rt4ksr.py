"""RT4KSR: real-time super-resolution to 4K with re-parameterised blocks on a pixel-unshuffled grid.

Zamfir, Conde, Timofte, "Towards Real-Time 4K Image Super-Resolution", CVPR Workshops 2023 (NTIRE real-time 4K).
Original: github.com/eduardzamfir/RT4KSR, Apache-2.0, weights included.

Trained with expand-convolve-reduce blocks; `fuse()` folds each into one 3x3 convolution, exactly, borders included.
This is the released network. The description's other blocks and switches have no published weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from gsr_app.core.errors import InvalidArgument
from gsr_app.models.layers.norm import LayerNorm2d
from gsr_app.models.registry import Architecture

_UNSHUFFLE = 2  # the network works at half resolution, on twelve channels


@dataclass(frozen=True)
class RT4KSRConfig:
    """The defaults are the released networks."""

    scale: int = 2
    channels: int = 24
    blocks: int = 4
    fused: bool = False  # the inference form

    def __post_init__(self) -> None:
        if min(self.scale, self.channels) < 1 or self.blocks < 0:
            raise InvalidArgument(f"RT4KSR cannot be built from {self}.", hint="Sizes must be positive.")


class ExpandReduce(nn.Module):
    """1x1 up, 3x3, 1x1 down, with a shortcut over the 3x3 and one over everything: linear, hence foldable."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand_conv = nn.Conv2d(channels, 2 * channels, 1)
        self.fea_conv = nn.Conv2d(2 * channels, 2 * channels, 3)
        self.reduce_conv = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Padding before the 1x1 makes the border its bias, which one zero-padded 3x3 convolution reproduces exactly.
        wide = self.expand_conv(F.pad(x, (1, 1, 1, 1)))
        return x + self.reduce_conv(self.fea_conv(wide) + wide[..., 1:-1, 1:-1])

    def fold(self) -> FoldedConv:
        expand, fea, reduce = (
            (conv.weight.detach().double(), conv.bias.detach().double())  # type: ignore[union-attr]
            for conv in (self.expand_conv, self.fea_conv, self.reduce_conv)
        )
        middle = fea[0].clone()  # [2C, 2C, 3, 3]
        middle[:, :, 1, 1] += torch.eye(len(middle), dtype=middle.dtype, device=middle.device)
        weight = torch.einsum("om,mnyx,ni->oiyx", reduce[0][..., 0, 0], middle, expand[0][..., 0, 0])
        weight[:, :, 1, 1] += torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
        bias = reduce[0][..., 0, 0] @ (middle.sum((2, 3)) @ expand[1] + fea[1]) + reduce[1]
        folded = FoldedConv(len(weight)).to(self.expand_conv.weight)
        with torch.no_grad():
            folded.rep_conv.weight.copy_(weight)
            folded.rep_conv.bias.copy_(bias)  # type: ignore[union-attr]
        return folded


class FoldedConv(nn.Module):
    """The fused form of `ExpandReduce`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rep_conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rep_conv(x)


class BodyBlock(nn.Module):
    """Norm, convolution, activation."""

    def __init__(self, channels: int, *, fused: bool) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, fused=fused)
        self.norm = LayerNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(self.conv1(self.norm(x)))


def _convolution(channels: int, *, fused: bool) -> nn.Module:
    return FoldedConv(channels) if fused else ExpandReduce(channels)


class RT4KSR(nn.Module):
    """[B, 3, h, w] in 0..1 -> [B, 3, h*s, w*s]; both sides even."""

    def __init__(self, *, config: RT4KSRConfig) -> None:
        super().__init__()
        self.config = config
        channels, out = config.channels, _UNSHUFFLE * config.scale
        self.head = nn.Sequential(nn.Conv2d(3 * _UNSHUFFLE**2, channels, 3, padding=1))
        # The checkpoints carry a high-frequency branch that was neither trained nor used.
        self.gamma = nn.Parameter(torch.zeros(1))
        self.hfb = nn.Sequential(_convolution(channels, fused=config.fused))
        self.body = nn.Sequential(*(BodyBlock(channels, fused=config.fused) for _ in range(config.blocks)))
        self.tail = nn.Sequential(LayerNorm2d(channels), _convolution(channels, fused=config.fused))
        self.upsample = nn.Sequential(nn.Conv2d(channels, 3 * out**2, 3, padding=1), nn.PixelShuffle(out))

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        # Channels last: the narrow convolutions and the norms over channels are fastest so.
        x = F.pixel_unshuffle(lr, _UNSHUFFLE).contiguous(memory_format=torch.channels_last)
        return self.upsample(self.tail(self.body(self.head(x))))

    def fuse(self) -> RT4KSR:
        """A new network in the inference form; this one does not change."""
        fused = RT4KSR(config=replace(self.config, fused=True)).to(self.head[0].weight)  # type: ignore[arg-type]
        state = dict(self.state_dict())
        for name, module in self.named_modules():
            if isinstance(module, ExpandReduce):
                state = {key: value for key, value in state.items() if not key.startswith(f"{name}.")}
                state |= {f"{name}.{key}": value for key, value in module.fold().state_dict().items()}
        fused.load_state_dict(state)
        return fused.train(self.training).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


# Seven 3x3 convolutions on the halved grid reach 14 source pixels to each side; tiles that overlap by 16 are exact.
ARCHS = tuple(
    Architecture(
        id=f"rt4ksr-x{scale}",
        build=partial(RT4KSR, config=RT4KSRConfig(scale=scale)),
        kind="pixels",
        native_scale=scale,
        multiple_of=2,
        minimum_size=2,
        overlap=16,
        bytes_per_pixel=600,
    )
    for scale in (2, 3)
)

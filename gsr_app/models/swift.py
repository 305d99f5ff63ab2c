"""Swift: an image as Gaussians in a fraction of a second on a CPU, drawn at any scale from one encoding.

It marries two published ideas and copies neither: Gaussians as the continuous picture (GSASR, arXiv:2501.06838) and a
plain convolutional body whose training branches melt into single 3x3 kernels (RT4KSR, CVPRW 2023; ECBSR, ACM MM 2021).
What differs: the field does not depend on the scale; splatting is normalised, so weights sum to one; every source
pixel holds a 2x2 lattice of Gaussians that starts out as pixel shuffling at x2.

Flat in, flat out, by construction: the first kernels sum to zero and nothing has a bias, so a flat patch, of any
colour, gives no residual at all. For the same reason the answer does not change when light is added to the picture.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gsr_app.core.types import GaussianField, Scale
from gsr_app.models.registry import Architecture
from gsr_app.ops.resize import resize

_LATTICE = 2  # Gaussians per source pixel and axis
_PER_GAUSSIAN = 8  # red, green, blue, offset x, y, sigma x, y, rho


@dataclass(frozen=True)
class SwiftConfig:
    channels: int = 48
    blocks: int = 6
    dilated: tuple[int, ...] = ()  # blocks whose first convolution looks at every other pixel: a wider view at no cost
    branches: bool = False  # the training form: each kernel is the sum of several
    sigma_least: float = 0.1  # source pixels
    sigma_most: float = 0.6
    sigma_start: float = 0.22  # where two neighbours, half a pixel apart, hardly see each other
    rho_most: float = 0.9
    overshoot: float = 7.5 / 255  # how far a colour may leave the range of its surroundings,
    surroundings: int = 3  # which are the source pixels this near to its own


class PlainConv(nn.Module):
    """A 3x3 convolution without bias."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__()
        self.dilation = dilation
        # Channels last is the layout that CPU convolutions are fastest in.
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3, memory_format=torch.channels_last))
        nn.init.kaiming_normal_(self.weight)

    def kernel(self) -> Tensor:  # [outputs, inputs, 3, 3]
        return self.weight

    def forward(self, x: Tensor) -> Tensor:  # [B, inputs, h, w] -> [B, outputs, h, w]
        return F.conv2d(x, self.kernel(), padding=self.dilation, dilation=self.dilation)


class BranchedConv(PlainConv):
    """The training form: 3x3, 1x1 and a scaled identity, summed as kernels: a step costs one convolution."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, dilation)
        self.point = nn.Parameter(torch.randn(outputs, inputs) * (0.1 / math.sqrt(inputs)))
        self.identity = nn.Parameter(torch.zeros(outputs))

    def kernel(self) -> Tensor:
        centre = self.point + torch.diag(self.identity)
        return self.weight + F.pad(centre[:, :, None, None], (1, 1, 1, 1))


class SlopeConv(PlainConv):
    """The first convolution. Its kernels have zero mean and the border is replicated, so a constant gives zero."""

    def kernel(self) -> Tensor:
        return self.weight - self.weight.mean((2, 3), keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), self.kernel())


class Block(nn.Module):
    """Residual block."""

    def __init__(self, conv: type[PlainConv], channels: int, dilation: int) -> None:
        super().__init__()
        self.first, self.second = conv(channels, channels, dilation), conv(channels, channels)
        with torch.no_grad():
            self.second.weight.mul_(0.3)  # the variance of the sum then grows slowly with depth

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu_(self.first(x))).add_(x)


def find_highest(x: Tensor, reach: int) -> Tensor:
    """The highest value within a square around every pixel: along rows, then columns, which is a third of the work."""
    side = 2 * reach + 1
    x = F.max_pool2d(x, (1, side), stride=1, padding=(0, reach))
    return F.max_pool2d(x, (side, 1), stride=1, padding=(reach, 0))


class Swift(nn.Module):
    def __init__(self, config: SwiftConfig = SwiftConfig()) -> None:
        super().__init__()
        self.config = config
        conv = BranchedConv if config.branches else PlainConv
        self.head = SlopeConv(3, config.channels)
        dilations = [2 if index in config.dilated else 1 for index in range(config.blocks)]
        self.blocks = nn.ModuleList([Block(conv, config.channels, dilation) for dilation in dilations])
        self.join = conv(config.channels, config.channels)
        self.tail = PlainConv(config.channels, _PER_GAUSSIAN * _LATTICE**2)
        nn.init.normal_(self.tail.weight, std=1e-3)

    def encode(self, lr: Tensor) -> Tensor:  # [B, 3, h, w] -> [B, 8, 2h, 2w]: colours, and the raw shapes
        x = start = self.head(lr.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        x = F.relu_(self.join(x).add_(start))
        # Where convolutions answer in half precision, it ends here: places and colours are too fine for it.
        lattice = F.pixel_shuffle(self.tail(x).to(lr.dtype).contiguous(), _LATTICE)
        color = lattice[:, :3] + resize(lr, scale=_LATTICE)
        lattice[:, :3] = self._limit(color, lr)
        return lattice

    def _limit(self, color: Tensor, lr: Tensor) -> Tensor:  # [B, 3, 2h, 2w], [B, 3, h, w]
        """Colours within the range of their surroundings, give or take a little: what is drawn of them cannot ring."""
        highest = find_highest(lr, self.config.surroundings) + self.config.overshoot
        lowest = -find_highest(-lr, self.config.surroundings) - self.config.overshoot
        cells = color.unflatten(3, (-1, _LATTICE)).unflatten(2, (-1, _LATTICE))  # [B, 3, h, 2, w, 2]
        low, high = (bound[:, :, :, None, :, None] for bound in (lowest, highest))
        return cells.clamp(low, high).view_as(color)

    def field(self, features: Tensor, scale: Scale) -> GaussianField:  # [1, 8, 2h, 2w]
        """The Gaussians of one picture. They hold at every scale."""
        color, offset, width, lean = features[0].flatten(1).split([3, 2, 2, 1])  # [..., N]
        rows, columns = features.shape[-2:]
        y = (torch.arange(rows, device=features.device, dtype=features.dtype) + 0.5) / _LATTICE
        x = (torch.arange(columns, device=features.device, dtype=features.dtype) + 0.5) / _LATTICE
        sites = torch.stack([x.expand(rows, columns), y[:, None].expand(rows, columns)]).flatten(1)  # [2, N]
        c = self.config
        start = math.log((c.sigma_start - c.sigma_least) / (c.sigma_most - c.sigma_start))
        return GaussianField(
            # An offset never leaves the Gaussian's own cell of the lattice.
            mean=(sites + torch.tanh(offset) * (0.5 / _LATTICE)).T.contiguous(),
            sigma=(c.sigma_least + (c.sigma_most - c.sigma_least) * torch.sigmoid(width + start)).T.contiguous(),
            rho=c.rho_most * torch.tanh(lean[0]),
            color=color.T.contiguous(),
            source_size=(rows // _LATTICE, columns // _LATTICE),
            normalize=True,
        )

    def fuse(self) -> Swift:
        """The same network with every kernel melted into one."""
        plain = Swift(replace(self.config, branches=False)).to(self.head.weight.device, self.head.weight.dtype)
        ours = {name: part for name, part in self.named_modules() if isinstance(part, PlainConv)}
        with torch.no_grad():
            for name, part in plain.named_modules():
                if isinstance(part, PlainConv):
                    part.weight.copy_(ours[name].kernel())
        return plain.train(self.training)


def _build(config: SwiftConfig) -> nn.Module:
    return Swift(config)


_DEEP = SwiftConfig(channels=40, blocks=9, dilated=(3, 5))

# The overlap is the number of 3x3 convolutions, the dilated ones counted twice; the cubic base sees two pixels.
ARCHS = (
    Architecture("swift", functools.partial(_build, SwiftConfig()), "field", lattice=_LATTICE, overlap=16),
    Architecture(
        "swift-train", functools.partial(_build, SwiftConfig(branches=True)), "field", lattice=_LATTICE, overlap=16
    ),
    Architecture("swift-deep", functools.partial(_build, _DEEP), "field", lattice=_LATTICE, overlap=24),
)

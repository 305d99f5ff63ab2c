"""Swift: encodes an image as 2-D Gaussians in a fraction of a second on a CPU; one encoding is drawn at any scale.

It combines Gaussians as the continuous picture (GSASR, arXiv:2501.06838) with a plain convolutional body of residual
blocks. Differences: the field does not depend on the scale; splatting is normalised; every source pixel has a 2x2
lattice of Gaussians, initially a pixel shuffle x2.

The first kernels have zero mean and no layer has a bias, so a constant patch of any colour gives a zero residual.
For the same reason a constant added to the input is added to the output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gsr_app.core.types import GaussianField, Scale
from gsr_app.models.pretrained import Pretrained
from gsr_app.models.registry import Architecture
from gsr_app.ops.resize import resize

_LATTICE = 2  # Gaussians per source pixel and axis
_PER_GAUSSIAN = 8  # red, green, blue, offset x, y, sigma x, y, rho


@dataclass(frozen=True)
class SwiftConfig:
    channels: int = 40
    blocks: int = 9
    dilated: tuple[int, ...] = (3, 5)  # blocks whose first convolution has a dilation of 2: a wider view at no cost
    sigma_least: float = 0.1  # source pixels
    sigma_most: float = 0.6
    sigma_start: float = 0.22  # neighbours half a pixel apart then have little weight at each other's centre
    rho_most: float = 0.9
    overshoot: float = 7.5 / 255  # how far a colour may leave the range of its neighbourhood,
    surroundings: int = 3  # the source pixels within this distance of its own


class PlainConv(nn.Module):
    """A 3x3 convolution without bias."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__()
        self.dilation = dilation
        # CPU convolutions are fastest in this layout.
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3, memory_format=torch.channels_last))
        nn.init.kaiming_normal_(self.weight)

    def kernel(self) -> Tensor:  # [outputs, inputs, 3, 3]
        return self.weight

    def forward(self, x: Tensor) -> Tensor:  # [B, inputs, h, w] -> [B, outputs, h, w]
        return F.conv2d(x, self.kernel(), padding=self.dilation, dilation=self.dilation)


class ZeroMeanConv(PlainConv):
    """The first convolution. Its kernels have zero mean and the border is replicated, so a constant gives zero."""

    def kernel(self) -> Tensor:
        return self.weight - self.weight.mean((2, 3), keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), self.kernel())


class Block(nn.Module):
    """Residual block."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first, self.second = PlainConv(channels, channels, dilation), PlainConv(channels, channels)
        with torch.no_grad():
            self.second.weight.mul_(0.3)  # the variance of the sum then grows slowly with depth

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu_(self.first(x))).add_(x)


def local_maximum(x: Tensor, reach: int) -> Tensor:
    """The maximum over a square around every pixel; separable, which takes a third of the time."""
    side = 2 * reach + 1
    x = F.max_pool2d(x, (1, side), stride=1, padding=(0, reach))
    return F.max_pool2d(x, (side, 1), stride=1, padding=(reach, 0))


class Swift(Pretrained):
    gap = 4  # source pixels between pictures that are drawn together; a Gaussian reaches less than 3

    def __init__(self, config: SwiftConfig = SwiftConfig()) -> None:
        super().__init__()
        self.config = config
        self.head = ZeroMeanConv(3, config.channels)
        dilations = [2 if index in config.dilated else 1 for index in range(config.blocks)]
        self.blocks = nn.ModuleList([Block(config.channels, dilation) for dilation in dilations])
        self.join = PlainConv(config.channels, config.channels)
        self.tail = PlainConv(config.channels, _PER_GAUSSIAN * _LATTICE**2)
        nn.init.normal_(self.tail.weight, std=1e-3)

    def extend(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a network with fewer blocks, for this one: a block that is added changes nothing at first."""
        own = {f"blocks.{name}": x for name, x in self.blocks.state_dict().items()}
        return {**{name: torch.zeros_like(x) if ".second." in name else x for name, x in own.items()}, **state}

    def encode(self, lr: Tensor) -> Tensor:  # [B, 3, h, w] -> [B, 8, 2h, 2w]: colours and raw shapes
        lattice = self.convolve(lr)
        color = lattice[:, :3] + resize(lr, scale=_LATTICE)
        lattice[:, :3] = self.limit(color, lr)
        return lattice

    def convolve(self, lr: Tensor) -> Tensor:  # [B, 3, h, w] -> [B, 8, 2h, 2w]
        """What the layers add to a cubic enlargement, and raw shapes."""
        x = start = self.head(lr.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        x = F.relu_(self.join(x).add_(start))
        # Under autocast half precision ends here: it is too coarse for positions and colours.
        return F.pixel_shuffle(self.tail(x).to(lr.dtype).contiguous(), _LATTICE)

    def limit(self, color: Tensor, lr: Tensor) -> Tensor:  # [B, 3, 2h, 2w], [B, 3, h, w]
        """Clamp colours to slightly more than the range of their neighbourhood, which bounds ringing."""
        highest = local_maximum(lr, self.config.surroundings) + self.config.overshoot
        lowest = -local_maximum(-lr, self.config.surroundings) - self.config.overshoot
        cells = color.unflatten(3, (-1, _LATTICE)).unflatten(2, (-1, _LATTICE))  # [B, 3, h, 2, w, 2]
        low, high = (bound[:, :, :, None, :, None] for bound in (lowest, highest))
        return cells.clamp(low, high).view_as(color)

    def field(self, features: Tensor, scale: Scale) -> GaussianField:  # [1, 8, 2h, 2w]
        """The Gaussians of one picture, the same for every scale."""
        return self.fields(features)

    def fields(self, features: Tensor) -> GaussianField:  # [B, 8, 2h, 2w]
        """The Gaussians of a batch, picture after picture, each in the coordinates of its own."""
        color, offset, width, lean = features.permute(1, 0, 2, 3).split([3, 2, 2, 1])  # [..., B, 2h, 2w]
        rows, columns = features.shape[-2:]
        y = (torch.arange(rows, device=features.device, dtype=features.dtype) + 0.5) / _LATTICE
        x = (torch.arange(columns, device=features.device, dtype=features.dtype) + 0.5) / _LATTICE
        sites = torch.stack([x.expand(rows, columns), y[:, None].expand(rows, columns)])[:, None]  # [2, 1, 2h, 2w]
        c = self.config
        start = math.log((c.sigma_start - c.sigma_least) / (c.sigma_most - c.sigma_start))
        sigma = c.sigma_least + (c.sigma_most - c.sigma_least) * torch.sigmoid(width + start)
        return GaussianField(
            # An offset never leaves the Gaussian's own cell of the lattice.
            mean=(sites + torch.tanh(offset) * (0.5 / _LATTICE)).flatten(1).T.contiguous(),
            sigma=sigma.flatten(1).T.contiguous(),
            rho=c.rho_most * torch.tanh(lean.flatten()),
            color=color.flatten(1).T.contiguous(),
            source_size=(rows // _LATTICE, columns // _LATTICE),
            normalize=True,
        )


# The overlap is the number of 3x3 convolutions, the dilated ones counted twice; the cubic base sees two pixels.
ARCHS = (
    Architecture("swift", Swift, "field", lattice=_LATTICE, overlap=24),
    Architecture("swift-12", lambda: Swift(SwiftConfig(blocks=12)), "field", lattice=_LATTICE, overlap=30),
)

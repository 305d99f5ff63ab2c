"""EDSR-baseline and RDN without their upsamplers, with the two sets of parameter names that checkpoints use.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017.
Zhang et al., "Residual Dense Network for Image Super-Resolution", CVPR 2018; configuration B.
The arithmetic is written once, as functions; the classes only name the parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

CHANNELS = 64
_EDSR_BLOCKS = 16
_RDN_BLOCKS, _RDN_LAYERS, _RDN_GROWTH = 16, 8, 64


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def add_dense_layers(x: torch.Tensor, layers: Iterable[nn.Module], merge: nn.Module) -> torch.Tensor:
    """Each layer gets the input and all earlier outputs; a 1x1 convolution merges them into a residual."""
    dense = x
    for layer in layers:
        dense = torch.cat([dense, F.relu(layer(dense), inplace=True)], dim=1)
    return x + merge(dense)


def encode_densely(
    image: torch.Tensor, first: nn.Module, second: nn.Module, blocks: Iterable[nn.Module], merge: nn.Module
) -> torch.Tensor:
    """RDN: the outputs of all blocks are merged into a residual of the first convolution."""
    shallow = first(image)
    x = second(shallow)
    outputs: list[torch.Tensor] = []
    for block in blocks:
        x = block(x)
        outputs.append(x)
    return merge(torch.cat(outputs, dim=1)) + shallow


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv3(CHANNELS, CHANNELS), nn.ReLU(inplace=True), conv3(CHANNELS, CHANNELS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class EDSR(nn.Module):
    """[B, 3, h, w] -> [B, 64, h, w]; parameter names of EDSR-PyTorch, as in LIIF and GaussianSR."""

    def __init__(self) -> None:
        super().__init__()
        # In the checkpoints, but not applied.
        self.sub_mean = nn.Conv2d(3, 3, 1).requires_grad_(False)
        self.add_mean = nn.Conv2d(3, 3, 1).requires_grad_(False)
        self.head = nn.Sequential(conv3(3, CHANNELS))
        self.body = nn.Sequential(*(_Residual() for _ in range(_EDSR_BLOCKS)), conv3(CHANNELS, CHANNELS))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        shallow = self.head(image)
        return shallow + self.body(shallow)


class _DenseLayer(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv3(inputs, _RDN_GROWTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class _DenseBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(_DenseLayer(width) for width in dense_widths()[:-1]))
        self.LFF = nn.Conv2d(dense_widths()[-1], CHANNELS, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return add_dense_layers(x, self.convs, self.LFF)


class RDN(nn.Module):
    """[B, 3, h, w] -> [B, 64, h, w]; parameter names of RDN-PyTorch, as in LIIF."""

    def __init__(self) -> None:
        super().__init__()
        self.SFENet1, self.SFENet2 = conv3(3, CHANNELS), conv3(CHANNELS, CHANNELS)
        self.RDBs = nn.ModuleList(_DenseBlock() for _ in range(_RDN_BLOCKS))
        self.GFF = merging_convs()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return encode_densely(image, self.SFENet1, self.SFENet2, self.RDBs, self.GFF)


def dense_widths() -> Sequence[int]:
    """The input channels of each of a block's layers, and last of its merge."""
    return [CHANNELS + layer * _RDN_GROWTH for layer in range(_RDN_LAYERS + 1)]


def merging_convs() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(_RDN_BLOCKS * CHANNELS, CHANNELS, 1), conv3(CHANNELS, CHANNELS))


class _NamedResidual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv3(CHANNELS, CHANNELS), conv3(CHANNELS, CHANNELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(F.relu(self.conv1(x), inplace=True))


class _NamedDenseLayer(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv = conv3(inputs, _RDN_GROWTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class _NamedDenseBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(_NamedDenseLayer(width) for width in dense_widths()[:-1]))
        self.lff = nn.Conv2d(dense_widths()[-1], CHANNELS, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return add_dense_layers(x, self.layers, self.lff)


class RootEncoder(nn.Module):
    """Base class of encoders whose parameters are at the root of the network that uses them."""

    def extract(self, image: torch.Tensor) -> torch.Tensor:
        """[B, 3, h, w] -> [B, 64, h, w]"""
        raise NotImplementedError


class NamedEDSR(RootEncoder):
    """EDSR with the parameter names of MMEditing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_first = conv3(3, CHANNELS)
        self.body = nn.Sequential(*(_NamedResidual() for _ in range(_EDSR_BLOCKS)))
        self.conv_after_body = conv3(CHANNELS, CHANNELS)

    def extract(self, image: torch.Tensor) -> torch.Tensor:
        shallow = self.conv_first(image)
        return shallow + self.conv_after_body(self.body(shallow))


class NamedRDN(RootEncoder):
    """RDN with the parameter names of MMEditing."""

    def __init__(self) -> None:
        super().__init__()
        self.sfe1, self.sfe2 = conv3(3, CHANNELS), conv3(CHANNELS, CHANNELS)
        self.rdbs = nn.ModuleList(_NamedDenseBlock() for _ in range(_RDN_BLOCKS))
        self.gff = merging_convs()

    def extract(self, image: torch.Tensor) -> torch.Tensor:
        return encode_densely(image, self.sfe1, self.sfe2, self.rdbs, self.gff)

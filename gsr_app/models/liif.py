"""LIIF: a small network decodes each output pixel, at any scale, from the four nearest feature vectors.

Chen, Liu, Wang, "Learning Continuous Image Representation with Local Implicit Image Function", CVPR 2021,
arXiv 2012.09161. Original: github.com/yinboc/liif, BSD-3-Clause.

The same results with less work: the first layer of the decoder is linear in the 3x3 neighbourhood of features, so it
is one convolution of the feature map, computed once per source pixel instead of four times per output pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from gsr_app.core.types import View
from gsr_app.models.layers.encoders import CHANNELS, EDSR, RDN
from gsr_app.models.layers.lattice import SourceTile, axes, in_range, stretch
from gsr_app.models.layers.mlp import MLP
from gsr_app.models.registry import Architecture

# Output pixels decoded at a time: their hidden layers take about 30 MB, whatever the size of the image.
_PIXELS_AT_ONCE = 16384

# Moves the shifted coordinates off the borders between cells, where rounding would choose the cell.
_NUDGE = 1e-6
_LEAST_AREA = 1e-9


Encoder = Literal["edsr", "rdn"]


@dataclass(frozen=True)
class LIIFConfig:
    encoder: Encoder = "edsr"
    hidden: tuple[int, ...] = (256, 256, 256, 256)
    local_ensemble: bool = True  # four neighbours, weighted by the areas opposite to them
    feat_unfold: bool = True  # 3x3 neighbourhoods of features
    cell_decode: bool = True  # give the decoder the size of an output pixel


class LIIF(nn.Module):
    def __init__(self, *, config: LIIFConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = EDSR() if config.encoder == "edsr" else RDN()
        self.taps = 3 if config.feat_unfold else 1
        inputs = CHANNELS * self.taps**2 + 2 + 2 * config.cell_decode
        self.imnet = MLP((inputs, *config.hidden, 3))

    def forward(self, lr: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return stretch(self, lr, size, _PIXELS_AT_ONCE)

    def encode(self, lr: torch.Tensor) -> torch.Tensor:
        """[B, 3, h, w] in 0..1 -> [B, 64, h, w]"""
        return self.encoder(((lr - 0.5) / 0.5).contiguous(memory_format=torch.channels_last))

    def query(self, features: torch.Tensor, view: View) -> torch.Tensor:
        """[1, 3, *view.size] in 0..1 of any view of the source plane."""
        return in_range(self, self.decode(features, view) * 0.5 + 0.5)

    def decode(self, features: torch.Tensor, view: View) -> torch.Tensor:
        """[*view.size, 3], as the decoder was trained: -1..1, unclamped."""
        y, x = axes(view, (features.shape[2], features.shape[3]))
        shifts = (-1, 1) if self.config.local_ensemble else (0,)
        nudge = _NUDGE if self.config.local_ensemble else 0.0
        rows, columns = ([axis.nearest(shift, nudge) for shift in shifts] for axis in (y, x))
        tile = SourceTile.around(rows, columns)
        table = self._project(tile.cut(features, self.taps // 2))
        weight = self._first.weight[:, CHANNELS * self.taps**2 :]  # [D, 2 or 4]: of the offset, of the cell
        shared = table.new_zeros(len(weight))
        if self.config.cell_decode:
            shared = weight[:, 2:] @ table.new_tensor([y.cell * y.count, x.cell * x.count])
        outputs: list[torch.Tensor] = []
        areas: list[torch.Tensor] = []
        for row in rows:
            away_y = y.offset(row).to(table)
            for column in columns:
                away_x = x.offset(column).to(table)
                # The decoder's first layer: gathered features, the terms of the offset, and what all pixels share.
                hidden = tile.gather(table, row, column)  # [H, W, D]
                hidden = hidden + (away_y[:, None] * weight[:, 0] + shared)[:, None] + away_x[:, None] * weight[:, 1]
                outputs.append(self.imnet.layers[1:](hidden))
                areas.append((away_y[:, None] * away_x).abs() + _LEAST_AREA)
        total = torch.stack(areas).sum(0)
        # Each output is weighted by the area of the diagonally opposite one: bilinear interpolation.
        opposite = [(area / total)[..., None] for area in reversed(areas)]
        return torch.stack([a * w for a, w in zip(outputs, opposite, strict=True)]).sum(0)

    def _project(self, features: torch.Tensor) -> torch.Tensor:
        """The decoder's first layer on every 3x3 neighbourhood: [1, 64, h+2, w+2] -> [h*w, D]"""
        kernel = self._first.weight[:, : CHANNELS * self.taps**2].unflatten(1, (CHANNELS, self.taps, self.taps))
        return F.conv2d(features, kernel, self._first.bias).permute(0, 2, 3, 1).flatten(0, 2)

    @property
    def _first(self) -> nn.Linear:
        first = self.imnet.layers[0]
        assert isinstance(first, nn.Linear)
        return first


# The receptive fields reach 35 (EDSR) and 148 (RDN) pixels, but the weight of pixels beyond 32 is negligible.
ARCHS = tuple(
    Architecture(
        id=f"liif-{encoder}",
        build=partial(LIIF, config=LIIFConfig(encoder=encoder)),
        kind="continuous",
        overlap=32,
        bytes_per_pixel=10_000,
        pixels_at_once=_PIXELS_AT_ONCE,
    )
    for encoder in get_args(Encoder)
)

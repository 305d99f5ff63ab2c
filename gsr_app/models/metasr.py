"""MetaSR: a small network predicts, for each output pixel, the filter that is applied to the nearest features.

Hu, Mu, Zhang, Wang, Sun, Tan, "Meta-SR: A Magnification-Arbitrary Network for Super-Resolution", CVPR 2019,
arXiv 1903.00875, in the variant that github.com/yinboc/liif (BSD-3-Clause) uses as a baseline.
No weights of this variant are published; it is here for training and comparison.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from gsr_app.core.types import View
from gsr_app.models.layers.encoders import CHANNELS, EDSR
from gsr_app.models.layers.lattice import Axis, SourceTile, axes, in_range, stretch
from gsr_app.models.layers.mlp import MLP
from gsr_app.models.registry import Architecture

_TAPS = 9
_NUDGE = 1e-6
_PIXELS_AT_ONCE = 4096  # output pixels: each has a filter of 576 x 3


class MetaSR(nn.Module):
    def __init__(self, *, hidden: int = 256) -> None:
        super().__init__()
        self.encoder = EDSR()
        self.imnet = MLP((3, hidden, CHANNELS * _TAPS * 3))

    def forward(self, lr: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return stretch(self, lr, size, _PIXELS_AT_ONCE)

    def encode(self, lr: torch.Tensor) -> torch.Tensor:
        """[B, 3, h, w] in 0..1 -> [B, 64, h, w]"""
        return self.encoder(((lr - 0.5) / 0.5).contiguous(memory_format=torch.channels_last))

    def query(self, features: torch.Tensor, view: View) -> torch.Tensor:
        """[1, 3, *view.size] in 0..1 of any view of the source plane."""
        return in_range(self, self.decode(features, view) * 0.5 + 0.5)

    def decode(self, features: torch.Tensor, view: View) -> torch.Tensor:
        """[*view.size, 3], as trained: -1..1, unclamped."""
        y, x = axes(view, (features.shape[2], features.shape[3]))
        row, column = _corner(y), _corner(x)
        tile = SourceTile.around([row], [column])
        table = F.unfold(tile.cut(features, 1), 3)[0].t()  # [h*w, 576]
        away_y, away_x = _from_corner(y, row).to(table), _from_corner(x, column).to(table)
        # The network gets the vertical size of an output pixel only.
        size = torch.full(view.size, y.cell * y.count / 2).to(table)
        where = torch.stack([away_y[:, None].expand(view.size), away_x.expand(view.size), size], dim=-1)
        filters = self.imnet(where).unflatten(-1, (-1, 3))  # [H, W, 576, 3]
        return (tile.gather(table, row, column)[..., None, :] @ filters)[..., 0, :]


def _corner(axis: Axis) -> torch.Tensor:
    """[N] the source pixel that holds the first corner of each output pixel."""
    return axis.nearest(-axis.cell / 2 * axis.count, _NUDGE)


def _from_corner(axis: Axis, index: torch.Tensor) -> torch.Tensor:
    """[N] from the first corner of the source pixel to that of the output pixel, in source pixels."""
    return (axis.offset(index) - axis.cell / 2 * axis.count + 1) / 2


ARCHS = (
    Architecture(
        id="metasr-edsr",
        build=MetaSR,
        kind="continuous",
        overlap=32,
        bytes_per_pixel=10_000,
        pixels_at_once=_PIXELS_AT_ONCE,
    ),
)

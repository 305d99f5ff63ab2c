"""CiaoSR: attention among the four nearest features, and from every feature to the whole image at half size.

Cao, Wang, Xian, Li, Ni, Pi, Zhang, Zhang, Timofte, Van Gool, "CiaoSR: Continuous Implicit Attention-in-Attention
Network for Arbitrary-Scale Image Super-Resolution", CVPR 2023, arXiv 2212.04362.
Original: github.com/caojiezhang/CiaoSR, CC BY-NC 4.0: non-commercial. This file is written from a description.

The same results with less memory: attention over the image goes band by band, 3x3 neighbourhoods are unfolded only for
the tile being decoded, and the first layers of the decoders are computed once per source pixel, as in `liif`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from gsr_app.core.types import View
from gsr_app.models.layers.encoders import CHANNELS, NamedEDSR, NamedRDN, RootEncoder
from gsr_app.models.layers.lattice import Axis, SourceTile, axes, in_range, stretch
from gsr_app.models.layers.mlp import MLP
from gsr_app.models.registry import Architecture

_MEAN = (0.4488, 0.4371, 0.4040)
_NUDGE = 1e-6
_TAPS = 9
_KEY = CHANNELS * _TAPS
_VALUE = _KEY + CHANNELS
_PIXELS_AT_ONCE = 8192  # output pixels decoded at a time
_SCORES_AT_ONCE = 1 << 21  # attention scores in memory at a time


@dataclass(frozen=True)
class CiaoSRConfig:
    hidden: tuple[int, ...] = (256, 256, 256, 256)
    match_channels: int = 32
    sharpness: float = 10.0  # of the attention over the picture


def _pointwise(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.PReLU())


class Fetch(nn.Module):
    """Attention-weighted values of similar places. A module, because a run can be cancelled between modules."""

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, band: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """[n, D], [L, D], [L, V] -> [n, V]"""
        return (self.sharpness * (band @ keys.t())).softmax(dim=1) @ values


class CrossScaleAttention(nn.Module):
    """For every pixel, the full-size features of similar places, found in the half-size image."""

    escape_NaN: torch.Tensor  # noqa: N815  # the checkpoints' name

    def __init__(self, config: CiaoSRConfig) -> None:
        super().__init__()
        self.register_buffer("escape_NaN", torch.tensor([1e-4]))
        self.conv_match_1 = _pointwise(CHANNELS, config.match_channels)
        self.conv_match_2 = _pointwise(CHANNELS, config.match_channels)
        self.conv_assembly = _pointwise(CHANNELS, CHANNELS)
        self.down = nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1)
        self.fetch = Fetch(config.sharpness)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[1, 64, h, w] -> [1, 64, h, w]"""
        height, width = features.shape[2:]
        x = F.pad(features, (0, width % 2, 0, height % 2), mode="reflect")
        half = F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
        # Each 3x3 neighbourhood at half size covers a 6x6 one at full size: [L, D]
        keys = F.unfold(self.conv_match_2(half), 3, padding=1)[0].t()
        keys = keys / torch.maximum(keys.norm(dim=1, keepdim=True), self.escape_NaN)
        values = F.unfold(self.conv_assembly(x), 6, stride=2, padding=2)[0].t()
        padded = F.pad(self.conv_match_1(x), (1, 1, 1, 1))
        rows, columns = x.shape[2:]
        fetched = x.new_zeros(1, CHANNELS, 2 * rows + 4, 2 * columns + 4)
        step = max(1, _SCORES_AT_ONCE // (columns * len(keys)))
        for top in range(0, rows, step):
            count = min(step, rows - top)
            band = F.unfold(padded[:, :, top : top + count + 2], 3)[0].t()  # [count*columns, D]
            found = [self.fetch(queries, keys, values) for queries in band.split(max(1, _SCORES_AT_ONCE // len(keys)))]
            size = (2 * count + 4, 2 * columns + 4)
            fetched[:, :, 2 * top : 2 * top + size[0]] += F.fold(torch.cat(found).t()[None], size, 6, stride=2)
        return self.down(fetched[:, :, 2:-2, 2:-2])[:, :, :height, :width] / 6


class CiaoSR(RootEncoder):
    """Everything after the encoder; `extract` is the encoder's."""

    def __init__(self, *, config: CiaoSRConfig) -> None:
        super().__init__()
        self.imnet_q = MLP((_VALUE, *config.hidden, 3))
        self.imnet_k = MLP((_KEY + 4, *config.hidden, _KEY))
        self.imnet_v = MLP((_VALUE + 4, *config.hidden, _VALUE))
        self.cs_attn = CrossScaleAttention(config)

    def forward(self, lr: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return stretch(self, lr, size, _PIXELS_AT_ONCE)

    def encode(self, lr: torch.Tensor) -> torch.Tensor:
        """[1, 3, h, w] in 0..1 -> [1, 131, h, w]: features, fetched features, and the image."""
        image = lr - lr.new_tensor(_MEAN).view(1, 3, 1, 1)
        features = self.extract(image)
        return torch.cat([features, self.cs_attn(features), image], dim=1)

    def query(self, features: torch.Tensor, view: View) -> torch.Tensor:
        """[1, 3, *view.size] in 0..1 of any view of the source plane."""
        decoded = self.decode(features, view)
        return in_range(self, decoded + decoded.new_tensor(_MEAN))

    def decode(self, features: torch.Tensor, view: View) -> torch.Tensor:
        """[*view.size, 3] around the mean, unclamped."""
        y, x = axes(view, (features.shape[2], features.shape[3]))
        row, column = y.nearest(), x.nearest()
        rows, columns = _corners(y), _corners(x)
        tile = SourceTile.around([*rows, row], [*columns, column])
        trunk, fetched, _ = features.split([CHANNELS, CHANNELS, 3], dim=1)
        near = tile.cut(trunk, 1)
        table = F.unfold(near, 3)[0].t()  # [h*w, 576]
        table = torch.cat([table, tile.cut(fetched, 0)[0].flatten(1).t()], dim=1)  # [h*w, 640]
        first_k, first_v = _first_layer(self.imnet_k, table[:, :_KEY]), _first_layer(self.imnet_v, table)
        cell = table.new_tensor([y.cell * y.count, x.cell * x.count])

        query = tile.gather(table[:, :_KEY], row, column)
        corners = [(r, c) for r in rows for c in columns]
        scores: list[torch.Tensor] = []
        for r, c in corners:
            where = _where(y, x, r, c, cell)
            key = tile.gather(table[:, :_KEY], r, c) * _rest(self.imnet_k, tile.gather(first_k, r, c), where)
            scores.append((query * key).sum(-1))
        weights = torch.stack(scores, dim=-1).softmax(-1)
        mixed = torch.zeros_like(tile.gather(table, row, column))
        for number, (r, c) in enumerate(corners):
            where = _where(y, x, r, c, cell)
            value = tile.gather(table, r, c) * _rest(self.imnet_v, tile.gather(first_v, r, c), where)
            mixed = mixed + weights[..., number, None] * value
        return self.imnet_q(mixed) + _bilinear(features[:, -3:], y, x)


def _corners(axis: Axis) -> list[torch.Tensor]:
    """The nearest source pixels on either side: about half a source pixel away, less for large output pixels."""
    away = (1 - axis.cell) / (axis.count - 1) * axis.count if axis.count > 1 else 0.0
    return [axis.nearest(side * away, _NUDGE) for side in (-1, 1)]


def _where(y: Axis, x: Axis, row: torch.Tensor, column: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
    """[H, W, 4] offset from the source pixel and size of an output pixel, both (y, x) in source half-pixels."""
    shape = len(row), len(column)
    away_y, away_x = y.offset(row).to(cell), x.offset(column).to(cell)
    away = torch.stack([away_y[:, None].expand(shape), away_x.expand(shape)], dim=-1)
    return torch.cat([away, cell.expand(*shape, 2)], dim=-1)


def _first_layer(net: MLP, table: torch.Tensor) -> torch.Tensor:
    first = net.layers[0]
    assert isinstance(first, nn.Linear)
    return F.linear(table, first.weight[:, :-4], first.bias)


def _rest(net: MLP, hidden: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    first = net.layers[0]
    assert isinstance(first, nn.Linear)
    return net.layers[1:](hidden + F.linear(where, first.weight[:, -4:]))


def _bilinear(image: torch.Tensor, y: Axis, x: Axis) -> torch.Tensor:
    """[H, W, 3] of the image, interpolated between pixel centres; constant beyond the outermost."""
    grid = torch.stack(torch.meshgrid(x.coord, y.coord, indexing="xy"), dim=-1).to(image)[None]
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)[0].permute(1, 2, 0)


class CiaoSREDSR(CiaoSR, NamedEDSR):
    """The checkpoints keep the encoder's parameters beside the decoder's, so the encoder is a base class."""


class CiaoSRRDN(CiaoSR, NamedRDN):
    """As `CiaoSREDSR`, on RDN."""


# Attention over the picture is quadratic in its size, and the authors' own tiles are 192 with an overlap of 32.
ARCHS = tuple(
    Architecture(
        id=f"ciaosr-{encoder}",
        build=partial(network, config=CiaoSRConfig()),
        kind="continuous",
        minimum_size=2,
        overlap=32,
        largest_tile=256,
        pixels_at_once=_PIXELS_AT_ONCE,
    )
    for encoder, network in (("edsr", CiaoSREDSR), ("rdn", CiaoSRRDN))
)

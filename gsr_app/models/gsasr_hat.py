"""The HAT-L encoder of GSASR, with mixed rotary positions, ending in 64 feature channels.

Chen et al., "Activating More Pixels in Image Super-Resolution Transformer", CVPR 2023, arXiv 2205.04437.
Parameter names follow the checkpoints of GSASR, https://github.com/ChrisDud0257/GSASR, Apache-2.0.
Quirks that the weights need:
shifted windows are not masked; queries of the overlapping attention take their positions from the 24-wide table of the
keys; keys and values beyond the border are exactly zero and are part of the softmax; the final LeakyReLU has slope
0.01; no mean is subtracted. The channel attention averages over the whole image, so a tile differs a little from the
same place in the untiled image, however large the overlap.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gsr_app.models.layers.mlp import FeedForward
from gsr_app.models.layers.rope import fresh_frequencies, raster_positions, rotate, rotation
from gsr_app.models.layers.window_grid import (
    WindowEncoder,
    WindowGrid,
    gather,
    inverse,
    relative_positions,
    to_image,
    to_plane,
)

WINDOW = 16
OVERLAPPED = 24  # side of the windows of keys and values in the overlapping attention
MARGIN = (OVERLAPPED - WINDOW) // 2
BRANCH_WEIGHT = 0.01  # of the channel branch

# For unshifted and for shifted layers: the order of the tokens in windows, and its inverse.
Orders = tuple[tuple[Tensor, Tensor], ...]


class RotaryAttention(nn.Module):
    """The common part of both attentions: rotary positions over a square raster, input and output projections."""

    rope_t_x: Tensor
    rope_t_y: Tensor

    def __init__(self, channels: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.rope_freqs = nn.Parameter(fresh_frequencies(heads, channels // heads))
        x, y = raster_positions(side)
        self.register_buffer("rope_t_x", x)
        self.register_buffer("rope_t_y", y)
        self._add_projections(channels)

    def _add_projections(self, channels: int) -> None:
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [windows, tokens, C], k and v [windows, other tokens, C] -> [windows, tokens, C]"""
        turn = rotation(self.rope_freqs, self.rope_t_x, self.rope_t_y)
        q, k, v = (t.unflatten(-1, (self.heads, -1)) for t in (q, k, v))
        q, k = rotate(q, turn[: q.shape[1]]), rotate(k, turn)
        out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return out.transpose(1, 2).flatten(2)


class WindowAttention(RotaryAttention):
    def forward(self, windows: Tensor) -> Tensor:
        """[windows, 256, C] -> the same"""
        return self.proj(self.attend(*self.qkv(windows).chunk(3, dim=-1)))


class ChannelAttention(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


class ChannelBranch(nn.Module):
    def __init__(self, channels: int, compressed: int, squeezed: int) -> None:
        super().__init__()
        self.cab = nn.Sequential(
            nn.Conv2d(channels, compressed, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(compressed, channels, 3, padding=1),
            ChannelAttention(channels, squeezed),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.cab(x)


class Layer(nn.Module):
    def __init__(self, channels: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, WINDOW)
        self.conv_block = ChannelBranch(channels, channels // 3, channels // 32)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = FeedForward(channels, hidden)

    def forward(self, x: Tensor, order: Tensor, back: Tensor) -> Tensor:
        """x [b, h, w, C]; `order` and `back` permute the tokens to this layer's windows and back."""
        u = self.norm1(x)
        branch = to_plane(self.conv_block(to_image(u)))
        windows = gather(u, order).unflatten(0, (-1, WINDOW * WINDOW))
        x = x + gather(self.attn(windows), back).view(x.shape)
        x = x + BRANCH_WEIGHT * branch
        return x + self.mlp(self.norm2(x))


class OverlapAttention(RotaryAttention):
    """Queries from 16 × 16 windows, keys and values from the 24 × 24 windows around them."""

    def __init__(self, channels: int, heads: int, hidden: int) -> None:
        super().__init__(channels, heads, OVERLAPPED)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = FeedForward(channels, hidden)

    def _add_projections(self, channels: int) -> None:
        self.norm1 = nn.LayerNorm(channels)
        super()._add_projections(channels)

    def forward(self, x: Tensor, order: Tensor, back: Tensor) -> Tensor:
        """x [b, h, w, C]; `order` and `back` permute the tokens to the unshifted windows and back."""
        q, kv = self.qkv(self.norm1(x)).split((x.shape[-1], 2 * x.shape[-1]), dim=-1)
        q = gather(q, order).unflatten(0, (-1, WINDOW * WINDOW))
        # Zeros after the projection: keys and values beyond the border are exactly 0.
        kv = F.pad(kv, (0, 0, MARGIN, MARGIN, MARGIN, MARGIN))
        kv = kv.unfold(1, OVERLAPPED, WINDOW).unfold(2, OVERLAPPED, WINDOW)  # [b, m, n, 2C, 24, 24]
        k, v = kv.movedim(3, -1).flatten(3, 4).flatten(0, 2).chunk(2, dim=-1)  # [windows, 576, C]
        x = x + gather(self.proj(self.attend(q, k, v)), back).view(x.shape)
        return x + self.mlp(self.norm2(x))


class ResidualGroup(nn.Module):
    def __init__(self, channels: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Layer(channels, heads, hidden) for _ in range(layers))
        self.overlap_attn = OverlapAttention(channels, heads, hidden)

    def forward(self, x: Tensor, orders: Orders) -> Tensor:
        for i, layer in enumerate(self.blocks):
            x = layer(x, *orders[i % 2])
        return self.overlap_attn(x, *orders[0])


class Stage(nn.Module):
    def __init__(self, channels: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.residual_group = ResidualGroup(channels, heads, hidden, layers)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, orders: Orders) -> Tensor:
        return x + to_plane(self.conv(to_image(self.residual_group(x, orders))))


def overlapped_positions() -> Tensor:
    """The index of the bias that rotary positions replaced [256, 576]; in the checkpoints, but unused."""
    inner, outer = (torch.arange(side) for side in (WINDOW, OVERLAPPED))
    (qy, qx), (ky, kx) = (torch.meshgrid(a, a, indexing="ij") for a in (inner, outer))
    dy = ky.flatten()[None, :] - qy.flatten()[:, None]
    dx = kx.flatten()[None, :] - qx.flatten()[:, None]
    reach = WINDOW - OVERLAPPED + 1  # -7
    return (dy + reach) * (WINDOW + OVERLAPPED - 1) + dx + reach


class HATEncoder(WindowEncoder):
    def __init__(
        self, *, channels: int = 192, stages: int = 12, layers: int = 6, heads: int = 6, hidden: int = 384
    ) -> None:
        super().__init__(channels, (Stage(channels, heads, hidden, layers) for _ in range(stages)))
        self.register_buffer("relative_position_index_SA", relative_positions(WINDOW))
        self.register_buffer("relative_position_index_OCA", overlapped_positions())

    def transform(self, x: Tensor) -> Tensor:
        b, h, w, _ = x.shape
        grid = WindowGrid(b, h, w, WINDOW, x.device)
        unshifted, shifted = grid.order(), grid.order(WINDOW // 2)
        orders = ((unshifted, inverse(unshifted)), (shifted, inverse(shifted)))
        for stage in self.layers:
            x = stage(x, orders)
        return x

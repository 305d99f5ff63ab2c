"""The SwinIR encoder of GSASR: the trunk of SwinIR, ending in 64 feature channels.

Liang et al., "SwinIR: Image Restoration Using Swin Transformer", ICCVW 2021, arXiv 2108.10257.
Parameter names follow the checkpoints of GSASR, https://github.com/ChrisDud0257/GSASR, Apache-2.0.
Quirks that the weights need:
the final LeakyReLU has slope 0.01, and no mean is subtracted from the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gsr_app.models.layers.mlp import FeedForward
from gsr_app.models.layers.window_grid import (
    WindowEncoder,
    WindowGrid,
    gather,
    inverse,
    relative_positions,
    to_image,
    to_plane,
)

WINDOW = 8
# The checkpoints hold the shift mask of an image of this side. Four of its windows contain all distinct masks.
MASKED_SIDE = 48

# For unshifted and for shifted layers: the order of the tokens in windows, its inverse, and the windows of each mask.
Orders = tuple[tuple[Tensor, Tensor, tuple[int, ...]], ...]


class WindowAttention(nn.Module):
    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_positions(WINDOW))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, windows: Tensor, masks: Tensor | None, counts: tuple[int, ...]) -> Tensor:
        """[windows, 64, C]; `counts` windows take each of `masks` [kinds, 64, 64], in this order."""
        # [3, windows, heads, 64, C/heads]
        q, k, v = self.qkv(windows).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.relative_position_bias_table[self.relative_position_index]
        bias = bias.permute(2, 0, 1)[None]  # [1, heads, 64, 64]
        biases = (bias,) if masks is None else tuple(bias + mask for mask in masks)
        parts = [
            F.scaled_dot_product_attention(q_, k_, v_, attn_mask=bias_.to(q.dtype))
            for q_, k_, v_, bias_ in zip(q.split(counts), k.split(counts), v.split(counts), biases, strict=True)
            if len(q_)
        ]
        return self.proj(torch.cat(parts).transpose(1, 2).flatten(2))


def shift_mask(side: int, shift: int) -> Tensor:
    """-100 between tokens of a window that the shift brings together [windows of side × side pixels, 64, 64]."""
    region = torch.zeros(side, dtype=torch.long)
    region[-WINDOW:] = 1
    region[-shift:] = 2
    plane = 3 * region[:, None] + region[None, :]
    grid = WindowGrid(1, side, side, WINDOW, plane.device)
    windows = plane.flatten()[grid.order()].view(-1, WINDOW * WINDOW)
    return torch.where(windows[:, None, :] == windows[:, :, None], 0.0, -100.0)


class Layer(nn.Module):
    def __init__(self, channels: int, heads: int, hidden: int, *, shifted: bool) -> None:
        super().__init__()
        self.shift = WINDOW // 2 if shifted else 0
        if shifted:
            self.register_buffer("attn_mask", shift_mask(MASKED_SIDE, self.shift))
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = FeedForward(channels, hidden)

    def edge_masks(self) -> Tensor | None:
        """The masks of a window inside, at the right edge, at the bottom edge, and in the corner."""
        if not self.shift:
            return None
        n = MASKED_SIDE // WINDOW
        return self.get_buffer("attn_mask")[[0, n - 1, n * (n - 1), n * n - 1]]

    def forward(self, x: Tensor, order: Tensor, back: Tensor, counts: tuple[int, ...]) -> Tensor:
        """x [b·h·w, C] in raster order; `order` and `back` permute the tokens to this layer's windows and back."""
        windows = gather(self.norm1(x), order).unflatten(0, (-1, WINDOW * WINDOW))
        x = x + gather(self.attn(windows, self.edge_masks(), counts), back)
        return x + self.mlp(self.norm2(x))


class ResidualGroup(nn.Module):
    def __init__(self, channels: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Layer(channels, heads, hidden, shifted=i % 2 == 1) for i in range(layers))

    def forward(self, x: Tensor, orders: Orders) -> Tensor:
        for i, layer in enumerate(self.blocks):
            x = layer(x, *orders[i % 2])
        return x


class Stage(nn.Module):
    def __init__(self, channels: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.residual_group = ResidualGroup(channels, heads, hidden, layers)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, ...], orders: Orders) -> Tensor:
        """x [b·h·w, C], size (b, h, w, C)"""
        y = self.residual_group(x, orders)
        return x + to_plane(self.conv(to_image(y.view(size)))).view_as(x)


class SwinIREncoder(WindowEncoder):
    def __init__(
        self, *, channels: int = 180, stages: int = 6, layers: int = 6, heads: int = 6, hidden: int = 360
    ) -> None:
        super().__init__(channels, (Stage(channels, heads, hidden, layers) for _ in range(stages)))

    def transform(self, x: Tensor) -> Tensor:
        b, h, w, _ = size = x.shape
        grid = WindowGrid(b, h, w, WINDOW, x.device)
        unshifted, (shifted, kinds) = grid.order(), grid.order_by_edge(WINDOW // 2)
        orders = ((unshifted, inverse(unshifted), (grid.windows,)), (shifted, inverse(shifted), kinds))
        x = x.flatten(0, 2)  # [b·h·w, C]
        for stage in self.layers:
            x = stage(x, size, orders)
        return x.view(size)

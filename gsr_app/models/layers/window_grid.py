"""Attention windows of a plane, shifted or not, as one gather of rows; and what GSASR's two window encoders share.

Every token is one row of memory, and going from raster order to window order (or from one shift to another) only
permutes rows. One `index_select` does in a single copy what roll, view, permute and reshape do in three.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class WindowGrid:
    """A batch of planes of whole windows. Windows go row by row, tokens inside a window as well."""

    batch: int
    height: int
    width: int
    side: int
    device: torch.device

    @property
    def windows(self) -> int:
        """Windows in the whole batch."""
        return self.batch * (self.height // self.side) * (self.width // self.side)

    def order(self, shift: int = 0) -> Tensor:
        """For every token in window order, its row in raster order; the plane is first rolled by (-shift, -shift)."""
        rows = torch.arange(self.batch * self.height * self.width, device=self.device)
        plane = rows.view(self.batch, self.height, self.width).roll((-shift, -shift), (1, 2))
        split = plane.unflatten(1, (-1, self.side)).unflatten(3, (-1, self.side))  # [b, m, side, n, side]
        return split.transpose(2, 3).reshape(-1)

    def order_by_edge(self, shift: int) -> tuple[Tensor, tuple[int, int, int, int]]:
        """`order`, with the windows sorted by the edges of the rolled plane that they touch.

        Inner windows come first, then those at the right, at the bottom, and in the corner: only the latter three mix
        tokens from opposite sides of the plane. Also returns the number of windows of each kind.
        """
        m, n = self.height // self.side, self.width // self.side
        kind = torch.zeros(self.batch, m, n, dtype=torch.long, device=self.device)
        kind[:, :, -1] += 1
        kind[:, -1, :] += 2
        sequence = torch.argsort(kind.flatten(), stable=True)
        order = self.order(shift).view(-1, self.side * self.side)[sequence].flatten()
        return order, (
            self.batch * (m - 1) * (n - 1),
            self.batch * (m - 1),
            self.batch * (n - 1),
            self.batch,
        )


def inverse(order: Tensor) -> Tensor:
    """The permutation that undoes `order`."""
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=order.device)
    return back


def gather(tokens: Tensor, order: Tensor) -> Tensor:
    """Tokens [..., C] reordered as rows [rows, C]."""
    return tokens.reshape(-1, tokens.shape[-1]).index_select(0, order)


def to_plane(image: Tensor) -> Tensor:
    """[b, C, h, w] -> [b, h, w, C]; no copy for a channels-last image."""
    return image.permute(0, 2, 3, 1).contiguous()


def to_image(plane: Tensor) -> Tensor:
    """[b, h, w, C] -> [b, C, h, w] in channels-last memory; no copy."""
    return plane.permute(0, 3, 1, 2)


def relative_positions(side: int) -> Tensor:
    """The usual index of the bias of query and key tokens [side², side²]: (dy + side-1) · (2·side-1) + dx + side-1."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    y, x = y.flatten(), x.flatten()
    dy, dx = y[:, None] - y[None, :], x[:, None] - x[None, :]
    return (dy + side - 1) * (2 * side - 1) + dx + side - 1


class PatchEmbedding(nn.Module):
    """Patches of one pixel: only the norm is left."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)


class WindowEncoder(nn.Module):
    """The parameters around the stages, under their names in the checkpoints."""

    def __init__(self, channels: int, stages: Iterable[nn.Module]) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.patch_embed = PatchEmbedding(channels)
        self.layers = nn.ModuleList(stages)
        self.norm = nn.LayerNorm(channels)
        self.conv_after_body = nn.Conv2d(channels, channels, 3, padding=1)
        last = nn.Conv2d(channels, 64, 3, padding=1)
        self.conv_before_upsample = nn.Sequential(last, nn.LeakyReLU(0.01, inplace=True))

    def forward(self, lr: Tensor) -> Tensor:
        """[b, 3, h, w] in 0..1, sides divisible by the window's -> [b, 64, h, w]"""
        shallow = self.conv_first(lr.contiguous(memory_format=torch.channels_last))
        deep = self.transform(self.patch_embed.norm(to_plane(shallow)))
        return self.conv_before_upsample(self.conv_after_body(to_image(self.norm(deep))) + shallow)

    def transform(self, x: Tensor) -> Tensor:
        """The stages, [b, h, w, C] -> the same."""
        raise NotImplementedError

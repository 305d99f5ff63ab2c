"""The Gaussian decoder of GSASR: image features and a scale in, sixteen Gaussians per source pixel out.

Chen et al., "Generalized and Efficient 2D Gaussian Splatting for Arbitrary-scale Super-Resolution", ICCV 2025,
arXiv 2501.06838. https://github.com/ChrisDud0257/GSASR, Apache-2.0. Parameter names follow its checkpoints.

Learned seeds, one per pixel of a window, attend to the image features of their window (cross blocks), then to each
other (self blocks), always conditioned on the scale. The result is upsampled 4 × 4 and read out by five small heads.
The enhanced decoder has rotary positions and a convolution at the end of each block; the paper's has learned biases.

Differences from the original program that do not change the results: all keys and values of the scale attention are
the same vector, so its softmax is uniform and it adds `out_proj(W_v e + b_v)` for every query; the seeds are one window
until the first cross attention; and upsampling and heads run on a few rows at a time, because their intermediates would
be 16 · 768 floats per source pixel and head.

Quirks that the weights need: only the features shift in cross attention, and nothing shifts back; no attention is
masked; the steps of a self layer use its norms in the order 3, 4, 1, 2; the input is the reciprocal of the scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gsr_app.core.types import Scale
from gsr_app.models.layers.mlp import FeedForward
from gsr_app.models.layers.rope import fresh_frequencies, raster_positions, rotate, rotation
from gsr_app.models.layers.window_grid import WindowGrid, gather, inverse, relative_positions, to_image, to_plane

LATTICE = 4  # Gaussians per source pixel and axis
HEADS = (("sigma", 2), ("rho", 1), ("alpha", 1), ("rgb", 3), ("mean", 2))  # the columns of the raw output

# Tokens of the heads and source pixels of upsampling at a time: enough for full speed, few enough for the cache.
ROWS_PER_READOUT = 4096
PIXELS_PER_STRIP = 4096

# The differences -11..11 were once numbered in the order in which Python iterates over a set of floats, and the paper's
# weights were trained with that.
DIFFERENCE_RANKS = (22, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 0, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 1)


@dataclass(frozen=True)
class DecoderConfig:
    channels: int = 192
    heads: int = 6
    window: int = 12  # side; there is one seed per pixel of a window
    cross_blocks: int = 1
    cross_layers: int = 2
    self_blocks: int = 6
    self_layers: int = 6
    paper: bool = False  # learned position biases and no convolutions; else rotary positions and convolutions


class ScaleAttention(nn.Module):
    """Attention to copies of one vector: a constant. The query and key weights of the checkpoints have no effect."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, e: Tensor) -> Tensor:
        """The scale's vector [b, C] -> the constant that is added to every token [b, 1, 1, C]"""
        channels = e.shape[-1]
        value = F.linear(e, self.in_proj_weight[2 * channels :], self.in_proj_bias[2 * channels :])
        return self.out_proj(value)[:, None, None]


class SeedAttention(nn.Module):
    """Multi-head attention of seeds in a window, with rotary positions or, given its index, a learned bias."""

    rope_t_x: Tensor
    rope_t_y: Tensor
    relative_position_index: Tensor

    def __init__(self, config: DecoderConfig, *, bias_index: Tensor | None) -> None:
        super().__init__()
        channels = config.channels
        self.heads = config.heads
        self.biased = bias_index is not None
        if bias_index is None:
            self.rope_freqs = nn.Parameter(fresh_frequencies(config.heads, channels // config.heads))
            x, y = raster_positions(config.window)
            self.register_buffer("rope_t_x", x)
            self.register_buffer("rope_t_y", y)
        else:
            self.relative_position_bias_table = nn.Parameter(torch.empty((2 * config.window - 1) ** 2, config.heads))
            nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
            self.register_buffer("relative_position_index", bias_index)
        self.qhead = nn.Linear(channels, channels)
        self.khead = nn.Linear(channels, channels)
        self.vhead = nn.Linear(channels, channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, seeds: Tensor, context: Tensor) -> Tensor:
        """seeds [b, 1 or windows, S, C], context [b, windows, S, C] -> [b, windows, S, C]"""
        q, k, v = self._project(seeds, context)
        mask = None
        if self.biased:
            mask = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None].to(q.dtype)
        q = q.expand_as(k)
        q, k, v = (t.flatten(0, 1).transpose(1, 2) for t in (q, k, v))  # [b·windows, heads, S, C/heads]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(out.transpose(1, 2).flatten(2).view_as(context))

    def _project(self, seeds: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [b, windows, S, heads, C/heads], turned by their positions."""
        turn = None if self.biased else rotation(self.rope_freqs, self.rope_t_x, self.rope_t_y)
        if seeds is not context:
            q, k, v = (
                project(tokens).unflatten(-1, (self.heads, -1))
                for project, tokens in ((self.qhead, seeds), (self.khead, context), (self.vhead, context))
            )
            return (q, k, v) if turn is None else (rotate(q, turn), rotate(k, turn), v)
        # One product instead of three: the inputs are read once, and a wide product is closer to full speed.
        heads = self.qhead, self.khead, self.vhead
        weight, bias = (torch.cat([head.get_parameter(name) for head in heads]) for name in ("weight", "bias"))
        whole = F.linear(seeds, weight, bias).unflatten(-1, (3, self.heads, -1))  # [b, windows, S, 3, heads, C/heads]
        turned, v = whole.split((2, 1), dim=-3)
        if turn is not None:
            turned = rotate(turned, turn[:, None])
        q, k = turned.unbind(-3)
        return q, k, v.squeeze(-3)


def _norms(channels: int) -> Iterator[nn.LayerNorm]:
    return (nn.LayerNorm(channels) for _ in range(4))


class CrossLayer(nn.Module):
    """Seeds attend to the scale, then to the features of their window."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        channels = config.channels
        self.gs_cross_attn_scale = ScaleAttention(channels)
        self.norm1, self.norm2, self.norm3, self.norm4 = _norms(channels)
        self.window_cross_attn = SeedAttention(
            config, bias_index=ranked_positions(config.window) if config.paper else None
        )
        self.mlp_crossattn_scale = FeedForward(channels, channels, activation=F.relu_)
        self.mlp_crossattn_feature = FeedForward(channels, channels, activation=F.relu_)

    def forward(self, y: Tensor, e: Tensor, position: Tensor, features: Tensor) -> Tensor:
        y = y + self.gs_cross_attn_scale(e)
        y = y + self.mlp_crossattn_scale(self.norm2(y))
        y = y + self.window_cross_attn(self.norm3(y) + position, features)
        return y + self.mlp_crossattn_feature(self.norm4(y))


class SelfLayer(nn.Module):
    """Seeds attend to the scale, then to each other; with `shift`, in windows shifted by half a window."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        channels = config.channels
        self.norm1, self.norm2, self.norm3, self.norm4 = _norms(channels)
        self.gs_self_attn = SeedAttention(
            config, bias_index=relative_positions(config.window) if config.paper else None
        )
        self.mlp_selfattn = FeedForward(channels, channels, activation=F.relu_)
        self.gs_cross_attn_scale = ScaleAttention(channels)
        self.mlp_crossattn = FeedForward(channels, channels, activation=F.relu_)

    def forward(self, y: Tensor, e: Tensor, shift: tuple[Tensor, Tensor] | None) -> Tensor:
        y = y + self.gs_cross_attn_scale(e)
        y = y + self.mlp_crossattn(self.norm4(y))
        seeds = self.norm1(y)
        if shift is None:
            y = y + self.gs_self_attn(seeds, seeds)
        else:
            order, back = shift
            seeds = gather(seeds, order).view_as(y)
            y = y + gather(self.gs_self_attn(seeds, seeds), back).view_as(y)
        return y + self.mlp_selfattn(self.norm2(y))


@dataclass(frozen=True)
class SeedPlane:
    """The permutations between seeds in windows [b, windows, S, C] and the plane of source pixels [b, h, w, C]."""

    batch: int
    height: int
    width: int
    side: int
    order: Tensor  # for every seed in window order, its row on the plane
    inverse: Tensor
    shifted: Tensor  # like `order`, for windows shifted by half a window

    @classmethod
    def of(cls, features: Tensor, side: int) -> SeedPlane:
        grid = WindowGrid(features.shape[0], features.shape[2], features.shape[3], side, features.device)
        order = grid.order()
        return cls(grid.batch, grid.height, grid.width, side, order, inverse(order), grid.order(side // 2))

    def cut(self, plane: Tensor, order: Tensor) -> Tensor:
        return gather(plane, order).view(self.batch, -1, self.side**2, plane.shape[-1])

    def join(self, seeds: Tensor) -> Tensor:
        return gather(seeds, self.inverse).view(self.batch, self.height, self.width, -1)

    def convolve(self, seeds: Tensor, conv: nn.Module) -> Tensor:
        return self.cut(to_plane(conv(to_image(self.join(seeds)))), self.order)


class SeedBlock(nn.Module):
    """A residual block of layers with an MLP and, in the enhanced decoder, a convolution over the plane of seeds."""

    def __init__(self, config: DecoderConfig, layer: type[CrossLayer] | type[SelfLayer], count: int) -> None:
        super().__init__()
        channels = config.channels
        self.mlp = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, channels))
        self.norm = nn.LayerNorm(channels)
        self.blocks = nn.ModuleList(layer(config) for _ in range(count))
        self.conv = None if config.paper else nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, seeds: Tensor, plane: SeedPlane, given: tuple[Tensor, ...], alternating: Sequence[Any]) -> Tensor:
        """`given` are arguments of every layer, the items of `alternating` those of even and odd layers."""
        y = self.norm(seeds)
        for i, layer in enumerate(self.blocks):
            y = layer(y, *given, alternating[i % 2])
        y = self.mlp(y)
        return seeds + (y if self.conv is None else plane.convolve(y, self.conv))


def ranked_positions(window: int) -> Tensor:
    """The index of the paper decoder's cross bias [S, S]: rank(dy) · 22 + rank(dx), d = seed - pixel."""
    token = torch.arange(window * window)
    y, x = torch.div(token, window, rounding_mode="floor"), token % window
    rank = torch.tensor(DIFFERENCE_RANKS)
    dy, dx = y[:, None] - y[None, :] + window - 1, x[:, None] - x[None, :] + window - 1
    return rank[dy] * 22 + rank[dx]  # 22, not 23: some pairs of differences share a row of the table


def _readout(channels: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(channels, channels),
        nn.ReLU(inplace=True),
        nn.Linear(channels, 4 * channels),
        nn.ReLU(inplace=True),
        nn.Linear(4 * channels, outputs),
    )


class GaussianDecoder(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        channels, seeds = config.channels, config.window**2
        self.window = config.window
        self.gs_embedding = nn.Parameter(torch.randn(seeds, channels))
        self.pos_embedding = nn.Parameter(torch.randn(seeds, channels))
        self.img_feat_proj = nn.Sequential(
            nn.Conv2d(64, channels, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.window_crossattn_blocks = nn.ModuleList(
            SeedBlock(config, CrossLayer, config.cross_layers) for _ in range(config.cross_blocks)
        )
        self.gs_selfattn_blocks = nn.ModuleList(
            SeedBlock(config, SelfLayer, config.self_layers) for _ in range(config.self_blocks)
        )
        for name, outputs in HEADS:
            self.add_module(f"mlp_block_{name}", _readout(channels, outputs))
        self.scale_mlp = nn.Sequential(
            nn.Linear(1, 4 * channels), nn.ReLU(inplace=True), nn.Linear(4 * channels, channels)
        )
        self.UPNet = nn.Sequential(
            nn.Conv2d(channels, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
            nn.Conv2d(channels, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self.conv_final = None if config.paper else nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor, scale: float | Tensor | Scale) -> Tensor:
        """features [b, 64, h, w], scale (one, or one per image [b]) -> raw Gaussians [b, 16·h·w, 9].

        They go row by row over the 4h × 4w lattice. Columns: sigma (vertical, horizontal), rho, alpha, red, green,
        blue, all before their activations, and the mean (x, y) as a fraction of the frame.
        """
        if isinstance(scale, Scale):  # training used one scale for both axes: two become their mean
            scale = scale.y if scale.is_uniform else math.sqrt(scale.y * scale.x)
        scales = torch.as_tensor(scale, dtype=torch.float32, device=features.device).expand(len(features))
        plane = self._refine(features, scales)
        raw = torch.cat([self._read_out(strip) for strip in self._upsample(plane)], dim=1)  # [b, 4h, 4w, 9]
        height, width = raw.shape[1:3]
        y, x = torch.meshgrid(
            torch.arange(height, device=raw.device), torch.arange(width, device=raw.device), indexing="ij"
        )
        lattice = torch.stack(((x + 0.5) / width, (y + 0.5) / height), dim=-1)
        cell = torch.tensor((width, height), device=raw.device)
        raw[..., 7:] = lattice + raw[..., 7:] / cell
        return raw.flatten(1, 2)

    def _refine(self, features: Tensor, scale: Tensor) -> Tensor:
        """Seeds after all blocks, on the plane of source pixels [b, h, w, C]."""
        plane = SeedPlane.of(features, self.window)
        e = self.scale_mlp(scale.reciprocal()[:, None])  # [b, C]
        seeds = crossed = self._cross(features, plane, e)
        to_shifted = plane.inverse[plane.shifted]
        shift = to_shifted, inverse(to_shifted)
        for block in self.gs_selfattn_blocks:
            seeds = block(seeds, plane, (e,), (None, shift))
        if self.conv_final is not None:
            seeds = plane.convolve(seeds, self.conv_final)
        return plane.join(seeds + crossed)

    def _cross(self, features: Tensor, plane: SeedPlane, e: Tensor) -> Tensor:
        """Seeds after the cross blocks [b, windows, S, C]."""
        projected = to_plane(self.img_feat_proj(features.contiguous(memory_format=torch.channels_last)))
        contexts = plane.cut(projected, plane.order), plane.cut(projected, plane.shifted)
        seeds = self.gs_embedding[None, None]  # [1, 1, S, C]: all windows are equal before the first cross attention
        for block in self.window_crossattn_blocks:
            seeds = block(seeds, plane, (e, self.pos_embedding), contexts)
        return seeds

    def _upsample(self, plane: Tensor) -> Iterator[Tensor]:
        """[b, h, w, C] -> rows [b, rows, 4w, C] from top to bottom."""
        height, width = plane.shape[1:3]
        step = max(4, PIXELS_PER_STRIP // (width * len(plane)))
        first, shuffle, second, _ = self.UPNet
        for top in range(0, height, step):
            bottom = min(top + step, height)
            # The second convolution needs one row of context at twice the size, so the first needs two source rows.
            above, below = min(top, 2), min(height - bottom, 2)
            x = shuffle(first(to_image(plane[:, top - above : bottom + below])))  # [b, C, 2·rows, 2w]
            x = x[:, :, 2 * above - (above > 0) : x.shape[2] - 2 * below + (below > 0)]
            x = second(x.contiguous(memory_format=torch.channels_last))
            x = x[:, :, int(above > 0) : x.shape[2] - int(below > 0)]
            yield to_plane(shuffle(x))

    def _read_out(self, strip: Tensor) -> Tensor:
        """The five heads at every position [..., C] -> [..., 9], float32."""
        heads = [self.get_submodule(f"mlp_block_{name}") for name, _ in HEADS]
        weight, bias = (torch.cat([head.get_parameter(f"0.{name}") for head in heads]) for name in ("weight", "bias"))
        after_first = [nn.Sequential(*list(head.children())[2:]) for head in heads]
        rows: list[Tensor] = []
        for z in strip.flatten(0, -2).split(ROWS_PER_READOUT):
            hidden = F.relu_(F.linear(z, weight, bias)).chunk(len(heads), dim=-1)
            outputs = [rest(part) for rest, part in zip(after_first, hidden, strict=True)]
            rows.append(torch.cat(outputs, dim=-1).float())
        return torch.cat(rows).view(*strip.shape[:-1], -1)

"""RGT and RGT-S: local window attention alternating with attention to a recursively downsampled image.

Chen, Zhang, Gu, Kong, Yang, "Recursive Generalization Transformer for Image Super-Resolution", ICLR 2024,
arXiv 2303.06373. Original: github.com/zhengchen1999/RGT, Apache-2.0.

Maps are [B, H, W, C] throughout. The masks of shifted windows depend only on whether a window touches the bottom or
the right edge, so four of them serve every image size; those in the checkpoints are loaded and not used.
Where the original would downsample its summary to an empty one (1024 by less than 64), it stops one step earlier here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from gsr_app.models.registry import Architecture

_MEAN = (0.4488, 0.4371, 0.4040)
_MASKED = -100.0
_MASK_SIDE = 64  # the checkpoints' masks are those of a 64x64 picture
_MIN_SIDE = 16


@dataclass(frozen=True)
class RGTConfig:
    scale: int = 4
    groups: int = 8  # RGT-S has 6
    blocks: int = 6  # per group
    channels: int = 180
    heads: int = 6
    mlp_ratio: int = 2
    window: tuple[int, int] = (8, 32)  # half of the heads use windows of 8x32, the other half 32x8
    attention_ratio: float = 0.5  # channels of the summary's queries and keys, over all
    drop_path: float = 0.1  # of the last block; training only


def _apply(conv: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A convolution on [B, H, W, C]: channels-last memory, no copy."""
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _depthwise(channels: int, *, kernel: int = 3, stride: int = 1, padding: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, stride=stride, padding=padding, groups=channels)


class _Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = _depthwise(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept, gate = x.chunk(2, dim=-1)
        return kept * _apply(self.conv, self.norm(gate))


class _Mlp(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.sg = _Gate(hidden // 2)
        self.fc2 = nn.Linear(hidden // 2, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.sg(F.gelu(self.fc1(x))))


class _PositionBias(nn.Module):
    """A bias per head from an offset between two tokens."""

    def __init__(self, heads: int, *, width: int = 5) -> None:
        super().__init__()
        self.pos_proj = nn.Linear(2, width)
        self.pos1, self.pos2, self.pos3 = (
            nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, out)) for out in (width, width, heads)
        )

    def forward(self, offsets: torch.Tensor) -> torch.Tensor:
        return self.pos3(self.pos2(self.pos1(self.pos_proj(offsets))))


@dataclass(frozen=True)
class _Window:
    """A window's shape, its shift, and the constants that all blocks share."""

    height: int
    width: int
    offsets: torch.Tensor  # [(2h-1)(2w-1), 2] every (dy, dx) between two tokens
    index: torch.Tensor  # [N, N] query, key -> row of offsets
    checkpoint_mask: torch.Tensor  # [windows of 64x64, N, N]
    edge_masks: torch.Tensor  # [2, 2, N, N] by touching the bottom, touching the right

    @property
    def shift(self) -> tuple[int, int]:
        return self.height // 2, self.width // 2

    @classmethod
    def of(cls, height: int, width: int) -> _Window:
        dy, dx = torch.arange(1 - height, height), torch.arange(1 - width, width)
        offsets = torch.cartesian_prod(dy, dx).float()
        token = torch.cartesian_prod(torch.arange(height), torch.arange(width))
        between = token[:, None] - token[None]  # [N, N, 2]
        index = (between[..., 0] + height - 1) * (2 * width - 1) + between[..., 1] + width - 1
        # After the shift, a window at the bottom or right edge holds tokens from opposite sides of the image.
        beyond = (token >= torch.tensor([height, width]) - torch.tensor([height // 2, width // 2])).int()
        apart = (beyond[:, None] != beyond[None]).movedim(-1, 0)  # [2, N, N] by rows, by columns
        masks = torch.zeros(2, 2, *index.shape)
        masks[1, :].masked_fill_(apart[0], _MASKED)
        masks[:, 1].masked_fill_(apart[1], _MASKED)
        rows, columns = _MASK_SIDE // height, _MASK_SIDE // width
        bottom, right = torch.arange(rows) == rows - 1, torch.arange(columns) == columns - 1
        checkpoint = masks[bottom.int()[:, None], right.int()[None]].flatten(0, 1)
        return cls(height, width, offsets, index, checkpoint, masks)


class _WindowAttention(nn.Module):
    """Attention inside the windows of one shape, for half of the heads."""

    rpe_biases: torch.Tensor
    relative_position_index: torch.Tensor
    edge_masks: torch.Tensor

    def __init__(self, window: _Window, heads: int, *, shifted: bool) -> None:
        super().__init__()
        self.height, self.width = window.height, window.width
        self.shift = window.shift if shifted else (0, 0)
        self.heads = heads
        self.pos = _PositionBias(heads)
        self.register_buffer("rpe_biases", window.offsets)
        self.register_buffer("relative_position_index", window.index)
        self.register_buffer("edge_masks", window.edge_masks, persistent=False)

    def forward(self, qkv: torch.Tensor) -> torch.Tensor:
        """[B, H, W, 3, C] -> [B, H, W, C]; H and W are whole windows."""
        shifted = any(self.shift)
        if shifted:
            qkv = qkv.roll((-self.shift[0], -self.shift[1]), (1, 2))
        windows = qkv.unflatten(1, (-1, self.height)).unflatten(3, (-1, self.width)).unflatten(-1, (self.heads, -1))
        # [B, m, h, n, w, 3, heads, d] -> [3, m, n, B, heads, h*w, d]
        windows = windows.permute(5, 1, 3, 0, 6, 2, 4, 7).flatten(5, 6)
        bias = self.pos(self.rpe_biases).t()[:, self.relative_position_index]  # [heads, N, N]
        seen = self._attend_by_edge(windows, bias) if shifted else _attend(windows, bias)
        seen = seen.unflatten(4, (self.height, self.width))  # [m, n, B, heads, h, w, d]
        planes = seen.permute(2, 0, 4, 1, 5, 3, 6).flatten(5, 6).flatten(1, 2).flatten(2, 3)
        return planes.roll(self.shift, (1, 2)) if shifted else planes

    def _attend_by_edge(self, windows: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        seen = torch.empty_like(windows[0])
        inner_and_edge = (slice(0, -1), slice(-1, None))
        for at_bottom, rows in enumerate(inner_and_edge):
            for at_right, columns in enumerate(inner_and_edge):
                some = windows[:, rows, columns]
                if some.numel():
                    seen[rows, columns] = _attend(some, bias + self.edge_masks[at_bottom, at_right])
        return seen


def _attend(windows: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """[3, m, n, B, heads, N, d], [heads, N, N] -> [m, n, B, heads, N, d]"""
    q, k, v = windows.flatten(1, 3)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None]).unflatten(0, windows.shape[1:4])


class _LocalAttention(nn.Module):
    """Half of the channels in flat windows, half in tall ones, plus a depthwise convolution of the values."""

    def __init__(self, config: RGTConfig, windows: tuple[_Window, _Window], *, shifted: bool) -> None:
        super().__init__()
        channels = config.channels
        self.period = max(config.window)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.get_v = _depthwise(channels)
        self.attns = nn.ModuleList(_WindowAttention(one, config.heads // 2, shifted=shifted) for one in windows)
        self.proj = nn.Linear(channels, channels)
        if shifted:
            for number, window in enumerate(windows):
                self.register_buffer(f"attn_mask_{number}", window.checkpoint_mask)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[1:3]
        qkv = self.qkv(x).unflatten(-1, (3, 2, -1))  # [B, H, W, 3, 2, C/2]
        value = _apply(self.get_v, qkv[..., 2, :, :].flatten(3))
        # Padded tokens are exact zeros and are part of the softmax.
        below, beside = -height % self.period, -width % self.period
        if below or beside:
            qkv = F.pad(qkv, (0, 0, 0, 0, 0, 0, 0, beside, 0, below))
        seen = [attend(qkv[..., half, :])[:, :height, :width] for half, attend in enumerate(self.attns)]
        return self.proj(torch.cat(seen, dim=-1) + value)


class _SummaryAttention(nn.Module):
    """Every pixel attends to a summary of the whole image: one strided convolution, applied repeatedly."""

    def __init__(self, config: RGTConfig) -> None:
        super().__init__()
        channels, inner = config.channels, int(config.channels * config.attention_ratio)
        self.heads = config.heads
        self.scale = (channels / config.heads * config.attention_ratio) ** -0.5
        self.reduction1 = _depthwise(channels, kernel=4, stride=4, padding=0)
        self.dwconv = _depthwise(channels)
        self.conv = nn.Conv2d(channels, inner, 1)
        self.norm_act = nn.Sequential(nn.LayerNorm(inner), nn.GELU())
        self.q = nn.Linear(channels, inner)
        self.k = nn.Linear(inner, inner)
        self.v = nn.Linear(inner, channels)
        self.cpe = _depthwise(channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[1:3]
        summary = x.permute(0, 3, 1, 2)
        for _ in range(_reductions(height, width, training=self.training)):
            summary = self.reduction1(summary)
        summary = self.norm_act(self.conv(self.dwconv(summary)).permute(0, 2, 3, 1))  # [B, h, w, C/2]
        value = self.v(summary)
        value = value + _apply(self.cpe, value)
        q, k, v = (self._by_head(tokens) for tokens in (self.q(x), self.k(summary), value))
        # The fused attention requires the same head dimension for all three; zeros do not change a dot product.
        q, k = (F.pad(tokens, (0, v.shape[-1] - tokens.shape[-1])) for tokens in (q, k))
        seen = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.proj(seen.transpose(1, 2).flatten(2).unflatten(1, (height, width)))

    def _by_head(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, h, w, C] -> [B, heads, h*w, d]"""
        return tokens.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _reductions(height: int, width: int, *, training: bool) -> int:
    """How often the summary is downsampled by 4: once per factor of 4 of the longer side, at least twice."""
    floor = 4 if training else 16
    times = max(int(math.log(max(side // floor, 1), 4)) for side in (height, width))
    most = int(math.log(min(height, width), 4))
    return min(times if training else max(times, 2), most)


class _Block(nn.Module):
    def __init__(self, config: RGTConfig, attention: nn.Module, *, drop: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(config.channels), nn.LayerNorm(config.channels)
        self.attn = attention
        self.mlp = _Mlp(config.channels, config.channels * config.mlp_ratio)
        self.gamma = nn.Parameter(torch.full((config.channels,), 1e-4))
        self.drop = drop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + self._drop(self.attn(self.norm1(x)))
        y = y + self._drop(self.mlp(self.norm2(y)))
        return torch.addcmul(y, self.gamma, x)

    def _drop(self, branch: torch.Tensor) -> torch.Tensor:
        """Stochastic depth: drops the branch of some samples during training."""
        if not (self.training and self.drop):
            return branch
        kept = torch.rand(len(branch), 1, 1, 1, device=branch.device, dtype=branch.dtype) >= self.drop
        return branch * kept / (1 - self.drop)


class _Group(nn.Module):
    def __init__(self, config: RGTConfig, number: int, windows: tuple[_Window, _Window]) -> None:
        super().__init__()
        last = max(1, config.groups * config.blocks - 1)
        # Every second local attention is shifted; which ones alternates between the groups.
        shifted = {0, 4} if number % 2 else {2}
        self.blocks = nn.ModuleList(
            _Block(
                config,
                _SummaryAttention(config) if block % 2 else _LocalAttention(config, windows, shifted=block in shifted),
                drop=config.drop_path * (number * config.blocks + block) / last,
            )
            for block in range(config.blocks)
        )
        self.conv = nn.Conv2d(config.channels, config.channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for block in self.blocks:
            y = block(y)
        return x + _apply(self.conv, y)


class RGT(nn.Module):
    """[B, 3, h, w] in 0..1 -> [B, 3, h*s, w*s]; both sides 16 at least."""

    def __init__(self, *, config: RGTConfig) -> None:
        super().__init__()
        channels, hidden = config.channels, 64
        flat, tall = _Window.of(*config.window), _Window.of(*reversed(config.window))
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.before_RG = nn.Sequential(nn.Identity(), nn.LayerNorm(channels))
        self.layers = nn.ModuleList(_Group(config, number, (flat, tall)) for number in range(config.groups))
        self.norm = nn.LayerNorm(channels)
        self.conv_after_body = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_before_upsample = nn.Sequential(nn.Conv2d(channels, hidden, 3, padding=1), nn.LeakyReLU())
        steps: list[nn.Module] = []
        power = config.scale.bit_length() - 1
        for factor in [2] * power if config.scale == 2**power else [config.scale]:
            steps += [nn.Conv2d(hidden, hidden * factor**2, 3, padding=1), nn.PixelShuffle(factor)]
        self.upsample = nn.Sequential(*steps)
        self.conv_last = nn.Conv2d(hidden, 3, 3, padding=1)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        mean = lr.new_tensor(_MEAN).view(1, 3, 1, 1)
        shallow = self.conv_first((lr - mean).contiguous(memory_format=torch.channels_last))
        x = self.before_RG(shallow.permute(0, 2, 3, 1))
        for group in self.layers:
            x = group(x)
        deep = _apply(self.conv_after_body, self.norm(x)).permute(0, 3, 1, 2) + shallow
        return self.conv_last(self.upsample(self.conv_before_upsample(deep))) + mean


# The summary covers the whole tile, so tiles are never exact; the authors' tiles overlap by 16.
ARCHS = tuple(
    Architecture(
        id=f"{name}-x{scale}",
        build=partial(RGT, config=RGTConfig(scale=scale, groups=groups)),
        kind="pixels",
        native_scale=scale,
        minimum_size=_MIN_SIDE,
        onnx_multiple=0,
        overlap=16,
        reads_all=True,
        largest_tile=320,  # its largest convolution then takes well under a second on two cores: so does cancelling
    )
    for name, groups in (("rgt", 8), ("rgt-s", 6))
    for scale in (2, 3, 4)
)

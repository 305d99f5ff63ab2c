"""The upsampler of SAVSR: from features to pixels at any position and any scale.

Sampling positions and expert weights depend only on the scale and the position of an output pixel: `locate` computes
them once, for all frames of a clip. `Upsampler.forward` then computes any rectangle of the output.

Linear steps run where there are fewest pixels: 1x1 compression and fusion commute with sampling, so both run on the
source grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gsr_app.core.types import Scale
from gsr_app.models.savsr_layers import leaky_relu

Size = tuple[int, int]
TAPS = 5


@dataclass(frozen=True)
class OutputRegion:
    """A rectangle of the output, and the source tile that it is computed from."""

    scale: Scale
    frame: Size  # (height, width) of the source's whole frame
    rows: tuple[int, int]  # of the output, [first, last)
    columns: tuple[int, int]
    origin: Size = (0, 0)  # (y, x) of the tile's first pixel in the frame

    @classmethod
    def whole(cls, frame: Size, scale: Scale) -> OutputRegion:
        height, width = output_size(frame, scale)
        return cls(scale, frame, (0, height), (0, width))


def output_size(frame: Size, scale: Scale) -> Size:
    """Rounded, halves to even, as in the published network."""
    return max(1, round(frame[0] * scale.y)), max(1, round(frame[1] * scale.x))


@dataclass(frozen=True, eq=False)
class Places:
    """Positions for every pixel of a region, and of the margin of one pixel that the last convolution needs."""

    at: Tensor  # [1, H, W, 2] (x, y) in pixels of the tile, of the features
    st_at: Tensor  # [1, H, W, 2] the same for the filtered features
    skip_at: Tensor  # [1, H, W, 2] of the skip connection
    shares: Tensor  # [1, 4, H, W] of the experts
    beyond: tuple[int, int, int, int]  # rows and columns of the margin outside the output: left, right, top, bottom


class Upsampler(nn.Module):
    """[B, C, h, w] features and alignment features -> [B, C, H, W] of a region and its margin."""

    def __init__(self, channels: int, experts: int = 4, narrow: int = 8) -> None:
        super().__init__()
        self.weight_compress = nn.Parameter(torch.empty(experts, narrow, channels, 1, 1))
        self.weight_expand = nn.Parameter(torch.empty(experts, channels, narrow, 1, 1))
        for expert in (*self.weight_compress, *self.weight_expand):
            nn.init.kaiming_uniform_(expert, a=5**0.5)
        self.kernel_conv = nn.Sequential(nn.Conv2d(channels, channels * TAPS**2, 1))
        self.body = nn.Sequential(nn.Conv2d(4, 64, 1), nn.ReLU(True), nn.Conv2d(64, 64, 1), nn.ReLU(True))
        self.routing = nn.Sequential(nn.Conv2d(64, experts, 1), nn.Sigmoid())
        self.offset = nn.Conv2d(64, 2, 1)
        self.st_offset = nn.Conv2d(64, 2, 1)
        self.fusion = nn.Conv2d(2 * channels, channels, 1)

    def locate(self, region: OutputRegion) -> Places:
        size = output_size(region.frame, region.scale)
        (top, bottom), (left, right) = (
            (max(first - 1, 0), min(last + 1, side))
            for (first, last), side in zip((region.rows, region.columns), size, strict=True)
        )
        beyond = (left - region.columns[0] + 1, region.columns[1] + 1 - right, top - region.rows[0] + 1,
                  region.rows[1] + 1 - bottom)  # fmt: skip
        like = self.offset.weight
        y, own_y = _along(top, bottom, region.scale.y, size[0], region.frame[0])
        x, own_x = _along(left, right, region.scale.x, size[1], region.frame[1])
        shape = (bottom - top, right - left)
        inputs = torch.stack([
            like.new_full(shape, 1 / region.scale.x),
            like.new_full(shape, 1 / region.scale.y),
            _within_pixel(y).to(like)[:, None].expand(shape),
            _within_pixel(x).to(like)[None, :].expand(shape),
        ])[None]  # fmt: skip
        # Half precision is too coarse for positions.
        with torch.autocast(like.device.type, enabled=False):
            body = self.body(inputs)
            offset, st_offset, shares = self.offset(body), self.st_offset(body), self.routing(body)
        origin_y, origin_x = region.origin

        def grid(y: Tensor, x: Tensor) -> Tensor:  # [1, H, W, 2]
            pair = (x - origin_x)[None, :].expand(shape), (y - origin_y)[:, None].expand(shape)
            return torch.stack(pair, -1)[None].to(like)

        here = grid(y - 0.5, x - 0.5)
        return Places(
            here + offset.permute(0, 2, 3, 1),
            here + st_offset.permute(0, 2, 3, 1),
            grid(own_y, own_x),
            shares,
            beyond,
        )

    def gather(self, x: Tensor, align: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs of sampling on the source grid: [B, C + E*n, h, w] of the features, [B, C, h, w] filtered."""
        channels = x.shape[1]
        fuse_st, fuse_x = self.fusion.weight.split(channels, 1)
        compress = self.weight_compress.flatten(0, 1)  # [E*n, C, 1, 1]
        return F.conv2d(x, torch.cat([fuse_x, compress])), F.conv2d(self._filter(x, align), fuse_st)

    def _filter(self, x: Tensor, align: Tensor) -> Tensor:
        """A 5x5 kernel for every pixel and channel, computed from the alignment features one tap at a time."""
        height, width = x.shape[-2:]
        conv = self.kernel_conv[0]
        taps = conv.weight.unflatten(0, (-1, TAPS**2)), conv.bias.unflatten(0, (-1, TAPS**2))  # type: ignore[union-attr, operator]
        wide = F.pad(x, (TAPS // 2,) * 4, mode="replicate")
        total = torch.zeros_like(x)
        for tap in range(TAPS**2):
            kernel = leaky_relu(F.conv2d(align, taps[0][:, tap], taps[1][:, tap]), 0.1)
            top, left = divmod(tap, TAPS)
            total = torch.addcmul(total, kernel, wide[..., top : top + height, left : left + width])
        return total

    def forward(self, gathered: tuple[Tensor, Tensor], places: Places) -> Tensor:
        channels = self.fusion.out_channels
        experts, narrow = self.weight_compress.shape[:2]
        fuse_x = self.fusion.weight[:, channels:, 0, 0]  # [C, C]
        expand = torch.einsum("oc,ecn->oen", fuse_x, self.weight_expand[..., 0, 0])  # [C, E, n]
        fused, squeezed = sample(gathered[0], places.at).split((channels, experts * narrow), 1)
        squeezed = (squeezed.unflatten(1, (experts, narrow)) * places.shares[:, :, None]).sum(1)  # [B, n, H, W]
        shared = (places.shares[:, :, None] * squeezed[:, None]).flatten(1, 2)  # [B, E*n, H, W]
        corrected = F.conv2d(shared, expand.flatten(1)[..., None, None], self.fusion.bias)
        return sample(gathered[1], places.st_at) + fused + corrected


def _along(first: int, last: int, scale: float, length: int, source: int) -> tuple[Tensor, Tensor]:
    """Centres of output pixels along one axis, in source pixels, and the coordinates of a resize to exactly that size.

    On the CPU: Apple's GPUs have no float64.
    """
    at = torch.arange(first, last, dtype=torch.float64) + 0.5
    return at / scale, at * (source / length) - 0.5


def _within_pixel(at: Tensor) -> Tensor:
    """-0.5 to 0.5, from the centre of the source pixel that contains it; 1e-3 below a pixel counts as inside it."""
    return at - (at + 1e-3).floor() - 0.5


def sample(x: Tensor, at: Tensor, padding: str = "zeros") -> Tensor:  # [B, C, h, w], [1, H, W, 2] -> [B, C, H, W]
    """Bilinear, `at` in pixels with the first one's centre at 0."""
    height, width = x.shape[-2:]
    span = at.new_tensor([width, height])
    grid = (2 * at + 1) / span - 1
    grid = grid.expand(len(x), -1, -1, -1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode=padding, align_corners=False)

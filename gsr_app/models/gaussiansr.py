"""GaussianSR: some feature channels drawn as Gaussians, one for each position in a 7x7 patch, then decoded per pixel.

Hu, Xia, Chen, Yang, Zhang, "GaussianSR: High Fidelity 2D Gaussian Splatting for Arbitrary-Scale Image
Super-Resolution", AAAI 2025, arXiv 2407.18046. Original: github.com/tljxyys/GaussianSR, BSD-3-Clause.

Every source pixel samples one of 100 classes of Gaussians at random, so the original never returns the same image
twice. Here sampling has a fixed seed, and the classes can be given. The shapes of the Gaussians are averages over the
whole input, so those of a tile differ from those of the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from gsr_app.core.types import View
from gsr_app.models.layers.encoders import CHANNELS, EDSR, conv3
from gsr_app.models.layers.lattice import in_range, whole
from gsr_app.models.layers.mlp import MLP
from gsr_app.models.registry import Architecture

_PATCH = 7
_KERNEL, _REACH = 5, 5.0  # a Gaussian is sampled at 5x5 points over -5..5
_LEAST_VARIANCE = 1e-5
_PIXELS_AT_ONCE = 8192  # output pixels decoded at a time


@dataclass(frozen=True)
class GaussianSRConfig:
    splatted: int = 8  # of the 64 feature channels
    classes: int = 100
    hidden: int = 256
    layers: int = 4
    seed: int = 0  # of the drawn classes


@dataclass(frozen=True, eq=False)
class Features:
    """An encoded picture."""

    map: torch.Tensor  # [1, 64, h, w]
    patches: torch.Tensor  # [rows, columns, 49, 8] feature times opacity of each position in each 7x7 patch
    shapes: torch.Tensor  # [49, 3] sigma x, sigma y, rho of each position


class _Encoder(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.edsr = EDSR()
        self.segmentation_head = nn.Sequential(conv3(CHANNELS, classes))


class GaussianSR(nn.Module):
    def __init__(self, *, config: GaussianSRConfig) -> None:
        super().__init__()
        self.config = config
        # 100 classes: ten widths by ten heights; the shapes stay learnable.
        widths = torch.linspace(0.2, 3, math.isqrt(config.classes))
        sigma_x, sigma_y = torch.cartesian_prod(widths, widths).unbind(1)
        self.sigma_x, self.sigma_y = nn.Parameter(sigma_x.clone()), nn.Parameter(sigma_y.clone())
        self.opacity = nn.Parameter(torch.ones(config.classes, 1).sigmoid())
        self.rho = nn.Parameter(torch.zeros(config.classes, 1))
        self.encoder = _Encoder(config.classes)
        self.coef, self.freq = conv3(CHANNELS, config.hidden), conv3(CHANNELS, config.hidden)
        self.phase = nn.Linear(2, config.hidden // 2, bias=False)
        self.dec = MLP((*[config.hidden] * (config.layers + 1), 3), activation=nn.GELU)

    def forward(self, lr: torch.Tensor, size: tuple[int, int], classes: torch.Tensor | None = None) -> torch.Tensor:
        """[B, 3, h, w] in 0..1 -> [B, 3, *size], the whole source stretched over the size; classes [B, h, w]."""
        view, drawn = whole((lr.shape[2], lr.shape[3]), size), [None] * len(lr) if classes is None else classes
        return torch.cat([self.query(self.encode(one[None], own), view) for one, own in zip(lr, drawn, strict=True)])

    # ---- independent of the scale -------------------------------------------------------------------------------

    def encode(self, lr: torch.Tensor, classes: torch.Tensor | None = None) -> Features:
        """[1, 3, h, w] in 0..1 -> features; classes [h, w] are drawn unless given."""
        features = self.encoder.edsr((lr - 0.5) / 0.5)
        classes = self.draw(self.encoder.segmentation_head(features))[0] if classes is None else classes
        # The image is resized to whole patches; each position in a patch has the mean shape over all patches.
        down, across = (_stretch(side, _whole_patches(side)).to(features) for side in lr.shape[2:])
        by_place = [axis.unflatten(0, (-1, _PATCH)).mean(0) for axis in (down, across)]  # [7, h], [7, w]
        places = torch.einsum("ih,jw->hwij", *by_place).reshape(-1, _PATCH**2)  # [h*w, 49]
        shares = features.new_zeros(self.config.classes, _PATCH**2)
        shares = shares.index_add(0, classes.flatten().long().to(features.device), places)  # [100, 49]
        learned = torch.stack([self.sigma_x, self.sigma_y, self.rho[:, 0], self.opacity[:, 0]])
        *shapes, opacity = (learned @ shares).unbind()
        colors = torch.einsum("yh,chw,xw->yxc", down, features[0, : self.config.splatted], across)
        patches = colors.unflatten(1, (-1, _PATCH)).unflatten(0, (-1, _PATCH)).transpose(1, 2).flatten(2, 3)
        return Features(features, patches * opacity[:, None], torch.stack(shapes, dim=1))

    def draw(self, logits: torch.Tensor) -> torch.Tensor:
        """[B, classes, h, w] -> [B, h, w] one class each, sampled by the logits; always the same sample."""
        generator = torch.Generator().manual_seed(self.config.seed)
        uniform = torch.rand(logits.shape, generator=generator).clamp_min(torch.finfo(torch.float32).tiny)
        return (logits - (-uniform.log()).log().to(logits)).argmax(1)

    # ---- at one scale -------------------------------------------------------------------------------------------

    def query(self, features: Features, view: View, *, pixels_at_once: int = _PIXELS_AT_ONCE) -> torch.Tensor:
        """[1, 3, *view.size] in 0..1 of any view of the source plane."""
        return in_range(self, self.decode(features, view, pixels_at_once=pixels_at_once) * 0.5 + 0.5)

    def decode(self, features: Features, view: View, *, pixels_at_once: int = _PIXELS_AT_ONCE) -> torch.Tensor:
        """[*view.size, 3], as the decoder was trained: -1..1, unclamped."""
        kernels = self._kernels(features.shapes, view)
        source = features.map.shape[2], features.map.shape[3]
        canvas = [count * side for count, side in zip(features.patches.shape[:2], kernels.shape[1:], strict=True)]
        onto_canvas, onto_source = (
            [_sampling(view, axis, source, counts[axis]).to(features.map) for axis in range(2)]
            for counts in (canvas, source)
        )
        offset_y, offset_x = (_offsets(view, axis, source).to(features.map) for axis in range(2))
        cell = offset_y.new_tensor([2 / view.scale.y, 2 / view.scale.x])
        rows = max(1, pixels_at_once // view.size[1])
        decoded: list[torch.Tensor] = []
        for top in range(0, view.size[0], rows):
            margin = slice(top, top + rows + 2)  # with one pixel on either side for the 3x3 convolutions
            drawn = _draw(features.patches, kernels, onto_canvas[0][margin], onto_canvas[1])
            resized = _sample(features.map[0, self.config.splatted :], onto_source[0][margin], onto_source[1])
            mixed = torch.cat([drawn, resized])[None]
            coef, freq = F.conv2d(mixed, self.coef.weight, self.coef.bias), self.freq
            freq = F.conv2d(mixed, freq.weight, freq.bias)[0].permute(1, 2, 0).unflatten(-1, (-1, 2))
            away = torch.stack(torch.meshgrid(offset_y[top : top + rows], offset_x, indexing="ij"), dim=-1)
            angle = math.pi * ((freq * away[:, :, None]).sum(-1) + self.phase(cell))
            waves = torch.cat([angle.cos(), angle.sin()], dim=-1)
            decoded.append(self.dec(coef[0].permute(1, 2, 0) * waves))
        return torch.cat(decoded)

    def _kernels(self, shapes: torch.Tensor, view: View) -> torch.Tensor:
        """[49, Ky, Kx] the Gaussian of each position of a patch, shifted to that position in the enlarged patch."""
        x, y, rho = shapes.unbind(1)
        covariance = torch.stack([x**2, rho * x * y, rho * x * y, y**2], dim=1).unflatten(1, (2, 2))
        precision = torch.linalg.inv(covariance + _LEAST_VARIANCE * torch.eye(2).to(shapes))
        at = torch.linspace(-_REACH, _REACH, _KERNEL).to(shapes)
        at = torch.stack(torch.meshgrid(at, at, indexing="ij"), dim=-1)
        kernels = torch.exp(-0.5 * torch.einsum("ija,pab,ijb->pij", at, precision, at))
        kernels = kernels / kernels.amax((1, 2), keepdim=True)
        sides = self._sides(view)
        before = [(side - _KERNEL) // 2 for side in sides]
        after = [side - _KERNEL - one for side, one in zip(sides, before, strict=True)]
        padded = F.pad(kernels, (before[1], after[1], before[0], after[0]))
        place = torch.arange(_PATCH).to(shapes)
        shift = 1 - 2 * torch.cartesian_prod(place, place).flip(1) / _PATCH  # [49, 2] x, y
        moves = torch.cat([torch.eye(2).to(shapes).expand(len(shift), 2, 2), shift[..., None]], dim=2)
        grid = F.affine_grid(moves, [len(shift), 1, *sides], align_corners=True)
        return F.grid_sample(padded[:, None], grid, align_corners=True)[:, 0]

    @staticmethod
    def _sides(view: View) -> tuple[int, int]:
        return max(1, round(_PATCH * view.scale.y)), max(1, round(_PATCH * view.scale.x))


def _draw(patches: torch.Tensor, kernels: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """[8, N, M] samples of the enlarged patches; rows of patches that are not sampled are not drawn."""
    side = kernels.shape[1]
    sampled = rows.any(0).unflatten(0, (-1, side)).any(1).nonzero().flatten()
    first, last = int(sampled[0]), int(sampled[-1]) + 1
    drawn = torch.einsum("rcpk,pyx->krycx", patches[first:last], kernels).clamp(0, 1)
    return rows[:, first * side : last * side] @ drawn.flatten(3, 4).flatten(1, 2) @ columns.t()


def _whole_patches(side: int) -> int:
    return -(-side // _PATCH) * _PATCH


def _stretch(source: int, target: int) -> torch.Tensor:
    """[target, source] the weights by which torch resizes an axis with bicubic interpolation."""
    return F.interpolate(torch.eye(source)[None, None], size=(target, source), mode="bicubic")[0, 0]


def _sampling(view: View, axis: int, source: tuple[int, int], count: int) -> torch.Tensor:
    """[N+2, count] the same for a view of `count` pixels that cover the source, and one pixel on either side.

    Pixels beyond the source are zero, as the 3x3 convolutions pad.
    """
    size, start, length = view.size[axis], view.origin[1 - axis], float(source[axis])
    step = view.span[axis] / size
    at = start + (torch.arange(-1, size + 1, dtype=torch.float64) + 0.5) * step
    inside = (at > 0) & (at < length)
    if (start, view.span[axis]) == (0.0, length):
        weights = F.pad(_stretch(count, size), (0, 0, 1, 1))  # bit for bit as torch, for the reason given in `_offsets`
    else:
        weights = _cubic(at * (count / length) - 0.5, count).float()
    return weights * inside[:, None]


def _cubic(position: torch.Tensor, count: int) -> torch.Tensor:
    """[N, count] weights of cubic interpolation (a = -0.75) at positions, the border repeated."""
    a = -0.75
    first = position.floor()
    weights = position.new_zeros(len(position), count)
    for tap in range(-1, 3):
        d = (position - first - tap).abs()
        near, far = ((a + 2) * d - (a + 3)) * d * d + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        index = (first.long() + tap).clamp(0, count - 1)
        weights.scatter_add_(1, index[:, None], torch.where(d <= 1, near, far)[:, None])
    return weights


def _sample(image: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """[C, h, w] through one matrix per axis."""
    used = rows.any(0).nonzero().flatten()
    first, last = int(used[0]), int(used[-1]) + 1
    return rows[:, first:last] @ image[:, first:last] @ columns.t()


def _offsets(view: View, axis: int, source: tuple[int, int]) -> torch.Tensor:
    """[N] from the nearest source pixel's centre, in source half-pixels.

    In float32 from the coordinates on, as in training: frequencies of thirty amplify their rounding errors.
    """
    count = source[axis]
    step, start = view.span[axis] / view.size[axis], view.origin[1 - axis]
    coord = _ramp((2 * start + step) / count - 1, 2 * step / count, view.size[axis])
    centre = _ramp(1 / count - 1, 2 / count, count)
    exact = start + (torch.arange(view.size[axis], dtype=torch.float64) + 0.5) * step
    return (coord - centre[exact.floor().clamp(0, count - 1).long()]) * count


def _ramp(start: float, step: float, count: int) -> torch.Tensor:
    return start + step * torch.arange(count).float()


ARCHS = (
    Architecture(
        id="gaussiansr-edsr",
        build=lambda: GaussianSR(config=GaussianSRConfig()),
        kind="continuous",
        overlap=32,
        full_precision=True,  # for its frequencies, and its shares, which are sums over all pixels
    ),
)

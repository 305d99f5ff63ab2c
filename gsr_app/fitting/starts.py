"""Where a fit begins: Gaussians at random, by a quad-tree, or as a network foresees them.

Every start answers in output pixels with pixel i's centre at i, and with as many Gaussians as it was asked for.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gsr_app.core.errors import InvalidArgument, UnknownName
from gsr_app.fitting import quadtree
from gsr_app.fitting.dither import dither, sample_cells
from gsr_app.fitting.options import Start
from gsr_app.fitting.triangles import Triangles, add_border, triangulate
from gsr_app.models import checkpoint, registry, weights
from gsr_app.models.initnet import InitNet, Shapes

_MOST_SEEN_PIXELS = 1 << 20  # a network looks at a smaller copy of what is larger: density is smooth
_LEAST_SHARE = 0.02  # of the mean density: even an empty sky gets some Gaussians
_MOST_PER_PIXEL = 0.9
_POINTS_PER_CELL = 0.1  # on average, in what is dithered
_BITS = 255


@dataclass
class Begun:
    """A start: Gaussians, and the map that they were drawn from if there was one."""

    mean: Tensor  # [N, 2] (x, y), pixel i has its centre at i
    sigma: Tensor  # [N, 2]
    rho: Tensor  # [N]
    color: Tensor  # [N, 3]
    position_map: Tensor | None = None  # [H, W]


def begin(
    image: Tensor,  # [3, H, W], 0..1
    start: Start,
    count: int,
    seed: int = 0,
    *,
    weights: str | None = None,  # of the start's network, instead of those that ship or are fetched
) -> Begun:
    if weights is not None and start not in ("network", "initnet"):
        raise InvalidArgument(f"The start {start!r} has no network to give weights to.")
    if start == "random":
        return begin_at_random(image, count, seed)
    if start == "quadtree":
        return begin_by_quadtree(image, count, seed)
    if start == "network":
        return begin_by_network(image, count, seed, weights)
    if start == "initnet":
        return begin_by_initnet(image, weights)
    raise UnknownName(start, get_args(Start), what="Start", where="the list of starts")


def begin_at_random(image: Tensor, count: int, seed: int) -> Begun:
    """The published random start: uniform places and colours, widths from a half to one and a half pixels."""
    generator = torch.Generator().manual_seed(seed)
    place, sigma, color = (torch.rand(count, n, generator=generator) for n in (2, 2, 3))
    extent = torch.tensor([image.shape[2], image.shape[1]])
    return Begun(place * extent - 0.5, sigma + 0.5, torch.zeros(count), color)


def begin_by_quadtree(image: Tensor, count: int, seed: int) -> Begun:
    """The published quad-tree, its tolerance chosen so that it comes close to the count from below."""
    pixels = (image * _BITS).round().byte().permute(1, 2, 0).numpy()
    size = (image.shape[1], image.shape[2])
    low, high = -6.0, 6.0  # log2 of the tolerance
    rows = quadtree.place(np.array([[size[1] / 2, size[0] / 2]]), size)
    for _ in range(9):
        middle = (low + high) / 2
        points = quadtree.split(pixels, tolerance=2**middle)
        # A triangulation has about twice as many triangles as points: no need to make it to see that it is too much.
        found = quadtree.place(points, size) if len(points) < 0.75 * count else None
        if found is not None and len(found) <= count:
            rows, high = found, middle
            if len(found) > 0.97 * count:
                break
        else:
            low = middle
    scale = torch.tensor([size[1], size[0]]) / 2
    values = torch.from_numpy(rows).float()
    mean = (values[:, :2] + 1) * scale - 0.5
    sigma, rho = from_turned(values[:, 2:4].clamp(min=0.5), 2 * math.pi * values[:, 4])
    return fill_up(Begun(mean, sigma, rho, sample(image, mean)), image, count, seed)


def begin_by_network(image: Tensor, count: int, seed: int, path: str | None = None) -> Begun:
    """Places dithered from the density that our small network foresees, shapes as it foresees them there."""
    height, width = image.shape[1:]
    with torch.no_grad():
        net = _quickstart(path)
        shrink = min(1.0, math.sqrt(_MOST_SEEN_PIXELS / (height * width)))
        seen = image[None]
        if shrink < 1:
            seen = F.interpolate(seen, scale_factor=shrink, mode="area")
        found = net(seen)
        share = (found.log_density - found.log_density.amax())[:, None].exp()
        maps = torch.cat([share, found.log_size[:, None], found.stretch], 1)
        # Error diffusion places few points unevenly: where they are few, pixels are taken together.
        cell = max(1, round(math.sqrt(_POINTS_PER_CELL * height * width / count)))
        grid = (-(-height // cell), -(-width // cell))
        if grid != maps.shape[2:]:
            mode = "area" if grid[0] < maps.shape[2] else "bilinear"
            maps = F.interpolate(maps, size=grid, mode=mode)
        maps = maps[0].clone()
    area_px = (height * width) / (grid[0] * grid[1])
    share = maps[0] / maps[0].sum() * (1 - _LEAST_SHARE) + _LEAST_SHARE / (grid[0] * grid[1])
    density = spread(share, count)  # per cell
    generator = torch.Generator().manual_seed(seed)
    points = torch.from_numpy(dither(density.numpy())).long()
    points = points[torch.randperm(len(points), generator=generator)[:count]]
    x, y = points[:, 0], points[:, 1]
    size = (maps[1] - 0.5 * (density / area_px).log())[y, x]
    stretch = maps[2:, y, x]  # [2, N]
    length = stretch.norm(dim=0).clamp(max=1.2)
    angle = torch.atan2(stretch[1], stretch[0]) / 2
    sigma, rho = from_turned(torch.stack([size + length, size - length], 1).exp().clamp(0.5, 64), angle)
    spot = points + 0.5 + (torch.rand(len(points), 2, generator=generator) - 0.5) * 0.5
    mean = spot * torch.tensor([width / grid[1], height / grid[0]]) - 0.5
    if grid != (height, width):
        density = F.interpolate(density[None, None] / area_px, size=(height, width))[0, 0]
    return fill_up(Begun(mean, sigma, rho, sample(image, mean), density), image, count, seed)


def begin_by_initnet(image: Tensor, path: str | Path | None = None) -> Begun:
    """The published pipeline, with the published network's weights. It chooses the count itself."""
    net = _initnet(path)
    size = (image.shape[1], image.shape[2])
    with torch.no_grad():
        features, probability = net(image[None])
        points = add_border(sample_cells(probability[0].numpy(), net.cell_px), size)
        found = triangulate(points)
        placed = net.place(image[None], features, as_shapes(found, size))
    half = torch.tensor([size[1] / 2, size[0] / 2])
    sigma, rho = from_turned(placed.scaling_px, 2 * math.pi * placed.turn[:, 0])
    return Begun(placed.xy * half + half, sigma, rho, placed.color, probability[0].clone())


def as_shapes(found: Triangles, size: tuple[int, int]) -> Shapes:
    """Triangles as the published network sees them."""
    extent = np.array([size[1], size[0]], np.float32)

    def tensor(values: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32))

    return Shapes(
        tensor(found.points[found.corners] / extent * 2 - 1),
        tensor(np.clip(found.centre / extent * 2 - 1, -0.99999, 0.99999)),
        tensor(found.axes / 2),
        tensor(np.clip(found.angle_deg / 360, 1e-5, 1 - 1e-5)),
        torch.from_numpy(np.ascontiguousarray(found.neighbours, np.int64)),
    )


# ---- pieces -----------------------------------------------------------------------------------------------------


def spread(share: Tensor, count: int) -> Tensor:  # [H, W] with sum 1 -> the expected number per pixel
    """As many as asked for where a pixel can only hold one; what is over goes to the others."""
    density = share * count
    for _ in range(4):
        is_full = density > _MOST_PER_PIXEL
        if not is_full.any() or is_full.all():
            break
        room = count - _MOST_PER_PIXEL * float(is_full.sum())
        rest = float(density[~is_full].sum())
        density = torch.where(is_full, _MOST_PER_PIXEL, density * max(room, 0) / max(rest, 1e-12))
    return density.clamp(max=1)


def fill_up(begun: Begun, image: Tensor, count: int, seed: int) -> Begun:
    """As many as were asked for: what is missing is added as small ones at random."""
    missing = count - len(begun.mean)
    if missing <= 0:
        return begun
    extra = begin_at_random(image, missing, seed)
    added = (extra.mean, extra.sigma, extra.rho, torch.zeros_like(extra.color))
    parts = zip((begun.mean, begun.sigma, begun.rho, begun.color), added, strict=True)
    return Begun(*(torch.cat(pair) for pair in parts), position_map=begun.position_map)


def from_turned(axes: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:  # [N, 2], [N] radians of the first axis
    """Sigma [N, 2] and rho [N] of ellipses given by their semi-axes and tilt."""
    cos, sin = angle.cos(), angle.sin()
    one, other = axes.square().unbind(1)
    xx, yy = cos * cos * one + sin * sin * other, sin * sin * one + cos * cos * other
    sigma = torch.stack([xx, yy], 1).sqrt()
    return sigma, (cos * sin * (one - other) / sigma.prod(1)).clamp(-0.999, 0.999)


def sample(image: Tensor, mean: Tensor) -> Tensor:  # [3, H, W] at [N, 2] -> [N, 3]
    extent = mean.new_tensor([image.shape[2], image.shape[1]])
    spots = (mean + 0.5) / extent * 2 - 1
    found = F.grid_sample(image[None], spots[None, None], padding_mode="border", align_corners=False)
    return found[0, :, 0].T.contiguous()


@functools.cache
def _quickstart(path: str | None) -> Any:
    method = registry.starts()["quickstart"]
    return checkpoint.load_files(registry.build(method.arch), weights.obtain(method, path).files)


def _initnet(path: str | Path | None) -> InitNet:
    method = registry.starts()["instant-gi"]
    return checkpoint.load_files(registry.build(method.arch), weights.obtain(method, path).files)  # type: ignore[return-value]

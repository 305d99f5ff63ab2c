"""The initial Gaussians of a fit: random, from a quad-tree, or predicted by a network.

Every start is in output pixels with pixel i's centre at i. All but `initnet` return the requested number of Gaussians.
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

_MOST_SEEN_PIXELS = 1 << 20  # a larger image is shrunk for the network: density is smooth
_LEAST_SHARE = 0.02  # of the mean density: flat areas get some Gaussians, too
_MOST_PER_PIXEL = 0.9
_POINTS_PER_CELL = 0.1  # on average, of the dithered map
_BITS = 255


@dataclass
class InitialGaussians:
    """The Gaussians of a start, and the density map that they were sampled from, if any."""

    mean: Tensor  # [N, 2] (x, y), pixel i has its centre at i
    sigma: Tensor  # [N, 2]
    rho: Tensor  # [N]
    color: Tensor  # [N, 3]
    position_map: Tensor | None = None  # [H, W]


def initial_gaussians(
    image: Tensor,  # [3, H, W], 0..1
    start: Start,
    count: int,
    seed: int = 0,
    *,
    weights: str | None = None,  # of the start's network, instead of the packaged or downloaded ones
) -> InitialGaussians:
    if weights is not None and start not in ("network", "initnet"):
        raise InvalidArgument(f"The start {start!r} has no network to load weights into.")
    if start == "random":
        return random_start(image, count, seed)
    if start == "quadtree":
        return quadtree_start(image, count, seed)
    if start == "network":
        return network_start(image, count, seed, weights)
    if start == "initnet":
        return initnet_start(image, weights)
    raise UnknownName(start, get_args(Start), what="Start", where="the list of starts")


def random_start(image: Tensor, count: int, seed: int) -> InitialGaussians:
    """The published random start: uniform positions and colours, widths from a half to one and a half pixels."""
    generator = torch.Generator().manual_seed(seed)
    place, sigma, color = (torch.rand(count, n, generator=generator) for n in (2, 2, 3))
    extent = torch.tensor([image.shape[2], image.shape[1]])
    return InitialGaussians(place * extent - 0.5, sigma + 0.5, torch.zeros(count), color)


def quadtree_start(image: Tensor, count: int, seed: int) -> InitialGaussians:
    """The published quad-tree, with the tolerance that gives the most Gaussians up to the count."""
    pixels = (image * _BITS).round().byte().permute(1, 2, 0).numpy()
    size = (image.shape[1], image.shape[2])
    low, high = -6.0, 6.0  # log2 of the tolerance
    rows = quadtree.place(np.array([[size[1] / 2, size[0] / 2]]), size)
    for _ in range(9):
        middle = (low + high) / 2
        points = quadtree.split(pixels, tolerance=2**middle)
        # A triangulation has about twice as many triangles as points, so a count far too high needs no triangulation.
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
    return fill_to_count(InitialGaussians(mean, sigma, rho, sample(image, mean)), image, count, seed)


def network_start(image: Tensor, count: int, seed: int, path: str | None = None) -> InitialGaussians:
    """Positions dithered from the density that the small network predicts, with the shapes that it predicts there."""
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
        # Error diffusion places sparse points unevenly: for few points, pixels are pooled into cells.
        cell = max(1, round(math.sqrt(_POINTS_PER_CELL * height * width / count)))
        grid = (-(-height // cell), -(-width // cell))
        if grid != maps.shape[2:]:
            mode = "area" if grid[0] < maps.shape[2] else "bilinear"
            maps = F.interpolate(maps, size=grid, mode=mode)
        maps = maps[0].clone()
    area_px = (height * width) / (grid[0] * grid[1])
    share = maps[0] / maps[0].sum() * (1 - _LEAST_SHARE) + _LEAST_SHARE / (grid[0] * grid[1])
    density = cap_density(share, count)  # per cell
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
    return fill_to_count(InitialGaussians(mean, sigma, rho, sample(image, mean), density), image, count, seed)


def initnet_start(image: Tensor, path: str | Path | None = None) -> InitialGaussians:
    """The published pipeline, with the published network's weights. It determines the count itself."""
    net = _initnet(path)
    size = (image.shape[1], image.shape[2])
    with torch.no_grad():
        features, probability = net(image[None])
        points = add_border(sample_cells(probability[0].numpy(), net.cell_px), size)
        found = triangulate(points)
        placed = net.place(image[None], features, as_shapes(found, size))
    half = torch.tensor([size[1] / 2, size[0] / 2])
    sigma, rho = from_turned(placed.scaling_px, 2 * math.pi * placed.turn[:, 0])
    return InitialGaussians(placed.xy * half + half, sigma, rho, placed.color, probability[0].clone())


def as_shapes(found: Triangles, size: tuple[int, int]) -> Shapes:
    """Triangles in the coordinates of the published network."""
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


# ---- helpers ----------------------------------------------------------------------------------------------------


def cap_density(share: Tensor, count: int) -> Tensor:  # [H, W] with sum 1 -> the expected number per pixel
    """The requested number with at most one Gaussian per pixel; the excess is spread over the other pixels."""
    density = share * count
    for _ in range(4):
        is_full = density > _MOST_PER_PIXEL
        if not is_full.any() or is_full.all():
            break
        room = count - _MOST_PER_PIXEL * float(is_full.sum())
        rest = float(density[~is_full].sum())
        density = torch.where(is_full, _MOST_PER_PIXEL, density * max(room, 0) / max(rest, 1e-12))
    return density.clamp(max=1)


def fill_to_count(initial: InitialGaussians, image: Tensor, count: int, seed: int) -> InitialGaussians:
    """The requested number: missing Gaussians are added at random positions, small and black."""
    missing = count - len(initial.mean)
    if missing <= 0:
        return initial
    extra = random_start(image, missing, seed)
    added = (extra.mean, extra.sigma, extra.rho, torch.zeros_like(extra.color))
    parts = zip((initial.mean, initial.sigma, initial.rho, initial.color), added, strict=True)
    return InitialGaussians(*(torch.cat(pair) for pair in parts), position_map=initial.position_map)


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

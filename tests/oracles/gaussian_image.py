"""GaussianImage as Instant-GI published it: its rasteriser, its gradients, its fit.

Two rules differ from `gsr_app.fitting` on purpose. A tile of 16 x 16 pixels draws only the first 256 Gaussians that may
touch it, and the gradient of a covariance counts its off-diagonal entry twice. `true_gradients` and `per_tile=None`
switch both off. A pixel's centre is at its index, without the half that fields add.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gsr_app.fitting import published
from gsr_app.fitting.adan import Adan

TILE_PX = 16
PER_TILE = 256
_LEAST_ALPHA = 1 / 255
_PAIRS_AT_ONCE = 1 << 22


class Project(torch.autograd.Function):
    """From scales [N, 2] and turns [N, 1] (radians) to the inverse covariance [N, 3] (a, b, c)."""

    @staticmethod
    def forward(ctx: Any, scale: Tensor, turn: Tensor, true_gradients: bool) -> Tensor:
        s11, s12, s22 = published.covariance(scale, turn)
        determinant = s11 * s22 - s12 * s12
        conic = torch.stack([s22, -s12, s11], 1) / determinant[:, None]
        ctx.save_for_backward(scale, turn, conic)
        ctx.true_gradients = true_gradients
        return conic

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        scale, turn, conic = ctx.saved_tensors
        a, b, c = conic.unbind(1)
        va, vb, vc = grad.unbind(1)
        off = vb / 2 if ctx.true_gradients else vb
        inverse = torch.stack([a, b, b, c], 1).view(-1, 2, 2)
        middle = torch.stack([va, off, off, vc], 1).view(-1, 2, 2)
        grad_cov = -inverse @ middle @ inverse
        p11, p12, p22 = grad_cov[:, 0, 0], grad_cov[:, 0, 1], grad_cov[:, 1, 1]
        cos, sin = turn[:, 0].cos(), turn[:, 0].sin()
        sx, sy = scale.unbind(1)
        along_x = 2 * sx * (cos * cos * p11 + 2 * cos * sin * p12 + sin * sin * p22)
        along_y = 2 * sy * (sin * sin * p11 - 2 * cos * sin * p12 + cos * cos * p22)
        around = (sx * sx - sy * sy) * (2 * cos * sin * (p22 - p11) + 2 * (cos * cos - sin * sin) * p12)
        return torch.stack([along_x, along_y], 1), around[:, None], None


def find_radius(conic: Tensor) -> Tensor:  # [N, 3] -> [N] px
    """Three deviations of the longer axis, rounded up."""
    determinant = 1 / (conic[:, 0] * conic[:, 2] - conic[:, 1].square())
    middle = (conic[:, 0] + conic[:, 2]) * determinant / 2
    return (3 * (middle + (middle.square() - determinant).clamp(min=0.1).sqrt()).sqrt()).ceil()


def list_tiles(centre: Tensor, radius: Tensor, size: tuple[int, int], per_tile: int | None) -> tuple[Tensor, Tensor]:
    """Gaussians [T, K] of each tile in the order of their index, and which entries [T, K] are used."""
    across, down = math.ceil(size[1] / TILE_PX), math.ceil(size[0] / TILE_PX)
    least, most = centre.new_tensor([0, 0]), centre.new_tensor([across, down])
    low = ((centre - radius[:, None]) / TILE_PX).trunc().clamp(least, most)  # [N, 2]
    high = ((centre + radius[:, None]) / TILE_PX + 1).trunc().clamp(least, most)
    column, row = torch.arange(across, device=centre.device), torch.arange(down, device=centre.device)
    in_column = (column[:, None] >= low[:, 0]) & (column[:, None] < high[:, 0]) & (radius > 0)
    in_row = (row[:, None] >= low[:, 1]) & (row[:, None] < high[:, 1])
    touches = (in_row[:, None] & in_column[None]).flatten(0, 1)  # [T, N]
    place = touches.cumsum(1) - 1
    if per_tile is not None:
        touches &= place < per_tile
    longest = max(1, int(touches.sum(1).max()))
    tile, which = touches.nonzero(as_tuple=True)
    lists = torch.zeros(len(touches), longest, dtype=torch.long, device=centre.device)
    taken = torch.zeros_like(lists, dtype=torch.bool)
    lists[tile, place[tile, which]] = which
    taken[tile, place[tile, which]] = True
    return lists, taken


class DrawInTiles(torch.autograd.Function):
    """The sum of colour * alpha over the Gaussians of each tile, with alpha below 1/255 left out."""

    @staticmethod
    def forward(
        ctx: Any, centre: Tensor, conic: Tensor, color: Tensor, size: tuple[int, int], per_tile: int | None
    ) -> Tensor:  # [C, H, W]
        lists, taken = list_tiles(centre, find_radius(conic), size, per_tile)
        ctx.save_for_backward(centre, conic, color, lists, taken)
        ctx.size = size
        down, across = (math.ceil(side / TILE_PX) for side in size)
        out = color.new_empty(down * across, TILE_PX * TILE_PX, color.shape[1])
        for part, which, _, alpha in _tiles(centre, conic, lists, taken, across):
            out[part] = torch.einsum("tkp,tkc->tpc", alpha, color[which])
        image = out.view(down, across, TILE_PX, TILE_PX, -1).permute(4, 0, 2, 1, 3).reshape(-1, down * 16, across * 16)
        return image[:, : size[0], : size[1]].contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        centre, conic, color, lists, taken = ctx.saved_tensors
        height, width = ctx.size
        down, across = (math.ceil(side / TILE_PX) for side in ctx.size)
        padded = F.pad(grad, (0, across * TILE_PX - width, 0, down * TILE_PX - height))
        grad_px = padded.view(-1, down, TILE_PX, across, TILE_PX).permute(1, 3, 2, 4, 0)
        grad_px = grad_px.reshape(down * across, TILE_PX * TILE_PX, -1)
        by_centre, by_conic, by_color = (torch.zeros_like(x) for x in (centre, conic, color))
        for part, which, delta, alpha in _tiles(centre, conic, lists, taken, across):
            by_color.index_add_(0, which.flatten(), torch.einsum("tkp,tpc->tkc", alpha, grad_px[part]).flatten(0, 1))
            grad_q = -alpha * torch.einsum("tkc,tpc->tkp", color[which], grad_px[part])
            dx, dy = delta.unbind(-1)
            fx, fy = (grad_q * dx).sum(2), (grad_q * dy).sum(2)
            a, b, c = conic[which].unbind(2)
            by_centre.index_add_(0, which.flatten(), torch.stack([a * fx + b * fy, b * fx + c * fy], 2).flatten(0, 1))
            second = [
                0.5 * (grad_q * dx * dx).sum(2),
                (grad_q * dx * dy).sum(2),
                0.5 * (grad_q * dy * dy).sum(2),
            ]
            by_conic.index_add_(0, which.flatten(), torch.stack(second, 2).flatten(0, 1))
        return by_centre, by_conic, by_color, None, None


def _tiles(
    centre: Tensor, conic: Tensor, lists: Tensor, taken: Tensor, across: int
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """Tiles in groups that fit into memory: which ones, their Gaussians, offsets [t, K, 256, 2], alpha [t, K, 256]."""
    inside = torch.arange(TILE_PX * TILE_PX, device=centre.device)
    step = max(1, _PAIRS_AT_ONCE // (lists.shape[1] * TILE_PX * TILE_PX))
    for start in range(0, len(lists), step):
        part = slice(start, min(start + step, len(lists)))
        tile = torch.arange(part.start, part.stop, device=centre.device)[:, None]
        x, y = tile % across * TILE_PX + inside % TILE_PX, tile // across * TILE_PX + inside // TILE_PX
        which = lists[part]
        delta = centre[which][:, :, None] - torch.stack([x, y], -1)[:, None].to(centre.dtype)
        a, b, c = conic[which].unbind(2)
        dx, dy = delta.unbind(-1)
        power = 0.5 * (a[..., None] * dx * dx + c[..., None] * dy * dy) + b[..., None] * dx * dy
        alpha = (-power).exp().clamp(max=1)
        is_drawn = taken[part][..., None] & (power >= 0) & (alpha >= _LEAST_ALPHA)
        yield part, which, delta, alpha * is_drawn


def draw(
    mean: Tensor,  # [N, 2] (x, y), -1..1
    scale: Tensor,  # [N, 2] px
    turn: Tensor,  # [N, 1] radians
    color: Tensor,  # [N, C]
    size: tuple[int, int],
    *,
    true_gradients: bool = False,
    per_tile: int | None = PER_TILE,
) -> Tensor:  # [C, H, W]
    half = mean.new_tensor([size[1] / 2, size[0] / 2])
    conic = Project.apply(scale, turn, true_gradients)
    return DrawInTiles.apply(mean * half + half, conic, color, size, per_tile)  # type: ignore[return-value]


class GaussianImage(published.GaussianImage):
    """The parameters, with the published way of drawing them."""

    @property
    def tensors(self) -> list[Tensor]:
        return [self.xyz, self.scaling, self.rotation, self.features_dc]

    def draw(self, size: tuple[int, int], *, true_gradients: bool = False, per_tile: int | None = PER_TILE) -> Tensor:
        turn = 2 * math.pi * self.rotation.sigmoid()
        options = {"true_gradients": true_gradients, "per_tile": per_tile}
        return draw(self.xyz.tanh(), self.scale_px(), turn, self.features_dc, size, **options)  # type: ignore[arg-type]

    def state(self) -> dict[str, Tensor]:
        """As the original writes it."""
        named = zip(("_xyz", "_scaling", "_rotation", "_features_dc"), self.tensors, strict=True)
        ones = torch.ones(len(self.xyz), 1)
        return {name: x.detach() for name, x in named} | {"_opacity": ones, "bound": torch.full((1, 2), 0.5)}


def fit(
    start: GaussianImage,
    image: Tensor,  # [3, H, W]
    steps: int = 50_000,
    *,
    rate: float = 1e-3,
    true_gradients: bool = False,
    per_tile: int | None = PER_TILE,
) -> Iterator[tuple[Tensor, float, float]]:
    """The published loop, one step at a time: render, loss and PSNR before the step. Updates `start` in place."""
    size = (image.shape[1], image.shape[2])
    optimizer = Adan(start.tensors, rate)
    for step in range(steps):
        for x in start.tensors:
            x.requires_grad_(True)
        drawn = start.draw(size, true_gradients=true_gradients, per_tile=per_tile).clamp(0, 1)
        loss = F.mse_loss(drawn, image)
        gradients = torch.autograd.grad(loss, start.tensors)
        for x in start.tensors:
            x.requires_grad_(False)
        optimizer.step(gradients, 0.5 ** (step // 10_000))
        mse = float(loss.detach())
        yield drawn.detach(), mse, -10 * math.log10(max(mse, 1e-12))

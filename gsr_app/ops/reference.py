"""The splat in plain torch: any device, float32 or float64, forward and closed-form backward, bounded memory.

The float64 oracle of the tests, and what runs where nothing faster loads. `ext/csrc/splat.h` is the same in C++.

A Gaussian's value at a pixel is exp(-q/2) with

    a = dx / sigma_x    b = dy / sigma_y    m = max(1 - rho^2, MIN_ONE_MINUS_RHO2)    q = (a - rho b)^2 / m + b^2

which is the usual quadratic form written as a sum of two squares: nothing cancels when |rho| comes close to 1.
Its support is the ellipse q <= -2 ln(eps), cut further by the window |dx| <= window_x, |dy| <= window_y.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# GSASR reaches |rho| = 0.999999, where 1 - rho^2 is 2e-6. Beyond |rho| = 0.9999995 a Gaussian gets no thinner.
MIN_ONE_MINUS_RHO2 = 1e-6
MIN_SIGMA_PX = 1e-6  # a thinner Gaussian is drawn this thin

# Pairs of (Gaussian, pixel) at a time: they fit into the cache, and are enough to outweigh the cost of a torch call.
_PAIRS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Frame:
    """The pixels to draw, and where contributions end."""

    height: int
    width: int
    top: int = 0  # index of the first row and column on the grid that means are given in
    left: int = 0
    window_x: float = math.inf
    window_y: float = math.inf
    eps: float = 0.0

    @property
    def largest_q(self) -> float:
        return -2 * math.log(self.eps) if self.eps > 0 else math.inf


@dataclass(frozen=True)
class _Batch:
    """Gaussians whose boxes have one size, with their offsets from and values at the pixels."""

    rows: Tensor  # [n] indices of the Gaussians
    pixel: Tensor | None  # [n, h*w] index into the frame; None: every box is the whole frame
    dx: Tensor  # [n, w]
    dy: Tensor  # [n, h]
    value: Tensor  # [n, h, w]


def splat(
    mean: Tensor,  # [N, 2] (x, y), pixel i has its centre at i
    sigma: Tensor,  # [N, 2] (x, y)
    rho: Tensor,  # [N]
    color: Tensor,  # [N, C]
    *,
    frame: Frame,
) -> Tensor:  # [C, H, W]
    out = color.new_zeros(color.shape[1], frame.height * frame.width)
    for batch in _batches(mean, sigma, rho, frame):
        tint = color[batch.rows]  # [n, C]
        if batch.pixel is None:
            out += tint.T @ batch.value.flatten(1)
            continue
        pixel, value = batch.pixel.flatten(), batch.value.flatten(1)
        for channel, plane in enumerate(out):
            plane.index_add_(0, pixel, (value * tint[:, channel, None]).flatten())
    return out.view(-1, frame.height, frame.width)


def splat_backward(
    grad: Tensor,  # [C, H, W]
    mean: Tensor,  # [N, 2]
    sigma: Tensor,  # [N, 2]
    rho: Tensor,  # [N]
    color: Tensor,  # [N, C]
    *,
    frame: Frame,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # as mean, sigma, rho, color
    planes = grad.reshape(grad.shape[0], -1)
    grad_color = torch.zeros_like(color)
    moments = mean.new_zeros(len(mean), 5)  # of dL/dvalue * value, about the mean: x, y, xx, xy, yy
    for batch in _batches(mean, sigma, rho, frame):
        tint, value = color[batch.rows], batch.value.flatten(1)
        grad_value = torch.zeros_like(value)  # [n, h*w] dL/dvalue
        per_channel: list[Tensor] = []
        for channel, plane in enumerate(planes):
            grad_pixel = plane.expand_as(value) if batch.pixel is None else plane[batch.pixel]
            grad_value.addcmul_(grad_pixel, tint[:, channel, None])
            per_channel.append(torch.linalg.vecdot(grad_pixel, value))
        grad_color[batch.rows] = torch.stack(per_channel, 1)
        weight = (grad_value * value).view_as(batch.value)  # [n, h, w]
        by_column, by_row = weight.sum(1), weight.sum(2)
        along_x = torch.bmm(weight, batch.dx[:, :, None])[:, :, 0]  # [n, h]
        moments[batch.rows] = torch.stack(
            [
                (by_column * batch.dx).sum(1),
                (by_row * batch.dy).sum(1),
                (by_column * batch.dx.square()).sum(1),
                (along_x * batch.dy).sum(1),
                (by_row * batch.dy.square()).sum(1),
            ],
            1,
        )
    return *_gradients_of(moments, sigma, rho), grad_color


def _gradients_of(moments: Tensor, sigma: Tensor, rho: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The chain rule from the moments to mean, sigma and rho."""
    sx, sy = sigma.clamp(min=MIN_SIGMA_PX).unbind(1)
    m, is_clamped = _one_minus_rho2(rho)
    x, y, xx, xy, yy = moments.unbind(1)
    a, b, aa, ab, bb = x / sx, y / sy, xx / sx.square(), xy / (sx * sy), yy / sy.square()
    p, pa, pb = (a - rho * b) / m, (aa - rho * ab) / m, (ab - rho * bb) / m  # with p = (a - rho b) / m
    grad_mean = torch.stack([p / sx, (b - rho * p) / sy], 1)
    grad_sigma = torch.stack([pa / sx, (bb - rho * pb) / sy], 1).masked_fill(sigma < MIN_SIGMA_PX, 0)
    grad_rho = pb - (rho * (pa - rho * pb) / m).masked_fill(is_clamped, 0)
    return grad_mean, grad_sigma, grad_rho


def _one_minus_rho2(rho: Tensor) -> tuple[Tensor, Tensor]:
    m = (1 - rho) * (1 + rho)
    return m.clamp(min=MIN_ONE_MINUS_RHO2), m < MIN_ONE_MINUS_RHO2


def _batches(mean: Tensor, sigma: Tensor, rho: Tensor, frame: Frame) -> Iterator[_Batch]:
    """Group the Gaussians by the size of their box, so that each group is one dense tensor."""
    sigma = sigma.clamp(min=MIN_SIGMA_PX)
    m, _ = _one_minus_rho2(rho)
    reach = math.sqrt(frame.largest_q)
    # The box of the ellipse: q is least, and equal to b^2, where a = rho b; the same along the other axis.
    half_x = (reach * sigma[:, 0] * (rho.square() + m).sqrt()).clamp(max=frame.window_x)
    half_y = (reach * sigma[:, 1]).clamp(max=frame.window_y)
    first_x, width = _box_1d(mean[:, 0], half_x, frame.left, frame.width)
    first_y, height = _box_1d(mean[:, 1], half_y, frame.top, frame.height)

    touched = torch.nonzero((width > 0) & (height > 0)).flatten()
    side = max(frame.width, frame.height)
    steps = sorted({round(2 ** (k / 2)) for k in range(2 * side.bit_length() + 1)})
    sizes = torch.tensor(steps, device=mean.device)
    level = torch.bucketize(width[touched], sizes) * len(steps) + torch.bucketize(height[touched], sizes)
    order = torch.argsort(level, stable=True)
    touched = touched[order]
    levels, counts = torch.unique_consecutive(level[order], return_counts=True)
    start = 0
    for found, count in zip(levels.tolist(), counts.tolist(), strict=True):
        w = min(steps[found // len(steps)], frame.width)
        h = min(steps[found % len(steps)], frame.height)
        is_whole = w == frame.width and h == frame.height
        for rows in touched[start : start + count].split(max(1, _PAIRS_AT_ONCE // (w * h))):
            # A box that rounding extends past the far edge is moved back inside: every pixel index is valid.
            x = first_x[rows].clamp(max=frame.left + frame.width - w)[:, None] + torch.arange(w, device=mean.device)
            y = first_y[rows].clamp(max=frame.top + frame.height - h)[:, None] + torch.arange(h, device=mean.device)
            dx, dy = x - mean[rows, 0, None], y - mean[rows, 1, None]
            pixel = None
            if not is_whole:
                pixel = ((y - frame.top) * frame.width)[:, :, None] + (x - frame.left)[:, None, :]
                pixel = pixel.flatten(1)
            value = _evaluate(dx, dy, sigma[rows], rho[rows], m[rows], frame=frame)
            yield _Batch(rows, pixel, dx, dy, value)
        start += count


def _box_1d(mean: Tensor, half: Tensor, first: int, length: int) -> tuple[Tensor, Tensor]:
    """First pixel and number of pixels that a Gaussian's box has inside the frame, along one axis."""
    low = (mean - half).ceil().clamp(first, first + length)
    high = (mean + half).floor().clamp(first - 1, first + length - 1)
    return low.long(), (high - low + 1).long()


def _evaluate(dx: Tensor, dy: Tensor, sigma: Tensor, rho: Tensor, m: Tensor, *, frame: Frame) -> Tensor:
    a = (dx / sigma[:, :1])[:, None, :]  # [n, 1, w]
    b = (dy / sigma[:, 1:])[:, :, None]  # [n, h, 1]
    thin = m.rsqrt()[:, None, None]
    q = (a * thin - b * (rho[:, None, None] * thin)).square_().add_(b.square())  # [n, h, w]
    if math.isfinite(frame.window_x) or math.isfinite(frame.window_y):
        q.masked_fill_((dx.abs() > frame.window_x)[:, None, :], math.inf)
        q.masked_fill_((dy.abs() > frame.window_y)[:, :, None], math.inf)
    is_outside = q > frame.largest_q
    return q.mul_(-0.5).exp_().masked_fill_(is_outside, 0)

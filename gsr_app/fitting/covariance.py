"""How numbers become Gaussians, how gradients come back, and along what an optimiser moves them.

It moves every Gaussian in that one's own measure: a place in its own widths along its own axes, a covariance as a
factor on itself. So one rate fits all, large or small, round or a long edge at any angle.

A covariance is what was learnt plus the square of a least width on its diagonal, so that no Gaussian is thinner than
that in any direction: what is drawn between the pixels was never seen by the fit, and a thin one would show there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

LEAST_WIDTH_PX = 0.4  # neighbours one pixel apart still melt into each other
_LOG_LEAST, _LOG_MOST = math.log(0.05), math.log(512.0)
_MOST_TANH = 0.99


@dataclass
class Raw:
    """The numbers of a fit."""

    mean: Tensor  # [N, 2] (x, y), pixel i has its centre at i
    log_sigma: Tensor  # [N, 2]
    tilt: Tensor  # [N] atanh of the correlation
    color: Tensor  # [N, C]
    steps: list[Tensor] = field(default_factory=list[Tensor], init=False, repr=False)

    @classmethod
    def from_gaussians(cls, mean: Tensor, sigma: Tensor, rho: Tensor, color: Tensor) -> Raw:
        """The least width is taken off again, as far as there is something to take it from."""
        least = LEAST_WIDTH_PX**2
        square = (sigma.square() - least).clamp(min=0.1 * least)
        tilt = (rho * sigma.prod(1) / square.prod(1).sqrt()).clamp(-0.95, 0.95).atanh()
        return cls(*(x.contiguous() for x in (mean.clone(), 0.5 * square.log(), tilt, color.clone())))

    @property
    def tensors(self) -> list[Tensor]:
        return [self.mean, self.log_sigma, self.tilt, self.color]

    def __len__(self) -> int:
        return len(self.mean)

    def clone(self) -> Raw:
        return self.with_tensors([x.clone() for x in self.tensors])

    def with_tensors(self, tensors: Sequence[Tensor]) -> Raw:
        return Raw(*tensors)

    def moved(self) -> list[Tensor]:
        """What an optimiser moves: steps of place [N, 2], covariance [N, 3] and colour [N, C], zero between two."""
        count = len(self.mean)
        self.steps = [*(self.mean.new_zeros(count, n) for n in (2, 3)), torch.zeros_like(self.color)]
        return self.steps

    def settle(self, shape: Shape) -> None:
        """Go the steps that the optimiser has made from `shape`, and keep what nothing else bounds within reason."""
        place, form, color = self.steps
        for own, new in zip(self.tensors[:3], shape.move(place, form), strict=True):
            own.copy_(new)
        self.log_sigma.clamp_(_LOG_LEAST, _LOG_MOST)
        self.color += color
        for step in self.steps:
            step.zero_()

    def shape(self) -> Shape:
        sigma, th = self.log_sigma.exp(), self.tilt.tanh()
        wide = (sigma.square() + LEAST_WIDTH_PX**2).sqrt()
        return Shape(self.mean, wide, th * (sigma / wide).prod(1), sigma, th)


@dataclass
class Shape:
    """What is drawn, and the way back to what the optimiser moves."""

    mean: Tensor  # [N, 2]
    sigma: Tensor  # [N, 2]
    rho: Tensor  # [N]
    learnt: Tensor  # [N, 2]
    tanh: Tensor  # [N]

    @functools.cached_property
    def root(self) -> tuple[Tensor, Tensor, Tensor]:
        return _find_root(self.sigma, self.rho)

    @functools.cached_property
    def learnt_root(self) -> tuple[Tensor, Tensor, Tensor]:
        return _find_root(self.learnt, self.tanh)

    def pull_back(self, by_mean: Tensor, by_sigma: Tensor, by_rho: Tensor) -> list[Tensor]:
        """Gradients of the steps of `move`, at zero, from those of mean, sigma and rho."""
        # Whole columns: torch is slow at every second number.
        (sigma_x, sigma_y), (by_sigma_x, by_sigma_y), (by_x, by_y) = (
            x.T.contiguous().unbind(0) for x in (self.sigma, by_sigma, by_mean)
        )
        a, b, c = self.root
        by_place = torch.stack([a * by_x + b * by_y, c * by_y], 1)
        # From sigma and rho to the covariance, and from there into its own measure: root' G root.
        by_xx = 0.5 * (by_sigma_x - by_rho * self.rho / sigma_x) / sigma_x
        by_yy = 0.5 * (by_sigma_y - by_rho * self.rho / sigma_y) / sigma_y
        by_xy = 0.5 * by_rho / (sigma_x * sigma_y)
        p, q, r = self.learnt_root
        low = p * by_xy + q * by_yy
        by_form = torch.stack([p * (p * by_xx + q * by_xy) + q * low, r * r * by_yy, 2 * r * low], 1)
        return [by_place, by_form]

    def move(self, place: Tensor, form: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # [N, 2], [N, 3]
        """Mean, log sigma and tilt after a step: root (1 + form / 2)^2 root' for the learnt covariance root root'."""
        a, b, c = self.root
        along, across = place.T.contiguous().unbind(0)
        mean = self.mean + torch.stack([a * along, b * along + c * across], 1)
        p, q, r = self.learnt_root
        half = form.T / 2
        one, other, cross = half[0] + 1, half[1] + 1, half[2].contiguous()
        x1, x2, y1, y2 = p * one, p * cross, q * one + r * cross, q * cross + r * other
        xx, yy, xy = x1 * x1 + x2 * x2, y1 * y1 + y2 * y2, x1 * y1 + x2 * y2
        tilt = (xy * (xx * yy).clamp(min=1e-24).rsqrt()).clamp(-_MOST_TANH, _MOST_TANH).atanh()
        return mean, 0.5 * torch.stack([xx, yy], 1).clamp(min=1e-12).log(), tilt


def _find_root(sigma: Tensor, rho: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # [N, 2], [N] -> [N], [N], [N]
    """A covariance as [[a, 0], [b, c]] times its transpose."""
    one, other = sigma.T.contiguous().unbind(0)
    return one, rho * other, other * (1 - rho * rho).clamp(min=1e-4).sqrt()


def join(one: Raw, other: Raw) -> Raw:
    return Raw(*(torch.cat(pair) for pair in zip(one.tensors, other.tensors, strict=True)))

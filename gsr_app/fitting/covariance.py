"""The parameters of a fit, the Gaussians that they stand for, and the coordinates that the optimizer steps in.

The steps of each Gaussian are whitened by its covariance: the mean moves in units of the widths along its own axes, the
covariance by a factor on itself. So one learning rate fits all, large or small, round or a long edge at any angle.

A covariance is the learnt one plus the square of a least width on its diagonal, so that no Gaussian is thinner than
that in any direction: the fit never sees what lies between the pixels, where a thin Gaussian would show.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

LEAST_WIDTH_PX = 0.4  # neighbours one pixel apart still overlap without a visible gap
_LOG_LEAST, _LOG_MOST = math.log(0.05), math.log(512.0)
_MOST_TANH = 0.99


@dataclass
class Parameters:
    """The parameters of a fit."""

    mean: Tensor  # [N, 2] (x, y), pixel i has its centre at i
    log_sigma: Tensor  # [N, 2]
    tilt: Tensor  # [N] atanh of the correlation
    color: Tensor  # [N, C]
    steps: list[Tensor] = field(default_factory=list[Tensor], init=False, repr=False)

    @classmethod
    def from_gaussians(cls, mean: Tensor, sigma: Tensor, rho: Tensor, color: Tensor) -> Parameters:
        """The inverse of `footprints`: subtracts the least width, as far as the Gaussians are wider."""
        least = LEAST_WIDTH_PX**2
        square = (sigma.square() - least).clamp(min=0.1 * least)
        tilt = (rho * sigma.prod(1) / square.prod(1).sqrt()).clamp(-0.95, 0.95).atanh()
        return cls(*(x.contiguous() for x in (mean.clone(), 0.5 * square.log(), tilt, color.clone())))

    @property
    def tensors(self) -> list[Tensor]:
        return [self.mean, self.log_sigma, self.tilt, self.color]

    def __len__(self) -> int:
        return len(self.mean)

    def clone(self) -> Parameters:
        return self.with_tensors([x.clone() for x in self.tensors])

    def to(self, device: torch.device) -> Parameters:
        return self.with_tensors([x.to(device) for x in self.tensors])

    def with_tensors(self, tensors: Sequence[Tensor]) -> Parameters:
        return Parameters(*tensors)

    def trained(self) -> list[Tensor]:
        """What the optimizer updates: steps, from zero, of mean [N, 2], covariance [N, 3] and colour [N, C]."""
        count = len(self.mean)
        self.steps = [*(self.mean.new_zeros(count, n) for n in (2, 3)), torch.zeros_like(self.color)]
        return self.steps

    def apply_steps(self, footprints: Footprints) -> None:
        """Apply the steps that were made from `footprints`, clamp the widths, and reset the steps to zero."""
        place, form, color = self.steps
        for own, new in zip(self.tensors[:3], footprints.move(place, form), strict=True):
            own.copy_(new)
        self.log_sigma.clamp_(_LOG_LEAST, _LOG_MOST)
        self.color += color
        for step in self.steps:
            step.zero_()

    def footprints(self) -> Footprints:
        sigma, th = self.log_sigma.exp(), self.tilt.tanh()
        wide = (sigma.square() + LEAST_WIDTH_PX**2).sqrt()
        return Footprints(self.mean, wide, th * (sigma / wide).prod(1), sigma, th)


@dataclass
class Footprints:
    """The Gaussians as they are drawn, and the chain rule from them to the steps of the optimizer."""

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

    def backward(self, by_mean: Tensor, by_sigma: Tensor, by_rho: Tensor) -> list[Tensor]:
        """Gradients of the steps of `move`, at zero, from those of mean, sigma and rho."""
        # Contiguous columns: torch is slow on strided ones.
        (sigma_x, sigma_y), (by_sigma_x, by_sigma_y), (by_x, by_y) = (
            x.T.contiguous().unbind(0) for x in (self.sigma, by_sigma, by_mean)
        )
        a, b, c = self.root
        by_place = torch.stack([a * by_x + b * by_y, c * by_y], 1)
        # From sigma and rho to the covariance, then whitened: root' G root.
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


def join(one: Parameters, other: Parameters) -> Parameters:
    return Parameters(*(torch.cat(pair) for pair in zip(one.tensors, other.tensors, strict=True)))

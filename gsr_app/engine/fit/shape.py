"""How the numbers that an optimiser moves become Gaussians, and how gradients come back.

A covariance is what was learnt plus the square of a least width on its diagonal, so that no Gaussian is thinner than
that in any direction: what is drawn between the pixels was never seen by the fit, and a thin one would show there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_WIDTH_PX = 0.4  # neighbours one pixel apart still melt into each other
_LOG_LEAST, _LOG_MOST = math.log(0.05), math.log(512.0)


@dataclass
class Raw:
    """What the optimiser moves."""

    mean: Tensor  # [N, 2] (x, y), pixel i has its centre at i
    log_sigma: Tensor  # [N, 2]
    tilt: Tensor  # [N] atanh of the correlation
    color: Tensor  # [N, C]

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

    def hold(self) -> None:
        """Keep what nothing else bounds within reason."""
        self.log_sigma.clamp_(_LOG_LEAST, _LOG_MOST)

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

    def pull_back(self, by_mean: Tensor, by_sigma: Tensor, by_rho: Tensor) -> list[Tensor]:
        """Gradients of mean, log_sigma and tilt from those of mean, sigma and rho."""
        share = self.learnt / self.sigma  # [N, 2]
        # d sigma / d log s = s^2 / sigma;  d rho / d log s = rho (1 - s^2 / sigma^2)
        by_log = by_sigma * self.learnt * share + (by_rho * self.rho)[:, None] * (1 - share * share)
        return [by_mean, by_log, by_rho * share.prod(1) * (1 - self.tanh * self.tanh)]


def join(one: Raw, other: Raw) -> Raw:
    return Raw(*(torch.cat(pair) for pair in zip(one.tensors, other.tensors, strict=True)))

"""The published parameters in the place of ours: places by tanh, semi-axes in pixels, a turn by sigmoid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gsr_app.fitting.covariance import Raw, Shape
from gsr_app.fitting.published import GaussianImage
from gsr_app.fitting.starts import Begun
from gsr_app.io.fields import to_axes

_EDGE = 1 - 1e-6  # a place on the very border has no tanh


@dataclass
class PublishedRaw(Raw):
    """GaussianImage's numbers under the names of ours: xyz, scaling, rotation [N, 1], features_dc."""

    size: tuple[int, int]  # (height, width)
    from_scratch: bool

    @classmethod
    def from_begun(cls, begun: Begun, size: tuple[int, int]) -> PublishedRaw:
        """From the Gaussians of a start that knows where they belong."""
        axes, turn = to_axes(begun.sigma.numpy(), begun.rho.numpy())
        half = begun.mean.new_tensor([size[1] / 2, size[0] / 2])
        xyz = (begun.mean / half - 1).clamp(-_EDGE, _EDGE).atanh()
        share = torch.from_numpy(np.asarray(turn) / (2 * math.pi)).float()[:, None]
        scaling = torch.from_numpy(np.asarray(axes)).float()
        return cls(xyz, scaling, share.clamp(1e-5, 1 - 1e-5).logit(), begun.color.clone(), size, from_scratch=False)

    @classmethod
    def at_random(cls, count: int, size: tuple[int, int], seed: int) -> PublishedRaw:
        """The published random start."""
        generator = torch.Generator().manual_seed(seed)
        place, axes, turn, color = (torch.rand(count, n, generator=generator) for n in (2, 2, 1, 3))
        xyz = (2 * place - 1).clamp(-_EDGE, _EDGE).atanh()
        return cls(xyz, axes + 0.5, turn, color, size, from_scratch=True)

    def with_tensors(self, tensors: Sequence[Tensor]) -> PublishedRaw:
        return PublishedRaw(*tensors, size=self.size, from_scratch=self.from_scratch)

    def moved(self) -> list[Tensor]:
        return self.tensors

    def settle(self, shape: Shape) -> None:
        """Nothing is left to do: the parameters themselves were moved, and bound themselves."""

    def shape(self) -> Shape:
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_(True) for x in self.tensors[:3]]
            drawn = GaussianImage(*leaves, features_dc=self.color, from_scratch=self.from_scratch).place(self.size)
        return PublishedShape(
            *(x.detach() for x in drawn), learnt=leaves[1], tanh=leaves[2], leaves=leaves, drawn=drawn
        )


@dataclass
class PublishedShape(Shape):
    leaves: list[Tensor]
    drawn: tuple[Tensor, ...]

    def pull_back(self, by_mean: Tensor, by_sigma: Tensor, by_rho: Tensor) -> list[Tensor]:
        found: Any = torch.autograd.grad(self.drawn, self.leaves, [by_mean, by_sigma, by_rho])
        return list(found)

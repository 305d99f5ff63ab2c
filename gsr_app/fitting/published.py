"""GaussianImage's parameters as Instant-GI fits them: centres by tanh, semi-axes in pixels, rotation by sigmoid.

Two rules of the published program are left out here, and kept in tests/oracles/gaussian_image.py: there a tile of
16 x 16 pixels draws only its first 256 Gaussians, and the gradient of a covariance counts its off-diagonal entry twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gsr_app.core.errors import WeightsError
from gsr_app.core.types import GaussianField
from gsr_app.fitting.covariance import Footprints, Parameters
from gsr_app.fitting.starts import InitialGaussians
from gsr_app.io.fields import to_axes

_EDGE = 1 - 1e-6  # atanh is infinite on the border itself
_LEAST_SCALE_PX = 0.5
_THINNEST_PX, _LARGEST_RHO = 1e-3, 1 - 1e-6  # a Gaussian thinner than a thousandth of a pixel is not visible


@dataclass
class GaussianImage:
    """The parameters of a published fit, under their names there without the underscore."""

    xyz: Tensor  # [N, 2] atanh of the centre in -1..1
    scaling: Tensor  # [N, 2] px, before the least scale is applied
    rotation: Tensor  # [N, 1] logit of the angle as a fraction of a whole turn
    features_dc: Tensor  # [N, 3]
    from_scratch: bool = False  # scales are |s + 1/2| instead of at least 1/2

    def scale_px(self) -> Tensor:
        return (self.scaling + 0.5).abs() if self.from_scratch else self.scaling.relu().clamp(min=_LEAST_SCALE_PX)

    def place(self, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Mean [N, 2] with pixel i's centre at i, sigma [N, 2] and rho [N]. Differentiable."""
        scale_px = self.scale_px().clamp(min=_THINNEST_PX)
        s11, s12, s22 = covariance(scale_px, 2 * math.pi * self.rotation.sigmoid())
        half = self.xyz.new_tensor([size[1] / 2, size[0] / 2])
        sigma = torch.stack([s11, s22], 1).sqrt()
        rho = (s12 / (s11 * s22).sqrt()).clamp(-_LARGEST_RHO, _LARGEST_RHO)
        return self.xyz.tanh() * half + half, sigma, rho

    def field(self, size: tuple[int, int]) -> GaussianField:
        """The same Gaussians as a field: all are drawn, pixel centres at +0.5."""
        with torch.no_grad():
            mean, sigma, rho = self.place(size)
            return GaussianField(mean + 0.5, sigma, rho, self.features_dc.clone(), size)


def covariance(scale: Tensor, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # [N, 2], [N, 1] radians -> [N] each
    """The entries xx, xy and yy."""
    cos, sin = turn[:, 0].cos(), turn[:, 0].sin()
    xx, yy = scale.square().unbind(1)
    return cos * cos * xx + sin * sin * yy, cos * sin * (xx - yy), sin * sin * xx + cos * cos * yy


def load_checkpoint(path: Path, *, from_scratch: bool = False) -> GaussianImage:
    """A fit that the original saved (`gaussian_model.pth.tar`). Reads tensors only, no code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        tensors = (state[name].float() for name in ("_xyz", "_scaling", "_rotation", "_features_dc"))
        return GaussianImage(*tensors, from_scratch=from_scratch)
    except Exception as error:
        raise WeightsError(
            f"{path.name} is not a fit of GaussianImage: {error}",
            hint="Expected a state_dict with _xyz, _scaling, _rotation and _features_dc.",
        ) from None


@dataclass
class PublishedParameters(Parameters):
    """GaussianImage's tensors in the fields of ours: xyz, scaling, rotation [N, 1], features_dc."""

    size: tuple[int, int]  # (height, width)
    from_scratch: bool

    @classmethod
    def from_initial(cls, initial: InitialGaussians, size: tuple[int, int]) -> PublishedParameters:
        """From the Gaussians of a start."""
        axes, turn = to_axes(initial.sigma.numpy(), initial.rho.numpy())
        half = initial.mean.new_tensor([size[1] / 2, size[0] / 2])
        xyz = (initial.mean / half - 1).clamp(-_EDGE, _EDGE).atanh()
        share = torch.from_numpy(np.asarray(turn) / (2 * math.pi)).float()[:, None]
        scaling = torch.from_numpy(np.asarray(axes)).float()
        return cls(xyz, scaling, share.clamp(1e-5, 1 - 1e-5).logit(), initial.color.clone(), size, from_scratch=False)

    @classmethod
    def at_random(cls, count: int, size: tuple[int, int], seed: int) -> PublishedParameters:
        """The published random start."""
        generator = torch.Generator().manual_seed(seed)
        place, axes, turn, color = (torch.rand(count, n, generator=generator) for n in (2, 2, 1, 3))
        xyz = (2 * place - 1).clamp(-_EDGE, _EDGE).atanh()
        return cls(xyz, axes + 0.5, turn, color, size, from_scratch=True)

    def with_tensors(self, tensors: Sequence[Tensor]) -> PublishedParameters:
        return PublishedParameters(*tensors, size=self.size, from_scratch=self.from_scratch)

    def moved(self) -> list[Tensor]:
        return self.tensors

    def apply_steps(self, footprints: Footprints) -> None:
        """Does nothing: the optimizer updates the parameters themselves."""

    def footprints(self) -> Footprints:
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_(True) for x in self.tensors[:3]]
            drawn = GaussianImage(*leaves, features_dc=self.color, from_scratch=self.from_scratch).place(self.size)
        return PublishedFootprints(
            *(x.detach() for x in drawn), learnt=leaves[1], tanh=leaves[2], leaves=leaves, drawn=drawn
        )


@dataclass
class PublishedFootprints(Footprints):
    leaves: list[Tensor]
    drawn: tuple[Tensor, ...]

    def backward(self, by_mean: Tensor, by_sigma: Tensor, by_rho: Tensor) -> list[Tensor]:
        found: Any = torch.autograd.grad(self.drawn, self.leaves, [by_mean, by_sigma, by_rho])
        return list(found)

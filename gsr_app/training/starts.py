"""Training of the networks that initialise a fit, on pictures that have been fitted.

A data set is the output of `gsr fit --keep-all`: a folder per picture with `gt.png`, `gt_pf.npy` (a map of the density
of its Gaussians) and `field.gsr`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gsr_app.core.errors import ImageError, UnknownName
from gsr_app.fitting.dither import sample_cells
from gsr_app.fitting.losses import ssim_map
from gsr_app.fitting.starts import as_shapes, from_turned
from gsr_app.fitting.triangles import add_border, triangulate
from gsr_app.io.fields import load_field, to_axes
from gsr_app.models.initnet import InitNet, start_afresh
from gsr_app.ops import splat
from gsr_app.training.data import load_picture
from gsr_app.training.loop import Trainer

_LEAST_SCALING_PX, _SSIM_SHARE = 0.5, 0.3
_LEAST_COLOR = 0.02  # fainter Gaussians say nothing about where Gaussians belong
_MOST_LOG_RATIO = 6.0

INITNET_LOSSES, QUICKSTART_LOSSES = ("map", "picture", "scaling"), ("places", "size", "stretch")


@dataclass(frozen=True)
class FittedPicture:
    """The output folder of the fit of a picture."""

    folder: Path

    def read(self) -> Tensor:  # [3, H, W], 0..1
        return load_picture(self.folder / "gt.png").float() / 255

    def read_map(self) -> Tensor:  # [H, W]
        return torch.from_numpy(np.load(self.folder / "gt_pf.npy")).float()

    def read_gaussians(self) -> tuple[Tensor, Tensor, Tensor]:
        """Positions [N, 2] in pixels, (log size, stretch) [N, 3] and weights [N] of the visible Gaussians."""
        field = load_field(self.folder / "field.gsr")
        mean = torch.as_tensor(np.asarray(field.mean)).float() - 0.5
        axes, tilt = (torch.from_numpy(x).float() for x in to_axes(np.asarray(field.sigma), np.asarray(field.rho)))
        weight = torch.as_tensor(np.asarray(field.color)).abs().sum(1).clamp(max=1)
        length = 0.25 * (2 * (axes[:, 0] / axes[:, 1]).log()).clamp(max=_MOST_LOG_RATIO)
        seen = torch.stack([axes.log().mean(1), length * (2 * tilt).cos(), length * (2 * tilt).sin()], 1)
        keep = weight > _LEAST_COLOR
        return mean[keep], seen[keep], weight[keep]


def find_fits(folder: Path) -> list[FittedPicture]:
    """Every folder at any depth that `gsr fit --keep-all` has written."""
    found = sorted(path.parent for path in folder.rglob("gt_pf.npy") if (path.parent / "gt.png").is_file())
    if not found:
        raise ImageError(f"{folder} holds no fitted pictures.", hint="Make some with gsr fit --keep-all.")
    return [FittedPicture(path) for path in found]


# ---- losses of Instant-GI -----------------------------------------------------------------------------------------


def cost_of_map(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared error, weighted down where it is small."""
    error = (found - wanted).abs()
    return ((1 - (-error).exp()).square() * error.square()).mean()


def cost_of_picture(drawn: Tensor, image: Tensor, found_map: Tensor) -> Tensor:  # [B, 3, H, W], [B, H, W]
    """Squared error and SSIM, weighted up where the map puts few Gaussians."""
    weight = (1 / (found_map.detach() + 0.01)).clamp(1, 10)[:, None]
    squares = (weight * (drawn - image).square()).mean()
    structure = (weight * (1 - ssim_map(drawn, image))).mean()
    return (1 - _SSIM_SHARE) * squares + _SSIM_SHARE * structure


def cost_of_scaling(scaling_px: Tensor) -> Tensor:
    """A penalty on Gaussians thinner than half a pixel."""
    return (_LEAST_SCALING_PX - scaling_px).relu().mean()


# ---- training -----------------------------------------------------------------------------------------------------


class StartTrainer(Trainer):
    """The training loop on fitted pictures."""

    def _prepare(self, pictures: Any) -> None:
        self.fits: list[FittedPicture] = list(pictures)
        known = INITNET_LOSSES if isinstance(self.module, InitNet) else QUICKSTART_LOSSES
        for name in self.recipe.loss:
            if name not in known:
                raise UnknownName(name, known, what="Loss", where="gsr_app/training/starts.py")
        if isinstance(self.module, InitNet):
            start_afresh(self.module)
            self.average.load_state_dict(self.module.state_dict())

    def _measure_parts(self, count: int) -> Iterator[tuple[Tensor, float]]:
        # Pictures are measured one by one in any case: each is a part, so that only one has to fit.
        for k in range(count):
            rank, batch = self.team.rank, self.recipe.data.batch
            if isinstance(self.module, InitNet):  # whole pictures in order, as published
                at = (self.step * batch + rank * count + k) % len(self.fits)
                costs = self._measure_initnet(self.module, self.fits[at])[0]
            else:
                rng = np.random.default_rng((self.recipe.seed, self.step, rank, k))
                costs = self._measure_quickstart(self.module, self.fits[rng.integers(len(self.fits))], rng)
            yield torch.stack([weight * costs[name] for name, weight in self.recipe.loss.items()]).sum(), 1 / count

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """InitNet: unclamped PSNR of its Gaussians. Quickstart: likelihood of the positions over chance, in dB."""
        total = 0.0
        for fit in self.validation:
            assert isinstance(fit, FittedPicture)
            if isinstance(self.average, InitNet):
                drawn, image = self._measure_initnet(self.average, fit)[1:]
                total += -10 * math.log10(max(float((drawn - image).square().mean()), 1e-12))
            else:
                total += -10 / math.log(10) * float(self._measure_quickstart(self.average, fit, None)["places"])
        return {"start": total / len(self.validation)} if self.validation else {}

    def _measure_initnet(self, net: InitNet, fit: FittedPicture) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        image = fit.read()[None].to(self.device)
        size = (image.shape[2], image.shape[3])
        features, found = net(image)
        points = add_border(sample_cells(found[0].detach().cpu().numpy(), net.cell_px), size)
        placed = net.place(image, features, as_shapes(triangulate(points), size))
        half = image.new_tensor([size[1] / 2, size[0] / 2])
        sigma, rho = from_turned(placed.scaling_px, 2 * math.pi * placed.turn[:, 0])
        drawn = splat(placed.xy * half + half, sigma, rho, placed.color, size)[None]
        costs = {
            "map": cost_of_map(found, fit.read_map()[None].to(self.device)),
            "picture": cost_of_picture(drawn, image, found),
            "scaling": cost_of_scaling(placed.scaling_px),
        }
        return costs, drawn.detach(), image

    def _measure_quickstart(self, net: Any, fit: FittedPicture, rng: np.random.Generator | None) -> dict[str, Tensor]:
        """The losses on a random augmented crop; on the whole picture without `rng`."""
        image, (mean, seen, weight) = fit.read(), fit.read_gaussians()
        if rng is not None:
            image, mean, seen = draw_crop(image, mean, seen, self.recipe.data.patch_px, rng)
        height, width = image.shape[1:]
        inside = ((mean > -0.5) & (mean < mean.new_tensor([width, height]) - 0.5)).all(1)
        (x, y), seen, weight = mean[inside].round().long().unbind(1), seen[inside], weight[inside]
        answer = net(image[None].to(self.device))
        if not len(x):  # a plain part of a picture teaches nothing
            nothing: Tensor = 0 * (answer.log_density.sum() + answer.log_size.sum() + answer.stretch.sum())
            return dict.fromkeys(QUICKSTART_LOSSES, nothing)
        log_share = answer.log_density[0].flatten().log_softmax(0).view(height, width)[y, x]
        relative = seen[:, 0] + 0.5 * (log_share.detach().cpu() + math.log(len(x)))
        weight = weight.to(self.device)
        stretch = (answer.stretch[0][:, y, x].T - seen[:, 1:].to(self.device)).abs().sum(1)
        return {
            "places": -log_share.mean() - math.log(height * width),
            "size": ((answer.log_size[0][y, x] - relative.to(self.device)).abs() * weight).mean(),
            "stretch": (stretch * weight).mean(),
        }


def draw_crop(
    image: Tensor, mean: Tensor, seen: Tensor, side_px: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """A square crop with its Gaussians, randomly mirrored, transposed and with permuted colour channels."""
    side = min(side_px, *image.shape[1:])
    top, left = (int(rng.integers(0, extent - side + 1)) for extent in image.shape[1:])
    image = image[:, top : top + side, left : left + side]
    mean, seen = mean - mean.new_tensor([left, top]), seen.clone()
    if rng.random() < 0.5:  # an angle a becomes -a
        image, mean = image.flip(2), torch.stack([side - 1 - mean[:, 0], mean[:, 1]], 1)
        seen[:, 2] *= -1
    if rng.random() < 0.5:  # and 90 degrees - a
        image, mean = image.transpose(1, 2), mean.flip(1)
        seen[:, 1] *= -1
    if rng.random() < 0.5:
        image = image[torch.from_numpy(rng.permutation(3))]
    return image, mean, seen

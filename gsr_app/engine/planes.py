"""A picture as float planes, the form in which it is resized and shown to networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gsr_app.core import pixels
from gsr_app.core.errors import InvalidArgument
from gsr_app.core.pixels import Layout, Stored
from gsr_app.ops.resize import resize


@dataclass(frozen=True, eq=False)
class Planes:
    """One picture, ready to compute with. Floats are as they were given, outside 0..1 too."""

    color: Tensor  # [1, 1 or 3, h, w] float32, not multiplied by alpha
    alpha: Tensor | None  # [1, 1, h, w] float32
    layout: Layout  # of the array

    @classmethod
    def of(cls, array: Stored) -> Planes:
        layout = Layout.of(array)
        if layout.is_float and not np.isfinite(array).all():
            raise InvalidArgument("image holds values that are not finite.")
        values = torch.from_numpy(pixels.to_planes(array))[None]
        alpha = values[:, layout.colors :] if layout.has_alpha else None
        return cls(values[:, : layout.colors], alpha, layout)

    @property
    def size(self) -> tuple[int, int]:
        return self.color.shape[-2], self.color.shape[-1]

    @cached_property
    def constant_alpha(self) -> float | None:
        """The one value that alpha has everywhere, or None."""
        if self.alpha is None:
            return None
        low, high = self.alpha.aminmax()
        return float(low) if low == high else None

    @property
    def varying_alpha(self) -> Tensor | None:
        return self.alpha if self.constant_alpha is None else None

    @cached_property
    def exceeds(self) -> bool:
        """Whether a float picture has colours outside 0..1."""
        return self.layout.is_float and bool(((self.color < 0) | (self.color > 1)).any())

    def network_color(self, *, clamped: bool = True) -> Tensor:  # [1, 3, h, w]
        """What a network sees of the colours: within 0..1, which it was trained for, unless `clamped` is false."""
        color = self.color.clamp(0, 1) if clamped and self.exceeds else self.color
        color = color if self.alpha is None else fill_hidden(color, self.alpha)
        return color.expand(1, 3, *self.size)

    def network_inputs(self) -> Iterator[tuple[str, Tensor]]:  # [1, 3, h, w] each
        """All that a network has to see, by name: the colours, and alpha where it varies."""
        yield "color", self.network_color()
        if self.varying_alpha is not None:
            yield "alpha", self.varying_alpha.clamp(0, 1).expand(1, 3, *self.size)


# How much a fully transparent pixel counts: next to nothing beside a visible one, everything among others like it.
_HIDDEN = 1e-4


def stack(color: Tensor, alpha: Tensor | None, kernel: str) -> Tensor:  # [1, C, h, w], [1, 1, h, w] -> [1, C', h, w]
    """Planes for a kernel to resize together. Where it mixes neighbours, colours are weighted by their alpha."""
    if alpha is None:
        return color
    if kernel == "nearest":
        return torch.cat([color, alpha], 1)
    weight = alpha.clamp(0, 1) + _HIDDEN
    return torch.cat([color * weight, weight, alpha], 1)


def unstack(planes: Tensor, kernel: str, *, has_alpha: bool) -> tuple[Tensor, Tensor | None]:
    """Colour and alpha out of resized planes."""
    if not has_alpha:
        return planes, None
    if kernel == "nearest":
        return planes[:, :-1], planes[:, -1:]
    weight = planes[:, -2:-1]
    # The negative lobes of a kernel can leave next to no weight. Such a pixel is invisible, and a division by it wild.
    return torch.where(weight > _HIDDEN / 2, planes[:, :-2] / weight, 0.0), planes[:, -1:]


def resize_picture(array: Stored, size: tuple[int, int]) -> Stored:  # [H, W] or [H, W, C] -> float32
    """A picture at another size, by MATLAB's bicubic."""
    planes = Planes.of(array)
    resized = resize(stack(planes.color, planes.alpha, "bicubic"), size=size, kernel="bicubic")
    color, alpha = unstack(resized, "bicubic", has_alpha=planes.alpha is not None)
    values = color if alpha is None else torch.cat([color, alpha], 1)
    return pixels.from_planes(values[0].clamp(0, 1).numpy(), np.float32)


def fill_hidden(color: Tensor, alpha: Tensor) -> Tensor:  # [1, C, h, w], [1, 1, h, w] -> [1, C, h, w]
    """Colours spread from visible pixels into fully transparent ones: what a network sees has no hidden edges."""
    seen = (alpha > 0).to(color)
    return color if bool(seen.all()) or not bool(seen.any()) else _spread(color, seen)


def _spread(color: Tensor, seen: Tensor) -> Tensor:
    if bool(seen.all()):
        return color
    halves = [F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) for x in (color * seen, seen)]
    coarse = _spread(halves[0] / halves[1].clamp_min(1e-6), (halves[1] > 0).to(color))
    wide = F.interpolate(coarse, size=color.shape[-2:], mode="bilinear", align_corners=False)
    return torch.where(seen > 0, color, wide)

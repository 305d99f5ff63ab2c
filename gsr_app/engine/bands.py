"""A drawing in bands of rows: how tall they may be, and which Gaussians each of them needs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from gsr_app.core.types import GaussianField, View
from gsr_app.engine import tiling

# What is drawn at once, at most. Drawing copies what it draws, and each band has to look for its Gaussians again.
PIXELS = 1 << 22
GAUSSIANS = 1 << 22
_CHUNK = 1 << 16  # Gaussians that a band takes or leaves together


class Bands:
    """The bands of a view, from top to bottom: the first row, the band's own view, and the Gaussians seen in it."""

    def __init__(self, field: GaussianField, view: View) -> None:
        self._view = view
        self._values = {name: torch.as_tensor(getattr(field, name)) for name in ("mean", "sigma", "rho", "color")}
        self._field = field
        height, width = view.size
        covered = min(1.0, view.span[0] * view.span[1] / math.prod(field.source_size))
        per_pixel = max(1, len(field)) * covered / (height * width)
        self._strips = list(tiling.strips(height, width, int(min(PIXELS, GAUSSIANS / per_pixel))))

    def __len__(self) -> int:
        return len(self._strips)

    def __iter__(self) -> Iterator[tuple[int, View, GaussianField]]:
        if len(self) == 1:
            yield 0, self._view, self._field
            return
        reaches = [_reach(self._values, at) for at in self._chunks()]
        for start, stop in self._strips:
            band = self._view.crop(start, 0, stop - start, self._view.size[1])
            # A source pixel to spare: the op holds the thinnest Gaussians at a least width of its own.
            top, bottom = band.origin[1] - 1, band.origin[1] + band.span[0] + 1
            near = [at for at, (low, high) in zip(self._chunks(), reaches, strict=True) if low < bottom and high > top]
            yield start, band, self._seen(near, top, bottom)

    def _chunks(self) -> Iterator[slice]:
        return (slice(start, start + _CHUNK) for start in range(0, len(self._field), _CHUNK))

    def _seen(self, near: list[slice], top: float, bottom: float) -> GaussianField:
        parts: dict[str, list[Tensor]] = {name: [values[:0]] for name, values in self._values.items()}
        for at in near:
            low, high = _ends(self._values, at)
            seen = ((low < bottom) & (high > top)).nonzero()[:, 0]
            for name, values in self._values.items():
                parts[name].append(values[at][seen])
        return replace(self._field, **{name: torch.cat(parts.pop(name)) for name in tuple(parts)})


def _ends(values: dict[str, Tensor], at: slice) -> tuple[Tensor, Tensor]:
    """Between which heights each Gaussian can be seen."""
    from gsr_app.ops.drawing import DEFAULT_EPS

    reach = math.sqrt(-2 * math.log(DEFAULT_EPS)) * values["sigma"][at, 1]
    return values["mean"][at, 1] - reach, values["mean"][at, 1] + reach


def _reach(values: dict[str, Tensor], at: slice) -> tuple[float, float]:
    low, high = _ends(values, at)
    return float(low.min()), float(high.max())

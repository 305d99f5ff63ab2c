"""Where the pixels of a view lie among the pixels of the source. Everything is a product of two axes, so two short
vectors stand for a whole grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gsr_app.core.types import View


@dataclass(frozen=True)
class Axis:
    """One axis of a view over `count` source pixels, in the [-1, 1] coordinates of the implicit networks; float64."""

    coord: torch.Tensor  # [N] pixel centres of the view
    cell: float  # size of a pixel of the view
    count: int  # source pixels

    def nearest(self, shift: float = 0.0, nudge: float = 0.0) -> torch.Tensor:
        """[N] the source pixel nearest to each coordinate, moved by `shift` source half-pixels and `nudge`."""
        moved = self.coord + shift / self.count + nudge
        return ((moved + 1) * (self.count / 2)).floor().clamp(0, self.count - 1).long()

    def offset(self, index: torch.Tensor) -> torch.Tensor:
        """[N] from the source pixels' centres to the coordinates, in source half-pixels."""
        centre = (2 * index.double() + 1) / self.count - 1
        return (self.coord - centre) * self.count


def axes(view: View, source_size: tuple[int, int]) -> tuple[Axis, Axis]:
    """The vertical and the horizontal axis of a view."""
    found: list[Axis] = []
    for axis in range(2):
        size, count = view.size[axis], source_size[axis]
        step = view.span[axis] / size
        at = view.origin[1 - axis] + (torch.arange(size, dtype=torch.float64) + 0.5) * step
        found.append(Axis(at * (2 / count) - 1, 2 * step / count, count))
    return found[0], found[1]


def whole(source_size: tuple[int, int], size: tuple[int, int]) -> View:
    """The whole source on a grid of any size, stretched if the sides' ratios differ."""
    return View((0.0, 0.0), (float(source_size[0]), float(source_size[1])), size)

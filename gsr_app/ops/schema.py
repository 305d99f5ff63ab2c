"""`gsr::splat`, `gsr::splat_backward` and `gsr::resample`: the schemas that every implementation registers for.

torch's dispatcher picks the implementation: the one that `backend.py` has loaded for the tensors' device, else the
reference. `gsr::splat_reference` has the same schema and is always the reference: it serves float64.

Arguments: the Gaussians; the frame's size; the grid index of its first row and column; the half-sizes of the hard
window, `inf` for none; and the least value that is drawn, 0 for no cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gsr_app.core.errors import InvalidArgument
from gsr_app.ops import reference

_FRAME = "int height, int width, int top, int left, float window_x, float window_y, float eps"
_GAUSSIANS = "Tensor mean, Tensor sigma, Tensor rho, Tensor color"


class WrongValues(InvalidArgument):
    """Values that cannot be drawn, found by kernels that check them."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"{' and '.join(names)} must be finite, sigma_px positive and rho within -1..1.")


LIBRARY = torch.library.Library("gsr", "DEF")


def _draw(mean: Tensor, sigma: Tensor, rho: Tensor, color: Tensor, *frame: float) -> Tensor:
    return reference.splat(mean, sigma, rho, color, frame=reference.Frame(*frame))  # type: ignore[arg-type]


def _backward(
    grad: Tensor, mean: Tensor, sigma: Tensor, rho: Tensor, color: Tensor, *frame: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return reference.splat_backward(grad, mean, sigma, rho, color, frame=reference.Frame(*frame))  # type: ignore[arg-type]


def _fake_splat(mean: Tensor, sigma: Tensor, rho: Tensor, color: Tensor, *frame: int) -> Tensor:
    return color.new_empty(color.shape[1], frame[0], frame[1])


def _fake_backward(
    grad: Tensor, mean: Tensor, sigma: Tensor, rho: Tensor, color: Tensor, *frame: int
) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in (mean, sigma, rho, color))


for _name in ("splat", "splat_reference"):
    LIBRARY.define(f"{_name}({_GAUSSIANS}, {_FRAME}) -> Tensor")
    LIBRARY.define(f"{_name}_backward(Tensor grad, {_GAUSSIANS}, {_FRAME}) -> (Tensor, Tensor, Tensor, Tensor)")
    LIBRARY.impl(_name, _draw, "CompositeExplicitAutograd")
    LIBRARY.impl(f"{_name}_backward", _backward, "CompositeExplicitAutograd")
    torch.library.register_fake(f"gsr::{_name}", _fake_splat, lib=LIBRARY)
    torch.library.register_fake(f"gsr::{_name}_backward", _fake_backward, lib=LIBRARY)

# Planes [P, h, w] and, per output row and column, the source ones that it is a sum of, and their weights. Only the CPU
# kernels implement it; `resize.py` computes the same from torch's own operators elsewhere.
LIBRARY.define("resample(Tensor planes, Tensor index_y, Tensor weight_y, Tensor index_x, Tensor weight_x) -> Tensor")

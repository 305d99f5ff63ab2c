"""Drawing Gaussians: `splat` in output pixels, `render` for a field and a view."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.types import GaussianField, View
from gsr_app.ops import autograd, backend
from gsr_app.ops.schema import WrongValues

__all__ = ["render", "splat"]

DEFAULT_EPS = 1e-4
MAX_CHANNELS = 8
MAX_PIXEL_INDEX = 1 << 23  # up to here a pixel's index and its half are exact in float32

# A view whose corner lies this close to a whole pixel is snapped to it: the rest is rounding.
_WHOLE_PIXEL_SLACK = 1e-5

assert autograd  # imported because it registers the gradient


def splat(
    mean_px: Tensor,  # [N, 2] (x, y), pixel i has its centre at i; or [B, N, 2]
    sigma_px: Tensor,  # [N, 2] (x, y)
    rho: Tensor,  # [N] within -1..1
    color: Tensor,  # [N, C], C from 1 to 8
    size: tuple[int, int],
    *,
    window_px: tuple[float, float] | None = None,
    eps: float = DEFAULT_EPS,
    normalize: bool = False,
    origin_px: tuple[int, int] = (0, 0),
) -> Tensor:  # [C, H, W]; or [B, C, H, W]
    """Draw Gaussians: at every pixel the sum of color * exp(-q/2).

    size: (height, width) of the drawing.
    window_px: (x, y) half-sizes of a hard box around each mean, edges included; nothing is drawn outside it.
    eps: contributions with exp(-q/2) < eps are left out, exactly: the support is that ellipse. 0 keeps them all.
    normalize: divide by the summed weights; 0 where no Gaussian reaches.
    origin_px: (x, y) index of the drawing's first pixel on the grid that means are given in. A frame drawn in pieces
        equals the frame drawn at once, bit for bit on the CPU backend.

    The CPU kernels draw a Gaussian of 16 px or more on a coarser grid and interpolate: within 1e-6 of its value, except
    that less than eps is drawn beyond its ellipse, too. float64, and the reference, evaluate every pixel.

    Gradients flow to all four tensors; the edges of the ellipse and of the window have none. A Gaussian thinner than
    1e-6 px is drawn as 1e-6 px, and 1 - rho^2 is clamped to 1e-6 or more.
    """
    if mean_px.ndim == 3:
        options = {"window_px": window_px, "eps": eps, "normalize": normalize, "origin_px": origin_px}
        _check_batch(mean_px, sigma_px, rho, color)
        items = zip(mean_px, sigma_px, rho, color, strict=True)
        return torch.stack([splat(*item, size, **options) for item in items])  # type: ignore[arg-type]

    _check_tensors(mean_px, sigma_px, rho, color)
    height, width = _whole_numbers("size", size, least=1)
    left, top = _whole_numbers("origin_px", origin_px, least=-MAX_PIXEL_INDEX)
    if not 0 <= eps < 1:
        raise InvalidArgument(f"eps must be in 0..1, 1 excluded, found {eps!r}.")
    window_x, window_y = _check_window(window_px)

    named = {"mean_px": mean_px, "sigma_px": sigma_px, "rho": rho, "color": color}
    if normalize:
        color = torch.cat([color, torch.ones_like(color[:, :1])], 1)
    is_exact = color.dtype == torch.float64
    op = torch.ops.gsr.splat_reference if is_exact else torch.ops.gsr.splat
    # The kernels of a GPU check the values themselves: a check here would wait for the GPU once more.
    checks_itself = not is_exact and backend.load(color.device.type).backend == "cuda"
    if not checks_itself:
        _check_values(named)
    try:
        out = op(mean_px, sigma_px, rho, color, height, width, top, left, window_x, window_y, float(eps))
    except WrongValues:
        _check_values(named)  # says which value it is
        raise
    if not normalize:
        return out
    total, weight = out[:-1], out[-1:]
    is_reached = weight > eps / 2  # one that reaches a pixel adds eps or more
    return torch.where(is_reached, total / torch.where(is_reached, weight, 1), 0)


def render(field: GaussianField, view: View, *, eps: float = DEFAULT_EPS) -> Tensor:  # [C, H, W]
    """Draw a rectangle of a field's plane. Views that are crops of one view (`View.crop`) join without a seam."""
    mean, sigma, rho, color = (torch.as_tensor(x) for x in (field.mean, field.sigma, field.rho, field.color))
    height, width = view.size
    scale_x, scale_y = width / view.span[1], height / view.span[0]
    left, shift_x = _split_whole(view.origin[0] * scale_x)
    top, shift_y = _split_whole(view.origin[1] * scale_y)
    # Means are on the pixel grid of the whole plane, so that every crop of one view gets the same numbers.
    mean_px = _scale_axes(mean, scale_x, scale_y, 0.5 + shift_x, 0.5 + shift_y)
    return splat(
        mean_px,
        _scale_axes(sigma, scale_x, scale_y),
        rho,
        color,
        (height, width),
        window_px=field.window and (field.window[0] * scale_x, field.window[1] * scale_y),
        eps=eps,
        normalize=field.normalize,
        origin_px=(left, top),
    )


def _scale_axes(
    values: Tensor, scale_x: float, scale_y: float, shift_x: float = 0.0, shift_y: float = 0.0
) -> Tensor:  # [N, 2]
    """values * scale - shift. With plain numbers: a tensor of two would have to be sent to the GPU."""
    if (scale_x, shift_x) == (scale_y, shift_y):
        return values * scale_x - shift_x if shift_x else values * scale_x
    x, y = values.unbind(1)
    return torch.stack([x * scale_x - shift_x, y * scale_y - shift_y], 1)


def _split_whole(position: float) -> tuple[int, float]:
    whole = round(position)
    shift = position - whole
    return whole, 0.0 if abs(shift) < _WHOLE_PIXEL_SLACK else shift


def _check_batch(mean: Tensor, sigma: Tensor, rho: Tensor, color: Tensor) -> None:
    for name, tensor in (("sigma_px", sigma), ("rho", rho), ("color", color)):
        if len(tensor) != len(mean):
            raise InvalidArgument(f"{name} must have a batch of {len(mean)} as mean_px has, found {len(tensor)}.")
    if len(mean) == 0:
        raise InvalidArgument("mean_px has an empty batch.")


def _check_tensors(mean: Tensor, sigma: Tensor, rho: Tensor, color: Tensor) -> None:
    count = len(mean) if mean.ndim else 0
    named = {"mean_px": mean, "sigma_px": sigma, "rho": rho, "color": color}
    shapes = {"mean_px": (count, 2), "sigma_px": (count, 2), "rho": (count,)}
    for name, tensor in named.items():
        expected = shapes.get(name)
        if expected is not None and tuple(tensor.shape) != expected:
            raise InvalidArgument(f"{name} must have shape {_brackets(expected)}, found {_brackets(tensor.shape)}.")
        if tensor.dtype not in (torch.float32, torch.float64):
            raise InvalidArgument(
                f"{name} must be float32 (or float64, slower), found {_dtype_name(tensor)}.",
                hint=f"Convert it: {name}.float()",
            )
        if tensor.dtype != mean.dtype:
            raise InvalidArgument(
                f"{name} must be {_dtype_name(mean)} as mean_px is, found {_dtype_name(tensor)}.",
                hint=f"Convert it: {name}.to(mean_px.dtype)",
            )
        if tensor.device != mean.device:
            raise InvalidArgument(f"{name} must be on {mean.device} as mean_px is, found {tensor.device}.")
    if color.ndim != 2 or len(color) != count or not 1 <= color.shape[1] <= MAX_CHANNELS:
        expected_color = f"[{count}, C] with C from 1 to {MAX_CHANNELS}"
        raise InvalidArgument(f"color must have shape {expected_color}, found {_brackets(color.shape)}.")


def _check_values(named: dict[str, Tensor]) -> None:
    if not len(named["mean_px"]) or torch.compiler.is_compiling():
        return
    # One pass over each tensor and one transfer for all; a NaN anywhere makes both ends NaN.
    ends = torch.stack([torch.stack(torch.aminmax(x.detach())) for x in named.values()]).tolist()
    for name, (low, high) in zip(named, ends, strict=True):
        if not (math.isfinite(low) and math.isfinite(high)):
            found = low if not math.isfinite(low) else high
            raise InvalidArgument(f"{name} must be finite, found {found}.")
        if name == "sigma_px" and low <= 0:
            raise InvalidArgument(f"sigma_px must be greater than 0, found {low:g}.")
        if name == "rho" and max(-low, high) > 1:
            raise InvalidArgument(f"rho must be within -1..1, found {low if -low > 1 else high:g}.")


def _whole_numbers(name: str, pair: Sequence[int], *, least: int) -> tuple[int, int]:
    if len(pair) != 2 or any(int(v) != v or not least <= v <= MAX_PIXEL_INDEX for v in pair):
        raise InvalidArgument(
            f"{name} must be two whole numbers from {least} to {MAX_PIXEL_INDEX}, found {tuple(pair)!r}."
        )
    return int(pair[0]), int(pair[1])


def _check_window(window: tuple[float, float] | None) -> tuple[float, float]:
    if window is None:
        return math.inf, math.inf
    if len(window) != 2 or not all(v >= 0 for v in window):
        raise InvalidArgument(f"window_px must be two half-sizes (x, y) of 0 or more, found {window!r}.")
    return float(window[0]), float(window[1])


def _brackets(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")

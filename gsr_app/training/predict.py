"""Differentiable prediction at given output sizes, for every kind of network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.models.registry import Architecture
from gsr_app.ops import render

Size = tuple[int, int]
Draw = Callable[[GaussianField, View], Tensor]


class Wanted(NamedTuple):
    """Outputs of one size."""

    size: Size
    of: Sequence[int]  # the inputs they are of


def predict(
    module: nn.Module,
    arch: Architecture,
    lr: Tensor,  # [B, 3, h, w]; of clips [B, T, 3, h, w]
    wanted: Sequence[Wanted],
    *,
    scale: Scale | None = None,  # the exact scale where sizes were rounded; by default size / input
    amp: bool = False,
    window_fraction: float | None = None,  # a hard window, as in `Architecture.window_fraction`
    draw: Draw = render,
) -> list[Tensor]:  # [n, 3, H, W] for each of `wanted`
    """The outputs for a batch. Rendering is always in float32."""
    with torch.autocast("cuda", torch.bfloat16) if amp and lr.is_cuda else nullcontext():
        if arch.kind == "continuous":
            return [torch.cat([module(lr[i : i + 1], size).float() for i in of]) for size, of in wanted]
        if arch.kind in {"pixels", "video"}:  # one size for the whole batch
            size = wanted[0].size
            one = scale or _scale_of(size, lr)
            return [(module(lr) if arch.kind == "pixels" else module(lr, (one.y, one.x))).float()]
        if arch.kind != "field":
            raise InvalidArgument(f"{arch.id} is of kind {arch.kind!r}, which cannot be trained.")
        features = module.encode(lr)  # type: ignore[operator]
        scales = [scale or _scale_of(size, lr) for size, _ in wanted]
        make_joined: Callable[[Tensor], GaussianField] | None = getattr(module, "fields", None)
        joined, groups = None, list[list[GaussianField]]()
        if make_joined is not None and window_fraction is None:
            joined = make_joined(features)
        else:
            for (_, of), one in zip(wanted, scales, strict=True):
                groups.append([module.field(features[i : i + 1], one) for i in of])  # type: ignore[operator]
    if joined is not None:
        gap = cast("int", module.gap)
        return [
            _draw_together(_pick(joined, len(lr), of), size, one, len(of), gap, draw)
            for (size, of), one in zip(wanted, scales, strict=True)
        ]
    return [
        torch.stack([draw(_prepare(field, size, one, window_fraction), _whole(size, one)) for field in group])
        for group, (size, _), one in zip(groups, wanted, scales, strict=True)
    ]


def _whole(size: Size, scale: Scale) -> View:
    return View((0.0, 0.0), (size[0] / scale.y, size[1] / scale.x), size)


def _scale_of(size: Size, lr: Tensor) -> Scale:
    return Scale(size[0] / lr.shape[-2], size[1] / lr.shape[-1])


def _pick(field: GaussianField, count: int, of: Sequence[int]) -> GaussianField:
    """The Gaussians of some pictures of a batch of `count`."""
    which: Any = list(of)
    if which == list(range(of[0], of[0] + len(of))):
        which = slice(of[0], of[0] + len(of))  # needs no copy of indices to the GPU
    parts = {name: getattr(field, name) for name in ("mean", "sigma", "rho", "color")}
    return replace(field, **{name: x.unflatten(0, (count, -1))[which].flatten(0, 1) for name, x in parts.items()})


def _draw_together(
    field: GaussianField, size: Size, scale: Scale, count: int, gap: int, draw: Draw
) -> Tensor:  # [count, 3, H, W]
    """Draw the pictures of a batch side by side in one drawing, `gap` source pixels apart.

    On a GPU a small drawing takes as long as a large one.
    """
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    pitch = size[0] + math.ceil(gap * scale.y), size[1] + math.ceil(gap * scale.x)  # pixels
    index = torch.arange(count, device=field.mean.device)
    corner = torch.stack([index % columns * (pitch[1] / scale.x), index // columns * (pitch[0] / scale.y)], 1)
    mean = (field.mean.view(count, -1, 2) + corner[:, None]).flatten(0, 1)
    whole = rows * pitch[0], columns * pitch[1]
    sheet = draw(replace(field, mean=mean), _whole(whole, scale))
    cells = sheet.view(-1, rows, pitch[0], columns, pitch[1]).permute(1, 3, 0, 2, 4).flatten(0, 1)
    return cells[:count, :, : size[0], : size[1]]


def _prepare(field: GaussianField, size: Size, scale: Scale, window_fraction: float | None) -> GaussianField:
    window = field.window
    if window_fraction is not None:
        half_px = [window_fraction * (side - 1) / 2 for side in size]
        window = (half_px[1] / scale.x, half_px[0] / scale.y)
    return replace(
        field,
        mean=field.mean.float(),
        sigma=field.sigma.float(),
        rho=field.rho.float(),
        color=field.color.float(),
        window=window,
    )

"""Differentiable prediction at given output sizes, for every kind of network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from gsr_app.core.errors import InvalidArgument
from gsr_app.core.types import GaussianField, Scale, View
from gsr_app.models.registry import Architecture
from gsr_app.ops import render

Size = tuple[int, int]
Draw = Callable[[GaussianField, View], Tensor]


def predict(
    module: nn.Module,
    arch: Architecture,
    lr: Tensor,  # [B, 3, h, w]; of clips [B, T, 3, h, w]
    sizes: Sequence[Size],
    *,
    of: Sequence[int] = (),  # for every size the input that it is of; empty: one size each, in order
    scale: Scale | None = None,  # the exact scale where sizes were rounded; by default size / input
    amp: bool = False,
    window_fraction: float | None = None,  # a hard window, as in `Architecture.window_fraction`
    draw: Draw = render,
) -> list[Tensor]:  # B of [3, H, W]
    """The outputs for a batch, one for every size. Rendering is always in float32."""
    with torch.autocast(lr.device.type, torch.bfloat16, enabled=amp and lr.device.type == "cuda"):
        if arch.kind == "pixels":
            return [one.float() for one in module(lr)]
        if arch.kind == "continuous":
            return [module(one[None], size)[0].float() for one, size in zip(lr, sizes, strict=True)]
        if arch.kind == "video":  # one scale for the whole batch
            one = scale or Scale(sizes[0][0] / lr.shape[-2], sizes[0][1] / lr.shape[-1])
            return [drawn.float() for drawn in module(lr, (one.y, one.x))]
        if arch.kind != "field":
            raise InvalidArgument(f"{arch.id} is of kind {arch.kind!r}, which cannot be trained.")
        features = module.encode(lr)  # type: ignore[operator]
        of = of or range(len(sizes))
        scales = [scale or Scale(size[0] / lr.shape[2], size[1] / lr.shape[3]) for size in sizes]
        fields: list[GaussianField] = [
            module.field(features[i : i + 1], one)  # type: ignore[operator]
            for i, one in zip(of, scales, strict=True)
        ]
    return [
        draw(_prepare(field, size, one, window_fraction), View((0.0, 0.0), (size[0] / one.y, size[1] / one.x), size))
        for field, size, one in zip(fields, sizes, scales, strict=True)
    ]


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

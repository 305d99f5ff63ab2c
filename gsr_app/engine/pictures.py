"""Arrays from outside become float planes inside, and go back as the kind they came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gsr_app.core.errors import InvalidArgument
from gsr_app.engine import tiling
from gsr_app.engine.timing import Stopwatch

_STRIP_PIXELS = 1 << 18  # put into an array at once
_KINDS = "uint8, uint16 or float32 in 0..1"


@dataclass(frozen=True)
class Form:
    """What kind of array an image is, so that an answer can be of the same kind."""

    dtype: np.dtype[Any]
    channels: int  # 0: an array without a channel axis

    @property
    def has_alpha(self) -> bool:
        return self.channels in {2, 4}


class Canvas:
    """An array of a form that planes of 0..1 are put into, rows at a time: beside it nothing of its size is needed."""

    def __init__(self, form: Form, size: tuple[int, int], watch: Stopwatch) -> None:
        self._form, self._watch = form, watch
        self._values = np.empty((*size, max(1, form.channels)), form.dtype)
        self._colors = self._values.shape[2] - form.has_alpha

    @property
    def array(self) -> np.ndarray:  # [H, W] or [H, W, C]
        return self._values if self._form.channels else self._values[:, :, 0]

    def put_color(self, top: int, rows: Tensor) -> None:  # [1, 1 or 3, h, W]
        self._put(top, rows, slice(0, self._colors))

    def put_alpha(self, top: int, rows: Tensor) -> None:  # [1, 1 or 3, h, W]
        self._put(top, rows, slice(self._colors, None))

    def _put(self, top: int, rows: Tensor, channels: slice) -> None:
        goal = self._values[top : top + rows.shape[-2], :, channels]
        with self._watch("write"):
            for start, stop in tiling.strips(goal.shape[0], goal.shape[1], _STRIP_PIXELS):
                values = rows[0, :, start:stop].permute(1, 2, 0)
                if goal.shape[2] < values.shape[2]:  # a network answers a grey picture in colour
                    values = values.mean(2, keepdim=True)
                values = values.clamp(0, 1)
                if self._form.dtype != np.float32:
                    values = (values * np.iinfo(self._form.dtype).max).round().to(torch.int32)
                goal[start:stop] = values.numpy()


@dataclass(frozen=True, eq=False)
class Picture:
    """One image, ready to compute with."""

    color: Tensor  # [1, 1 or 3, h, w] float32 in 0..1, not premultiplied
    alpha: Tensor | None  # [1, 1, h, w] float32 in 0..1
    form: Form

    @classmethod
    def of(cls, array: np.ndarray) -> Picture:
        """From [H, W] or [H, W, 1 to 4] of uint8, uint16 or float32."""
        if not isinstance(array, np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers come from outside
            raise InvalidArgument(f"image must be a path or a numpy array, found {type(array).__name__}.")
        if array.ndim not in {2, 3} or (array.ndim == 3 and not 1 <= array.shape[2] <= 4) or 0 in array.shape:
            raise InvalidArgument(f"image must have shape [H, W], [H, W, 3] or [H, W, 4], found {array.shape}.")
        if array.dtype.name not in {"uint8", "uint16", "float32"}:
            raise InvalidArgument(f"image must be {_KINDS}, found {array.dtype}.")
        planes = array[:, :, None] if array.ndim == 2 else array
        if array.dtype == np.float32:
            if not np.isfinite(planes).all():
                raise InvalidArgument("image holds values that are not finite.")
            values = torch.from_numpy(planes.copy())
        else:
            planes = planes if array.dtype == np.uint8 else planes.astype(np.int32)
            values = torch.from_numpy(np.ascontiguousarray(planes))
        values = values.permute(2, 0, 1)[None].contiguous().float()  # [1, C, H, W]
        if array.dtype != np.float32:
            # Divided, not multiplied by a reciprocal: k/255 must come out as the float nearest to it.
            values = values / float(np.iinfo(array.dtype).max)
        channels = planes.shape[2]
        form = Form(array.dtype, channels if array.ndim == 3 else 0)
        if form.has_alpha:
            return cls(values[:, :-1].contiguous(), values[:, -1:].contiguous(), form)
        return cls(values, None, form)

    @property
    def size(self) -> tuple[int, int]:
        return self.color.shape[-2], self.color.shape[-1]


# What a fully transparent pixel still counts: next to nothing beside a visible one, everything among its own kind.
_HIDDEN = 1e-4


def stack(color: Tensor, alpha: Tensor | None, kernel: str) -> Tensor:  # [1, C, h, w], [1, 1, h, w] -> [1, C', h, w]
    """Planes for a kernel to resize together. Where it mixes neighbours, colours count as much as they are seen."""
    if alpha is None:
        return color
    if kernel == "nearest":
        return torch.cat([color, alpha], 1)
    weight = alpha + _HIDDEN
    return torch.cat([color * weight, weight, alpha], 1)


def unstack(planes: Tensor, kernel: str, *, has_alpha: bool) -> tuple[Tensor, Tensor | None]:
    """Colour and alpha out of resized planes."""
    if not has_alpha:
        return planes, None
    if kernel == "nearest":
        return planes[:, :-1], planes[:, -1:]
    weight = planes[:, -2:-1]  # the negative lobes of a kernel may leave none: that pixel is unseen
    return torch.where(weight > _HIDDEN / 100, planes[:, :-2] / weight, 0.0), planes[:, -1:]


def fill_hidden(color: Tensor, alpha: Tensor) -> Tensor:  # [1, C, h, w], [1, 1, h, w] -> [1, C, h, w]
    """Colours spread from visible pixels into fully transparent ones: what a network sees has no unseen edges."""
    seen = (alpha > 0).to(color)
    return color if bool(seen.all()) or not bool(seen.any()) else _spread(color, seen)


def _spread(color: Tensor, seen: Tensor) -> Tensor:
    if bool(seen.all()):
        return color
    halves = [F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) for x in (color * seen, seen)]
    coarse = _spread(halves[0] / halves[1].clamp_min(1e-6), (halves[1] > 0).to(color))
    wide = F.interpolate(coarse, size=color.shape[-2:], mode="bilinear", align_corners=False)
    return torch.where(seen > 0, color, wide)

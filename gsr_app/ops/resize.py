"""Classical resizing: MATLAB's `imresize` in torch, for whole images, rows of them, and views.

Output pixel i samples the source coordinate (i + 0.5) / scale. When shrinking, the kernel widens by 1 / scale, so that
it is the antialiasing filter, too. Beyond the border the image is mirrored, edge pixels included.

Each axis is a short list of taps per output row, and a row is the weighted sum of whole source rows. The native kernel
(`ext/csrc/cpu/resample.cpp`) computes float32 on a CPU, when no gradient is needed. Everything else is `embedding_bag`,
which is exactly that sum; a transposed copy turns columns into rows. Either way a row's arithmetic does not depend on
its neighbours, so rows computed separately equal the whole bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gsr_app.core import settings
from gsr_app.core.errors import InvalidArgument, UnknownName
from gsr_app.core.types import Scale, View
from gsr_app.ops import backend

Kernel = Literal["bicubic", "nearest", "bilinear", "lanczos3"]


def resize(
    x: Tensor,  # [B, C, H, W] float
    *,
    scale: float | Scale | None = None,
    size: tuple[int, int] | None = None,  # (height, width)
    kernel: Kernel = "bicubic",
) -> Tensor:  # [B, C, ceil(H * scale), ceil(W * scale)], or of `size`
    """Resize as MATLAB's `imresize` does; values are not clipped.

    With `scale` alone the size is ceil(scale * input). With `size` alone each axis is scaled by size / input. With
    both, the grid is that of `scale`, cut or (by mirroring) continued to `size`.
    """
    if x.ndim != 4:
        raise InvalidArgument(f"resize needs x of shape [B, C, H, W], found {tuple(x.shape)}.")
    height, width = x.shape[-2:]
    return Resampling.plan((height, width), scale=scale, size=size, kernel=kernel).rows(x)


def resize_view(x: Tensor, view: View, *, kernel: Kernel = "bicubic") -> Tensor:  # [B, C, *view.size]
    """Draw any rectangle of the source plane; a whole frame's view gives what `resize` gives."""
    (height, width), (x0, y0) = x.shape[-2:], view.origin
    scale_y, scale_x = view.size[0] / view.span[0], view.size[1] / view.span[1]
    return Resampling(
        _Axis(height, view.size[0], scale_y, kernel, y0), _Axis(width, view.size[1], scale_x, kernel, x0)
    ).rows(x)


@dataclass(frozen=True)
class Resampling:
    """A resize that is planned once and computed in as many groups of rows as memory requires.

    plan = Resampling.plan((20000, 20000), scale=2.0)
    first, last = plan.source_rows(0, 256)
    strip = plan.rows(source[:, :, first:last], first=first, start=0, stop=256)
    """

    y: _Axis
    x: _Axis

    @classmethod
    def plan(
        cls,
        source_size: tuple[int, int],
        *,
        scale: float | Scale | None = None,
        size: tuple[int, int] | None = None,
        kernel: Kernel = "bicubic",
    ) -> Resampling:
        if kernel not in get_args(Kernel):
            raise UnknownName(str(kernel), get_args(Kernel), what="Kernel", where="the list of resize kernels")
        if min(source_size) < 1 or (size is not None and min(size) < 1):
            raise InvalidArgument(f"resize needs sizes of at least one pixel, found {source_size} to {size}.")
        if isinstance(scale, Scale):
            factors = (scale.y, scale.x)
        elif scale is not None:
            factors = (float(scale), float(scale))
        elif size is not None:
            factors = (size[0] / source_size[0], size[1] / source_size[1])
        else:
            raise InvalidArgument("resize needs a scale, a size, or both; found neither.")
        if not all(math.isfinite(factor) and factor > 0 for factor in factors):
            raise InvalidArgument(f"scale must be positive and finite, found {scale!r}.")
        if size is None:  # MATLAB's rule to the letter: no slack for rounding in the product
            size = math.ceil(factors[0] * source_size[0]), math.ceil(factors[1] * source_size[1])
        return cls(
            _Axis(source_size[0], size[0], factors[0], kernel), _Axis(source_size[1], size[1], factors[1], kernel)
        )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the whole output."""
        return self.y.size, self.x.size

    def source_rows(self, start: int, stop: int) -> tuple[int, int]:
        """The source rows [first, last) that output rows [start, stop) depend on."""
        return self.y.reach(slice(start, stop))

    def source_columns(self, start: int, stop: int) -> tuple[int, int]:
        """The source columns [first, last) that output columns [start, stop) depend on."""
        return self.x.reach(slice(start, stop))

    def rows(
        self,
        strip: Tensor,  # [B, C, h, w] source rows from `first` on, and columns from `left` on
        *,
        first: int = 0,
        start: int = 0,
        stop: int | None = None,
        left: int = 0,
        columns: slice | None = None,
    ) -> Tensor:  # [B, C, stop - start, width]
        """Output rows [start, stop) and columns, all of them by default, from a strip that holds their source."""
        stop = self.y.size if stop is None else stop
        if not strip.is_floating_point():
            raise InvalidArgument(f"resize needs a floating point tensor, found {strip.dtype}.")
        if not 0 <= start < stop <= self.y.size:
            raise InvalidArgument(f"Rows {start} to {stop} are not within an output of {self.y.size} rows.")
        top, bottom = self.source_rows(start, stop)
        begin, end = (0, self.x.source) if columns is None else self.x.reach(columns)
        has_columns = left <= begin < end <= left + strip.shape[-1] <= self.x.source
        if not first <= top < bottom <= first + strip.shape[-2] or not has_columns:
            raise InvalidArgument(
                f"Output rows {start} to {stop} need source rows {top} to {bottom} of {self.x.source} pixels, "
                f"found rows {first} to {first + strip.shape[-2]} of {strip.shape[-1]} pixels."
            )
        index_y, weight_y = self.y.taps[0][start:stop] - top, self.y.taps[1][start:stop]
        columns = columns or slice(None)
        index_x, weight_x = (values[columns] for values in self.x.taps)
        begin, end = self.x.reach(columns)
        index_x = index_x - begin
        x = strip[..., top - first : bottom - first, begin - left : end - left]
        if _is_for_the_kernel(x):
            planes = x.flatten(0, 1)
            planes = planes if planes.stride(-1) == 1 else planes.contiguous()
            taps = *_send(index_y, weight_y, x), *_send(index_x, weight_x, x)
            mixed = torch.ops.gsr.resample(planes, *(values.contiguous() for values in taps))
            return mixed.view(*x.shape[:2], *mixed.shape[1:])
        if self._columns_first:
            x = _mix_rows(_mix_columns(x, index_x, weight_x), index_y, weight_y)
        else:
            x = _mix_columns(_mix_rows(x, index_y, weight_y), index_x, weight_x)
        return x.contiguous()

    @cached_property
    def _columns_first(self) -> bool:
        """The cheaper order. It depends on the size of the whole image, so that all rows are summed alike."""
        taps_y, taps_x = self.y.taps[0].shape[1], self.x.taps[0].shape[1]
        per_column_stage_row = self.x.size * taps_x + self.x.source + self.x.size  # with its two transposes
        columns_first = self.y.source * per_column_stage_row + self.y.size * self.x.size * taps_y
        rows_first = self.y.size * per_column_stage_row + self.y.size * self.x.source * taps_y
        return columns_first <= rows_first


def _is_for_the_kernel(x: Tensor) -> bool:
    """Whether the native kernel takes this: it is several times as fast, but has no gradient."""
    if x.dtype != torch.float32 or x.device.type != "cpu" or (x.requires_grad and torch.is_grad_enabled()):
        return False
    # GSR_BACKEND=cuda says what draws Gaussians; pixels on the CPU are then torch's.
    return settings.backend() != "cuda" and backend.load("cpu").backend == "cpu"


def _mix_rows(x: Tensor, index: np.ndarray, weight: np.ndarray) -> Tensor:  # [B, C, h, w] -> [B, C, len(index), w]
    """Each output row is a weighted sum of rows of its plane."""
    batch, channels, height, width = x.shape
    if _is_identity(index, weight, height):
        return x
    planes = torch.arange(batch * channels, device=x.device).view(-1, 1, 1) * height
    taps, weights = _send(index, weight, x)
    rows = (planes + taps).reshape(-1, index.shape[1])  # [B*C*out, taps]
    weights = weights.repeat(batch * channels, 1)
    mixed = F.embedding_bag(rows, x.reshape(-1, width), per_sample_weights=weights, mode="sum")
    return mixed.view(batch, channels, len(index), width)


def _mix_columns(x: Tensor, index: np.ndarray, weight: np.ndarray) -> Tensor:  # [B, C, h, w] -> [B, C, h, len(index)]
    """Each output column is a weighted sum of columns."""
    batch, channels, height, width = x.shape
    if _is_identity(index, weight, width):
        return x
    columns = x.reshape(-1, width).t().contiguous()  # [w, B*C*h]
    rows, weights = _send(index, weight, x)
    mixed = F.embedding_bag(rows, columns, per_sample_weights=weights, mode="sum")
    return mixed.t().contiguous().view(batch, channels, height, len(index))


_sent: dict[tuple[bytes, bytes, str, torch.dtype], tuple[Tensor, Tensor]] = {}
_recorded: dict[tuple[bytes, bytes, str, torch.dtype], tuple[Tensor, Tensor]] = {}  # a CUDA graph reads them
_SENT_AT_MOST = 64


def _send(index: np.ndarray, weight: np.ndarray, like: Tensor) -> tuple[Tensor, Tensor]:
    """Indices and weights on the device of a tensor. Those on a GPU are kept: sending them again would wait for it, and
    a CUDA graph cannot record that."""
    if like.device.type == "cpu":
        return torch.from_numpy(index), torch.from_numpy(weight).to(like)
    key = (index.tobytes(), weight.tobytes(), str(like.device), like.dtype)
    if (kept := _sent.get(key)) is not None:
        if like.is_cuda and torch.cuda.is_current_stream_capturing():
            _recorded[key] = kept
        return kept
    with torch.inference_mode(False):  # the gradient of a later call may need them
        kept = torch.from_numpy(index).to(like.device), torch.from_numpy(weight).to(like.device, like.dtype)
    if len(_sent) >= _SENT_AT_MOST:
        _sent.pop(next(iter(_sent)), None)
    _sent[key] = kept
    return kept


def _is_identity(index: np.ndarray, weight: np.ndarray, count: int) -> bool:
    same = index.shape == (count, 1) and bool((index[:, 0] == np.arange(count)).all())
    return same and bool((weight == 1).all())


@dataclass(frozen=True)
class _Axis:
    """One axis of a resize: the source pixels that an output pixel is a sum of, and their weights."""

    source: int
    size: int
    scale: float
    kernel: Kernel
    origin: float = 0.0  # where output starts, in source pixels

    @cached_property
    def taps(self) -> tuple[np.ndarray, np.ndarray]:  # indices int64 [size, taps], weights float64 [size, taps]
        centre = (np.arange(self.size) + 0.5) / self.scale + self.origin
        if self.kernel == "nearest":
            return self._mirror(np.floor(centre).astype(np.int64)[:, None]), np.ones((self.size, 1))
        radius, profile = _PROFILES[self.kernel]
        shrink = min(self.scale, 1.0)
        centre -= 0.5  # from here on pixel k is at k
        first = np.floor(centre - radius / shrink).astype(np.int64)
        index = first[:, None] + np.arange(math.ceil(2 * radius / shrink) + 2)
        weight = profile(np.abs(centre[:, None] - index) * shrink)
        weight /= weight.sum(axis=1, keepdims=True)
        used = (weight != 0).any(axis=0)
        return self._mirror(index[:, used]), weight[:, used]

    def reach(self, output: slice) -> tuple[int, int]:
        """The source pixels [first, last) that output pixels depend on."""
        index = self.taps[0][output]
        return int(index.min()), int(index.max()) + 1

    def _mirror(self, index: np.ndarray) -> np.ndarray:
        index = index % (2 * self.source)
        return np.minimum(index, 2 * self.source - 1 - index)


def cubic(t: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -0.5."""
    inner, outer = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, inner, np.where(t <= 2, outer, 0.0))


def _triangle(t: np.ndarray) -> np.ndarray:
    return np.maximum(1.0 - t, 0.0)


def _lanczos3(t: np.ndarray) -> np.ndarray:
    return np.where(t < 3, np.sinc(t) * np.sinc(t / 3), 0.0)


# Radius in source pixels and the weight at a distance.
_PROFILES: dict[str, tuple[float, Callable[[np.ndarray], np.ndarray]]] = {
    "bicubic": (2.0, cubic),
    "bilinear": (1.0, _triangle),
    "lanczos3": (3.0, _lanczos3),
}

"""Rows of a view, from top to bottom, and the row sinks that take them, so that no step holds the whole picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gsr_app.core import pixels
from gsr_app.core.pixels import Layout
from gsr_app.core.types import GaussianField, View
from gsr_app.engine.timing import Stopwatch
from gsr_app.ops import levels
from gsr_app.ops.drawing import DEFAULT_EPS
from gsr_app.ops.resize import Resampling

RowSink = Callable[[int, Tensor], None]
"""Takes the number of a first row and rows [1, C, h, W], from top to bottom, each once. When memory ran out and smaller
tiles begin again, the rows come again, from the top."""

RESIZED_PIXELS = 1 << 20  # resized at once


def split_rows(height: int, width: int, at_most: int) -> list[tuple[int, int]]:
    """Rows [start, stop) of at most that many pixels each, and at least one row."""
    step = max(1, at_most // max(1, width))
    return [(start, min(start + step, height)) for start in range(0, height, step)]


# ---- row sinks --------------------------------------------------------------------------------------------------


class PlaneSink:
    """Puts rows together to planes."""

    def __init__(self, height: int) -> None:
        self.height = height

    def __call__(self, top: int, rows: Tensor) -> None:
        if rows.shape[-2] == self.height:
            self.planes = rows
            return
        if top == 0:
            self.planes = torch.empty(*rows.shape[:2], self.height, rows.shape[-1])
        self.planes[:, :, top : top + rows.shape[-2]] = rows


class ArraySink:
    """Stores rows in an array: colour and alpha come apart, so `put_color` and `put_alpha` are the row sinks."""

    def __init__(self, layout: Layout, size: tuple[int, int], watch: Stopwatch) -> None:
        self._layout, self._watch = layout, watch
        self._values = np.empty((*size, layout.bands), layout.dtype)

    @property
    def array(self) -> np.ndarray:  # [H, W] or [H, W, C]
        return self._values if self._layout.channels else self._values[:, :, 0]

    def put_color(self, top: int, rows: Tensor) -> None:  # [1, 1 or 3, h, W]
        self._put(top, rows, slice(0, self._layout.colors))

    def put_alpha(self, top: int, rows: Tensor) -> None:  # [1, 1 or 3, h, W]
        self._put(top, rows, slice(self._layout.colors, None))

    def put_constant_alpha(self, value: float | None) -> None:
        if value is not None:
            self.put_alpha(0, torch.tensor(value).expand(1, 1, *self._values.shape[:2]))

    def _put(self, top: int, rows: Tensor, channels: slice) -> None:
        with self._watch("write"):
            pixels.store(rows[0].numpy(), self._values[top : top + rows.shape[-2], :, channels])


class ResizeSink:
    """Takes rows of a plan's source and sends on rows of its result, as soon as their source is complete."""

    def __init__(self, plan: Resampling, watch: Stopwatch, sink: RowSink) -> None:
        self._plan, self._watch, self._sink = plan, watch, sink
        pieces = [(*rows, *plan.source_rows(*rows)) for rows in split_rows(*plan.size, RESIZED_PIXELS)]
        self._waiting = pieces[::-1]  # the next one last
        self._first = 0
        self._kept: Tensor | None = None  # [1, C, h, W] source rows from `_first` on

    def __call__(self, top: int, rows: Tensor) -> None:
        with self._watch("resize"):
            self._kept = rows if self._kept is None else torch.cat([self._kept, rows], 2)
        end = top + rows.shape[-2]
        while self._waiting and self._waiting[-1][3] <= end:
            start, stop, *_ = self._waiting.pop()
            with self._watch("resize"):
                resized = self._plan.rows(self._kept, first=self._first, start=start, stop=stop)
            self._sink(start, resized)
        # Mirrored at the bottom, later rows may look further back than the next ones.
        needed = min([end, *(first for *_, first, _ in self._waiting)])
        self._kept = self._kept[:, :, needed - self._first :].clone()
        self._first = needed


# ---- rows of a field --------------------------------------------------------------------------------------------

# What is drawn at once, at most. Drawing copies what it draws, and all rows have to look for their Gaussians again.
DRAWN_PIXELS = 1 << 22
DRAWN_GAUSSIANS = 1 << 22
DRAWN_VALUES = 1 << 30  # of Gaussians at pixels; about half a second, and so how long a drawing takes to be cancelled
_CHUNK = 1 << 16  # Gaussians that are taken or left together
_REACH = math.sqrt(-2 * math.log(DEFAULT_EPS))  # of a Gaussian's support, in sigmas
_DEEP_REACH = math.sqrt(-2 * math.log(DEFAULT_EPS / levels.DEEPER))  # of a large one's


def count_values(field: GaussianField, view: View) -> float:
    """At most how many values a drawing adds up: for every Gaussian, the points in the box of its support."""
    sigma, mean, rho = (torch.as_tensor(x) for x in (field.sigma, field.mean, field.rho))
    if not len(field):
        return 0.0
    scales = [length / span for length, span in zip(view.size[::-1], view.span[::-1], strict=True)]  # (x, y), as means
    windows = field.window or (math.inf, math.inf)
    # Mostly all Gaussians are small, and the largest alone shows that there is little to draw.
    axes = list(zip(sigma.amax(0).tolist(), windows, scales, view.size[::-1], strict=True))
    most = len(field) * math.prod(
        min(2 * scale * min(_REACH * largest, window) + 1, length) for largest, window, scale, length in axes
    )
    if most <= DRAWN_VALUES:
        return most
    total, window_px = 0.0, (windows[0] * scales[0], windows[1] * scales[1])
    for start in range(0, len(field), _CHUNK):
        at = slice(start, start + _CHUNK)
        spacing = levels.spacing_px(sigma[at] * sigma.new_tensor(scales), rho[at], reach=_REACH, window_px=window_px)
        margin, reach = (torch.where(spacing > 1, *pair) for pair in ((levels.MARGIN, 0.0), (_DEEP_REACH, _REACH)))
        sides: list[Tensor] = []
        for axis, (_, window, scale, length) in enumerate(axes):
            middle = (mean[at, axis] - view.origin[axis]) * scale
            half = (sigma[at, axis] * reach * scale).clamp_(max=window * scale)
            side = (middle + half).clamp_(max=length) - (middle - half).clamp_(min=0)
            # The margin counts for a Gaussian beside the frame, too: its level is drawn that far.
            sides.append((side / spacing + 1 + margin).clamp_(min=0).minimum(length / spacing + margin))
        total += float(torch.dot(*sides))
    return total


class FieldRows:
    """A view of a field in rows from top to bottom: the first row, their own view, and the Gaussians seen in it."""

    def __init__(self, field: GaussianField, view: View) -> None:
        self._view = view
        self._values = {name: torch.as_tensor(getattr(field, name)) for name in ("mean", "sigma", "rho", "color")}
        self._field = field
        height, width = view.size
        covered = min(1.0, view.span[0] * view.span[1] / math.prod(field.source_size))
        per_pixel = max(1, len(field)) * covered / (height * width)
        values_per_pixel = max(1, count_values(field, view) / (height * width))
        at_most = min(DRAWN_PIXELS, DRAWN_GAUSSIANS / per_pixel, DRAWN_VALUES / values_per_pixel)
        self._rows = split_rows(height, width, int(at_most))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[int, View, GaussianField]]:
        if len(self) == 1:
            yield 0, self._view, self._field
            return
        reaches = [_reach(self._values, at) for at in self._chunks()]
        for start, stop in self._rows:
            view = self._view.crop(start, 0, stop - start, self._view.size[1])
            # A source pixel to spare: the op draws the thinnest Gaussians at a least width of its own.
            top, bottom = view.origin[1] - 1, view.origin[1] + view.span[0] + 1
            near = [at for at, (low, high) in zip(self._chunks(), reaches, strict=True) if low < bottom and high > top]
            yield start, view, self._seen(near, top, bottom)

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
    reach = _DEEP_REACH * values["sigma"][at, 1]
    return values["mean"][at, 1] - reach, values["mean"][at, 1] + reach


def _reach(values: dict[str, Tensor], at: slice) -> tuple[float, float]:
    low, high = _ends(values, at)
    return float(low.min()), float(high.max())

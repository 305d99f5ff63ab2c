"""Pictures on their way from top to bottom: whoever makes rows gives them on, and nobody holds more than it needs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gsr_app.engine import tiling
from gsr_app.engine.timing import Stopwatch
from gsr_app.ops.resize import Resampling

Give = Callable[[int, Tensor], None]
"""Takes the number of a first row and rows [1, C, h, W], from top to bottom, each once. When memory ran out and smaller
tiles begin anew, the rows come again, from the top."""

STRIP_PIXELS = 1 << 20  # resized at once


class Sheet:
    """Takes rows and puts them together."""

    def __init__(self, height: int) -> None:
        self.height = height

    def __call__(self, top: int, rows: Tensor) -> None:
        if rows.shape[-2] == self.height:
            self.planes = rows
            return
        if top == 0:
            self.planes = torch.empty(*rows.shape[:2], self.height, rows.shape[-1])
        self.planes[:, :, top : top + rows.shape[-2]] = rows


class Resizing:
    """Takes rows of a plan's source and gives rows of its picture, a strip as soon as its source is complete."""

    def __init__(self, plan: Resampling, watch: Stopwatch, give: Give) -> None:
        self._plan, self._watch, self._give = plan, watch, give
        strips = [(*strip, *plan.source_rows(*strip)) for strip in tiling.strips(*plan.size, STRIP_PIXELS)]
        self._waiting = strips[::-1]  # the next one last
        self._first = 0
        self._kept: Tensor | None = None  # [1, C, h, W] source rows from `_first` on

    def __call__(self, top: int, rows: Tensor) -> None:
        with self._watch("resize"):
            self._kept = rows if self._kept is None else torch.cat([self._kept, rows], 2)
        end = top + rows.shape[-2]
        while self._waiting and self._waiting[-1][3] <= end:
            start, stop, *_ = self._waiting.pop()
            with self._watch("resize"):
                strip = self._plan.rows(self._kept, first=self._first, start=start, stop=stop)
            self._give(start, strip)
        # Mirrored at the bottom, a later strip may look further back than the next.
        needed = min([end, *(first for *_, first, _ in self._waiting)])
        self._kept = self._kept[:, :, needed - self._first :].clone()
        self._first = needed

"""What networks of one scale are judged by besides time: their multiply-adds, and bicubic on the same device."""

from __future__ import annotations

import copy
import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from gsr_app.core.types import Scale
from gsr_app.engine.timing import synchronize
from gsr_app.ops.resize import resize


def count_macs(module: torch.nn.Module, lr: torch.Tensor) -> int:
    """Multiply-adds of the convolutions and matrix products of one pass, counted on shapes alone."""
    shapes = copy.deepcopy(module).to("meta")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        shapes(lr.to("meta"))
    return counter.get_total_flops() // 2


def time_bicubic_ms(lr: torch.Tensor, scale: Scale, repeats: int) -> float:
    """The median, after a first run that does not count."""
    times: list[float] = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        resize(lr, scale=scale)
        synchronize(lr.device)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[1:])

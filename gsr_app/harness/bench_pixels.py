"""What networks of one scale are judged by besides time: their multiply-adds, bicubic on the same device, and what
fusing their layers saved."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from gsr_app.core.types import Scale
from gsr_app.engine import tiling
from gsr_app.engine.timing import synchronize
from gsr_app.harness.bench_record import time_in_turns_ms
from gsr_app.models.registry import Architecture
from gsr_app.ops.resize import resize


def count_macs(module: torch.nn.Module, lr: torch.Tensor) -> int:
    """Multiply-adds of the convolutions and matrix products of one pass, counted on shapes alone."""
    shapes = copy.deepcopy(module).to("meta")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        shapes(lr.to("meta"))
    return counter.get_total_flops() // 2


def time_bicubic_ms(lr: torch.Tensor, scale: Scale, repeats: int) -> float:
    return _median_ms([lambda: resize(lr, scale=scale)], lr.device, repeats)[0]


def compare_fused(
    training: torch.nn.Module, fused: torch.nn.Module, lr: torch.Tensor, arch: Architecture, repeats: int
) -> float | None:
    """How many times faster than the training form, run in turns; None where the two are the same."""
    if not hasattr(training, "fuse"):
        return None
    padded, training = tiling.pad(lr, arch), training.eval().to(lr.device)
    with torch.inference_mode():
        before, after = _median_ms([lambda: training(padded), lambda: fused(padded)], lr.device, repeats)
    return before / after


def _median_ms(calls: Sequence[Callable[[], object]], device: torch.device, repeats: int) -> list[float]:
    works = [partial(_finish, call, device) for call in calls]
    return [statistics.median(times) for times in time_in_turns_ms(works, repeats)]


def _finish(call: Callable[[], object], device: torch.device) -> None:
    call()
    synchronize(device)

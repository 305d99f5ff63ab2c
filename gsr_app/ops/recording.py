"""Work that a CUDA graph records once and then sends at once, which takes less time than its many short kernels.

Nothing recorded may wait for the GPU or come from the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Work = Callable[[], None]
Recorder = Callable[[Work], Work]  # runs the work as often as recording needs, and returns what repeats it

_WARM_UPS = 3


def record_after_warm_up(work: Work) -> Work:
    """Record work that may be run any number of times, which reads and writes the same memory each time."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(side)
    return record(work)


def record(work: Work) -> Work:
    """Record work that has run before, as it is: recording does not run it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=_pool()):
        work()
    return graph.replay


_pools: list[Any] = []


def _pool() -> Any:
    """All graphs share memory: none leaves anything in it that another may not overwrite."""
    if not _pools:
        _pools.append(torch.cuda.graph_pool_handle())
    return _pools[0]

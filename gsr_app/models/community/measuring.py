"""What spandrel does not say about a network, measured on a small picture: how far it looks, and its memory."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_SIDE_PX = 48
_MOST_OVERLAP_PX = 48
_VISIBLE = 0.5 / 255  # a smaller change is not seen


def measure(network: Callable[[Tensor], Tensor], scale: int, multiple_of: int) -> tuple[int, bool, int]:
    """The overlap of tiles in source pixels, whether the network looks further, and its bytes per source pixel."""
    height, left, right = (_multiple(side, multiple_of) for side in (_SIDE_PX, 2 * _SIDE_PX, _SIDE_PX))
    noise = torch.Generator().manual_seed(0)
    one = torch.rand(1, 3, height, left + right, generator=noise)
    other = one.clone()
    other[..., left:] = torch.rand(1, 3, height, right, generator=noise)
    with torch.inference_mode(), _LiveBytes() as live:
        first = network(one)
    with torch.inference_mode():
        changed = (network(other) - first).abs().amax((0, 1, 2))[: left * scale] > _VISIBLE
    reach_px = math.ceil((left * scale - int(changed.float().argmax())) / scale) if bool(changed.any()) else 0
    overlap = min(_MOST_OVERLAP_PX, math.ceil(max(reach_px, 8) / 8) * 8)
    return overlap, reach_px > overlap, max(1_000, live.peak // (height * (left + right)))


def _multiple(side: int, of: int) -> int:
    return math.ceil(side / of) * of


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that a run makes, and the most that live at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        if address and address not in self._seen:
            self._seen.add(address)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, address, size)

    def _forget(self, address: int, size: int) -> None:
        self._seen.discard(address)
        self.now -= size

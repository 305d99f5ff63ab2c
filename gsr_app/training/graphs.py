"""Forward pass, loss and backward pass as one CUDA graph.

A step of a small network is hundreds of short kernels: sending them takes longer than running them. A graph is recorded
once for each set of sizes and is then sent at once. Where that is impossible, the plain way is taken and `reason` says
why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gsr_app.core.errors import GsrError
from gsr_app.ops import cuda
from gsr_app.ops.recording import Recorder, Work, record_after_warm_up
from gsr_app.training.data import Batch

_KEPT_AT_MOST = 32


@dataclass(frozen=True)
class _Recorded:
    inputs: Batch
    repeat: Work


class GradientGraphs:
    """Finds the gradients of a batch, by graphs where possible."""

    def __init__(
        self,
        measure: Callable[[Batch], Tensor],  # the loss of a batch
        weights: Sequence[Tensor],
        record: Recorder = record_after_warm_up,
    ) -> None:
        self.measure, self.weights, self.record = measure, list(weights), record
        self.device = self.weights[0].device
        self.gradients = [torch.zeros_like(weight) for weight in self.weights]
        self.loss = torch.zeros((), device=self.device)
        self.reason = ""
        self._kept: dict[object, _Recorded] = {}

    def find(self, batch: Batch, key: object = None) -> Tensor:
        """The loss; the gradients are in the weights' `grad`. `key`: what else the work depends on."""
        recorded = None if self.reason else self._recorded(batch, key)
        if recorded is None:
            self._work(batch)
        else:
            copy_batch(batch, recorded.inputs)
            recorded.repeat()
        for weight, gradient in zip(self.weights, self.gradients, strict=True):
            weight.grad = gradient
        return self.loss.clone()

    def grow_if_lacking(self) -> bool:
        """Whether pairs had no room since the last call; the graphs are then recorded again with more. Waits."""
        if not self._kept or not cuda.reserve.grow_if_lacking(self.device):
            return False
        self._kept.clear()
        return True

    def _recorded(self, batch: Batch, key: object) -> _Recorded | None:
        whole_key = (key, batch.lr.shape, *((one.hr.shape, one.of, one.weight) for one in batch.targets))
        if whole_key in self._kept:
            return self._kept[whole_key]
        if len(self._kept) == _KEPT_AT_MOST:
            self.reason = f"the batches have more than {_KEPT_AT_MOST} different sizes"
            self._kept.clear()
            return None
        inputs = Batch(batch.lr.clone(), tuple(replace(one, hr=one.hr.clone()) for one in batch.targets))
        try:
            repeat = self.record(lambda: self._work(inputs))
        except (RuntimeError, GsrError) as error:
            self.reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            return None
        self._kept[whole_key] = _Recorded(inputs, repeat)
        return self._kept[whole_key]

    def _work(self, batch: Batch) -> None:
        loss = self.measure(batch)
        found = torch.autograd.grad(loss, self.weights, materialize_grads=True)  # of unused ones 0
        torch._foreach_copy_(self.gradients, list(found))  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        if cuda.is_recording(self.device):  # a drawing that lacked room must not move the weights
            is_whole = (cuda.reserve.lacking(self.device) <= 0).to(loss.dtype)
            torch._foreach_mul_(self.gradients, is_whole)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        self.loss.copy_(loss.detach())


def copy_batch(source: Batch, target: Batch) -> None:
    target.lr.copy_(source.lr)
    for one, other in zip(source.targets, target.targets, strict=True):
        other.hr.copy_(one.hr)

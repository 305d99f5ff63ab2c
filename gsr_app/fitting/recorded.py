"""The steps of a fit on a GPU, recorded as CUDA graphs: a step is a hundred short kernels, and sending them one by one
takes longer than running them. Where recording fails, steps are taken plainly and `reason` says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

from gsr_app.core.errors import GsrError
from gsr_app.ops import cuda
from gsr_app.ops.recording import Recorder, Work

_Result = TypeVar("_Result")
_PLAIN_STEPS = 3  # before a step is recorded: they load kernels, and note how many pairs a drawing has
_LOOK_EVERY = 25  # steps; until then the CPU may be ahead of the GPU


class RecordedSteps(Generic[_Result]):
    """Takes steps that read and write the same memory each time. Recording a step does not take it."""

    def __init__(self, record: Recorder, device: torch.device) -> None:
        self.record, self.device, self.reason = record, device, ""
        self._kept: dict[object, tuple[Work, list[_Result]]] = {}
        self._plain: dict[object, int] = {}
        self._taken = 0

    def take(self, step: Callable[[], _Result], key: object) -> _Result:
        """Take a step and return its results, which the next one overwrites. `key`: what a recording depends on."""
        self._taken += 1
        if self._taken % _LOOK_EVERY == 0 and cuda.reserve.grow_if_lacking(self.device):
            self.forget()
        recorded = self._kept.get(key) or self._try_to_record(step, key)
        if recorded is None:
            return step()
        repeat, results = recorded
        repeat()
        return results[0]

    def forget(self) -> None:
        """Record anew: other tensors hold the Gaussians, or they need more room."""
        self._kept.clear()
        self._plain.clear()

    def _try_to_record(self, step: Callable[[], _Result], key: object) -> tuple[Work, list[_Result]] | None:
        taken = self._plain.get(key, 0)
        if self.reason or taken < _PLAIN_STEPS:
            self._plain[key] = taken + 1
            return None
        results: list[Any] = [None]

        def work() -> None:
            results[0] = step()

        try:
            self._kept[key] = (self.record(work), results)
        except (RuntimeError, GsrError) as error:
            self.reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            return None
        return self._kept[key]

"""Times of named stages, synchronized with the device, and the peak memory of a run."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from gsr_app.core.types import STAGES, Timing


class Stopwatch:
    """Adds up the time of each stage. On a GPU a stage ends when the device has finished it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cold = False
        self._stages_ms: dict[str, float] = {}
        reset_peak(device)

    @contextmanager
    def __call__(self, stage: str) -> Generator[None]:
        assert stage in STAGES, stage
        synchronize(self.device)
        start = time.perf_counter()
        try:
            yield
        finally:
            synchronize(self.device)
            self._stages_ms[stage] = self._stages_ms.get(stage, 0.0) + (time.perf_counter() - start) * 1e3

    def timing(self, *, backend: str, device: str) -> Timing:
        stages = {stage: self._stages_ms[stage] for stage in STAGES if stage in self._stages_ms}
        return Timing(stages, peak_bytes(self.device), backend=backend, device=device, cold=self.cold)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def reset_peak(device: torch.device) -> None:
    """Reset the peak, if the system supports it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # Linux only: resets the high-water mark of this process
            Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int | None:
    """The peak of the GPU, or of the whole process on other devices; None if it is unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return process_peak_bytes()


def process_peak_bytes() -> int | None:
    """The peak memory of this process, since the last reset if that is supported."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    with suppress(ImportError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return None

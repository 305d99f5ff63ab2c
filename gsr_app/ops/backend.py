"""Which implementation of `gsr::splat` runs, and why not a faster one.

`GSR_BACKEND` chooses. With `auto`, a device gets its native kernels if they load, else the reference; a backend
requested by name loads or is an error. Nothing is tried before the first drawing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch

from gsr_app.core import settings
from gsr_app.core.errors import BackendError
from gsr_app.core.types import BackendReport

_lock = threading.RLock()
_reports: dict[str, BackendReport] = {}
_failures: dict[str, BackendError] = {}


def load(device_type: str) -> BackendReport:
    """Load the fastest implementation for a device and report which it is. Tried once per process."""
    # Read without the lock: this runs at every drawing.
    if (report := _reports.get(device_type)) is not None:
        return report
    with _lock:
        if device_type in _failures:
            raise _failures[device_type]
        if device_type not in _reports:
            try:
                _reports[device_type] = _choose(device_type)
            except BackendError as error:
                _failures[device_type] = error
                raise
        return _reports[device_type]


def _choose(device_type: str) -> BackendReport:
    wanted = settings.backend()
    if wanted == "reference":
        return BackendReport("reference", reasons=("GSR_BACKEND=reference requests it",))
    if wanted in ("cpu", "cuda") and wanted != device_type:
        raise BackendError(
            f"GSR_BACKEND={wanted} cannot draw tensors on {device_type}.",
            hint=f"Choose the device {wanted}, or unset GSR_BACKEND.",
        )
    loader = _LOADERS.get(device_type)
    if loader is None:
        return BackendReport("reference", True, (f"there are no kernels for {device_type}",))
    try:
        loader(wanted != "auto")
    except Exception as error:
        if wanted != "auto":
            raise BackendError(
                f"GSR_BACKEND={wanted} does not load: {error}", hint=getattr(error, "hint", "")
            ) from error
        return BackendReport("reference", True, (f"{device_type} kernels: {error}",))
    return BackendReport(device_type)


def _load_cpu(is_forced: bool) -> None:
    from gsr_app.ops.build import cpu_library

    torch.ops.load_library(str(cpu_library(retry=is_forced)))


def _load_cuda(is_forced: bool) -> None:
    from gsr_app.ops import cuda

    cuda.register()


_LOADERS: dict[str, Callable[[bool], None]] = {"cpu": _load_cpu, "cuda": _load_cuda}

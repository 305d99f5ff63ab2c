"""Networks with their weights on a device, loaded once per process and shared by all sessions."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from gsr_app.core.errors import Cancelled
from gsr_app.core.types import Progress
from gsr_app.engine.cancellation import stop_if_cancelled
from gsr_app.models import checkpoint, registry, weights
from gsr_app.models.registry import Architecture, Method

_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A network with its weights on a device."""

    method: Method
    arch: Architecture
    module: nn.Module
    weights_id: str


_loaded: dict[tuple[Architecture, str, str], Loaded] = {}
_lock = threading.Lock()


def load(
    method: Method, device: torch.device, given: str | Path | None
) -> Generator[Progress, None, tuple[Loaded, bool]]:
    """The network of a method, and whether this call loaded it. Yields progress while weights are downloaded."""
    found = weights.find(method, given)
    if found is None:
        found = yield from _in_background(lambda report: weights.obtain(method, given, report))
    arch = registry.architecture(method.arch)
    key = (arch, found.id, str(device))
    with _lock:
        if key in _loaded:
            return _loaded[key], False
        module = prepare(checkpoint.load_files(registry.build(method.arch), found.files), arch, device)
        _loaded[key] = Loaded(method, arch, module, found.id)
        return _loaded[key], True


def prepare(module: Any, arch: Architecture, device: torch.device) -> nn.Module:
    """A network ready to run: fused, frozen, on its device, with checks for cancellation."""
    if hasattr(module, "fuse"):  # the same function in fewer layers
        module = module.fuse().eval()
    module = module.requires_grad_(False).to(device)
    if arch.channels_last:
        module = module.to(memory_format=torch.channels_last)
    for part in module.modules():
        part.register_forward_pre_hook(_stop_if_cancelled)
    return module


def forget_all() -> None:
    """Drop every loaded network."""
    with _lock:
        _loaded.clear()


def _stop_if_cancelled(_module: nn.Module, _inputs: Any) -> None:
    stop_if_cancelled()


def _in_background(work: Callable[[Callable[[Progress], None]], _Result]) -> Generator[Progress, None, _Result]:
    """Turn work that reports by a callback into a generator; closing it stops the work at its next report."""
    events: queue.Queue[Progress | None] = queue.Queue()
    outcome: list[Any] = []
    stopped = threading.Event()

    def report(progress: Progress) -> None:
        if stopped.is_set():
            raise Cancelled("Cancelled.")
        events.put(progress)

    def run() -> None:
        try:
            outcome.append(work(report))
        except BaseException as error:  # raised again by the generator
            outcome.append(error)
        events.put(None)

    threading.Thread(target=run, daemon=True).start()
    try:
        while (progress := events.get()) is not None:
            yield progress
            stop_if_cancelled()
    finally:
        stopped.set()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]

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
from gsr_app.models.weights import Weights

_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A network with its weights on a device."""

    method: Method
    arch: Architecture
    module: nn.Module
    weights_id: str  # names the bytes of the method's files
    blended_with: str = ""  # how much of which other weights is mixed in, at a strength below 1

    @property
    def id(self) -> str:
        """Names the exact weights."""
        return f"{self.weights_id} {self.blended_with}".strip()


_loaded: dict[tuple[Architecture, str, str], Loaded] = {}
_lock = threading.Lock()


def load(
    method: Method, device: torch.device, given: str | Path | None
) -> Generator[Progress, None, tuple[Loaded, bool]]:
    """The network of a method, and whether this call loaded it. Yields progress while weights are downloaded."""
    found = yield from _find(method, given)
    share = _share_of_plain(method)
    plain = (yield from _find(registry.method(method.blends_with), None)) if share else None
    arch = registry.architecture(method.arch)
    blended_with = _name_blend(share, plain)
    key = (arch, f"{found.id} {blended_with}", str(device))
    with _lock:
        if key in _loaded:
            return _loaded[key], False
        module = _assemble(method, found, plain)
        _loaded[key] = Loaded(method, arch, prepare(module, arch, device), found.id, blended_with)
        return _loaded[key], True


def obtain(method: Method, given: str | Path | None) -> tuple[nn.Module, str]:
    """The network of a method in the form of its weight files, at its strength if it has one; and what names them."""
    found, share = weights.obtain(method, given), _share_of_plain(method)
    plain = weights.obtain(registry.method(method.blends_with)) if share else None
    return _assemble(method, found, plain), f"{found.id} {_name_blend(share, plain)}".strip()


def _find(method: Method, given: str | Path | None) -> Generator[Progress, None, Weights]:
    found = weights.find(method, given)
    if found is None:
        found = yield from _in_background(lambda report: weights.obtain(method, given, report))
    return found


def _share_of_plain(method: Method) -> float:
    """The share of the weights that the method has at strength 0."""
    return 0.0 if method.strength is None else 1 - method.strength


def _name_blend(share: float, plain: Weights | None) -> str:
    return f"{share:.2f} {plain.id}" if plain else ""


def _assemble(method: Method, found: Weights, plain: Weights | None) -> nn.Module:
    module = checkpoint.load_files(registry.build(method.arch), found.files)
    if plain is not None:
        other = checkpoint.load_files(registry.build(method.arch), plain.files)
        _blend(module, other, _share_of_plain(method))
    return module


def _blend(module: nn.Module, other: nn.Module, share: float) -> None:
    """Move every weight by a share of the way to that of another network, of which this one was trained on."""
    own = module.state_dict()
    module.load_state_dict({name: torch.lerp(own[name], x, share) for name, x in other.state_dict().items()})


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

"""Cancelling work inside a network: a function per thread, which is called between layers."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gsr_app.core.errors import Cancelled

_running = threading.local()


class cancelling:  # noqa: N801  # used like a function: `with cancelling(cancel):`
    """In this block, work on this thread stops at the next layer after `cancel()` becomes true."""

    def __init__(self, cancel: Callable[[], bool] | None) -> None:
        self._cancel = cancel

    def __enter__(self) -> None:
        self._before = getattr(_running, "cancel", None)
        _running.cancel = self._cancel

    def __exit__(self, *_: object) -> None:
        _running.cancel = self._before


def stop_if_cancelled() -> None:
    cancel: Callable[[], bool] | None = getattr(_running, "cancel", None)
    if cancel is not None and cancel():
        raise Cancelled("Cancelled.")

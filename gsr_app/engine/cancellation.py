"""Cancelling work that is deep inside a network: a token that is set per thread and checked between layers."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gsr_app.core.errors import Cancelled

_running = threading.local()


class cancelling:  # noqa: N801  # reads as the phrase it opens: `with cancelling(token):`
    """Within it, work on this thread stops at the next layer once `cancel()` is true."""

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

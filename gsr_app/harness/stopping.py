"""Ctrl-C, without cutting anything in half."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_interrupt() -> Generator[Callable[[], bool]]:
    """Within it the first Ctrl-C only makes the token true, for work to end where it is whole; the second interrupts.

    An exception thrown into the middle of a native callback would get lost; a token cannot.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield asked.is_set
        return

    def ask(_signal: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)

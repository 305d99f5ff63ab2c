"""The lists of methods on the page, kept current: weights and methods come and go while the app runs.

Gradio describes its components once, when the app starts, and sends that to every page that is loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from gsr_app.ui.engine import Engine


class MethodLists:
    """What on the page depends on which methods there are and which of them are ready."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._describe: list[Callable[[], None]] = []
        self._known = self._state()
        self._lock = threading.Lock()

    def add(self, describe: Callable[[], None]) -> None:
        """`describe` describes a list again when that has changed."""
        self._describe.append(describe)

    def refresh(self) -> None:
        """Before a page is sent."""
        with self._lock:
            state = self._state()
            if state == self._known:
                return
            for describe in self._describe:
                describe()
            self._known = state

    def _state(self) -> object:
        methods = (*self._engine.methods, *self._engine.video_methods)
        return [(method, self._engine.availability(method)) for method in methods]

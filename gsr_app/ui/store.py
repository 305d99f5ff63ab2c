"""A bounded store: what the app keeps for its visitors between two requests."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from gsr_app.core.errors import InvalidArgument

T = TypeVar("T")


class BoundedStore(Generic[T]):
    """At most `limit` values by key. When it is full, the value that was stored longest ago is dropped."""

    def __init__(self, limit: int, *, missing: str = "This is not known here.", hint: str = "") -> None:
        self._values: OrderedDict[str, T] = OrderedDict()
        self._limit = limit
        self._missing, self._hint = missing, hint
        self._lock = threading.Lock()

    def put(self, value: T, key: str = "") -> str:
        """Store a value and return its key; without one it gets a key that cannot be guessed."""
        key = key or secrets.token_urlsafe(18)
        self.change(key, lambda _: value)
        return key

    def change(self, key: str, change: Callable[[T | None], T]) -> None:
        """Replace a value by a function of the old one (None if there is none), without another thread in between."""
        with self._lock:
            self._values[key] = change(self._values.get(key))
            self._values.move_to_end(key)
            while len(self._values) > self._limit:
                self._values.popitem(last=False)

    def find(self, key: object) -> T | None:
        """The value of a key, or None. The key may be anything that a request contained."""
        with self._lock:
            return self._values.get(key) if isinstance(key, str) else None

    def get(self, key: object) -> T:
        """The value of a key; an error with the store's own message if there is none."""
        value = self.find(key)
        if value is None:
            raise InvalidArgument(self._missing, hint=self._hint)
        return value

    def drop(self, key: str) -> None:
        """Forget a value, if there is one."""
        with self._lock:
            self._values.pop(key, None)

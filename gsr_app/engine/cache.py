"""A cache of results by key, limited in bytes; the least recently used entries are evicted first."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, cast

import numpy as np


class ByteLru:
    """A thread-safe cache limited in bytes, not entries: one field can be as large as a thousand others."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._entries: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._bytes = 0

    @property
    def used_bytes(self) -> int:
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Any | None:
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: str, value: Any) -> None:
        """Store a value. One that is larger than the whole cache is not stored and evicts nothing."""
        size = weigh(value)
        with self._lock:
            self._drop(key)
            if size > self.limit_bytes:
                return
            self._entries[key] = (value, size)
            self._bytes += size
            while self._bytes > self.limit_bytes:
                self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def _drop(self, key: str) -> None:
        if key in self._entries:
            self._bytes -= self._entries.pop(key)[1]


def weigh(value: Any) -> int:
    """The bytes of all arrays and tensors in a value, however nested."""
    if hasattr(value, "nbytes"):
        return int(value.nbytes)
    if isinstance(value, Mapping):
        return sum(weigh(one) for one in cast("Mapping[Any, Any]", value).values())
    if isinstance(value, list | tuple):
        return sum(weigh(one) for one in cast("list[Any]", value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return sum(weigh(getattr(value, one.name)) for one in dataclasses.fields(value))
    return 0


def fingerprint(array: np.ndarray) -> str:
    """A hash of the pixels, shape and dtype of an image."""
    digest = hashlib.blake2b(f"{array.shape}{array.dtype}".encode(), digest_size=12)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()

"""What is remembered stays within its bytes, and names what it was made from."""

from __future__ import annotations

import numpy as np
import torch

from gsr_app.core.types import GaussianField
from gsr_app.engine.cache import ByteLru, fingerprint, weigh


def test_the_least_recently_used_leaves_first() -> None:
    cache = ByteLru(2500)
    for name in "abc":
        cache.put(name, np.zeros(1000, np.uint8))
        cache.get("a")
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert cache.get("c") is not None
    assert cache.used_bytes == 2000


def test_what_is_larger_than_the_cache_drives_nothing_out() -> None:
    cache = ByteLru(1500)
    cache.put("a", np.zeros(1000, np.uint8))
    cache.put("b", np.zeros(2000, np.uint8))
    assert cache.get("a") is not None
    assert cache.get("b") is None


def test_putting_again_replaces() -> None:
    cache = ByteLru(5000)
    cache.put("a", np.zeros(1000, np.uint8))
    cache.put("a", np.zeros(400, np.uint8))
    assert (cache.used_bytes, len(cache)) == (400, 1)
    cache.clear()
    assert (cache.used_bytes, len(cache)) == (0, 0)


def test_every_array_in_a_value_counts() -> None:
    field = GaussianField(torch.zeros(5, 2), torch.ones(5, 2), torch.zeros(5), torch.zeros(5, 3), (2, 2))
    assert weigh(field) == 5 * 8 * 4
    assert weigh({"a": [field, np.zeros(3, np.uint16)], "b": (None, "text", 3)}) == 166


def test_a_fingerprint_tells_pixels_shapes_and_kinds_apart() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    others = [image.reshape(3, 2, 4), image.astype(np.uint16), image + 1, image[:, :, :3]]
    assert len({fingerprint(one) for one in [image, *others]}) == 5
    assert fingerprint(image) == fingerprint(np.asfortranarray(image))

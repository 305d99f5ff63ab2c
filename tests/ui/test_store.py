"""The bounded store: keys that cannot be guessed, and nothing kept beyond the limit."""

from __future__ import annotations

import threading

import pytest

from gsr_app.core.errors import InvalidArgument
from gsr_app.ui.store import BoundedStore


def test_the_value_stored_longest_ago_is_dropped() -> None:
    store: BoundedStore[int] = BoundedStore(2)
    store.put(1, "a")
    store.put(2, "b")
    store.put(3, "a")  # stored again: now "b" is the oldest
    store.put(4, "c")
    assert [store.find(key) for key in "abc"] == [3, None, 4]


def test_keys_of_their_own_differ_and_are_long() -> None:
    store: BoundedStore[int] = BoundedStore(100)
    keys = {store.put(number) for number in range(50)}
    assert len(keys) == 50
    assert min(map(len, keys)) >= 24


@pytest.mark.parametrize("key", ["unknown", None, 3, ["a"], {}])
def test_an_unknown_key_of_any_kind_is_an_error_with_the_stores_own_words(key: object) -> None:
    store: BoundedStore[int] = BoundedStore(2, missing="No such field.", hint="Encode it again.")
    store.put(1, "a")
    with pytest.raises(InvalidArgument, match="No such field") as raised:
        store.get(key)
    assert raised.value.hint == "Encode it again."


def test_changes_by_several_threads_lose_nothing() -> None:
    store: BoundedStore[int] = BoundedStore(2)

    def count() -> None:
        for _ in range(500):
            store.change("n", lambda old: (old or 0) + 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("n") == 2000

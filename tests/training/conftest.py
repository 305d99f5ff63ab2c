"""The small network is there while the tests of a file run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gsr_app.models import registry
from tests.training.small import SMALL, register_small


@pytest.fixture(autouse=True, scope="module")
def small_network() -> Iterator[None]:
    register_small()
    yield
    registry.unregister(SMALL)

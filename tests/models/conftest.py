"""Fixtures of the tests of models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sites import Site, open_site


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """A web server that is the hub, too; with an empty cache."""
    with open_site() as found:
        monkeypatch.setenv("GSR_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_ENDPOINT", found.address)
        for name in ("GSR_WEIGHTS_DIR", "GSR_OFFLINE", "HF_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield found

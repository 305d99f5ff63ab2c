"""The tests' engine has every member of the protocol, with the same parameters."""

from __future__ import annotations

import inspect

import pytest

from gsr_app.ui.engine import Engine, LocalEngine
from tests.browser.fake_engine import FakeEngine

MEMBERS = sorted(name for name in vars(Engine) if not name.startswith("_"))


@pytest.mark.parametrize("kind", [FakeEngine, LocalEngine])
@pytest.mark.parametrize("name", MEMBERS)
def test_engines_have_the_members_of_the_protocol(kind: type, name: str) -> None:
    asked, given = getattr(Engine, name), getattr(kind, name)
    if isinstance(asked, property):
        assert isinstance(given, property)
    else:
        assert list(inspect.signature(given).parameters) == list(inspect.signature(asked).parameters)

"""The tests' engine overrides members of the app's engine, with the same parameters."""

from __future__ import annotations

import inspect

import pytest

from gsr_app.ui.engine import Engine
from tests.browser.fake_engine import FakeEngine

OVERRIDDEN = sorted(name for name in vars(FakeEngine) if not name.startswith("_"))


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_the_fake_engine_has_the_parameters_of_the_real_one(name: str) -> None:
    real, fake = getattr(Engine, name), getattr(FakeEngine, name)
    if isinstance(real, property):
        assert isinstance(fake, property)
    else:
        assert list(inspect.signature(fake).parameters) == list(inspect.signature(real).parameters)

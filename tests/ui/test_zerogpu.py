"""ZeroGPU, with a replacement for its package: work in another process, and results that carry their fields."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gsr_app.core.errors import Cancelled
from gsr_app.core.types import Progress, Scale, Upscaled, View
from gsr_app.ui import zerogpu
from gsr_app.ui.engine import Engine


@pytest.fixture
def gpu_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A `spaces` whose GPU calls send every argument and answer through pickle, as the real one does."""
    asked: list[Any] = []

    def gpu(duration: Any) -> Any:
        def decorate(work: Any) -> Any:
            def call(*arguments: Any) -> Iterator[Any]:
                asked.append(duration(*arguments))
                for event in pickle.loads(pickle.dumps(work))(*pickle.loads(pickle.dumps(arguments))):
                    yield pickle.loads(pickle.dumps(event))

            return call

        return decorate

    module = types.ModuleType("spaces")
    module.GPU = gpu  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spaces", module)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    zerogpu.run_on_gpu.cache_clear()
    yield asked
    zerogpu.run_on_gpu.cache_clear()


def test_the_field_of_another_process_can_be_drawn_in_this_one(gpu_calls: list[Any]) -> None:
    engine = Engine()
    if not engine.availability(next(m for m in engine.methods if m.id == "swift")).here:
        pytest.skip("needs the weights of swift")
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    *steps, last = engine.stream(image, method="swift", scale=Scale(2, 2), cancel=lambda: False)
    assert all(isinstance(step, Progress) for step in steps)
    assert isinstance(last, Upscaled)
    assert last.field is not None
    assert gpu_calls == [15]
    drawn = engine.render(last.field, View.whole((24, 32), Scale(2, 2))).image
    as_made = np.asarray(last.image).astype(float) / 255
    assert np.abs(np.clip(np.asarray(drawn, dtype=float), 0, 1) - as_made).max() < 1.5 / 255
    assert len(engine.field(last.field)) == last.field.count


def test_a_run_on_the_gpu_can_be_stopped(gpu_calls: list[Any]) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(Cancelled):
        list(Engine().stream(image, method="bicubic", scale=Scale(2, 2), cancel=lambda: True))


def test_the_requested_time_grows_with_the_work() -> None:
    small, large = np.zeros((100, 100, 3), np.uint8), np.zeros((2000, 3000, 3), np.uint8)
    assert zerogpu.duration_s(small, "bicubic", Scale(2, 2)) == 15
    assert 15 < zerogpu.duration_s(large, "swift", Scale(2, 2)) <= 120


def test_without_the_package_it_runs_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    monkeypatch.setitem(sys.modules, "spaces", None)
    zerogpu.run_on_gpu.cache_clear()
    assert not zerogpu.is_active()
    assert zerogpu.run_on_gpu() is zerogpu.run
    zerogpu.run_on_gpu.cache_clear()

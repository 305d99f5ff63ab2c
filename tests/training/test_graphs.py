"""Gradients by recorded work. Recording itself needs a GPU: here the work is done again on the same memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gsr_app.core.errors import BackendError
from gsr_app.models import registry
from gsr_app.models.registry import Architecture, Method
from gsr_app.ops import cuda
from gsr_app.training.data import Batch, Targets
from gsr_app.training.graphs import GradientGraphs
from gsr_app.training.loop import Trainer
from gsr_app.training.recipe import Data, Recipe, Schedule, Validation

CPU = torch.device("cpu")


def make_batch(value: float, side: int = 4) -> Batch:
    lr = torch.full((2, 3, 2, 2), value)
    return Batch(lr, (Targets(torch.full((2, 3, side, side), 2 * value), (0, 1)),))


class Recorder:
    def __init__(self, fails: Exception | None = None) -> None:
        self.recorded, self.repeated, self.fails = 0, 0, fails

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        if self.fails:
            raise self.fails
        self.recorded += 1

        def repeat() -> None:
            self.repeated += 1
            work()

        return repeat


def make_graphs(recorder: Recorder) -> tuple[GradientGraphs, Tensor]:
    weight = torch.tensor(3.0, requires_grad=True)

    def measure(batch: Batch) -> Tensor:
        return weight * batch.lr.mean() + batch.targets[0].hr.mean()

    return GradientGraphs(measure, [weight], recorder), weight


def test_each_set_of_sizes_is_recorded_once_and_repeated_on_new_batches() -> None:
    recorder = Recorder()
    graphs, weight = make_graphs(recorder)
    for value, side in ((1.0, 4), (2.0, 4), (5.0, 6), (4.0, 4)):
        loss = graphs.find(make_batch(value, side))
        assert loss.item() == 3 * value + 2 * value
        assert weight.grad is not None
        assert weight.grad.item() == value
    assert (recorder.recorded, recorder.repeated, graphs.reason) == (2, 4, "")


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted\nwhen capturing"), BackendError("too early")])
def test_what_cannot_be_recorded_is_done_plainly_and_the_reason_kept(error: Exception) -> None:
    graphs, weight = make_graphs(Recorder(error))
    assert graphs.find(make_batch(2.0)).item() == 10
    assert weight.grad is not None
    assert weight.grad.item() == 2
    assert graphs.reason in {"RuntimeError: operation not permitted", "BackendError: too early"}


def test_too_many_sizes_are_not_recorded() -> None:
    recorder = Recorder()
    graphs, _ = make_graphs(recorder)
    for side in range(1, 40):
        assert graphs.find(make_batch(1.0, side)).item() == 5
    assert recorder.recorded == 32
    assert "32 different sizes" in graphs.reason


def test_graphs_whose_pairs_lacked_room_are_recorded_again_with_more(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    graphs, _ = make_graphs(recorder)
    monkeypatch.setattr(cuda.reserve, "margin", 2.0)
    graphs.find(make_batch(1.0))
    assert not graphs.grow_if_lacking()
    cuda.reserve.lacking(CPU).fill_(7)
    assert graphs.grow_if_lacking()
    assert cuda.reserve.margin == 3.0
    assert cuda.reserve.lacking(CPU).item() == 0
    graphs.find(make_batch(1.0))
    assert recorder.recorded == 2


def test_weights_that_a_network_does_not_use_or_does_not_train_are_left_as_they_are(tmp_path: Path) -> None:
    class Partly(torch.nn.Conv2d):
        def __init__(self) -> None:
            super().__init__(3, 12, 3, padding=1)
            self.unused = torch.nn.Parameter(torch.ones(2))
            self.fixed = torch.nn.Parameter(torch.ones(2), requires_grad=False)

        def forward(self, input: Tensor) -> Tensor:
            return torch.nn.functional.pixel_shuffle(super().forward(input), 2)

    arch = Architecture("partly", Partly, "pixels", native_scale=2)
    registry.register(Method("partly", "partly", "own", "pixels", "MIT"), arch)
    try:
        data = Data(patch_px=8, batch=2, scales=(2.0, 2.0))
        recipe = Recipe("partly", data=data, schedule=Schedule(steps=2), validation=Validation(every=0))
        trainer = Trainer(recipe, [torch.randint(0, 256, (3, 20, 20), dtype=torch.uint8)], [], tmp_path)
        trainer.use_graphs()
        assert len(list(trainer.run())) > 0
    finally:
        registry.unregister("partly")
    assert trainer.step == 2
    assert trainer.module.get_parameter("unused").tolist() == trainer.module.get_parameter("fixed").tolist() == [1, 1]

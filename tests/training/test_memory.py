"""What a step needs, known before it is taken, and batches that are split because they do not fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gsr_app.harness import train
from gsr_app.training import loop
from gsr_app.training.data import Batch, Targets
from gsr_app.training.loop import Trainer
from gsr_app.training.memory import choose_parts, split_batch
from gsr_app.training.recipe import Data, Recipe, Schedule, Validation

from .test_train_command import parse


def make_pictures(count: int = 2, side: int = 60) -> list[Tensor]:
    random = torch.Generator().manual_seed(3)
    return [torch.randint(0, 256, (3, side, side), generator=random, dtype=torch.uint8) for _ in range(count)]


def make_recipe(arch: str = "swift", batch: int = 5) -> Recipe:
    data = Data(patch_px=12, batch=batch, scales=(1.5, 4.0), scale_per="patch")
    return Recipe(
        arch, data=data, loss={"charbonnier": 1.0, "luma": 0.5}, schedule=Schedule(2), validation=Validation(0)
    )


def test_the_gradients_of_a_split_batch_are_those_of_the_whole(tmp_path: Path) -> None:
    found: list[tuple[Tensor, Tensor]] = []
    for parts in (1, 2, 5):
        trainer = Trainer(make_recipe(), make_pictures(), [], tmp_path)
        trainer.parts = parts
        loss = trainer._find_gradients(5)
        found.append(
            (
                loss,
                torch.cat([weight.grad.flatten() for weight in trainer.module.parameters() if weight.grad is not None]),
            )
        )
    (loss, gradient), *others = found
    assert gradient.abs().max() > 0
    for other_loss, other in others:
        assert other_loss.item() == pytest.approx(loss.item(), rel=1e-6)
        assert (other - gradient).norm() <= 1e-5 * gradient.norm()


def test_a_part_holds_the_targets_of_its_patches() -> None:
    lr = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 2, 2)
    twice = Targets(lr.repeat_interleave(2, 2), (0, 1, 2), 0.5)
    once = Targets(lr[2:] + 10, (2,), 2.0)
    (first, share), (second, rest) = split_batch(Batch(lr, (twice, once)), 2)
    assert share + rest == 1
    assert share == pytest.approx(2 * 0.5 / (3 * 0.5 + 2.0))
    assert [one.of for one in first.targets] == [(0, 1)]
    assert [(one.of, one.weight) for one in second.targets] == [((0,), 0.5), ((0,), 2.0)]
    assert second.targets[1].hr[0, 0, 0, 0] == 12


@pytest.mark.parametrize(("free", "parts"), [(10_000, 1), (600, 2), (240, 6), (10, 6)])
def test_a_batch_is_split_into_as_many_parts_as_memory_requires(free: int, parts: int) -> None:
    assert choose_parts(6, patch_bytes=100, fixed_bytes=50, free_bytes=free) == parts


def test_what_a_step_needs_is_foretold(tmp_path: Path) -> None:
    small = Trainer(make_recipe(batch=8), make_pictures(), [], tmp_path)
    needs = [small.fit_into(8 << 30)]
    small.recipe = dataclasses.replace(small.recipe, data=dataclasses.replace(small.recipe.data, patch_px=24))
    needs.append(small.fit_into(8 << 30))
    one, four = (step_bytes for step_bytes in needs if step_bytes is not None)
    # 21 layers of 40 channels are kept in float32, for 8 patches of 12x12 pixels; and a third more at the peak
    least = 8 * 12 * 12 * 21 * 40 * 4
    fixed = one - (four - one) / 3  # the rest grows with the area
    assert 1.3 * least < one - fixed < 4 * least
    assert fixed == pytest.approx(5 * 4 * 286_200, abs=10), "weights, gradients, averages and the moments of Adam"


def test_a_step_that_runs_out_of_memory_is_split_and_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(make_recipe(), make_pictures(), [], tmp_path)
    measure, sizes = trainer._measure_batch, list[int]()

    def measure_a_few(batch: Batch) -> Tensor:
        sizes.append(len(batch.lr))
        if len(batch.lr) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return measure(batch)

    monkeypatch.setattr(trainer, "_measure_batch", measure_a_few)
    assert torch.isfinite(trainer._find_gradients(5))
    assert trainer.parts == 4
    assert sizes == [5, 3, 2, 2, 1]


def test_a_run_says_at_once_what_it_does_and_after_a_step_how_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gsr_app.training.pack import write_pack

    write_pack(tmp_path / "a.pack", [{"picture": picture} for picture in make_pictures(side=120)])
    words = ["swift", "--data", str(tmp_path / "a.pack"), "--out", str(tmp_path / "run"), "--device", "cpu"]
    monkeypatch.setattr(loop, "_SHOW_EVERY_S", 0.0)
    monkeypatch.setattr("gsr_app.engine.devices.free_bytes", lambda device: 55_000_000)
    assert train.run(parse(*words, "--batch", "4", "--steps", "3")) == 0
    said = capsys.readouterr()
    first, second = said.err.splitlines()[:2]
    assert first.startswith("Training swift by the recipe swift: 3 steps of 4 patches of 48x48 at x1.2 to x8. Reading ")
    assert second.startswith("286,200 weights on cpu. A step needs about 0.0")
    assert " of 0.055 GB that are free, in " in second
    assert second.endswith(" parts whose gradients are added.")
    assert [line.split()[1] for line in said.out.splitlines() if line.startswith("step")] == ["1/3", "2/3", "3/3"]
    assert all(" left" in line for line in said.out.splitlines() if line.startswith("step"))

"""The recipes of the networks that answer in pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gsr_app.models.registry import architecture
from gsr_app.models.rgt import RGT, RGTConfig
from gsr_app.training import loop
from gsr_app.training.loop import Trainer
from gsr_app.training.recipe import Data, Recipe, Schedule, Validation, find_recipe, read_recipe


@pytest.mark.parametrize("name", ["rt4ksr", pytest.param("rgt", marks=pytest.mark.slow)])
def test_a_recipe_trains_its_network_at_its_one_scale(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(find_recipe(name))
    native = architecture(recipe.arch).native_scale
    assert recipe.data.scales == (native, native)
    assert recipe.validation.scales == (native,)
    few = replace(
        recipe,
        data=replace(recipe.data, patch_px=16, batch=1),
        schedule=replace(recipe.schedule, steps=2),
        validation=replace(recipe.validation, every=0),
    )
    pictures = [torch.randint(0, 256, (3, 40, 40), dtype=torch.uint8)]
    trainer = Trainer(few, pictures, [], tmp_path)
    before = [weight.detach().clone() for weight in trainer.module.parameters()]
    for _ in trainer.run():
        pass
    assert trainer.step == 2
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.module.parameters(), strict=True))
    # Without averaging the exported weights are the trained ones.
    for one, other in zip(trainer.average.parameters(), trainer.module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_recipe_of_rgt_is_the_published_one() -> None:
    recipe = read_recipe(find_recipe("rgt"))
    steps = [recipe.schedule.steps * fraction for fraction in recipe.schedule.halve_at]
    assert steps == [250_000, 400_000, 450_000, 475_000]
    assert (recipe.arch, recipe.seed, recipe.data.batch, recipe.optimizer.rate) == ("rgt-x2", 10, 32, 2e-4)


def test_the_rate_of_rt4ksr_ends_where_its_checkpoint_says() -> None:
    from gsr_app.training.optim import rate_factor

    recipe = read_recipe(find_recipe("rt4ksr"))
    final = recipe.optimizer.rate * rate_factor(recipe.schedule.steps - 1, 0.999, recipe.schedule)
    assert final == pytest.approx(3.125e-5)
    assert recipe.schedule.steps == 100 * 2424


def test_a_network_that_drops_branches_at_random_goes_on_as_an_unbroken_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RGTConfig(scale=2, groups=1, blocks=2, channels=8, heads=2, window=(8, 16), drop_path=0.5)
    small = replace(architecture("rgt-x2"), build=lambda: RGT(config=config))
    monkeypatch.setattr(loop, "architecture", lambda _: small)
    data = Data(patch_px=16, batch=2, scales=(2.0, 2.0))
    recipe = Recipe("rgt-x2", data=data, schedule=Schedule(steps=6), validation=Validation(every=0))
    pictures = [torch.randint(0, 256, (3, 40, 40), dtype=torch.uint8)]

    def run(out: Path, stop_at: int | None, *, resume: bool = False) -> dict[str, torch.Tensor]:
        trainer = Trainer(recipe, pictures, [], out)
        if resume:
            trainer.resume()
        for _ in trainer.run(stop=lambda: trainer.step == stop_at):
            pass
        return trainer.module.state_dict()

    unbroken = run(tmp_path / "unbroken", None)
    run(tmp_path / "cut", 3)
    torch.rand(7)  # anything else that the process may do meanwhile
    for name, value in run(tmp_path / "cut", None, resume=True).items():
        assert torch.equal(value, unbroken[name]), name

"""The recipes of the networks that a fit starts from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gsr_app.core.errors import ImageError
from gsr_app.harness import cli
from gsr_app.io.images import Picture, write_image
from gsr_app.models import registry
from gsr_app.models.initnet import InitNet, InitNetConfig
from gsr_app.training import loop, starts
from gsr_app.training.recipe import find_recipe, read_recipe
from gsr_app.training.starts import FittedPicture, StartTrainer, draw_crop, find_fits

GOLDEN = Path(__file__).parents[1] / "golden" / "instantgi"
SMALL = InitNetConfig(depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), stem=8, features=8)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def fits(tmp_path: Path) -> Path:
    """A picture as the command fits and keeps it."""
    y, x = np.mgrid[:48, :64] / 64
    rgb = np.stack([x, y, ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.05) * 0.8], 2)
    write_image(tmp_path / "disc.png", Picture((rgb * 255).astype(np.uint8)))
    words = ["fit", str(tmp_path / "disc.png"), "--gaussians", "250", "--steps", "40", "--keep-all"]
    (tmp_path / "fits").mkdir()
    assert cli.main([*words, "--out", str(tmp_path / "fits" / "disc.gsr")]) == 0
    return tmp_path / "fits"


def test_losses_are_the_published_ones() -> None:
    z = {name: torch.tensor(value) for name, value in np.load(GOLDEN / "initnet_losses.npz").items()}
    torch.testing.assert_close(starts.cost_of_map(z["pf_pred"], z["pf_gt"]), z["focal_mse"], rtol=1e-5, atol=0)
    found = starts.cost_of_picture(z["pred"], z["gt"], z["pf_pred"])
    torch.testing.assert_close(found, z["rgb_loss"], rtol=1e-5, atol=0)
    torch.testing.assert_close(10 * starts.cost_of_scaling(z["scaling"]), z["scaling_loss"], rtol=1e-5, atol=0)


def test_initnet_trains_for_real_steps_and_goes_on(fits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(registry.architecture("initnet"), build=lambda: InitNet(config=SMALL))
    monkeypatch.setattr(loop, "architecture", lambda _: small)
    recipe = read_recipe(find_recipe("initnet"))
    few = replace(recipe, schedule=replace(recipe.schedule, steps=12), validation=replace(recipe.validation, every=6))
    found = find_fits(fits)
    trainer = StartTrainer(few, found, found, tmp_path / "run")
    statuses = list(trainer.run(stop=lambda: trainer.step == 6))
    again = StartTrainer(few, found, found, tmp_path / "run")
    again.resume()
    statuses += list(again.run())
    assert [status.step for status in statuses if status.scores] == [6, 12]
    assert statuses[-1].loss < statuses[0].loss
    for name, weight in again.module.named_parameters():
        assert weight.isfinite().all(), name


def test_the_command_trains_quickstart_on_what_fits_have_kept(fits: Path, tmp_path: Path) -> None:
    words = ["train", "quickstart", "--data", str(fits), "--steps", "20", "--out", str(tmp_path / "run")]
    assert cli.main([*words, "--device", "cpu"]) == 0
    trained = str(tmp_path / "run" / "final.safetensors")
    command = ["fit", str(tmp_path / "disc.png"), "--weights", trained, "--gaussians", "100", "--steps", "5"]
    assert cli.main([*command, "--out", str(tmp_path / "own.gsr")]) == 0
    with pytest.raises(ImageError, match="no fitted pictures"):
        find_fits(tmp_path / "run")


def test_a_turned_part_keeps_its_gaussians_where_they_were(fits: Path) -> None:
    fit = FittedPicture(fits / "disc")
    image = fit.read()
    mean = torch.tensor([[20.0, 17.0], [31.0, 25.0]])
    marked = image.clone()
    marked[:, 17, 20], marked[:, 25, 31] = 7.0, 9.0
    for seed in range(8):
        part, at, _ = draw_crop(marked, mean, torch.zeros(2, 3), 48, np.random.default_rng(seed))
        for (x, y), value in zip(at.long().tolist(), (7, 9), strict=True):
            if 0 <= x < part.shape[2] and 0 <= y < part.shape[1]:
                assert part[0, y, x] == value


def test_a_crop_without_gaussians_moves_nothing(tmp_path: Path) -> None:
    class Dark(FittedPicture):
        def read(self) -> torch.Tensor:
            return torch.zeros(3, 160, 160)

        def read_gaussians(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            return torch.zeros(0, 2), torch.zeros(0, 3), torch.zeros(0)

    recipe = read_recipe(find_recipe("quickstart"))
    few = replace(
        recipe,
        schedule=replace(recipe.schedule, steps=2),
        validation=replace(recipe.validation, every=2),
        optimizer=replace(recipe.optimizer, weight_decay=0.0),
    )
    trainer = StartTrainer(few, [Dark(tmp_path)], [Dark(tmp_path)], tmp_path / "run")
    before = [weight.detach().clone() for weight in trainer.module.parameters()]
    statuses = list(trainer.run())
    assert statuses[-1].loss == 0
    for weight, old in zip(trainer.module.parameters(), before, strict=True):
        assert torch.equal(weight, old)

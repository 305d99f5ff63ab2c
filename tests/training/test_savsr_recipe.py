"""The recipe of the network for clips."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gsr_app.core.errors import ImageError, InvalidArgument
from gsr_app.core.types import Scale
from gsr_app.engine.protocols import shrink_frames
from gsr_app.harness import cli
from gsr_app.io.images import Picture, write_image
from gsr_app.models import registry
from gsr_app.models.registry import Architecture
from gsr_app.models.savsr import SAVSR, SAVSRConfig
from gsr_app.training import loop
from gsr_app.training.clips import Clip, Windows, find_clips
from gsr_app.training.loop import Trainer
from gsr_app.training.optim import rate_factor
from gsr_app.training.recipe import find_recipe, read_recipe

SMALL = SAVSRConfig(channels=16, window_blocks=2, fusion_blocks=1, groups=1, blocks=1)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def vimeo(tmp_path: Path) -> Path:
    """Two septuplets in Vimeo-90K's layout; a frame's red says which it is."""
    y, x = np.mgrid[:40, :48]
    for clip in range(2):
        folder = tmp_path / "vimeo" / "sequences" / "00001" / f"{clip + 1:04d}"
        folder.mkdir(parents=True)
        for t in range(7):
            frame = np.stack([x * 0 + 30 * (t + 1), 5 * x + t, 6 * y - clip * y], axis=-1).clip(0, 255)
            write_image(folder / f"im{t + 1}.png", Picture(frame.astype(np.uint8)))
    return tmp_path / "vimeo"


def shortened() -> Architecture:
    return replace(registry.architecture("savsr"), build=lambda: SAVSR(config=SMALL))


def test_it_trains_for_real_steps_and_goes_on_where_it_was(
    vimeo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "architecture", lambda _: shortened())
    recipe = read_recipe(find_recipe("savsr"))
    few = replace(
        recipe,
        data=replace(recipe.data, patch_px=8, batch=2),
        schedule=replace(recipe.schedule, steps=12),
        optimizer=replace(recipe.optimizer, rate=1e-3),
        validation=replace(recipe.validation, every=6, scales=(2.0,)),
    )
    clips = find_clips(vimeo, 7)

    def start() -> Trainer:
        return Trainer(few, clips, clips[:1], tmp_path / "run")

    trainer = start()
    statuses = list(trainer.run(stop=lambda: trainer.step == 6))
    again = start()
    again.resume()
    assert again.step == 6
    statuses += list(again.run())
    assert again.step == 12
    assert [status.step for status in statuses if status.scores] == [6, 12]
    assert all(np.isfinite(status.loss) for status in statuses)
    assert statuses[-1].loss < statuses[0].loss
    for name, weight in again.module.named_parameters():
        assert weight.isfinite().all(), name


def test_the_command_trains_from_a_folder_of_clips(
    vimeo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "architecture", lambda _: shortened())
    recipe = (
        find_recipe("savsr").read_text().replace("patch_px = 60", "patch_px = 8").replace("batch = 32", "batch = 2")
    )
    path = tmp_path / "small.toml"
    path.write_text(recipe.replace("scales = [2.0, 3.0, 4.0]", "scales = [2.0]"))
    words = ["train", str(path), "--data", str(vimeo), "--steps", "2", "--out", str(tmp_path / "run")]
    assert cli.main([*words, "--device", "cpu"]) == 0
    assert (tmp_path / "run" / "final.safetensors").is_file()


def test_a_window_is_seven_frames_in_order_or_reversed_and_the_middle_is_the_answer(vimeo: Path) -> None:
    data = replace(read_recipe(find_recipe("savsr")).data, patch_px=8, easy_epochs=0)
    windows = Windows(find_clips(vimeo, 7), data)
    orders: Counter[str] = Counter()
    for step in range(12):
        batch = windows.draw(1, step, 0, count=2)
        assert batch.lr.shape == (2, 7, 3, 8, 8)
        (targets,) = batch.targets
        for lr, hr in zip(batch.lr, targets.hr, strict=True):
            reds = (lr[:, 0].mean((1, 2)) * 255 / 30).round().int().tolist()
            assert reds in ([1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1])
            orders["forwards" if reds[0] == 1 else "backwards"] += 1
            scale = Scale(hr.shape[1] / 8, hr.shape[2] / 8)
            torch.testing.assert_close(shrink_frames(hr[None], scale)[0], lr[3])
    assert min(orders.values()) > 4


def test_the_same_step_gives_the_same_windows_and_a_team_one_scale(vimeo: Path) -> None:
    windows = Windows(find_clips(vimeo, 7), replace(read_recipe(find_recipe("savsr")).data, patch_px=8))
    one, again, other = (windows.draw(3, 5, rank, count=2) for rank in (0, 0, 1))
    assert torch.equal(one.lr, again.lr)
    assert not torch.equal(one.lr, other.lr)
    assert one.targets[0].hr.shape == other.targets[0].hr.shape


def test_scales_follow_the_curriculum() -> None:
    data = read_recipe(find_recipe("savsr")).data
    windows = Windows([Clip((Path("none"),) * 7)], data)
    rng = np.random.default_rng(0)

    def at(epoch: int) -> set[Scale]:
        return {windows.draw_scale(rng, epoch * data.epoch_steps) for _ in range(3000)}

    assert at(0) == at(13) == {Scale(4, 4)}
    assert at(4) == at(235) == {Scale(2, 2), Scale(3, 3), Scale(4, 4)}
    assert len(at(6)) == len(at(9)) == len(at(240)) == 60
    assert sum(scale.is_uniform for scale in at(300)) == 30
    assert all(float(60 * side).is_integer() for scale in at(300) for side in (round(scale.y, 6), round(scale.x, 6)))


def test_the_rate_restarts_three_times_at_half() -> None:
    recipe = read_recipe(find_recipe("savsr"))
    factors = [rate_factor(0, progress, recipe.schedule) for progress in (0, 0.125, 0.2499, 0.25, 0.375, 0.5, 0.75)]
    assert factors == pytest.approx([1, 0.5, 0, 0.5, 0.25, 0.5, 0.5], abs=1e-5)
    assert recipe.schedule.steps == 4 * 300_000


def test_clips_that_cannot_serve_are_refused(vimeo: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="at least 8 frames"):
        find_clips(vimeo, 8)
    data = read_recipe(find_recipe("savsr")).data
    with pytest.raises(InvalidArgument, match="too small for a patch"):
        Windows(find_clips(vimeo, 7), data).draw(0, 0, 0, count=1)


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = [f"frame{number}.png" for number in range(1, 13)]
    for name in reversed(names):
        (tmp_path / name).touch()
    (clip,) = find_clips(tmp_path, 7)
    assert [path.name for path in clip.frames] == names

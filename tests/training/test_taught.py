"""Targets that a teacher made: the tiles, the patches of them, and training on them."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gsr_app.core.errors import InvalidArgument
from gsr_app.harness.cli import main
from gsr_app.models.registry import build
from gsr_app.ops.resize import resize
from gsr_app.training import losses
from gsr_app.training.data import Patches, Share, choose_held_out, find_pictures, load_shares
from gsr_app.training.drawn import draw_grid, draw_text
from gsr_app.training.held import hold
from gsr_app.training.loop import Trainer
from gsr_app.training.pack import Pack, write_pack
from gsr_app.training.recipe import Data, Schedule, Validation, find_recipe, read_recipe
from gsr_app.training.teach import Pool, teach
from tests.training.small import draw_pictures, small_recipe


class Nearest(nn.Module):
    """A teacher whose answers are known: every pixel repeated."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, lr: Tensor) -> Tensor:
        return F.interpolate(lr, scale_factor=self.scale, mode="nearest")


TEACHERS = {scale: Nearest(scale) for scale in (2, 3)}
SMALL = Pool(tile_px=20, shrink=(1.2, 2.0), drawn_share=0.3, drawn_px=64, drawn_shrink=(1.0, 2.0))


def make_tiles(count: int, first: int = 0) -> list[dict[str, Tensor]]:
    return list(teach(draw_pictures(3, (60, 70)), TEACHERS, SMALL, range(first, first + count), seed=4))


def repeat(picture: Tensor, scale: int) -> Tensor:
    return picture.repeat_interleave(scale, -2).repeat_interleave(scale, -1)


# ---- tiles ---------------------------------------------------------------------------------------------------


def test_a_tile_holds_the_teachers_answers_to_its_low_resolution() -> None:
    for tile in make_tiles(4):
        assert tile["lr"].shape == (3, 20, 20)
        assert tile["lr"].dtype == torch.uint8
        for scale in (2, 3):
            assert torch.equal(tile[f"x{scale}"], repeat(tile["lr"], scale))


def test_the_teacher_sees_a_margin_around_the_tile() -> None:
    """Answers near the border do not depend on how the teacher pads."""

    class BorderMarked(Nearest):
        def forward(self, lr: Tensor) -> Tensor:
            answer = super().forward(lr)
            answer[..., 0, :] = answer[..., :, 0] = 0
            return answer

    pictures = [torch.full((3, 60, 70), 200, dtype=torch.uint8)]
    pool = SMALL._replace(drawn_share=0.0)
    (tile,) = teach(pictures, {2: BorderMarked(2)}, pool, range(1))
    assert int(tile["x2"].min()) == 200


def test_a_tile_follows_from_the_seed_and_its_index_alone() -> None:
    all_at_once = make_tiles(4)
    second_half = make_tiles(2, first=2)
    for one, other in zip(all_at_once[2:], second_half, strict=True):
        assert torch.equal(one["lr"], other["lr"])
    assert not torch.equal(all_at_once[0]["lr"], all_at_once[1]["lr"])


def test_pictures_too_small_for_a_tile_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="large enough"):
        list(teach(draw_pictures(1, (20, 20)), TEACHERS, SMALL, range(1)))


def test_drawn_pictures_have_clean_edges_and_enough_contrast() -> None:
    for index in range(6):
        rng = np.random.default_rng(index)
        grid = draw_grid(rng, 96)
        assert grid.shape == (3, 96, 96)
        assert float(grid.float().std()) > 4
    pages = [draw_text(np.random.default_rng(index), 96) for index in range(6)]
    assert {tuple(page.shape) for page in pages} == {(3, 96, 96)}
    assert sum(float(page.float().diff(dim=2).abs().max()) > 60 for page in pages) >= 4


# ---- patches -------------------------------------------------------------------------------------------------


def test_the_targets_of_a_patch_are_cut_and_turned_like_its_low_resolution() -> None:
    data = Data(patch_px=12, taught_weights={"x2": 3.0, "x3": 1.0})
    batch = Patches([Share(1.0, make_tiles(3))], data).draw(1, count=5)
    assert [(one.of, one.weight) for one in batch.targets] == [(tuple(range(5)), 0.75), (tuple(range(5)), 0.25)]
    for one in batch.targets:
        for index, hr in zip(one.of, one.hr, strict=True):
            assert torch.equal(hr, repeat(batch.lr[index], hr.shape[1] // 12))


def test_a_recipe_chooses_among_the_scales_of_its_tiles() -> None:
    shares = [Share(1.0, make_tiles(2))]
    assert [one.hr.shape[2] for one in Patches(shares, Data(patch_px=12)).draw(1, count=2).targets] == [24, 36]
    only = Data(patch_px=12, taught_weights={"x3": 1.0})
    assert [one.hr.shape for one in Patches(shares, only).draw(1, count=2).targets] == [(2, 3, 36, 36)]


def test_examples_come_from_each_place_by_its_share() -> None:
    shares = [Share(3.0, make_tiles(2)), Share(1.0, draw_pictures(2))]
    data = Data(patch_px=12, scales=(2.0, 2.0), scale_per="patch")
    batch = Patches(shares, data).draw(0, count=200)
    taught = sum(len(one.of) for one in batch.targets if one.hr.shape[2] == 36)
    assert 125 < taught < 175


def test_a_loss_weighs_the_targets_by_their_shares() -> None:
    loss = losses.mix({"l1": 1.0})
    sr = [torch.ones(1, 3, 4, 4), torch.full((2, 3, 2, 2), 0.5)]
    hr = [torch.zeros_like(one) for one in sr]
    assert float(loss(sr, hr, (3.0, 1.0))) == pytest.approx((3 * 1 + 2 * 0.5) / 5)


def test_places_are_read_with_their_shares(tmp_path: Path) -> None:
    write_pack(tmp_path / "pool=1.pack", make_tiles(2))
    write_pack(tmp_path / "photos.pack", [{"picture": one} for one in draw_pictures(3)])
    first, second, third = load_shares(
        [f"{tmp_path / 'photos.pack'}=0.25", str(tmp_path / "pool=1.pack"), f"{tmp_path / 'pool=1.pack'}=2"]
    )
    assert (first.share, len(first.examples)) == (0.25, 3)
    assert isinstance(first.examples[0], Tensor)
    assert (second.share, len(second.examples)) == (1.0, 2)
    assert third.share == 2.0


def test_what_is_held_out_depends_on_names_alone() -> None:
    files = [Path(f"{number:04}.jpg") for number in range(145)]
    held = choose_held_out(files, 40)
    assert len(held) == 40
    assert choose_held_out([Path("elsewhere") / file for file in reversed(files)], 40) == [
        Path("elsewhere") / file for file in held
    ]
    more = [*files, Path("new.jpg")]
    assert len(set(choose_held_out(more, 40)) - {Path("new.jpg")} - set(held)) == 0


# ---- training ------------------------------------------------------------------------------------------------


def test_a_run_on_taught_tiles_lowers_the_loss_and_resumes(tmp_path: Path) -> None:
    data = dataclasses.replace(small_recipe().data, taught_weights={"x2": 2.0, "x3": 1.0})
    recipe = small_recipe(data=data, schedule=Schedule(steps=45, ema=0.9), validation=Validation(every=0))
    shares = [Share(0.8, smooth_tiles()), Share(0.2, draw_pictures(2))]

    def run(out: Path, *, stop_at: int | None = None, resume: bool = False) -> Trainer:
        trainer = Trainer(recipe, shares, [], out)
        if resume:
            trainer.resume()
        list(trainer.run(stop=lambda: trainer.step == stop_at))
        return trainer

    whole = run(tmp_path / "whole")
    run(tmp_path / "cut", stop_at=5)
    resumed = run(tmp_path / "cut", resume=True)
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, resumed.module.state_dict()[name]), name
    fresh = Trainer(recipe, shares, [], tmp_path / "fresh")
    batch = whole.patches.draw(99, count=6)

    def measure(trainer: Trainer) -> float:
        with torch.no_grad():
            return float(trainer._measure_batch(batch))

    assert measure(whole) < 0.97 * measure(fresh)


def smooth_tiles() -> list[dict[str, Tensor]]:
    """Tiles whose answers a network can learn: sharper than any cubic of the low resolution."""
    tiles = []
    for hr in draw_pictures(4, (96, 96)):
        small = {f"x{scale}": _shrink(hr, 16 * scale) for scale in (2, 3)}
        tiles.append({"lr": _shrink(hr, 16)} | small)
    return tiles


def _shrink(hr: Tensor, side: int) -> Tensor:
    small = resize(hr[None].float() / 255, size=(side, side))[0]
    return (small.clamp(0, 1) * 255).round().to(torch.uint8)


def test_the_pack_command_writes_pictures_and_taught_tiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pyvips

    (tmp_path / "photos").mkdir()
    pictures = draw_pictures(2, (180, 190))
    for number, picture in enumerate(pictures):
        path = str(tmp_path / f"photos/{number}.png")
        pyvips.Image.new_from_array(picture.permute(1, 2, 0).contiguous().numpy()).write_to_file(path)
    assert main(["pack", str(tmp_path / "photos"), str(tmp_path / "photos.pack")]) == 0
    assert all(
        torch.equal(one["picture"], two) for one, two in zip(Pack(tmp_path / "photos.pack"), pictures, strict=True)
    )

    torch.save(build("smfanet-x2").state_dict(), tmp_path / "x2.pth")
    teacher = f"smfanet-x2={tmp_path / 'x2.pth'}"
    words = ["pack", str(tmp_path / "photos"), str(tmp_path / "pool.pack"), "--teacher", teacher, "--tiles", "0:2"]
    assert main(words) == 0
    assert [tuple(tile["x2"].shape) for tile in Pack(tmp_path / "pool.pack")] == [(3, 192, 192)] * 2
    assert "2 tiles" in capsys.readouterr().out
    assert main([*words[:4], "swift=x.pth"]) == 2
    assert main([*words[:-1], "all"]) == 2


@pytest.mark.shared
def test_the_photographs_held_out_of_swifts_training_are_the_listed_ones(shared: Path) -> None:
    with (Path(__file__).resolve().parents[2] / "assets/swift-held-out.csv").open(encoding="utf-8") as lines:
        listed = [row["file"] for row in csv.DictReader(lines)]
    held_out = read_recipe(find_recipe("swift")).data.held_out
    files = choose_held_out(find_pictures(shared / "data/photos"), held_out)
    assert [file.name for file in files] == listed


@pytest.mark.parametrize(("patch_px", "name", "message"), [(12, "x4", "targets at x4"), (999, "x2", "too small")])
def test_tiles_that_lack_what_a_recipe_wants_are_refused_before_training(
    patch_px: int, name: str, message: str
) -> None:
    data = Data(patch_px=patch_px, taught_weights={name: 1.0})
    with pytest.raises(InvalidArgument, match=message):
        Patches([Share(1.0, make_tiles(2))], data)
    with pytest.raises(InvalidArgument, match=message):
        hold(draw_pictures(1), TEACHERS, data, tiles=2, seed=0, device=torch.device("cpu"), pages=[], pool=SMALL)

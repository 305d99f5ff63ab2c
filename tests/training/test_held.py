"""Training data held in the memory of one device."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gsr_app.core.errors import GsrError
from gsr_app.harness import cli
from gsr_app.ops.resize import resize
from gsr_app.training.held import HeldPatches, Pyramid, hold
from gsr_app.training.pack import write_pack
from gsr_app.training.recipe import Data
from gsr_app.training.teach import answer
from tests.training.small import SMALL

CPU = torch.device("cpu")


class Repeat(nn.Module):
    """A teacher whose answer can be foretold: every pixel `scale` times, and its rim black."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        out = x.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)
        rim = torch.zeros_like(out)
        rim[..., self.scale : -self.scale, self.scale : -self.scale] = 1
        return out * rim


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_a_teachers_answers_lie_over_their_tiles_and_its_rim_is_cut_off() -> None:
    lr = noise(40, 3, 28, 28)
    tiles = answer({2: Repeat(2), 3: Repeat(3)}, lr)
    assert torch.equal(tiles[1], lr[..., 4:-4, 4:-4])
    for scale in (2, 3):
        assert torch.equal(tiles[scale], tiles[1].repeat_interleave(scale, 2).repeat_interleave(scale, 3))


def test_targets_are_cut_and_turned_like_their_low_resolution() -> None:
    tiles = answer({2: Repeat(2), 3: Repeat(3)}, noise(4, 3, 28, 28))
    held = HeldPatches(tiles, None, 0.0, Data(patch_px=7, taught_weights={"x2": 3.0, "x3": 1.0}))
    batch = held.draw(5, 1, count=40)
    assert batch.lr.shape == (40, 3, 7, 7)
    assert [(one.of, one.weight) for one in batch.targets] == [(tuple(range(40)), 0.75), (tuple(range(40)), 0.25)]
    for one, scale in zip(batch.targets, (2, 3), strict=True):
        assert torch.equal(one.hr, batch.lr.repeat_interleave(scale, 2).repeat_interleave(scale, 3))
    assert torch.equal(held.draw(5, 1, count=40).lr, batch.lr)
    assert not torch.equal(held.draw(5, 2, count=40).lr, batch.lr)


def test_patches_are_turned_in_all_eight_ways() -> None:
    tile = noise(1, 3, 7, 7)
    held = HeldPatches({1: tile, 2: noise(1, 3, 14, 14)}, None, 0.0, Data(patch_px=7))
    ways = {tuple((255 * one).round().int().flatten().tolist()) for one in held.draw(1, count=200).lr}
    turned = [tile[0].rot90(k, (1, 2)) for k in range(4)]
    assert ways == {tuple(one.int().flatten().tolist()) for t in turned for one in (t, t.flip(2))}


def test_a_share_of_the_patches_is_of_pictures_at_one_scale() -> None:
    shown = Pyramid([noise(3, 60, 70)], (1.0, 1.0), 30, CPU, np.random.default_rng(0))
    tiles = answer({2: Repeat(2)}, noise(4, 3, 28, 28))
    held = HeldPatches(tiles, shown, 0.25, Data(patch_px=10, scales=(2.5, 2.5)))
    batch = held.draw(1, count=400)
    taught, pictures = batch.targets
    assert taught.hr.shape[1:] == (3, 20, 20)
    assert pictures.hr.shape[1:] == (3, 25, 25)
    assert 70 < len(pictures.of) < 130
    assert taught.of + pictures.of == tuple(range(400))
    expected = (resize(pictures.hr, size=(10, 10)).clamp(0, 1) * 255).round() / 255
    assert torch.equal(batch.lr[list(pictures.of)], expected)


def test_of_several_windows_the_busiest_is_cut() -> None:
    half_flat = noise(3, 60, 60)
    half_flat[:, :, :40] = 99
    shown = Pyramid([half_flat], (1.0, 1.0), 12, CPU, np.random.default_rng(0))
    detail = [
        float(shown.cut(np.random.default_rng(1), 12, 60, busiest_of).float().diff(dim=3).abs().mean())
        for busiest_of in (1, 4)
    ]
    assert detail[1] > 1.3 * detail[0]


def test_a_pyramid_holds_shrunk_pictures_and_none_that_is_too_small() -> None:
    shown = Pyramid([noise(3, 64, 80), noise(3, 20, 20)], (1.0, 2.0), 24, CPU, np.random.default_rng(0))
    heights = [one.shape[1] for level in shown.levels for one in level]
    assert min(heights) >= 32
    assert len(set(heights)) > 5
    assert all(len(level) == 1 for level in shown.levels)
    with pytest.raises(GsrError, match="None of 1 pictures is large enough"):
        Pyramid([noise(3, 20, 20)], (1.0, 2.0), 24, CPU, np.random.default_rng(0))


@pytest.mark.shared
def test_the_command_trains_on_tiles_that_it_makes_itself(tmp_path: Path, shared: Path) -> None:
    for index in range(2):
        picture = resize(noise(1, 3, 60, 60, seed=index).float(), size=(240, 240))[0].clamp(0, 255).to(torch.uint8)
        write_pack(tmp_path / f"{index}.pack", [{"picture": picture}])
    weights = shared / "weights" / "SMFANet_plus_DF2K_100w_x2SR.pth"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'arch = "{SMALL}"\n[data]\npatch_px = 12\nscales = [1.5, 3.0]\ntaught_weights = {{ x2 = 1.0 }}\n'
        "[degradation]\nshare = 0.9\n[validation]\nevery = 0\n"
    )
    words = ["train", str(recipe), "--data", *(str(tmp_path / f"{index}.pack") for index in range(2))]
    words += ["--teacher", f"smfanet-plus-x2={weights}", "--tiles", "8", "--tile-px", "24"]
    words += ["--batch", "2", "--steps", "2", "--out", str(tmp_path / "run")]
    assert cli.main([*words, "--device", "cpu", "--threads", "1"]) == 0
    assert (tmp_path / "run" / "final.safetensors").is_file()


def test_a_machine_without_the_picture_library_trains_without_drawn_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsr_app.training.drawn", None)
    pictures = [noise(3, 200, 200)]
    with pytest.warns(UserWarning, match="No text and grids are drawn"):
        held = hold(pictures, {2: Repeat(2)}, Data(patch_px=12), tiles=6, seed=0, device=CPU)
    assert held.tiles[1].shape == (6, 3, 96, 96)

"""Degradations of the low resolution."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gsr_app.ops.resize import resize
from gsr_app.training.data import Patches, Share
from gsr_app.training.degrade import add_noise, blur, compress, degrade, resize_twice
from gsr_app.training.recipe import Data, Degradation
from tests.training.small import draw_pictures

NOTHING = Degradation(share=1.0, blur_share=0, resized_share=0, noise_share=0, compressed_share=0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def picture(side: int = 64) -> Tensor:
    return draw_pictures(1, (side, side))[0].float() / 255


def test_without_any_step_it_is_the_low_resolution_of_a_clean_patch() -> None:
    clean = (resize(picture()[None], size=(32, 32))[0].clamp(0, 1) * 255).round() / 255
    assert torch.equal(degrade(rng(), picture(), (32, 32), NOTHING), clean)


def test_the_same_seed_degrades_alike() -> None:
    how = Degradation(share=1.0)
    first, again, other = (degrade(rng(seed), picture(), (32, 32), how) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    levels = first * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert 0 <= float(first.min()) <= float(first.max()) <= 1


def test_a_blur_has_the_widths_and_the_angle_that_it_is_asked_for() -> None:
    dot = torch.zeros(3, 41, 41)
    dot[:, 20, 20] = 1
    spread = blur(dot, 4.0, 1.0, angle=math.pi / 2)[0]
    at = torch.arange(41.0) - 20
    assert float(spread.sum()) == pytest.approx(1, abs=1e-4)
    assert float((spread.sum(1) * at**2).sum().sqrt()) == pytest.approx(4, abs=0.15)  # vertical
    assert float((spread.sum(0) * at**2).sum().sqrt()) == pytest.approx(1, abs=0.05)


def test_resizing_by_other_programs_keeps_size_and_light_and_loses_detail() -> None:
    clean = picture()
    for factor in (0.6, 1.5):
        spoiled = resize_twice(rng(1), clean, factor)
        assert spoiled.shape == clean.shape
        assert float((spoiled.mean((1, 2)) - clean.mean((1, 2))).abs().max()) < 2 / 255
        for shift in (1, -1):
            assert float((spoiled - clean).abs().mean()) < float((spoiled.roll(shift, 1) - clean).abs().mean())
    lost = [float((resize_twice(rng(1), clean, factor) - clean).abs().mean()) for factor in (0.5, 1.5)]
    assert lost[0] > lost[1] > 0


def test_noise_has_its_level_at_mid_grey_and_grows_with_the_light() -> None:
    sigmas = []
    for light in (0.0, 0.5, 1.0):
        noisy = add_noise(rng(), torch.full((3, 128, 128), light), level=10, grey_share=0.0)
        sigmas.append(255 * float((noisy - light).std()))
    assert sigmas[1] == pytest.approx(10, rel=0.03)
    assert sigmas[2] / sigmas[0] == pytest.approx(3**0.5, rel=0.03)
    grey = add_noise(rng(), torch.zeros(3, 64, 64), level=10, grey_share=1.0)
    assert torch.equal(grey[0], grey[2])


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_a_lower_quality_costs_more_and_the_picture_stays_in_its_place(kind: str) -> None:
    levels = (picture() * 255).round()
    errors = []
    for quality in (95, 30):
        through = compress(rng(1), levels, quality, kind)  # type: ignore[arg-type]
        assert through.shape == levels.shape
        errors.append(float((through - levels).square().mean().sqrt()))
        for shift in (1, -1):  # any displacement is worse
            assert errors[-1] < float((through.roll(shift, 2) - levels).square().mean().sqrt())
    assert 0 < errors[0] < errors[1]


def test_the_grid_of_blocks_has_a_random_phase() -> None:
    levels = (picture() * 255).round()
    results = [compress(rng(seed), levels, 30, "jpeg") for seed in range(4)]
    assert any(not torch.equal(results[0], other) for other in results[1:])


def test_a_recipe_degrades_its_share_of_pictures_and_of_taught_tiles_but_never_a_target() -> None:
    tile = {"lr": (picture(24) * 255).round().to(torch.uint8), "x2": (picture(48) * 255).round().to(torch.uint8)}
    data = Data(patch_px=24, scales=(2.0, 2.0), scale_per="patch")
    for examples in ([Share(1.0, [tile])], draw_pictures(1)):
        clean = Patches(examples, data).draw(0, count=1)
        spoiled = Patches(examples, data, Degradation(share=1.0)).draw(0, count=1)
        assert clean.lr.shape == spoiled.lr.shape
        assert not torch.equal(clean.lr, spoiled.lr)
    taught = Patches([Share(1.0, [tile])], data, dataclasses.replace(NOTHING, share=0.5)).draw(0, count=4)
    expected = float(tile["x2"].sum()) / 255
    assert [float(turned.sum()) for turned in taught.targets[0].hr] == pytest.approx([expected] * 4, rel=1e-5)

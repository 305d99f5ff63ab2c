"""Degradations of all patches of a step at once, against those of one patch and against files."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gsr_app.ops.resize import resize
from gsr_app.training.degrade import blur
from gsr_app.training.degrade_batch import blur_each, degrade_batch, resize_twice_each
from gsr_app.training.held import HeldPatches, Pyramid
from gsr_app.training.jpeg import compress_all
from gsr_app.training.recipe import Data, Degradation
from tests.training.small import draw_pictures

NOTHING = Degradation(share=1.0, blur_share=0, resized_share=0, noise_share=0, compressed_share=0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def pictures(count: int, *size: int) -> Tensor:
    return torch.stack(draw_pictures(count, size)).float() / 255


def through_a_file(levels: Tensor, quality: int, *, is_halved: bool) -> Tensor:  # [3, H, W]
    import pyvips

    array = np.ascontiguousarray(levels.to(torch.uint8).permute(1, 2, 0).numpy())
    image = pyvips.Image.new_from_array(array).copy(interpretation="srgb")
    buffer: bytes = image.jpegsave_buffer(Q=quality, subsample_mode="on" if is_halved else "off")
    return torch.from_numpy(pyvips.Image.new_from_buffer(buffer, "").numpy().transpose(2, 0, 1).astype(np.float32))


@pytest.mark.parametrize("is_halved", [True, False])
def test_jpeg_on_a_device_gives_what_a_file_gives(is_halved: bool) -> None:
    levels = pictures(4, 43, 50) * 255 + torch.randn(4, 3, 43, 50, generator=torch.Generator().manual_seed(1)) * 6
    levels = levels.clamp(0, 255).round()
    quality, phase = np.array([10, 49, 75, 96]), np.array([[0, 0], [3, 5], [7, 0], [1, 6]])
    found = compress_all(levels, quality, phase, is_halved=is_halved)
    for one, through, q, (top, left) in zip(levels, found, quality, phase.tolist(), strict=True):
        padded = F.pad(one[None], (left, 0, top, 0), mode="reflect")[0]
        expected = through_a_file(padded, int(q), is_halved=is_halved)[:, top:, left:]
        difference = (through - expected).abs()
        assert float(difference.mean()) < 0.2, f"quality {q}"
        assert float((through - one).abs().mean()) > 8 * float(difference.mean())


def test_each_patch_is_blurred_and_resized_as_it_would_be_alone() -> None:
    clean = pictures(3, 40, 52)
    along, across, angle = np.array([0.3, 2.0, 4.0]), np.array([0.3, 0.5, 1.0]), np.array([0.0, 1.0, 2.5])
    blurred = blur_each(clean, along, across, angle)
    for index, one in enumerate(blurred):
        alone = blur(clean[index], along[index], across[index], angle[index])
        assert torch.allclose(one, alone, atol=2e-6)
    factors = np.array([0.6, 1.0, 1.5])
    resized, draws = resize_twice_each(rng(3), clean, factors), rng(3)
    modes = [(draws.random(3) < 0.5, draws.random(3) < 0.7) for _ in range(2)]
    for index, factor in enumerate(factors):
        alone = clean[index : index + 1]
        for size, (cubic, smooth) in zip(((round(40 * factor), round(52 * factor)), (40, 52)), modes, strict=True):
            mode = "bicubic" if cubic[index] else "bilinear"
            alone = F.interpolate(alone, size, mode=mode, antialias=bool(smooth[index]))
        assert torch.allclose(resized[index], alone[0], atol=2e-6)


def test_a_share_of_the_patches_is_degraded_and_the_seed_decides_how() -> None:
    clean = pictures(1, 96, 96).expand(60, -1, -1, -1)
    expected = (resize(clean[:1], size=(48, 48)).clamp(0, 1) * 255).round() / 255
    assert torch.equal(degrade_batch(rng(), clean, (48, 48), NOTHING), expected.expand(60, -1, -1, -1))
    first, again, other = (degrade_batch(rng(seed), clean, (48, 48), Degradation(share=0.5)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 18 < sum(torch.equal(one, expected[0]) for one in first) < 42
    assert torch.allclose(first * 255, (first * 255).round(), atol=1e-4)
    assert 0 <= float(first.min()) <= float(first.max()) <= 1


def test_noise_has_its_level_at_mid_grey_and_a_share_that_is_the_same_in_all_colours() -> None:
    how = dataclasses.replace(NOTHING, noise_share=1.0, noise=(10.0, 10.0))
    noise = 255 * (degrade_batch(rng(), torch.full((40, 3, 48, 48), 0.5), (48, 48), how) - 0.5)
    assert float(noise.std()) == pytest.approx(10, rel=0.03)
    alike = [float(torch.corrcoef(one.flatten(1))[0, 1]) for one in noise]
    assert min(alike) < 0.2
    assert max(alike) > 0.8
    assert math.isclose(sum(alike) / 40, 0.5, abs_tol=0.15)


def test_held_patches_are_degraded_but_never_their_targets() -> None:
    (page,) = draw_pictures(1, (80, 80))
    tiles = {1: page[None, :, :32, :32], 2: page[None, :, :64, :64]}
    shown, data = Pyramid([page], (1.0, 1.0), 40, torch.device("cpu"), rng()), Data(patch_px=20, scales=(2.0, 2.0))
    clean, spoiled = (
        HeldPatches(tiles, shown, 0.5, data, how).draw(7, count=12) for how in (Degradation(), Degradation(share=1.0))
    )
    changed = [not torch.equal(one, other) for one, other in zip(clean.lr, spoiled.lr, strict=True)]
    taught, cut = clean.targets
    assert torch.equal(spoiled.targets[0].hr, taught.hr)
    assert len(cut.of) > 2
    assert sum(changed[index] for index in taught.of) == len(taught.of)
    clean_lr = (resize(spoiled.targets[1].hr, size=(20, 20)).clamp(0, 1) * 255).round() / 255
    for row, index in enumerate(spoiled.targets[1].of):
        assert not torch.equal(spoiled.lr[index], clean_lr[row])

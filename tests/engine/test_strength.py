"""The strength of a method that removes noise and compression: chosen, guessed, and what it makes of the weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gsr_app import api
from gsr_app.core.errors import InvalidArgument, UnknownMethod
from gsr_app.core.folders import ASSETS
from gsr_app.engine import networks
from gsr_app.engine.runners import run_to_end
from gsr_app.engine.session import Session
from gsr_app.engine.strength import choose_strength, measure_wear
from gsr_app.io.images import read_image
from gsr_app.models import registry
from gsr_app.models.checkpoint import read_state

CPU = torch.device("cpu")


def scene(height: int = 96, width: int = 128) -> np.ndarray:
    """A smooth picture with an edge, uint8."""
    y, x = np.mgrid[:height, :width] / 32
    waves = (128 + 60 * np.sin(x) * np.cos(y))[..., None] * [1.0, 0.8, 0.6]
    waves[:, width // 2 :] *= 0.7
    return np.round(waves).astype(np.uint8)


def noisy(sigma: float) -> np.ndarray:
    noise = np.random.default_rng(3).normal(0, sigma, (96, 128, 3))
    return np.clip(np.round(scene() + noise), 0, 255).astype(np.uint8)


def test_the_noise_of_a_picture_is_measured() -> None:
    assert measure_wear(scene()).noise < 0.7
    for sigma in (2.0, 4.0, 8.0):
        assert measure_wear(noisy(sigma)).noise == pytest.approx(sigma, rel=0.15)
        deep = (noisy(sigma).astype(np.uint16) * 257)[..., :1]
        assert measure_wear(deep).noise == pytest.approx(sigma, rel=0.2)


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 300, 4), (16, 16)])
def test_a_picture_that_is_too_small_to_tell_counts_as_clean(shape: tuple[int, ...]) -> None:
    assert measure_wear(np.full(shape, 90, np.uint8)).strength == 0


def test_clean_pictures_need_no_strength_and_bad_ones_all_of_it() -> None:
    assert measure_wear(scene()).strength < 0.1
    assert measure_wear(noisy(9.0)).strength == 1
    assert measure_wear(scene(), jpeg_quality=98).strength < 0.1
    assert measure_wear(scene(), jpeg_quality=40).strength == 1
    assert 0.2 < measure_wear(scene(), jpeg_quality=80).strength < 0.8
    assert str(measure_wear(noisy(4.0), 62)) == "JPEG quality about 62, noise about 4 of 255"


@pytest.mark.parametrize("quality", [10, 35, 50, 75, 92, 100])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(tmp_path: Path, quality: int) -> None:
    file = tmp_path / "a.jpg"
    Image.fromarray(scene()).save(file, quality=quality)
    assert read_image(file).meta.jpeg_quality == quality
    Image.fromarray(scene()).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").meta.jpeg_quality is None


def test_a_chosen_strength_follows_the_id() -> None:
    method = registry.method("swift-photo@0.62")
    assert (method.id, method.strength) == ("swift-photo@0.6", 0.6)  # steps of 0.05
    assert "strength 0.6" in method.title
    assert choose_strength(method, scene(), 30) == (method, "")
    for wrong in ("swift-photo@1.5", "swift-photo@", "swift-photo@nan", "swift@0.5"):
        with pytest.raises(InvalidArgument, match="strength"):
            registry.method(wrong)
    with pytest.raises(UnknownMethod):
        registry.method("nothing@0.5")


def weights_at(method_id: str) -> dict[str, torch.Tensor]:
    loaded, _ = run_to_end(networks.load(registry.method(method_id), CPU, None))
    return loaded.module.state_dict()


def test_weights_at_a_strength_lie_between_those_of_both_methods() -> None:
    plain, photo = (read_state(ASSETS / f"{name}.safetensors") for name in ("swift", "swift-photo"))
    for strength in (0.0, 0.25, 1.0):
        found = weights_at(f"swift-photo@{strength}")
        for name, x in found.items():
            expected = (1 - strength) * plain[name].double() + strength * photo[name].double()
            assert float((x.double() - expected).abs().max()) < 1e-6


def test_strength_zero_is_the_plain_method_and_one_is_another() -> None:
    session, image = Session("cpu"), noisy(6.0)
    plain = session.upscale(image, method="swift", scale=2).image
    assert np.array_equal(session.upscale(image, method="swift-photo@0", scale=2).image, plain)
    cleaned = session.upscale(image, method="swift-photo@1", scale=2).image
    truth = np.asarray(Image.fromarray(scene()).resize((256, 192), Image.Resampling.BICUBIC)).astype(float)
    assert np.abs(cleaned - truth).mean() < 0.6 * np.abs(plain - truth).mean()


def test_an_unchosen_strength_is_guessed_and_told(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    Image.fromarray(scene()).save(file, quality=40)
    result = api.upscale(file, 2, method="swift-photo", device="cpu")
    assert result.method == "swift-photo"
    assert result.done.endswith("strength 1: JPEG quality about 40, hardly any noise")
    full = api.upscale(file, 2, method="swift-photo@1", device="cpu")
    assert np.array_equal(result.array, full.array)
    clean = api.upscale(scene(), 2, method="swift-photo", device="cpu")
    assert "strength 0" in clean.done


def test_a_kept_field_is_of_the_weights_at_strength_zero_as_they_are_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GSR_WEIGHTS_DIR", str(tmp_path))
    session, image = Session("cpu"), noisy(6.0)
    before = session.upscale(image, method="swift-photo@0.5", scale=2).image
    shutil.copy(ASSETS / "swift-photo.safetensors", tmp_path / "swift.safetensors")
    after = session.upscale(image, method="swift-photo@0.5", scale=2).image
    assert not np.array_equal(after, before)
    assert np.array_equal(after, Session("cpu").upscale(image, method="swift-photo@0.5", scale=2).image)

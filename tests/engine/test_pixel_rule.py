"""A picture through an array and through a file: the same bits both ways, whatever its dtype and channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gsr_app.core.types import Scale
from gsr_app.engine.image_job import FileJob, upscale_file
from gsr_app.engine.session import Session
from gsr_app.harness import cli
from gsr_app.io.images import Picture, RowReader, read_image, write_image
from gsr_app.models import registry
from gsr_app.ops.resize import resize

CHANNELS = {"grey": 0, "grey and alpha": 2, "rgb": 3, "rgb and alpha": 4}


def picture(channels: int, dtype: Any) -> np.ndarray:
    """Noise; floats from -1 to 2; alpha with transparent, opaque and all values between."""
    rng = np.random.default_rng(channels)
    shape = (23, 17, channels) if channels else (23, 17)
    if dtype is np.float32:
        values = rng.uniform(-1, 2, shape).astype(np.float32)
    else:
        values = rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    if channels in {2, 4}:
        values[4:9, :, -1] = 0
        values[12:15, :, -1] = 1 if dtype is np.float32 else np.iinfo(dtype).max
    return values


def through_file(image: np.ndarray, folder: Path, suffix: str, method: str, scale: float) -> np.ndarray:
    source, target = folder / f"in.{suffix}", folder / f"out.{suffix}"
    write_image(source, Picture(image))
    job = FileJob(registry.method(method), RowReader(source), target, Scale(scale, scale))
    list(upscale_file(Session("cpu"), job))
    return read_image(target).pixels


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("method", "scale"), [("nearest", 1), ("bicubic", 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("kind", CHANNELS)
def test_array_and_file_agree_bit_for_bit(
    kind: str, dtype: Any, method: str, scale: float, suffix: str, tmp_path: Path
) -> None:
    if suffix == "png" and dtype is np.float32:
        pytest.skip("PNG holds no floats")
    image = picture(CHANNELS[kind], dtype)
    from_array = Session("cpu").upscale(image, method=method, scale=scale).image
    from_file = through_file(image, tmp_path, suffix, method, scale)
    assert from_array.dtype == from_file.dtype == dtype
    assert np.array_equal(from_array, from_file)
    if method == "nearest":
        assert np.array_equal(from_array, image)


@pytest.mark.parametrize(("dtype", "suffix"), [(np.uint8, "png"), (np.uint16, "png"), (np.float32, "tif")])
@pytest.mark.parametrize("kind", CHANNELS)
def test_the_command_line_makes_the_file_of_the_array(kind: str, dtype: Any, suffix: str, tmp_path: Path) -> None:
    image = picture(CHANNELS[kind], dtype)
    write_image(tmp_path / f"in.{suffix}", Picture(image))
    words = ["upscale", str(tmp_path / f"in.{suffix}"), "-o", str(tmp_path / f"out.{suffix}")]
    assert cli.main([*words, "--method", "bicubic", "--scale", "2", "--device", "cpu"]) == 0
    expected = Session("cpu").upscale(image, method="bicubic", scale=2).image
    assert np.array_equal(read_image(tmp_path / f"out.{suffix}").pixels, expected)


def test_a_resize_of_floats_carries_values_outside_0_to_1() -> None:
    image = picture(3, np.float32)
    answer = Session("cpu").upscale(image, method="bicubic", scale=2).image
    expected = resize(torch.from_numpy(image).permute(2, 0, 1)[None], scale=2.0)[0].permute(1, 2, 0).numpy()
    assert np.abs(answer - expected).max() < 1e-6
    assert answer.min() < -0.5
    assert answer.max() > 1.5


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize("method", ["fake-doubler", "fake-asker", "fake-painter"])
def test_a_network_sees_floats_clipped_and_says_so(method: str) -> None:
    image = picture(3, np.float32)
    session = Session("cpu")
    answer = session.upscale(image, method=method, scale=2)
    clipped = session.upscale(image.clip(0, 1), method=method, scale=2)
    assert np.array_equal(answer.image, clipped.image)
    assert "clipped to 0..1" in answer.warnings[-1]
    assert not any("clipped" in warning for warning in clipped.warnings)


@pytest.mark.usefixtures("fakes")
def test_what_a_network_makes_of_floats_is_not_clipped() -> None:
    image = np.zeros((12, 10, 3), np.float32)
    image[3:7] = 1
    answer = Session("cpu").upscale(image, method="fake-doubler", scale=2).image
    as_integers = Session("cpu").upscale((image * 255).astype(np.uint8), method="fake-doubler", scale=2).image
    assert answer.min() < 0 or answer.max() > 1
    assert np.array_equal(np.rint(answer.clip(0, 1) * 255), as_integers)


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize("method", ["fake-doubler", "fake-asker", "fake-painter"])
@pytest.mark.parametrize("channels", [0, 2])
def test_a_network_makes_the_same_of_grey_and_of_three_equal_channels(method: str, channels: int) -> None:
    grey = picture(channels, np.float32).clip(0, 1)
    color = grey if channels == 0 else grey[..., 0]
    rgb = np.dstack([color] * 3 + ([grey[..., 1]] if channels else []))
    one, three = (Session("cpu").upscale(image, method=method, scale=2).image for image in (grey, rgb))
    luma = three[..., :3].astype(np.float64) @ [0.299, 0.587, 0.114]
    assert np.abs((one if channels == 0 else one[..., 0]) - luma).max() < 1e-6

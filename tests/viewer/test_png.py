"""The PNG files of the screen, read by another library."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from PIL import Image

from gsr_app.viewer import png
from gsr_app.viewer.png import encode_png


def smooth(height: int, width: int, channels: int) -> np.ndarray:
    """Values that rise and fall over the picture, with some noise, and a flat part."""
    y, x, c = np.ogrid[:height, :width, :channels]
    values = 127 + 120 * np.sin(y / 17 + c) * np.cos(x / 23) + np.random.default_rng(0).normal(0, 2, (height, width, 1))
    values[height // 2 :, width // 2 :] = 255
    return np.clip(values, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("level", [1, 6])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3), (61, 47), (260, 190)])
@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_another_reader_gets_every_value(
    size: tuple[int, int], channels: int, mode: str, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = smooth(*size, channels)
    for band in (1, 4000, 1 << 20):  # a row at a time, some, all of them
        monkeypatch.setattr(png, "_BAND_BYTES", band)
        read = Image.open(io.BytesIO(encode_png(pixels, level=level)))
        assert (read.mode, read.size) == (mode, size[::-1])
        assert np.array_equal(np.asarray(read).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("level", [1, 6])
def test_cores_change_no_byte_and_bands_cost_little(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = smooth(1100, 1000, 3)
    files = []
    for cores in (1, 2, 7):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        files.append(encode_png(pixels, level=level))
    assert files[0] == files[1] == files[2]
    monkeypatch.setattr(png, "_BAND_BYTES", 1 << 30)
    assert len(files[0]) < 1.01 * len(encode_png(pixels, level=level))

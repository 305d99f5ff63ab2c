"""Files to read, made without the library under test: by Pillow, or byte by byte where Pillow cannot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import ImageCms

from tests.files import png_of


@pytest.fixture(scope="session")
def encode_png() -> Callable[..., bytes]:
    return png_of


@pytest.fixture(scope="session")
def rgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def random_pixels() -> Callable[..., np.ndarray]:
    def make(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        if dtype is np.float32:
            return rng.random(shape, dtype=np.float32)
        return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)

    return make


@pytest.fixture
def smooth_photo() -> np.ndarray:  # [48, 64, 3] uint8
    """Something that lossy formats keep well."""
    y, x = np.mgrid[:48, :64]
    planes = [x * 4, y * 5, 255 - x * 2 - y]
    return np.stack(planes, -1).astype(np.uint8)

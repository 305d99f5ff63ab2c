"""Files to read, made without the library under test: by Pillow, or byte by byte where Pillow cannot."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import ImageCms


def png_bytes(pixels: np.ndarray, *, chunks: bytes = b"") -> bytes:
    """A PNG of uint8 or uint16 [H, W, 1..4], as the specification has it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, bands = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    body = chunk(b"IHDR", header) + chunks + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.fixture(scope="session")
def encode_png() -> Callable[..., bytes]:
    return png_bytes


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

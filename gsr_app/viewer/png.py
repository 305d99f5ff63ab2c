"""PNG files for the screen: 8 bits, lossless, written fast rather than small."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.pixels import convert

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # grey, grey and alpha, RGB, RGBA


def to_screen(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An image of uint8, uint16 or float in 0..1 as 8 bits, rounded to nearest."""
    return convert(image, np.uint8)


def encode_png(image: NDArray[Any], *, level: int = 1) -> bytes:
    """[H, W] or [H, W, 1 to 4] as a PNG file, each row as differences from the pixel to the left."""
    pixels = to_screen(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    height, width, channels = pixels.shape
    rows = np.empty((height, 1 + width * channels), np.uint8)
    rows[:, 0] = 1  # filter: sub
    body = rows[:, 1:].reshape(height, width, channels)
    body[:, 0] = pixels[:, 0]
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=body[:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.data, level)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))

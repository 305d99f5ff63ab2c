"""PNG files for the screen: 8 bits, lossless, written fast rather than small."""

from __future__ import annotations

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsr_app.core.pixels import convert

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # grey, grey and alpha, RGB, RGBA
_AVERAGE = 3  # the filter: each value is stored as its difference from the mean of those to the left and above
_BAND_BYTES = 1 << 20  # compressed at once; the cuts are the same for any number of threads
_WINDOW_BYTES = 1 << 15  # how far back compression may look


def to_screen(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An image of uint8, uint16 or float in 0..1 as 8 bits, rounded to nearest."""
    return convert(image, np.uint8)


def encode_png(image: NDArray[Any], *, level: int = 1) -> bytes:
    """[H, W] or [H, W, 1 to 4] as a PNG file. Its bands are filtered and compressed on all cores.

    level: of compression. At level 1 repeats are looked for in the last value alone: on photographs this is both
        faster and smaller than zlib's own level 1, because what filtering leaves of them has no longer repeats.
    """
    pixels = to_screen(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    height, width, channels = pixels.shape
    values = np.ascontiguousarray(pixels).reshape(height, width * channels)
    step = max(1, _BAND_BYTES // (width * channels))
    tops = range(0, height, step)

    def compress(top: int) -> tuple[memoryview, bytes]:
        rows = _filter(values, top, min(top + step, height), channels).data
        before = b""
        if top and level > 1:
            needed = -(-_WINDOW_BYTES // (1 + width * channels))
            before = _filter(values, max(0, top - needed), top, channels).tobytes()[-_WINDOW_BYTES:]
        strategy = zlib.Z_RLE if level == 1 else zlib.Z_DEFAULT_STRATEGY
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy, *([before] if before else []))
        packed = packer.compress(rows) + packer.flush(zlib.Z_FINISH if top + step >= height else zlib.Z_SYNC_FLUSH)
        return rows, packed

    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks, sum_of_rows = [_chunk(b"IHDR", header)], 1
    with ThreadPoolExecutor(max(1, min(len(tops), os.cpu_count() or 1))) as threads:
        for top, (rows, packed) in zip(tops, threads.map(compress, tops), strict=True):
            sum_of_rows = zlib.adler32(rows, sum_of_rows)
            chunks.append(_chunk(b"IDAT", b"\x78\x01" + packed if top == 0 else packed))
    chunks += [_chunk(b"IDAT", struct.pack(">I", sum_of_rows)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _filter(values: NDArray[np.uint8], top: int, end: int, channels: int) -> NDArray[np.uint8]:
    """Rows [top, end) as PNG stores them: the filter's number, then the filtered bytes."""
    rows = np.empty((end - top, 1 + values.shape[1]), np.uint8)
    rows[:, 0] = _AVERAGE
    left, above = (np.zeros((end - top, values.shape[1]), np.uint8) for _ in range(2))
    left[:, channels:] = values[top:end, :-channels]
    above[0 if top else 1 :] = values[max(0, top - 1) : end - 1]
    mean = left & above  # without overflow: what both have, and half of where they differ
    left ^= above
    left >>= 1
    mean += left
    np.subtract(values[top:end], mean, out=rows[:, 1:])
    return rows


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))

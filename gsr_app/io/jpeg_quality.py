"""How strongly a JPEG was compressed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_HEAD_BYTES = 1 << 20  # the tables stand before the picture; a thumbnail or a profile may come first
_START_OF_SCAN, _TABLES = 0xDA, 0xDB
# The luma table of the standard (ITU-T T.81, K.1), in the zigzag order of files: quality 50 of libjpeg.
_STANDARD = np.array([
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61,
    60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113,
    121, 112, 100, 120, 92, 101, 103, 99,
])  # fmt: skip


def read_quality(path: Path) -> int | None:
    """The quality, 1 to 100, whose table is most like that of the luma; None where there is none to read."""
    with path.open("rb") as file:
        data = file.read(_HEAD_BYTES)
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == _START_OF_SCAN:
            break
        if marker == _TABLES and (table := _luma_table(data[at + 4 : at + 2 + length])) is not None:
            return _quality_of(table)
        at += 2 + length
    return None


def _luma_table(segment: bytes) -> np.ndarray | None:
    """Table 0 of a segment that may hold several."""
    while segment:
        wide, number = segment[0] >> 4, segment[0] & 15
        size = 128 if wide else 64
        if len(segment) < 1 + size:
            return None
        if number == 0:
            return np.frombuffer(segment[1 : 1 + size], ">u2" if wide else np.uint8).astype(np.float64)
        segment = segment[1 + size :]
    return None


def _quality_of(table: np.ndarray) -> int:
    """Other programs have tables of their own shape: the mean steps are compared."""
    qualities = np.arange(1, 101)
    percent = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    scaled = np.clip((_STANDARD * percent[:, None] + 50) // 100, 1, 255)
    return int(qualities[np.abs(scaled.mean(1) - table.mean()).argmin()])

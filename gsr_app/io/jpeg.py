"""JPEG files with the EXIF of their source as it is: libvips would leave out what it does not understand."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from gsr_app.io.vips import encode_through

_KEEP_ALL_BUT_EXIF = 2 | 4 | 8 | 16  # XMP, IPTC, profile, others: libvips' VipsForeignKeep
_START = b"\xff\xd8"
_PER_INCH = 1


def save(image: Any, path: Path, options: Mapping[str, Any], exif: bytes, dpi: tuple[float, float] | None) -> None:
    """Encode by libvips, with this EXIF, header included, in front of what else the file holds."""
    segments = b"\xff\xe1" + (2 + len(exif)).to_bytes(2, "big") + exif
    if dpi is not None:  # libvips states it in EXIF only
        sides = (round(min(one, 65535)) for one in dpi)
        segments = b"\xff\xe0\0\x10JFIF\0\1\1" + struct.pack(">BHHH", _PER_INCH, *sides, 0) + segments
    with path.open("wb") as file:
        encode_through("jpegsave_target", image, _Output(file, segments).write, {**options, "keep": _KEEP_ALL_BUT_EXIF})


class _Output:
    """Takes the bytes of a file as they are made, and puts segments behind its start."""

    def __init__(self, file: BinaryIO, segments: bytes) -> None:
        self._file = file
        self._waiting = segments  # not yet written

    def write(self, data: Any) -> None:
        start = len(_START) if self._waiting else 0  # libvips writes large blocks: the start is in the first
        self._file.write(bytes(data[:start]) + self._waiting)
        self._file.write(data[start:])
        self._waiting = b""

"""The first directory of a TIFF as its tags, and directories for the files that this program makes."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gsr_app.core.errors import ImageError

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 273, 274, 277, 278, 279
X_RESOLUTION, Y_RESOLUTION, PLANAR, RESOLUTION_UNIT, PREDICTOR = 282, 283, 284, 296, 317
COLOR_MAP = 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 323, 324, 325, 338, 339
XMP, ICC = 700, 34675

SHORT, LONG, LONG8 = 3, 4, 16
_CODES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d",
          13: "I", 16: "Q", 17: "q", 18: "Q"}  # fmt: skip
_BYTE_KINDS = {1, 2, 6, 7}
_FLOAT_KINDS = {11, 12}
_MOST_TAGS = 4096
_MOST_BYTES = 1 << 26  # of one tag: a profile, XMP, or the places of 8 million segments
_MOST_PAGES = 1000


@dataclass(frozen=True)
class Directory:
    """The tags of the first page."""

    order: str  # "<" or ">"
    tags: Mapping[int, tuple[int, tuple[float, ...] | bytes]]  # number: (type, values)
    pages: int
    file_bytes: int

    def one(self, tag: int, default: int = 0) -> int:
        values = self.all(tag)
        return values[0] if values else default

    def all(self, tag: int) -> tuple[int, ...]:
        kind, values = self.tags.get(tag, (0, ()))
        return () if kind in _FLOAT_KINDS else tuple(int(value) for value in values)

    def blob(self, tag: int) -> bytes:
        _, values = self.tags.get(tag, (0, b""))
        return values if isinstance(values, bytes) else b""

    def ratio(self, tag: int) -> float | None:
        """A rational number, such as a resolution."""
        kind, values = self.tags.get(tag, (0, ()))
        return values[0] / values[1] if kind == 5 and len(values) == 2 and values[1] else None


def read_directory(path: Path) -> Directory:
    """The tags of the first page; those that do not lie within the file are left out."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 8:
            raise ImageError(f"{path.name} has no TIFF header.")
        big = struct.unpack(order + "H", head[2:4])[0] == 43
        start = struct.unpack_from(order + ("Q" if big else "I"), head.ljust(16, b"\0"), 8 if big else 4)[0]
        tags, following = _read_tags(file, start, order, size, big=big)
        seen, pages = {start}, 1
        while following and following not in seen and pages < _MOST_PAGES:
            seen.add(following)
            found = _count_tags(file, following, order, big=big)
            if found is None:
                break
            pages += 1
            count, entries = found
            file.seek(entries + count * (20 if big else 12))
            following = _unpack(file.read(8 if big else 4), order + ("Q" if big else "I"))
    return Directory(order, tags, pages, size)


def _unpack(data: bytes, form: str) -> int:
    return struct.unpack(form, data)[0] if len(data) == struct.calcsize(form) else 0


def _count_tags(file: BinaryIO, start: int, order: str, *, big: bool) -> tuple[int, int] | None:
    """(number of tags, where they begin), or None where no directory can be."""
    file.seek(min(start, 1 << 62))
    count = _unpack(file.read(8 if big else 2), order + ("Q" if big else "H"))
    return (count, start + (8 if big else 2)) if 0 < count <= _MOST_TAGS else None


def _read_tags(
    file: BinaryIO, start: int, order: str, size: int, *, big: bool
) -> tuple[dict[int, tuple[int, tuple[float, ...] | bytes]], int]:
    found = _count_tags(file, start, order, big=big)
    if found is None:
        return {}, 0
    count, _ = found
    entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
    body = file.read(count * entry.size)
    following = _unpack(file.read(8 if big else 4), order + ("Q" if big else "I"))
    tags: dict[int, tuple[int, tuple[float, ...] | bytes]] = {}
    for tag, kind, number, value in entry.iter_unpack(body[: len(body) // entry.size * entry.size]):
        code = _CODES.get(kind)
        if code is None:
            continue
        length = struct.calcsize(order + code) * number
        if length > len(value):
            place = struct.unpack(order + ("Q" if big else "I"), value)[0]
            if length > _MOST_BYTES or place + length > size:
                continue
            file.seek(place)
            value = file.read(length)  # noqa: PLW2901
        data = value[:length]
        if len(data) == length:
            tags[tag] = kind, data if kind in _BYTE_KINDS else struct.unpack(_repeated(order, code, number), data)
    return tags, following


def make_directory(
    order: str,
    tags: Mapping[int, tuple[int, Sequence[float] | bytes]],
    offsets_tag: int,
    offsets: Sequence[int],  # of the segments, counted from the end of what this function returns
    align: int = 16,
) -> bytes:
    """The header and the only directory of a BigTIFF, for pixels that follow them."""
    plain = {**tags, offsets_tag: (LONG8, [0] * len(offsets))}
    length = -(-(16 + 8 + 20 * len(plain) + 8 + sum(_far_bytes(*plain[tag]) for tag in plain)) // align) * align
    plain[offsets_tag] = LONG8, [length + offset for offset in offsets]
    out = struct.pack(order + "2sHHHQQ", b"II" if order == "<" else b"MM", 43, 8, 0, 16, len(plain))
    arrays, place = b"", 16 + 8 + 20 * len(plain) + 8
    for tag, (kind, values) in sorted(plain.items()):
        packed = _pack(order, kind, values)
        count = len(packed) // struct.calcsize(order + _CODES[kind])
        if len(packed) > 8:
            arrays, packed = arrays + packed, struct.pack(order + "Q", place + len(arrays))
        out += struct.pack(order + "HHQ", tag, kind, count) + packed.ljust(8, b"\0")
    return (out + struct.pack(order + "Q", 0) + arrays).ljust(length, b"\0")


def _pack(order: str, kind: int, values: Sequence[float] | bytes) -> bytes:
    if isinstance(values, bytes):
        return values
    return struct.pack(_repeated(order, _CODES[kind][0], len(values)), *values)


def _repeated(order: str, code: str, number: int) -> str:
    return f"{order}{len(code) * number}{code[0]}"


def _far_bytes(kind: int, values: Sequence[float] | bytes) -> int:
    length = len(_pack("<", kind, values))
    return length if length > 8 else 0
